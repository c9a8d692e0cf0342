//! The one continuous stream that a listener's peer sees, whoever is heard (RFC 3550 sections 5.1 and 7.1).
//!
//! One SSRC for the life of the port. While one source is heard, its sequence numbers and timestamps pass with
//! a constant offset: what it lost stays lost, what it doubled or misordered stays so. When the source changes
//! (another edge, or a new run of the same one) the sequence goes on without a gap, the timestamp by the time
//! that passed, at least by one packet, and the marker bit begins a talkspurt. Stragglers from before are dropped.

use crate::payload::{Kind, Meaning};
use crate::rtp::{HEADER, Header, Packet};
use crate::time::{MILLISECOND, Micros, SECOND, ticks};

/// What is heard: which edge, and which run of its speaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceKey {
    pub edge: u64,
    pub run: u32,
}

/// What we make ourselves: no edge has this number.
const OWN: SourceKey = SourceKey { edge: 0, run: 0 };

/// A telephone-event that is under way.
#[derive(Debug, Clone, Copy)]
struct Event {
    edge: u64,
    /// Its timestamp at the source, and ours.
    theirs: u32,
    ours: u32,
}

/// Numbers that lie further behind than this are taken as numbers ahead, after a wrap.
const STRAGGLERS: u16 = 1000;
const USUAL_PACKET: Micros = 20 * MILLISECOND;
/// What was sent this long ago, and its own length, is still being heard.
const LATELY: Micros = 60 * MILLISECOND;

fn ticks_long(ticks: u32, clock_rate_hz: u32) -> Micros {
    u64::from(ticks) * SECOND / u64::from(clock_rate_hz.max(1))
}

#[derive(Debug)]
pub struct Outgoing {
    ssrc: u32,
    source: Option<SourceKey>,
    /// What is added to the source's numbers.
    sequence_offset: u16,
    timestamp_offset: u32,
    /// In the source's numbers: the oldest one that passes, the highest one, and its timestamp.
    oldest: u16,
    highest: u16,
    source_timestamp: u32,
    /// In our numbers: those of the packet with the highest sequence.
    sequence: u16,
    timestamp: u32,
    timestamp_at: Micros,
    clock_rate_hz: u32,
    /// Ticks from one packet to the next.
    step: u32,
    marker_due: bool,
    event: Option<Event>,
    /// The next source goes on where this one ends, as one and the same sound: no time passes, no talk begins.
    seamless: bool,
    pub packets: u64,
    pub bytes: u64,
}

impl Outgoing {
    /// `random` gives the SSRC and where sequence and timestamps begin.
    pub fn new(mut random: impl FnMut() -> u64) -> Self {
        Self {
            ssrc: random() as u32,
            source: None,
            sequence_offset: 0,
            timestamp_offset: 0,
            oldest: 0,
            highest: 0,
            source_timestamp: 0,
            // In the lower half: a peer that misses the first packets would else miss that it wrapped (RFC 3711 3.3.1).
            sequence: random() as u16 >> 1,
            timestamp: random() as u32,
            timestamp_at: 0,
            clock_rate_hz: 0,
            step: 0,
            marker_due: false,
            event: None,
            seamless: false,
            packets: 0,
            bytes: 0,
        }
    }

    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The header that `packet` goes out with, or None when it comes too late. `payload_type` is the listener's.
    pub fn rewrite(
        &mut self,
        key: SourceKey,
        packet: &Packet,
        meaning: Meaning,
        payload_type: u8,
        now: Micros,
    ) -> Option<Header> {
        if self.source != Some(key) {
            self.change_source(key, packet, meaning, now);
        } else if packet.sequence.wrapping_sub(self.oldest) > u16::MAX / 2 {
            return None;
        }
        let ahead = packet.sequence.wrapping_sub(self.highest);
        let in_order = ahead <= u16::MAX / 2;
        let timestamp = self.timestamp_of(key, packet, meaning);
        if in_order {
            self.go_on(packet, ahead, meaning, timestamp, now);
        }
        let begins_talk = self.marker_due && in_order && meaning.kind != Kind::Event;
        self.marker_due &= !begins_talk;
        Some(Header {
            marker: packet.marker || (begins_talk && meaning.kind != Kind::Video),
            payload_type,
            sequence: packet.sequence.wrapping_add(self.sequence_offset),
            timestamp,
            ssrc: self.ssrc,
        })
    }

    /// Our timestamp; all packets of one event keep the event's, even if the source's clock is set meanwhile.
    fn timestamp_of(&mut self, key: SourceKey, packet: &Packet, meaning: Meaning) -> u32 {
        let timestamp = packet.timestamp.wrapping_add(self.timestamp_offset);
        if meaning.kind != Kind::Event {
            return timestamp;
        }
        self.event_timestamp(key.edge, packet.timestamp, timestamp)
    }

    fn event_timestamp(&mut self, edge: u64, theirs: u32, otherwise: u32) -> u32 {
        match self.event {
            Some(event) if event.edge == edge && event.theirs == theirs => event.ours,
            _ => {
                self.event = Some(Event { edge, theirs, ours: otherwise });
                otherwise
            }
        }
    }

    fn change_source(&mut self, key: SourceKey, packet: &Packet, meaning: Meaning, now: Micros) {
        let next = self.next_timestamp(meaning.clock_rate_hz, now);
        if self.source.is_none_or(|before| before.edge != key.edge) {
            self.event = None;
        }
        self.source = Some(key);
        self.sequence_offset = self.sequence.wrapping_add(1).wrapping_sub(packet.sequence);
        self.timestamp_offset = next.wrapping_sub(packet.timestamp);
        self.oldest = packet.sequence;
        self.highest = packet.sequence;
        self.source_timestamp = packet.timestamp;
        self.marker_due = !std::mem::take(&mut self.seamless);
    }

    /// The timestamp with which another source goes on.
    fn next_timestamp(&mut self, clock_rate_hz: u32, now: Micros) -> u32 {
        let same_clock = self.clock_rate_hz == clock_rate_hz;
        if !same_clock {
            self.clock_rate_hz = clock_rate_hz;
            self.step = ticks(USUAL_PACKET, clock_rate_hz);
        }
        self.seamless &= same_clock;
        let passed = ticks(now.saturating_sub(self.timestamp_at), clock_rate_hz);
        match self.source {
            None => self.timestamp,
            Some(_) if self.seamless => self.timestamp.wrapping_add(self.step),
            Some(_) => self.timestamp.wrapping_add(passed.max(self.step)),
        }
    }

    // ------------------------------------------------------------ what we make ourselves

    /// The next source carries the same sound on: see `Mixed`.
    pub fn go_on_seamlessly(&mut self) {
        self.seamless = self.source.is_some();
    }

    /// The next source carries something else.
    pub fn go_on_anew(&mut self) {
        self.seamless = false;
    }

    /// Which edge's packets went out last, and where in the speaker's timestamps they ended.
    pub fn heard_to(&self, now: Micros) -> Option<(u64, u32)> {
        let source = self.source.filter(|source| *source != OWN)?;
        let lately =
            now.saturating_sub(self.timestamp_at) < ticks_long(self.step, self.clock_rate_hz) + LATELY;
        lately.then(|| (source.edge, self.source_timestamp.wrapping_add(self.step)))
    }

    /// The header of a packet of ours that holds `length` ticks, after `skipped` in which nothing was sent.
    pub fn speak(
        &mut self,
        length: u32,
        skipped: u32,
        clock_rate_hz: u32,
        payload_type: u8,
        now: Micros,
    ) -> Header {
        let timestamp = if self.source == Some(OWN) && self.clock_rate_hz == clock_rate_hz {
            self.marker_due = skipped > 0;
            self.timestamp.wrapping_add(self.step).wrapping_add(skipped)
        } else {
            let next = self.next_timestamp(clock_rate_hz, now);
            self.marker_due = !std::mem::take(&mut self.seamless);
            self.source = Some(OWN);
            next
        };
        self.step = length;
        self.timestamp = timestamp;
        self.timestamp_at = now;
        self.sequence = self.sequence.wrapping_add(1);
        let marker = std::mem::take(&mut self.marker_due);
        Header { marker, payload_type, sequence: self.sequence, timestamp, ssrc: self.ssrc }
    }

    /// The header of a telephone-event that we send ourselves, between whatever else is sent.
    pub fn key(
        &mut self,
        number: u32,
        first: bool,
        clock_rate_hz: u32,
        payload_type: u8,
        now: Micros,
    ) -> Header {
        if self.clock_rate_hz == 0 {
            self.clock_rate_hz = clock_rate_hz;
            self.step = ticks(USUAL_PACKET, clock_rate_hz);
        }
        let passed = ticks(now.saturating_sub(self.timestamp_at), self.clock_rate_hz);
        let lately = passed < 10 * self.step;
        let next = self.timestamp.wrapping_add(if lately { self.step } else { passed });
        let timestamp = self.event_timestamp(OWN.edge, number, next);
        self.sequence = self.sequence.wrapping_add(1);
        // Packets that go by get later numbers; those from before this one, which still may come, have none.
        self.sequence_offset = self.sequence_offset.wrapping_add(1);
        self.oldest = self.highest.wrapping_add(1);
        if self.source.is_none() {
            self.source = Some(OWN);
            self.timestamp_at = now;
        }
        Header { marker: first, payload_type, sequence: self.sequence, timestamp, ssrc: self.ssrc }
    }

    /// The header of a speaker's telephone-event, sent between packets of ours.
    pub fn put_between(&mut self, edge: u64, packet: &Packet, payload_type: u8) -> Header {
        let next = self.timestamp.wrapping_add(self.step);
        let timestamp = self.event_timestamp(edge, packet.timestamp, next);
        self.sequence = self.sequence.wrapping_add(1);
        Header { marker: packet.marker, payload_type, sequence: self.sequence, timestamp, ssrc: self.ssrc }
    }

    fn go_on(&mut self, packet: &Packet, ahead: u16, meaning: Meaning, timestamp: u32, now: Micros) {
        self.highest = packet.sequence;
        self.sequence = packet.sequence.wrapping_add(self.sequence_offset);
        if self.highest.wrapping_sub(self.oldest) > STRAGGLERS {
            self.oldest = self.highest.wrapping_sub(STRAGGLERS);
        }
        if meaning.kind == Kind::Event {
            return;
        }
        if meaning.clock_rate_hz != self.clock_rate_hz {
            self.clock_rate_hz = meaning.clock_rate_hz;
            self.step = ticks(USUAL_PACKET, meaning.clock_rate_hz);
        }
        let step = packet.timestamp.wrapping_sub(self.source_timestamp);
        if ahead == 1 && (1..=meaning.clock_rate_hz / 4).contains(&step) {
            self.step = step;
        }
        self.source_timestamp = packet.timestamp;
        self.timestamp = timestamp;
        self.timestamp_at = now;
    }

    pub fn clock_rate_hz(&self) -> u32 {
        self.clock_rate_hz
    }

    /// Bytes of media sent: a sender report counts without headers (RFC 3550 section 6.4.1).
    pub fn octets(&self) -> u32 {
        self.bytes.saturating_sub(HEADER as u64 * self.packets) as u32
    }

    /// Count a packet that went out.
    pub fn count(&mut self, size: usize) {
        self.packets += 1;
        self.bytes += size as u64;
    }

    /// The timestamp that a packet sent at `now` would have, for a sender report; None before the first packet.
    pub fn timestamp_now(&self, now: Micros) -> Option<u32> {
        self.source?;
        let passed = ticks(now.saturating_sub(self.timestamp_at), self.clock_rate_hz);
        Some(self.timestamp.wrapping_add(passed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PCMU: Meaning = Meaning { clock_rate_hz: 8000, kind: Kind::Sound };
    const EVENT: Meaning = Meaning { clock_rate_hz: 8000, kind: Kind::Event };

    fn packet(sequence: u16, timestamp: u32) -> Packet {
        let mut data = [0; 12];
        Header { marker: false, payload_type: 0, sequence, timestamp, ssrc: 1 }.write(&mut data);
        Packet::parse(&data).expect("it is RTP")
    }

    fn key(edge: u64) -> SourceKey {
        SourceKey { edge, run: 0 }
    }

    fn outgoing() -> Outgoing {
        let mut numbers = 0xffff_fff0u64;
        Outgoing::new(move || {
            numbers += 1;
            numbers
        })
    }

    fn send(out: &mut Outgoing, edge: u64, sequence: u16, timestamp: u32, now_ms: u64) -> Header {
        let header = out.rewrite(key(edge), &packet(sequence, timestamp), PCMU, 0, now_ms * MILLISECOND);
        header.expect("it passes")
    }

    #[test]
    fn one_source_passes_with_its_losses_doubles_and_order() {
        let mut out = outgoing();
        let first = send(&mut out, 1, 65_534, 0, 0);
        let numbers =
            [65_535, 1, 1, 0, 2].map(|n| send(&mut out, 1, n, 160, 20).sequence.wrapping_sub(first.sequence));
        assert_eq!(numbers, [1, 3, 3, 2, 4]);
        assert!(first.marker);
    }

    #[test]
    fn a_change_of_speaker_is_a_talkspurt_and_no_break() {
        let mut out = outgoing();
        send(&mut out, 1, 100, 0, 0);
        let last = send(&mut out, 1, 101, 160, 20);
        let next = send(&mut out, 2, 7000, 999_999, 520);
        assert_eq!(next.sequence, last.sequence.wrapping_add(1));
        assert_eq!(next.timestamp.wrapping_sub(last.timestamp), 4000, "500 ms");
        assert!(next.marker && !last.marker);
        assert_eq!(next.ssrc, last.ssrc);
        let late = out.rewrite(key(2), &packet(6999, 999_839), PCMU, 0, 521 * MILLISECOND);
        assert_eq!(late, None);
    }

    #[test]
    fn a_change_sooner_than_one_packet_still_gives_the_packet_before_its_room() {
        let mut out = outgoing();
        send(&mut out, 1, 100, 0, 0);
        let last = send(&mut out, 1, 101, 240, 30);
        let next = send(&mut out, 2, 7000, 0, 31);
        assert_eq!(next.timestamp.wrapping_sub(last.timestamp), 240);
    }

    #[test]
    fn packets_of_one_event_keep_its_timestamp_and_the_audio_goes_on_after_it() {
        let mut out = outgoing();
        let audio = send(&mut out, 1, 1, 160, 20);
        let event =
            |out: &mut Outgoing, n| out.rewrite(key(1), &packet(n, 320), EVENT, 101, u64::from(n) * 20_000);
        let events = [2, 3, 4, 4, 4].map(|n| event(&mut out, n).expect("it passes"));
        assert!(events.iter().all(|header| header.timestamp.wrapping_sub(audio.timestamp) == 160));
        assert!(events.iter().all(|header| header.payload_type == 101));
        assert_eq!(send(&mut out, 1, 5, 800, 100).timestamp.wrapping_sub(audio.timestamp), 640);
    }

    proptest! {
        #[test]
        fn sequence_never_breaks_whoever_is_heard(turns in proptest::collection::vec((0u32..4, 1u16..2000, any::<u16>(), any::<u32>()), 1..20)) {
            let mut out = outgoing();
            let mut now_ms = 0;
            let mut last: Option<Header> = None;
            for (turn, (_, length, start, timestamp)) in turns.into_iter().enumerate() {
                for n in 0..length {
                    let ts = timestamp.wrapping_add(u32::from(n) * 160);
                    let header = send(&mut out, turn as u64, start.wrapping_add(n), ts, now_ms);
                    if let Some(last) = last {
                        prop_assert_eq!(header.sequence, last.sequence.wrapping_add(1));
                        prop_assert_eq!(header.timestamp.wrapping_sub(last.timestamp), 160);
                        prop_assert_eq!(header.marker, n == 0);
                    }
                    last = Some(header);
                    now_ms += 20;
                }
            }
        }
    }
}
