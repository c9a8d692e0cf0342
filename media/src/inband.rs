//! Digits as tones in the sound (ITU-T Q.23, Q.24): found by Goertzel filters, told from voices by rule.
//!
//! A digit is two tones, one of each group, that are far above everything else, about equally loud, and there for
//! 30 ms at least. Speech has such moments too, so three tests guard against it (talk-off): the two tones must hold
//! nearly all of the power, no other tone of the groups may come near, and the second harmonic must be weak.

use crate::time::{MILLISECOND, Micros};

const RATE_HZ: f32 = 8000.0;
/// A block of 12.75 ms: short enough that one lies wholly in each half of the shortest digit.
const BLOCK: usize = 102;
const BLOCK_LENGTH: Micros = 12_750;
const LOW_HZ: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
const HIGH_HZ: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
const DIGITS: [[&str; 4]; 4] =
    [["1", "2", "3", "A"], ["4", "5", "6", "B"], ["7", "8", "9", "C"], ["*", "0", "#", "D"]];

/// Of each tone, as mean square of the samples: some -38 dBov.
const LEAST_POWER: f32 = 80_000.0;
/// The higher tone may be so much louder (8 dB), or softer (6 dB), than the lower one.
const TWIST: f32 = 6.3;
const REVERSE_TWIST: f32 = 4.0;
/// A group's tone is so much above the others of its group.
const ALONE: f32 = 6.3;
/// The two tones hold this part of all power.
const PURE: f32 = 0.82;
/// The second harmonic has at most this part of its tone.
const HARMONIC: f32 = 0.1;
/// Blocks with it before a digit is believed, and without it before it has ended.
const BEGINS: u8 = 2;
const ENDS: u8 = 3;

#[derive(Debug, Clone, Copy)]
struct Goertzel {
    coefficient: f32,
    last: f32,
    before: f32,
}

impl Goertzel {
    fn new(hz: f32) -> Self {
        let coefficient = 2.0 * (std::f32::consts::TAU * hz / RATE_HZ).cos();
        Self { coefficient, last: 0.0, before: 0.0 }
    }

    fn take(&mut self, sample: f32) {
        let now = sample + self.coefficient * self.last - self.before;
        self.before = self.last;
        self.last = now;
    }

    /// Mean square of the tone over the block; begins anew.
    fn power(&mut self) -> f32 {
        let sum =
            self.last * self.last + self.before * self.before - self.coefficient * self.last * self.before;
        self.last = 0.0;
        self.before = 0.0;
        2.0 * sum / (BLOCK * BLOCK) as f32
    }
}

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Began(&'static str),
    Ended(&'static str, Micros),
}

#[derive(Debug)]
pub struct Detector {
    low: [Goertzel; 4],
    high: [Goertzel; 4],
    /// At twice the higher tones: those of the lower ones fall among the higher group.
    harmonics: [Goertzel; 4],
    power: f32,
    count: usize,
    /// What the latest blocks had, and for how many of them.
    candidate: Option<&'static str>,
    blocks: u8,
    /// The digit that was told, the blocks that it has lasted, and those without it.
    digit: Option<&'static str>,
    lasted: u32,
    missed: u8,
}

impl Default for Detector {
    fn default() -> Self {
        let bank = |hz: [f32; 4], times: f32| hz.map(|hz| Goertzel::new(hz * times));
        Self {
            low: bank(LOW_HZ, 1.0),
            high: bank(HIGH_HZ, 1.0),
            harmonics: bank(HIGH_HZ, 2.0),
            power: 0.0,
            count: 0,
            candidate: None,
            blocks: 0,
            digit: None,
            lasted: 0,
            missed: 0,
        }
    }
}

impl Detector {
    /// Listen to samples of 8 kHz.
    pub fn take(&mut self, samples: &[i16], mut tell: impl FnMut(Told)) {
        for sample in samples {
            let value = f32::from(*sample);
            let banks = [&mut self.low, &mut self.high, &mut self.harmonics];
            banks.into_iter().flatten().for_each(|filter| filter.take(value));
            self.power += value * value;
            self.count += 1;
            if self.count == BLOCK {
                let heard = self.judge();
                self.count = 0;
                self.power = 0.0;
                self.note(heard, &mut tell);
            }
        }
    }

    /// Which digit this block is, if one.
    fn judge(&mut self) -> Option<&'static str> {
        let (low, high) =
            (self.low.each_mut().map(Goertzel::power), self.high.each_mut().map(Goertzel::power));
        let harmonics = self.harmonics.each_mut().map(Goertzel::power);
        let (row, low_power) = loudest(&low)?;
        let (column, high_power) = loudest(&high)?;
        let loud = low_power >= LEAST_POWER && high_power >= LEAST_POWER;
        let balanced = high_power <= low_power * TWIST && low_power <= high_power * REVERSE_TWIST;
        let pure = low_power + high_power >= PURE * self.power / BLOCK as f32;
        let alone = |all: &[f32; 4], place, power: f32| {
            all.iter().enumerate().all(|(other, value)| other == place || value * ALONE <= power)
        };
        let clean = harmonics.get(column).is_some_and(|harmonic| *harmonic <= HARMONIC * high_power);
        let is_digit = loud
            && balanced
            && pure
            && clean
            && alone(&low, row, low_power)
            && alone(&high, column, high_power);
        DIGITS.get(row).and_then(|row| row.get(column)).copied().filter(|_| is_digit)
    }

    fn note(&mut self, heard: Option<&'static str>, tell: &mut impl FnMut(Told)) {
        self.blocks = if heard == self.candidate { self.blocks.saturating_add(1) } else { 1 };
        self.candidate = heard;
        if let Some(digit) = self.digit {
            self.lasted += 1;
            self.missed = if heard == Some(digit) { 0 } else { self.missed + 1 };
            if self.missed < ENDS {
                return;
            }
            let blocks = self.lasted.saturating_sub(u32::from(ENDS));
            tell(Told::Ended(digit, u64::from(blocks) * BLOCK_LENGTH));
            self.digit = None;
        }
        if let Some(digit) = heard.filter(|_| self.blocks >= BEGINS) {
            tell(Told::Began(digit));
            self.digit = Some(digit);
            self.lasted = u32::from(BEGINS);
            self.missed = 0;
        }
    }

    /// The sound is over: what was told and has not ended.
    pub fn end(&mut self) -> Option<Told> {
        let digit = self.digit.take()?;
        Some(Told::Ended(digit, u64::from(self.lasted) * BLOCK_LENGTH))
    }
}

/// In whole milliseconds, for telling.
pub fn milliseconds(duration: Micros) -> u32 {
    (duration / MILLISECOND) as u32
}

fn loudest(powers: &[f32; 4]) -> Option<(usize, f32)> {
    powers.iter().copied().enumerate().max_by(|one, other| one.1.total_cmp(&other.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Silence, the digit, silence.
    fn press(row: usize, column: usize, ms: usize, low_db: f32, high_db: f32, offset: f32) -> Vec<i16> {
        let tone = |hz: f32, db: f32, n: usize| {
            32_767.0
                * 10f32.powf(db / 20.0)
                * (std::f32::consts::TAU * hz * (1.0 + offset) * n as f32 / 8000.0).sin()
        };
        let count = ms * 8;
        let mut samples = vec![0; 700];
        samples.extend(
            (0..count).map(|n| (tone(LOW_HZ[row], low_db, n) + tone(HIGH_HZ[column], high_db, n)) as i16),
        );
        samples.extend(vec![0; 700]);
        samples
    }

    fn heard(samples: &[i16]) -> Vec<Told> {
        let (mut detector, mut told) = (Detector::default(), Vec::new());
        samples.chunks(160).for_each(|frame| detector.take(frame, |one| told.push(one)));
        told
    }

    fn digits(samples: &[i16]) -> String {
        let began = |told| if let Told::Began(digit) = told { Some(digit) } else { None };
        heard(samples).into_iter().filter_map(began).collect()
    }

    #[test]
    fn every_digit_is_told_once_with_its_duration() {
        for (row, column) in (0..4).flat_map(|row| (0..4).map(move |column| (row, column))) {
            for ms in [45, 70, 100, 400] {
                let told = heard(&press(row, column, ms, -12.0, -10.0, 0.0));
                let digit = DIGITS[row][column];
                let Some(Told::Ended(ended, lasted)) = told.get(1).copied() else {
                    unreachable!("{digit} {ms} {told:?}")
                };
                assert_eq!((told[0], ended), (Told::Began(digit), digit));
                let apart = lasted as i64 / 1000 - ms as i64;
                assert!((-26..=13).contains(&apart), "{ms}: {lasted}");
            }
        }
    }

    #[test]
    fn levels_twist_and_frequencies_are_those_of_q_24() {
        for (low, high) in [(-6.0, -6.0), (-30.0, -30.0), (-12.0, -5.0), (-9.0, -14.0)] {
            assert_eq!(digits(&press(1, 1, 100, low, high, 0.0)), "5", "{low} {high}");
        }
        for (low, high) in [(-50.0, -50.0), (-20.0, -8.0), (-8.0, -20.0)] {
            assert_eq!(digits(&press(1, 1, 100, low, high, 0.0)), "", "{low} {high}");
        }
        for (offset, told) in [(0.015, "5"), (-0.015, "5"), (0.04, ""), (-0.04, "")] {
            assert_eq!(digits(&press(1, 1, 100, -10.0, -10.0, offset)), told, "{offset}");
        }
    }

    #[test]
    fn what_is_too_short_is_no_digit_and_a_short_break_is_none() {
        assert_eq!(digits(&press(0, 0, 18, -10.0, -10.0, 0.0)), "");
        let mut broken = press(0, 0, 200, -10.0, -10.0, 0.0);
        broken[1500..1560].fill(0);
        assert_eq!(digits(&broken), "1");
        let twice = [press(0, 0, 60, -10.0, -10.0, 0.0), press(0, 0, 60, -10.0, -10.0, 0.0)].concat();
        assert_eq!(digits(&twice), "11");
    }

    #[test]
    fn noise_below_the_tones_does_not_hide_them_and_is_no_digit() {
        let mut random = Random::new(3);
        let mut noisy = press(2, 2, 100, -10.0, -10.0, 0.0);
        // 20 dB below the digit.
        noisy.iter_mut().for_each(|sample| {
            *sample = sample.saturating_add(((random.fraction() - 0.5) * 5000.0) as i16);
        });
        assert_eq!(digits(&noisy), "9");
        let noise: Vec<i16> = (0..800_000).map(|_| ((random.fraction() - 0.5) * 40_000.0) as i16).collect();
        assert_eq!(digits(&noise), "");
    }
}
