//! A port that only speaks: clips one after the other without a gap, from files or made of tones.
//!
//! Gives 20 ms at a time to whoever asks, and so knows no listeners. Files are read elsewhere, see `sound.rs`.

use std::sync::Arc;

use crate::codec::{Codec, Rate};
use crate::dsp::mix::LONGEST;
use crate::playout::TICK;
use crate::sound::Sound;
use crate::time::{MILLISECOND, Micros, SECOND};

/// Where tones begin and end, so that they do not click.
const EDGE: Micros = 2 * MILLISECOND;

/// Some sines at once for some time; none of them is silence.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    pub frequencies_hz: Vec<f64>,
    /// Of each sine: 0 just touches full scale.
    pub level_dbov: f64,
    /// 0: without end.
    pub duration: Micros,
}

#[derive(Debug, Clone)]
pub enum Clip {
    Tone(Segment),
    Sound { sound: Arc<Sound>, start: Micros },
}

/// What there is to play, as it was asked for.
#[derive(Debug, Clone)]
pub struct Playlist {
    /// The engine's number for it.
    pub play: u64,
    pub clips: Vec<Clip>,
    /// 0: for ever.
    pub times: u32,
    /// A digit among these, pressed by somebody who hears it, ends it.
    pub ended_by: Box<str>,
}

/// Why playing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything was played.
    Done,
    /// It was told to, or something else is played.
    Stopped,
    /// A digit ended it.
    Digit,
    /// A file could not be read.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    pub play: u64,
    pub end: End,
    pub position: Micros,
}

#[derive(Debug, Default)]
pub struct Player {
    list: Option<Playlist>,
    rate: Option<Rate>,
    /// The clip that is played, samples of it that were, and rounds that are over.
    clip: usize,
    offset: usize,
    round: u32,
    paused: bool,
    /// Samples since the beginning.
    played: u64,
    /// Where the sound of this tick came from, when it came from one place: for forms that are ready encoded.
    from: Option<(usize, usize)>,
    /// What is to be played once its files are read.
    expected: Option<u64>,
    ended: Option<Played>,
}

impl Player {
    /// Play this instead of whatever is played; what that was is told by `take_ended`.
    pub fn play(&mut self, list: Playlist) {
        self.expected = None;
        self.stop(End::Stopped);
        self.rate = Some(list.rate());
        self.list = Some(list);
        self.clip = 0;
        self.offset = 0;
        self.round = 0;
        self.played = 0;
        self.paused = false;
        if self.list.as_ref().is_some_and(|list| list.length() == Some(0)) {
            self.stop(End::Done);
        }
        self.begin_clip();
    }

    /// The files of this one are being read; what is played until then ends now.
    pub fn expect(&mut self, play: u64) {
        self.stop(End::Stopped);
        self.expected = Some(play);
    }

    /// Whether `play` is still wanted.
    pub fn expects(&self, play: u64) -> bool {
        self.expected == Some(play)
    }

    pub fn stop(&mut self, end: End) {
        if let Some(play) = self.expected.take() {
            self.ended = Some(Played { play, end, position: 0 });
        }
        let position = self.position();
        if let Some(list) = self.list.take() {
            self.ended = Some(Played { play: list.play, end, position });
        }
    }

    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Whether there is something to play, paused or not.
    pub fn is_playing(&self) -> bool {
        self.list.is_some()
    }

    /// Whether time passes for what is played although nobody hears it: it has an end that somebody waits for.
    pub fn has_end(&self) -> bool {
        self.list.as_ref().is_some_and(|list| list.times != 0 && list.length().is_some()) && !self.paused
    }

    pub fn is_ended_by(&self, digit: &str) -> bool {
        self.list.as_ref().is_some_and(|list| list.ended_by.contains(digit))
    }

    /// What ended since this was asked last.
    pub fn take_ended(&mut self) -> Option<Played> {
        self.ended.take()
    }

    pub fn position(&self) -> Micros {
        let hz = self.rate.unwrap_or(Rate::Narrow).hz();
        self.played * SECOND / u64::from(hz)
    }

    /// Go on `position` after the beginning; at the end when there is not so much.
    pub fn seek(&mut self, position: Micros) {
        let Some(rate) = self.rate else { return };
        self.played = 0;
        (self.clip, self.offset, self.round) = (0, 0, 0);
        self.begin_clip();
        let mut left = rate.samples(position);
        while left > 0 && self.list.is_some() {
            let step = self.left().map_or(left, |there| there.min(left));
            self.advance(step);
            left -= step;
        }
    }

    /// 20 ms into `to`: their rate, and whether there is anything to hear.
    pub fn tick(&mut self, _now: Micros, to: &mut [i16; LONGEST]) -> (Rate, bool) {
        let rate = self.rate.unwrap_or(Rate::Narrow);
        let frame = to.get_mut(..rate.samples(TICK)).unwrap_or_default();
        frame.fill(0);
        self.from = None;
        if self.list.is_none() || self.paused {
            return (rate, false);
        }
        let mut filled = 0;
        while filled < frame.len() && self.list.is_some() {
            let room = frame.len() - filled;
            let count = self.left().map_or(room, |left| left.min(room));
            if count == frame.len() {
                self.from = Some((self.clip, self.offset));
            }
            self.write(rate, frame.get_mut(filled..filled + count).unwrap_or_default());
            self.advance(count);
            filled += count;
        }
        (rate, true)
    }

    /// This tick's payload in `codec`, where the file has it ready.
    pub fn ready(&self, codec: Codec) -> Option<&[u8]> {
        let (clip, offset) = self.from?;
        let Clip::Sound { sound, .. } = self.list.as_ref()?.clips.get(clip)? else { return None };
        sound.ready(codec, offset, self.rate?.samples(TICK))
    }

    fn current(&self) -> Option<&Clip> {
        self.list.as_ref()?.clips.get(self.clip)
    }

    /// Samples that are left of this clip; None: it has no end.
    fn left(&self) -> Option<usize> {
        let rate = self.rate?;
        let whole = match self.current()? {
            Clip::Tone(segment) if segment.duration == 0 => return None,
            Clip::Tone(segment) => rate.samples(segment.duration),
            Clip::Sound { sound, .. } => sound.samples.len(),
        };
        Some(whole.saturating_sub(self.offset))
    }

    fn begin_clip(&mut self) {
        self.offset = match (self.current(), self.rate) {
            (Some(Clip::Sound { sound, start }), Some(rate)) => rate.samples(*start).min(sound.samples.len()),
            _ => 0,
        };
        if self.left() == Some(0) {
            self.next_clip();
        }
    }

    fn advance(&mut self, count: usize) {
        self.offset += count;
        self.played += count as u64;
        if self.left() == Some(0) {
            self.next_clip();
        }
    }

    fn next_clip(&mut self) {
        let Some(list) = &self.list else { return };
        let (count, times) = (list.clips.len(), list.times);
        // A list in which nothing lasts would be gone through for ever.
        let lasts = list.length() != Some(0);
        self.clip += 1;
        if self.clip >= count {
            self.clip = 0;
            self.round += 1;
            if !lasts || times != 0 && self.round >= times {
                self.stop(End::Done);
                return;
            }
        }
        self.begin_clip();
    }

    fn write(&self, rate: Rate, to: &mut [i16]) {
        match self.current() {
            Some(Clip::Sound { sound, .. }) => {
                let from = sound.samples.get(self.offset..self.offset + to.len()).unwrap_or_default();
                to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
            Some(Clip::Tone(segment)) => {
                for (n, sample) in to.iter_mut().enumerate() {
                    *sample = segment.sample(self.offset + n, rate);
                }
            }
            None => {}
        }
    }
}

impl Playlist {
    fn rate(&self) -> Rate {
        let of = |clip: &Clip| match clip {
            Clip::Sound { sound, .. } => sound.rate,
            Clip::Tone(_) => Rate::Narrow,
        };
        self.clips.iter().map(of).max().unwrap_or(Rate::Narrow)
    }

    /// Of one round; None: without end.
    fn length(&self) -> Option<Micros> {
        let of = |clip: &Clip| match clip {
            Clip::Tone(segment) => (segment.duration > 0).then_some(segment.duration),
            Clip::Sound { sound, start } => Some(sound.length().saturating_sub(*start)),
        };
        self.clips.iter().map(of).sum()
    }
}

impl Segment {
    fn sample(&self, n: usize, rate: Rate) -> i16 {
        if self.frequencies_hz.is_empty() {
            return 0;
        }
        let amplitude = f64::from(i16::MAX) * 10f64.powf(self.level_dbov.min(0.0) / 20.0);
        let turn = std::f64::consts::TAU * n as f64 / f64::from(rate.hz());
        let sum: f64 = self.frequencies_hz.iter().map(|hz| (turn * hz).sin()).sum();
        let edge = rate.samples(EDGE) as f64;
        let left = if self.duration == 0 { f64::MAX } else { rate.samples(self.duration) as f64 - n as f64 };
        let loudness = (n as f64 / edge).min(left / edge).min(1.0);
        (sum * amplitude * loudness).clamp(-32_768.0, 32_767.0) as i16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(from: i16, count: usize) -> Arc<Sound> {
        Arc::new(Sound::new(Rate::Narrow, (0..count).map(|n| from + n as i16).collect()))
    }

    fn list(clips: Vec<Clip>, times: u32) -> Playlist {
        Playlist { play: 7, clips, times, ended_by: "12".into() }
    }

    fn sound(sound: &Arc<Sound>) -> Clip {
        Clip::Sound { sound: sound.clone(), start: 0 }
    }

    fn heard(player: &mut Player, ticks: usize) -> Vec<i16> {
        let mut all = Vec::new();
        for _ in 0..ticks {
            let mut to = [0; LONGEST];
            player.tick(0, &mut to);
            all.extend_from_slice(&to[..160]);
        }
        all
    }

    #[test]
    fn clips_follow_each_other_without_a_gap_as_often_as_told() {
        let mut player = Player::default();
        player.play(list(vec![sound(&ramp(1, 250)), sound(&ramp(1000, 30))], 2));
        let all = heard(&mut player, 4);
        let round: Vec<i16> = (1..251).chain(1000..1030).collect();
        assert_eq!(all[..280], round);
        assert_eq!(all[280..560], round);
        assert!(all[560..].iter().all(|sample| *sample == 0));
        let ended = player.take_ended().unwrap();
        assert_eq!((ended.play, ended.end, ended.position), (7, End::Done, 70 * MILLISECOND));
        assert!(!player.is_playing());
    }

    #[test]
    fn it_can_be_paused_moved_and_stopped() {
        let mut player = Player::default();
        player.play(list(vec![sound(&ramp(0, 8000))], 1));
        heard(&mut player, 2);
        player.pause(true);
        assert!(heard(&mut player, 2).iter().all(|sample| *sample == 0));
        player.pause(false);
        assert_eq!(heard(&mut player, 1)[0], 320);
        player.seek(500 * MILLISECOND);
        assert_eq!(heard(&mut player, 1)[0], 4000);
        player.stop(End::Digit);
        assert_eq!(player.take_ended().unwrap().end, End::Digit);
        player.play(list(vec![Clip::Sound { sound: ramp(0, 8000), start: 100 * MILLISECOND }], 0));
        assert_eq!(heard(&mut player, 1)[0], 800);
        player.seek(2 * SECOND);
        assert_eq!(player.position(), 2 * SECOND);
    }

    #[test]
    fn nothing_to_play_is_over_at_once() {
        let mut player = Player::default();
        for times in [0, 1, 9] {
            player.play(list(vec![sound(&ramp(0, 0))], times));
            assert_eq!(player.take_ended().unwrap().end, End::Done);
            player.play(list(vec![], times));
            heard(&mut player, 1);
            assert_eq!(player.take_ended().map(|ended| ended.end), Some(End::Done));
        }
    }

    #[test]
    fn a_cadence_has_its_times_and_level() {
        let on =
            Segment { frequencies_hz: vec![440.0, 480.0], level_dbov: -16.0, duration: 200 * MILLISECOND };
        let off = Segment { frequencies_hz: vec![], level_dbov: 0.0, duration: 100 * MILLISECOND };
        let mut player = Player::default();
        player.play(list(vec![Clip::Tone(on), Clip::Tone(off)], 0));
        let all = heard(&mut player, 30);
        for round in all.chunks(2400) {
            let power = round[..1600].iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / 1600.0;
            let dbov = 10.0 * (power / 32_767f64.powi(2)).log10();
            assert!((dbov + 16.0).abs() < 0.4, "two sines of -16 dBov: {dbov}");
            assert!(round[1600..].iter().all(|sample| *sample == 0));
        }
        assert!(!player.has_end());
    }
}
