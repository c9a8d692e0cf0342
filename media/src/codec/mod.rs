//! Codecs that media speaks itself: payloads of RTP packets to samples, and back.
//!
//! A decoder belongs to one stream of one peer, an encoder to one stream that leaves: both remember what went
//! before. They allocate when they are made and when a buffer that they are given is too small, never else.

#[cfg_attr(not(test), expect(dead_code, reason = "nobody loads it yet"))]
pub mod bcg729;
pub mod g711;
pub mod g722;
pub mod g729;
pub mod l16;
pub mod noise;
pub mod opus;
#[cfg(test)]
mod quality;

use std::fmt::Debug;

use crate::codec::g711::{G711Decoder, G711Encoder, Law};
use crate::codec::g722::{G722Decoder, G722Encoder};
use crate::codec::g729::{G729Decoder, G729Encoder};
use crate::codec::l16::{L16Decoder, L16Encoder};
use crate::codec::opus::{OpusDecoder, OpusEncoder};
use crate::payload::Payload;
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

    /// The rate of so many samples a second, where it is one of ours.
    pub fn of(hz: u32) -> Option<Self> {
        [Self::Narrow, Self::Wide, Self::Full].into_iter().find(|rate| rate.hz() == hz)
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
    /// Append one payload of these samples: 10, 20, 30, 40 or 60 ms of them.
    fn encode(&mut self, samples: &[i16], to: &mut Vec<u8>);
}

/// A codec that media speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    G711(Law),
    G722,
    G729,
    L16(Rate),
    Opus,
}

impl Codec {
    /// The codec that an m-line's payload names; None for one that media only passes on.
    pub fn of(payload: &Payload) -> Option<Self> {
        match (&*payload.name, payload.clock_rate_hz, payload.channels) {
            ("pcmu", 8000, 1) => Some(Self::G711(Law::Mu)),
            ("pcma", 8000, 1) => Some(Self::G711(Law::A)),
            ("g722", 8000, 1) => Some(Self::G722),
            ("g729", 8000, 1) => bcg729::is_loaded().then_some(Self::G729),
            ("l16", hz, 1) => Rate::of(hz).map(Self::L16),
            ("opus", 48_000, _) => Some(Self::Opus),
            _ => None,
        }
    }

    pub fn rate(self) -> Rate {
        match self {
            Self::G711(_) | Self::G729 => Rate::Narrow,
            Self::L16(rate) => rate,
            Self::G722 | Self::Opus => Rate::Wide,
        }
    }

    /// None when there is no memory for one, or its library is not there.
    pub fn decoder(self) -> Option<Box<dyn Decoder>> {
        Some(match self {
            Self::G711(law) => Box::new(G711Decoder::new(law)),
            Self::G722 => Box::new(G722Decoder::new()),
            Self::G729 => Box::new(G729Decoder::new()?),
            Self::L16(rate) => Box::new(L16Decoder::new(rate)),
            Self::Opus => Box::new(OpusDecoder::new()?),
        })
    }

    /// `payload` is the listener's: its a=fmtp says what it would like. None as with `decoder`.
    pub fn encoder(self, payload: &Payload) -> Option<Box<dyn Encoder>> {
        Some(match self {
            Self::G711(law) => Box::new(G711Encoder::new(law)),
            Self::G722 => Box::new(G722Encoder::new()),
            Self::G729 => Box::new(G729Encoder::new()?),
            Self::L16(_) => Box::new(L16Encoder),
            Self::Opus => Box::new(OpusEncoder::new(payload)?),
        })
    }
}
