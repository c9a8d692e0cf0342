//! Ogg (RFC 3533): packets out of pages, for one logical stream.
//!
//! Written here, not borrowed: reading needs these lines only, and what is damaged is passed over.

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
