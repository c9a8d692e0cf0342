//! Digits in telephone-events (RFC 4733): each told once when it begins and once when it ends.
//!
//! Packets repeat and get lost, so the RTP timestamp is an event's identity. A lost end is made up when
//! another event begins or after `LOST_END` without a packet; what still comes of that event is then ignored.

use crate::time::{MILLISECOND, Micros};

const LOST_END: Micros = 250 * MILLISECOND;
const LONGEST_SEGMENT: u16 = 0xffff;

const NAMES: [&str; 17] =
    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#", "A", "B", "C", "D", "flash"];

/// The event code of a digit.
pub fn code(digit: &str) -> Option<u8> {
    NAMES.iter().position(|name| *name == digit).map(|code| code as u8)
}

/// The four bytes of an event's payload (RFC 4733 section 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPayload {
    pub code: u8,
    pub end: bool,
    pub duration: u16,
}

impl EventPayload {
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let &[code, flags, d0, d1] = payload.first_chunk::<4>()?;
        Some(Self { code, end: flags & 0x80 != 0, duration: u16::from_be_bytes([d0, d1]) })
    }
}

/// What there is to tell about a digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digit {
    pub name: &'static str,
    pub ended: bool,
    pub duration_ms: u32,
}

/// Zero, one or two digits to tell: an end and a beginning can fall into one packet.
pub type Digits = [Option<Digit>; 2];

#[derive(Debug, Clone, Copy)]
struct Event {
    code: u8,
    ssrc: u32,
    /// Timestamp of the segment that is under way: an event longer than 0xffff ticks goes on in another one.
    timestamp: u32,
    ticks_before: u32,
    duration: u16,
    clock_rate_hz: u32,
    began_at: Micros,
    last_at: Micros,
    ended: bool,
}

/// Watches the telephone-events of one stream.
#[derive(Debug, Default)]
pub struct DigitWatch {
    event: Option<Event>,
}

impl DigitWatch {
    /// Take note of a packet of an event.
    pub fn take(
        &mut self,
        ssrc: u32,
        timestamp: u32,
        clock_rate_hz: u32,
        payload: EventPayload,
        now: Micros,
    ) -> Digits {
        let Some(event) = self.event.as_mut().filter(|event| event.ssrc == ssrc) else {
            return self.replace(ssrc, timestamp, clock_rate_hz, payload, now);
        };
        if event.timestamp != timestamp && event.is_continued_by(timestamp, payload) {
            event.ticks_before = event.ticks_before.saturating_add(u32::from(event.duration));
            event.timestamp = timestamp;
            event.duration = 0;
        }
        if event.timestamp == timestamp {
            return [event.go_on(payload, now), None];
        }
        if event.is_older(timestamp, now) {
            [None; 2]
        } else {
            self.replace(ssrc, timestamp, clock_rate_hz, payload, now)
        }
    }

    /// When `tick` wants to be called.
    pub fn deadline(&self) -> Option<Micros> {
        self.event.filter(|event| !event.ended).map(|event| event.last_at + LOST_END)
    }

    /// Make up an end that is overdue.
    pub fn tick(&mut self, now: Micros) -> Option<Digit> {
        if self.deadline()? <= now { self.end() } else { None }
    }

    /// End the event that is under way, if any: its stream is over.
    pub fn end(&mut self) -> Option<Digit> {
        let event = self.event.as_mut().filter(|event| !event.ended)?;
        event.ended = true;
        event.tell()
    }

    /// When the event that the latest packet belongs to began.
    pub fn began_at(&self) -> Option<Micros> {
        self.event.map(|event| event.began_at)
    }

    fn replace(
        &mut self,
        ssrc: u32,
        timestamp: u32,
        clock_rate_hz: u32,
        payload: EventPayload,
        now: Micros,
    ) -> Digits {
        let before = self.end();
        let mut event = Event {
            code: payload.code,
            ssrc,
            timestamp,
            ticks_before: 0,
            duration: 0,
            clock_rate_hz,
            began_at: now,
            last_at: now,
            ended: false,
        };
        let begun = event.tell();
        let ended = event.go_on(payload, now);
        self.event = Some(event);
        match (before, ended) {
            (None, ended) => [begun, ended],
            (before, None) => [before, begun],
            (before, Some(_)) => {
                // Three things to tell in one packet: the end of this one waits for the next tick.
                self.event = Some(Event { ended: false, last_at: now.saturating_sub(LOST_END), ..event });
                [before, begun]
            }
        }
    }
}

impl Event {
    fn go_on(&mut self, payload: EventPayload, now: Micros) -> Option<Digit> {
        if self.ended || self.code != payload.code {
            return None;
        }
        self.last_at = now;
        self.duration = self.duration.max(payload.duration);
        self.ended = payload.end;
        if payload.end { self.tell() } else { None }
    }

    /// Whether this is the next segment of one long event (RFC 4733 section 2.5.1.3).
    fn is_continued_by(&self, timestamp: u32, payload: EventPayload) -> bool {
        !self.ended
            && self.code == payload.code
            && timestamp.wrapping_sub(self.timestamp) == u32::from(LONGEST_SEGMENT)
            && self.duration > LONGEST_SEGMENT / 2
    }

    /// A timestamp from before this event is a straggler, unless the clock of the sender was set anew.
    fn is_older(&self, timestamp: u32, now: Micros) -> bool {
        let behind = self.timestamp.wrapping_sub(timestamp);
        (1..=self.clock_rate_hz.saturating_mul(5)).contains(&behind)
            && now < self.last_at + 5_000 * MILLISECOND
    }

    fn tell(&self) -> Option<Digit> {
        let ticks = u64::from(self.ticks_before) + u64::from(self.duration);
        let duration_ms = if self.ended { ticks * 1000 / u64::from(self.clock_rate_hz.max(1)) } else { 0 };
        let name = NAMES.get(usize::from(self.code))?;
        Some(Digit { name, ended: self.ended, duration_ms: duration_ms as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn payload(code: u8, end: bool, duration: u16) -> EventPayload {
        EventPayload { code, end, duration }
    }

    fn told(name: &'static str, ended: bool, duration_ms: u32) -> Option<Digit> {
        Some(Digit { name, ended, duration_ms })
    }

    #[test]
    fn a_digit_is_told_at_its_first_packet_and_at_its_first_end() {
        let mut watch = DigitWatch::default();
        assert_eq!(watch.take(1, 0, 8000, payload(5, false, 160), 0), [told("5", false, 0), None]);
        assert_eq!(watch.take(1, 0, 8000, payload(5, false, 320), 20_000), [None, None]);
        assert_eq!(watch.take(1, 0, 8000, payload(5, true, 800), 40_000), [told("5", true, 100), None]);
        assert_eq!(watch.take(1, 0, 8000, payload(5, true, 800), 40_001), [None, None]);
        assert_eq!(watch.deadline(), None);
    }

    #[test]
    fn a_lost_end_is_made_up_after_a_silence() {
        let mut watch = DigitWatch::default();
        watch.take(1, 0, 48_000, payload(11, false, 4800), 0);
        assert_eq!(watch.tick(LOST_END - 1), None);
        assert_eq!(watch.tick(LOST_END), told("#", true, 100));
        assert_eq!(watch.take(1, 0, 48_000, payload(11, true, 9600), LOST_END + 1), [None, None]);
    }

    #[test]
    fn a_lost_end_is_made_up_by_the_next_digit() {
        let mut watch = DigitWatch::default();
        watch.take(1, 0, 8000, payload(1, false, 160), 0);
        let next = watch.take(1, 1600, 8000, payload(2, false, 160), 200_000);
        assert_eq!(next, [told("1", true, 20), told("2", false, 0)]);
    }

    #[test]
    fn an_end_that_is_all_that_came_is_told_after_the_digit_before_it() {
        let mut watch = DigitWatch::default();
        watch.take(1, 0, 8000, payload(1, false, 160), 1_000_000);
        let next = watch.take(1, 1600, 8000, payload(2, true, 400), 1_200_000);
        assert_eq!(next, [told("1", true, 20), told("2", false, 0)]);
        assert_eq!(watch.tick(1_200_000), told("2", true, 50));
    }

    #[test]
    fn stragglers_of_the_digit_before_are_not_told_again() {
        let mut watch = DigitWatch::default();
        watch.take(1, 1000, 8000, payload(1, true, 800), 1_000_000);
        watch.take(1, 2600, 8000, payload(2, false, 160), 1_200_000);
        assert_eq!(watch.take(1, 1000, 8000, payload(1, true, 800), 1_210_000), [None, None]);
        assert_eq!(watch.take(1, 2600, 8000, payload(2, true, 320), 1_220_000), [told("2", true, 40), None]);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_silence_digits_for_ever() {
        let mut watch = DigitWatch::default();
        watch.take(1, 30_000, 8000, payload(1, true, 800), 1_000_000);
        let later = watch.take(1, 1000, 8000, payload(2, true, 800), 7_000_000);
        assert_eq!(later, [told("2", false, 0), told("2", true, 100)]);
    }

    #[test]
    fn a_long_digit_goes_on_over_its_segments() {
        let mut watch = DigitWatch::default();
        watch.take(1, 0, 8000, payload(16, false, 160), 0);
        watch.take(1, 0, 8000, payload(16, false, LONGEST_SEGMENT), 100_000);
        assert_eq!(watch.take(1, 65_535, 8000, payload(16, false, 160), 150_000), [None, None]);
        let end = watch.take(1, 65_535, 8000, payload(16, true, 1000), 200_000);
        assert_eq!(end, [told("flash", true, 66_535 / 8), None]);
    }

    #[test]
    fn codes_that_are_no_digits_are_not_told() {
        let mut watch = DigitWatch::default();
        assert_eq!(watch.take(1, 0, 8000, payload(32, false, 160), 0), [None, None]);
        assert_eq!(watch.take(1, 0, 8000, payload(32, true, 160), 0), [None, None]);
    }

    proptest! {
        #[test]
        fn beginnings_and_ends_alternate_whatever_comes(
            packets in proptest::collection::vec((0u32..2, 0u32..20_000, 0u8..20, any::<bool>(), any::<u16>()), 0..100)
        ) {
            let mut watch = DigitWatch::default();
            let mut open = None;
            for (step, (ssrc, timestamp, code, end, duration)) in packets.into_iter().enumerate() {
                let now = step as u64 * 20_000;
                let ticked = watch.tick(now);
                let taken = watch.take(ssrc, timestamp, 8000, payload(code, end, duration), now);
                for digit in [ticked, taken[0], taken[1]].into_iter().flatten() {
                    prop_assert_eq!(open, if digit.ended { Some(digit.name) } else { None });
                    open = if digit.ended { None } else { Some(digit.name) };
                }
            }
        }
    }
}
