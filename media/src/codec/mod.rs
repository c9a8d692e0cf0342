//! Codecs that media speaks itself: payloads of RTP packets to samples, and back.
//!
//! A decoder belongs to one stream of one peer, an encoder to one stream that leaves: both remember what went
//! before. They allocate when they are made and when a buffer that they are given is too small, never else.

pub mod g711;

use std::fmt::Debug;

use crate::time::{Micros, SECOND};

/// Samples a second of sound inside media: mono, 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rate {
    /// 8 kHz: G.711, G.729.
    Narrow,
    /// 16 kHz: G.722, and Opus as media speaks it.
    Wide,
    /// 48 kHz.
    Full,
}

impl Rate {
    pub const fn hz(self) -> u32 {
        match self {
            Self::Narrow => 8_000,
            Self::Wide => 16_000,
            Self::Full => 48_000,
        }
    }

    /// Samples in `span`.
    pub const fn samples(self, span: Micros) -> usize {
        (span * self.hz() as u64 / SECOND) as usize
    }
}

/// A payload that its codec cannot be: dropped and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// From payloads to samples.
pub trait Decoder: Debug + Send {
    /// Of the samples that it gives.
    fn rate(&self) -> Rate;

    /// How many samples this payload holds, told without decoding it; None for one that is malformed.
    fn samples(&self, payload: &[u8]) -> Option<usize>;

    /// Append the payload's samples to `to`.
    fn decode(&mut self, payload: &[u8], to: &mut Vec<i16>) -> Result<(), Malformed>;

    /// Append `samples` samples that stand for sound that was lost, as like what went before as can be.
    ///
    /// `next` is the payload right after the loss, where it has come already: Opus may carry what was lost in it.
    fn conceal(&mut self, samples: usize, next: Option<&[u8]>, to: &mut Vec<i16>);
}

/// From samples to payloads.
pub trait Encoder: Debug + Send {
    /// Of the samples that it takes.
    fn rate(&self) -> Rate;

    /// Append one payload of these samples: 10, 20, 30, 40 or 60 ms of them.
    fn encode(&mut self, samples: &[i16], to: &mut Vec<u8>);
}
