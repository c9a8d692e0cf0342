//! Digits sent to a peer as telephone-events (RFC 4733 section 2.5.1): one packet each 20 ms while a digit lasts,
//! its end three times, and a pause before the next.

use std::collections::VecDeque;

use crate::dtmf;
use crate::time::{MILLISECOND, Micros, ticks};

const INTERVAL: Micros = 20 * MILLISECOND;
const PAUSE: Micros = 60 * MILLISECOND;
const END_PACKETS: u8 = 3;
/// More than this waiting is a mistake of whoever asks.
const MOST_WAITING: usize = 128;
const SHORTEST: Micros = 40 * MILLISECOND;
const LONGEST: Micros = 5_000 * MILLISECOND;
/// Of each tone, in -dBm0, as the payload wants it.
const VOLUME: u8 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pressed {
    code: u8,
    duration: Micros,
}

/// One packet to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyed {
    /// Which digit it is of: all packets of one have the same RTP timestamp.
    pub number: u32,
    pub first: bool,
    pub payload: [u8; 4],
}

#[derive(Debug, Default)]
pub struct Keyer {
    waiting: VecDeque<Pressed>,
    current: Option<(Pressed, Micros)>,
    ends_left: u8,
    number: u32,
    due: Option<Micros>,
}

impl Keyer {
    /// Send this digit after all that wait; false for one that there is not, or when too many wait.
    pub fn press(&mut self, digit: &str, duration: Micros, now: Micros) -> bool {
        let Some(code) = dtmf::code(digit).filter(|_| self.waiting.len() < MOST_WAITING) else {
            return false;
        };
        self.waiting.push_back(Pressed { code, duration: duration.clamp(SHORTEST, LONGEST) });
        self.due.get_or_insert(now);
        true
    }

    pub fn due(&self) -> Option<Micros> {
        self.due
    }

    /// The packet that is due, whose duration counts in ticks of `clock_rate_hz`.
    pub fn tick(&mut self, clock_rate_hz: u32, now: Micros) -> Option<Keyed> {
        let due = self.due.filter(|due| *due <= now)?;
        if self.current.is_none() {
            let Some(next) = self.waiting.pop_front() else {
                self.due = None;
                return None;
            };
            self.number = self.number.wrapping_add(1);
            self.current = Some((next, due));
            self.ends_left = END_PACKETS;
        }
        let (pressed, began) = self.current?;
        let first = self.ends_left == END_PACKETS && due == began;
        let lasted = (due - began + INTERVAL).min(pressed.duration);
        let ended = lasted == pressed.duration;
        let told = ticks(lasted, clock_rate_hz).min(u32::from(u16::MAX)) as u16;
        let [high, low] = told.to_be_bytes();
        let payload = [pressed.code, VOLUME | if ended { 0x80 } else { 0 }, high, low];
        self.due = Some(due + INTERVAL);
        if ended {
            self.ends_left -= 1;
            // The repeated ends go out with it: whoever lost the first has lost what was near it too, so apart.
            if self.ends_left == 0 {
                self.current = None;
                self.due = Some(due + PAUSE);
            }
        }
        Some(Keyed { number: self.number, first, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(keyer: &mut Keyer, ms: u64) -> Vec<(u64, Keyed)> {
        let mut sent = Vec::new();
        for now in (0..ms).map(|ms| ms * MILLISECOND) {
            while keyer.due().is_some_and(|due| due <= now) {
                sent.extend(keyer.tick(8000, now).map(|keyed| (now / MILLISECOND, keyed)));
            }
        }
        sent
    }

    #[test]
    fn a_digit_is_its_packets_and_three_ends() {
        let mut keyer = Keyer::default();
        assert!(keyer.press("#", 100 * MILLISECOND, 0));
        let sent = run(&mut keyer, 1000);
        let told = sent.iter().map(|(at, keyed)| {
            (
                *at,
                keyed.first,
                keyed.payload[1] & 0x80 != 0,
                u16::from_be_bytes([keyed.payload[2], keyed.payload[3]]),
            )
        });
        let ends = [(80, false, true, 800), (100, false, true, 800), (120, false, true, 800)];
        let all = [
            (0, true, false, 160),
            (20, false, false, 320),
            (40, false, false, 480),
            (60, false, false, 640),
        ];
        assert_eq!(told.collect::<Vec<_>>(), [&all[..], &ends].concat());
        assert!(sent.iter().all(|(_, keyed)| keyed.payload[0] == 11));
        assert_eq!(keyer.due(), None);
    }

    #[test]
    fn digits_follow_each_other_with_a_pause() {
        let mut keyer = Keyer::default();
        assert!(keyer.press("1", 60 * MILLISECOND, 0) && keyer.press("2", 60 * MILLISECOND, 0));
        let sent = run(&mut keyer, 1000);
        let second = sent.iter().find(|(_, keyed)| keyed.payload[0] == 2).unwrap();
        assert!(second.1.first && second.0 == 80 + 60);
        assert_eq!(second.1.number, sent[0].1.number + 1);
    }

    #[test]
    fn what_is_no_digit_is_refused_and_so_is_a_flood() {
        let mut keyer = Keyer::default();
        assert!(!keyer.press("x", 0, 0));
        assert_eq!((0..1000).filter(|_| keyer.press("5", 0, 0)).count(), MOST_WAITING);
    }
}
