//! SRTP and SRTCP (RFC 3711) with AES in counter mode (also RFC 6188) and AES-GCM (RFC 7714).
//!
//! One `Srtp` is the contexts of one stream, one each way, and knows nothing of how its keys were agreed upon.
//! Packets are opened where they lie and closed in a buffer with room behind them: nothing is allocated once
//! the keys are set. Session keys are derived once (key derivation rate 0, no MKI: neither is ever negotiated).
//! Written here: the crates that there are either allocate per packet or lack suites of RFC 4568 and RFC 6188.

use aes::cipher::{InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper};
use aes::{Aes128Enc, Aes256Enc};
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use ctr::{CtrCore, flavors::Ctr128BE};
use hmac::{Hmac, Mac};
use sha1::Sha1;

use crate::rtp;

/// The most that a packet grows by: SRTCP's index, and the longest tag.
pub const GROWTH: usize = 4 + GCM_TAG;
const GCM_TAG: usize = 16;
/// SRTCP is authenticated with 80 bits, also where 32 are good enough for sound (RFC 3711 section 5.2).
const RTCP_TAG: usize = 10;
const RTCP_HEADER: usize = 8;
const AUTH_KEY: usize = 20;
/// Set in an SRTCP packet's trailer when it is encrypted, and it always is: the contrary was never negotiated.
const ENCRYPTED: u32 = 1 << 31;
const LAST_RTP_INDEX: u64 = (1 << 48) - 1;
const LAST_RTCP_INDEX: u64 = (1 << 31) - 1;
/// SSRCs of one peer whose packets are told from replays; above that the one heard longest ago is forgotten.
const MOST_SOURCES: usize = 8;
const WINDOW: u64 = u128::BITS as u64;

/// What two peers agreed upon, by its name in RFC 4568, RFC 6188 and RFC 7714.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    Aes128Sha1Long,
    Aes128Sha1Short,
    Aes256Sha1Long,
    Aes256Sha1Short,
    Aes128Gcm,
    Aes256Gcm,
}

const SUITES: [(Suite, &str); 6] = [
    (Suite::Aes128Sha1Long, "AES_CM_128_HMAC_SHA1_80"),
    (Suite::Aes128Sha1Short, "AES_CM_128_HMAC_SHA1_32"),
    (Suite::Aes256Sha1Long, "AES_256_CM_HMAC_SHA1_80"),
    (Suite::Aes256Sha1Short, "AES_256_CM_HMAC_SHA1_32"),
    (Suite::Aes128Gcm, "AEAD_AES_128_GCM"),
    (Suite::Aes256Gcm, "AEAD_AES_256_GCM"),
];

impl Suite {
    pub fn of(name: &str) -> Option<Self> {
        SUITES.iter().find(|(_, known)| *known == name).map(|(suite, _)| *suite)
    }

    pub fn name(self) -> &'static str {
        SUITES.iter().find(|(suite, _)| *suite == self).map_or("", |(_, name)| name)
    }

    pub fn key_length(self) -> usize {
        match self {
            Self::Aes128Sha1Long | Self::Aes128Sha1Short | Self::Aes128Gcm => 16,
            Self::Aes256Sha1Long | Self::Aes256Sha1Short | Self::Aes256Gcm => 32,
        }
    }

    pub fn salt_length(self) -> usize {
        if self.is_gcm() { 12 } else { 14 }
    }

    /// Of master key and master salt together.
    pub fn master_length(self) -> usize {
        self.key_length() + self.salt_length()
    }

    fn is_gcm(self) -> bool {
        matches!(self, Self::Aes128Gcm | Self::Aes256Gcm)
    }

    fn rtp_tag(self) -> usize {
        match self {
            Self::Aes128Sha1Long | Self::Aes256Sha1Long => 10,
            Self::Aes128Sha1Short | Self::Aes256Sha1Short => 4,
            Self::Aes128Gcm | Self::Aes256Gcm => GCM_TAG,
        }
    }
}

/// A master key with its master salt behind it; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Master(Box<[u8]>);

impl Master {
    /// None when it is not as long as `suite` wants it.
    pub fn new(suite: Suite, key_and_salt: &[u8]) -> Option<Self> {
        (key_and_salt.len() == suite.master_length()).then(|| Self(key_and_salt.into()))
    }
}

impl std::fmt::Debug for Master {
    fn fmt(&self, to: &mut std::fmt::Formatter) -> std::fmt::Result {
        to.write_str("Master")
    }
}

// ---------------------------------------------------------------- keys

/// What the packets of one protocol are ciphered with in one direction.
struct Session {
    cipher: Cipher,
    /// At the upper end.
    salt: u128,
}

enum Cipher {
    Aes128(Aes128Enc, Hmac<Sha1>, usize),
    Aes256(Aes256Enc, Hmac<Sha1>, usize),
    Aes128Gcm(Aes128Gcm),
    Aes256Gcm(Aes256Gcm),
}

/// The first of three labels in a row: cipher key, authentication key, salt (RFC 3711 sections 4.3.1, 4.3.2).
#[derive(Clone, Copy)]
enum Label {
    Rtp = 0,
    Rtcp = 3,
}

impl Session {
    fn new(suite: Suite, master: &Master, label: Label) -> Option<Self> {
        let label = label as u8;
        let (mut key, mut auth, mut salt) = ([0; 32], [0; AUTH_KEY], [0; 16]);
        let key = key.get_mut(..suite.key_length())?;
        derive(suite, master, label, key)?;
        derive(suite, master, label + 1, &mut auth)?;
        derive(suite, master, label + 2, salt.get_mut(..suite.salt_length())?)?;
        Self::of(suite, key, &auth, u128::from_be_bytes(salt), matches!(label, 0))
    }

    fn of(suite: Suite, key: &[u8], auth: &[u8], salt: u128, is_rtp: bool) -> Option<Self> {
        let mac = <Hmac<Sha1> as KeyInit>::new_from_slice(auth).ok()?;
        let tag = if is_rtp { suite.rtp_tag() } else { RTCP_TAG };
        let cipher = match (suite.is_gcm(), key.len()) {
            (false, 16) => Cipher::Aes128(Aes128Enc::new_from_slice(key).ok()?, mac, tag),
            (false, _) => Cipher::Aes256(Aes256Enc::new_from_slice(key).ok()?, mac, tag),
            (true, 16) => Cipher::Aes128Gcm(Aes128Gcm::new_from_slice(key).ok()?),
            (true, _) => Cipher::Aes256Gcm(Aes256Gcm::new_from_slice(key).ok()?),
        };
        Some(Self { cipher, salt })
    }

    fn tag_length(&self) -> usize {
        match &self.cipher {
            Cipher::Aes128(_, _, tag) | Cipher::Aes256(_, _, tag) => *tag,
            Cipher::Aes128Gcm(_) | Cipher::Aes256Gcm(_) => GCM_TAG,
        }
    }

    /// The initial counter block (RFC 3711 section 4.1.1).
    fn counter(&self, ssrc: u32, index: u64) -> [u8; 16] {
        (self.salt ^ u128::from(ssrc) << 64 ^ u128::from(index) << 16).to_be_bytes()
    }

    /// RFC 7714 sections 8.1 and 9.1: both come to this.
    fn nonce(&self, ssrc: u32, index: u64) -> [u8; 12] {
        let whole = (self.salt ^ u128::from(ssrc) << 80 ^ u128::from(index) << 32).to_be_bytes();
        whole.first_chunk().copied().unwrap_or_default()
    }

    fn apply_keystream(&self, ssrc: u32, index: u64, body: &mut [u8]) {
        let counter = self.counter(ssrc, index);
        match &self.cipher {
            Cipher::Aes128(aes, ..) => apply(aes, &counter, body),
            Cipher::Aes256(aes, ..) => apply(aes, &counter, body),
            Cipher::Aes128Gcm(_) | Cipher::Aes256Gcm(_) => {}
        }
    }

    fn mac(&self) -> Option<(Hmac<Sha1>, usize)> {
        match &self.cipher {
            Cipher::Aes128(_, mac, tag) | Cipher::Aes256(_, mac, tag) => Some((mac.clone(), *tag)),
            Cipher::Aes128Gcm(_) | Cipher::Aes256Gcm(_) => None,
        }
    }

    fn gcm_seal(&self, nonce: [u8; 12], known: &[u8], body: &mut [u8]) -> Option<[u8; GCM_TAG]> {
        let nonce = &nonce.into();
        let tag = match &self.cipher {
            Cipher::Aes128Gcm(gcm) => gcm.encrypt_inout_detached(nonce, known, body.into()),
            Cipher::Aes256Gcm(gcm) => gcm.encrypt_inout_detached(nonce, known, body.into()),
            Cipher::Aes128(..) | Cipher::Aes256(..) => return None,
        };
        tag.ok().map(Into::into)
    }

    /// Leaves `body` as it was when the tag does not fit.
    fn gcm_open(&self, nonce: [u8; 12], known: &[u8], body: &mut [u8], tag: &[u8]) -> Option<()> {
        let nonce = &nonce.into();
        let tag = &tag.first_chunk::<GCM_TAG>().copied()?.into();
        let opened = match &self.cipher {
            Cipher::Aes128Gcm(gcm) => gcm.decrypt_inout_detached(nonce, known, body.into(), tag),
            Cipher::Aes256Gcm(gcm) => gcm.decrypt_inout_detached(nonce, known, body.into(), tag),
            Cipher::Aes128(..) | Cipher::Aes256(..) => return None,
        };
        opened.ok()
    }

    // ------------------------------------------------------------ packets of RTP

    /// `data` has a header of `header` bytes, then the body, then room for the tag.
    fn seal_rtp(&self, ssrc: u32, index: u64, header: usize, data: &mut [u8]) -> Option<()> {
        let (packet, tag) = data.split_at_mut_checked(data.len().checked_sub(self.tag_length())?)?;
        let (head, body) = packet.split_at_mut_checked(header)?;
        let Some((mut mac, _)) = self.mac() else {
            tag.copy_from_slice(&self.gcm_seal(self.nonce(ssrc, index), head, body)?);
            return Some(());
        };
        self.apply_keystream(ssrc, index, body);
        mac.update(packet);
        mac.update(&roll_over(index));
        tag.copy_from_slice(mac.finalize().into_bytes().get(..tag.len())?);
        Some(())
    }

    /// Gives the length of what is left without the tag.
    fn open_rtp(&self, ssrc: u32, index: u64, header: usize, data: &mut [u8]) -> Option<usize> {
        let length = data.len().checked_sub(self.tag_length())?;
        let (packet, tag) = data.split_at_mut_checked(length)?;
        let (head, body) = packet.split_at_mut_checked(header)?;
        let Some((mut mac, _)) = self.mac() else {
            self.gcm_open(self.nonce(ssrc, index), head, body, tag)?;
            return Some(length);
        };
        mac.update(head);
        mac.update(body);
        mac.update(&roll_over(index));
        mac.verify_truncated_left(tag).ok()?;
        self.apply_keystream(ssrc, index, body);
        Some(length)
    }

    // ------------------------------------------------------------ packets of RTCP

    /// `data` has the compound packet, then room for the tag and for the index.
    fn seal_rtcp(&self, ssrc: u32, index: u64, data: &mut [u8]) -> Option<()> {
        let trailer = (ENCRYPTED | index as u32).to_be_bytes();
        let (packet, rest) = data.split_at_mut_checked(data.len().checked_sub(self.tag_length() + 4)?)?;
        let (head, body) = packet.split_at_mut_checked(RTCP_HEADER)?;
        let Some((mut mac, tag_length)) = self.mac() else {
            let tag = self.gcm_seal(self.nonce(ssrc, index), &known_of_rtcp(head, trailer), body)?;
            rest.first_chunk_mut::<GCM_TAG>()?.copy_from_slice(&tag);
            rest.last_chunk_mut::<4>()?.copy_from_slice(&trailer);
            return Some(());
        };
        self.apply_keystream(ssrc, index, body);
        mac.update(packet);
        mac.update(&trailer);
        let (place, tag) = rest.split_at_mut_checked(4)?;
        place.copy_from_slice(&trailer);
        tag.copy_from_slice(mac.finalize().into_bytes().get(..tag_length)?);
        Some(())
    }

    /// Gives the length of what is left without index and tag.
    fn open_rtcp(&self, ssrc: u32, index: u64, data: &mut [u8]) -> Option<usize> {
        let length = data.len().checked_sub(self.tag_length() + 4)?;
        let trailer = (ENCRYPTED | index as u32).to_be_bytes();
        let (packet, rest) = data.split_at_mut_checked(length)?;
        let (head, body) = packet.split_at_mut_checked(RTCP_HEADER)?;
        let Some((mut mac, _)) = self.mac() else {
            let known = known_of_rtcp(head, trailer);
            self.gcm_open(self.nonce(ssrc, index), &known, body, rest)?;
            return Some(length);
        };
        mac.update(head);
        mac.update(body);
        mac.update(&trailer);
        mac.verify_truncated_left(rest.get(4..)?).ok()?;
        self.apply_keystream(ssrc, index, body);
        Some(length)
    }

    /// The index that a packet of RTCP names: behind the tag, or before it; None when it is not encrypted.
    fn rtcp_index(&self, data: &[u8]) -> Option<u64> {
        let behind = if self.mac().is_some() { self.tag_length() } else { 0 };
        let (_, trailer) = data.get(..data.len().checked_sub(behind)?)?.split_last_chunk::<4>()?;
        let trailer = u32::from_be_bytes(*trailer);
        (trailer & ENCRYPTED != 0).then_some(u64::from(trailer & !ENCRYPTED))
    }
}

fn apply<Aes>(aes: &Aes, counter: &[u8; 16], body: &mut [u8])
where
    Aes: aes::cipher::BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>,
{
    let core = CtrCore::<&Aes, Ctr128BE>::inner_iv_init(aes, counter.into());
    StreamCipherCoreWrapper::from_core(core).apply_keystream(body);
}

/// Key derivation with rate 0 (RFC 3711 section 4.3; RFC 6188 section 3; RFC 7714 section 11).
fn derive(suite: Suite, master: &Master, label: u8, to: &mut [u8]) -> Option<()> {
    let (key, salt) = master.0.split_at_checked(suite.key_length())?;
    let mut whole = [0; 16];
    whole.get_mut(..salt.len())?.copy_from_slice(salt);
    let counter = (u128::from_be_bytes(whole) ^ u128::from(label) << 64).to_be_bytes();
    match key.len() {
        16 => apply(&Aes128Enc::new_from_slice(key).ok()?, &counter, to),
        _ => apply(&Aes256Enc::new_from_slice(key).ok()?, &counter, to),
    }
    Some(())
}

/// What GCM authenticates of a packet of RTCP and does not encrypt.
fn known_of_rtcp(head: &[u8], trailer: [u8; 4]) -> [u8; RTCP_HEADER + 4] {
    let mut known = [0; RTCP_HEADER + 4];
    known.iter_mut().zip(head.iter().chain(&trailer)).for_each(|(to, from)| *to = *from);
    known
}

fn roll_over(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

// ---------------------------------------------------------------- indices

/// What was heard of one SSRC: the highest index, and which of those below it (RFC 3711 section 3.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Source {
    ssrc: u32,
    highest: u64,
    /// Bit n: `highest` - n was heard.
    heard: u128,
}

impl Source {
    fn is_new(&self, index: u64) -> bool {
        match self.highest.checked_sub(index) {
            Some(behind) if behind < WINDOW => self.heard >> behind & 1 == 0,
            Some(_) => false,
            None => true,
        }
    }

    fn note(&mut self, index: u64) {
        match self.highest.checked_sub(index) {
            Some(behind) => self.heard |= 1u128.checked_shl(behind as u32).unwrap_or(0),
            None => {
                let ahead = index - self.highest;
                self.heard =
                    u32::try_from(ahead).ok().and_then(|n| self.heard.checked_shl(n)).unwrap_or(0) | 1;
                self.highest = index;
            }
        }
    }
}

/// The index nearest to `highest` that ends in `sequence` (RFC 3711 section 3.3.1 and appendix A).
fn estimate(highest: u64, sequence: u16) -> Option<u64> {
    let step = sequence.wrapping_sub(highest as u16).cast_signed();
    highest.checked_add_signed(i64::from(step)).filter(|index| *index <= LAST_RTP_INDEX)
}

/// The sources of one peer, the one heard last first.
#[derive(Debug, Default, Clone)]
struct Sources([Option<Source>; MOST_SOURCES]);

impl Sources {
    fn find(&self, ssrc: u32) -> Option<&Source> {
        self.0.iter().flatten().find(|source| source.ssrc == ssrc)
    }

    fn note(&mut self, ssrc: u32, index: u64) {
        let place = self.0.iter().position(|source| source.is_none_or(|source| source.ssrc == ssrc));
        let place = place.unwrap_or(MOST_SOURCES - 1);
        if place > 0 {
            self.0.get_mut(..=place).unwrap_or_default().rotate_right(1);
        }
        if let Some(first) = self.0.first_mut() {
            match first {
                Some(source) if source.ssrc == ssrc => source.note(index),
                _ => *first = Some(Source { ssrc, highest: index, heard: 1 }),
            }
        }
    }
}

// ---------------------------------------------------------------- the contexts

/// What the peer's packets are opened with.
struct Receiver {
    master: Master,
    rtp: Session,
    rtcp: Session,
    rtp_sources: Sources,
    rtcp_sources: Sources,
    /// What was heard under the key before: its roll-over counter goes on, or begins anew, as the peer likes.
    before: Sources,
}

/// What our packets are closed with.
struct Sender {
    master: Master,
    rtp: Session,
    rtcp: Session,
    /// A stream has one SSRC, and never closes two packets under one index: that would give its key away.
    sent: Option<Source>,
    next_rtcp: u64,
}

/// The contexts of one stream.
pub struct Srtp {
    suite: Suite,
    receiver: Receiver,
    sender: Sender,
    /// Packets in a row that did not fit.
    misfits: u32,
}

impl std::fmt::Debug for Srtp {
    fn fmt(&self, to: &mut std::fmt::Formatter) -> std::fmt::Result {
        to.write_str(self.suite.name())
    }
}

/// The master keys of both directions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    pub suite: Suite,
    /// That we send with.
    pub local: Master,
    /// That the peer sends with.
    pub remote: Master,
}

impl Srtp {
    pub fn new(keys: &Keys) -> Option<Self> {
        let Keys { suite, local, remote } = keys;
        let receiver = Receiver {
            master: remote.clone(),
            rtp: Session::new(*suite, remote, Label::Rtp)?,
            rtcp: Session::new(*suite, remote, Label::Rtcp)?,
            rtp_sources: Sources::default(),
            rtcp_sources: Sources::default(),
            before: Sources::default(),
        };
        let sender = Sender {
            master: local.clone(),
            rtp: Session::new(*suite, local, Label::Rtp)?,
            rtcp: Session::new(*suite, local, Label::Rtcp)?,
            sent: None,
            next_rtcp: 1,
        };
        Some(Self { suite: *suite, receiver, sender, misfits: 0 })
    }

    /// Go on with these keys. A context whose key stays goes on as it is.
    ///
    /// With another key our roll-over counter goes on (RFC 3711 section 3.3.1), but for a `new_peer`, who has
    /// never heard of it. Which of the two the peer holds with shows in its first packet.
    pub fn rekey(&mut self, keys: &Keys, new_peer: bool) -> Option<()> {
        let mut next = Self::new(keys)?;
        let same_suite = self.suite == keys.suite;
        if same_suite && self.receiver.master == keys.remote {
            std::mem::swap(&mut next.receiver, &mut self.receiver);
            next.misfits = self.misfits;
        } else {
            next.receiver.before = self.receiver.rtp_sources.clone();
        }
        if same_suite && self.sender.master == keys.local {
            std::mem::swap(&mut next.sender, &mut self.sender);
        } else if !new_peer {
            next.sender.sent = self.sender.sent;
        }
        *self = next;
        Some(())
    }

    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// How many packets in a row were not closed with the peer's key.
    pub fn misfits(&self) -> u32 {
        self.misfits
    }

    /// Open a packet of RTP where it lies; its length then. None, and nothing changed, for any but the peer's own.
    pub fn open_rtp(&mut self, data: &mut [u8]) -> Option<usize> {
        let header = rtp::header_length(data)?;
        let (sequence, ssrc) = (rtp::sequence(data)?, rtp::ssrc(data)?);
        let Receiver { rtp, rtp_sources, before, .. } = &mut self.receiver;
        let fresh = u64::from(sequence);
        let indices = match rtp_sources.find(ssrc) {
            Some(source) => {
                let index = estimate(source.highest, sequence)?;
                if !source.is_new(index) {
                    return None;
                }
                [Some(index), None]
            }
            None => {
                let going_on = before.find(ssrc).and_then(|source| estimate(source.highest, sequence));
                [going_on, Some(fresh).filter(|_| going_on != Some(fresh))]
            }
        };
        for index in indices.into_iter().flatten() {
            if let Some(length) = rtp.open_rtp(ssrc, index, header, data) {
                rtp_sources.note(ssrc, index);
                self.misfits = 0;
                return Some(length);
            }
        }
        self.misfits = self.misfits.saturating_add(1);
        None
    }

    /// Open a packet of RTCP where it lies; its length then.
    pub fn open_rtcp(&mut self, data: &mut [u8]) -> Option<usize> {
        let Receiver { rtcp, rtcp_sources, .. } = &mut self.receiver;
        let ssrc = u32::from_be_bytes(*data.get(4..)?.first_chunk()?);
        let index = rtcp.rtcp_index(data)?;
        if rtcp_sources.find(ssrc).is_some_and(|source| !source.is_new(index)) {
            return None;
        }
        let length = rtcp.open_rtcp(ssrc, index, data)?;
        rtcp_sources.note(ssrc, index);
        Some(length)
    }

    /// Close the packet of RTP that is the first `length` bytes of `data`; its length then.
    pub fn close_rtp(&mut self, data: &mut [u8], length: usize) -> Option<usize> {
        let Sender { rtp, sent, .. } = &mut self.sender;
        let closed = length + rtp.tag_length();
        let data = data.get_mut(..closed)?;
        let header = rtp::header_length(data)?;
        let (sequence, ssrc) = (rtp::sequence(data)?, rtp::ssrc(data)?);
        let index = match sent {
            Some(source) => estimate(source.highest, sequence).filter(|index| source.is_new(*index))?,
            None => u64::from(sequence),
        };
        rtp.seal_rtp(ssrc, index, header, data)?;
        sent.get_or_insert(Source { ssrc, highest: index, heard: 1 }).note(index);
        Some(closed)
    }

    /// Close the packet of RTCP that is the first `length` bytes of `data`; its length then.
    pub fn close_rtcp(&mut self, data: &mut [u8], length: usize) -> Option<usize> {
        let Sender { rtcp, next_rtcp, .. } = &mut self.sender;
        let closed = length + rtcp.tag_length() + 4;
        let data = data.get_mut(..closed)?;
        let ssrc = u32::from_be_bytes(*data.get(4..)?.first_chunk()?);
        if *next_rtcp > LAST_RTCP_INDEX {
            return None;
        }
        rtcp.seal_rtcp(ssrc, *next_rtcp, data)?;
        *next_rtcp += 1;
        Some(closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn keys(suite: Suite) -> (Keys, Keys) {
        let master = |first| Master::new(suite, &vec![first; suite.master_length()]).unwrap();
        let (ours, theirs) = (master(1), master(2));
        let here = Keys { suite, local: ours.clone(), remote: theirs.clone() };
        (here, Keys { suite, local: theirs, remote: ours })
    }

    fn pair(suite: Suite) -> (Srtp, Srtp) {
        let (here, there) = keys(suite);
        (Srtp::new(&here).unwrap(), Srtp::new(&there).unwrap())
    }

    fn packet(sequence: u16) -> Vec<u8> {
        let mut data = [0; rtp::HEADER];
        rtp::Header { marker: false, payload_type: 0, sequence, timestamp: 5, ssrc: 9 }.write(&mut data);
        [&data[..], b"what is said"].concat()
    }

    fn close(srtp: &mut Srtp, sequence: u16) -> Option<Vec<u8>> {
        let mut data = packet(sequence);
        let length = data.len();
        data.resize(length + GROWTH, 0);
        let closed = srtp.close_rtp(&mut data, length)?;
        data.truncate(closed);
        Some(data)
    }

    fn open(srtp: &mut Srtp, closed: &[u8]) -> Option<Vec<u8>> {
        let mut data = closed.to_vec();
        let opened = srtp.open_rtp(&mut data);
        assert!(opened.is_some() || data == closed, "what does not fit stays as it is");
        opened.map(|length| data[..length].to_vec())
    }

    #[test]
    fn keys_are_derived_as_in_rfc_3711_b_3() {
        let suite = Suite::Aes128Sha1Long;
        let master = bytes("E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6");
        let master = Master::new(suite, &master).unwrap();
        let derived = |label, length| {
            let mut to = vec![0; length];
            derive(suite, &master, label, &mut to).unwrap();
            to
        };
        assert_eq!(derived(0, 16), bytes("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(derived(2, 14), bytes("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(derived(1, 20), bytes("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
    }

    #[test]
    fn keys_of_256_bits_are_derived_as_in_rfc_6188_7_4() {
        let suite = Suite::Aes256Sha1Long;
        let key = "f0f04914b513f2763a1b1fa130f10e29 98f6f6e43e4309d1e622a0e332b9f1b6";
        let master = [bytes(key), bytes("3b04803de51ee7c96423ab5b78d2")].concat();
        let master = Master::new(suite, &master).unwrap();
        let (mut key, mut salt) = ([0; 32], [0; 14]);
        derive(suite, &master, 0, &mut key).unwrap();
        derive(suite, &master, 2, &mut salt).unwrap();
        let expected = "5ba1064e30ec51613cad926c5a28ef73 1ec7fb397f70a960653caf06554cd8c4";
        assert_eq!(key.to_vec(), bytes(expected));
        assert_eq!(salt.to_vec(), bytes("fa31791685ca444a9e07c6c64e93"));
    }

    #[test]
    fn the_keystream_is_that_of_rfc_3711_b_2() {
        let key = bytes("2B7E151628AED2A6ABF7158809CF4F3C");
        let salt = u128::from_be_bytes(bytes("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000").try_into().unwrap());
        let session = Session::of(Suite::Aes128Sha1Long, &key, &[0; 20], salt, true).unwrap();
        let mut stream = [0; 48];
        session.apply_keystream(0, 0, &mut stream);
        let expected = "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0";
        assert_eq!(stream.to_vec(), bytes(expected));
    }

    /// RFC 7714 section 16: session keys and salt are given, the first packet is the same for both.
    #[test]
    fn packets_are_sealed_as_in_rfc_7714_16() {
        let head = "8040f17b 8041f8d3 5501a0b2";
        let body = "47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573";
        let salt = u128::from_be_bytes(bytes("51756964 2070726f 2071756f 00000000").try_into().unwrap());
        let cases = [
            (
                Suite::Aes128Gcm,
                16,
                "f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf 8833
                 899d7f27 beb16a91 52cf765e e4390cce",
            ),
            (
                Suite::Aes256Gcm,
                32,
                "32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f 1ba63799 b87b
                 7aa3db36 dfffd6b0 f9bb7878 d7a76c13",
            ),
        ];
        for (suite, length, sealed) in cases {
            let key: Vec<u8> = (0..length).collect();
            let session = Session::of(suite, &key, &[0; 20], salt, true).unwrap();
            let mut data = [bytes(head), bytes(body), vec![0; GCM_TAG]].concat();
            session.seal_rtp(0x5501_a0b2, 0xf17b, rtp::HEADER, &mut data).unwrap();
            assert_eq!(data, [bytes(head), bytes(sealed)].concat(), "{suite:?}");
            let opened = session.open_rtp(0x5501_a0b2, 0xf17b, rtp::HEADER, &mut data).unwrap();
            assert_eq!(data[..opened], [bytes(head), bytes(body)].concat());
        }
    }

    #[test]
    fn what_one_closes_the_other_opens_once() {
        for (suite, _) in SUITES {
            let (mut here, mut there) = pair(suite);
            let closed = close(&mut here, 7).unwrap();
            assert_eq!(closed.len(), packet(7).len() + suite.rtp_tag());
            assert_eq!(open(&mut there, &closed), Some(packet(7)), "{suite:?}");
            assert_eq!(open(&mut there, &closed), None, "a replay");
            assert_eq!(open(&mut here, &closed), None, "its own key is not the peer's");
        }
    }

    #[test]
    fn the_roll_over_counter_follows_the_sequence_through_loss_and_disorder() {
        let (mut here, mut there) = pair(Suite::Aes128Sha1Short);
        let order = (0..200_000u64).map(|n| (65_000 + (n ^ 1)) as u16);
        for (place, sequence) in order.enumerate() {
            let closed = close(&mut here, sequence).unwrap();
            if place % 7 != 3 {
                assert_eq!(open(&mut there, &closed), Some(packet(sequence)), "packet {place}");
            }
        }
        assert_eq!(here.sender.sent.unwrap().highest >> 16, 4);
    }

    #[test]
    fn no_index_is_used_twice() {
        let (mut here, _) = pair(Suite::Aes128Gcm);
        assert!(close(&mut here, 300).is_some() && close(&mut here, 302).is_some());
        assert!(close(&mut here, 301).is_some(), "it was not yet used");
        assert!([300, 301, 302].iter().all(|sequence| close(&mut here, *sequence).is_none()));
        assert!(close(&mut here, 302 - 128).is_none(), "nobody remembers whether it was");
    }

    #[test]
    fn the_window_is_128_packets() {
        let (mut here, mut there) = pair(Suite::Aes128Sha1Long);
        let closed: Vec<_> = (1000..1300).map(|sequence| close(&mut here, sequence).unwrap()).collect();
        assert!(open(&mut there, &closed[0]).is_some() && open(&mut there, &closed[299]).is_some());
        assert!(open(&mut there, &closed[299 - 128]).is_none());
        assert!(open(&mut there, &closed[299 - 127]).is_some());
        assert!(open(&mut there, &closed[299 - 127]).is_none());
    }

    #[test]
    fn many_sources_are_remembered_and_memory_is_bounded() {
        let mut sources = Sources::default();
        (0..100).for_each(|ssrc| sources.note(ssrc, 5));
        assert!((92..100).all(|ssrc| sources.find(ssrc).is_some()));
        assert_eq!(sources.find(91), None);
        sources.note(92, 6);
        sources.note(1, 5);
        assert!(sources.find(92).is_some() && sources.find(93).is_none(), "the one heard longest ago goes");
    }

    /// A stream after a roll-over, then other keys.
    fn rolled_over(suite: Suite) -> (Srtp, Srtp, Keys, Keys) {
        let (mut here, mut there) = pair(suite);
        for sequence in [65_000, 65_535, 0, 400] {
            let closed = close(&mut here, sequence).unwrap();
            assert!(open(&mut there, &closed).is_some());
        }
        let master = |first| Master::new(suite, &vec![first; suite.master_length()]).unwrap();
        let new_here = Keys { suite, local: master(3), remote: master(2) };
        let new_there = Keys { suite, local: master(2), remote: master(3) };
        (here, there, new_here, new_there)
    }

    #[test]
    fn another_key_keeps_the_roll_over_counter() {
        let (mut here, mut there, new_here, new_there) = rolled_over(Suite::Aes128Gcm);
        let old = close(&mut here, 401).unwrap();
        here.rekey(&new_here, false).unwrap();
        there.rekey(&new_there, false).unwrap();
        assert_eq!(open(&mut there, &old), None, "closed with the key before");
        let closed = close(&mut here, 402).unwrap();
        assert_eq!(here.sender.sent.unwrap().highest, 65_536 + 402);
        assert_eq!(open(&mut there, &closed), Some(packet(402)));
    }

    #[test]
    fn a_peer_that_begins_anew_with_another_key_is_understood() {
        let (_, mut there, new_here, new_there) = rolled_over(Suite::Aes128Sha1Long);
        there.rekey(&new_there, false).unwrap();
        let mut anew = Srtp::new(&new_here).unwrap();
        let closed = close(&mut anew, 402).unwrap();
        assert_eq!(open(&mut there, &closed), Some(packet(402)));
    }

    #[test]
    fn a_new_peer_is_sent_a_counter_of_zero_under_a_new_key_and_never_under_the_old() {
        let (mut here, _, new_here, _) = rolled_over(Suite::Aes128Sha1Long);
        let (same, _) = keys(Suite::Aes128Sha1Long);
        here.rekey(&same, true).unwrap();
        assert_eq!(close(&mut here, 400), None, "it was sent already");
        here.rekey(&new_here, true).unwrap();
        close(&mut here, 402).unwrap();
        assert_eq!(here.sender.sent.unwrap().highest, 402);
    }

    #[test]
    fn rtcp_is_closed_and_opened_once() {
        for (suite, _) in SUITES {
            let (mut here, mut there) = pair(suite);
            let report = [&[0x80, 200, 0, 6][..], &[7; 24]].concat();
            for index in 1..4u32 {
                let mut data = report.clone();
                data.resize(report.len() + GROWTH, 0);
                let closed = here.close_rtcp(&mut data, report.len()).unwrap();
                data.truncate(closed);
                assert_eq!(there.receiver.rtcp.rtcp_index(&data), Some(u64::from(index)));
                let mut again = data.clone();
                let opened = there.open_rtcp(&mut data).unwrap();
                assert_eq!(data[..opened], report);
                assert_eq!(there.open_rtcp(&mut again), None, "a replay");
            }
        }
    }

    fn suites() -> impl Strategy<Value = Suite> {
        proptest::sample::select(SUITES.map(|(suite, _)| suite).to_vec())
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused(suite in suites(), data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (mut here, _) = pair(suite);
            for first in [None, Some(0x80), Some(0x90), Some(0x8f)] {
                let mut data = data.clone();
                if let (Some(byte), Some(first)) = (data.first_mut(), first) {
                    *byte = first;
                }
                prop_assert_eq!(here.open_rtp(&mut data.clone()), None);
                prop_assert_eq!(here.open_rtcp(&mut data), None);
            }
        }

        #[test]
        fn a_packet_with_one_bit_changed_is_refused(suite in suites(), place in any::<proptest::sample::Index>(), bit in 0u32..8) {
            let (mut here, mut there) = pair(suite);
            let good = close(&mut here, 7).unwrap();
            let mut bad = good.clone();
            let place = place.index(bad.len());
            bad[place] ^= 1u8 << bit;
            prop_assert_eq!(open(&mut there, &bad), None);
            prop_assert_eq!(open(&mut there, &good), Some(packet(7)), "and costs the good one nothing");
        }
    }
}
