//! Reads sound files for players, and keeps what is likely to be asked for again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::codec::Rate;
use crate::dsp::resample::Resampler;
use crate::messages::{ClipRequest, PlayRequest};
use crate::player::{Clip, Playlist};
use crate::playout::TICK;
use crate::sound::{Fault, Sound};

/// Samples that are kept while nobody plays them: some twenty minutes of prompts.
const MOST_KEPT: usize = 32 << 20;

/// A file as it was when it was read, at its own rate or a higher one.
#[derive(Debug, PartialEq, Eq, Hash, Clone)]
struct Key {
    path: PathBuf,
    changed: Option<SystemTime>,
    rate: Option<Rate>,
}

#[derive(Debug, Default)]
pub struct Loader {
    known: HashMap<Key, (Arc<Sound>, u64)>,
    asked: u64,
}

impl Loader {
    /// Read all files of a list. The fault names the one that cannot be played, and why.
    pub fn load(&mut self, request: &PlayRequest) -> Result<Playlist, Fault> {
        let clips = request.clips.iter().map(|clip| self.clip(clip)).collect::<Result<Vec<_>, _>>()?;
        let rates = clips.iter().filter_map(|clip| match clip {
            Clip::Sound { sound, .. } => Some(sound.rate),
            Clip::Tone(_) => None,
        });
        let highest = rates.max();
        let clips = clips.into_iter().zip(&request.clips).map(|(clip, asked)| match (clip, asked, highest) {
            (Clip::Sound { sound, start }, ClipRequest::File { path, .. }, Some(rate))
                if sound.rate != rate =>
            {
                Clip::Sound { sound: self.raised(Path::new(&**path), &sound, rate), start }
            }
            (clip, ..) => clip,
        });
        let clips = clips.collect();
        self.forget();
        let ended_by = request.ended_by.clone();
        Ok(Playlist { play: request.play, clips, times: request.times, ended_by })
    }

    fn clip(&mut self, request: &ClipRequest) -> Result<Clip, Fault> {
        match request {
            ClipRequest::Tone(segment) => Ok(Clip::Tone(segment.clone())),
            ClipRequest::File { path, start } => {
                let sound = self.read(Path::new(&**path))?;
                Ok(Clip::Sound { sound, start: *start })
            }
        }
    }

    fn read(&mut self, path: &Path) -> Result<Arc<Sound>, Fault> {
        let key = Key::of(path, None);
        if let Some(sound) = self.find(&key) {
            return Ok(sound);
        }
        let sound = Arc::new(Sound::read(path)?);
        self.known.insert(key, (sound.clone(), self.asked));
        Ok(sound)
    }

    /// The same sound at a higher rate, so that one list has one rate.
    fn raised(&mut self, path: &Path, sound: &Sound, rate: Rate) -> Arc<Sound> {
        let key = Key::of(path, Some(rate));
        if let Some(sound) = self.find(&key) {
            return sound;
        }
        let mut resampler = Resampler::new(sound.rate, rate);
        let mut samples = Vec::with_capacity(sound.samples.len() * (rate.hz() / sound.rate.hz()) as usize);
        let mut space = vec![0; rate.samples(TICK)];
        for block in sound.samples.chunks(sound.rate.samples(TICK)) {
            let count = resampler.process(block, &mut space);
            samples.extend_from_slice(space.get(..count).unwrap_or_default());
        }
        let raised = Arc::new(Sound::new(rate, samples));
        self.known.insert(key, (raised.clone(), self.asked));
        raised
    }

    fn find(&mut self, key: &Key) -> Option<Arc<Sound>> {
        self.asked += 1;
        let (sound, asked) = self.known.get_mut(key)?;
        *asked = self.asked;
        Some(sound.clone())
    }

    /// Let go of what was not asked for longest.
    fn forget(&mut self) {
        let size = |sound: &Arc<Sound>| sound.samples.len();
        let mut kept: usize = self.known.values().map(|(sound, _)| size(sound)).sum();
        while kept > MOST_KEPT {
            let oldest = self.known.iter().min_by_key(|(_, (_, asked))| *asked).map(|(key, _)| key.clone());
            let Some((gone, _)) = oldest.and_then(|key| self.known.remove(&key)) else { return };
            kept -= size(&gone);
        }
    }
}

impl Key {
    fn of(path: &Path, rate: Option<Rate>) -> Self {
        let changed = std::fs::metadata(path).and_then(|file| file.modified()).ok();
        Self { path: path.to_owned(), changed, rate }
    }
}
