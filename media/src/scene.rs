//! For measuring: what the peers of the RTP load say, and how that is found again at those who hear it.
//!
//! A packet that is only passed on brings its own stamp back. A mix loses it: there, one peer of each group at a
//! time talks for a part of a second, the others' rooms murmur, and what counts is the first loud packet at each
//! listener. What is played to peers comes on ticks of the clock, and is as late as it comes after its tick.

#![allow(clippy::indexing_slicing)]

use crate::codec::g711::{Law, mu_law};
use crate::codec::{Codec, Encoder, Rate};
use crate::payload::Payload;
use crate::playout::TICK;
use crate::random::Random;

/// Packets of a second, and those of them in which the one whose turn it is talks.
const ROUNDS: usize = 50;
const TALKS: usize = 20;
/// Groups do not begin to talk all at the same time.
const STAGGER: usize = 7;
const SOFT: f64 = 40.0;
const LOUD: f64 = 6000.0;
/// Between the two, even if several murmur at once; and samples of a packet that must be above it.
const THRESHOLD: i16 = 1000;
const ENOUGH: usize = 8;
const TICK_NS: i64 = TICK as i64 * 1000;

/// What tells how long sound was on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// The time in each packet that is passed on.
    Stamps,
    /// Peers of groups of so many, that talk in turn.
    Turns(usize),
    /// The tick on which media plays.
    Ticks,
}

/// A codec that peers speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spoken {
    pub codec: Codec,
    pub payload_type: u8,
    pub clock_rate_hz: u32,
}

pub const PCMU: Spoken = Spoken { codec: Codec::G711(Law::Mu), payload_type: 0, clock_rate_hz: 8000 };
pub const OPUS: Spoken = Spoken { codec: Codec::Opus, payload_type: 107, clock_rate_hz: 48_000 };

impl Spoken {
    pub fn encoder(self) -> Option<Box<dyn Encoder>> {
        let name = if self.codec == Codec::Opus { "opus" } else { "pcmu" };
        let (channels, fmtp) = (1, "useinbandfec=1".into());
        let (payload_type, clock_rate_hz) = (self.payload_type, self.clock_rate_hz);
        self.codec.encoder(&Payload { payload_type, name: name.into(), clock_rate_hz, channels, fmtp })
    }

    /// RTP ticks of a packet.
    pub fn ticks(self) -> u32 {
        self.clock_rate_hz / ROUNDS as u32
    }

    /// A second as its packets' payloads: one in which somebody talks, or one of murmur.
    pub fn second(self, talks: bool) -> Vec<Vec<u8>> {
        let Some(mut encoder) = self.encoder() else { return vec![vec![]; ROUNDS] };
        let encode = |samples: Vec<i16>| {
            let mut payload = Vec::new();
            encoder.encode(&samples, &mut payload);
            payload
        };
        sound(self.codec.rate(), talks).into_iter().map(encode).collect()
    }
}

/// A second in frames of 20 ms: a buzz with the harmonics of a voice over the noise of a room, or the noise alone.
pub fn sound(rate: Rate, talks: bool) -> Vec<Vec<i16>> {
    let (length, mut random) = (rate.samples(TICK), Random::new(1));
    let mut frames = Vec::new();
    for round in 0..ROUNDS {
        let voice = if talks && round < TALKS { LOUD } else { 0.0 };
        let sample = |n: usize| {
            let turn = std::f64::consts::TAU * (round * length + n) as f64 / f64::from(rate.hz());
            let buzz: f64 = (1..8).map(|k| (turn * 140.0 * f64::from(k)).cos() / f64::from(k)).sum();
            (buzz * voice + (random.fraction() - 0.5) * SOFT) as i16
        };
        frames.push((0..length).map(sample).collect());
    }
    frames
}

/// Who of a group talks, and since when.
#[derive(Debug, Clone, Copy, Default)]
struct Turn {
    speaker: usize,
    number: usize,
    began_ns: i64,
}

#[derive(Debug)]
pub struct Scene {
    pub watch: Watch,
    /// Of each peer in turn: `PCMU`, or that and another.
    spoken: Vec<Spoken>,
    murmur: Vec<Vec<Vec<u8>>>,
    talk: Vec<Vec<Vec<u8>>>,
    turns: Vec<Turn>,
    /// The number of the turn that each peer heard last.
    heard: Vec<usize>,
}

impl Scene {
    pub fn new(watch: Watch, ports: usize, spoken: Vec<Spoken>) -> Self {
        let seconds = |talks| spoken.iter().map(|spoken| spoken.second(talks)).collect();
        let (murmur, talk) = (seconds(false), seconds(true));
        Self { watch, spoken, murmur, talk, turns: vec![Turn::default(); ports], heard: vec![0; ports] }
    }

    pub fn spoken(&self, peer: usize) -> Spoken {
        self.spoken[peer % self.spoken.len()]
    }

    /// What a peer says in a round of packets, which leaves at `now_ns`.
    pub fn says(&mut self, peer: usize, round: usize, now_ns: i64) -> &[u8] {
        let place = peer % self.spoken.len();
        let Watch::Turns(size) = self.watch else { return &self.murmur[place][round % ROUNDS] };
        let group = peer / size;
        let round = round + STAGGER * group;
        let (second, round) = (round / ROUNDS, round % ROUNDS);
        if second % size != peer % size {
            return &self.murmur[place][round];
        }
        if round == 0 {
            self.turns[group] = Turn { speaker: peer, number: second, began_ns: now_ns };
        }
        &self.talk[place][round]
    }

    /// How long what a peer has just been sent was on its way, where this packet tells: realtime nanoseconds.
    ///
    /// `ahead_ns` is how far real time is ahead of the monotonic clock.
    pub fn delay_ns(&mut self, peer: usize, payload: &[u8], arrived_ns: i64, ahead_ns: i64) -> Option<i64> {
        match self.watch {
            Watch::Stamps => {
                let (stamp, rest) = payload.split_first_chunk()?;
                let counted = rest.first().is_some_and(|counted| *counted == 1);
                counted.then(|| arrived_ns - i64::from_ne_bytes(*stamp))
            }
            Watch::Ticks => Some((arrived_ns - ahead_ns).rem_euclid(TICK_NS)),
            Watch::Turns(size) => {
                let turn = *self.turns.get(peer / size)?;
                let heard = self.heard.get_mut(peer)?;
                if turn.speaker == peer || turn.number == *heard || !is_loud(payload) {
                    return None;
                }
                *heard = turn.number;
                Some(arrived_ns - turn.began_ns)
            }
        }
    }
}

/// Whether there is talk in a payload of mu-law.
fn is_loud(payload: &[u8]) -> bool {
    let least = mu_law(THRESHOLD) & 0x7f;
    payload.iter().filter(|code| **code & 0x7f < least).take(ENOUGH).count() == ENOUGH
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn the_first_loud_packet_of_a_turn_counts_at_each_other_peer_once() {
        let mut scene = Scene::new(Watch::Turns(3), 6, vec![PCMU]);
        let mut told = Vec::new();
        for round in 0..150 {
            let now = round as i64 * 20 * MS;
            for peer in 0..3 {
                let said = scene.says(peer, round, now).to_vec();
                let heard: Vec<_> = (0..3)
                    .filter_map(|at| Some((at, scene.delay_ns(at, &said, now + 30 * MS, 0)?)))
                    .collect();
                told.extend(heard.into_iter().map(|(at, delay)| (round, peer, at, delay)));
            }
        }
        let late = |round, peer, at| (round, peer, at, 30 * MS);
        assert_eq!(told, [late(50, 1, 0), late(50, 1, 2), late(100, 2, 0), late(100, 2, 1)]);
    }

    #[test]
    fn murmur_of_many_is_not_loud_and_what_is_played_is_as_late_as_it_comes_after_its_tick() {
        assert!(PCMU.second(false).iter().all(|payload| !is_loud(payload)));
        assert!(PCMU.second(true)[..TALKS].iter().all(|payload| is_loud(payload)));
        assert!(OPUS.second(true).iter().all(|payload| !payload.is_empty()));
        let mut scene = Scene::new(Watch::Ticks, 1, vec![PCMU]);
        assert_eq!(scene.delay_ns(0, &[0xff; 160], 1007 * MS, 5 * MS), Some(2 * MS));
    }
}
