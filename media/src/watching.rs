//! What is looked for in the sound of one port while somebody wants to know: digits as tones, and who talks.

use crate::codec::Rate;
use crate::dsp::talking::Talking;
use crate::inband::{Detector, Told, milliseconds};
use crate::messages::{Event, PortId};
use crate::time::{Micros, to_seconds};
use crate::voice::Voice;

#[derive(Debug, Default)]
pub struct Watching {
    tones: Option<Box<Detector>>,
    talking: Option<Box<Talking>>,
}

impl Watching {
    pub fn is_anything(&self) -> bool {
        self.tones.is_some() || self.talking.is_some()
    }

    /// Look for digits, or no longer: one that is under way ends then.
    pub fn tones(&mut self, on: bool, port: PortId, now: Micros) -> Option<Event> {
        if on == self.tones.is_some() {
            return None;
        }
        let ended = self.tones.take().and_then(|mut tones| tones.end());
        self.tones = on.then(Box::default);
        ended.map(|told| tone_told(port, told, now))
    }

    pub fn talking(&mut self, on: bool) {
        if on != self.talking.is_some() {
            self.talking = on.then(Box::default);
        }
    }

    /// Look at the tick that was pulled last.
    pub fn look(&mut self, port: PortId, voice: &mut Voice, now: Micros, events: &mut Vec<Event>) {
        let samples = voice.samples(Rate::Narrow);
        if let Some(tones) = &mut self.tones {
            tones.take(samples, |told| events.push(tone_told(port, told, now)));
        }
        if let Some(talking) = &mut self.talking
            && let Some(begins) = talking.frame(samples)
        {
            let level_dbov = f64::from(talking.level_dbov());
            events.push(Event::Talking { port, begins, level_dbov, clock_s: to_seconds(now) });
        }
    }
}

fn tone_told(port: PortId, told: Told, now: Micros) -> Event {
    let (digit, ended, duration) = match told {
        Told::Began(digit) => (digit, false, 0),
        Told::Ended(digit, duration) => (digit, true, duration),
    };
    let (duration_ms, clock_s) = (milliseconds(duration), to_seconds(now));
    Event::Digit { port, digit, ended, duration_ms, clock_s, in_band: true }
}
