//! A port that only hears: what it hears becomes a file.
//!
//! Here the voices are put together, left and right, 20 ms at a time on the ticks that all mixes are made on, so
//! that the file has the time of the clock whatever was lost, held or transferred. Writing is another thread's work
//! (`writer.rs`): this side only hands over, and never waits for a disk.

use crate::codec::Rate;
use crate::dsp::mix::{LONGEST, Limiter, Mix};
use crate::messages::{PortId, RecordRequest};
use crate::playout::TICK;
use crate::time::{MILLISECOND, Micros};

/// Ticks that are handed over together.
const BATCH: usize = 10;
/// Sound waits in a jitter buffer for 6 to 26 ms before it is heard here: the file begins so much later.
const WAITED: Micros = 15 * MILLISECOND;

/// Who a speaker is in a stereo file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Side {
    #[default]
    Both,
    Left,
    Right,
}

/// What the writer is told of one recording.
#[derive(Debug)]
pub enum ToWriter {
    Open {
        port: PortId,
        request: Box<RecordRequest>,
    },
    /// Samples, of two channels in turn, that begin `at` samples (of one channel) after the beginning.
    Sound {
        port: PortId,
        at: u64,
        samples: Vec<i16>,
    },
    /// Something that happened `at` samples after the beginning.
    Mark {
        port: PortId,
        at: u64,
        label: String,
    },
    Close {
        port: PortId,
        at: u64,
    },
}

#[derive(Debug)]
pub struct Recorder {
    port: PortId,
    rate: Rate,
    channels: usize,
    limiters: [Limiter; 2],
    /// The tick that comes next, once there was one.
    next: Option<u64>,
    /// Samples of one channel since the beginning, and of them still to be left out.
    at: u64,
    early: usize,
    batch: Vec<i16>,
    batch_at: u64,
    masked: bool,
}

impl Recorder {
    pub fn new(port: PortId, request: &RecordRequest) -> Self {
        let rate = request.rate;
        Self {
            port,
            rate,
            channels: request.channels,
            limiters: [Limiter::default(), Limiter::default()],
            next: None,
            at: 0,
            early: rate.samples(WAITED),
            batch: Vec::new(),
            batch_at: 0,
            masked: false,
        }
    }

    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Whether the sides are kept apart.
    pub fn is_stereo(&self) -> bool {
        self.channels == 2
    }

    /// Take what was heard in tick `number`; ticks that never came are silence.
    pub fn take(&mut self, number: u64, [left, right]: &[Mix; 2], to: &mut Vec<ToWriter>) {
        let frame = self.rate.samples(TICK);
        let missed = number.saturating_sub(self.next.unwrap_or(number));
        self.next = Some(number + 1);
        if missed > 0 {
            self.hand_over(to);
            self.at += missed * frame as u64;
        }
        let early = std::mem::take(&mut self.early).min(frame);
        if self.batch.is_empty() {
            self.batch_at = self.at;
            self.batch.reserve_exact(BATCH * frame * self.channels);
        }
        let start = self.batch.len();
        self.batch.resize(start + (frame - early) * self.channels, 0);
        let mut space = [0; LONGEST];
        let samples = space.get_mut(..frame).unwrap_or_default();
        let sides = [left, right].into_iter().zip(&mut self.limiters).take(self.channels);
        for (channel, (side, limiter)) in sides.enumerate() {
            side.finish(limiter, samples);
            if !self.masked {
                let places = self.batch.iter_mut().skip(start + channel).step_by(self.channels);
                places.zip(samples.iter().skip(early)).for_each(|(place, sample)| *place = *sample);
            }
        }
        self.at += (frame - early) as u64;
        if self.batch.len() + frame * self.channels > BATCH * frame * self.channels {
            self.hand_over(to);
        }
    }

    fn hand_over(&mut self, to: &mut Vec<ToWriter>) {
        if !self.batch.is_empty() {
            let samples = std::mem::take(&mut self.batch);
            to.push(ToWriter::Sound { port: self.port, at: self.batch_at, samples });
        }
    }

    pub fn mark(&mut self, label: String, to: &mut Vec<ToWriter>) {
        to.push(ToWriter::Mark { port: self.port, at: self.at, label });
    }

    /// From now on there is silence in the file, or no longer.
    pub fn mask(&mut self, masked: bool, to: &mut Vec<ToWriter>) {
        if self.masked != masked {
            self.masked = masked;
            self.mark(if masked { "masked" } else { "unmasked" }.to_owned(), to);
        }
    }

    pub fn close(&mut self, to: &mut Vec<ToWriter>) {
        self.hand_over(to);
        to.push(ToWriter::Close { port: self.port, at: self.at });
    }
}
