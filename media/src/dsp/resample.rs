//! From one of the three rates to another: a low-pass filter at the higher rate of which only the sums that are
//! needed are worked out (polyphase).
//!
//! What lies above half of the lower rate, and so would fold back, is 60 dB down; up to 0.42 of it the level is
//! the same within 0.1 dB. The sound comes out 26 samples of the lower rate later.

use std::sync::LazyLock;

use crate::codec::Rate;
use crate::time::{MILLISECOND, Micros};

/// Coefficients for each input sample that an output sample of the lower rate, or a step up to it, looks at.
const REACH: usize = 52;
/// Of the Kaiser window, for 60 dB.
const BETA: f64 = 5.65;
/// Half amplitude lies here, in parts of the lower rate.
const CUTOFF: f64 = 0.462;
const LONGEST: Micros = 60 * MILLISECOND;

/// The filter for a ratio, `ratio * REACH` coefficients in order, and the same by phases, each turned around.
struct Filter {
    down: Vec<f32>,
    up: Vec<Vec<f32>>,
}

static BY_2: LazyLock<Filter> = LazyLock::new(|| Filter::new(2));
static BY_3: LazyLock<Filter> = LazyLock::new(|| Filter::new(3));
static BY_6: LazyLock<Filter> = LazyLock::new(|| Filter::new(6));

impl Filter {
    fn new(ratio: usize) -> Self {
        let length = ratio * REACH;
        let middle = (length - 1) as f64 / 2.0;
        let tap = |n: usize| {
            let at = n as f64 - middle;
            let turn = std::f64::consts::TAU * CUTOFF / ratio as f64;
            let sinc = if at == 0.0 { 1.0 } else { (turn * at).sin() / (turn * at) };
            sinc * bessel(BETA * (1.0 - (at / middle).powi(2)).max(0.0).sqrt())
        };
        let taps: Vec<f64> = (0..length).map(tap).collect();
        let sum: f64 = taps.iter().sum();
        let down = taps.iter().map(|tap| (tap / sum) as f32).collect();
        let phase = |phase: usize| {
            let own = taps.iter().skip(phase).step_by(ratio);
            own.rev().map(|tap| (tap / sum * ratio as f64) as f32).collect()
        };
        Self { down, up: (0..ratio).map(phase).collect() }
    }
}

/// The modified Bessel function of order zero.
fn bessel(x: f64) -> f64 {
    let mut term = 1.0;
    (1..30).fold(1.0, |sum, k| {
        term *= (x / 2.0 / f64::from(k)).powi(2);
        sum + term
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Same,
    Up(usize),
    Down(usize),
}

/// Turns a stream of samples into one of another rate.
#[derive(Debug)]
pub struct Resampler {
    direction: Direction,
    /// What came before, then what is worked on.
    heard: Vec<f32>,
    history: usize,
}

impl Resampler {
    pub fn new(from: Rate, to: Rate) -> Self {
        let (high, low) = (from.hz().max(to.hz()), from.hz().min(to.hz()));
        let ratio = (high / low) as usize;
        let (direction, history) = match from.cmp(&to) {
            std::cmp::Ordering::Equal => (Direction::Same, 0),
            std::cmp::Ordering::Less => (Direction::Up(ratio), REACH - 1),
            std::cmp::Ordering::Greater => (Direction::Down(ratio), ratio * REACH - 1),
        };
        let mut heard = Vec::with_capacity(history + from.samples(LONGEST));
        heard.resize(history, 0.0);
        Self { direction, heard, history }
    }

    /// Write into `to` what `samples`, a whole number of milliseconds of them, become; how many these are.
    pub fn process(&mut self, samples: &[i16], to: &mut [i16]) -> usize {
        let made = match self.direction {
            Direction::Same => {
                to.iter_mut().zip(samples).for_each(|(to, from)| *to = *from);
                return samples.len().min(to.len());
            }
            Direction::Up(ratio) => samples.len() * ratio,
            Direction::Down(ratio) => samples.len() / ratio,
        };
        self.heard.extend(samples.iter().map(|sample| f32::from(*sample)));
        match self.direction {
            Direction::Up(2) => rise(&self.heard, &BY_2.up, to),
            Direction::Up(3) => rise(&self.heard, &BY_3.up, to),
            Direction::Up(_) => rise(&self.heard, &BY_6.up, to),
            Direction::Down(2) => fall(&self.heard, &BY_2.down, 2, to),
            Direction::Down(3) => fall(&self.heard, &BY_3.down, 3, to),
            Direction::Down(_) => fall(&self.heard, &BY_6.down, 6, to),
            Direction::Same => {}
        }
        let kept = self.heard.len() - self.history;
        self.heard.copy_within(kept.., 0);
        self.heard.truncate(self.history);
        made.min(to.len())
    }
}

fn rise(heard: &[f32], phases: &[Vec<f32>], to: &mut [i16]) {
    for (window, group) in heard.windows(REACH).zip(to.chunks_mut(phases.len())) {
        for (sample, phase) in group.iter_mut().zip(phases) {
            *sample = dot(window, phase);
        }
    }
}

fn fall(heard: &[f32], filter: &[f32], ratio: usize, to: &mut [i16]) {
    // The filter is symmetric: no need to turn it around.
    for (window, sample) in heard.windows(filter.len()).skip(ratio - 1).step_by(ratio).zip(to) {
        *sample = dot(window, filter);
    }
}

/// In eight sums side by side, so that the processor can work on them at once.
fn dot(window: &[f32], filter: &[f32]) -> i16 {
    let mut sums = [0f32; 8];
    let ((heard, last), (taps, last_taps)) = (window.as_chunks::<8>(), filter.as_chunks::<8>());
    for (heard, taps) in heard.iter().zip(taps) {
        for ((sum, sample), tap) in sums.iter_mut().zip(heard).zip(taps) {
            *sum += sample * tap;
        }
    }
    let rest: f32 = last.iter().zip(last_taps).map(|(sample, tap)| sample * tap).sum();
    (sums.iter().sum::<f32>() + rest).round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [Rate; 3] = [Rate::Narrow, Rate::Wide, Rate::Full];

    fn sine(hz: f64, rate: Rate, seconds: f64) -> Vec<i16> {
        let step = std::f64::consts::TAU * hz / f64::from(rate.hz());
        (0..(seconds * f64::from(rate.hz())) as usize)
            .map(|n| (16_384.0 * (step * n as f64).sin()).round() as i16)
            .collect()
    }

    fn resampled(samples: &[i16], from: Rate, to: Rate) -> Vec<i16> {
        let mut resampler = Resampler::new(from, to);
        let mut all = Vec::new();
        for block in samples.chunks(from.samples(20 * MILLISECOND)) {
            let mut made = [0; 960];
            let count = resampler.process(block, &mut made);
            all.extend_from_slice(&made[..count]);
        }
        all
    }

    /// Power of `samples` at `hz`, and of everything, in dB below a full sine.
    fn levels_db(samples: &[i16], hz: f64, rate: Rate) -> (f64, f64) {
        let step = std::f64::consts::TAU * hz / f64::from(rate.hz());
        let (mut re, mut im, mut all) = (0.0, 0.0, 0.0);
        for (n, sample) in samples.iter().enumerate() {
            let value = f64::from(*sample);
            re += value * (step * n as f64).cos();
            im += value * (step * n as f64).sin();
            all += value * value;
        }
        let count = samples.len() as f64;
        let tone = (re * re + im * im) * 2.0 / count / count;
        (
            10.0 * (tone / 16_384f64.powi(2) * 2.0).log10(),
            10.0 * ((all / count - tone).max(1e-9) / 16_384f64.powi(2) * 2.0).log10(),
        )
    }

    #[test]
    fn tones_keep_their_level_and_bring_nothing_else() {
        for (from, to) in RATES.iter().flat_map(|from| RATES.iter().map(move |to| (*from, *to))) {
            let lower = f64::from(from.min(to).hz());
            for part in [0.0125, 0.05, 0.125, 0.25, 0.375, 0.42] {
                let hz = lower * part;
                let made = resampled(&sine(hz, from, 0.5), from, to);
                assert_eq!(made.len(), (0.5 * f64::from(to.hz())) as usize);
                let steady = &made[to.samples(100 * MILLISECOND)..];
                let (tone, rest) = levels_db(steady, hz, to);
                assert!(tone.abs() < 0.1, "{from:?} {to:?} {hz}: {tone:.3} dB");
                assert!(rest < -55.0, "{from:?} {to:?} {hz}: noise {rest:.1} dB");
            }
        }
    }

    #[test]
    fn what_would_fold_back_is_gone() {
        for (from, to) in [(Rate::Wide, Rate::Narrow), (Rate::Full, Rate::Wide), (Rate::Full, Rate::Narrow)] {
            let nyquist = f64::from(to.hz()) / 2.0;
            for above in [1.01, 1.1, 1.25, 1.5, 1.9] {
                let hz = nyquist * above;
                let made = resampled(&sine(hz, from, 0.3), from, to);
                let (_, alias) = levels_db(&made[to.samples(100 * MILLISECOND)..], 1.0, to);
                assert!(alias < -55.0, "{from:?} {to:?} {hz}: {alias:.1} dB");
            }
        }
    }

    #[test]
    fn the_delay_is_as_told() {
        for (from, to) in [(Rate::Narrow, Rate::Wide), (Rate::Full, Rate::Narrow), (Rate::Wide, Rate::Full)] {
            let mut click = vec![0; from.samples(100 * MILLISECOND)];
            click[from.samples(40 * MILLISECOND)] = 16_000;
            let made = resampled(&click, from, to);
            let peak = (0..made.len()).max_by_key(|n| made[*n]).unwrap_or(0);
            let late = peak as f64 / f64::from(to.hz()) - 0.04;
            let told = 25.9 / f64::from(from.min(to).hz());
            assert!((late - told).abs() < 1.5 / f64::from(to.hz()), "{from:?} {to:?}: {late} {told}");
        }
    }
}
