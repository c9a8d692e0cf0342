//! Who hears whom, and how: packets as they came, or a mix.
//!
//! A listener with one speaker whose codec its phone accepts is passed packets. One with several speakers, with a
//! speaker whose codec means nothing to it, with a player, or with a speaker who shall be louder or softer, gets a
//! mix. Each change of the edges, of what was negotiated or of what is sent is looked at here once; what follows
//! from it stands in the edges (`Ear::mixed`), so that a packet needs no decision.

use crate::capture::Side;
use crate::codec::Codec;
use crate::dsp::mix::Gain;
use crate::messages::PortId;
use crate::mixed::{LONGEST_LEAVING, Mixed, Start};
use crate::payload::{NOT_ACCEPTED, Payload, PayloadMap};
use crate::ports::{Ports, Refusal, Role};
use crate::stream::Door;
use crate::time::{MILLISECOND, Micros};
use crate::voice::Voice;

/// Where there is no mix, an older edge is heard when the newer ones have brought nothing for this long.
const SPEAKER_SILENT: Micros = 300 * MILLISECOND;

/// An edge, at its speaker.
#[derive(Debug)]
pub struct Ear {
    pub listener: PortId,
    pub edge: u64,
    pub payloads: PayloadMap,
    /// The listener gets a mix: packets do not go by.
    pub mixed: bool,
}

impl Ear {
    /// Who hears a player hears no payloads of its own.
    pub fn of_player(listener: PortId, edge: u64, mixed: bool) -> Self {
        Self { listener, edge, payloads: PayloadMap::default(), mixed }
    }
}

/// An edge, at its listener.
#[derive(Debug)]
pub struct Heard {
    pub speaker: PortId,
    pub edge: u64,
    pub gain: Gain,
    pub side: Side,
    pub drawn_at: Micros,
    last_at: Option<Micros>,
}

/// What a mix for a listener is made in.
type Target = (Codec, Payload, u32);

impl<D: Door> Ports<D> {
    /// Draw an edge, or change how loud it is.
    pub fn hear(
        &mut self,
        (listener, speaker): (PortId, PortId),
        gain_db: f64,
        side: Side,
        now: Micros,
    ) -> Result<(), Refusal> {
        let ear = self.ports.get(&listener).map(|port| &port.role);
        if !matches!(ear, Some(Role::Stream(_) | Role::Recorder(_) | Role::Fork(_))) {
            return Err("the listener is no open stream or recorder");
        }
        if !self.ports.contains_key(&speaker) {
            return Err("the speaker is no open port");
        }
        let gain = Gain::from_db(gain_db);
        let payloads = self.payload_map(speaker, listener);
        let edge = self.last_edge + 1;
        let Some(port) = self.ports.get_mut(&listener) else { return Ok(()) };
        match port.hears.iter_mut().find(|heard| heard.speaker == speaker) {
            Some(known) if (known.gain, known.side) == (gain, side) => return Ok(()),
            Some(known) => (known.gain, known.side) = (gain, side),
            None => {
                port.hears.push(Heard { speaker, edge, gain, side, drawn_at: now, last_at: None });
                self.last_edge = edge;
                if let Some(port) = self.ports.get_mut(&speaker) {
                    port.heard_by.push(Ear { listener, edge, payloads, mixed: false });
                }
            }
        }
        self.refresh(listener, now);
        Ok(())
    }

    pub fn unhear(&mut self, listener: PortId, speaker: PortId, now: Micros) {
        if let Some(port) = self.ports.get_mut(&listener) {
            port.hears.retain(|heard| heard.speaker != speaker);
        }
        if let Some(port) = self.ports.get_mut(&speaker) {
            port.heard_by.retain(|ear| ear.listener != listener);
        }
        self.refresh(listener, now);
        self.keep_voice(speaker);
    }

    /// Find out again what the payloads of a speaker are called by its listeners, and what each of them gets.
    pub fn map_payloads(&mut self, speaker: PortId, now: Micros) {
        let Some(mut ears) = self.ports.get_mut(&speaker).map(|port| std::mem::take(&mut port.heard_by))
        else {
            return;
        };
        for ear in &mut ears {
            ear.payloads = self.payload_map(speaker, ear.listener);
        }
        if let Some(port) = self.ports.get_mut(&speaker) {
            port.heard_by = ears;
        }
        self.refresh_listeners(speaker, now);
    }

    fn payload_map(&self, speaker: PortId, listener: PortId) -> PayloadMap {
        let received = self.stream(speaker).and_then(|stream| stream.settled.as_ref());
        let accepted = self.stream(listener).and_then(|stream| stream.settled.as_ref());
        received.zip(accepted).map_or_else(PayloadMap::default, |(from, to)| from.receive.map_to(&to.send))
    }

    // ------------------------------------------------------------ packets or a mix

    /// Something about a speaker is different: see what its listeners get.
    pub fn refresh_listeners(&mut self, speaker: PortId, now: Micros) {
        let mut next = 0;
        while let Some(ear) = self.ports.get(&speaker).and_then(|port| port.heard_by.get(next)) {
            next += 1;
            self.refresh(ear.listener, now);
        }
    }

    /// See whether a listener gets packets or a mix, and bring that about.
    pub fn refresh(&mut self, listener: PortId, now: Micros) {
        if self
            .ports
            .get(&listener)
            .is_some_and(|port| matches!(port.role, Role::Recorder(_) | Role::Fork(_)))
        {
            self.set_ears(listener, true);
            return;
        }
        match self.target(listener) {
            Some(target) => self.begin_mix(listener, target, now),
            None => self.end_mix(listener, now),
        }
    }

    /// What a listener's mix is to be made in; None when packets can go by as they are, or nothing else can be done.
    fn target(&self, listener: PortId) -> Option<Target> {
        let port = self.ports.get(&listener)?;
        let stream = self.stream(listener)?;
        let settled = stream.settled.as_ref().filter(|settled| settled.peer_receives)?;
        let (codec, payload) = stream.spoken()?;
        let mut live = port.hears.iter().filter(|heard| self.is_live(heard.speaker));
        let first = live.next()?;
        let several = live.next().is_some();
        let needed = several || first.gain != Gain::NONE || !self.goes_by(first.speaker, listener);
        let possible = port.hears.iter().any(|heard| self.can_be_mixed(heard.speaker));
        (needed && possible).then(|| (codec, payload.clone(), settled.ptime_ms))
    }

    /// Whether anything may come from there.
    fn is_live(&self, speaker: PortId) -> bool {
        match self.ports.get(&speaker).map(|port| (&port.role, &port.voice)) {
            Some((Role::Stream(stream), _)) => stream.sends().is_some(),
            Some((Role::Player { .. } | Role::Fork(_), voice)) => {
                voice.as_ref().is_some_and(|voice| voice.has_something_to_play())
            }
            Some((Role::Recorder(_), _)) | None => false,
        }
    }

    /// Whether packets of the codec that the speaker uses mean something to the listener's phone.
    fn goes_by(&self, speaker: PortId, listener: PortId) -> bool {
        let ears = self.ports.get(&speaker).map(|port| &port.heard_by);
        let ear = ears.and_then(|ears| ears.iter().find(|ear| ear.listener == listener));
        let place = self.stream(speaker).and_then(|stream| stream.sends());
        ear.zip(place).is_some_and(|(ear, place)| ear.payloads.get(place) != NOT_ACCEPTED)
    }

    fn can_be_mixed(&self, speaker: PortId) -> bool {
        let Some(stream) = self.stream(speaker) else { return self.is_live(speaker) };
        let sent = stream.settled.as_ref().zip(stream.sends());
        let payload = sent.and_then(|(settled, place)| settled.receive.get(place));
        payload.is_some_and(|payload| Codec::of(payload).is_some())
    }

    fn begin_mix(&mut self, listener: PortId, (codec, payload, ptime_ms): Target, now: Micros) {
        let Some(port) = self.ports.get_mut(&listener) else { return };
        let Role::Stream(stream) = &mut port.role else { return };
        let known = port.mixed.as_mut().filter(|mixed| mixed.codec == codec && mixed.payload == payload);
        if let Some(mixed) = known {
            mixed.leaving = None;
        } else {
            let mut mixed = Mixed::new(codec, payload, ptime_ms);
            let heard = stream.outgoing.heard_to(now);
            let heard =
                heard.and_then(|(edge, to)| Some((port.hears.iter().find(|heard| heard.edge == edge)?, to)));
            if port.mixed.is_some() {
                // Only the codec is another one: nothing begins.
            } else if let Some((heard, to)) = heard {
                stream.outgoing.go_on_seamlessly();
                mixed.start = Some(Start::new(heard.speaker, to, now));
            } else {
                mixed.begin_quiet();
            }
            port.mixed = Some(Box::new(mixed));
        }
        self.set_ears(listener, true);
        self.join_the_mixing(listener, now);
    }

    fn end_mix(&mut self, listener: PortId, now: Micros) {
        let Some(port) = self.ports.get(&listener) else { return };
        if port.mixed.is_none() {
            self.set_ears(listener, false);
            return;
        }
        let mut live = port.hears.iter().filter(|heard| self.is_live(heard.speaker));
        let sole = live.next().map(|heard| heard.speaker).filter(|_| live.next().is_none());
        let playing = sole.filter(|speaker| {
            let voice = self.ports.get(speaker).and_then(|port| port.voice.as_ref());
            voice.and_then(|voice| voice.playout()).is_some_and(|playout| playout.is_playing())
        });
        match playing {
            Some(speaker) => {
                if let Some(mixed) = self.ports.get_mut(&listener).and_then(|port| port.mixed.as_mut()) {
                    let until =
                        mixed.leaving.filter(|(leaving, _)| *leaving == speaker).map(|(_, until)| until);
                    mixed.leaving = Some((speaker, until.unwrap_or(now + LONGEST_LEAVING)));
                }
                self.set_ears(listener, true);
            }
            None => self.leave_the_mix(listener),
        }
    }

    /// From now on packets go by again.
    pub fn leave_the_mix(&mut self, listener: PortId) {
        if let Some(port) = self.ports.get_mut(&listener) {
            port.mixed = None;
        }
        if self.ports.get(&listener).is_none_or(|port| !port.watching.is_anything()) {
            self.mixing.retain(|known| *known != listener);
        }
        self.set_ears(listener, false);
    }

    /// Say at each speaker of a listener whether that gets a mix, and have the voices decoded that are mixed.
    fn set_ears(&mut self, listener: PortId, mixed: bool) {
        let mut next = 0;
        while let Some(speaker) = self.speaker(listener, next) {
            next += 1;
            let ears = self.ports.get_mut(&speaker).map(|port| &mut port.heard_by);
            let ear = ears.and_then(|ears| ears.iter_mut().find(|ear| ear.listener == listener));
            if let Some(ear) = ear
                && std::mem::replace(&mut ear.mixed, mixed) != mixed
            {
                self.keep_voice(speaker);
            }
        }
    }

    fn speaker(&self, listener: PortId, place: usize) -> Option<PortId> {
        self.ports.get(&listener)?.hears.get(place).map(|heard| heard.speaker)
    }

    /// A stream is decoded for as long as somebody hears it in a mix, or something is looked for in it.
    pub fn keep_voice(&mut self, speaker: PortId) {
        let Some(port) = self.ports.get_mut(&speaker) else { return };
        if !matches!(port.role, Role::Stream(_)) {
            return;
        }
        let wanted = port.watching.is_anything() || port.heard_by.iter().any(|ear| ear.mixed);
        if !wanted {
            port.voice = None;
        } else if port.voice.is_none() {
            port.voice = Some(Box::new(Voice::of_stream()));
        }
    }
}

/// When the edge was drawn, if it is the one to be heard now: the newest whose speaker sends.
///
/// Where packets go by as they are, a listener hears one speaker at a time; in a mix all are.
pub fn choose(hears: &mut [Heard], edge: u64, now: Micros, mixed: bool) -> Option<Micros> {
    let place = hears.iter().position(|heard| heard.edge == edge)?;
    let heard = hears.get_mut(place)?;
    heard.last_at = Some(now);
    let drawn_at = heard.drawn_at;
    if mixed {
        return Some(drawn_at);
    }
    let mut newer = hears.iter().skip(place + 1);
    let drowned = newer.any(|other| other.last_at.is_some_and(|at| now < at + SPEAKER_SILENT));
    (!drowned).then_some(drawn_at)
}
