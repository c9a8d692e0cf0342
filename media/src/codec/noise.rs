//! Comfort noise (RFC 3389): what stands for the noise of a room while nothing of it is sent.
//!
//! A payload says how loud it is, and may say its colour by the reflection coefficients of an all-pole model.
//! Levels are those of `dsp::talking`: 0 dBov is a square wave at full scale.

use crate::codec::{Malformed, Rate};
use crate::random::Random;
use crate::time::{MILLISECOND, Micros};

/// Coefficients that are listened to; section 3 lets a receiver take all beyond as zero.
const ORDER: usize = 12;
const FULL_SCALE: f32 = 32_768.0;
/// A new level is come to in this time, so that nobody hears a step.
const GLIDE: Micros = 40 * MILLISECOND;

/// The payload that says how loud a noise is, and nothing of its colour.
#[cfg(test)]
pub fn payload(level_dbov: f32) -> [u8; 1] {
    [(-level_dbov).round().clamp(0.0, -crate::dsp::talking::SILENT_DBOV) as u8]
}

/// Noise as the payload that came last describes it.
#[derive(Debug)]
pub struct Noise {
    random: Random,
    /// The sine and the cosine of each stage.
    stages: [(f32, f32); ORDER],
    /// What goes back through the stages, the first one's first.
    backward: [f32; ORDER],
    level: f32,
    wanted_level: f32,
    /// How far `level` moves with each sample.
    step: f32,
    glide: f32,
}

impl Noise {
    /// Silence, until it hears something; the same `seed` makes the same noise.
    pub fn new(rate: Rate, seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            stages: [(0.0, 1.0); ORDER],
            backward: [0.0; ORDER],
            level: 0.0,
            wanted_level: 0.0,
            step: 0.0,
            glide: rate.samples(GLIDE) as f32,
        }
    }

    /// Take a payload's level and colour.
    pub fn hear(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let (level, colours) = payload.split_first().ok_or(Malformed)?;
        let level_dbov = -f32::from(level & 0x7f);
        self.wanted_level = FULL_SCALE * 10f32.powf(level_dbov / 20.0);
        self.step = (self.wanted_level - self.level) / self.glide;
        let told = colours.iter().map(|colour| reflection(*colour)).chain(std::iter::repeat(0.0));
        for (stage, sine) in self.stages.iter_mut().zip(told) {
            *stage = (sine, (1.0 - sine * sine).sqrt());
        }
        Ok(())
    }

    /// Append `samples` samples of it.
    pub fn make(&mut self, samples: usize, to: &mut Vec<i16>) {
        to.extend((0..samples).map(|_| self.next() as i16));
    }

    fn next(&mut self) -> f32 {
        let left = self.wanted_level - self.level;
        self.level = if left.abs() > self.step.abs() { self.level + self.step } else { self.wanted_level };
        let noise = white(&mut self.random);
        (self.coloured(noise) * self.level).round()
    }

    /// The all-pole model as a normalized lattice: each stage only turns what goes through it, so that noise
    /// comes out as loud as it went in, and nothing grows whatever payloads say and however they change.
    fn coloured(&mut self, noise: f32) -> f32 {
        let mut forward = noise;
        for ((sine, cosine), backward) in self.stages.iter().zip(&mut self.backward).rev() {
            (forward, *backward) = (cosine * forward - sine * *backward, sine * forward + cosine * *backward);
        }
        self.backward.rotate_right(1);
        self.backward[0] = forward;
        forward
    }
}

/// Section 3.2: from -1 to 1 in 254 steps; 255 is reserved.
///
/// Of the sign the RFC says nothing. Here a coefficient k alone is the model 1 / (1 + k/z), as in G.729 and
/// WebRTC, so that dull noise has a negative one. libbcg729 writes the opposite.
fn reflection(colour: u8) -> f32 {
    if colour == u8::MAX { 0.0 } else { 258.0 * (f32::from(colour) - 127.0) / 32_768.0 }
}

/// Noise of level 1, as good as Gaussian: three even ones added up.
fn white(random: &mut Random) -> f32 {
    let bits = random.next();
    let even = |shift: u32| (bits >> shift & 0xffff) as f32 / 32_768.0 - 1.0;
    even(0) + even(16) + even(32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dsp::talking::level_dbov;

    fn made(payload: &[u8], seconds: usize) -> Vec<i16> {
        let (mut noise, mut samples) = (Noise::new(Rate::Narrow, 7), Vec::new());
        noise.hear(payload).unwrap();
        noise.make(400 + 8000 * seconds, &mut samples);
        samples.split_off(400)
    }

    /// How alike a sound is to itself a sample later: from -1 to 1.
    fn correlation(samples: &[i16]) -> f32 {
        let product = |(a, b): (&i16, &i16)| f32::from(*a) * f32::from(*b);
        let power: f32 = samples.iter().zip(samples).map(product).sum();
        samples.iter().zip(&samples[1..]).map(product).sum::<f32>() / power
    }

    #[test]
    fn it_is_as_loud_as_it_is_told() {
        for level in [15, 30, 45, 60, 75] {
            let heard = level_dbov(&made(&[level], 2));
            assert!((heard + f32::from(level)).abs() < 0.2, "{heard} for -{level}");
        }
    }

    #[test]
    fn its_colour_does_not_change_its_level() {
        for colours in [[30, 127, 127], [220, 127, 127], [60, 180, 90], [20, 230, 60]] {
            let heard = level_dbov(&made(&[&[40], &colours[..]].concat(), 8));
            assert!((heard + 40.0).abs() < 0.5, "{heard} for {colours:?}");
        }
    }

    #[test]
    fn one_coefficient_is_the_likeness_of_neighbours_turned_round() {
        for (colour, likeness) in [(127, 0.0), (64, 0.496), (32, 0.748), (190, -0.496)] {
            let heard = correlation(&made(&[30, colour], 8));
            assert!((heard - likeness).abs() < 0.02, "{heard}, not {likeness}");
        }
    }

    /// Against the model as it is written: the polynomial of its coefficients, run as a filter.
    #[test]
    fn many_coefficients_are_the_poles_that_they_mean() {
        let colours = [40, 190, 100, 150];
        let mut poles: Vec<f64> = Vec::new();
        for k in colours.map(|colour| f64::from(reflection(colour))) {
            let turned: Vec<f64> = poles.iter().rev().copied().collect();
            poles.iter_mut().zip(turned).for_each(|(a, b)| *a += k * b);
            poles.push(k);
        }
        let samples = made(&[&[20], &colours[..]].concat(), 8);
        let flat = samples.windows(5).map(|window| {
            let before = window[..4].iter().rev().zip(&poles).map(|(sample, pole)| f64::from(*sample) * pole);
            (f64::from(window[4]) + before.sum::<f64>()) as i16
        });
        let flat: Vec<i16> = flat.collect();
        let likeness = |lag: usize| {
            let both = flat.iter().zip(&flat[lag..]).map(|(a, b)| f64::from(*a) * f64::from(*b));
            both.sum::<f64>() / flat.iter().map(|a| f64::from(*a).powi(2)).sum::<f64>()
        };
        assert!((1..8).all(|lag| likeness(lag).abs() < 0.02), "what is left without its colour is not white");
    }

    #[test]
    fn a_new_level_is_no_step() {
        let (mut noise, mut samples) = (Noise::new(Rate::Narrow, 7), Vec::new());
        for level in [70, 40] {
            noise.hear(&[level]).unwrap();
            noise.make(800, &mut samples);
        }
        let levels: Vec<f32> = samples[800..1120].chunks_exact(80).map(level_dbov).collect();
        assert!(levels.is_sorted() && levels[0] < -45.0 && levels[3] > -43.0, "{levels:?}");
    }

    #[test]
    fn the_same_seed_makes_the_same_noise_and_nothing_told_makes_none() {
        assert_eq!(made(&[50], 1), made(&[50], 1));
        let (mut noise, mut samples) = (Noise::new(Rate::Wide, 1), Vec::new());
        assert_eq!(noise.hear(&[]), Err(Malformed));
        noise.make(320, &mut samples);
        assert_eq!(samples, [0; 320]);
    }

    #[test]
    fn a_level_is_said_as_it_is_heard() {
        assert_eq!([0.0, -1.4, -63.5, -127.0, -300.0, 6.0].map(payload), [[0], [1], [64], [127], [127], [0]]);
    }

    proptest! {
        #[test]
        fn no_payloads_make_it_louder_than_they_say(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 1..20)
        ) {
            let (mut noise, mut samples) = (Noise::new(Rate::Narrow, 3), Vec::new());
            for payload in &payloads {
                let softer = [&[payload[0] | 0x1f], &payload[1..]].concat();
                noise.hear(&softer).unwrap();
                noise.make(160, &mut samples);
            }
            prop_assert_eq!(samples.len(), 160 * payloads.len());
            prop_assert!(noise.backward.iter().all(|value| value.abs() < 60.0));
            prop_assert!(level_dbov(&samples) < -31.0 + 12.0);
        }
    }
}
