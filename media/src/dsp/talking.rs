//! Who talks: a voice told from the noise of its room by loudness alone, and the loudest of many voices.
//!
//! Both look at frames of 20 ms and count time in them. Levels are in dBov as RFC 6464 means them: 0 is a square
//! wave at full scale, a sine there is -3, ordinary talk around -25, digital silence `SILENT_DBOV`.

/// As low as RFC 6464 section 3 goes.
pub const SILENT_DBOV: f32 = -127.0;
const FULL_SCALE: f32 = 32_768.0;

/// The mean level of `samples`.
pub fn level_dbov(samples: &[i16]) -> f32 {
    // Whole numbers, because several of them are added up at once.
    let square = |sample: &i16| i32::from(*sample).pow(2).unsigned_abs();
    let sum: u64 = samples.chunks(2).map(|two| u64::from(two.iter().map(square).sum::<u32>())).sum();
    let power = sum as f32 / samples.len().max(1) as f32;
    if power > 0.0 {
        (10.0 * (power / (FULL_SCALE * FULL_SCALE)).log10()).max(SILENT_DBOV)
    } else {
        SILENT_DBOV
    }
}

// ------------------------------------------------------------ one voice

/// Softer than this nobody talks, however still the room is.
const LEAST_DBOV: f32 = -48.0;
/// Talk is so much above the noise.
const MARGIN_DB: f32 = 6.0;
/// Frames in a row that must be loud: a click is no talk.
const ATTACK: u32 = 3;
/// Frames that a pause between two words may have.
const HANG_OVER: u32 = 20;
/// The noise is the softest that was heard in so many windows of so many frames: talk that long has pauses.
const WINDOWS: usize = 6;
const WINDOW: u32 = 25;
/// How fast the level that is told comes down, in a frame.
const RELEASE_DB: f32 = 0.5;

/// Whether a voice talks: louder than its own noise for a little while, and not yet silent again for long.
#[derive(Debug)]
pub struct Talking {
    talking: bool,
    loud: u32,
    soft: u32,
    level_dbov: f32,
    /// The last two frames, to be averaged with the next.
    before: [f32; 2],
    /// The softest of each window, the latest first; there are `frames` in that one.
    softest: [f32; WINDOWS],
    frames: u32,
}

impl Default for Talking {
    fn default() -> Self {
        Self {
            talking: false,
            loud: 0,
            soft: 0,
            level_dbov: SILENT_DBOV,
            before: [f32::INFINITY; 2],
            softest: [f32::INFINITY; WINDOWS],
            frames: 0,
        }
    }
}

impl Talking {
    /// Look at 20 ms; Some when the voice begins to talk or has ended.
    pub fn frame(&mut self, samples: &[i16]) -> Option<bool> {
        let level_dbov = level_dbov(samples);
        self.level_dbov = level_dbov.max(self.level_dbov - RELEASE_DB);
        self.learn(level_dbov);
        if level_dbov > (self.noise_dbov() + MARGIN_DB).max(LEAST_DBOV) {
            (self.loud, self.soft) = (self.loud.saturating_add(1), 0);
        } else {
            (self.loud, self.soft) = (0, self.soft.saturating_add(1));
        }
        let talking = if self.talking { self.soft < HANG_OVER } else { self.loud >= ATTACK };
        (std::mem::replace(&mut self.talking, talking) != talking).then_some(talking)
    }

    /// How loud it has been of late: up at once, down by 25 dB a second.
    pub fn level_dbov(&self) -> f32 {
        self.level_dbov
    }

    /// What is heard of the room when nobody talks; `SILENT_DBOV` while nothing is known.
    pub fn noise_dbov(&self) -> f32 {
        let softest = self.softest.iter().copied().fold(f32::INFINITY, f32::min);
        if softest.is_finite() { softest } else { SILENT_DBOV }
    }

    fn learn(&mut self, level_dbov: f32) {
        // Silence that a peer did not send, or made itself, says nothing of the room.
        if level_dbov <= SILENT_DBOV {
            self.before = [f32::INFINITY; 2];
            return;
        }
        let [one, other] = self.before;
        let mean = (one + other + level_dbov) / 3.0;
        self.before = [other, level_dbov];
        if self.frames >= WINDOW {
            self.softest.rotate_right(1);
            self.frames = 0;
        }
        let [latest, ..] = &mut self.softest;
        *latest = if self.frames == 0 { mean } else { latest.min(mean) };
        self.frames += 1;
    }
}

// ------------------------------------------------------------ many voices

/// A speaker takes the place of another when so much louder; when far louder, of one who has just come too.
const AHEAD_DB: f32 = 4.0;
const FAR_AHEAD_DB: f32 = 12.0;
/// So many frames after it came.
const LEAST_STAY: u32 = 25;

/// What becomes of a speaker's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Heard,
    /// In the place of somebody else from this frame on, or for the last time.
    FadesIn,
    FadesOut,
}

#[derive(Debug, Clone, Copy)]
struct Seat<K> {
    key: K,
    level_dbov: f32,
    /// Frames since it was taken.
    stay: u32,
    there: bool,
}

/// The `N` of many speakers who are heard: the loudest of late, but nobody comes and goes with each word.
#[derive(Debug)]
pub struct ActiveSpeakers<K, const N: usize> {
    seats: [Option<Seat<K>>; N],
    left: [Option<K>; N],
}

impl<K: Copy + Eq, const N: usize> Default for ActiveSpeakers<K, N> {
    fn default() -> Self {
        Self { seats: [None; N], left: [None; N] }
    }
}

impl<K: Copy + Eq, const N: usize> ActiveSpeakers<K, N> {
    /// Choose for one frame. `speakers` are all that could be heard, each once, as loud as `Talking` tells.
    pub fn choose(&mut self, speakers: impl Iterator<Item = (K, f32)>) {
        self.left = [None; N];
        for seat in self.seats.iter_mut().flatten() {
            seat.there = false;
        }
        let mut others = [None; N];
        for (key, level_dbov) in speakers {
            match self.seats.iter_mut().flatten().find(|seat| seat.key == key) {
                Some(seat) => (seat.level_dbov, seat.stay, seat.there) = (level_dbov, seat.stay + 1, true),
                None if level_dbov > SILENT_DBOV => insert(&mut others, (key, level_dbov)),
                None => {}
            }
        }
        self.free_seats();
        for (key, level_dbov) in others.into_iter().flatten() {
            self.seat(key, level_dbov);
        }
    }

    /// Who is not among the speakers any more has no frame to fade out with.
    fn free_seats(&mut self) {
        for seat in &mut self.seats {
            if seat.is_some_and(|taken| !taken.there) {
                *seat = None;
            }
        }
    }

    fn seat(&mut self, key: K, level_dbov: f32) {
        let newcomer = Some(Seat { key, level_dbov, stay: 0, there: true });
        if let Some(free) = self.seats.iter_mut().find(|seat| seat.is_none()) {
            // Silent until now, so that there is no need to fade in.
            *free = newcomer.map(|seat| Seat { stay: 1, ..seat });
            return;
        }
        let given = |seat: &&mut Option<Seat<K>>| {
            seat.is_some_and(|seat| {
                let ahead_db = if seat.stay < LEAST_STAY { FAR_AHEAD_DB } else { AHEAD_DB };
                seat.level_dbov + ahead_db < level_dbov
            })
        };
        let level = |seat: &&mut Option<Seat<K>>| seat.map_or(SILENT_DBOV, |seat| seat.level_dbov);
        let softest = self.seats.iter_mut().filter(given).min_by(|a, b| level(a).total_cmp(&level(b)));
        if let Some(seat) = softest
            && let Some(leaver) = std::mem::replace(seat, newcomer)
            && let Some(free) = self.left.iter_mut().find(|left| left.is_none())
        {
            *free = Some(leaver.key);
        }
    }

    /// None for a speaker who is not heard in this frame.
    pub fn part(&self, key: K) -> Option<Part> {
        match self.seats.iter().flatten().find(|seat| seat.key == key) {
            Some(seat) if seat.stay == 0 => Some(Part::FadesIn),
            Some(_) => Some(Part::Heard),
            None => self.left.contains(&Some(key)).then_some(Part::FadesOut),
        }
    }
}

/// Keep the loudest, in order.
fn insert<K>(loudest: &mut [Option<(K, f32)>], newcomer: (K, f32)) {
    let mut newcomer = Some(newcomer);
    let level = |place: &Option<(K, f32)>| place.as_ref().map_or(SILENT_DBOV, |(_, level)| *level);
    for place in loudest {
        if level(&newcomer) > level(place) {
            std::mem::swap(place, &mut newcomer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const FRAME: usize = 160;

    /// White noise of so many dBov.
    fn noise(random: &mut Random, dbov: f64) -> [i16; FRAME] {
        let peak = 32_768.0 * 10f64.powf(dbov / 20.0) * 3f64.sqrt();
        std::array::from_fn(|_| ((random.fraction() * 2.0 - 1.0) * peak).round() as i16)
    }

    /// Syllables of 180 ms with 60 ms between them, and 300 ms after each fifth; `frame` counts from the first.
    fn talk(random: &mut Random, frame: usize, dbov: f64, noise_dbov: f64) -> [i16; FRAME] {
        let mut samples = noise(random, noise_dbov);
        let (word, within) = (frame % 75, frame % 12);
        if word < 60 && within < 9 {
            let peak = 32_768.0 * 10f64.powf(dbov / 20.0) * 2f64.sqrt();
            for (n, sample) in samples.iter_mut().enumerate() {
                let at = (frame * FRAME + n) as f64 / 8000.0 * std::f64::consts::TAU;
                *sample += (peak * (0.8 * (at * 140.0).sin() + 0.6 * (at * 700.0).sin())) as i16;
            }
        }
        samples
    }

    #[test]
    fn levels_are_those_of_rfc_6464() {
        assert!((level_dbov(&[-32_768; FRAME]) - 0.0).abs() < 0.01);
        let sine: Vec<i16> =
            (0..FRAME).map(|n| (32_767.0 * (n as f64 * std::f64::consts::TAU / 16.0).sin()) as i16).collect();
        assert!((level_dbov(&sine) + 3.01).abs() < 0.05);
        assert_eq!(level_dbov(&[0; FRAME]), SILENT_DBOV);
        assert_eq!(level_dbov(&[]), SILENT_DBOV);
    }

    /// When talk was said to begin and end, in frames.
    fn changes(frames: impl Iterator<Item = [i16; FRAME]>) -> Vec<(usize, bool)> {
        let mut talking = Talking::default();
        frames.enumerate().filter_map(|(n, frame)| talking.frame(&frame).map(|now| (n, now))).collect()
    }

    #[test]
    fn talk_is_one_stretch_however_loud_voice_and_room_are() {
        for (talk_dbov, noise_dbov) in
            [(-20.0, -70.0), (-26.0, -55.0), (-40.0, -65.0), (-20.0, -34.0), (-12.0, -24.0)]
        {
            let mut random = Random::new(3);
            let frames = (0..1300).map(|n| match n {
                250..1000 => talk(&mut random, n - 250, talk_dbov, noise_dbov),
                _ => noise(&mut random, noise_dbov),
            });
            let changes = changes(frames);
            let loud_room = noise_dbov > f64::from(LEAST_DBOV);
            // A room that is loud from the first moment is taken for a voice until it has been heard for a while.
            let talk = changes.iter().skip_while(|(n, _)| loud_room && *n < 240).collect::<Vec<_>>();
            assert_eq!(talk.len(), 2, "{talk_dbov} in {noise_dbov}: {changes:?}");
            let (began, ended) = (talk[0].0, talk[1].0);
            // The last word ends before frame 982.
            assert!((252..=253).contains(&began) && (1000..=1004).contains(&ended), "{began} {ended}");
        }
    }

    #[test]
    fn a_room_that_grows_loud_is_no_talk_for_long() {
        let mut random = Random::new(4);
        let frames = (0..800).map(|n| noise(&mut random, if n < 300 { -60.0 } else { -35.0 }));
        let changes = changes(frames);
        assert_eq!((changes.len(), changes[0]), (2, (302, true)));
        let ended = changes[1].0;
        assert!(ended <= 300 + WINDOW as usize * (WINDOWS + 1) + HANG_OVER as usize, "{ended}");
    }

    #[test]
    fn clicks_and_silence_are_no_talk() {
        let click = |n: usize| if n.is_multiple_of(10) { [20_000; FRAME] } else { [0; FRAME] };
        assert_eq!(changes((0..500).map(click)), []);
    }

    #[test]
    fn silence_that_is_not_sent_teaches_nothing_about_the_room() {
        let mut random = Random::new(5);
        let mut talking = Talking::default();
        for n in 0..1000 {
            talking.frame(&if n % 100 < 20 { noise(&mut random, -40.0) } else { [0; FRAME] });
        }
        assert!((talking.noise_dbov() + 40.0).abs() < 3.0, "{}", talking.noise_dbov());
    }

    type Four = ActiveSpeakers<u32, 4>;

    fn heard(speakers: &Four, of: u32) -> Vec<u32> {
        (0..of).filter(|key| matches!(speakers.part(*key), Some(Part::Heard | Part::FadesIn))).collect()
    }

    #[test]
    fn the_loudest_are_heard_and_nobody_who_is_as_loud_pushes_in() {
        let mut random = Random::new(6);
        let mut speakers = Four::default();
        let mut first = Vec::new();
        for frame in 0..500 {
            // Ten who talk alike, give or take 1.5 dB, and ten who are silent.
            let levels: Vec<_> = (0..20)
                .map(|n| (n, if n < 10 { -25.0 + 3.0 * random.fraction() as f32 } else { SILENT_DBOV }))
                .collect();
            speakers.choose(levels.into_iter());
            if frame == 0 {
                first = heard(&speakers, 20);
            }
            assert_eq!(heard(&speakers, 20), first);
        }
        assert_eq!(first.len(), 4);
    }

    #[test]
    fn who_gets_loud_fades_in_at_once_and_who_gets_louder_soon() {
        for (dbov, frame) in [(-20.0, 1), (-30.0, LEAST_STAY - 1)] {
            louder_is_heard_from(dbov, frame);
        }
    }

    fn louder_is_heard_from(dbov: f32, frame: u32) {
        let mut speakers = Four::default();
        let levels =
            |loud: Option<u32>| (0..10).map(move |n| (n, if Some(n) == loud { dbov } else { -40.0 }));
        speakers.choose(levels(None));
        let before = heard(&speakers, 10);
        let newcomer = (0..10).find(|n| !before.contains(n)).unwrap();
        let taken = (1..100).find(|_| {
            speakers.choose(levels(Some(newcomer)));
            speakers.part(newcomer).is_some()
        });
        assert_eq!(taken, Some(frame));
        assert_eq!(speakers.part(newcomer), Some(Part::FadesIn));
        let leavers: Vec<_> = (0..10).filter(|n| speakers.part(*n) == Some(Part::FadesOut)).collect();
        assert_eq!(leavers.len(), 1);
        assert!(before.contains(&leavers[0]));
        speakers.choose(levels(Some(newcomer)));
        assert_eq!(speakers.part(newcomer), Some(Part::Heard));
        assert_eq!(speakers.part(leavers[0]), None);
    }

    #[test]
    fn talkers_who_take_turns_all_get_a_hearing() {
        // Eight talk for 2 s each, the next beginning as one ends, through the levels that `Talking` tells.
        let mut speakers = Four::default();
        let mut voices: Vec<Talking> = (0..8).map(|_| Talking::default()).collect();
        let (mut random, mut missed) = (Random::new(7), 0);
        for frame in 0..1600 {
            let turn = frame / 100 % 8;
            for (n, voice) in voices.iter_mut().enumerate() {
                let level = if n == turn { -25.0 } else { -90.0 };
                voice.frame(&talk(&mut random, frame % 100, level, -60.0));
            }
            speakers.choose(voices.iter().enumerate().map(|(n, voice)| (n as u32, voice.level_dbov())));
            missed += u32::from(speakers.part(turn as u32).is_none());
        }
        assert!(missed <= 16, "{missed} frames of 1600");
    }

    #[test]
    fn who_leaves_gives_the_seat_at_once() {
        let mut speakers = Four::default();
        speakers.choose((0..6).map(|n| (n, -20.0 - n as f32)));
        assert_eq!(heard(&speakers, 6), [0, 1, 2, 3]);
        speakers.choose((2..6).map(|n| (n, -20.0 - n as f32)));
        assert_eq!(heard(&speakers, 6), [2, 3, 4, 5]);
    }
}
