//! RTCP (RFC 3550 section 6): the compound packets we make, and what we read in those of the peer.
//!
//! Each port reports every 5 s times 0.5 to 1.5 (6.2, without the scaling by group size: there are two of us,
//! and without reconsideration). A compound is SR or RR, then SDES with the CNAME, at the end BYE.

use crate::incoming::Reception;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
/// SR with one block, SDES with a CNAME of 16 characters, BYE.
pub const LONGEST: usize = 28 + 24 + 28 + 8;
pub const CNAME: usize = 16;

/// Middle 32 bits of an NTP timestamp: seconds times 65536.
pub type ShortNtp = u32;

/// What a sender report says of the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    pub ntp: u64,
    pub rtp_timestamp: u32,
    pub packets: u32,
    pub octets: u32,
}

/// One report block: what was received, and when the last sender report came (0, 0: never).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    pub reception: Reception,
    pub last_sr: ShortNtp,
    pub delay_since_last_sr: u32,
}

/// Write one compound packet; the bytes of `to` that it takes.
pub fn write(
    to: &mut [u8; LONGEST],
    ssrc: u32,
    sender: Option<Sender>,
    block: Option<Block>,
    cname: &[u8; CNAME],
    goodbye: bool,
) -> usize {
    let mut out = Cursor { to, at: 0 };
    let blocks = u8::from(block.is_some());
    match sender {
        Some(sender) => {
            out.head(blocks, SENDER_REPORT, 6 + 6 * u16::from(blocks));
            out.word(ssrc);
            out.word((sender.ntp >> 32) as u32);
            out.word(sender.ntp as u32);
            out.word(sender.rtp_timestamp);
            out.word(sender.packets);
            out.word(sender.octets);
        }
        None => {
            out.head(blocks, RECEIVER_REPORT, 1 + 6 * u16::from(blocks));
            out.word(ssrc);
        }
    }
    if let Some(block) = block {
        out.word(block.reception.ssrc);
        out.word(u32::from(block.reception.fraction_lost) << 24 | block.reception.lost & 0xff_ffff);
        out.word(block.reception.highest);
        out.word(block.reception.jitter);
        out.word(block.last_sr);
        out.word(block.delay_since_last_sr);
    }
    out.head(1, SOURCE_DESCRIPTION, 6);
    out.word(ssrc);
    out.bytes(&[1, CNAME as u8]);
    out.bytes(cname);
    out.bytes(&[0, 0]);
    if goodbye {
        out.head(1, GOODBYE, 1);
        out.word(ssrc);
    }
    out.at
}

struct Cursor<'a> {
    to: &'a mut [u8; LONGEST],
    at: usize,
}

impl Cursor<'_> {
    fn head(&mut self, count: u8, kind: u8, words: u16) {
        let [w0, w1] = words.to_be_bytes();
        self.bytes(&[0x80 | count, kind, w0, w1]);
    }

    fn word(&mut self, word: u32) {
        self.bytes(&word.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if let Some(place) = self.to.get_mut(self.at..self.at + bytes.len()) {
            place.copy_from_slice(bytes);
            self.at += bytes.len();
        }
    }
}

/// What a peer's compound packet tells us.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heard {
    /// The SSRC that the peer reports as.
    pub ssrc: u32,
    /// The NTP time of its sender report.
    pub sent_ntp: Option<ShortNtp>,
    /// What it says of the stream that it gets from us.
    pub about_us: Option<About>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct About {
    pub lost: u32,
    pub jitter: u32,
    pub last_sr: ShortNtp,
    pub delay_since_last_sr: u32,
}

/// Read a compound packet; None when it is not RTCP. `our_ssrc` picks the block that is about us.
///
/// Feedback and other packets may stand first (reduced size, RFC 5506); their contents are not looked at.
pub fn read(data: &[u8], our_ssrc: u32) -> Option<Heard> {
    let mut heard = Heard::default();
    let mut rest = data;
    while let Some(&[first, kind, l0, l1]) = rest.first_chunk::<4>() {
        if first >> 6 != 2 || !(192..=223).contains(&kind) {
            return None;
        }
        let length = 4 * (1 + usize::from(u16::from_be_bytes([l0, l1])));
        let (packet, next) = rest.split_at_checked(length)?;
        rest = next;
        let count = usize::from(first & 0x1f);
        match kind {
            SENDER_REPORT => {
                heard.ssrc = word(packet, 1)?;
                heard.sent_ntp = Some(word(packet, 2)? << 16 | word(packet, 3)? >> 16);
                heard.about_us = about(packet, 7, count, our_ssrc)?.or(heard.about_us);
            }
            RECEIVER_REPORT => {
                heard.ssrc = word(packet, 1)?;
                heard.about_us = about(packet, 2, count, our_ssrc)?.or(heard.about_us);
            }
            _ if heard.ssrc == 0 => heard.ssrc = word(packet, 1).unwrap_or(0),
            _ => {}
        }
    }
    (rest.is_empty() && !data.is_empty()).then_some(heard)
}

fn about(packet: &[u8], first_word: usize, count: usize, our_ssrc: u32) -> Option<Option<About>> {
    let mut found = None;
    for start in (0..count).map(|block| first_word + 6 * block) {
        let block = About {
            lost: word(packet, start + 1)? & 0xff_ffff,
            jitter: word(packet, start + 3)?,
            last_sr: word(packet, start + 4)?,
            delay_since_last_sr: word(packet, start + 5)?,
        };
        if word(packet, start)? == our_ssrc {
            found = Some(block);
        }
    }
    Some(found)
}

fn word(packet: &[u8], index: usize) -> Option<u32> {
    let bytes = packet.get(4 * index..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RECEPTION: Reception = Reception { ssrc: 77, fraction_lost: 3, lost: 5, highest: 6, jitter: 7 };

    #[test]
    fn what_one_side_writes_the_other_reads() {
        let sender = Sender { ntp: 0x1111_2222_3333_4444, rtp_timestamp: 1, packets: 2, octets: 3 };
        let block = Block { reception: RECEPTION, last_sr: 8, delay_since_last_sr: 9 };
        let mut data = [0; LONGEST];
        let length = write(&mut data, 42, Some(sender), Some(block), b"0123456789abcdef", true);
        assert_eq!(length, LONGEST);
        let heard = read(&data, 77).expect("it is RTCP");
        assert_eq!((heard.ssrc, heard.sent_ntp), (42, Some(0x2222_3333)));
        let about_us = About { lost: 5, jitter: 7, last_sr: 8, delay_since_last_sr: 9 };
        assert_eq!(heard.about_us, Some(about_us));
        assert_eq!(read(&data, 78).expect("it is RTCP").about_us, None);
    }

    #[test]
    fn lengths_that_lie_are_not_rtcp() {
        let mut data = [0; LONGEST];
        let length = write(&mut data, 42, None, None, b"0123456789abcdef", false);
        assert_eq!(length, 8 + 28);
        assert!(read(&data[..length], 1).is_some());
        assert_eq!(read(&data[..length - 1], 1), None);
        assert_eq!(read(&[], 1), None);
        assert_eq!(read(&[0x81, 201, 0, 1, 0, 0, 0, 1], 1), None, "a block that is not there");
    }

    proptest! {
        #[test]
        fn any_bytes_are_rtcp_or_none(data in proptest::collection::vec(any::<u8>(), 0..200), our_ssrc: u32) {
            read(&data, our_ssrc);
        }

        #[test]
        fn any_body_behind_a_good_head_is_rtcp_or_none(kind in 200u8..208, count in 0u8..32, body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let words = (body.len() / 4) as u16;
            let mut data = vec![0x80 | count, kind];
            data.extend(words.to_be_bytes());
            data.extend(body);
            read(&data, 1);
        }
    }
}
