//! What arrives from one peer: order, loss and jitter (RFC 3550 sections 6.4.1, A.1, A.3 and A.8).
//!
//! A change of SSRC, or a jump of sequence or timestamp that no loss explains, begins a new *run*. Whoever
//! passes the stream on looks at the run's number alone to see that its source has started afresh.

use crate::rtp::Packet;
use crate::time::{Micros, SECOND, ticks};

const CYCLE: u32 = 0x1_0000;
const MOST_DROPPED: u16 = 3000;
const MOST_MISORDERED: u16 = 100;
/// Packets of the SSRC before may still be under way for this long.
const STRAGGLERS: Micros = SECOND / 2;
const TIMESTAMP_SLACK: Micros = 2 * SECOND;

/// One stream of packets from a peer, over all the SSRCs it has used.
#[derive(Debug, Default)]
pub struct Incoming {
    source: Option<Source>,
    /// The SSRC before this one, and when it was left.
    left: Option<(u32, Micros)>,
    run: u32,
    pub packets: u64,
    pub bytes: u64,
    /// Lost from sources that are over.
    lost_before: u64,
    /// When the last packet came.
    pub last_at: Option<Micros>,
}

#[derive(Debug)]
struct Source {
    ssrc: u32,
    /// Extended sequence numbers of the first packet and of the highest one; both begin a cycle too high, so
    /// that a packet that is misordered across the first wrap lies above zero.
    first: u32,
    highest: u32,
    received: u32,
    /// The next number after a jump, awaited to believe it.
    awaited: Option<u16>,
    timestamp: u32,
    timestamp_at: Micros,
    clock_rate_hz: u32,
    transit: Option<u32>,
    /// Jitter in ticks times 16 (A.8).
    jitter_16: u32,
    expected_reported: u32,
    received_reported: u32,
}

/// What one report block says about a source (RFC 3550 section 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reception {
    pub ssrc: u32,
    pub fraction_lost: u8,
    pub lost: u32,
    pub highest: u32,
    pub jitter: u32,
}

impl Incoming {
    /// Take note of a packet; the number of its run, or None when it must not be passed on.
    ///
    /// `is_event`: a telephone-event, whose timestamp stands still while it lasts.
    pub fn take(
        &mut self,
        packet: &Packet,
        size: usize,
        clock_rate_hz: u32,
        is_event: bool,
        now: Micros,
    ) -> Option<u32> {
        match &mut self.source {
            Some(source) if source.ssrc == packet.ssrc => match source.place(packet.sequence) {
                Place::InOrder if !is_event && source.timestamp_jumps(packet, clock_rate_hz, now) => {
                    self.run += 1
                }
                Place::InOrder | Place::Misordered => {}
                Place::Jump => return None,
                Place::Restart => self.start(packet, clock_rate_hz, now),
            },
            Some(_) if self.left.is_some_and(|(ssrc, at)| ssrc == packet.ssrc && now < at + STRAGGLERS) => {
                return None;
            }
            _ => self.start(packet, clock_rate_hz, now),
        }
        self.packets += 1;
        self.bytes += size as u64;
        self.last_at = Some(now);
        if let Some(source) = &mut self.source {
            source.received += 1;
            if !is_event {
                source.time(packet, clock_rate_hz, now);
            }
        }
        Some(self.run)
    }

    fn start(&mut self, packet: &Packet, clock_rate_hz: u32, now: Micros) {
        self.lost_before = self.lost();
        if let Some(before) = &self.source {
            self.left = (before.ssrc != packet.ssrc).then_some((before.ssrc, now));
            self.run += 1;
        }
        self.source = Some(Source::new(packet, clock_rate_hz, now));
    }

    /// The number of the run that is under way.
    pub fn run(&self) -> u32 {
        self.run
    }

    pub fn ssrc(&self) -> Option<u32> {
        self.source.as_ref().map(|source| source.ssrc)
    }

    /// Packets that were sent to us and never came.
    pub fn lost(&self) -> u64 {
        self.lost_before + self.source.as_ref().map_or(0, |source| u64::from(source.lost()))
    }

    pub fn jitter_ms(&self) -> f64 {
        self.source.as_ref().map_or(0.0, |source| {
            f64::from(source.jitter_16) / 16.0 * 1000.0 / f64::from(source.clock_rate_hz.max(1))
        })
    }

    /// What to report, with the fraction lost since the report before.
    pub fn report(&mut self) -> Option<Reception> {
        let source = self.source.as_mut()?;
        let expected = source.expected().wrapping_sub(source.expected_reported);
        let received = source.received.wrapping_sub(source.received_reported);
        source.expected_reported = source.expected();
        source.received_reported = source.received;
        let missing = u64::from(expected.saturating_sub(received));
        Some(Reception {
            ssrc: source.ssrc,
            fraction_lost: (missing * 256).checked_div(u64::from(expected)).unwrap_or(0).min(255) as u8,
            lost: source.lost().min(0x7f_ffff),
            highest: source.highest.wrapping_sub(CYCLE),
            jitter: source.jitter_16 >> 4,
        })
    }
}

enum Place {
    InOrder,
    Misordered,
    Jump,
    Restart,
}

impl Source {
    fn new(packet: &Packet, clock_rate_hz: u32, now: Micros) -> Self {
        let first = CYCLE + u32::from(packet.sequence);
        Self {
            ssrc: packet.ssrc,
            first,
            highest: first,
            received: 0,
            awaited: None,
            timestamp: packet.timestamp,
            timestamp_at: now,
            clock_rate_hz,
            transit: None,
            jitter_16: 0,
            expected_reported: 0,
            received_reported: 0,
        }
    }

    /// Find the packet's place in the sequence (A.1).
    fn place(&mut self, sequence: u16) -> Place {
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if (1..MOST_DROPPED).contains(&ahead) {
            self.highest = self.highest.wrapping_add(u32::from(ahead));
            self.awaited = None;
            Place::InOrder
        } else if ahead == 0 || ahead > u16::MAX - MOST_MISORDERED {
            Place::Misordered
        } else if self.awaited == Some(sequence) {
            Place::Restart
        } else {
            self.awaited = Some(sequence.wrapping_add(1));
            Place::Jump
        }
    }

    /// Whether the timestamp of a packet in order has nothing to do with the time that passed.
    fn timestamp_jumps(&self, packet: &Packet, clock_rate_hz: u32, now: Micros) -> bool {
        let passed = ticks(now.saturating_sub(self.timestamp_at), clock_rate_hz);
        let drift = packet.timestamp.wrapping_sub(self.timestamp).wrapping_sub(passed) as i32;
        drift.unsigned_abs() > ticks(TIMESTAMP_SLACK, clock_rate_hz)
    }

    /// Note a packet's transit time (A.8).
    fn time(&mut self, packet: &Packet, clock_rate_hz: u32, now: Micros) {
        self.timestamp = packet.timestamp;
        self.timestamp_at = now;
        let transit = ticks(now, clock_rate_hz).wrapping_sub(packet.timestamp);
        if self.clock_rate_hz != clock_rate_hz {
            self.clock_rate_hz = clock_rate_hz;
            self.transit = None;
        }
        if let Some(before) = self.transit {
            let change = (transit.wrapping_sub(before) as i32)
                .unsigned_abs()
                .min(ticks(TIMESTAMP_SLACK, clock_rate_hz));
            self.jitter_16 = self.jitter_16 + change - ((self.jitter_16 + 8) >> 4);
        }
        self.transit = Some(transit);
    }

    fn expected(&self) -> u32 {
        self.highest.wrapping_sub(self.first).wrapping_add(1)
    }

    fn lost(&self) -> u32 {
        self.expected().saturating_sub(self.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MILLISECOND;
    use proptest::prelude::*;

    fn packet(ssrc: u32, sequence: u16, timestamp: u32) -> Packet {
        let mut data = [0; 12];
        let header = crate::rtp::Header { marker: false, payload_type: 0, sequence, timestamp, ssrc };
        header.write(&mut data);
        Packet::parse(&data).expect("it is RTP")
    }

    fn take(incoming: &mut Incoming, ssrc: u32, sequence: u16, now_ms: u64) -> Option<u32> {
        let packet = packet(ssrc, sequence, (now_ms * 8) as u32);
        incoming.take(&packet, 172, 8000, false, now_ms * MILLISECOND)
    }

    #[test]
    fn loss_is_what_the_sequence_lacks_over_its_wrap() {
        let mut incoming = Incoming::default();
        for n in (65_500..65_600u64).filter(|n| n % 10 != 3) {
            assert_eq!(take(&mut incoming, 1, n as u16, (n - 65_500) * 20), Some(0));
        }
        assert_eq!((incoming.packets, incoming.lost()), (90, 10));
        let report = incoming.report().expect("there is a source");
        assert_eq!((report.lost, report.fraction_lost), (10, 25));
        assert_eq!(incoming.report().expect("there is a source").fraction_lost, 0, "nothing since");
    }

    #[test]
    fn a_new_ssrc_is_a_new_run_and_stragglers_of_the_old_are_dropped() {
        let mut incoming = Incoming::default();
        assert_eq!(take(&mut incoming, 1, 100, 0), Some(0));
        assert_eq!(take(&mut incoming, 2, 900, 20), Some(1));
        assert_eq!(take(&mut incoming, 1, 101, 25), None);
        assert_eq!(take(&mut incoming, 2, 901, 40), Some(1));
        assert_eq!(take(&mut incoming, 1, 150, 1000), Some(2), "it came back for good");
    }

    #[test]
    fn a_jump_is_believed_at_its_second_packet() {
        let mut incoming = Incoming::default();
        take(&mut incoming, 1, 100, 0);
        assert_eq!(take(&mut incoming, 1, 20_000, 20), None);
        assert_eq!(take(&mut incoming, 1, 101, 20), Some(0), "it was a freak");
        assert_eq!(take(&mut incoming, 1, 30_000, 40), None);
        assert_eq!(take(&mut incoming, 1, 30_001, 60), Some(1));
        assert_eq!(incoming.lost(), 0);
    }

    #[test]
    fn a_timestamp_that_leaves_the_clock_begins_a_run() {
        let mut incoming = Incoming::default();
        take(&mut incoming, 1, 100, 0);
        let far = packet(1, 101, 0x8000_0000);
        assert_eq!(incoming.take(&far, 172, 8000, false, 20 * MILLISECOND), Some(1));
    }

    #[test]
    fn jitter_is_the_mean_change_of_transit_time() {
        let mut incoming = Incoming::default();
        for n in 0..400u64 {
            let late_ms = 10 * (n % 2);
            let packet = packet(1, n as u16, n as u32 * 160);
            incoming.take(&packet, 172, 8000, false, (1000 + n * 20 + late_ms) * MILLISECOND);
        }
        assert!((incoming.jitter_ms() - 10.0).abs() < 0.2, "{}", incoming.jitter_ms());
    }

    proptest! {
        #[test]
        fn no_order_of_packets_breaks_the_counts(
            arrivals in proptest::collection::vec((0u32..3, any::<u16>(), any::<u32>(), any::<bool>(), 0u64..50), 0..200)
        ) {
            let mut incoming = Incoming::default();
            let mut now = 0;
            for (ssrc, sequence, timestamp, is_event, pause_ms) in arrivals {
                now += pause_ms * MILLISECOND;
                incoming.take(&packet(ssrc, sequence, timestamp), 172, 8000, is_event, now);
                incoming.report();
            }
            prop_assert!(incoming.jitter_ms() <= 2000.0 * 1.1);
        }
    }
}
