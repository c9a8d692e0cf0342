//! One media worker: a thread with its own ports, sockets and epoll. No other thread touches them.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};

use crate::io::{Bell, NOTHING, Poller, Ready, Sockets, now};
use crate::messages::{Command, Event, PortId};
use crate::ports::{Port, Ports};
use crate::stream::Component;
use crate::time::{MILLISECOND, Micros};

/// Packets handled between two looks at the clock and the orders.
const BATCH: usize = 64;
const LONGEST_DATAGRAM: usize = 65_536;
const BELL: u64 = u64::MAX;
const RETRY: Micros = 10 * MILLISECOND;

/// What a worker is asked to do.
pub enum Task {
    Open { port: PortId, local: SocketAddr, sockets: Sockets },
    Do(Command),
    Release(Vec<PortId>, SyncSender<Vec<Port<Sockets>>>),
    Adopt(Vec<Port<Sockets>>),
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
    stopping: bool,
}

impl Worker {
    pub fn new(
        ports: Ports<Sockets>,
        tasks: Receiver<Task>,
        bell: Arc<Bell>,
        events: SyncSender<Vec<Event>>,
        events_bell: Arc<Bell>,
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
            // A bug may cost the port that met it; never the others.
            if catch_unwind(AssertUnwindSafe(|| self.work(ready))).is_err() {
                self.ports.fail_busy("internal fault, see the log");
            }
            self.tell();
        }
        Ok(())
    }

    fn work(&mut self, ready: &[Ready]) {
        let now = now();
        for one in ready {
            match one.data.u64() {
                BELL => self.do_tasks(now),
                number => self.receive((number >> 1) as PortId, component(number), now),
            }
        }
        self.ports.tick(now);
    }

    fn receive(&mut self, port: PortId, component: Component, now: Micros) {
        let Some(sockets) = self.ports.door(port) else { return };
        let Ok((length, from)) = sockets.get(component).recv_from(&mut self.buffer) else { return };
        if let Some(data) = self.buffer.get_mut(..length) {
            self.ports.receive(port, component, from, data, now);
        }
    }

    fn do_tasks(&mut self, now: Micros) {
        self.bell.hush();
        while let Ok(task) = self.tasks.try_recv() {
            match task {
                Task::Open { port, local, sockets } => self.open(port, local, sockets),
                Task::Do(command) => self.ports.command(&command, now),
                Task::Release(ports, to) => self.release(&ports, &to),
                Task::Adopt(ports) => self.adopt(ports),
                Task::Stop => self.stopping = true,
            }
        }
    }

    fn open(&mut self, port: PortId, local: SocketAddr, sockets: Sockets) {
        let watched = self.watch(port, &sockets);
        self.ports.open(port, local, sockets);
        if let Err(error) = watched {
            self.ports.fail(port, &error.to_string());
        }
    }

    fn watch(&self, port: PortId, sockets: &Sockets) -> std::io::Result<()> {
        self.poller.watch(sockets.get(Component::Rtp), number(port, Component::Rtp))?;
        self.poller.watch(sockets.get(Component::Rtcp), number(port, Component::Rtcp))
    }

    fn release(&mut self, ids: &[PortId], to: &SyncSender<Vec<Port<Sockets>>>) {
        let ports = self.ports.release(ids);
        for sockets in ports.iter().filter_map(Port::door) {
            self.poller.forget(sockets.get(Component::Rtp));
            self.poller.forget(sockets.get(Component::Rtcp));
        }
        let _ = to.send(ports);
    }

    fn adopt(&mut self, ports: Vec<Port<Sockets>>) {
        let watched = ports
            .iter()
            .map(|port| (port.id(), port.door().map_or(Ok(()), |door| self.watch(port.id(), door))));
        let failed: Vec<PortId> =
            watched.filter(|(_, watched)| watched.is_err()).map(|(port, _)| port).collect();
        self.ports.adopt(ports);
        failed.into_iter().for_each(|port| self.ports.fail(port, "could not be moved to another worker"));
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

fn number(port: PortId, component: Component) -> u64 {
    u64::from(port) << 1 | u64::from(component == Component::Rtcp)
}

fn component(number: u64) -> Component {
    if number & 1 == 0 { Component::Rtp } else { Component::Rtcp }
}
