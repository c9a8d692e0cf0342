//! MessagePack as the control socket speaks it: a bounded reader that cannot panic, and a writer.
//!
//! Only what `messages.py` needs: arrays, integers, floats, strings, bytes, booleans. Maps and extension
//! types can be stepped over, never read.

/// The bytes are not MessagePack, or not of the shape that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

pub type Read<T> = Result<T, Malformed>;

/// Reads values one after the other from borrowed bytes.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Read<u8> {
        self.take(1)?.first().copied().ok_or(Malformed)
    }

    fn big_endian(&mut self, count: usize) -> Read<u64> {
        Ok(self.take(count)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn length(&mut self, count: usize) -> Read<usize> {
        usize::try_from(self.big_endian(count)?).map_err(|_| Malformed)
    }

    pub fn array(&mut self) -> Read<usize> {
        match self.byte()? {
            head @ 0x90..=0x9f => Ok(usize::from(head & 0x0f)),
            0xdc => self.length(2),
            0xdd => self.length(4),
            _ => Err(Malformed),
        }
    }

    pub fn uint(&mut self) -> Read<u64> {
        match self.byte()? {
            head @ 0x00..=0x7f => Ok(u64::from(head)),
            0xcc => self.big_endian(1),
            0xcd => self.big_endian(2),
            0xce => self.big_endian(4),
            0xcf => self.big_endian(8),
            _ => Err(Malformed),
        }
    }

    /// An unsigned integer that fits into `T`.
    pub fn number<T: TryFrom<u64>>(&mut self) -> Read<T> {
        T::try_from(self.uint()?).map_err(|_| Malformed)
    }

    /// A float, or an integer where a float is meant. Neither NaN nor infinite.
    pub fn float(&mut self) -> Read<f64> {
        let value = match self.rest.first().ok_or(Malformed)? {
            0xcb => {
                self.byte()?;
                f64::from_bits(self.big_endian(8)?)
            }
            0xca => {
                self.byte()?;
                f64::from(f32::from_bits(self.number_of(4)?))
            }
            0xd0..=0xd3 | 0xe0..=0xff => self.negative()? as f64,
            _ => self.uint()? as f64,
        };
        if value.is_finite() { Ok(value) } else { Err(Malformed) }
    }

    fn number_of(&mut self, count: usize) -> Read<u32> {
        u32::try_from(self.big_endian(count)?).map_err(|_| Malformed)
    }

    fn negative(&mut self) -> Read<i64> {
        Ok(match self.byte()? {
            0xd0 => i64::from(self.big_endian(1)? as i8),
            0xd1 => i64::from(self.big_endian(2)? as i16),
            0xd2 => i64::from(self.big_endian(4)? as i32),
            0xd3 => self.big_endian(8)? as i64,
            head => i64::from(head as i8),
        })
    }

    /// Step over a nil; false where something else stands.
    pub fn nil(&mut self) -> bool {
        match self.rest.split_first() {
            Some((0xc0, rest)) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    pub fn boolean(&mut self) -> Read<bool> {
        match self.byte()? {
            0xc2 => Ok(false),
            0xc3 => Ok(true),
            _ => Err(Malformed),
        }
    }

    pub fn text(&mut self) -> Read<&'a str> {
        let length = match self.byte()? {
            head @ 0xa0..=0xbf => usize::from(head & 0x1f),
            0xd9 => self.length(1)?,
            0xda => self.length(2)?,
            0xdb => self.length(4)?,
            _ => return Err(Malformed),
        };
        std::str::from_utf8(self.take(length)?).map_err(|_| Malformed)
    }

    pub fn bytes(&mut self) -> Read<&'a [u8]> {
        let length = match self.byte()? {
            0xc4 => self.length(1)?,
            0xc5 => self.length(2)?,
            0xc6 => self.length(4)?,
            _ => return Err(Malformed),
        };
        self.take(length)
    }

    /// The extent of the next value, whatever it is, stepped over. Nesting costs no stack.
    pub fn value(&mut self) -> Read<&'a [u8]> {
        let start = self.rest;
        let mut due: u64 = 1;
        while due > 0 {
            due = due - 1 + self.step()?;
        }
        start.get(..start.len() - self.rest.len()).ok_or(Malformed)
    }

    /// Step over one head with its scalar body; the count of values nested directly in it.
    fn step(&mut self) -> Read<u64> {
        let (body, nested) = match self.byte()? {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => (0, 0),
            head @ 0x80..=0x8f => (0, 2 * u64::from(head & 0x0f)),
            head @ 0x90..=0x9f => (0, u64::from(head & 0x0f)),
            head @ 0xa0..=0xbf => (usize::from(head & 0x1f), 0),
            0xc4 | 0xd9 => (self.length(1)?, 0),
            0xc5 | 0xda => (self.length(2)?, 0),
            0xc6 | 0xdb => (self.length(4)?, 0),
            0xc7 => (self.length(1)?.saturating_add(1), 0),
            0xc8 => (self.length(2)?.saturating_add(1), 0),
            0xc9 => (self.length(4)?.saturating_add(1), 0),
            0xcc | 0xd0 => (1, 0),
            0xcd | 0xd1 => (2, 0),
            0xca | 0xce | 0xd2 => (4, 0),
            0xcb | 0xcf | 0xd3 => (8, 0),
            0xd4 => (2, 0),
            0xd5 => (3, 0),
            0xd6 => (5, 0),
            0xd7 => (9, 0),
            0xd8 => (17, 0),
            0xdc => (0, self.big_endian(2)?),
            0xdd => (0, self.big_endian(4)?),
            0xde => (0, 2 * self.big_endian(2)?),
            0xdf => (0, 2 * self.big_endian(4)?),
            0xc1 => return Err(Malformed),
        };
        self.take(body)?;
        Ok(nested)
    }
}

/// Appends values to a buffer.
#[derive(Default)]
pub struct Writer {
    pub data: Vec<u8>,
}

impl Writer {
    pub fn array(&mut self, length: usize) {
        match length {
            0..=15 => self.data.push(0x90 | length as u8),
            16..=0xffff => self.head(0xdc, &(length as u16).to_be_bytes()),
            _ => self.head(0xdd, &(length as u32).to_be_bytes()),
        }
    }

    pub fn uint(&mut self, value: u64) {
        match value {
            0..=0x7f => self.data.push(value as u8),
            0x80..=0xff => self.head(0xcc, &[value as u8]),
            0x100..=0xffff => self.head(0xcd, &(value as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.head(0xce, &(value as u32).to_be_bytes()),
            _ => self.head(0xcf, &value.to_be_bytes()),
        }
    }

    pub fn float(&mut self, value: f64) {
        self.head(0xcb, &value.to_bits().to_be_bytes());
    }

    pub fn boolean(&mut self, value: bool) {
        self.data.push(if value { 0xc3 } else { 0xc2 });
    }

    pub fn text(&mut self, value: &str) {
        match value.len() {
            length @ 0..=31 => self.data.push(0xa0 | length as u8),
            length @ 32..=0xff => self.head(0xd9, &[length as u8]),
            length @ 0x100..=0xffff => self.head(0xda, &(length as u16).to_be_bytes()),
            length => self.head(0xdb, &(length as u32).to_be_bytes()),
        }
        self.data.extend_from_slice(value.as_bytes());
    }

    pub fn bytes(&mut self, value: &[u8]) {
        match value.len() {
            length @ 0..=0xff => self.head(0xc4, &[length as u8]),
            length @ 0x100..=0xffff => self.head(0xc5, &(length as u16).to_be_bytes()),
            length => self.head(0xc6, &(length as u32).to_be_bytes()),
        }
        self.data.extend_from_slice(value);
    }

    fn head(&mut self, head: u8, length: &[u8]) {
        self.data.push(head);
        self.data.extend_from_slice(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::default();
        write(&mut writer);
        writer.data
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(number: u64, float in -1e300..1e300f64, text: String, bytes: Vec<u8>) {
            let data = written(|w| {
                w.array(4);
                w.uint(number);
                w.float(float);
                w.text(&text);
                w.bytes(&bytes);
            });
            let mut reader = Reader::new(&data);
            prop_assert_eq!(reader.array(), Ok(4));
            prop_assert_eq!(reader.uint(), Ok(number));
            prop_assert_eq!(reader.float(), Ok(float));
            prop_assert_eq!(reader.text(), Ok(text.as_str()));
            prop_assert_eq!(reader.bytes(), Ok(bytes.as_slice()));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn a_value_is_stepped_over_whole(text: String, number: u64) {
            let first = written(|w| {
                w.array(3);
                w.text(&text);
                w.uint(number);
                w.array(0);
            });
            let both = [first.clone(), vec![0xc3]].concat();
            let mut reader = Reader::new(&both);
            prop_assert_eq!(reader.value(), Ok(first.as_slice()));
            prop_assert_eq!(reader.boolean(), Ok(true));
        }

        #[test]
        fn any_bytes_are_read_or_malformed(data: Vec<u8>) {
            let mut reader = Reader::new(&data);
            while !reader.is_empty() && reader.value().is_ok() {}
        }
    }

    #[test]
    fn an_array_that_promises_more_than_there_is_ends_at_once() {
        assert_eq!(Reader::new(&[0xdd, 0xff, 0xff, 0xff, 0xff, 0x01]).value(), Err(Malformed));
    }

    #[test]
    fn integers_stand_in_for_floats() {
        assert_eq!(Reader::new(&[0x05]).float(), Ok(5.0));
        assert_eq!(Reader::new(&[0xe7]).float(), Ok(-25.0));
        assert_eq!(Reader::new(&[0xd1, 0xff, 0x00]).float(), Ok(-256.0));
        assert_eq!(Reader::new(&written(|w| w.float(f64::NAN))).float(), Err(Malformed));
    }
}
