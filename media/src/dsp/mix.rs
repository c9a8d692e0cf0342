//! Adding voices up, each as loud as its edge says, into something that an ear can bear.

/// The longest frame: 20 ms at 48 kHz.
pub const LONGEST: usize = 960;

/// A factor for samples, in parts of 2 to the power of 12. 0 dB changes nothing at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gain(i32);

const UNITY: i32 = 1 << 12;
const LEAST_DB: f64 = -96.0;
const MOST_DB: f64 = 18.0;

impl Gain {
    pub const NONE: Self = Self(UNITY);
    pub const SILENCE: Self = Self(0);

    /// Between -96 (silence) and 18 dB.
    pub fn from_db(db: f64) -> Self {
        if db <= LEAST_DB {
            return Self::SILENCE;
        }
        Self((f64::from(UNITY) * 10f64.powf(db.min(MOST_DB) / 20.0)).round() as i32)
    }
}

/// A sum of voices. 64 times 18 dB above full scale fit in.
#[derive(Debug)]
pub struct Mix {
    sum: [i32; LONGEST],
    /// All after these is zero.
    used: usize,
}

impl Default for Mix {
    fn default() -> Self {
        Self { sum: [0; LONGEST], used: 0 }
    }
}

impl Mix {
    pub fn clear(&mut self) {
        self.sum.iter_mut().take(self.used).for_each(|sum| *sum = 0);
        self.used = 0;
    }

    pub fn add(&mut self, samples: &[i16], gain: Gain) {
        self.used = self.used.max(samples.len());
        let pairs = self.sum.iter_mut().zip(samples);
        if gain == Gain::NONE {
            pairs.for_each(|(sum, sample)| *sum += i32::from(*sample));
        } else {
            pairs.for_each(|(sum, sample)| *sum += (i32::from(*sample) * gain.0) >> 12);
        }
    }

    /// Add samples that grow louder or softer from the first to the last.
    pub fn add_sliding(&mut self, samples: &[i16], from: Gain, to: Gain) {
        self.used = self.used.max(samples.len());
        let count = samples.len().max(1) as i32;
        for (n, (sum, sample)) in (1..).zip(self.sum.iter_mut().zip(samples)) {
            let gain = from.0 + (to.0 - from.0) * n / count;
            *sum += (i32::from(*sample) * gain) >> 12;
        }
    }

    /// Write the sum, made bearable by `limiter`, into `to`.
    pub fn finish(&self, limiter: &mut Limiter, to: &mut [i16]) {
        let sum = self.sum.get(..to.len()).unwrap_or_default();
        limiter.limit(sum, to);
    }
}

/// Above this (-2.5 dBov) the limiter works; below, samples pass bit by bit.
const THRESHOLD: f32 = 24_576.0;
const CEILING: f32 = 32_767.0;
/// Of the way back to full loudness, in one frame.
const RELEASE: f32 = 0.08;
/// Parts of a frame in which loudness comes down; what overshoots meanwhile is bent.
const ATTACK: usize = 8;

/// Turns loudness down before it would break, and slowly up again; what still sticks out is bent softly.
#[derive(Debug)]
pub struct Limiter {
    gain: f32,
}

impl Default for Limiter {
    fn default() -> Self {
        Self { gain: 1.0 }
    }
}

impl Limiter {
    fn limit(&mut self, sum: &[i32], to: &mut [i16]) {
        let peak = sum.iter().fold(0, |peak, sample| peak.max(sample.abs())) as f32;
        if peak <= THRESHOLD && self.gain >= 1.0 {
            to.iter_mut().zip(sum).for_each(|(to, sample)| *to = *sample as i16);
            return;
        }
        let wanted = if peak > THRESHOLD { THRESHOLD / peak } else { 1.0 };
        let (start, end) = (self.gain, wanted.min(self.gain + (1.0 - self.gain) * RELEASE + 0.001));
        let ramp = if end < start { to.len() / ATTACK } else { to.len() }.max(1);
        let step = (end - start) / ramp as f32;
        for (n, (to, sample)) in to.iter_mut().zip(sum).enumerate() {
            let gain = start + step * n.min(ramp) as f32;
            *to = bend(*sample as f32 * gain) as i16;
        }
        self.gain = end;
    }
}

/// Straight up to the threshold, then ever flatter towards the ceiling, which nothing reaches.
fn bend(value: f32) -> f32 {
    let magnitude = value.abs();
    if magnitude <= THRESHOLD {
        return value;
    }
    let (room, over) = (CEILING - THRESHOLD, magnitude - THRESHOLD);
    (THRESHOLD + room * over / (room + over)).copysign(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tone(hz: f64, amplitude: f64, frame: usize) -> Vec<i16> {
        let at = |n: usize| (frame * 160 + n) as f64 / 8000.0 * hz * std::f64::consts::TAU;
        (0..160).map(|n| (amplitude * at(n).sin()) as i16).collect()
    }

    #[test]
    fn one_voice_passes_bit_by_bit() {
        let voice = tone(440.0, 24_000.0, 0);
        let (mut mix, mut limiter, mut to) = (Mix::default(), Limiter::default(), [0; 160]);
        mix.add(&voice, Gain::NONE);
        mix.finish(&mut limiter, &mut to);
        assert_eq!(to.to_vec(), voice);
    }

    #[test]
    fn a_gain_is_what_it_says() {
        let (mut mix, mut limiter, mut to) = (Mix::default(), Limiter::default(), [0; 160]);
        mix.add(&[10_000; 160], Gain::from_db(-6.0));
        mix.add(&[1000; 160], Gain::from_db(-200.0));
        mix.finish(&mut limiter, &mut to);
        assert!((to[0] - 5012).abs() <= 2, "{}", to[0]);
    }

    #[test]
    fn a_voice_slides_in_and_out_without_a_step() {
        let (mut mix, mut limiter, mut heard) = (Mix::default(), Limiter::default(), [0; 480]);
        let slides = [(Gain::SILENCE, Gain::NONE), (Gain::NONE, Gain::NONE), (Gain::NONE, Gain::SILENCE)];
        for ((from, to), heard) in slides.into_iter().zip(heard.chunks_mut(160)) {
            mix.clear();
            mix.add_sliding(&[16_000; 160], from, to);
            mix.finish(&mut limiter, heard);
        }
        assert_eq!((heard[159], heard[320 - 1], heard[479]), (16_000, 16_000, 0));
        assert!(heard.windows(2).all(|pair| (pair[1] - pair[0]).abs() <= 104));
    }

    #[test]
    fn loud_voices_together_are_turned_down_without_a_click() {
        let (mut limiter, mut heard) = (Limiter::default(), Vec::new());
        for frame in 0..100 {
            let (mut mix, mut to) = (Mix::default(), [0; 160]);
            mix.add(&tone(300.0, 20_000.0, frame), Gain::NONE);
            if (30..60).contains(&frame) {
                mix.add(&tone(700.0, 20_000.0, frame), Gain::NONE);
                mix.add(&tone(1100.0, 20_000.0, frame), Gain::NONE);
            }
            mix.finish(&mut limiter, &mut to);
            heard.extend(to);
        }
        let steepest = heard.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max();
        assert!(steepest < Some(30_000), "{steepest:?}");
        let last = heard[99 * 160..].iter().map(|sample| sample.unsigned_abs()).max();
        assert!(last > Some(19_000), "loud again after 0.8 s: {last:?}");
    }

    proptest! {
        #[test]
        fn nothing_wraps_around(voices in proptest::collection::vec((any::<i16>(), -20.0f64..18.0), 1..50)) {
            let (mut mix, mut limiter, mut to) = (Mix::default(), Limiter::default(), [0; 160]);
            let mut exact = 0.0;
            for (sample, db) in &voices {
                mix.add(&[*sample; 160], Gain::from_db(*db));
                exact += f64::from(*sample) * 10f64.powf(db / 20.0);
            }
            mix.finish(&mut limiter, &mut to);
            prop_assert!(to.iter().all(|sample| f64::from(*sample) * exact >= -1e6));
        }
    }
}
