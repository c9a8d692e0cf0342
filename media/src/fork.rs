//! A port whose other end is a program: it is given what the port hears, 20 ms at a time, and may speak back.
//!
//! For transcription and voice agents. Here are the two ends of the link and what they keep; the way to the program,
//! a WebSocket, is `agent.rs`. A program that does not keep up loses sound, never time: both ways are bounded.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::codec::Rate;
use crate::dsp::mix::{LONGEST, Limiter, Mix};
use crate::playout::TICK;

/// Frames that wait for the program: five seconds.
const MOST_WAITING: usize = 250;
/// What the program has said and is not played yet: a minute of 48 kHz. More of it is dropped.
const MOST_SAID: usize = 60 * 48_000;
/// Pieces of it under way.
const MOST_PIECES: usize = 1024;

/// What the program does.
#[derive(Debug, PartialEq, Eq)]
pub enum Say {
    Sound(Vec<i16>),
    /// Forget what was said and is not played yet: somebody has interrupted.
    Clear,
}

/// The listening half, at the port.
#[derive(Debug)]
pub struct Fork {
    pub rate: Rate,
    to: SyncSender<Vec<i16>>,
    limiter: Limiter,
    pub dropped: u64,
}

/// The speaking half, at the port.
#[derive(Debug)]
pub struct Guest {
    rate: Rate,
    from: Receiver<Say>,
    said: VecDeque<i16>,
}

/// The program's end.
#[derive(Debug)]
pub struct Far {
    pub heard: Receiver<Vec<i16>>,
    pub says: SyncSender<Say>,
}

pub fn link(rate: Rate) -> (Fork, Guest, Far) {
    let (to, heard) = sync_channel(MOST_WAITING);
    let (says, from) = sync_channel(MOST_PIECES);
    let fork = Fork { rate, to, limiter: Limiter::default(), dropped: 0 };
    (fork, Guest { rate, from, said: VecDeque::new() }, Far { heard, says })
}

impl Fork {
    /// Hand a tick's sum over. The sides of a fork are one.
    pub fn take(&mut self, mix: &Mix) {
        let mut samples = vec![0; self.rate.samples(TICK)];
        mix.finish(&mut self.limiter, &mut samples);
        self.dropped += u64::from(self.to.try_send(samples).is_err());
    }
}

impl Guest {
    /// 20 ms of what the program said: their rate, and whether there is anything to hear.
    pub fn tick(&mut self, to: &mut [i16; LONGEST]) -> (Rate, bool) {
        while let Ok(say) = self.from.try_recv() {
            match say {
                Say::Sound(samples) if self.said.len() < MOST_SAID => self.said.extend(samples),
                Say::Sound(_) => {}
                Say::Clear => self.said.clear(),
            }
        }
        let count = self.rate.samples(TICK);
        let sounds = !self.said.is_empty();
        let said = self.said.len().min(count);
        let frame = self.said.drain(..said).chain(std::iter::repeat(0));
        to.iter_mut().take(count).zip(frame).for_each(|(to, sample)| *to = sample);
        (self.rate, sounds)
    }
}
