//! Ogg (RFC 3533): packets out of pages and into pages, for one logical stream.
//!
//! Written here, not borrowed: it takes these lines only. What is damaged is passed over in reading.

const HEAD: usize = 27;
const CONTINUED: u8 = 1;

/// The packets of the first logical stream in `data`, in order; one that was cut off at the end is left out.
pub fn packets(data: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let mut pages = Pages { rest: data, serial: None };
    let mut begun: Vec<u8> = Vec::new();
    let mut whole: std::collections::VecDeque<Vec<u8>> = std::collections::VecDeque::new();
    std::iter::from_fn(move || {
        while whole.is_empty() {
            let page = pages.next()?;
            if !page.continued {
                begun.clear();
            }
            let mut body = page.body;
            for length in page.lacing {
                let (part, after) = body.split_at(usize::from(*length).min(body.len()));
                body = after;
                begun.extend_from_slice(part);
                if *length < 255 {
                    whole.push_back(std::mem::take(&mut begun));
                }
            }
        }
        whole.pop_front()
    })
}

struct Page<'a> {
    continued: bool,
    lacing: &'a [u8],
    body: &'a [u8],
}

struct Pages<'a> {
    rest: &'a [u8],
    serial: Option<[u8; 4]>,
}

impl<'a> Iterator for Pages<'a> {
    type Item = Page<'a>;

    fn next(&mut self) -> Option<Page<'a>> {
        loop {
            let start = self.rest.windows(4).position(|four| four == b"OggS")?;
            let page = self.rest.get(start..)?;
            let head = page.get(..HEAD)?;
            let segments = usize::from(*head.get(26)?);
            let lacing = page.get(HEAD..HEAD + segments)?;
            let length: usize = lacing.iter().map(|length| usize::from(*length)).sum();
            let Some(body) = page.get(HEAD + segments..HEAD + segments + length) else {
                self.rest = page.get(4..)?;
                continue;
            };
            self.rest = page.get(HEAD + segments + length..)?;
            let serial = *head.get(14..)?.first_chunk::<4>()?;
            if *self.serial.get_or_insert(serial) == serial {
                return Some(Page { continued: head.get(5)? & CONTINUED != 0, lacing, body });
            }
        }
    }
}

/// Puts packets into pages.
#[derive(Debug)]
pub struct Writer {
    serial: u32,
    sequence: u32,
    granule: u64,
}

const BEGINS: u8 = 2;
const ENDS: u8 = 4;

impl Writer {
    pub fn new(serial: u32) -> Self {
        Self { serial, sequence: 0, granule: 0 }
    }

    /// One page with these packets, which together are `granule` long. They must fit: 255 times 255 bytes.
    pub fn page(&mut self, packets: &[&[u8]], granule: u64, begins: bool, ends: bool) -> Vec<u8> {
        self.granule += granule;
        let mut lacing = Vec::new();
        for packet in packets {
            lacing.extend(std::iter::repeat_n(255, packet.len() / 255));
            lacing.push((packet.len() % 255) as u8);
        }
        let flags = if begins { BEGINS } else { 0 } | if ends { ENDS } else { 0 };
        let mut page = b"OggS\0".to_vec();
        page.push(flags);
        page.extend(self.granule.to_le_bytes());
        page.extend(self.serial.to_le_bytes());
        page.extend(self.sequence.to_le_bytes());
        page.extend([0; 4]);
        page.push(lacing.len() as u8);
        page.extend(lacing);
        packets.iter().for_each(|packet| page.extend_from_slice(packet));
        let sum = checksum(&page);
        if let Some(place) = page.get_mut(22..26) {
            place.copy_from_slice(&sum.to_le_bytes());
        }
        self.sequence += 1;
        page
    }
}

/// The CRC of a page whose own place is zero: polynomial 0x04c11db7, nothing reflected.
fn checksum(page: &[u8]) -> u32 {
    page.iter().fold(0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
            if sum & 0x8000_0000 == 0 { sum << 1 } else { sum << 1 ^ 0x04c1_1db7 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_back_out_of_pages() {
        let mut writer = Writer::new(7);
        let long = vec![9u8; 700];
        let mut file = writer.page(&[b"head"], 0, true, false);
        file.extend(writer.page(&[&long, b"", b"x"], 960, false, false));
        file.extend(writer.page(&[&[1; 255]], 960, false, true));
        let read: Vec<Vec<u8>> = packets(&file).collect();
        assert_eq!(read, [b"head".to_vec(), long, vec![], b"x".to_vec(), vec![1; 255]]);
    }
}
