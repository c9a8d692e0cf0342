//! RTP's fixed header (RFC 3550 section 5.1): reading it, and writing a new one in front of the same payload.
//!
//! What goes out has the bare 12 bytes: the CSRC list, header extensions and padding stay behind. Extension
//! ids mean something only on the leg that negotiated them (RFC 8285 section 5), padding serves only ciphers.
//! Written here rather than borrowed: the relay needs these two functions and nothing more of RTP.

pub const HEADER: usize = 12;
const VERSION: u8 = 2;
const PADDING: u8 = 0x20;
const EXTENSION: u8 = 0x10;
const MARKER: u8 = 0x80;

/// What the header of one packet says, and where its payload lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    pub marker: bool,
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    payload_start: usize,
    payload_end: usize,
}

/// How long the header is, with contributors and extension; None when this is not RTP.
pub fn header_length(data: &[u8]) -> Option<usize> {
    let first = *data.first_chunk::<HEADER>()?.first()?;
    if first >> 6 != VERSION {
        return None;
    }
    let mut length = HEADER + 4 * usize::from(first & 0x0f);
    if first & EXTENSION != 0 {
        let &[_, _, w0, w1] = data.get(length..)?.first_chunk::<4>()?;
        length += 4 + 4 * usize::from(u16::from_be_bytes([w0, w1]));
    }
    Some(length)
}

pub fn sequence(data: &[u8]) -> Option<u16> {
    data.get(2..)?.first_chunk().copied().map(u16::from_be_bytes)
}

pub fn ssrc(data: &[u8]) -> Option<u32> {
    data.get(8..)?.first_chunk().copied().map(u32::from_be_bytes)
}

impl Packet {
    /// Read a datagram; None when it is not RTP.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let [first, second, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3] = *data.first_chunk::<HEADER>()?;
        let payload_start = header_length(data)?;
        let mut payload_end = data.len();
        if first & PADDING != 0 {
            let padding = usize::from(*data.last()?);
            payload_end = if padding == 0 { return None } else { payload_end.checked_sub(padding)? };
        }
        (payload_start <= payload_end).then_some(Self {
            marker: second & MARKER != 0,
            payload_type: second & !MARKER,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([r0, r1, r2, r3]),
            payload_start,
            payload_end,
        })
    }

    pub fn payload<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        data.get(self.payload_start..self.payload_end).unwrap_or_default()
    }

    /// Write `header` directly in front of the payload, over what was there; the packet that results.
    ///
    /// The payload stays untouched, so that one datagram can be sent to many listeners in turn.
    pub fn rewrite<'a>(&self, data: &'a mut [u8], header: &Header) -> Option<&'a [u8]> {
        let packet = data.get_mut(self.payload_start.checked_sub(HEADER)?..self.payload_end)?;
        header.write(packet.first_chunk_mut()?);
        Some(packet)
    }
}

/// A header to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub marker: bool,
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
}

impl Header {
    pub fn write(&self, to: &mut [u8; HEADER]) {
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [r0, r1, r2, r3] = self.ssrc.to_be_bytes();
        let second = self.payload_type | if self.marker { MARKER } else { 0 };
        *to = [VERSION << 6, second, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3];
    }
}

/// Whether a datagram on an RTP port is RTCP that the peer multiplexed (RFC 5761 section 4).
pub fn looks_like_rtcp(data: &[u8]) -> bool {
    matches!(data, [first, 192..=223, ..] if first >> 6 == VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: [u8; 14] = [0x80, 0x88, 0x12, 0x34, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef, b'h', b'i'];

    #[test]
    fn a_plain_packet_is_read() {
        let packet = Packet::parse(&PLAIN).expect("it is RTP");
        assert!(packet.marker);
        assert_eq!(packet.payload_type, 8);
        assert_eq!((packet.sequence, packet.timestamp, packet.ssrc), (0x1234, 160, 0xdead_beef));
        assert_eq!(packet.payload(&PLAIN), b"hi");
    }

    #[test]
    fn contributors_extensions_and_padding_stay_behind() {
        let mut data = vec![0xb1, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        data.extend([9, 9, 9, 9]); // one CSRC
        data.extend([0xbe, 0xde, 0, 1, 1, 2, 3, 4]); // one word of extension
        data.extend(*b"sound");
        data.extend([0, 0, 3]);
        let packet = Packet::parse(&data).expect("it is RTP");
        assert_eq!(packet.payload(&data), b"sound");
        let header = Header { marker: false, payload_type: 8, sequence: 7, timestamp: 8, ssrc: 9 };
        let sent = packet.rewrite(&mut data, &header).expect("there is room").to_vec();
        assert_eq!(sent, [&[0x80, 8, 0, 7, 0, 0, 0, 8, 0, 0, 0, 9], &b"sound"[..]].concat());
    }

    #[test]
    fn lengths_that_lie_are_not_rtp() {
        assert_eq!(Packet::parse(&PLAIN[..11]), None);
        assert_eq!(Packet::parse(&[0x40; 20]), None, "version 1");
        let bad_padding = |length: u8| [&[0xa0, 0][..], &[0; 10], &[length]].concat();
        assert_eq!(Packet::parse(&bad_padding(0)), None);
        assert_eq!(Packet::parse(&bad_padding(2)), None);
        assert!(Packet::parse(&bad_padding(1)).is_some());
        assert_eq!(Packet::parse(&[0x8f; 40]), None, "15 contributors need 72 bytes");
        assert_eq!(Packet::parse(&[0x90; 15]), None, "an extension without its head");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_packet_or_none(data in proptest::collection::vec(any::<u8>(), 0..100)) {
            let header = Header { marker: true, payload_type: 96, sequence: 1, timestamp: 2, ssrc: 3 };
            if let Some(packet) = Packet::parse(&data) {
                let payload = packet.payload(&data).to_vec();
                let mut copy = data.clone();
                let sent = packet.rewrite(&mut copy, &header).expect("a packet can be rewritten");
                let again = Packet::parse(sent).expect("what is sent is RTP");
                prop_assert_eq!(again.payload(sent), payload);
                prop_assert_eq!((again.sequence, again.timestamp, again.ssrc), (1, 2, 3));
            }
        }
    }
}
