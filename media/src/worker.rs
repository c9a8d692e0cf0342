//! One media worker: a thread with its own ports, sockets and epoll. No other thread touches them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError};

use crate::agent;
use crate::capture::ToWriter;
use crate::io::{ALARM, Bell, NOTHING, Poller, Ready, now};
use crate::messages::{Command, Event, PortId};
use crate::player::Playlist;
use crate::ports::{Opened, Port, Ports};
use crate::sockets::{Sockets, which};
use crate::sound::Fault;
use crate::time::{MILLISECOND, Micros};

/// Packets handled between two looks at the clock and the orders.
const BATCH: usize = 64;
const LONGEST_DATAGRAM: usize = 65_536;
const BELL: u64 = ALARM - 1;
const RETRY: Micros = 10 * MILLISECOND;

/// What a worker is asked to do.
pub enum Task {
    Open { port: PortId, local: SocketAddr, sockets: Sockets },
    Do(Command),
    Release(Vec<PortId>, SyncSender<Vec<Port<Sockets>>>),
    Adopt(Vec<Port<Sockets>>),
    Loaded { port: PortId, play: u64, list: Box<Result<Playlist, Fault>> },
    Stop,
}

pub struct Worker {
    ports: Ports<Sockets>,
    poller: Poller,
    tasks: Receiver<Task>,
    bell: Arc<Bell>,
    events: SyncSender<Vec<Event>>,
    events_bell: Arc<Bell>,
    /// Events that found the queue full and must not be lost.
    waiting: Vec<Event>,
    buffer: Vec<u8>,
    writer: Writing,
    stopping: bool,
}

/// The way to the thread that writes recordings. It takes so much sound, however slow the disk is, and no more.
#[derive(Clone)]
pub struct Writing {
    work: Sender<ToWriter>,
    /// Pieces of sound that wait.
    waiting: Arc<AtomicUsize>,
}

/// Some five minutes of stereo at 16 kHz: 40 MiB.
const MOST_WAITING: usize = 1500;

impl Writing {
    pub fn new(work: Sender<ToWriter>) -> Self {
        Self { work, waiting: Arc::default() }
    }

    /// Hand work over; sound above the bound is dropped, and missing in the file.
    fn hand_over(&self, work: ToWriter) {
        if matches!(work, ToWriter::Sound { .. })
            && self.waiting.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING
        {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let _ = self.work.send(work);
    }

    /// Counts the pieces of sound that wait: the writer counts them down.
    pub fn counter(&self) -> Arc<AtomicUsize> {
        self.waiting.clone()
    }
}

impl Worker {
    pub fn new(
        ports: Ports<Sockets>,
        tasks: Receiver<Task>,
        bell: Arc<Bell>,
        events: SyncSender<Vec<Event>>,
        events_bell: Arc<Bell>,
        writer: Writing,
    ) -> std::io::Result<Self> {
        let poller = Poller::new()?;
        poller.watch(&*bell, BELL)?;
        let buffer = vec![0; LONGEST_DATAGRAM];
        Ok(Self {
            ports,
            poller,
            tasks,
            bell,
            events,
            events_bell,
            waiting: Vec::new(),
            buffer,
            writer,
            stopping: false,
        })
    }

    /// Work until told to stop.
    pub fn run(mut self) -> std::io::Result<()> {
        let mut space = [NOTHING; BATCH];
        while !self.stopping {
            let retry = (!self.waiting.is_empty()).then(|| now() + RETRY);
            let until = [self.ports.next_deadline(), retry].into_iter().flatten().min();
            let ready = self.poller.wait(&mut space, until)?;
            self.work(ready);
            self.ports.take_to_write().into_iter().for_each(|work| self.writer.hand_over(work));
            self.ports.take_forks().into_iter().for_each(|opened| self.start_agent(opened));
            self.tell();
        }
        Ok(())
    }

    fn work(&mut self, ready: &[Ready]) {
        let now = now();
        for one in ready {
            match one.data.u64() {
                ALARM => {}
                BELL => self.do_tasks(now),
                number => self.receive(number, now),
            }
        }
        self.ports.tick(now);
    }

    fn receive(&mut self, number: u64, now: Micros) {
        let (port, which) = which(number);
        let port = port as PortId;
        let Some(sockets) = self.ports.door(port) else { return };
        let Ok((length, from)) = sockets.receive(which, &mut self.buffer) else { return };
        if let Some(data) = self.buffer.get_mut(..length) {
            self.ports.receive(port, which.component(), from, data, now);
        }
    }

    fn do_tasks(&mut self, now: Micros) {
        self.bell.hush();
        while let Ok(task) = self.tasks.try_recv() {
            match task {
                Task::Open { port, local, sockets } => self.open(port, local, sockets, now),
                Task::Do(command) => self.ports.command(&command, now),
                Task::Release(ports, to) => self.release(&ports, &to),
                Task::Adopt(ports) => self.adopt(ports, now),
                Task::Loaded { port, play, list } => self.ports.loaded(port, play, *list, now),
                Task::Stop => self.stopping = true,
            }
        }
    }

    fn open(&mut self, port: PortId, local: SocketAddr, mut sockets: Sockets, now: Micros) {
        let watched = sockets.watch(&self.poller, u64::from(port));
        self.ports.open(port, local, sockets);
        if let Err(error) = watched {
            self.ports.fail(port, &error.to_string(), now);
        }
    }

    fn release(&mut self, ids: &[PortId], to: &SyncSender<Vec<Port<Sockets>>>) {
        let mut ports = self.ports.release(ids);
        ports.iter_mut().filter_map(|port| port.door()).for_each(Sockets::unwatch);
        let _ = to.send(ports);
    }

    fn adopt(&mut self, ports: Vec<Port<Sockets>>, now: Micros) {
        for mut port in ports {
            let id = port.id();
            let watched = port.door().map_or(Ok(()), |sockets| sockets.watch(&self.poller, u64::from(id)));
            self.ports.adopt(port, now);
            if let Err(error) = watched {
                self.ports.fail(id, &error.to_string(), now);
            }
        }
    }

    /// Each fork has a thread that waits for its program.
    fn start_agent(&mut self, (port, request, far): Opened) {
        let (events, bell) = (self.events.clone(), self.events_bell.clone());
        let tell = move |connected, why| {
            if events.send(vec![Event::ForkNews { port, connected, why }]).is_ok() {
                bell.ring();
            }
        };
        let name = format!("fork-{port}");
        let thread = std::thread::Builder::new().name(name).stack_size(256 << 10);
        let started = thread.spawn(move || {
            let why = agent::run(port, &request, &far, || tell(true, String::new()));
            tell(false, why);
        });
        if let Err(error) = started {
            self.ports.fail(port, &error.to_string(), now());
        }
    }

    /// Hand events over; when the queue is full, throw statistics away and keep the others.
    fn tell(&mut self) {
        self.waiting.extend(self.ports.take_events());
        if self.waiting.is_empty() {
            return;
        }
        match self.events.try_send(std::mem::take(&mut self.waiting)) {
            Ok(()) => self.events_bell.ring(),
            Err(TrySendError::Full(mut events)) => {
                events.retain(|event| !event.is_statistics());
                self.waiting = events;
            }
            Err(TrySendError::Disconnected(_)) => self.stopping = true,
        }
    }
}
