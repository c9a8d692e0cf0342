//! The jitter buffer of a stream that is decoded: packets in as they come, 20 ms of sound out at each tick.
//!
//! Sound is played in the order of its sequence numbers and in the time of its RTP timestamps. What is late is
//! waited for with concealment, so that the delay grows to what the network needs; when the sound has come early
//! for some seconds, a period of the voice is left out; when it threatens to come late, one is played twice. A
//! clock that runs faster or slower than ours is followed by the same two means. Without jitter, loss and drift
//! every sample comes out once, as it was. Memory is bounded by `PACKETS` and `LONGEST_PAYLOAD`.

use crate::codec::noise::Noise;
use crate::codec::{Decoder, Rate};
use crate::dsp::mix::LONGEST;
use crate::dsp::pitch;
use crate::dsp::stretch;
use crate::rtp::Packet;
use crate::time::{MILLISECOND, Micros, SECOND};

pub const TICK: Micros = 20 * MILLISECOND;
/// Places for packets that wait: more than a second of the shortest.
const PACKETS: usize = 128;
const LONGEST_PAYLOAD: usize = 1500;
/// What there is room for from the beginning.
const USUALLY_WAITING: usize = 4;
const USUAL_PAYLOAD: usize = 200;
/// The first packet waits this long, so that the second may be a little late.
const FIRST_WAIT: Micros = 6 * MILLISECOND;
/// Sound that has waited longer than this is thrown away down to what the network needs.
const MOST_WAITING: Micros = 400 * MILLISECOND;
/// A speaker of whom nothing comes for so long has stopped; what comes then is a new beginning.
const STOPPED: Micros = 100 * MILLISECOND;
/// A tick later than this means that the clock jumped or the machine stood still.
const STOOD_STILL: Micros = 200 * MILLISECOND;
const LONGEST_FIRST_WAIT: Micros = 200 * MILLISECOND;
/// How early a packet should come, at least, before the tick that needs it; and so early that sound is left out.
/// Sound can begin anywhere between two ticks, so that up to a tick more than the first wait is nobody's fault.
const SCARCE: i64 = 2 * MILLISECOND as i64;
const AMPLE: i64 = (FIRST_WAIT + TICK) as i64 + MILLISECOND as i64;
const FAR_TOO_AMPLE: i64 = 80 * MILLISECOND as i64;
/// Sound of a packet that was begun is of no use when the next is late: so much of it may stay.
const MOST_BEGUN: Micros = 6 * MILLISECOND;
/// Any number will do to begin noise with.
const NOISE: u64 = 3389;
/// Likeness of two periods that may stand for each other.
const ALIKE: f32 = 0.5;

/// What a payload type of the speaker is to the one who plays it.
#[derive(Debug)]
pub enum Voice {
    /// Sound, with the rate of its RTP clock.
    Codec(Box<dyn Decoder>, u32),
    /// A telephone-event: the sound pauses, nothing is lost.
    Pause,
    /// Comfort noise (RFC 3389): the sound pauses, and this stands for it.
    Noise,
}

#[derive(Debug, Default)]
struct Slot {
    taken: bool,
    sequence: u16,
    timestamp: u32,
    payload_type: u8,
    payload: Vec<u8>,
}

/// What a tick gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    pub rate: Rate,
    /// Whether any of it is sound of the speaker or stands for it; all zeros otherwise.
    pub sounds: bool,
    /// The timestamp of its first sample; None while nothing is played.
    pub began: Option<u32>,
}

/// How early packets come, in windows of a second: the second earliest of each counts, one freak does not.
#[derive(Debug)]
struct Earliness {
    windows: [i64; 4],
    least: [i64; 2],
    count: u32,
    ends_at: Micros,
}

const UNKNOWN: i64 = i64::MAX;

impl Earliness {
    fn new() -> Self {
        Self { windows: [UNKNOWN; 4], least: [UNKNOWN; 2], count: 0, ends_at: 0 }
    }

    fn note(&mut self, early: i64, now: Micros) {
        self.least = match self.least {
            [least, _] if early < least => [early, least],
            [least, second] => [least, second.min(early)],
        };
        self.count += 1;
        if now >= self.ends_at {
            self.windows.rotate_right(1);
            self.windows[0] = self.latest();
            self.least = [UNKNOWN; 2];
            self.count = 0;
            self.ends_at = now + SECOND;
        }
    }

    fn latest(&self) -> i64 {
        if self.count > 20 { self.least[1] } else { self.least[0] }
    }

    /// Over the last four to five seconds; UNKNOWN before the first of them is over.
    fn least(&self) -> i64 {
        let full = self.windows.iter().copied().min().unwrap_or(UNKNOWN);
        if self.windows[1] == UNKNOWN { UNKNOWN } else { full.min(self.latest()) }
    }

    /// Over the last one to two seconds.
    fn least_lately(&self) -> i64 {
        self.latest().min(self.windows[0])
    }

    /// Everything to come is earlier by so much.
    fn shift(&mut self, by: i64) {
        let known = self.windows.iter_mut().chain(&mut self.least).filter(|early| **early != UNKNOWN);
        known.for_each(|early| *early += by);
    }
}

#[derive(Debug)]
pub struct Playout {
    slots: Box<[Slot]>,
    /// Payloads that are no longer needed, the last one first: few are in use at a time, and stay near.
    spare: Vec<Vec<u8>>,
    voices: Vec<(u8, Voice)>,
    rate: Rate,
    clock_rate_hz: u32,
    /// Sequence number of the next packet to decode, while playing.
    next: u16,
    /// The highest sequence number that came.
    newest: u16,
    playing: bool,
    /// When the first packet that waits for the beginning came.
    first_at: Option<Micros>,
    /// Decoded and not yet played; and the timestamp of what follows it.
    ready: Vec<i16>,
    end: u32,
    /// Samples made up since the last real one, without moving on in the stream.
    made_up: usize,
    paused: bool,
    /// What the speaker's room sounds like meanwhile, at which rate.
    noise: Option<(Rate, Noise)>,
    /// Payload type and samples of the packet that was decoded last.
    speaking: u8,
    last_length: usize,
    ticked_at: Micros,
    earliness: Earliness,
    rest_until: Micros,
    /// What the first packet of a stretch of talk waits: as long as the network made it necessary before.
    first_wait: Micros,
    /// Packets that came too late, time made up and time played, since the beginning.
    pub late: u64,
    pub concealed: Micros,
    pub played: Micros,
}

impl Playout {
    pub fn new() -> Self {
        let mut spare = Vec::with_capacity(PACKETS);
        spare.extend((0..USUALLY_WAITING).map(|_| Vec::with_capacity(USUAL_PAYLOAD)));
        Self {
            slots: (0..PACKETS).map(|_| Slot::default()).collect(),
            spare,
            voices: Vec::new(),
            rate: Rate::Narrow,
            clock_rate_hz: 8000,
            next: 0,
            newest: 0,
            playing: false,
            first_at: None,
            ready: Vec::with_capacity(4 * LONGEST),
            end: 0,
            made_up: 0,
            paused: false,
            noise: None,
            speaking: 0,
            last_length: 0,
            ticked_at: 0,
            earliness: Earliness::new(),
            rest_until: 0,
            first_wait: FIRST_WAIT,
            late: 0,
            concealed: 0,
            played: 0,
        }
    }

    /// What one more payload type means; made when it is met for the first time.
    pub fn add_voice(&mut self, payload_type: u8, voice: Voice) {
        if let Voice::Codec(decoder, _) = &voice
            && !self.playing
            && self.first_at.is_none()
        {
            self.rate = decoder.rate();
        }
        self.voices.push((payload_type, voice));
    }

    /// The payload types mean something else from now on.
    pub fn forget_voices(&mut self) {
        self.voices.clear();
    }

    pub fn has_voice(&self, payload_type: u8) -> bool {
        self.voices.iter().any(|(known, _)| *known == payload_type)
    }

    /// The stream begins anew, under other numbers.
    pub fn reset(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.taken = false);
        self.stop();
    }

    fn stop(&mut self) {
        self.playing = false;
        self.first_at = None;
        self.ready.clear();
        self.made_up = 0;
        self.paused = false;
        self.earliness = Earliness::new();
    }

    // ------------------------------------------------------------ packets in

    /// Keep a packet until its time. Doubles, and what comes too late, are dropped.
    pub fn put(&mut self, packet: &Packet, payload: &[u8], now: Micros) {
        if payload.len() > LONGEST_PAYLOAD || !self.has_voice(packet.payload_type) {
            return;
        }
        let ahead = packet.sequence.wrapping_sub(self.next);
        let is_late = ahead > u16::MAX / 2;
        if self.playing && is_late {
            self.late += 1;
            self.note_lateness(packet.timestamp, now);
            return;
        }
        if self.is_far(ahead) {
            self.reset();
        }
        let waiting = self.has_packets();
        let comes_first = !waiting || is_late;
        // Nothing can begin with a pause: the sound after it would wait as long as the pause was.
        if comes_first && self.is_pause(packet.payload_type) {
            return;
        }
        if !waiting || packet.sequence.wrapping_sub(self.newest) < u16::MAX / 2 {
            self.newest = packet.sequence;
        }
        if !waiting {
            self.first_at = Some(now);
        }
        if comes_first {
            self.next = packet.sequence;
        }
        if self.playing {
            self.note_lateness(packet.timestamp, now);
        }
        let place = usize::from(packet.sequence) % PACKETS;
        let Some(slot) = self.slots.get_mut(place) else { return };
        slot.taken = true;
        slot.sequence = packet.sequence;
        slot.timestamp = packet.timestamp;
        slot.payload_type = packet.payload_type;
        if slot.payload.capacity() == 0 {
            slot.payload = self.spare.pop().unwrap_or_default();
        }
        slot.payload.clear();
        slot.payload.extend_from_slice(payload);
    }

    /// Whether there is no place for a packet so far from the next one: before the first, or after all.
    fn is_far(&self, ahead: u16) -> bool {
        let behind = ahead.wrapping_neg();
        self.has_packets() && usize::from(ahead) >= PACKETS && usize::from(behind) >= PACKETS / 2
    }

    fn is_pause(&self, payload_type: u8) -> bool {
        self.voices.iter().any(|(known, voice)| *known == payload_type && !matches!(voice, Voice::Codec(..)))
    }

    /// How long before the tick that needs it a packet came.
    fn note_lateness(&mut self, timestamp: u32, now: Micros) {
        if self.paused || self.ticked_at == 0 {
            return;
        }
        let ahead = timestamp.wrapping_sub(self.position()) as i32;
        let until_played = i64::from(ahead) * SECOND as i64 / i64::from(self.clock_rate_hz);
        let next_tick = (self.ticked_at + TICK) as i64 - now as i64;
        // A packet is needed at the tick in whose 20 ms it begins.
        let ticks = until_played.div_euclid(TICK as i64) * TICK as i64;
        self.earliness.note(next_tick + ticks, now);
    }

    // ------------------------------------------------------------ sound out

    /// The next 20 ms into `to`; it has as many samples as they have at the rate that is told.
    pub fn tick(&mut self, now: Micros, to: &mut [i16; LONGEST]) -> Tick {
        if self.ticked_at != 0 && now > self.ticked_at + STOOD_STILL && self.playing {
            self.skip_to_newest();
        }
        self.ticked_at = now;
        if !self.playing && !self.begins(now) {
            return self.pause(to);
        }
        self.bound_delay();
        let began = self.position();
        if !self.fill() {
            return self.pause(to);
        }
        self.adjust(now);
        let frame = self.rate.samples(TICK);
        let played = self.ready.len().min(frame);
        if let (Some(to), Some(sound)) = (to.get_mut(..played), self.ready.get(..played)) {
            to.copy_from_slice(sound);
        }
        to.get_mut(played..frame).unwrap_or_default().fill(0);
        self.ready.drain(..played);
        self.played += TICK;
        Tick { rate: self.rate, sounds: true, began: Some(began) }
    }

    /// 20 ms in which the speaker says nothing: the noise that it told of, or silence.
    fn pause(&mut self, to: &mut [i16; LONGEST]) -> Tick {
        let frame = self.rate.samples(TICK);
        self.ready.clear();
        let hiss = self.noise.as_mut().filter(|(rate, _)| *rate == self.rate);
        let sounds = hiss.is_some();
        if let Some((_, noise)) = hiss {
            noise.make(frame, &mut self.ready);
        }
        let made = self.ready.drain(..).chain(std::iter::repeat(0));
        to.iter_mut().take(frame).zip(made).for_each(|(to, sample)| *to = sample);
        Tick { rate: self.rate, sounds, began: None }
    }

    /// Whether the first packet has waited long enough.
    fn begins(&mut self, now: Micros) -> bool {
        let Some((first, first_at)) = self.slot(self.next).zip(self.first_at) else { return false };
        let timestamp = first.timestamp;
        if now >= first_at + self.first_wait + self.needed_before(first) {
            self.playing = true;
            self.end = timestamp;
            self.first_at = None;
            self.made_up = 0;
            self.paused = false;
        }
        self.playing
    }

    /// How much earlier than it begins the packet after this one is needed, because ticks do not fall between them.
    fn needed_before(&self, first: &Slot) -> Micros {
        let voice = self.voices.iter().find(|(known, _)| *known == first.payload_type);
        let Some((_, Voice::Codec(decoder, _))) = voice else { return 0 };
        let samples = decoder.samples(&first.payload).unwrap_or(0) as u64;
        (TICK - samples * SECOND / u64::from(decoder.rate().hz()) % TICK) % TICK
    }

    fn slot(&self, sequence: u16) -> Option<&Slot> {
        let slot = self.slots.get(usize::from(sequence) % PACKETS)?;
        (slot.taken && slot.sequence == sequence).then_some(slot)
    }

    /// Decode until there are 20 ms; whether there is anything to be heard.
    fn fill(&mut self) -> bool {
        let mut guard = PACKETS;
        while self.ready.len() < self.rate.samples(TICK) && guard > 0 {
            guard -= 1;
            if self.slot(self.next).is_some() {
                self.take_next();
            } else if let Some(later) = self.next_there() {
                self.bridge(later);
            } else {
                return self.make_up();
            }
        }
        true
    }

    /// The next packet that is there after one that is not.
    fn next_there(&self) -> Option<u16> {
        let ahead = self.newest.wrapping_sub(self.next);
        if usize::from(ahead) >= PACKETS {
            return None;
        }
        (1..=ahead).map(|step| self.next.wrapping_add(step)).find(|sequence| self.slot(*sequence).is_some())
    }

    /// Decode the packet whose turn it is, or what of the time before it is empty.
    fn take_next(&mut self) {
        let Some(slot) = self.slots.get_mut(usize::from(self.next) % PACKETS) else { return };
        let voice = self.voices.iter_mut().find(|(known, _)| *known == slot.payload_type);
        let Some((_, Voice::Codec(decoder, clock_rate_hz))) = voice else {
            if matches!(voice, Some((_, Voice::Noise))) {
                let known = self.noise.take().filter(|(rate, _)| *rate == self.rate);
                let (_, mut noise) = known.unwrap_or_else(|| (self.rate, Noise::new(self.rate, NOISE)));
                // What cannot be understood leaves the noise as it was.
                let _ = noise.hear(&slot.payload);
                self.noise = Some((self.rate, noise));
            }
            slot.taken = false;
            self.next = self.next.wrapping_add(1);
            self.paused = true;
            return;
        };
        let rate = decoder.rate();
        if (rate, *clock_rate_hz) != (self.rate, self.clock_rate_hz) {
            convert(&mut self.ready, self.rate, rate);
            self.rate = rate;
            self.clock_rate_hz = *clock_rate_hz;
            self.end = slot.timestamp;
        }
        let gap = slot.timestamp.wrapping_sub(self.end) as i32;
        let samples_of =
            |ticks: i32| (i64::from(ticks) * i64::from(rate.hz()) / i64::from(*clock_rate_hz)) as usize;
        if gap > 0 {
            // The speaker paused: what was made up while nobody knew is part of the pause.
            let paused = samples_of(gap);
            let silence = paused.saturating_sub(self.made_up);
            self.earliness.shift(-no_delay(self.made_up, paused, rate));
            let now = silence.min(rate.samples(TICK));
            self.ready.resize(self.ready.len() + now, 0);
            let left = silence - now;
            self.made_up = 0;
            let left_ticks = (left as u64 * u64::from(*clock_rate_hz) / u64::from(rate.hz())) as u32;
            self.end = slot.timestamp.wrapping_sub(left_ticks);
            if left > 0 {
                return;
            }
        }
        slot.taken = false;
        self.next = self.next.wrapping_add(1);
        self.paused = false;
        let waited = std::mem::take(&mut self.made_up) as u64 * SECOND / u64::from(rate.hz());
        self.first_wait = (self.first_wait + waited).min(LONGEST_FIRST_WAIT);
        if gap < 0 && samples_of(gap.saturating_neg()) > 0 {
            return;
        }
        let before = self.ready.len();
        if decoder.decode(&slot.payload, &mut self.ready).is_err() {
            self.ready.truncate(before);
        }
        self.spare.push(std::mem::take(&mut slot.payload));
        self.last_length = self.ready.len() - before;
        self.speaking = slot.payload_type;
        self.noise = None;
        let ticks = self.last_length as u64 * u64::from(*clock_rate_hz) / u64::from(rate.hz());
        self.end = slot.timestamp.wrapping_add(ticks as u32);
    }

    /// Make sound for lost packets up to the one that is there, 20 ms at a time.
    fn bridge(&mut self, later: u16) {
        let Some(timestamp) = self.slot(later).map(|slot| slot.timestamp) else { return };
        let gap = timestamp.wrapping_sub(self.end) as i32;
        let lost = i64::from(gap) * i64::from(self.rate.hz()) / i64::from(self.clock_rate_hz);
        let lost = usize::try_from(lost).unwrap_or(0);
        let missing = lost.saturating_sub(self.made_up);
        self.earliness.shift(-no_delay(self.made_up, lost, self.rate));
        let frame = self.rate.samples(TICK);
        if missing == 0 || self.paused || missing > 50 * frame {
            self.next = later;
            if !self.paused && missing == 0 {
                self.end = timestamp;
                self.made_up = 0;
            }
            return;
        }
        let now = missing.min(frame);
        self.conceal(now, Some(later).filter(|_| now == missing));
        let ticks = (now + self.made_up) as u64 * u64::from(self.clock_rate_hz) / u64::from(self.rate.hz());
        self.end = self.end.wrapping_add(ticks as u32);
        self.made_up = 0;
        if now == missing {
            self.next = later;
            self.end = timestamp;
        }
    }

    /// Nothing is there: go on in the manner of what was heard, and end when it lasts.
    fn make_up(&mut self) -> bool {
        let missing = self.rate.samples(TICK).saturating_sub(self.ready.len());
        let stopped = self.rate.samples(STOPPED);
        if self.paused || self.made_up >= stopped {
            let rest = !self.ready.is_empty();
            let rested = std::mem::take(&mut self.ready);
            self.stop();
            self.ready = rested;
            return rest;
        }
        self.conceal(missing, None);
        self.made_up += missing;
        self.earliness.shift(TICK as i64);
        true
    }

    /// Append sound in the manner of what was decoded last; the packet `next` is there and follows right after.
    fn conceal(&mut self, samples: usize, next: Option<u16>) {
        let speaking = self.speaking;
        let next = next.and_then(|next| self.slots.get(usize::from(next) % PACKETS));
        let next = next.filter(|slot| slot.payload_type == speaking).map(|slot| &*slot.payload);
        let voice = self.voices.iter_mut().find(|(known, _)| *known == speaking);
        let wanted = self.ready.len() + samples;
        if let Some((_, Voice::Codec(decoder, _))) = voice
            && decoder.rate() == self.rate
        {
            decoder.conceal(samples, next, &mut self.ready);
        }
        self.ready.resize(wanted, 0);
        self.concealed += samples as u64 * SECOND / u64::from(self.rate.hz());
    }

    // ------------------------------------------------------------ delay

    /// Leave out or repeat a period of the voice when sound comes too early or almost too late.
    fn adjust(&mut self, now: Micros) {
        if now < self.rest_until || self.made_up > 0 || self.paused {
            return;
        }
        let (least, lately) = (self.earliness.least(), self.earliness.least_lately());
        let frame = self.rate.samples(TICK);
        if least != UNKNOWN && least > AMPLE {
            if self.ready.len() < frame + *pitch::lags(self.rate).end() {
                self.fetch_one_more();
            }
            self.leave_out(now, if least > FAR_TOO_AMPLE { TICK } else { 5 * TICK });
        } else if least != UNKNOWN && least > 2 * SCARCE && self.begun() > self.rate.samples(MOST_BEGUN) {
            self.leave_out(now, 5 * TICK);
        } else if lately < SCARCE && self.ready.len() >= frame {
            let before = self.ready.len() / frame;
            let more = stretch::repeat(&mut self.ready, self.rate, ALIKE);
            self.moved(before, now, if more > 0 { 3 * TICK } else { 0 });
        }
    }

    /// Samples that will be left in hand at the next tick only because packets begin between ticks.
    fn begun(&self) -> usize {
        let frame = self.rate.samples(TICK);
        let unit = if self.last_length.is_multiple_of(frame) { frame } else { frame / 2 };
        self.ready.len() % unit.max(1)
    }

    fn leave_out(&mut self, now: Micros, rest: Micros) {
        let frame = self.rate.samples(TICK);
        let before = self.ready.len() / frame;
        let out = stretch::leave_out(&mut self.ready, self.rate, frame, ALIKE);
        let shorter = out as u64 * SECOND / u64::from(self.rate.hz());
        self.first_wait = self.first_wait.saturating_sub(shorter).max(FIRST_WAIT);
        self.moved(before, now, if out > 0 { rest } else { 0 });
    }

    /// There were `before` whole ticks of sound and now there may be one less or more: packets are as much earlier.
    fn moved(&mut self, before: usize, now: Micros, rest: Micros) {
        let more = (self.ready.len() / self.rate.samples(TICK)) as i64 - before as i64;
        self.earliness.shift(more * TICK as i64);
        self.rest_until = now + rest;
    }

    fn fetch_one_more(&mut self) {
        let follows = self.slot(self.next).is_some_and(|slot| slot.timestamp == self.end);
        if follows && !self.paused {
            self.take_next();
        }
    }

    /// Sound that waits too long is thrown away, so that the delay is bounded whatever happens.
    fn bound_delay(&mut self) {
        if self.waiting() > MOST_WAITING {
            self.skip_to_newest();
        }
    }

    /// How much sound waits to be played.
    pub fn waiting(&self) -> Micros {
        let ready = self.ready.len() as u64 * SECOND / u64::from(self.rate.hz());
        let Some(newest) = self.slot(self.newest).filter(|_| self.playing) else { return ready };
        let ticks = newest.timestamp.wrapping_sub(self.end) as i32;
        ready + u64::try_from(ticks).unwrap_or(0) * SECOND / u64::from(self.clock_rate_hz)
    }

    /// Go on with the packet that came last.
    fn skip_to_newest(&mut self) {
        while self.next != self.newest {
            if let Some(slot) = self.slots.get_mut(usize::from(self.next) % PACKETS) {
                slot.taken &= slot.sequence != self.next;
            }
            self.next = self.next.wrapping_add(1);
        }
        self.ready.clear();
        self.made_up = 0;
        self.earliness = Earliness::new();
        if let Some(timestamp) = self.slot(self.next).map(|slot| slot.timestamp) {
            self.end = timestamp;
        }
    }

    // ------------------------------------------------------------ leaving

    /// The timestamp of the next sample to be played.
    pub fn position(&self) -> u32 {
        let ready = self.ready.len() as u64 * u64::from(self.clock_rate_hz) / u64::from(self.rate.hz());
        self.end.wrapping_sub(ready as u32)
    }

    /// Whether anything has come that is being played, or will be.
    pub fn has_packets(&self) -> bool {
        self.playing || self.first_at.is_some()
    }

    pub fn is_playing(&self) -> bool {
        self.playing
    }

    /// Whether everything that was decoded has been played, so that the next packet can go out as it is.
    pub fn is_between_packets(&self) -> bool {
        !self.playing || self.ready.is_empty() && self.made_up == 0
    }

    /// The packets that wait, in order: (sequence, timestamp, payload type, payload).
    pub fn unplayed(&self) -> impl Iterator<Item = (u16, u32, u8, &[u8])> {
        let waiting = self.playing || self.first_at.is_some();
        let ahead = if waiting { self.newest.wrapping_sub(self.next).wrapping_add(1) } else { 0 };
        let count = if usize::from(ahead) <= PACKETS { ahead } else { 0 };
        (0..count)
            .filter_map(|step| self.slot(self.next.wrapping_add(step)))
            .map(|slot| (slot.sequence, slot.timestamp, slot.payload_type, &*slot.payload))
    }
}

/// Of `made_up` samples, those that stood for `samples` that are lost, or were silence: nothing is later for them.
fn no_delay(made_up: usize, samples: usize, rate: Rate) -> i64 {
    let micros = made_up.min(samples) as u64 * SECOND / u64::from(rate.hz());
    (micros / TICK * TICK) as i64
}

/// Turn the few samples that are left at one rate into as long a time of another.
fn convert(ready: &mut Vec<i16>, from: Rate, to: Rate) {
    if from == to || ready.is_empty() {
        return;
    }
    let count = ready.len() * to.hz() as usize / from.hz() as usize;
    let turned = |n: usize| ready.get(n * from.hz() as usize / to.hz() as usize).copied().unwrap_or(0);
    *ready = (0..count).map(turned).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::random::Random;
    use crate::rtp::Header;
    use proptest::prelude::*;

    fn packet(sequence: u16, timestamp: u32, payload_type: u8) -> Packet {
        let mut data = [0; 12];
        Header { marker: false, payload_type, sequence, timestamp, ssrc: 1 }.write(&mut data);
        Packet::parse(&data).unwrap()
    }

    /// L16 at 8 kHz as payload type 96, so that every sample can be looked at; 13 is comfort noise.
    fn playout() -> Playout {
        let mut playout = Playout::new();
        let decoder = Codec::L16(Rate::Narrow).decoder().unwrap();
        playout.add_voice(96, Voice::Codec(decoder, 8000));
        playout.add_voice(13, Voice::Noise);
        playout
    }

    struct Line {
        playout: Playout,
        heard: Vec<i16>,
        /// Packets under way: when each comes, its number.
        arrivals: Vec<(Micros, u32)>,
        samples: u32,
        sound: fn(u32) -> i16,
        ticks: u64,
    }

    const START: Micros = 1_000_000;

    /// Both numbers of the first packet are soon to wrap around.
    const FIRST_SEQUENCE: u16 = 65_000;
    const FIRST_TIMESTAMP: u32 = u32::MAX - 200_000;

    fn ramp(n: u32) -> i16 {
        (n % 30_000) as i16 + 1
    }

    fn tone(n: u32) -> i16 {
        (8000.0 * (f64::from(n) * std::f64::consts::TAU / 40.0).sin()) as i16
    }

    impl Line {
        /// `late` gives each packet's time on the way, or None where it is lost.
        fn new(
            packets: u32,
            ptime: Micros,
            sound: fn(u32) -> i16,
            mut late: impl FnMut(u32) -> Option<Micros>,
        ) -> Self {
            let sent = |n: u32| START + u64::from(n) * ptime;
            let arrivals = (0..packets).filter_map(|n| Some((sent(n) + late(n)?, n)));
            let mut arrivals: Vec<_> = arrivals.collect();
            arrivals.sort_unstable();
            arrivals.reverse();
            let samples = Rate::Narrow.samples(ptime) as u32;
            Self { playout: playout(), heard: Vec::new(), arrivals, samples, sound, ticks: 0 }
        }

        /// One tick, our clock being faster than the speaker's by `ppm`.
        fn tick(&mut self, ppm: i64) -> Tick {
            let real = self.ticks * TICK;
            let now = START + 7000 + (real as i64 - real as i64 * ppm / 1_000_000) as u64;
            self.ticks += 1;
            while let Some((at, n)) = self.arrivals.last().copied().filter(|(at, _)| *at <= now) {
                self.arrivals.pop();
                let first = n * self.samples;
                let payload: Vec<u8> =
                    (first..first + self.samples).flat_map(|n| (self.sound)(n).to_be_bytes()).collect();
                let sequence = FIRST_SEQUENCE.wrapping_add(n as u16);
                let packet = packet(sequence, FIRST_TIMESTAMP.wrapping_add(first), 96);
                self.playout.put(&packet, &payload, at);
            }
            let mut to = [0; LONGEST];
            let tick = self.playout.tick(now, &mut to);
            self.heard.extend_from_slice(&to[..160]);
            tick
        }

        fn run(mut self, ticks: u64) -> Self {
            (0..ticks).for_each(|_| {
                self.tick(0);
            });
            self
        }
    }

    fn all_once(heard: &[i16]) {
        let start = heard.iter().position(|sample| *sample != 0).unwrap();
        assert!(start <= 640, "{start}");
        let wrong = heard[start..].iter().enumerate().find(|(n, sample)| ramp(*n as u32) != **sample);
        assert_eq!(wrong, None);
    }

    #[test]
    fn without_jitter_every_sample_comes_out_once() {
        for ptime_ms in [10, 20, 30, 40, 60] {
            let packets = (4000 / ptime_ms) as u32;
            let line = Line::new(packets, ptime_ms * MILLISECOND, ramp, |_| Some(0)).run(190);
            all_once(&line.heard);
            assert_eq!(line.playout.concealed, 0);
        }
    }

    #[test]
    fn order_and_doubles_do_not_matter() {
        // Pairs come swapped, within the time that the buffer waits.
        let line = Line::new(200, TICK, ramp, |n| Some(if n % 2 == 1 { 0 } else { 21_000 })).run(190);
        let heard = &line.heard[1600..];
        let first = heard[0] as u32;
        assert!(heard.iter().enumerate().all(|(n, sample)| ramp(first - 1 + n as u32) == *sample));
    }

    #[test]
    fn the_delay_grows_to_what_jitter_needs_and_shrinks_again() {
        let mut random = Random::new(5);
        let jitter = move |n: u32| Some(if n < 1000 { (random.next() % 80_000) as Micros } else { 0 });
        let mut line = Line::new(2500, TICK, tone, jitter);
        line = line.run(200);
        let before = line.playout.concealed;
        line = line.run(750);
        let concealed = (line.playout.concealed - before) as f64 / (750.0 * TICK as f64);
        assert!(concealed < 0.02, "{concealed}");
        assert!(line.playout.waiting() < 120_000, "{}", line.playout.waiting());
        line = line.run(1200);
        let delay = line.playout.waiting();
        assert!(delay <= 20_000, "{delay}");
    }

    /// Words of 0.4 s with pauses between them; the pitch glides.
    fn voice(n: u32) -> i16 {
        let at_s = f64::from(n) / 8000.0;
        let within_s = at_s % 0.55;
        let loudness = (within_s / 0.03).min((0.4 - within_s) / 0.05).clamp(0.0, 1.0);
        let phase = std::f64::consts::TAU * (130.0 * at_s + 3.0 * (at_s * 1.3).sin());
        let sum: f64 = (1..=10).map(|k| (phase * f64::from(k)).sin() / f64::from(k)).sum();
        (sum * 6000.0 * loudness) as i16
    }

    fn steepest(sound: impl Iterator<Item = i16>) -> i32 {
        let mut last = 0;
        sound
            .map(|sample| (i32::from(sample) - std::mem::replace(&mut last, sample.into())).abs())
            .max()
            .unwrap_or(0)
    }

    /// What a network does to a packet: its time on the way, or None.
    type Network = fn(&mut Random) -> Option<Micros>;

    #[test]
    fn networks_of_many_kinds_cost_little_sound_and_delay() {
        // The share that may be concealed, beyond what was lost, and the mean delay in ms.
        let kinds: [(Network, f64, i64); 6] = [
            (|random| Some(random.next() % 20_000), 0.0, 30),
            (|random| Some(random.next() % 80_000), 0.003, 95),
            (|random| Some((-random.fraction().max(1e-9).ln() * 10_000.0) as Micros), 0.01, 80),
            (|random| Some(if random.next().is_multiple_of(100) { 150_000 } else { 0 }), 0.012, 90),
            (|random| (!random.next().is_multiple_of(20)).then_some(0), 0.001, 12),
            (|random| (!random.next().is_multiple_of(20)).then(|| random.next() % 40_000), 0.005, 60),
        ];
        let theirs = steepest((0..100_000).map(voice));
        for (kind, (network, most_concealed, most_delay_ms)) in kinds.into_iter().enumerate() {
            let mut random = Random::new(kind as u64);
            let mut line = Line::new(1500, TICK, voice, |_| network(&mut random));
            let lost = 1.0 - line.arrivals.len() as f64 / 1500.0;
            let mut delays = Vec::new();
            for tick in 0..1490u64 {
                let sent = |timestamp: u32| u64::from(timestamp.wrapping_sub(FIRST_TIMESTAMP)) * 125;
                delays
                    .extend(line.tick(0).began.map(|began| (tick * TICK + 7000) as i64 - sent(began) as i64));
            }
            let concealed = line.playout.concealed as f64 / line.playout.played as f64;
            let delay_ms = delays.iter().sum::<i64>() / delays.len() as i64 / 1000;
            assert!(concealed <= lost + most_concealed, "{kind}: {concealed} of {lost}");
            assert!(delay_ms <= most_delay_ms, "{kind}: {delay_ms} ms");
            let ours = steepest(line.heard.into_iter());
            assert!(ours <= theirs * 11 / 10, "{kind}: a step of {ours}, the voice has {theirs}");
        }
    }

    #[test]
    fn another_codec_and_packet_time_go_on_where_the_first_ended() {
        let (mut playout, mut to) = (playout(), [0; LONGEST]);
        let wide = Codec::L16(Rate::Wide).decoder().unwrap();
        playout.add_voice(98, Voice::Codec(wide, 8000));
        for tick in 0..500u64 {
            let now = START + tick * TICK;
            let (packet_type, samples) = if tick / 50 % 2 == 0 { (96, 160) } else { (98, 320) };
            playout.put(&packet(tick as u16, tick as u32 * 160, packet_type), &vec![1; 2 * samples], now);
            let played = playout.tick(now + 7 * MILLISECOND, &mut to);
            assert_eq!(played.began, Some(tick as u32 * 160));
            assert_eq!(played.rate.samples(TICK), samples);
            assert!(to[..samples].iter().all(|sample| *sample == 0x101));
        }
        assert_eq!(playout.concealed, 0);
    }

    #[test]
    fn what_is_made_up_is_like_the_codec_that_was_heard_last() {
        let (mut playout, mut to) = (playout(), [0; LONGEST]);
        playout.add_voice(97, Voice::Codec(Codec::L16(Rate::Narrow).decoder().unwrap(), 8000));
        for n in 0..20u16 {
            let sound = |n: u32| if n < 1600 { 0 } else { tone(n) };
            let first = u32::from(n) * 160;
            let payload: Vec<u8> = (first..first + 160).flat_map(|n| sound(n).to_be_bytes()).collect();
            let now = START + u64::from(n) * TICK;
            playout.put(&packet(n, first, if n < 10 { 96 } else { 97 }), &payload, now);
            playout.tick(now + 7 * MILLISECOND, &mut to);
        }
        playout.tick(START + 20 * TICK + 7 * MILLISECOND, &mut to);
        assert_eq!(playout.concealed, TICK);
        assert!(to[..80].iter().any(|sample| *sample > 7000), "{:?}", &to[..80]);
    }

    #[test]
    fn loss_is_concealed_and_costs_no_time() {
        let mut random = Random::new(9);
        let line =
            Line::new(1000, TICK, tone, move |_| (!random.next().is_multiple_of(20)).then_some(0)).run(990);
        let share = line.playout.concealed as f64 / line.playout.played as f64;
        assert!((0.03..0.07).contains(&share), "{share}");
        assert!(line.playout.waiting() <= TICK);
        let silent =
            line.heard[800..].chunks(40).filter(|part| part.iter().all(|sample| *sample == 0)).count();
        assert_eq!(silent, 0);
    }

    #[test]
    fn clocks_that_drift_apart_are_followed_for_an_hour() {
        for ppm in [-500, 500] {
            let mut line = Line::new(181_000, TICK, tone, |_| Some(0));
            line.heard.reserve(160);
            let mut most = 0;
            for _ in 0..180_000 {
                line.tick(ppm);
                line.heard.clear();
                most = most.max(line.playout.waiting());
            }
            let concealed = line.playout.concealed as f64 / line.playout.played as f64;
            assert!(most <= 50_000, "{ppm}: {most}");
            assert!(concealed < 0.0005, "{ppm}: {concealed}");
            assert!(line.playout.late < 10);
        }
    }

    #[test]
    fn a_pause_of_the_speaker_is_its_noise_and_no_loss() {
        let mut line = Line::new(500, TICK, tone, |n| (!(100..300).contains(&n)).then_some(0)).run(100);
        let noise = packet(FIRST_SEQUENCE.wrapping_add(100), FIRST_TIMESTAMP.wrapping_add(16_000), 13);
        line.playout.put(&noise, &[60], START + 2_000_000);
        line = line.run(202);
        let quiet = &line.heard[130 * 160..295 * 160];
        let power = quiet.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / quiet.len() as f64;
        let dbov = 10.0 * (power / 32_768f64.powi(2)).log10();
        assert!((dbov + 60.0).abs() < 0.5, "{dbov}");
        assert!(line.playout.concealed <= TICK);
        line = line.run(100);
        assert!(line.heard[310 * 160..].iter().any(|sample| *sample > 7000));
    }

    #[test]
    fn the_end_of_a_digit_that_comes_after_the_voice_does_not_delay_it() {
        let talk = |at_ms: u64, from: u16, timestamp: u32| {
            (0..10u16).map(move |n| (at_ms + 20 * u64::from(n), from + n, timestamp + 160 * u32::from(n), 96))
        };
        let digit = [(200, 10, 1600, 13), (220, 11, 1600, 13), (401, 12, 1600, 13)];
        let mut packets: Vec<_> = talk(0, 0, 0).chain(digit).chain(talk(400, 13, 3200)).collect();
        packets.sort_unstable();
        let (mut playout, mut to) = (playout(), [0; LONGEST]);
        for tick in 0..30 {
            let at_ms = 20 * tick + 7;
            for (at_ms, sequence, timestamp, payload_type) in
                packets.extract_if(.., |(came_ms, ..)| *came_ms <= at_ms)
            {
                let now = START + at_ms * MILLISECOND;
                playout.put(&packet(sequence, timestamp, payload_type), &[1; 320], now);
            }
            let began = playout.tick(START + at_ms * MILLISECOND, &mut to).began;
            let sent = if (10..20).contains(&tick) { None } else { Some(tick as u32 * 160) };
            assert_eq!(began, sent);
        }
        assert_eq!(playout.concealed, 0);
    }

    #[test]
    fn after_the_machine_stood_still_the_newest_sound_is_played() {
        let mut line = Line::new(500, TICK, ramp, |_| Some(0)).run(50);
        line.ticks += 100;
        line.tick(0);
        let heard = line.heard.len();
        line = line.run(20);
        let now = (line.ticks * 160) as i32;
        let last = i32::from(*line.heard.last().unwrap());
        assert!(line.heard[heard..].iter().any(|sample| *sample != 0));
        assert!((now % 30_000 - last).abs() < 800, "{now} {last}");
    }

    type Strange = (u16, u32, u8, usize, u64);

    fn strange() -> impl Strategy<Value = Vec<Strange>> {
        let near = (0u16..400, 0u32..40_000, Just(96u8), 0usize..400, 0u64..60_000);
        let far = (any::<u16>(), any::<u32>(), 90u8..100, 0usize..2000, 0u64..60_000);
        proptest::collection::vec(prop_oneof![near, far], 0..150)
    }

    proptest! {
        #[test]
        fn no_packets_break_it(packets in strange()) {
            let mut playout = playout();
            let (mut now, mut to) = (START, [0; LONGEST]);
            for (sequence, timestamp, payload_type, length, pause) in packets {
                now += pause;
                playout.put(&packet(sequence, timestamp, payload_type), &vec![1; length], now);
                playout.tick(now, &mut to);
                prop_assert!(playout.ready.len() < 20_000);
            }
            // What comes then in good order is heard, and soon without delay.
            for n in 0..150u16 {
                now += TICK;
                playout.put(&packet(1000 + n, 50_000 + u32::from(n) * 160, 96), &[1; 320], now);
                playout.tick(now, &mut to);
            }
            prop_assert!(to[..160].iter().all(|sample| *sample == 0x101), "{:?}", playout);
            prop_assert!(playout.waiting() <= MOST_WAITING);
        }
    }
}
