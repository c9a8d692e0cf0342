//! STUN messages as checks of connectivity need them (RFC 8489; attributes of RFC 8445 section 16.1).
//!
//! Reads a binding request or indication from a stranger, writes the success response. Answers to requests
//! that are not in order are left out: whoever cannot prove itself learns nothing, and reflects nothing.

use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

const REQUEST: u16 = 0x0001;
const INDICATION: u16 = 0x0011;
const SUCCESS: u16 = 0x0101;
const COOKIE: u32 = 0x2112_a442;
pub const HEADER: usize = 20;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
/// From here on an attribute that is not known may be passed over.
const OPTIONAL: u16 = 0x8000;
const FINGERPRINT: u16 = 0x8028;
const FINGERPRINT_XOR: u32 = 0x5354_554e;

const TAG: usize = 20;
/// Header, an IPv6 address, integrity, fingerprint.
pub const LONGEST_RESPONSE: usize = HEADER + 24 + 4 + TAG + 8;

type Transaction = [u8; 12];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    Request(Request<'a>),
    /// Keeps a binding open, and wants no answer.
    Indication,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    transaction: Transaction,
    pub username: &'a [u8],
    pub use_candidate: bool,
    /// What the integrity is of, but for the length in its header, which counts up to the end of `tag`.
    covered: &'a [u8],
    tag: &'a [u8],
}

/// Whether a datagram on a port of several protocols is STUN (RFC 7983 section 7).
pub fn looks_like_stun(data: &[u8]) -> bool {
    matches!(data, [0..=3, ..])
}

/// Read a datagram; None for all but binding requests, whole and with what we ask of them, and indications.
pub fn read(data: &[u8]) -> Option<Message<'_>> {
    let (head, body) = data.split_at_checked(HEADER)?;
    let (kind, length) = (half(head, 0)?, usize::from(half(head, 2)?));
    let transaction = *head.last_chunk::<12>()?;
    let cookie = u32::from_be_bytes(*head.get(4..)?.first_chunk()?);
    if cookie != COOKIE || length != body.len() || length % 4 != 0 {
        return None;
    }
    match kind {
        INDICATION => Some(Message::Indication),
        REQUEST => read_request(data, transaction),
        _ => None,
    }
}

fn read_request(data: &[u8], transaction: Transaction) -> Option<Message<'_>> {
    let (mut username, mut use_candidate) = (None, false);
    let mut at = HEADER;
    while at < data.len() {
        let (kind, length) = (half(data, at)?, usize::from(half(data, at + 2)?));
        let value = data.get(at + 4..)?.get(..length)?;
        match kind {
            USERNAME => username = Some(value),
            USE_CANDIDATE => use_candidate = true,
            MESSAGE_INTEGRITY if length == TAG => {
                let covered = data.get(..at)?;
                fingerprint_fits(data)?;
                let username = username?;
                return Some(Message::Request(Request {
                    transaction,
                    username,
                    use_candidate,
                    covered,
                    tag: value,
                }));
            }
            PRIORITY | MESSAGE_INTEGRITY_SHA256 | OPTIONAL.. => {}
            _ => return None,
        }
        at += 4 + length.next_multiple_of(4);
    }
    None
}

/// A fingerprint at the end must be that of what is before it; there need not be one.
fn fingerprint_fits(data: &[u8]) -> Option<()> {
    let (before, last) = data.split_last_chunk::<8>()?;
    let [k0, k1, 0, 4, f0, f1, f2, f3] = *last else { return Some(()) };
    if u16::from_be_bytes([k0, k1]) != FINGERPRINT {
        return Some(());
    }
    (u32::from_be_bytes([f0, f1, f2, f3]) == crc32(before) ^ FINGERPRINT_XOR).then_some(())
}

impl Request<'_> {
    /// Whether whoever sent it knows `password`.
    pub fn is_of(&self, password: &str) -> bool {
        let Some(([k0, k1, _, _], rest)) = self.covered.split_first_chunk::<4>() else { return false };
        let Some(mut mac) = keyed(password) else { return false };
        let [l0, l1] = ((self.covered.len() + 4 + TAG - HEADER) as u16).to_be_bytes();
        mac.update(&[*k0, *k1, l0, l1]);
        mac.update(rest);
        mac.verify_slice(self.tag).is_ok()
    }

    /// Write the success response to it, which came from `from`; its length.
    pub fn answer(&self, from: SocketAddr, password: &str, to: &mut [u8; LONGEST_RESPONSE]) -> Option<usize> {
        let mut out = Out { to, at: 0 };
        out.bytes(&SUCCESS.to_be_bytes())?;
        out.bytes(&[0, 0])?;
        out.bytes(&COOKIE.to_be_bytes())?;
        out.bytes(&self.transaction)?;
        out.address(from, &self.transaction)?;
        out.set_length(4 + TAG)?;
        let mut mac = keyed(password)?;
        mac.update(out.written()?);
        out.attribute(MESSAGE_INTEGRITY, &mac.finalize().into_bytes())?;
        out.set_length(8)?;
        let fingerprint = crc32(out.written()?) ^ FINGERPRINT_XOR;
        out.attribute(FINGERPRINT, &fingerprint.to_be_bytes())?;
        Some(out.at)
    }
}

struct Out<'a> {
    to: &'a mut [u8; LONGEST_RESPONSE],
    at: usize,
}

impl Out<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        self.to.get_mut(self.at..self.at + bytes.len())?.copy_from_slice(bytes);
        self.at += bytes.len();
        Some(())
    }

    /// `value` is a multiple of four bytes long.
    fn attribute(&mut self, kind: u16, value: &[u8]) -> Option<()> {
        self.bytes(&kind.to_be_bytes())?;
        self.bytes(&(value.len() as u16).to_be_bytes())?;
        self.bytes(value)
    }

    /// XOR-MAPPED-ADDRESS (RFC 8489 section 14.2).
    fn address(&mut self, address: SocketAddr, transaction: &Transaction) -> Option<()> {
        let [p0, p1] = (address.port() ^ (COOKIE >> 16) as u16).to_be_bytes();
        let mut mask = [0; 16];
        let cookie = COOKIE.to_be_bytes();
        mask.iter_mut().zip(cookie.iter().chain(transaction)).for_each(|(to, from)| *to = *from);
        let mut value = [0; 20];
        let (family, octets, length) = match address.ip() {
            IpAddr::V4(ip) => (1, &ip.octets()[..], 8),
            IpAddr::V6(ip) => (2, &ip.octets()[..], 20),
        };
        let address = octets.iter().zip(mask).map(|(octet, mask)| octet ^ mask);
        let whole = [0, family, p0, p1].into_iter().chain(address);
        value.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
        self.attribute(XOR_MAPPED_ADDRESS, value.get(..length)?)
    }

    /// Write into the header how long the message is with `more` bytes that follow.
    fn set_length(&mut self, more: usize) -> Option<()> {
        let length = (self.at + more - HEADER) as u16;
        self.to.get_mut(2..4)?.copy_from_slice(&length.to_be_bytes());
        Some(())
    }

    fn written(&self) -> Option<&[u8]> {
        self.to.get(..self.at)
    }
}

fn keyed(password: &str) -> Option<Hmac<Sha1>> {
    <Hmac<Sha1> as KeyInit>::new_from_slice(password.as_bytes()).ok()
}

fn half(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

/// CRC-32 of ITU-T V.42, bit by bit: checks are seldom.
fn crc32(data: &[u8]) -> u32 {
    let bit = |crc: u32| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
    !data.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| bit(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 5769 section 2.1.
    const SAMPLE: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\
        \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\x00\x06\x00\x09evtj:h6vY\x20\x20\x20\
        \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
        \x80\x28\x00\x04\xe5\x7a\x3b\xcf";
    const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

    fn sample() -> Request<'static> {
        match read(SAMPLE) {
            Some(Message::Request(request)) => request,
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn the_sample_of_rfc_5769_is_read_and_proven() {
        assert_eq!((sample().username, sample().use_candidate), (&b"evtj:h6vY"[..], false));
        assert!(sample().is_of(PASSWORD) && !sample().is_of("guessed"));
    }

    #[test]
    fn the_answer_tells_where_the_request_came_from() {
        let mut to = [0; LONGEST_RESPONSE];
        let from = SocketAddr::from(([192, 0, 2, 1], 32_853));
        let length = sample().answer(from, PASSWORD, &mut to).unwrap();
        assert_eq!(to[..2], SUCCESS.to_be_bytes());
        assert_eq!(usize::from(half(&to, 2).unwrap()), length - HEADER);
        assert_eq!(to[HEADER..HEADER + 12], *b"\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43", "2.2");
        assert!(fingerprint_fits(&to[..length]).is_some());
        let from = SocketAddr::from(([0x2001, 0xdb8, 0x1234, 0x5678, 0x11, 0x2233, 0x4455, 0x6677], 32_853));
        assert_eq!(sample().answer(from, PASSWORD, &mut to), Some(LONGEST_RESPONSE));
        let mapped = b"\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9";
        assert_eq!(to[HEADER..HEADER + 24], *mapped, "2.3");
    }

    #[test]
    fn what_is_cut_or_unknown_is_no_request() {
        assert!((0..SAMPLE.len()).all(|length| read(&SAMPLE[..length]).is_none()));
        let mut unknown = SAMPLE.to_vec();
        unknown[HEADER] = 0;
        assert_eq!(read(&unknown), None, "an attribute that must be understood");
        let mut answer = SAMPLE.to_vec();
        answer[0] = 1;
        assert_eq!(read(&answer), None, "we ask nothing");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_none(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            read(&data);
        }

        #[test]
        fn any_attributes_are_a_message_or_none(body in proptest::collection::vec((0u16..0x30, 0u16..40, any::<[u8; 8]>()), 0..12)) {
            let attributes: Vec<u8> = body.iter().flat_map(|(kind, length, value)| {
                [&kind.to_be_bytes()[..], &length.to_be_bytes(), value].concat()
            }).collect();
            let mut data = [&REQUEST.to_be_bytes()[..], &(attributes.len() as u16).to_be_bytes(), &SAMPLE[4..HEADER]].concat();
            data.extend(attributes);
            if let Some(Message::Request(request)) = read(&data) {
                prop_assert!(!request.is_of(PASSWORD));
            }
        }

        #[test]
        fn a_sample_with_one_bit_changed_proves_nothing(place in 0..SAMPLE.len(), bit in 0u32..8) {
            let mut data = SAMPLE.to_vec();
            data[place] ^= 1u8 << bit;
            if let Some(Message::Request(request)) = read(&data) {
                prop_assert!(!request.is_of(PASSWORD) || place >= SAMPLE.len() - 8);
            }
        }
    }
}
