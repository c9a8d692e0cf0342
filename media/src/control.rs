//! What an engine may ask, and what becomes of its calls when it is gone.
//!
//! Turns the messages of one engine at a time into steps for the workers: keeps the memos, gives each call a
//! worker, brings ports that hear each other onto one worker, and counts the time without an engine. Knows no
//! socket, thread or clock.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::messages::{CallId, Command, Event, PortId, VERSION, read_frame};
use crate::time::{Micros, from_seconds};

/// Faults of one frame that are told one by one; a frame with more is not worth reading on.
const MOST_FAULTS: usize = 100;
const LONGEST_ORPHAN_S: f64 = 86_400.0;

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A worker shall do this. `OpenPort` may fail: then `port_failed` is due.
    Order { worker: usize, command: Command },
    /// These ports, all that hear each other, go to another worker before anything else happens to them.
    Move { from: usize, to: usize, ports: Vec<PortId> },
    /// The engine shall know.
    Tell(Event),
    /// The engine's connection shall end once everything was told.
    HangUp,
}

#[derive(Debug)]
struct KnownPort {
    call: CallId,
    group: GroupId,
    local: Option<SocketAddr>,
}

type GroupId = u64;

/// Players of this call are on every worker at once, so that whoever hears them need not move.
pub const EVERYBODY: CallId = 0;
const ON_EVERY_WORKER: GroupId = 0;

/// Calls that were ever joined, and so must share a worker.
#[derive(Debug)]
struct Group {
    worker: usize,
    calls: Vec<CallId>,
    ports: Vec<PortId>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Engine {
    /// None is connected, or none that said Hello; at that time all ports close.
    Gone { close_at: Option<Micros> },
    /// It said Hello.
    Known,
}

#[derive(Debug)]
pub struct Control {
    first_rtp_port: u16,
    last_rtp_port: u16,
    /// Ports on each worker.
    load: Vec<usize>,
    ports: HashMap<PortId, KnownPort>,
    groups: HashMap<GroupId, Group>,
    group_of_call: HashMap<CallId, GroupId>,
    last_group: GroupId,
    memos: HashMap<CallId, Vec<u8>>,
    engine: Engine,
    orphan: Micros,
    /// Of the certificate that streams are secured with.
    fingerprint: String,
}

type Refusal = &'static str;

impl Control {
    pub fn new(first_rtp_port: u16, last_rtp_port: u16, workers: usize, fingerprint: &str) -> Self {
        Self {
            first_rtp_port,
            last_rtp_port,
            load: vec![0; workers],
            ports: HashMap::new(),
            groups: HashMap::new(),
            group_of_call: HashMap::new(),
            last_group: 0,
            memos: HashMap::new(),
            engine: Engine::Gone { close_at: None },
            orphan: 0,
            fingerprint: fingerprint.to_owned(),
        }
    }

    // ------------------------------------------------------------ the engine comes and goes

    pub fn disconnected(&mut self, now: Micros) {
        self.engine = Engine::Gone { close_at: Some(now + self.orphan) };
    }

    /// Whether events may be told.
    pub fn has_engine(&self) -> bool {
        self.engine == Engine::Known
    }

    pub fn next_deadline(&self) -> Option<Micros> {
        if let Engine::Gone { close_at } = self.engine { close_at } else { None }
    }

    /// Close everything when no engine came back in time.
    pub fn tick(&mut self, now: Micros) -> Vec<Step> {
        if self.next_deadline().is_none_or(|at| now < at) {
            return Vec::new();
        }
        self.engine = Engine::Gone { close_at: None };
        self.close_all()
    }

    /// Close all ports and forget all memos.
    pub fn close_all(&mut self) -> Vec<Step> {
        self.memos.clear();
        let mut ports: Vec<PortId> = self.ports.keys().copied().collect();
        ports.sort_unstable();
        ports.into_iter().filter_map(|port| self.close(port).ok()).collect()
    }

    // ------------------------------------------------------------ messages

    /// Read one frame's body and say what is to be done.
    pub fn handle(&mut self, body: &[u8]) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut faults = 0;
        for message in read_frame(body) {
            let (tag, outcome) = match message {
                Ok(command) => (command.tag(), self.command(command, &mut steps)),
                Err((tag, why)) => (tag, Err(why)),
            };
            if let Err(why) = outcome {
                steps.push(refused(tag, why));
                faults += 1;
            }
            if faults == MOST_FAULTS {
                break;
            }
        }
        steps
    }

    fn command(&mut self, command: Command, steps: &mut Vec<Step>) -> Result<(), Refusal> {
        if let Command::Hello { version, orphan_s } = command {
            self.hello(version, orphan_s, steps);
            return Ok(());
        }
        if self.engine != Engine::Known {
            return Err("Hello comes first");
        }
        match command {
            Command::OpenPort { port, call, local } => {
                let worker = self.open(port, call, Some(local))?;
                steps.push(Step::Order { worker, command });
            }
            Command::OpenPlayer { port, call: EVERYBODY } => {
                if self.ports.contains_key(&port) {
                    return Err("the port is open already");
                }
                let shared = KnownPort { call: EVERYBODY, group: ON_EVERY_WORKER, local: None };
                self.ports.insert(port, shared);
                self.everywhere(&command, steps);
            }
            Command::OpenPlayer { port, call } => {
                let worker = self.open(port, call, None)?;
                steps.push(Step::Order { worker, command });
            }
            Command::OpenRecorder { port, call, .. } | Command::OpenFork { port, call, .. } => {
                let worker = self.open(port, call, None)?;
                steps.push(Step::Order { worker, command });
            }
            Command::MarkRecording { port, .. }
            | Command::MaskRecording { port, .. }
            | Command::DetectTones { port, .. }
            | Command::WatchTalking { port, .. }
            | Command::GuardDigits { port, .. }
            | Command::SendDigits { port, .. } => {
                steps.push(Step::Order { worker: self.worker_of(port)?, command });
            }
            Command::Hear { listener, speaker, .. } => {
                steps.extend(self.join(listener, speaker)?);
                steps.push(Step::Order { worker: self.worker_of(listener)?, command });
            }
            Command::Unhear { listener, speaker } => {
                // Ports that do not share a worker do not hear each other, and a closed one hears nobody.
                let workers = (self.worker_of(listener), self.worker_of(speaker));
                if let (Ok(worker), Ok(other)) = workers
                    && (worker == other || self.is_on_every_worker(speaker))
                {
                    steps.push(Step::Order { worker, command });
                }
            }
            Command::Negotiated(ref terms) => {
                let worker = self.worker_of(terms.port)?;
                steps.push(Step::Order { worker, command });
            }
            Command::Play { port, .. } | Command::ControlPlayer { port, .. }
                if self.is_on_every_worker(port) =>
            {
                self.everywhere(&command, steps);
            }
            Command::Play { port, .. } | Command::ControlPlayer { port, .. } => {
                steps.push(Step::Order { worker: self.worker_of(port)?, command });
            }
            Command::AskReport { port } => {
                steps.push(Step::Order { worker: self.worker_of(port)?, command });
            }
            Command::ClosePort { port } if self.is_on_every_worker(port) => {
                self.ports.remove(&port);
                self.everywhere(&command, steps);
            }
            Command::ClosePort { port } => steps.push(self.close(port)?),
            Command::KeepMemo { call, memo } => {
                self.memos.insert(call, memo);
            }
            Command::DropMemo { call } => {
                self.memos.remove(&call);
            }
            Command::AskMemos => steps.push(Step::Tell(self.memos())),
            Command::Hello { .. } => {}
        }
        Ok(())
    }

    fn hello(&mut self, version: u64, orphan_s: f64, steps: &mut Vec<Step>) {
        steps.push(Step::Tell(Event::Welcome {
            rtp_ports: (self.first_rtp_port, self.last_rtp_port),
            workers: self.load.len(),
            open_ports: self.ports.len(),
            fingerprint: self.fingerprint.clone(),
        }));
        if version == VERSION {
            self.engine = Engine::Known;
            self.orphan = from_seconds(orphan_s.clamp(0.0, LONGEST_ORPHAN_S));
        } else {
            steps.push(Step::HangUp);
        }
    }

    fn memos(&self) -> Event {
        let mut memos: Vec<_> = self.memos.iter().map(|(call, memo)| (*call, memo.clone())).collect();
        let mut ports: Vec<_> =
            self.ports.iter().map(|(port, known)| (*port, known.call, known.local)).collect();
        memos.sort_unstable();
        ports.sort_unstable();
        Event::Memos { memos, ports }
    }

    // ------------------------------------------------------------ ports and workers

    fn open(&mut self, port: PortId, call: CallId, local: Option<SocketAddr>) -> Result<usize, Refusal> {
        if self.ports.contains_key(&port) {
            return Err("the port is open already");
        }
        let group_id = self.group_of(call);
        let group = self.groups.get_mut(&group_id).ok_or("the call has no group")?;
        group.ports.push(port);
        self.ports.insert(port, KnownPort { call, group: group_id, local });
        let worker = group.worker;
        self.carry(worker, 1);
        Ok(worker)
    }

    /// The group of a call; a new call goes to the worker with the fewest ports.
    fn group_of(&mut self, call: CallId) -> GroupId {
        if let Some(known) = self.group_of_call.get(&call) {
            return *known;
        }
        let worker = (0..self.load.len()).min_by_key(|worker| self.load.get(*worker)).unwrap_or(0);
        self.last_group += 1;
        self.groups.insert(self.last_group, Group { worker, calls: vec![call], ports: Vec::new() });
        self.group_of_call.insert(call, self.last_group);
        self.last_group
    }

    fn carry(&mut self, worker: usize, ports: isize) {
        if let Some(load) = self.load.get_mut(worker) {
            *load = load.saturating_add_signed(ports);
        }
    }

    pub fn is_on_every_worker(&self, port: PortId) -> bool {
        self.ports.get(&port).is_some_and(|known| known.group == ON_EVERY_WORKER)
    }

    fn everywhere(&self, command: &Command, steps: &mut Vec<Step>) {
        let order = |worker| Step::Order { worker, command: command.clone() };
        steps.extend((0..self.load.len()).map(order));
    }

    /// One that is on every worker speaks for itself on the first.
    pub fn worker_of(&self, port: PortId) -> Result<usize, Refusal> {
        let known = self.ports.get(&port).ok_or("no such port")?;
        if known.group == ON_EVERY_WORKER {
            return Ok(0);
        }
        self.groups.get(&known.group).map(|group| group.worker).ok_or("the port has no group")
    }

    /// Make the groups of two ports one; the smaller one moves if they are on different workers.
    fn join(&mut self, one: PortId, other: PortId) -> Result<Option<Step>, Refusal> {
        let group_of =
            |port| self.ports.get(&port).map(|known: &KnownPort| known.group).ok_or("no such port");
        let (one, other) = (group_of(one)?, group_of(other)?);
        if one == other || other == ON_EVERY_WORKER {
            return Ok(None);
        }
        let size = |group| self.groups.get(&group).map_or(0, |group| group.ports.len());
        let (small, large) = if size(one) < size(other) { (one, other) } else { (other, one) };
        let moving = self.groups.remove(&small).ok_or("the port has no group")?;
        moving.ports.iter().for_each(|port| {
            self.ports.entry(*port).and_modify(|known| known.group = large);
        });
        moving.calls.iter().for_each(|call| {
            self.group_of_call.insert(*call, large);
        });
        let staying = self.groups.get_mut(&large).ok_or("the port has no group")?;
        let (from, to) = (moving.worker, staying.worker);
        staying.ports.extend(&moving.ports);
        staying.calls.extend(&moving.calls);
        if from == to {
            return Ok(None);
        }
        let count = moving.ports.len() as isize;
        self.carry(from, -count);
        self.carry(to, count);
        Ok(Some(Step::Move { from, to, ports: moving.ports }))
    }

    fn close(&mut self, port: PortId) -> Result<Step, Refusal> {
        let worker = self.worker_of(port)?;
        self.forget(port);
        Ok(Step::Order { worker, command: Command::ClosePort { port } })
    }

    /// A port could not be opened or broke: it is gone.
    pub fn port_failed(&mut self, port: PortId) {
        self.forget(port);
    }

    fn forget(&mut self, port: PortId) {
        let Some(known) = self.ports.remove(&port) else { return };
        let Some(group) = self.groups.get_mut(&known.group) else { return };
        group.ports.retain(|other| *other != port);
        let worker = group.worker;
        if group.ports.is_empty()
            && let Some(over) = self.groups.remove(&known.group)
        {
            over.calls.iter().for_each(|call| {
                self.group_of_call.remove(call);
            });
        }
        self.carry(worker, -1);
    }
}

pub fn refused(tag: u64, why: &str) -> Step {
    Step::Tell(Event::Refused { tag, why: why.to_owned() })
}
