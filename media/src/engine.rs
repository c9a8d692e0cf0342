//! The media process: workers, and the control thread that listens to one engine at a time.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

use crate::capture::ToWriter;
use crate::control::{Control, Step};
use crate::dtls::Identity;
use crate::io::{Bell, NOTHING, Poller, epoch, now, stop_signals};
use crate::line::Line;
use crate::loader::Loader;
use crate::messages::{Command, Event, PlayRequest, PortId, write_frame};
use crate::player::Playlist;
use crate::ports::{Port, Ports};
use crate::random::Random;
use crate::sockets::Sockets;
use crate::sound::Fault;
use crate::time::Micros;
use crate::worker::{Task, Worker, Writing};
use crate::writer::Recordings;

/// Orders under way to one worker, and batches of events under way from all.
const QUEUE: usize = 4096;
/// What may wait for an engine that does not read; beyond that statistics, then the engine, are let go.
const STATISTICS_ROOM: usize = 4 << 20;
const ROOM: usize = 64 << 20;

const LISTENER: u64 = 0;
const STOP: u64 = 1;
const EVENTS: u64 = 2;
const ENGINE: u64 = 3;

pub struct Settings {
    pub socket: PathBuf,
    pub first_rtp_port: u16,
    pub last_rtp_port: u16,
    pub workers: usize,
    pub silence: Micros,
}

struct WorkerHandle {
    tasks: SyncSender<Task>,
    bell: Arc<Bell>,
    thread: JoinHandle<io::Result<()>>,
}

/// Lets the control thread know that a worker has ended, however it did: without one, the process is of no use.
struct RingAtEnd(Arc<Bell>);

impl Drop for RingAtEnd {
    fn drop(&mut self) {
        self.0.ring();
    }
}

impl WorkerHandle {
    fn order(&self, task: Task) {
        // The ports of a worker that has ended are beyond orders, and so is the process soon.
        if let Err(TrySendError::Full(task)) = self.tasks.try_send(task) {
            self.bell.ring();
            let _ = self.tasks.send(task);
        }
    }
}

struct Engine {
    control: Control,
    workers: Vec<WorkerHandle>,
    poller: Poller,
    listener: UnixListener,
    events: Receiver<Vec<Event>>,
    events_bell: Arc<Bell>,
    loading: SyncSender<ToLoad>,
    loaded: Receiver<Loaded>,
    /// Ends by itself when the workers have, and all is written.
    writer: Option<JoinHandle<()>>,
    line: Option<Line>,
}

/// A list whose files are to be read, for which player on which worker.
type ToLoad = (usize, PortId, PlayRequest);

/// A list whose files were read: for which player, its number, what became of it.
type Loaded = (usize, PortId, u64, Result<Playlist, Fault>);

/// Serve engines until SIGTERM. Blocks.
pub fn serve(settings: &Settings) -> io::Result<()> {
    let stop = stop_signals()?;
    raise_file_limit();
    let listener = listen(&settings.socket)?;
    let result = Engine::new(settings, listener).and_then(|engine| engine.run(&stop));
    std::fs::remove_file(&settings.socket)?;
    result
}

/// Each call has four sockets.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Listen on `path`, for this user alone, in place of a socket that a dead process left there.
fn listen(path: &Path) -> io::Result<UnixListener> {
    if path.exists() {
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another media process listens there"));
        }
        std::fs::remove_file(path)?;
    }
    let before = umask(Mode::RWXG | Mode::RWXO | Mode::XUSR);
    let listener = UnixListener::bind(path);
    umask(before);
    let listener = listener?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Engine {
    fn new(settings: &Settings, listener: UnixListener) -> io::Result<Self> {
        let (to_control, events) = sync_channel(QUEUE);
        let events_bell = Arc::new(Bell::new()?);
        let mut random = Random::new(std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0));
        let (writing, writer) = start_writer(to_control.clone(), events_bell.clone())?;
        let identity = Identity::new()?;
        let workers = (0..settings.workers).map(|number| {
            let mut ports = Ports::new(number as u16, random.next(), settings.silence, epoch());
            ports.identity = Some(identity.clone());
            start_worker(number, ports, to_control.clone(), events_bell.clone(), writing.clone())
        });
        let workers = workers.collect::<io::Result<Vec<_>>>()?;
        let poller = Poller::new()?;
        poller.watch(&listener, LISTENER)?;
        poller.watch(&*events_bell, EVENTS)?;
        let (loading, loaded) = start_loader(events_bell.clone())?;
        let control = Control::new(
            settings.first_rtp_port,
            settings.last_rtp_port,
            settings.workers,
            &identity.fingerprint,
        );
        Ok(Self {
            control,
            workers,
            poller,
            listener,
            events,
            events_bell,
            loading,
            loaded,
            writer: Some(writer),
            line: None,
        })
    }

    fn run(mut self, stop: &impl std::os::fd::AsFd) -> io::Result<()> {
        self.poller.watch(stop, STOP)?;
        let mut space = [NOTHING; 8];
        loop {
            let ready: Vec<u64> = {
                let ready = self.poller.wait(&mut space, self.control.next_deadline())?;
                ready.iter().map(|one| one.data.u64()).collect()
            };
            for number in ready {
                match number {
                    LISTENER => self.accept(),
                    EVENTS => {
                        self.collect_events();
                        self.collect_loaded();
                        if self.workers.iter().any(|worker| worker.thread.is_finished()) {
                            return self.stop();
                        }
                    }
                    ENGINE => self.hear_engine(),
                    STOP => return self.stop(),
                    _ => {}
                }
            }
            let steps = self.control.tick(now());
            self.perform(steps);
            self.write_out();
        }
    }

    // ------------------------------------------------------------ the engine's connection

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            self.let_go();
            if self.poller.watch(&stream, ENGINE).is_ok() {
                self.line = Some(Line::new(stream));
            }
        }
    }

    fn let_go(&mut self) {
        if self.line.take().is_some() {
            self.control.disconnected(now());
        }
    }

    fn hear_engine(&mut self) {
        let Some(line) = &mut self.line else { return };
        let alive = line.read();
        while let Some(body) = self.line.as_mut().and_then(Line::next_frame) {
            let steps = self.control.handle(&body);
            self.perform(steps);
        }
        if !alive || self.line.as_ref().is_some_and(Line::is_too_long) {
            self.let_go();
        }
    }

    fn tell(&mut self, event: &Event) {
        self.tell_all(std::slice::from_ref(event));
    }

    fn tell_all(&mut self, events: &[Event]) {
        let Some(line) = &mut self.line else { return };
        let waiting = line.waiting();
        if waiting > STATISTICS_ROOM && events.iter().all(Event::is_statistics) {
            return;
        }
        line.say(&write_frame(events));
    }

    fn write_out(&mut self) {
        let Some(line) = &mut self.line else { return };
        if line.waiting() == 0 && !line.hang_up {
            return;
        }
        let alive = line.write();
        let waiting = line.waiting();
        let over = line.hang_up && waiting == 0;
        if !alive || over || waiting > ROOM {
            self.let_go();
            return;
        }
        let _ = self.poller.watch_writing(line, ENGINE, waiting > 0);
    }

    // ------------------------------------------------------------ workers

    fn collect_events(&mut self) {
        self.events_bell.hush();
        while let Ok(events) = self.events.try_recv() {
            for event in &events {
                if let Event::PortFailed { port, .. } = event {
                    self.control.port_failed(*port);
                }
            }
            if self.control.has_engine() {
                self.tell_all(&events);
            }
        }
    }

    /// Take these steps, then wake the workers, once for all of them.
    fn perform(&mut self, steps: Vec<Step>) {
        let ordered = !steps.is_empty();
        for step in steps {
            match step {
                Step::Order { worker, command: Command::OpenPort { port, local, .. } } => {
                    match Sockets::open(local) {
                        Ok(sockets) => self.order(worker, Task::Open { port, local, sockets }),
                        Err(error) => self.failed_to_open(port, &error),
                    }
                }
                Step::Order { worker, command: Command::Play { port, request } } => {
                    self.load(worker, port, *request);
                }
                Step::Order { worker, command } => self.order(worker, Task::Do(command)),
                Step::Move { from, to, ports } => self.move_ports(from, to, ports),
                Step::Tell(event) => self.tell(&event),
                Step::HangUp => {
                    if let Some(line) = &mut self.line {
                        line.hang_up = true;
                    }
                }
            }
        }
        if ordered {
            self.ring();
        }
    }

    /// Have the files of a list read, which may take its time, by a thread that may wait for a disk.
    fn load(&self, worker: usize, port: PortId, request: PlayRequest) {
        let play = request.play;
        self.order(worker, Task::Do(Command::Play { port, request: Box::new(request.clone()) }));
        if self.loading.try_send((worker, port, request)).is_err() {
            let fault = Err("too many files wait to be read".to_owned());
            self.order(worker, Task::Loaded { port, play, list: Box::new(fault) });
        }
    }

    fn collect_loaded(&mut self) {
        while let Ok((asked, port, play, list)) = self.loaded.try_recv() {
            // The player may have moved meanwhile.
            let there =
                if self.control.is_on_every_worker(port) { Ok(asked) } else { self.control.worker_of(port) };
            if let Ok(worker) = there {
                self.order(worker, Task::Loaded { port, play, list: Box::new(list) });
            }
        }
        self.ring();
    }

    fn ring(&self) {
        self.workers.iter().for_each(|worker| worker.bell.ring());
    }

    fn failed_to_open(&mut self, port: PortId, error: &io::Error) {
        self.control.port_failed(port);
        self.tell(&Event::PortFailed { port, why: error.to_string() });
    }

    fn order(&self, worker: usize, task: Task) {
        if let Some(worker) = self.workers.get(worker) {
            worker.order(task);
        }
    }

    /// Wait for the ports, so that later orders find them where they are sent.
    fn move_ports(&self, from: usize, to: usize, ids: Vec<PortId>) {
        let (hand_over, handed_over) = sync_channel::<Vec<Port<Sockets>>>(1);
        self.order(from, Task::Release(ids, hand_over));
        self.ring();
        if let Ok(ports) = handed_over.recv() {
            self.order(to, Task::Adopt(ports));
        }
    }

    /// Close all ports, tell the engine what there is to tell, and end.
    fn stop(mut self) -> io::Result<()> {
        let steps = self.control.close_all();
        self.perform(steps);
        self.workers.iter().for_each(|worker| worker.order(Task::Stop));
        self.ring();
        let mut result = Ok(());
        for worker in std::mem::take(&mut self.workers) {
            let ended = worker.thread.join().unwrap_or_else(|_| Err(io::Error::other("a worker panicked")));
            result = result.and(ended);
        }
        let _ = self.writer.take().map(JoinHandle::join);
        self.collect_events();
        if let Some(line) = &mut self.line {
            line.write_last_words();
        }
        result
    }
}

fn start_worker(
    number: usize,
    ports: Ports<Sockets>,
    events: SyncSender<Vec<Event>>,
    events_bell: Arc<Bell>,
    writing: Writing,
) -> io::Result<WorkerHandle> {
    let (tasks, inbox) = sync_channel(QUEUE);
    let bell = Arc::new(Bell::new()?);
    let worker = Worker::new(ports, inbox, bell.clone(), events, events_bell.clone(), writing)?;
    let thread = std::thread::Builder::new().name(format!("media-{number}")).stack_size(512 << 10);
    let at_end = RingAtEnd(events_bell);
    let run = move || {
        let _at_end = at_end;
        worker.run()
    };
    Ok(WorkerHandle { tasks, bell, thread: thread.spawn(run)? })
}

/// The thread that reads files. It ends when nobody can ask it any more.
fn start_loader(bell: Arc<Bell>) -> io::Result<(SyncSender<ToLoad>, Receiver<Loaded>)> {
    let (loading, asked) = sync_channel::<ToLoad>(QUEUE);
    let (answer, loaded) = sync_channel(QUEUE);
    std::thread::Builder::new().name("loader".to_owned()).spawn(move || {
        let mut loader = Loader::default();
        for (worker, port, request) in asked {
            let list = loader.load(&request);
            if answer.send((worker, port, request.play, list)).is_err() {
                return;
            }
            bell.ring();
        }
    })?;
    Ok((loading, loaded))
}

/// The thread that writes recordings. It ends when nobody can hand it anything any more.
fn start_writer(events: SyncSender<Vec<Event>>, bell: Arc<Bell>) -> io::Result<(Writing, JoinHandle<()>)> {
    let (work, handed_over) = channel::<ToWriter>();
    let writing = Writing::new(work);
    let written = writing.counter();
    let thread = std::thread::Builder::new().name("writer".to_owned()).spawn(move || {
        let mut recordings = Recordings::default();
        for work in handed_over {
            let sound = matches!(work, ToWriter::Sound { .. });
            let event = recordings.take(work);
            if sound {
                written.fetch_sub(1, Ordering::Relaxed);
            }
            if let Some(event) = event
                && events.send(vec![event]).is_ok()
            {
                bell.ring();
            }
        }
    })?;
    Ok((writing, thread))
}
