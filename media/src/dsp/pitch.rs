//! How long one period of a voice is: the lag at which a stretch of sound is most like itself.

use crate::codec::Rate;
use crate::time::MILLISECOND;

/// Voices between 66 and 400 Hz.
const SHORTEST_MS: u64 = 5;
const LONGEST_MS: u64 = 15;
const LANES: usize = 8;

/// The lags that are looked at: the longest is also how much sound before the window is needed.
pub fn lags(rate: Rate) -> std::ops::RangeInclusive<usize> {
    // Half of the shortest, so that a high voice is not taken for one an octave lower.
    rate.samples(SHORTEST_MS * MILLISECOND) / 2..=rate.samples(LONGEST_MS * MILLISECOND)
}

/// How alike two stretches of equal length are: 1 the same but for loudness, 0 nothing in common; negative upside
/// down. Silence is like anything.
pub fn likeness(one: &[i16], other: &[i16]) -> f32 {
    // Sums side by side, because the processor adds that many at once.
    let (mut cross, mut of_one, mut of_other) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
    let mut add = |one: &[i16], other: &[i16]| {
        let sums = cross.iter_mut().zip(&mut of_one).zip(&mut of_other);
        for (((cross, of_one), of_other), (a, b)) in sums.zip(one.iter().zip(other)) {
            let (a, b) = (f32::from(*a), f32::from(*b));
            *cross += a * b;
            *of_one += a * a;
            *of_other += b * b;
        }
    };
    let ((ones, last), (others, other_last)) = (one.as_chunks::<LANES>(), other.as_chunks::<LANES>());
    ones.iter().zip(others).for_each(|(one, other)| add(one, other));
    add(last, other_last);
    let sum = |lanes: [f32; LANES]| lanes.iter().sum::<f32>();
    sum(cross) / ((1.0 + sum(of_one)) * (1.0 + sum(of_other))).sqrt()
}

/// The lag at which the last `window` samples of `sound` are most like what was before, and how alike they are.
///
/// `sound` must be longer than the window and the longest lag together, or the lags end earlier.
pub fn period(sound: &[i16], window: usize, rate: Rate) -> (usize, f32) {
    let window = window.min(sound.len() / 2);
    let end = sound.len();
    let latest = sound.get(end - window..).unwrap_or_default();
    let stride = (rate.hz() / 8000) as usize;
    let at = |lag: usize| {
        let start = end.checked_sub(window + lag);
        let earlier = start.and_then(|start| sound.get(start..start + window));
        earlier.map_or(-1.0, |earlier| likeness(latest, earlier))
    };
    let best = |lags: &mut dyn Iterator<Item = usize>| {
        lags.map(|lag| (lag, at(lag))).fold((0, -1.0), |best: (usize, f32), next| {
            // Twice the period is as good as the period: a longer one must be clearly better.
            if next.1 > best.1 + 0.01 { next } else { best }
        })
    };
    let range = lags(rate);
    let coarse = best(&mut range.clone().step_by(stride)).0;
    let (shortest, longest) = (*range.start(), *range.end());
    let near = coarse.saturating_sub(stride).max(shortest)..=(coarse + stride).min(longest);
    near.map(|lag| (lag, at(lag)))
        .fold((coarse.max(shortest), -1.0), |best, next| if next.1 > best.1 { next } else { best })
}
