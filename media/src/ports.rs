//! The ports of one worker, and who hears whom: packets and orders in, packets and events out.
//!
//! Knows no socket and no clock. A packet goes from the port where it came in to each port that hears it, in
//! one call, without a copy of its payload. Mixing, playing and recording are further roles of a port.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::messages::{Command, Event, Negotiated, PortId, Report};
use crate::payload::{Kind, Meaning, PayloadMap, PayloadSets};
use crate::random::Random;
use crate::rtp::{HEADER, Header, Packet};
use crate::stream::{Component, Door, Stream, Taken};
use crate::time::{Clock, Micros, to_seconds};
use crate::tone::{Law, SAMPLES, Tone};

/// What makes an order senseless: it is refused, with the reason.
pub type Refusal = &'static str;

const UNKNOWN: Refusal = "no such port";

/// An edge, at its speaker.
#[derive(Debug)]
struct Ear {
    listener: PortId,
    edge: u64,
    payloads: PayloadMap,
}

/// One place that can hear and be heard.
#[derive(Debug)]
pub struct Port<D> {
    id: PortId,
    heard_by: Vec<Ear>,
    role: Role<D>,
    /// The deadline that waits for this port; others in the queue are stale.
    armed: Option<Micros>,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are streams; a box would be one more miss per packet"
)]
enum Role<D> {
    Stream(Stream<D>),
    Tone(Tone),
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
    ports: ById<D>,
    deadlines: BinaryHeap<Reverse<(Micros, PortId)>>,
    payload_sets: PayloadSets,
    random: Random,
    silence: Micros,
    /// See `Clock::epoch`.
    epoch: Micros,
    last_edge: u64,
    /// The port that is being dealt with: it goes if that cannot be done.
    busy: Option<PortId>,
    events: Vec<Event>,
}

impl<D: Door> Ports<D> {
    /// `worker` numbers the workers, so that edges keep unique numbers when ports move.
    pub fn new(worker: u16, seed: u64, silence: Micros, epoch: Micros) -> Self {
        Self {
            ports: ById::default(),
            deadlines: BinaryHeap::new(),
            payload_sets: PayloadSets::default(),
            random: Random::new(seed),
            silence,
            epoch,
            last_edge: u64::from(worker) << 48,
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

    fn stream(&self, port: PortId) -> Option<&Stream<D>> {
        match &self.ports.get(&port)?.role {
            Role::Stream(stream) => Some(stream),
            Role::Tone(_) => None,
        }
    }

    fn stream_mut(&mut self, port: PortId) -> Option<&mut Stream<D>> {
        match &mut self.ports.get_mut(&port)?.role {
            Role::Stream(stream) => Some(stream),
            Role::Tone(_) => None,
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
            Command::Hear { listener, speaker } => self.hear(*listener, *speaker, now),
            Command::Unhear { listener, speaker } => {
                self.unhear(*listener, *speaker);
                Ok(())
            }
            Command::ClosePort { port } => self.close(*port, now),
            Command::AskReport { port } => self.report(*port, now),
            Command::OpenTone { port, frequency_hz, level_dbov, .. } => {
                self.open_tone(*port, *frequency_hz, *level_dbov);
                Ok(())
            }
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

    fn open_tone(&mut self, port: PortId, frequency_hz: f64, level_dbov: f64) {
        self.insert(port, Role::Tone(Tone::new(frequency_hz, level_dbov)));
    }

    fn insert(&mut self, id: PortId, role: Role<D>) {
        self.ports.insert(id, Box::new(Port { id, heard_by: Vec::new(), role, armed: None }));
    }

    fn negotiated(&mut self, terms: &Negotiated, now: Micros) -> Result<(), Refusal> {
        let stream = self.stream(terms.port).ok_or(UNKNOWN)?;
        if stream.local.is_ipv4() != terms.remote_rtp.is_ipv4() {
            return Err("the port and its peer are of different address families");
        }
        let receive = self.payload_sets.get(&terms.receive);
        let send = self.payload_sets.get(&terms.send);
        let mut random = self.random.split();
        let stream = self.stream_mut(terms.port).ok_or(UNKNOWN)?;
        stream.settle(terms, receive, send, now, &mut random);
        let speakers: Vec<PortId> = stream.hears.iter().map(|heard| heard.speaker).collect();
        speakers.into_iter().chain([terms.port]).for_each(|speaker| self.map_payloads(speaker));
        self.arm(terms.port);
        Ok(())
    }

    /// Find out again what the payloads of a speaker are called by its listeners.
    fn map_payloads(&mut self, speaker: PortId) {
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
    }

    fn payload_map(&self, speaker: PortId, listener: PortId) -> PayloadMap {
        let received = self.stream(speaker).and_then(|stream| stream.settled.as_ref());
        let accepted = self.stream(listener).and_then(|stream| stream.settled.as_ref());
        received.zip(accepted).map_or_else(PayloadMap::default, |(from, to)| from.receive.map_to(&to.send))
    }

    fn hear(&mut self, listener: PortId, speaker: PortId, now: Micros) -> Result<(), Refusal> {
        let Some(ear) = self.stream(listener) else { return Err("the listener is no open stream") };
        if ear.hears.iter().any(|heard| heard.speaker == speaker) {
            return Ok(());
        }
        let payloads = self.payload_map(speaker, listener);
        self.last_edge += 1;
        let edge = self.last_edge;
        let Some(port) = self.ports.get_mut(&speaker) else { return Err("the speaker is no open port") };
        port.heard_by.push(Ear { listener, edge, payloads });
        if let Role::Tone(tone) = &mut port.role {
            tone.start(now);
        }
        if let Some(stream) = self.stream_mut(listener) {
            stream.draw(speaker, edge, now);
        }
        self.arm(speaker);
        Ok(())
    }

    fn unhear(&mut self, listener: PortId, speaker: PortId) {
        if let Some(stream) = self.stream_mut(listener) {
            stream.hears.retain(|heard| heard.speaker != speaker);
        }
        if let Some(port) = self.ports.get_mut(&speaker) {
            port.heard_by.retain(|ear| ear.listener != listener);
            if let Role::Tone(tone) = &mut port.role
                && port.heard_by.is_empty()
            {
                tone.due = None;
            }
        }
    }

    fn close(&mut self, port: PortId, now: Micros) -> Result<(), Refusal> {
        let clock = self.clock(now);
        let mut closed = self.remove(port).ok_or(UNKNOWN)?;
        let report = match &mut closed.role {
            Role::Stream(stream) => {
                stream.close(clock, &mut self.events);
                stream.report(true, now)
            }
            Role::Tone(_) => tone_report(port, true, now),
        };
        self.events.push(report);
        Ok(())
    }

    /// Do `work`; a bug in it may cost the port that met it, never the others.
    fn guard(&mut self, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err()
            && let Some(port) = self.busy
        {
            self.fail(port, "internal fault, see the log");
        }
    }

    /// Take a port away that broke.
    pub fn fail(&mut self, port: PortId, why: &str) {
        if self.remove(port).is_some() {
            self.events.push(Event::PortFailed { port, why: why.to_owned() });
        }
    }

    fn remove(&mut self, port: PortId) -> Option<Box<Port<D>>> {
        let removed = self.ports.remove(&port)?;
        for ear in &removed.heard_by {
            if let Some(stream) = self.stream_mut(ear.listener) {
                stream.hears.retain(|heard| heard.speaker != port);
            }
        }
        if let Role::Stream(stream) = &removed.role {
            for heard in &stream.hears {
                self.unhear(port, heard.speaker);
            }
        }
        Some(removed)
    }

    fn report(&mut self, port: PortId, now: Micros) -> Result<(), Refusal> {
        let report = match &self.ports.get(&port).ok_or(UNKNOWN)?.role {
            Role::Stream(stream) => stream.report(false, now),
            Role::Tone(_) => tone_report(port, false, now),
        };
        self.events.push(report);
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
        let Some(Role::Stream(stream)) = self.ports.get_mut(&port).map(|port| &mut port.role) else { return };
        if component == Component::Rtcp {
            stream.take_rtcp(component, from, data, clock);
            return;
        }
        let taken = stream.take(from, data, clock, &mut self.events);
        if stream.has_digit() {
            self.arm(port);
        }
        if let Some(taken) = taken {
            self.pass(port, &taken, data, now);
        }
    }

    /// Let everyone who hears `speaker` hear this packet.
    fn pass(&mut self, speaker: PortId, taken: &Taken, data: &mut [u8], now: Micros) {
        let place = if let Taken::Rtp { payload, .. } = taken { *payload } else { 0 };
        let mut next = 0;
        while let Some(ear) = self.ports.get(&speaker).and_then(|port| port.heard_by.get(next)) {
            next += 1;
            let payload_type = ear.payloads.get(place);
            let (listener, edge) = (ear.listener, ear.edge);
            self.busy = Some(listener);
            let understood =
                self.stream_mut(listener).is_none_or(|to| to.hear(edge, taken, payload_type, data, now));
            if !understood && let Some(from) = self.stream_mut(speaker) {
                from.refuse();
            }
        }
    }

    // ------------------------------------------------------------ time

    /// When `tick` is next due.
    pub fn next_deadline(&self) -> Option<Micros> {
        self.deadlines.peek().map(|Reverse((at, _))| *at)
    }

    /// Do all that is due.
    pub fn tick(&mut self, now: Micros) {
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
            Role::Tone(_) => self.speak_tone(id, now),
        }
        self.arm(id);
    }

    /// Make sure that `tick` comes in time for this port.
    fn arm(&mut self, id: PortId) {
        let silence = self.silence;
        let Some(port) = self.ports.get_mut(&id) else { return };
        let deadline = match &port.role {
            Role::Stream(stream) => stream.deadline(silence),
            Role::Tone(tone) => tone.due,
        };
        if let Some(at) = deadline
            && port.armed.is_none_or(|armed| at < armed)
        {
            port.armed = Some(at);
            self.deadlines.push(Reverse((at, id)));
        }
    }

    fn speak_tone(&mut self, id: PortId, now: Micros) {
        let Some(Role::Tone(tone)) = self.ports.get_mut(&id).map(|port| &mut port.role) else { return };
        let Some(samples) = tone.frame(now) else { return };
        let (sequence, timestamp) = (tone.sequence, tone.timestamp);
        let header = Header { marker: false, payload_type: 0, sequence, timestamp, ssrc: 0 };
        let mut next = 0;
        while let Some(ear) = self.ports.get(&id).and_then(|port| port.heard_by.get(next)) {
            next += 1;
            let (listener, edge) = (ear.listener, ear.edge);
            self.busy = Some(listener);
            self.speak_frame(listener, edge, &samples, header, now);
        }
    }

    fn speak_frame(
        &mut self,
        listener: PortId,
        edge: u64,
        samples: &[i16; SAMPLES],
        header: Header,
        now: Micros,
    ) {
        let Some(stream) = self.stream_mut(listener) else { return };
        let accepted = stream.settled.iter().flat_map(|settled| settled.send.iter());
        let spoken = accepted.filter(|payload| payload.clock_rate_hz == 8000);
        let Some((law, number)) =
            spoken.filter_map(|payload| Some((Law::of(&payload.name)?, payload.payload_type))).next()
        else {
            return;
        };
        let mut data = [0; HEADER + SAMPLES];
        let (head, payload) = data.split_at_mut(HEADER);
        payload.copy_from_slice(&law.encode(samples));
        let Some(()) = head.first_chunk_mut().map(|head| header.write(head)) else { return };
        let Some(packet) = Packet::parse(&data) else { return };
        let meaning = Meaning { clock_rate_hz: 8000, kind: Kind::Sound };
        let taken = Taken::Rtp { packet, payload: 0, meaning, run: 0, began_at: now };
        stream.hear(edge, &taken, number, &mut data, now);
    }

    // ------------------------------------------------------------ moving to another worker

    /// Give away ports as they are, to be adopted by another worker. Their edges must stay among them.
    pub fn release(&mut self, ids: &[PortId]) -> Vec<Port<D>> {
        let released = ids.iter().filter_map(|id| self.ports.remove(id)).map(|port| *port).collect();
        self.forget_stale_deadlines();
        released
    }

    /// All ports that hear this one, or that it hears, must be adopted too before anything else is done.
    pub fn adopt(&mut self, mut port: Port<D>) {
        let id = port.id;
        port.armed = None;
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
            Role::Tone(_) => None,
        }
    }
}

fn tone_report(port: PortId, closed: bool, now: Micros) -> Event {
    Event::Report(Box::new(Report { port, closed, clock_s: to_seconds(now), ..Report::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;
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
            };
            ports.command(&Command::Negotiated(Box::new(terms)), 0);
        }
        ports.command(&Command::Hear { listener: 2, speaker: 1 }, 0);
        ports.command(&Command::Hear { listener: 3, speaker: 1 }, 0);
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
        assert!(ports.stream(3).is_some_and(|stream| stream.hears.is_empty()));
    }

    #[test]
    fn a_port_is_small() {
        let size = size_of::<Port<()>>();
        assert!(size <= 1024, "{size} bytes");
    }
}
