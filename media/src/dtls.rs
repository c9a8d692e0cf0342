//! Keys agreed upon in the stream itself: DTLS-SRTP (RFC 5763, RFC 5764), on the crate `dimpl`.
//!
//! The peer is who its SDP said, because its certificate has the fingerprint that the SDP named. Ours is made
//! when the process starts and signs itself: nobody looks at anything but its fingerprint either. DTLS 1.2,
//! which all speak. A handshake allocates; the packets that its keys are for do not.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output, SrtpProfile};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use sha2::{Digest, Sha256};

use crate::srtp::{Keys, Master, Suite};
use crate::time::Micros;

/// Room for one datagram of a handshake.
const ROOM: usize = 2048;

/// What media shows of itself: one certificate for all streams.
pub struct Identity {
    certificate: DtlsCertificate,
    config: Arc<Config>,
    /// As SDP has it: "sha-256 AB:CD:...".
    pub fingerprint: String,
}

impl Identity {
    pub fn new() -> io::Result<Arc<Self>> {
        let (mut secret, mut serial) = ([0; 32], [0; 16]);
        let mut kernel = File::open("/dev/urandom")?;
        kernel.read_exact(&mut secret)?;
        kernel.read_exact(&mut serial)?;
        let key = SigningKey::from_slice(&secret).map_err(io::Error::other)?;
        let certificate = self_signed(&key, serial);
        let fingerprint = format!("sha-256 {}", fingerprint_of(&certificate));
        let config = Arc::new(Config::builder().build().map_err(io::Error::other)?);
        let certificate = DtlsCertificate { certificate, private_key: private_key(&secret) };
        Ok(Arc::new(Self { certificate, config, fingerprint }))
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, to: &mut std::fmt::Formatter) -> std::fmt::Result {
        to.write_str(&self.fingerprint)
    }
}

/// The SHA-256 of a certificate as SDP writes it (RFC 8122 section 5).
fn fingerprint_of(certificate: &[u8]) -> String {
    let pairs: Vec<String> = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

// ---------------------------------------------------------------- a certificate in DER (RFC 5280 section 4.1)

const ECDSA_WITH_SHA256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
const EC_PUBLIC_KEY_ON_P256: &[u8] =
    b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const COMMON_NAME: &[u8] = b"\x06\x03\x55\x04\x03\x0c\x09jackfield";
/// From 2020 on and without an end: whoever compares fingerprints needs no clock.
const VALIDITY: &[u8] = b"\x17\x0d200101000000Z\x18\x0f99991231235959Z";
const VERSION_3: &[u8] = b"\xa0\x03\x02\x01\x02";
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;

fn self_signed(key: &SigningKey, mut serial: [u8; 16]) -> Vec<u8> {
    // Positive, and without a zero in front.
    if let Some(first) = serial.first_mut() {
        *first = *first & 0x3f | 0x40;
    }
    let algorithm = der(SEQUENCE, &[ECDSA_WITH_SHA256]);
    let name = der(SEQUENCE, &[&der(SET, &[&der(SEQUENCE, &[COMMON_NAME])])]);
    let validity = der(SEQUENCE, &[VALIDITY]);
    let point = key.verifying_key().to_sec1_point(false);
    let algorithm_of_key = der(SEQUENCE, &[EC_PUBLIC_KEY_ON_P256]);
    let public = der(SEQUENCE, &[&algorithm_of_key, &der(BIT_STRING, &[&[0], point.as_bytes()])]);
    let serial = der(INTEGER, &[&serial]);
    let body = der(SEQUENCE, &[VERSION_3, &serial, &algorithm, &name, &validity, &name, &public]);
    let signature: Signature = key.sign(&body);
    let signature = der(BIT_STRING, &[&[0], signature.to_der().as_bytes()]);
    der(SEQUENCE, &[&body, &algorithm, &signature])
}

/// PKCS #8 (RFC 5208 section 5, RFC 5915 section 3).
fn private_key(secret: &[u8; 32]) -> Vec<u8> {
    let (zero, one) = (der(INTEGER, &[&[0]]), der(INTEGER, &[&[1]]));
    let algorithm = der(SEQUENCE, &[EC_PUBLIC_KEY_ON_P256]);
    let key = der(SEQUENCE, &[&one, &der(OCTET_STRING, &[secret])]);
    der(SEQUENCE, &[&zero, &algorithm, &der(OCTET_STRING, &[&key])])
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = body.len();
    let [high, low] = (length as u16).to_be_bytes();
    let head = match length {
        0..=0x7f => vec![tag, low],
        0x80..=0xff => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [head, body].concat()
}

// ---------------------------------------------------------------- one handshake

pub struct Handshake {
    dtls: Dtls,
    is_client: bool,
    /// That the peer's certificate must have.
    fingerprint: Box<str>,
    /// One moment on two clocks.
    began: (Instant, Micros),
    deadline: Option<Micros>,
    verified: bool,
    keys: Option<Keys>,
    agreed: bool,
    over: bool,
}

/// What a step of a handshake came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    GoesOn,
    Agreed(Keys),
    Failed(String),
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, to: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(to, "Handshake(client: {}, over: {})", self.is_client, self.over)
    }
}

/// Whether a datagram on a port of several protocols is DTLS (RFC 7983 section 7).
pub fn looks_like_dtls(data: &[u8]) -> bool {
    matches!(data, [20..=63, ..])
}

impl Handshake {
    pub fn new(identity: &Identity, is_client: bool, fingerprint: &str, now: Micros) -> Self {
        let began = Instant::now();
        let mut dtls = Dtls::new_12(identity.config.clone(), identity.certificate.clone(), began);
        dtls.set_active(is_client);
        Self {
            dtls,
            is_client,
            fingerprint: fingerprint.into(),
            began: (began, now),
            // The first step is due at once: a client begins.
            deadline: Some(now),
            verified: false,
            keys: None,
            agreed: false,
            over: false,
        }
    }

    /// Whether it goes on under these terms, or has come to its keys under them.
    pub fn is_for(&self, is_client: bool, fingerprint: &str) -> bool {
        (self.agreed || !self.over) && self.is_client == is_client && *self.fingerprint == *fingerprint
    }

    pub fn deadline(&self) -> Option<Micros> {
        self.deadline.filter(|_| !self.over)
    }

    /// Take a datagram, if one came, and do what is due; `send` gets the datagrams that are to go to the peer.
    pub fn step(&mut self, data: Option<&[u8]>, now: Micros, mut send: impl FnMut(&[u8])) -> Outcome {
        if self.over {
            return Outcome::GoesOn;
        }
        let (began, began_at) = self.began;
        let instant = began + Duration::from_micros(now.saturating_sub(began_at));
        let taken = self.dtls.handle_timeout(instant).and_then(|()| match data {
            Some(data) => self.dtls.handle_packet(data),
            None => Ok(()),
        });
        // Also after an error: there may be an alert to send.
        let polled = self.poll(&mut send);
        let outcome = match taken {
            Ok(()) => polled,
            Err(error) => Outcome::Failed(error.to_string()),
        };
        self.over |= matches!(outcome, Outcome::Failed(_));
        self.agreed |= matches!(outcome, Outcome::Agreed(_));
        // What comes after the keys cannot take them away: the sound is protected by itself.
        if self.agreed && self.over { Outcome::GoesOn } else { outcome }
    }

    fn poll(&mut self, send: &mut impl FnMut(&[u8])) -> Outcome {
        let mut room = vec![0; ROOM];
        loop {
            match self.dtls.poll_output(&mut room) {
                Output::Packet(packet) => send(packet),
                Output::BufferTooSmall { needed } => room.resize(needed, 0),
                Output::PeerCert(certificate) => {
                    let shown = format!("sha-256 {}", fingerprint_of(certificate));
                    if !shown.eq_ignore_ascii_case(&self.fingerprint) {
                        return Outcome::Failed(
                            "the peer's certificate is not the one of its SDP".to_owned(),
                        );
                    }
                    self.verified = true;
                }
                Output::KeyingMaterial(material, profile) => {
                    self.keys = keys(&material, profile, self.is_client);
                }
                Output::Timeout(at) => {
                    let (began, began_at) = self.began;
                    let wait = at.saturating_duration_since(began).as_micros() as Micros;
                    // Rounded up: a step that came a fraction too early would be due again at once, for ever.
                    self.deadline = Some(began_at + wait + 1);
                    break;
                }
                _ => {}
            }
        }
        match self.keys.take_if(|_| self.verified) {
            Some(keys) => Outcome::Agreed(keys),
            None => Outcome::GoesOn,
        }
    }
}

/// Both sides' master keys, then both sides' master salts, the client's first (RFC 5764 section 4.2).
fn keys(material: &[u8], profile: SrtpProfile, is_client: bool) -> Option<Keys> {
    let suite = match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Suite::Aes128Sha1Long,
        SrtpProfile::AEAD_AES_128_GCM => Suite::Aes128Gcm,
        SrtpProfile::AEAD_AES_256_GCM => Suite::Aes256Gcm,
        #[allow(unreachable_patterns)]
        _ => return None,
    };
    let salts = 2 * suite.key_length();
    let master = |place: usize| {
        let (key, salt) = (suite.key_length(), suite.salt_length());
        let key = material.get(place * key..(place + 1) * key)?;
        let salt = material.get(salts + place * salt..salts + (place + 1) * salt)?;
        Master::new(suite, &[key, salt].concat())
    };
    let (ours, theirs) = if is_client { (0, 1) } else { (1, 0) };
    Some(Keys { suite, local: master(ours)?, remote: master(theirs)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{MILLISECOND, SECOND};

    fn pair(seen: impl Fn(&Identity) -> String) -> (Handshake, Handshake) {
        let (here, there) = (Identity::new().unwrap(), Identity::new().unwrap());
        let client = Handshake::new(&here, true, &there.fingerprint, 0);
        (client, Handshake::new(&there, false, &seen(&here), 0))
    }

    /// One side takes what came, and does what is due.
    fn turn(
        side: &mut Handshake,
        inbox: &mut Vec<Vec<u8>>,
        outbox: &mut Vec<Vec<u8>>,
        (sent, lost): (&mut usize, usize),
        now: Micros,
    ) -> Vec<Outcome> {
        let mut put = |data: &[u8]| {
            *sent += 1;
            if !sent.is_multiple_of(lost) {
                outbox.push(data.to_vec());
            }
        };
        let due = side.deadline().is_some_and(|at| at <= now);
        let datagrams: Vec<_> = inbox.drain(..).map(Some).chain(due.then_some(None)).collect();
        let outcomes = datagrams.into_iter().map(|data| side.step(data.as_deref(), now, &mut put));
        outcomes.filter(|outcome| *outcome != Outcome::GoesOn).collect()
    }

    /// Let two shake hands, each n-th datagram lost; what became of each, and when.
    fn shake(client: &mut Handshake, server: &mut Handshake, lost: usize) -> (Vec<Outcome>, Micros) {
        let (mut to_server, mut to_client): (Vec<Vec<u8>>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
        let (mut outcomes, mut sent, mut now) = (Vec::new(), 0, 0);
        while now < 60 * SECOND && outcomes.len() < 2 {
            outcomes.extend(turn(client, &mut to_client, &mut to_server, (&mut sent, lost), now));
            outcomes.extend(turn(server, &mut to_server, &mut to_client, (&mut sent, lost), now));
            now += 10 * MILLISECOND;
        }
        (outcomes, now)
    }

    #[test]
    fn both_come_to_the_same_keys_also_through_loss() {
        for lost in [usize::MAX, 4, 3] {
            let (mut client, mut server) = pair(|identity| identity.fingerprint.clone());
            let (outcomes, _) = shake(&mut client, &mut server, lost);
            let [Outcome::Agreed(one), Outcome::Agreed(other)] = &outcomes[..] else {
                unreachable!("{outcomes:?}")
            };
            assert!(one.suite == other.suite && one.local == other.remote && one.remote == other.local);
            assert!(one.local != one.remote);
        }
    }

    #[test]
    fn another_certificate_than_the_sdp_named_is_nobody() {
        let stranger = |_: &Identity| Identity::new().unwrap().fingerprint.clone();
        let (mut client, mut server) = pair(stranger);
        let (outcomes, _) = shake(&mut client, &mut server, usize::MAX);
        assert!(outcomes.iter().any(|outcome| matches!(outcome, Outcome::Failed(_))));
        assert!(server.keys.is_none() || server.over);
    }
}
