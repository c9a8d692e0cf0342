//! The tick of 20 ms in which all mixes of a worker are made.
//!
//! Ticks are the whole multiples of 20 ms of the monotonic clock, on every worker the same: a port that moves to
//! another worker keeps its place in time. Each voice is decoded once in a tick, each mix goes out at once.

use crate::capture::Side;
use crate::dsp::mix::Gain;
use crate::dsp::talking::Part;
use crate::edges::Heard;
use crate::messages::{Event, PortId};
use crate::mixed::{MOST_MIXED, Mixed};
use crate::payload::{Kind, Meaning};
use crate::player::{End, Played};
use crate::playout::TICK;
use crate::ports::{Ports, Role};
use crate::rtp::{HEADER, Header, Packet};
use crate::stream::{Door, Said, Taken};
use crate::time::{Micros, to_seconds};
use crate::voice::Voice;

/// A worker that was held up longer than this leaves a gap instead of a burst.
const MOST_BEHIND: u64 = 10;

/// A packet that was kept for decoding and goes out as it came.
type Kept = (u16, u32, u8, Vec<u8>);

impl<D: Door> Ports<D> {
    /// This port has something to do in each tick from now on.
    pub fn join_the_mixing(&mut self, port: PortId, now: Micros) {
        if self.mixing.is_empty() {
            self.mixed_to = now / TICK;
        }
        if !self.mixing.contains(&port) {
            self.mixing.push(port);
        }
    }

    pub fn mixing_due(&self) -> Option<Micros> {
        (!self.mixing.is_empty()).then(|| (self.mixed_to + 1) * TICK)
    }

    /// Make the mixes that are due.
    pub fn mix_all(&mut self, now: Micros) {
        let latest = now / TICK;
        if latest.saturating_sub(self.mixed_to) > MOST_BEHIND {
            self.mixed_to = latest - 1;
        }
        while self.mixed_to < latest && !self.mixing.is_empty() {
            self.mixed_to += 1;
            let number = self.mixed_to;
            let mut next = 0;
            while let Some(port) = self.mixing.get(next).copied() {
                next += 1;
                self.busy = Some(port);
                self.guard(|ports| ports.mix_one(port, number, now));
                // Who leaves the mix makes room for the next one at its place.
                next -= usize::from(self.mixing.get(next - 1) != Some(&port));
            }
        }
    }

    fn mix_one(&mut self, id: PortId, number: u64, now: Micros) {
        let Some(port) = self.ports.get_mut(&id) else {
            self.mixing.retain(|known| *known != id);
            return;
        };
        match port.role {
            Role::Player { .. } => return self.play_on(id, number, now),
            Role::Recorder(_) | Role::Fork(_) => return self.capture(id, number, now),
            Role::Stream(_) => {}
        }
        if port.watching.is_anything() {
            self.watch_one(id, number, now);
        }
        let Some(port) = self.ports.get_mut(&id) else { return };
        let Some(mut mixed) = port.mixed.take() else {
            if !port.watching.is_anything() {
                self.mixing.retain(|known| *known != id);
            }
            return;
        };
        let hears = std::mem::take(&mut port.hears);
        let sounds = self.pull(&hears, number, now);
        let began = self.has_begun(id, &mut mixed, &hears, now);
        if began {
            self.say_mixed(id, &mut mixed, &hears, (number, sounds), now);
        }
        let leaves =
            mixed.leaving.is_some_and(|(speaker, until)| began && self.may_leave(speaker, now >= until));
        let leaving = mixed.leaving.map(|(speaker, _)| speaker);
        if let Some(port) = self.ports.get_mut(&id) {
            port.hears = hears;
            port.mixed = Some(mixed);
        }
        if let Some(speaker) = leaving.filter(|_| leaves) {
            self.let_packets_by(id, speaker, now);
        }
    }

    /// Have everybody who is heard say this tick's part, and tell what players have come to an end; whether there
    /// is anything to be heard.
    fn pull(&mut self, hears: &[Heard], number: u64, now: Micros) -> bool {
        let mut sounds = false;
        for heard in hears {
            let Some(voice) = self.voice_mut(heard.speaker) else { continue };
            voice.pull(number, now);
            sounds |= voice.sounds();
            if voice.player_mut().is_some() {
                self.tell_played(heard.speaker, now);
            }
        }
        sounds
    }

    pub fn voice_mut(&mut self, port: PortId) -> Option<&mut Voice> {
        self.ports.get_mut(&port)?.voice.as_deref_mut()
    }

    /// Whether the voice that the listener heard as packets has come to where these ended.
    fn has_begun(&mut self, id: PortId, mixed: &mut Mixed, hears: &[Heard], now: Micros) -> bool {
        let Some(start) = mixed.start else { return true };
        let heard = hears.iter().any(|heard| heard.speaker == start.speaker);
        let voice = self.voice_mut(start.speaker).filter(|_| heard);
        let there = voice.as_ref().and_then(|voice| voice.began());
        let there = there.is_some_and(|began| began.wrapping_sub(start.heard_to) as i32 >= 0);
        let talks = voice.and_then(|voice| voice.playout()).is_some_and(|playout| playout.has_packets());
        if !there && heard && start.waits(talks, now) {
            return false;
        }
        mixed.start = None;
        if !there && let Some(stream) = self.stream_mut(id) {
            stream.outgoing.go_on_anew();
        }
        true
    }

    fn say_mixed(
        &mut self,
        id: PortId,
        mixed: &mut Mixed,
        hears: &[Heard],
        (number, sounds): (u64, bool),
        now: Micros,
    ) {
        let missed = number.saturating_sub(mixed.number + 1);
        mixed.skipped += if mixed.number == 0 { 0 } else { missed };
        mixed.number = number;
        if !mixed.is_due(sounds) {
            mixed.skipped += 1;
            return;
        }
        let mut payload = std::mem::take(&mut self.payload);
        if let [Heard { speaker, gain: Gain::NONE, .. }] = hears
            && mixed.takes_frames()
        {
            payload.clear();
            if let Some(voice) = self.voice_mut(*speaker) {
                match voice.ready(mixed.codec) {
                    Some(ready) => payload.extend_from_slice(ready),
                    None => payload.extend_from_slice(voice.encoded(mixed.codec, &mixed.payload)),
                }
            }
            self.say(id, mixed, mixed.codec.rate().samples(TICK), &payload, now);
        } else {
            self.add_up(mixed, hears);
            while let Some(samples) = mixed.packet(&mut payload) {
                self.say(id, mixed, samples, &payload, now);
            }
        }
        self.payload = payload;
    }

    fn add_up(&mut self, mixed: &mut Mixed, hears: &[Heard]) {
        let mut mix = self.mix.take().unwrap_or_default();
        mix.clear();
        if hears.len() > MOST_MIXED {
            mixed.choose(hears.iter().filter_map(|heard| {
                let voice = self.ports.get(&heard.speaker)?.voice.as_deref()?;
                Some((heard.speaker, voice.level_dbov()))
            }));
        }
        for Heard { speaker, gain, .. } in hears {
            let Some(part) = mixed.part(*speaker, hears.len()) else { continue };
            let Some(voice) = self.voice_mut(*speaker).filter(|voice| voice.sounds()) else { continue };
            let samples = voice.samples(mixed.codec.rate());
            match part {
                Part::Heard => mix.add(samples, *gain),
                Part::FadesIn => mix.add_sliding(samples, Gain::SILENCE, *gain),
                Part::FadesOut => mix.add_sliding(samples, *gain, Gain::SILENCE),
            }
        }
        mixed.take(&mix);
        self.mix = Some(mix);
    }

    fn say(&mut self, id: PortId, mixed: &mut Mixed, samples: usize, payload: &[u8], now: Micros) {
        // An encoder that has nothing to say (DTX) says nothing, or a byte that need not be sent.
        if payload.len() <= usize::from(mixed.codec == crate::codec::Codec::Opus) * 2 {
            mixed.skipped += 1;
            return;
        }
        let tick = mixed.ticks(mixed.codec.rate().samples(TICK));
        let said = Said {
            payload_type: mixed.payload.payload_type,
            clock_rate_hz: mixed.payload.clock_rate_hz,
            length: mixed.ticks(samples),
            skipped: tick.wrapping_mul(std::mem::take(&mut mixed.skipped) as u32),
            payload,
        };
        if let Some(stream) = self.stream_mut(id) {
            stream.say(&said, now);
        }
    }

    // ------------------------------------------------------------ back to packets

    /// Whether everything of this speaker that was decoded has been heard; or `now` it must end anyhow.
    fn may_leave(&mut self, speaker: PortId, now: bool) -> bool {
        let playout = self.voice_mut(speaker).and_then(|voice| voice.playout());
        now || playout.is_none_or(|playout| playout.is_between_packets())
    }

    /// The packets that wait to be decoded go out as they came, and so does all that follows.
    fn let_packets_by(&mut self, listener: PortId, speaker: PortId, now: Micros) {
        let playout = self.voice_mut(speaker).and_then(|voice| voice.playout());
        let kept: Vec<Kept> = playout.map_or_else(Vec::new, |playout| {
            let unplayed = playout.unplayed();
            unplayed
                .map(|(sequence, timestamp, number, data)| (sequence, timestamp, number, data.to_vec()))
                .collect()
        });
        self.leave_the_mix(listener);
        if let Some(stream) = self.stream_mut(listener) {
            stream.outgoing.go_on_seamlessly();
        }
        for packet in kept {
            self.pass_kept(listener, speaker, &packet, now);
        }
    }

    fn pass_kept(&mut self, listener: PortId, speaker: PortId, kept: &Kept, now: Micros) {
        let (sequence, timestamp, payload_type, ref payload) = *kept;
        let Some(stream) = self.stream(speaker) else { return };
        let Some(found) = stream.settled.as_ref().and_then(|settled| settled.receive.find(payload_type))
        else {
            return;
        };
        let (place, meaning): (usize, Meaning) = found;
        if meaning.kind != Kind::Sound {
            return;
        }
        let run = stream.incoming.run();
        let mut data = vec![0; HEADER];
        data.extend_from_slice(payload);
        let header = Header { marker: false, payload_type, sequence, timestamp, ssrc: 0 };
        if let Some(head) = data.first_chunk_mut() {
            header.write(head);
        }
        let Some(packet) = Packet::parse(&data) else { return };
        let taken = Taken::Rtp { packet, payload: place, meaning, run, began_at: now };
        let ears = self.ports.get(&speaker).map(|port| &port.heard_by);
        let ear = ears.and_then(|ears| ears.iter().find(|ear| ear.listener == listener));
        let Some((edge, number)) = ear.map(|ear| (ear.edge, ear.payloads.get(place))) else { return };
        if let Some(stream) = self.stream_mut(listener) {
            stream.pass((edge, now), &taken, number, &mut data, now);
        }
    }

    /// Look at what a port says in this tick.
    fn watch_one(&mut self, id: PortId, number: u64, now: Micros) {
        let Some(port) = self.ports.get_mut(&id) else { return };
        let Some(voice) = &mut port.voice else { return };
        voice.pull(number, now);
        let told = self.events.len();
        port.watching.look(id, voice, now, &mut self.events);
        if self.events.len() > told {
            self.digits_end_playing(id, told, now);
        }
    }

    // ------------------------------------------------------------ recorders

    /// Write down what a recorder hears in this tick, or hand it to a program.
    fn capture(&mut self, id: PortId, number: u64, now: Micros) {
        let Some(port) = self.ports.get_mut(&id) else { return };
        let hears = std::mem::take(&mut port.hears);
        let (rate, stereo) = match &port.role {
            Role::Recorder(recorder) => (recorder.rate(), recorder.is_stereo()),
            Role::Fork(fork) => (fork.rate, false),
            _ => return,
        };
        self.pull(&hears, number, now);
        let [left, right] = &mut *self.sides;
        left.clear();
        right.clear();
        for heard in &hears {
            let voice = self.ports.get_mut(&heard.speaker).and_then(|port| port.voice.as_deref_mut());
            let Some(voice) = voice.filter(|voice| voice.sounds()) else { continue };
            let samples = voice.samples(rate);
            if !stereo || heard.side != Side::Right {
                left.add(samples, heard.gain);
            }
            if stereo && heard.side != Side::Left {
                right.add(samples, heard.gain);
            }
        }
        if let Some(port) = self.ports.get_mut(&id) {
            port.hears = hears;
            match &mut port.role {
                Role::Recorder(recorder) => recorder.take(number, &self.sides, &mut self.to_write),
                Role::Fork(fork) => {
                    let [both, _] = &*self.sides;
                    fork.take(both);
                }
                _ => {}
            }
        }
    }

    // ------------------------------------------------------------ players

    /// Time passes for what is played although nobody may hear it.
    fn play_on(&mut self, id: PortId, number: u64, now: Micros) {
        let Some(voice) = self.voice_mut(id) else { return };
        voice.pull(number, now);
        let goes_on = voice.player_mut().is_some_and(|player| player.has_end());
        if !goes_on {
            self.mixing.retain(|known| *known != id);
        }
        self.tell_played(id, now);
    }

    /// Tell the engine what has come to an end at a player, and see what its listeners hear then.
    pub fn tell_played(&mut self, id: PortId, now: Micros) {
        let player = self.voice_mut(id).and_then(|voice| voice.player_mut());
        if let Some(ended) = player.and_then(|player| player.take_ended()) {
            self.push_played(id, ended, String::new(), now);
            self.ended.push(id);
        }
    }

    pub fn push_played(&mut self, port: PortId, ended: Played, fault: String, now: Micros) {
        let Played { play, end, position } = ended;
        let mute = self.ports.get(&port).is_some_and(|port| matches!(port.role, Role::Player { mute: true }));
        if !mute {
            self.events.push(Event::Played { port, play, end, position, fault, clock_s: to_seconds(now) });
        }
    }

    /// A digit was pressed at `port`: what it hears and what such a digit ends is over.
    pub fn end_by_digit(&mut self, port: PortId, digit: &str, now: Micros) {
        let mut next = 0;
        while let Some(speaker) =
            self.ports.get(&port).and_then(|port| port.hears.get(next)).map(|heard| heard.speaker)
        {
            next += 1;
            if let Some(player) = self.voice_mut(speaker).and_then(|voice| voice.player_mut())
                && player.is_ended_by(digit)
            {
                player.stop(End::Digit);
                self.tell_played(speaker, now);
            }
        }
        self.refresh_ended(now);
    }

    /// Players that have come to an end are heard no longer.
    pub fn refresh_ended(&mut self, now: Micros) {
        while let Some(player) = self.ended.pop() {
            self.refresh_listeners(player, now);
        }
    }
}
