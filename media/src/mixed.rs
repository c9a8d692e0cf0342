//! What a listener gets who hears several voices, or one that its phone does not understand: a mix in its own codec.
//!
//! It begins where packets that went by as they were have ended, and ends where they can go by again, so that
//! nothing of the voice that is heard throughout is lost or repeated; see `Start` and `leaving`.

use crate::codec::{Codec, Encoder};
use crate::dsp::mix::{LONGEST, Limiter, Mix};
use crate::dsp::talking::{ActiveSpeakers, Part};
use crate::messages::PortId;
use crate::payload::Payload;
use crate::playout::TICK;
use crate::time::{MILLISECOND, Micros};

/// Of more speakers than this only so many are mixed, the loudest of late.
pub const MOST_MIXED: usize = 8;
/// A voice that was heard as packets is waited for so long, if something of it comes within this time.
const LONGEST_START: Micros = 120 * MILLISECOND;
const STILL_TALKING: Micros = 45 * MILLISECOND;
/// Leaving waits so long for a moment between two packets.
pub const LONGEST_LEAVING: Micros = 300 * MILLISECOND;
/// When nobody has said anything for so many ticks, nothing is sent.
const QUIET_TICKS: u32 = 50;

/// The mix begins when the voice that was heard so far has come to the packet that did not go by any more.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    pub speaker: PortId,
    /// In the speaker's timestamps: what was heard as packets ends here.
    pub heard_to: u32,
    since: Micros,
}

impl Start {
    pub fn new(speaker: PortId, heard_to: u32, now: Micros) -> Self {
        Self { speaker, heard_to, since: now }
    }

    /// Whether to wait on; `talks`: something has come that is not played yet.
    pub fn waits(&self, talks: bool, now: Micros) -> bool {
        now < self.since + if talks { LONGEST_START } else { STILL_TALKING }
    }
}

#[derive(Debug)]
pub struct Mixed {
    pub codec: Codec,
    /// The listener's name for it.
    pub payload: Payload,
    encoder: Option<Box<dyn Encoder>>,
    limiter: Limiter,
    speakers: ActiveSpeakers<PortId, MOST_MIXED>,
    /// Samples that do not fill a packet yet.
    pending: Vec<i16>,
    /// Of a packet.
    length: usize,
    quiet: u32,
    /// Ticks that passed since something was sent.
    pub skipped: u64,
    pub number: u64,
    pub start: Option<Start>,
    /// The speaker whose packets are to go by again, and how long that may take.
    pub leaving: Option<(PortId, Micros)>,
}

impl Mixed {
    /// `ptime_ms` is what the listener wants to get at a time.
    pub fn new(codec: Codec, payload: Payload, ptime_ms: u32) -> Self {
        let length = codec.rate().samples(packet_time(codec, ptime_ms));
        Self {
            codec,
            payload,
            encoder: None,
            limiter: Limiter::default(),
            speakers: ActiveSpeakers::default(),
            pending: Vec::with_capacity(length + LONGEST),
            length,
            quiet: 0,
            skipped: 0,
            number: 0,
            start: None,
            leaving: None,
        }
    }

    /// Whether this listener can be sent what others in the same codec are sent.
    pub fn takes_frames(&self) -> bool {
        self.length == self.codec.rate().samples(TICK) && self.pending.is_empty()
    }

    /// RTP ticks of so many samples.
    pub fn ticks(&self, samples: usize) -> u32 {
        (samples as u64 * u64::from(self.payload.clock_rate_hz) / u64::from(self.codec.rate().hz())) as u32
    }

    /// Whether to send in this tick, in which somebody `sounds` or nobody does.
    pub fn is_due(&mut self, sounds: bool) -> bool {
        self.quiet = if sounds { 0 } else { self.quiet.saturating_add(1) };
        self.quiet < QUIET_TICKS
    }

    /// Nothing was said so far that is worth sending.
    pub fn begin_quiet(&mut self) {
        self.quiet = QUIET_TICKS;
    }

    /// Choose who is heard in this tick, of all who could be, each as loud as it has been of late.
    pub fn choose(&mut self, speakers: impl Iterator<Item = (PortId, f32)>) {
        self.speakers.choose(speakers);
    }

    /// How one of `many` speakers is heard in this tick.
    pub fn part(&self, speaker: PortId, many: usize) -> Option<Part> {
        if many > MOST_MIXED { self.speakers.part(speaker) } else { Some(Part::Heard) }
    }

    /// Take a tick's sum.
    pub fn take(&mut self, mix: &Mix) {
        let start = self.pending.len();
        self.pending.resize(start + self.codec.rate().samples(TICK), 0);
        mix.finish(&mut self.limiter, self.pending.get_mut(start..).unwrap_or_default());
    }

    /// One packet's payload, if enough is there, into `to`; how many samples it holds.
    pub fn packet(&mut self, to: &mut Vec<u8>) -> Option<usize> {
        if self.pending.len() < self.length {
            return None;
        }
        to.clear();
        if self.encoder.is_none() {
            self.encoder = self.codec.encoder(&self.payload);
        }
        let samples = self.pending.get(..self.length)?;
        self.encoder.as_mut()?.encode(samples, to);
        self.pending.drain(..self.length);
        Some(self.length)
    }
}

fn packet_time(codec: Codec, ptime_ms: u32) -> Micros {
    match (codec, ptime_ms) {
        // Opus has no packets of 30 or 50 ms that are one frame.
        (Codec::Opus, 10 | 40 | 60) | (_, 10 | 30 | 40 | 50 | 60)
            if !matches!((codec, ptime_ms), (Codec::Opus, 30 | 50)) =>
        {
            u64::from(ptime_ms) * MILLISECOND
        }
        _ => TICK,
    }
}
