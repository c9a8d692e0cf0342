//! The ports of one worker, and who hears whom: packets and orders in, packets and events out.
//!
//! Knows no socket and no clock. A packet goes from the port where it came in to each port that hears it, in
//! one call, without a copy of its payload, unless that gets a mix: see `edges.rs` and `mixing.rs`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::capture::{Recorder, ToWriter};
use crate::control::EVERYBODY;
use crate::dsp::mix::Mix;
use crate::dtls::Identity;
use crate::edges::{Ear, Heard, choose};
use crate::fork::{self, Far, Fork};
use crate::messages::{Action, Command, Event, ForkRequest, Negotiated, PortId, RecordRequest, Report};
use crate::mixed::Mixed;
use crate::payload::{Kind, Meaning, PayloadSets};
use crate::player::{End, Player, Playlist};
use crate::random::Random;
use crate::sound::Fault;
use crate::stream::{Component, Door, Stream, Taken};
use crate::time::{Clock, Micros, to_seconds};
use crate::voice::{Source, Voice};
use crate::watching::Watching;

/// A fork that was opened, and the program's end of it.
pub type Opened = (PortId, ForkRequest, Far);

/// What makes an order senseless: it is refused, with the reason.
pub type Refusal = &'static str;

const UNKNOWN: Refusal = "no such port";

/// One place that can hear and be heard.
#[derive(Debug)]
pub struct Port<D> {
    id: PortId,
    pub heard_by: Vec<Ear>,
    /// In the order in which they were drawn.
    pub hears: Vec<Heard>,
    pub role: Role<D>,
    /// What it says, where somebody hears it in a mix.
    pub voice: Option<Box<Voice>>,
    /// What it hears, where that is a mix.
    pub mixed: Option<Box<Mixed>>,
    /// What is looked for in what it says.
    pub watching: Watching,
    /// The deadline that waits for this port; others in the queue are stale.
    armed: Option<Micros>,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are streams; a box would be one more miss per packet"
)]
pub enum Role<D> {
    Stream(Stream<D>),
    /// Only speaks. One that is on every worker is spoken for by that on the first.
    Player {
        mute: bool,
    },
    /// Only hears.
    Recorder(Box<Recorder>),
    /// Hears and speaks for a program.
    Fork(Box<Fork>),
}

/// Spreads small integers over a hash table; the engine that picks them is no adversary.
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, id: u32) {
        self.write_u64(u64::from(id));
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

/// Boxed, so that the table itself is small enough to stay near the processor.
type ById<D> = HashMap<PortId, Box<Port<D>>, BuildHasherDefault<IdHasher>>;

pub struct Ports<D> {
    worker: u16,
    /// What streams that agree upon keys show of us.
    pub identity: Option<Arc<Identity>>,
    pub ports: ById<D>,
    deadlines: BinaryHeap<Reverse<(Micros, PortId)>>,
    payload_sets: PayloadSets,
    random: Random,
    silence: Micros,
    /// See `Clock::epoch`.
    epoch: Micros,
    pub last_edge: u64,
    /// Ports that have something to do in each tick, and the number of the last one.
    pub mixing: Vec<PortId>,
    pub mixed_to: u64,
    /// Room to work in.
    pub mix: Option<Box<Mix>>,
    pub payload: Vec<u8>,
    pub sides: Box<[Mix; 2]>,
    pub to_write: Vec<ToWriter>,
    forks: Vec<Opened>,
    /// Players that came to an end in this tick.
    pub ended: Vec<PortId>,
    /// The port that is being dealt with: it goes if that cannot be done.
    pub busy: Option<PortId>,
    pub events: Vec<Event>,
}

impl<D: Door> Ports<D> {
    /// `worker` numbers the workers, so that edges keep unique numbers when ports move.
    pub fn new(worker: u16, seed: u64, silence: Micros, epoch: Micros) -> Self {
        Self {
            worker,
            identity: None,
            ports: ById::default(),
            deadlines: BinaryHeap::new(),
            payload_sets: PayloadSets::default(),
            random: Random::new(seed),
            silence,
            epoch,
            last_edge: u64::from(worker) << 48,
            mixing: Vec::new(),
            mixed_to: 0,
            mix: None,
            sides: Box::default(),
            to_write: Vec::new(),
            forks: Vec::new(),
            payload: Vec::new(),
            ended: Vec::new(),
            busy: None,
            events: Vec::new(),
        }
    }

    /// What has happened since this was asked last.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub fn door(&mut self, port: PortId) -> Option<&mut D> {
        self.stream_mut(port).map(|stream| &mut stream.door)
    }

    pub fn stream(&self, port: PortId) -> Option<&Stream<D>> {
        match &self.ports.get(&port)?.role {
            Role::Stream(stream) => Some(stream),
            Role::Player { .. } | Role::Recorder(_) | Role::Fork(_) => None,
        }
    }

    pub fn stream_mut(&mut self, port: PortId) -> Option<&mut Stream<D>> {
        match &mut self.ports.get_mut(&port)?.role {
            Role::Stream(stream) => Some(stream),
            Role::Player { .. } | Role::Recorder(_) | Role::Fork(_) => None,
        }
    }

    fn clock(&self, now: Micros) -> Clock {
        Clock { now, epoch: self.epoch }
    }

    // ------------------------------------------------------------ orders

    /// Do what the engine asks of ports that are, or were, here.
    pub fn command(&mut self, command: &Command, now: Micros) {
        self.busy = command.port();
        self.guard(|ports| ports.command_one(command, now));
    }

    fn command_one(&mut self, command: &Command, now: Micros) {
        let outcome = match command {
            Command::Negotiated(terms) => self.negotiated(terms, now),
            Command::Hear { listener, speaker, gain_db, side } => {
                self.hear((*listener, *speaker), *gain_db, *side, now)
            }
            Command::Unhear { listener, speaker } => {
                self.unhear(*listener, *speaker, now);
                Ok(())
            }
            Command::ClosePort { port } => self.close(*port, now),
            Command::AskReport { port } => self.report(*port, now),
            Command::OpenPlayer { port, call } => {
                self.open_player(*port, *call == EVERYBODY);
                Ok(())
            }
            Command::OpenRecorder { port, request, .. } => {
                self.open_recorder(*port, request, now);
                Ok(())
            }
            Command::OpenFork { port, request, .. } => {
                self.open_fork(*port, request, now);
                Ok(())
            }
            Command::MarkRecording { port, label } => self.recorder(*port, |recorder, to| {
                recorder.mark(label.clone(), to);
            }),
            Command::MaskRecording { port, masked } => self.recorder(*port, |recorder, to| {
                recorder.mask(*masked, to);
            }),
            Command::DetectTones { port, on } => {
                self.watch(*port, |watching| watching.tones(*on, *port, now), now)
            }
            Command::WatchTalking { port, on } => self.watch(
                *port,
                |watching| {
                    watching.talking(*on);
                    None
                },
                now,
            ),
            Command::GuardDigits { port, on } => {
                self.stream_mut(*port).map(|stream| stream.guarded = *on).ok_or(UNKNOWN)
            }
            Command::SendDigits { port, digits } => self.send_digits(*port, digits, now),
            Command::Play { port, request } => self.expect(*port, request.play, now),
            Command::ControlPlayer { port, action } => self.control(*port, *action, now),
            // Opening needs sockets, the rest is not about ports.
            Command::OpenPort { .. }
            | Command::Hello { .. }
            | Command::KeepMemo { .. }
            | Command::DropMemo { .. }
            | Command::AskMemos => Err("not for a worker"),
        };
        if let Err(why) = outcome {
            self.events.push(Event::Refused { tag: command.tag(), why: why.to_owned() });
        }
        self.forget_stale_deadlines();
    }

    pub fn open(&mut self, port: PortId, local: SocketAddr, door: D) {
        let stream = Stream::new(port, local, door, &mut self.random);
        self.insert(port, Role::Stream(stream));
    }

    fn open_player(&mut self, port: PortId, on_every_worker: bool) {
        self.insert(port, Role::Player { mute: on_every_worker && self.worker != 0 });
        if let Some(port) = self.ports.get_mut(&port) {
            port.voice = Some(Box::new(Voice::new(Source::Player(Box::default()))));
        }
    }

    fn insert(&mut self, id: PortId, role: Role<D>) {
        let (heard_by, hears, watching) = (Vec::new(), Vec::new(), Watching::default());
        let port = Port { id, heard_by, hears, role, voice: None, mixed: None, watching, armed: None };
        self.ports.insert(id, Box::new(port));
    }

    fn negotiated(&mut self, terms: &Negotiated, now: Micros) -> Result<(), Refusal> {
        let stream = self.stream(terms.port).ok_or(UNKNOWN)?;
        if stream.local.is_ipv4() != terms.remote_rtp.is_ipv4() {
            return Err("the port and its peer are of different address families");
        }
        let receive = self.payload_sets.get(&terms.receive);
        let send = self.payload_sets.get(&terms.send);
        let mut random = self.random.split();
        let identity = self.identity.clone();
        let stream = self.stream_mut(terms.port).ok_or(UNKNOWN)?;
        stream.settle(terms, receive, send, now, &mut random, identity.as_deref());
        if let Some(port) = self.ports.get_mut(&terms.port) {
            if let Some(playout) = port.voice.as_mut().and_then(|voice| voice.playout_mut()) {
                playout.forget_voices();
            }
            let speakers: Vec<PortId> = port.hears.iter().map(|heard| heard.speaker).collect();
            speakers.into_iter().chain([terms.port]).for_each(|speaker| self.map_payloads(speaker, now));
        }
        self.arm(terms.port);
        Ok(())
    }

    // ------------------------------------------------------------ players

    fn player(&mut self, port: PortId) -> Result<&mut Player, Refusal> {
        self.voice_mut(port).and_then(|voice| voice.player_mut()).ok_or("no such player")
    }

    /// The files of this one are being read: `loaded` follows.
    fn expect(&mut self, port: PortId, play: u64, now: Micros) -> Result<(), Refusal> {
        self.player(port)?.expect(play);
        self.tell_played(port, now);
        self.ended.clear();
        self.refresh_listeners(port, now);
        Ok(())
    }

    /// The files are read; a player that was told something else meanwhile does not play them.
    pub fn loaded(&mut self, port: PortId, play: u64, list: Result<Playlist, Fault>, now: Micros) {
        let Ok(player) = self.player(port) else { return };
        if !player.expects(play) {
            return;
        }
        match list {
            Ok(list) => player.play(list),
            Err(fault) => {
                player.stop(End::Failed);
                if let Some(ended) = player.take_ended() {
                    self.push_played(port, ended, fault, now);
                }
            }
        }
        self.player_changed(port, now);
    }

    fn control(&mut self, port: PortId, action: Action, now: Micros) -> Result<(), Refusal> {
        let player = self.player(port)?;
        match action {
            Action::Stop => player.stop(End::Stopped),
            Action::Pause => player.pause(true),
            Action::Resume => player.pause(false),
            Action::Seek(position) => player.seek(position),
        }
        self.player_changed(port, now);
        Ok(())
    }

    fn player_changed(&mut self, port: PortId, now: Micros) {
        self.tell_played(port, now);
        self.ended.clear();
        if self.player(port).is_ok_and(|player| player.has_end()) {
            self.join_the_mixing(port, now);
        }
        self.refresh_listeners(port, now);
    }

    // ------------------------------------------------------------ digits

    /// Look for something in what a stream says, or no longer.
    fn watch(
        &mut self,
        id: PortId,
        change: impl FnOnce(&mut Watching) -> Option<Event>,
        now: Micros,
    ) -> Result<(), Refusal> {
        self.stream(id).ok_or(UNKNOWN)?;
        let Some(port) = self.ports.get_mut(&id) else { return Err(UNKNOWN) };
        self.events.extend(change(&mut port.watching));
        let anything = port.watching.is_anything();
        self.keep_voice(id);
        if anything {
            self.join_the_mixing(id, now);
        }
        Ok(())
    }

    fn send_digits(
        &mut self,
        port: PortId,
        digits: &[(Box<str>, Micros)],
        now: Micros,
    ) -> Result<(), Refusal> {
        let stream = self.stream_mut(port).ok_or(UNKNOWN)?;
        let understood = stream.press(digits, now);
        self.arm(port);
        if understood {
            Ok(())
        } else {
            Err("no such digit, too many of them, or the peer takes no telephone-events")
        }
    }

    // ------------------------------------------------------------ recorders

    fn open_recorder(&mut self, port: PortId, request: &RecordRequest, now: Micros) {
        self.insert(port, Role::Recorder(Box::new(Recorder::new(port, request))));
        self.to_write.push(ToWriter::Open { port, request: Box::new(request.clone()) });
        self.join_the_mixing(port, now);
    }

    fn recorder(
        &mut self,
        port: PortId,
        work: impl FnOnce(&mut Recorder, &mut Vec<ToWriter>),
    ) -> Result<(), Refusal> {
        match self.ports.get_mut(&port).map(|port| &mut port.role) {
            Some(Role::Recorder(recorder)) => {
                work(recorder, &mut self.to_write);
                Ok(())
            }
            _ => Err("no such recorder"),
        }
    }

    fn open_fork(&mut self, port: PortId, request: &ForkRequest, now: Micros) {
        let (fork, guest, far) = fork::link(request.rate);
        self.insert(port, Role::Fork(Box::new(fork)));
        if let Some(port) = self.ports.get_mut(&port) {
            port.voice = Some(Box::new(Voice::new(Source::Guest(Box::new(guest)))));
        }
        self.forks.push((port, request.clone(), far));
        self.join_the_mixing(port, now);
    }

    /// The far ends of forks that were opened since this was asked last: somebody must carry sound to and fro.
    pub fn take_forks(&mut self) -> Vec<Opened> {
        std::mem::take(&mut self.forks)
    }

    /// What recordings have for the writer since this was asked last.
    pub fn take_to_write(&mut self) -> Vec<ToWriter> {
        std::mem::take(&mut self.to_write)
    }

    // ------------------------------------------------------------ the end of ports

    fn close(&mut self, port: PortId, now: Micros) -> Result<(), Refusal> {
        let clock = self.clock(now);
        if let Ok(player) = self.player(port) {
            player.stop(End::Stopped);
            self.tell_played(port, now);
            self.ended.clear();
        }
        let _ = self.recorder(port, Recorder::close);
        let mut closed = self.remove(port, now).ok_or(UNKNOWN)?;
        let report = match &mut closed.role {
            Role::Stream(stream) => {
                stream.close(clock, &mut self.events);
                stream.report(true, now)
            }
            Role::Player { .. } | Role::Recorder(_) | Role::Fork(_) => {
                Report { port, closed: true, clock_s: to_seconds(now), ..Report::default() }
            }
        };
        if !matches!(closed.role, Role::Player { mute: true }) {
            self.events.push(Event::Report(Box::new(heard(report, closed.voice.as_deref()))));
        }
        Ok(())
    }

    /// Do `work`; a bug in it may cost the port that met it, never the others.
    pub fn guard(&mut self, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err()
            && let Some(port) = self.busy
        {
            self.fail(port, "internal fault, see the log", 0);
        }
    }

    /// Take a port away that broke.
    pub fn fail(&mut self, port: PortId, why: &str, now: Micros) {
        if self.remove(port, now).is_some() {
            self.events.push(Event::PortFailed { port, why: why.to_owned() });
        }
    }

    fn remove(&mut self, port: PortId, now: Micros) -> Option<Box<Port<D>>> {
        let listeners: Vec<PortId> = self.ports.get(&port)?.heard_by.iter().map(|ear| ear.listener).collect();
        listeners.into_iter().for_each(|listener| self.unhear(listener, port, now));
        let speakers: Vec<PortId> = self.ports.get(&port)?.hears.iter().map(|heard| heard.speaker).collect();
        speakers.into_iter().for_each(|speaker| self.unhear(port, speaker, now));
        self.mixing.retain(|known| *known != port);
        self.ports.remove(&port)
    }

    fn report(&mut self, port: PortId, now: Micros) -> Result<(), Refusal> {
        let known = self.ports.get(&port).ok_or(UNKNOWN)?;
        let report = match &known.role {
            Role::Stream(stream) => stream.report(false, now),
            Role::Player { .. } | Role::Recorder(_) | Role::Fork(_) => {
                Report { port, clock_s: to_seconds(now), ..Report::default() }
            }
        };
        let report = heard(report, known.voice.as_deref());
        self.events.push(Event::Report(Box::new(report)));
        Ok(())
    }

    // ------------------------------------------------------------ packets

    /// A datagram came to `component` of `port`. Its header is overwritten on the way.
    pub fn receive(
        &mut self,
        port: PortId,
        component: Component,
        from: SocketAddr,
        data: &mut [u8],
        now: Micros,
    ) {
        self.busy = Some(port);
        self.guard(|ports| ports.receive_one(port, component, from, data, now));
    }

    fn receive_one(
        &mut self,
        port: PortId,
        component: Component,
        from: SocketAddr,
        data: &mut [u8],
        now: Micros,
    ) {
        let clock = self.clock(now);
        let Some(known) = self.ports.get_mut(&port) else { return };
        let Role::Stream(stream) = &mut known.role else { return };
        if component == Component::Rtcp {
            stream.take_rtcp(component, from, data, clock);
            return;
        }
        let (sent_before, told) = (stream.sends(), self.events.len());
        let taken = stream.take(from, data, clock, &mut self.events);
        let has_digit = stream.has_digit() || stream.is_shaking_hands();
        let changed = stream.sends() != sent_before;
        if let Some(voice) = &mut known.voice
            && let Some(Taken::Rtp { packet, run, .. }) = &taken
            && let Some(settled) = &stream.settled
        {
            voice.put(packet, packet.payload(data), *run, &settled.receive, now);
        }
        if has_digit {
            self.arm(port);
        }
        if self.events.len() > told {
            self.digits_end_playing(port, told, now);
        }
        if changed {
            self.refresh_listeners(port, now);
        }
        if let Some(taken) = taken {
            self.pass(port, &taken, data, now);
        }
    }

    pub fn digits_end_playing(&mut self, port: PortId, told: usize, now: Micros) {
        let pressed = self.events.iter().skip(told).filter_map(|event| match event {
            Event::Digit { digit, ended: false, .. } => Some(*digit),
            _ => None,
        });
        let pressed: Vec<&str> = pressed.collect();
        pressed.into_iter().for_each(|digit| self.end_by_digit(port, digit, now));
    }

    /// Let everyone who hears `speaker` hear this packet.
    fn pass(&mut self, speaker: PortId, taken: &Taken, data: &mut [u8], now: Micros) {
        let place = if let Taken::Rtp { payload, .. } = taken { *payload } else { 0 };
        let is_event = matches!(taken, Taken::Rtp { meaning: Meaning { kind: Kind::Event, .. }, .. });
        let is_guarded = is_event && self.stream(speaker).is_some_and(|stream| stream.guarded);
        let mut next = 0;
        while let Some(ear) = self.ports.get(&speaker).and_then(|port| port.heard_by.get(next)) {
            next += 1;
            let payload_type = ear.payloads.get(place);
            let (listener, edge, mixed) = (ear.listener, ear.edge, ear.mixed);
            if mixed && !is_event {
                continue;
            }
            self.busy = Some(listener);
            let Some(to) = self.ports.get_mut(&listener) else { continue };
            let Role::Stream(stream) = &mut to.role else { continue };
            let Some(drawn_at) = choose(&mut to.hears, edge, now, mixed) else { continue };
            if is_guarded {
                continue;
            }
            if mixed {
                stream.put_between((edge, drawn_at), taken, payload_type, data);
            } else if !stream.pass((edge, drawn_at), taken, payload_type, data, now)
                && let Some(from) = self.stream_mut(speaker)
            {
                from.refuse();
            }
        }
    }

    // ------------------------------------------------------------ time

    /// When `tick` is next due.
    pub fn next_deadline(&self) -> Option<Micros> {
        let own = self.deadlines.peek().map(|Reverse((at, _))| *at);
        own.into_iter().chain(self.mixing_due()).min()
    }

    /// Do all that is due.
    pub fn tick(&mut self, now: Micros) {
        if self.mixing_due().is_some_and(|due| due <= now) {
            self.mix_all(now);
            self.refresh_ended(now);
        }
        while let Some(Reverse((at, id))) =
            self.deadlines.peek().copied().filter(|Reverse((at, _))| *at <= now)
        {
            self.deadlines.pop();
            if self.is_armed(id, at) {
                self.busy = Some(id);
                self.guard(|ports| ports.tick_one(id, now));
            }
            self.forget_stale_deadlines();
        }
    }

    fn is_armed(&self, port: PortId, at: Micros) -> bool {
        self.ports.get(&port).is_some_and(|port| port.armed == Some(at))
    }

    fn forget_stale_deadlines(&mut self) {
        while self.deadlines.peek().is_some_and(|Reverse((at, port))| !self.is_armed(*port, *at)) {
            self.deadlines.pop();
        }
    }

    fn tick_one(&mut self, id: PortId, now: Micros) {
        let clock = self.clock(now);
        let Some(port) = self.ports.get_mut(&id) else { return };
        port.armed = None;
        match &mut port.role {
            Role::Stream(stream) => stream.tick(self.silence, clock, &mut self.random, &mut self.events),
            Role::Player { .. } | Role::Recorder(_) | Role::Fork(_) => {}
        }
        self.arm(id);
    }

    /// Make sure that `tick` comes in time for this port.
    fn arm(&mut self, id: PortId) {
        let silence = self.silence;
        let Some(port) = self.ports.get_mut(&id) else { return };
        let deadline = match &port.role {
            Role::Stream(stream) => stream.deadline(silence),
            Role::Player { .. } | Role::Recorder(_) | Role::Fork(_) => None,
        };
        if let Some(at) = deadline
            && port.armed.is_none_or(|armed| at < armed)
        {
            port.armed = Some(at);
            self.deadlines.push(Reverse((at, id)));
        }
    }

    // ------------------------------------------------------------ moving to another worker

    /// Give away ports as they are, to be adopted by another worker. Their edges must stay among them, but for
    /// those to players that are on every worker.
    pub fn release(&mut self, ids: &[PortId]) -> Vec<Port<D>> {
        let released: Vec<Port<D>> =
            ids.iter().filter_map(|id| self.ports.remove(id)).map(|port| *port).collect();
        for port in &released {
            // Players that are on every worker stay.
            for heard in &port.hears {
                if let Some(speaker) = self.ports.get_mut(&heard.speaker) {
                    speaker.heard_by.retain(|ear| ear.listener != port.id);
                }
            }
        }
        self.mixing.retain(|known| !ids.contains(known));
        self.forget_stale_deadlines();
        released
    }

    /// All ports that hear this one, or that it hears, must be adopted too before anything else is done.
    pub fn adopt(&mut self, mut port: Port<D>, now: Micros) {
        let id = port.id;
        port.armed = None;
        if port.mixed.is_some() || port.watching.is_anything() || !matches!(port.role, Role::Stream(_)) {
            self.join_the_mixing(id, now);
        }
        for heard in &port.hears {
            if let Some(speaker) = self.ports.get_mut(&heard.speaker)
                && speaker.heard_by.iter().all(|ear| ear.edge != heard.edge)
            {
                speaker.heard_by.push(Ear::of_player(id, heard.edge, port.mixed.is_some()));
            }
        }
        self.ports.insert(id, Box::new(port));
        self.arm(id);
    }
}

impl<D: Door> Port<D> {
    pub fn id(&self) -> PortId {
        self.id
    }

    pub fn door(&mut self) -> Option<&mut D> {
        match &mut self.role {
            Role::Stream(stream) => Some(&mut stream.door),
            Role::Player { .. } | Role::Recorder(_) | Role::Fork(_) => None,
        }
    }
}

/// What decoding adds to a report.
fn heard(mut report: Report, voice: Option<&Voice>) -> Report {
    if let Some(playout) = voice.and_then(|voice| voice.playout()) {
        report.delay_ms = to_seconds(playout.waiting()) * 1000.0;
        report.concealed_ms = to_seconds(playout.concealed) * 1000.0;
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Side;
    use crate::payload::Payload;
    use crate::rtp::{HEADER, Header};
    use crate::time::SECOND;
    use std::cell::Cell;
    use std::rc::Rc;

    /// Counts what is sent, and panics where it shall.
    struct Trap {
        sent: Rc<Cell<u32>>,
        armed: bool,
    }

    impl Door for Trap {
        fn send(&self, _: Component, _: SocketAddr, _: &[u8]) {
            assert!(!self.armed, "as the test wants it");
            self.sent.set(self.sent.get() + 1);
        }

        fn peer_found(&mut self, _: SocketAddr) {}
    }

    fn peer(port: PortId) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 4000 + port as u16))
    }

    fn packet(sequence: u16) -> [u8; HEADER] {
        let mut data = [0; HEADER];
        Header { marker: false, payload_type: 0, sequence, timestamp: 0, ssrc: 1 }.write(&mut data);
        data
    }

    /// Ports 1, 2, 3, where 2 and 3 hear 1, and all of them `trapped` as told.
    fn room(trapped: [bool; 3]) -> (Ports<Trap>, Rc<Cell<u32>>) {
        let sent = Rc::new(Cell::new(0));
        let mut ports = Ports::new(0, 1, 15 * SECOND, 0);
        let pcmu = Payload {
            payload_type: 0,
            name: "pcmu".into(),
            clock_rate_hz: 8000,
            channels: 1,
            fmtp: "".into(),
        };
        for (port, armed) in (1..).zip(trapped) {
            ports.open(port, peer(100 + port), Trap { sent: sent.clone(), armed });
            let terms = Negotiated {
                port,
                remote_rtp: peer(port),
                remote_rtcp: None,
                peer_sends: true,
                peer_receives: true,
                receive: vec![pcmu.clone()],
                send: vec![pcmu.clone()],
                udptl: false,
                ptime_ms: 20,
                security: None,
                ice: None,
            };
            ports.command(&Command::Negotiated(Box::new(terms)), 0);
        }
        ports.command(&Command::Hear { listener: 2, speaker: 1, gain_db: 0.0, side: Side::Both }, 0);
        ports.command(&Command::Hear { listener: 3, speaker: 1, gain_db: 0.0, side: Side::Both }, 0);
        (ports, sent)
    }

    #[test]
    fn a_panic_costs_the_port_that_met_it_and_no_other() {
        let (mut ports, sent) = room([false, true, false]);
        ports.receive(1, Component::Rtp, peer(1), &mut packet(1), 1);
        let failed = |event: &Event| matches!(event, Event::PortFailed { port: 2, .. });
        assert!(ports.take_events().iter().any(failed));
        ports.receive(1, Component::Rtp, peer(1), &mut packet(2), 2);
        assert_eq!(sent.get(), 1, "port 3 hears on");
        assert!(!ports.take_events().iter().any(failed));
    }

    #[test]
    fn a_port_that_closes_leaves_no_edge_behind() {
        let (mut ports, _) = room([false; 3]);
        ports.command(&Command::ClosePort { port: 2 }, 1);
        assert_eq!(ports.ports[&1].heard_by.len(), 1);
        ports.command(&Command::ClosePort { port: 1 }, 2);
        assert!(ports.ports[&3].hears.is_empty());
    }

    #[test]
    fn a_port_is_small() {
        let size = size_of::<Port<()>>();
        assert!(size <= 1024, "{size} bytes");
    }
}
