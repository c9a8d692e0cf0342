//! Making sound shorter or longer by one period of the voice, which an ear does not notice (WSOLA).

use crate::codec::Rate;
use crate::dsp::pitch;
use crate::time::MILLISECOND;

/// Louder than this, sound must have a period to be changed.
const QUIET: u16 = 150;

/// Blend the first period into the second, so that one is left; `least` samples must remain. How many went.
pub fn leave_out(sound: &mut Vec<i16>, rate: Rate, least: usize, alike: f32) -> usize {
    let Some(period) = period(sound, rate, alike) else { return 0 };
    if sound.len() < least + period || sound.len() < 2 * period {
        return 0;
    }
    for n in 0..period {
        let (Some(first), Some(second)) = (sound.get(n).copied(), sound.get(n + period).copied()) else {
            break;
        };
        if let Some(sample) = sound.get_mut(n + period) {
            *sample = blended(first, second, n, period);
        }
    }
    sound.drain(..period);
    period
}

/// Play the first period twice. How many samples came in.
pub fn repeat(sound: &mut Vec<i16>, rate: Rate, alike: f32) -> usize {
    let Some(period) = period(sound, rate, alike) else { return 0 };
    if sound.len() < 2 * period {
        return 0;
    }
    let length = sound.len();
    sound.resize(length + period, 0);
    sound.copy_within(period..length, 2 * period);
    let (first, rest) = sound.split_at_mut(period);
    // What comes between goes on like the second period does, and ends as the first, so that the second can follow.
    for (n, (between, first)) in rest.iter_mut().zip(first).enumerate().take(period) {
        *between = blended(*between, *first, n, period);
    }
    period
}

fn blended(from: i16, to: i16, n: usize, length: usize) -> i16 {
    let part = (n + 1) as f32 / (length + 1) as f32;
    (f32::from(from) * (1.0 - part) + f32::from(to) * part) as i16
}

/// The period at the beginning of `sound`; None when two periods are too unlike each other.
fn period(sound: &[i16], rate: Rate, alike: f32) -> Option<usize> {
    let range = pitch::lags(rate);
    if sound.iter().all(|sample| sample.unsigned_abs() < QUIET) {
        return (rate.samples(5 * MILLISECOND) * 2 <= sound.len()).then(|| rate.samples(5 * MILLISECOND));
    }
    let stride = (rate.hz() / 8000) as usize;
    let longest = (*range.end()).min(sound.len() / 2);
    let at = |lag: usize| {
        pitch::likeness(sound.get(..lag).unwrap_or_default(), sound.get(lag..2 * lag).unwrap_or_default())
    };
    let lags = (*range.start()..=longest).step_by(stride);
    let (lag, likeness) = lags
        .map(|lag| (lag, at(lag)))
        .fold((0, -1.0), |best: (usize, f32), next| if next.1 > best.1 { next } else { best });
    (likeness >= alike).then_some(lag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(count: usize) -> Vec<i16> {
        (0..count).map(|n| (9000.0 * (n as f64 * std::f64::consts::TAU / 53.3).sin()) as i16).collect()
    }

    fn steepest(sound: &[i16]) -> i32 {
        sound.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max().unwrap_or(0)
    }

    #[test]
    fn a_period_less_or_more_is_smooth() {
        let mut sound = tone(400);
        let least = steepest(&sound) + 200;
        let out = leave_out(&mut sound, Rate::Narrow, 160, 0.5);
        assert!(out > 40 && sound.len() == 400 - out && steepest(&sound) < least);
        let more = repeat(&mut sound, Rate::Narrow, 0.5);
        assert!(more > 40 && sound.len() == 400 - out + more && steepest(&sound) < least);
    }

    #[test]
    fn what_has_no_period_stays() {
        let mut random = crate::random::Random::new(1);
        let mut noise: Vec<i16> = (0..320).map(|_| random.next() as i16).collect();
        assert_eq!(leave_out(&mut noise, Rate::Narrow, 160, 0.5), 0);
        assert_eq!(repeat(&mut noise, Rate::Narrow, 0.5), 0);
        let mut silence = vec![0; 320];
        assert_eq!(leave_out(&mut silence, Rate::Narrow, 160, 0.5), 40);
    }
}
