//! Sound in the place of sound that was lost, for codecs that have no concealment of their own.
//!
//! As ITU-T G.711 Appendix I has it: the last pitch period goes on, softer and softer, and is blended with the
//! voice when it is back. Unlike there nothing is held back to blend the beginning; a step there is levelled out.

use crate::codec::Rate;
use crate::dsp::pitch;
use crate::time::{MILLISECOND, Micros};

const WINDOW: Micros = 20 * MILLISECOND;
const LONGEST_PERIOD: Micros = 15 * MILLISECOND;
/// Blended with what was before the period, so that its end leads to its beginning.
const BLEND: Micros = 3 * MILLISECOND;
/// At full loudness for so long, then fading to silence.
const LOUD: Micros = 10 * MILLISECOND;
const FADING: Micros = 60 * MILLISECOND;

#[derive(Debug)]
pub struct Concealer {
    rate: Rate,
    /// The sound that was heard last, as far back as a period can be looked for.
    history: Vec<i16>,
    /// One period, to be repeated.
    cycle: Vec<i16>,
    place: usize,
    /// Samples made since the last one that was heard.
    made: usize,
    /// The step between the last sample heard and the first one made.
    step: f32,
}

impl Concealer {
    pub fn new(rate: Rate) -> Self {
        let length = rate.samples(WINDOW + LONGEST_PERIOD + BLEND);
        let cycle = Vec::with_capacity(rate.samples(LONGEST_PERIOD) + 1);
        Self { rate, history: vec![0; length], cycle, place: 0, made: 0, step: 0.0 }
    }

    /// Take note of sound; after a loss its beginning is blended with what stood for it.
    pub fn heard(&mut self, samples: &mut [i16]) {
        if self.made > 0 {
            self.blend(samples);
            self.made = 0;
        }
        let kept = self.history.len();
        if let Some(latest) = samples.len().checked_sub(kept).and_then(|start| samples.get(start..)) {
            self.history.copy_from_slice(latest);
        } else {
            self.history.copy_within(samples.len().., 0);
            if let Some(end) = self.history.get_mut(kept - samples.len()..) {
                end.copy_from_slice(samples);
            }
        }
    }

    fn blend(&mut self, samples: &mut [i16]) {
        let length = (self.rate.samples(BLEND) + self.made / 8).min(samples.len());
        for (n, sample) in samples.iter_mut().take(length).enumerate() {
            let part = (n + 1) as f32 / (length + 1) as f32;
            *sample = (self.next() * (1.0 - part) + f32::from(*sample) * part) as i16;
        }
    }

    /// Append `samples` samples in the manner of what was heard last.
    pub fn conceal(&mut self, samples: usize, to: &mut Vec<i16>) {
        if samples > 0 && self.made == 0 {
            self.find_cycle();
        }
        to.extend((0..samples).map(|_| self.next() as i16));
    }

    fn find_cycle(&mut self) {
        let (period, _) = pitch::period(&self.history, self.rate.samples(WINDOW), self.rate);
        let end = self.history.len();
        let blend = self.rate.samples(BLEND).min(period / 2);
        self.cycle.clear();
        self.cycle.extend_from_slice(self.history.get(end - period..).unwrap_or_default());
        let before = self.history.get(end - period - blend..end - period).unwrap_or_default();
        let tail = self.cycle.iter_mut().skip(period - blend);
        for (n, (sample, earlier)) in tail.zip(before).enumerate() {
            let part = (n + 1) as f32 / (blend + 1) as f32;
            *sample = (f32::from(*sample) * (1.0 - part) + f32::from(*earlier) * part) as i16;
        }
        let last = self.history.last().copied().unwrap_or(0);
        self.step = f32::from(last) - f32::from(before.last().copied().unwrap_or(0));
        self.place = 0;
    }

    fn next(&mut self) -> f32 {
        let (made, loud) = (self.made, self.rate.samples(LOUD));
        let fading = self.rate.samples(FADING);
        self.made += 1;
        if made >= loud + fading {
            return 0.0;
        }
        let value = f32::from(self.cycle.get(self.place).copied().unwrap_or(0));
        self.place = if self.place + 1 < self.cycle.len() { self.place + 1 } else { 0 };
        let blend = self.rate.samples(BLEND) as f32;
        let levelled = value + self.step * (1.0 - made as f32 / blend).max(0.0);
        let loudness = 1.0 - made.saturating_sub(loud) as f32 / fading as f32;
        (levelled * loudness).clamp(-32_768.0, 32_767.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A voice-like sound: harmonics of a pitch that glides, at 8 kHz.
    fn voice(seconds: f32) -> Vec<i16> {
        let mut phase = 0.0f32;
        let sample = |n: usize| {
            let pitch_hz = 120.0 + 20.0 * (n as f32 / 4000.0).sin();
            phase += pitch_hz / 8000.0;
            let sum: f32 =
                (1..=12).map(|k| (std::f32::consts::TAU * phase * k as f32).sin() / k as f32).sum();
            (sum * 6000.0) as i16
        };
        (0..(seconds * 8000.0) as usize).map(sample).collect()
    }

    fn signal_to_noise_db(original: &[i16], heard: &[i16]) -> f32 {
        let power =
            |samples: &mut dyn Iterator<Item = f32>| samples.map(|value| value * value).sum::<f32>() + 1.0;
        let signal = power(&mut original.iter().map(|sample| f32::from(*sample)));
        let noise = power(&mut original.iter().zip(heard).map(|(a, b)| f32::from(*a) - f32::from(*b)));
        10.0 * (signal / noise).log10()
    }

    /// Mean over frames of 20 ms that were lost or follow a loss, as heard, and with silence in place of losses.
    fn concealed(lost: impl Fn(usize) -> bool) -> (f32, f32) {
        let sound = voice(10.0);
        let mut concealer = Concealer::new(Rate::Narrow);
        let (mut heard, mut silent, mut frames) = (0.0, 0.0, 0.0);
        for (number, frame) in sound.chunks(160).enumerate() {
            let mut made = Vec::new();
            if lost(number) {
                concealer.conceal(frame.len(), &mut made);
                heard += signal_to_noise_db(frame, &made);
                silent += signal_to_noise_db(frame, &[0; 160]);
                frames += 1.0;
            } else {
                made.extend_from_slice(frame);
                concealer.heard(&mut made);
            }
        }
        (heard / frames, silent / frames)
    }

    #[test]
    fn single_losses_of_a_voice_are_far_nearer_to_it_than_silence() {
        let (heard, silent) = concealed(|number| number % 20 == 19);
        assert!(heard > silent + 8.0, "{heard:.1} dB, silence {silent:.1} dB");
    }

    #[test]
    fn bursts_too() {
        let (heard, silent) = concealed(|number| number % 60 >= 57);
        assert!(heard > silent + 2.0, "{heard:.1} dB, silence {silent:.1} dB");
    }

    #[test]
    fn what_is_never_heard_again_fades_to_silence() {
        let mut concealer = Concealer::new(Rate::Narrow);
        concealer.heard(&mut voice(0.1));
        let mut made = Vec::new();
        concealer.conceal(8000, &mut made);
        assert!(made[..80].iter().any(|sample| sample.unsigned_abs() > 3000));
        assert!(made[600..].iter().all(|sample| *sample == 0));
    }

    #[test]
    fn nothing_clicks_where_sound_begins_or_ends_to_be_made() {
        let sound = voice(1.0);
        let steepest = |samples: &[i16]| {
            samples.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max().unwrap_or(0)
        };
        let mut concealer = Concealer::new(Rate::Narrow);
        let mut heard = sound[..3973].to_vec();
        concealer.heard(&mut heard);
        concealer.conceal(160, &mut heard);
        let mut rest = sound[4133..].to_vec();
        concealer.heard(&mut rest);
        heard.extend(rest);
        assert!(steepest(&heard) <= steepest(&sound) * 5 / 4, "{} {}", steepest(&heard), steepest(&sound));
    }
}
