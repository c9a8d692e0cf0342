//! A sine in frames of 20 ms, for tone tests and until players exist: G.711 for each listener.

use crate::codec::g711;
use crate::time::{MILLISECOND, Micros};

pub const FRAME: Micros = 20 * MILLISECOND;
/// Samples of a frame at 8 kHz.
pub const SAMPLES: usize = 160;
const RATE_HZ: f64 = 8000.0;
/// A worker that was held up longer than this leaves a gap instead of a burst.
const MOST_BEHIND: Micros = 200 * MILLISECOND;

/// Speaks a sine on absolute deadlines, each `FRAME` after the one before.
#[derive(Debug)]
pub struct Tone {
    radians_per_sample: f64,
    amplitude: f64,
    phase: f64,
    /// When the next frame is due; None while nobody listens.
    pub due: Option<Micros>,
    pub sequence: u16,
    pub timestamp: u32,
}

impl Tone {
    /// `level_dbov` 0 is a sine that just touches full scale. Frequencies above 4 kHz cannot be heard.
    pub fn new(frequency_hz: f64, level_dbov: f64) -> Self {
        Self {
            radians_per_sample: std::f64::consts::TAU * frequency_hz.clamp(0.0, RATE_HZ / 2.0) / RATE_HZ,
            amplitude: f64::from(i16::MAX) * 10f64.powf(level_dbov.min(0.0) / 20.0),
            phase: 0.0,
            due: None,
            sequence: 0,
            timestamp: 0,
        }
    }

    /// Begin speaking, if silent.
    pub fn start(&mut self, now: Micros) {
        self.due.get_or_insert(now);
    }

    /// The next frame, if it is due; its sequence and timestamp have then been counted on.
    pub fn frame(&mut self, now: Micros) -> Option<[i16; SAMPLES]> {
        let due = self.due.filter(|due| *due <= now)?;
        let missed = if now - due > MOST_BEHIND { (now - due) / FRAME } else { 0 };
        self.due = Some(due + (missed + 1) * FRAME);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add((missed as u32 + 1) * SAMPLES as u32);
        let mut samples = [0; SAMPLES];
        for sample in &mut samples {
            *sample = (self.amplitude * self.phase.sin()) as i16;
            self.phase = (self.phase + self.radians_per_sample) % std::f64::consts::TAU;
        }
        Some(samples)
    }
}

/// The codecs that a tone is spoken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    Mu,
    A,
}

impl Law {
    pub fn of(codec: &str) -> Option<Self> {
        match codec {
            "pcmu" => Some(Self::Mu),
            "pcma" => Some(Self::A),
            _ => None,
        }
    }

    pub fn encode(self, samples: &[i16; SAMPLES]) -> [u8; SAMPLES] {
        match self {
            Self::Mu => samples.map(g711::mu_law),
            Self::A => samples.map(g711::a_law),
        }
    }
}
