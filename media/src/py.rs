//! The only module that knows Python: the media process's entry, the core for tests in virtual time, the load.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::control::{Control, Step};
use crate::dtls::Identity;
use crate::engine::{self, Settings};
use crate::fork::{Far, Say};
use crate::load;
use crate::loader::Loader;
use crate::messages::{Command, Event, write_frame};
use crate::ports::Ports;
use crate::scene::{OPUS, PCMU, Scene, Watch};
use crate::sound;
use crate::stream::{Component, Door};
use crate::time::{Micros, SECOND, from_seconds, to_seconds};
use crate::writer::Recordings;

/// Run a media process until SIGTERM or SIGINT. Blocks, without the interpreter lock.
///
/// Listens for one engine at a time on the Unix socket `socket_path`; raises OSError when it cannot.
#[pyfunction]
#[pyo3(signature = (socket_path, first_rtp_port, last_rtp_port, workers, silence_s = 15.0))]
fn serve(
    py: Python<'_>,
    socket_path: PathBuf,
    first_rtp_port: u16,
    last_rtp_port: u16,
    workers: usize,
    silence_s: f64,
) -> PyResult<()> {
    let silence = from_seconds(silence_s);
    let workers = workers.clamp(1, 256);
    let settings = Settings { socket: socket_path, first_rtp_port, last_rtp_port, workers, silence };
    Ok(py.detach(|| engine::serve(&settings))?)
}

/// A datagram as it left: the local port that sent it, and where to.
type Sent = (u16, SocketAddr, Vec<u8>);

/// Stands for a stream's two sockets.
#[derive(Clone)]
struct Outbox {
    local: SocketAddr,
    sent: Rc<RefCell<Vec<Sent>>>,
}

impl Door for Outbox {
    fn send(&self, component: Component, to: SocketAddr, data: &[u8]) {
        let port = self.local.port() + u16::from(component == Component::Rtcp);
        self.sent.borrow_mut().push((port, to, data.to_vec()));
    }

    fn peer_found(&mut self, _peer: SocketAddr) {}
}

/// The media core without sockets, threads and clock: the same code as in the process, in virtual time.
///
/// `now` is monotonic seconds. Frames have their length in front, as on the control socket.
#[pyclass(unsendable)]
struct Core {
    control: Control,
    workers: Vec<Ports<Outbox>>,
    sent: Rc<RefCell<Vec<Sent>>>,
    /// The port that is bound to each address.
    bound: std::collections::HashMap<SocketAddr, (u32, Component)>,
    events: Vec<Event>,
    loader: Loader,
    recordings: Recordings,
    forks: std::collections::HashMap<u32, Far>,
}

#[pymethods]
impl Core {
    #[new]
    #[pyo3(signature = (first_rtp_port = 20000, last_rtp_port = 29999, workers = 1, seed = 1, silence_s = 15.0))]
    fn new(
        first_rtp_port: u16,
        last_rtp_port: u16,
        workers: usize,
        seed: u64,
        silence_s: f64,
    ) -> PyResult<Self> {
        let identity = Identity::new()?;
        let ports = |number| {
            let seed = seed + number as u64;
            let mut ports = Ports::new(number as u16, seed, from_seconds(silence_s), 100 * SECOND);
            ports.identity = Some(identity.clone());
            ports
        };
        Ok(Self {
            control: Control::new(first_rtp_port, last_rtp_port, workers, &identity.fingerprint),
            workers: (0..workers).map(ports).collect(),
            sent: Rc::default(),
            bound: std::collections::HashMap::new(),
            events: Vec::new(),
            loader: Loader::default(),
            recordings: Recordings::default(),
            forks: std::collections::HashMap::new(),
        })
    }

    /// Take one frame of an engine.
    fn handle_frame(&mut self, frame: &[u8], now: f64) {
        let steps = self.control.handle(frame.get(4..).unwrap_or_default());
        self.perform(steps, from_seconds(now));
    }

    /// The engine's connection is gone.
    fn disconnected(&mut self, now: f64) {
        self.control.disconnected(from_seconds(now));
    }

    /// A datagram came; what was sent because of it, and whatever else was not yet taken.
    fn receive<'py>(
        &mut self,
        py: Python<'py>,
        local: (IpAddr, u16),
        source: (IpAddr, u16),
        data: &[u8],
        now: f64,
    ) -> Vec<(u16, String, u16, Bound<'py, PyBytes>)> {
        if let Some((port, component)) = self.bound.get(&local.into()).copied() {
            let mut data = data.to_vec();
            for worker in &mut self.workers {
                worker.receive(port, component, source.into(), &mut data, from_seconds(now));
            }
            self.collect_events();
        }
        self.take_sends(py)
    }

    /// What was sent since this was last asked, as (local port, host, port, data).
    fn take_sends<'py>(&mut self, py: Python<'py>) -> Vec<(u16, String, u16, Bound<'py, PyBytes>)> {
        let sent = std::mem::take(&mut *self.sent.borrow_mut());
        let told = |(local, to, data): Sent| (local, to.ip().to_string(), to.port(), PyBytes::new(py, &data));
        sent.into_iter().map(told).collect()
    }

    /// What the program behind a fork was given since this was asked last: samples.
    fn fork_heard(&self, port: u32) -> Vec<i16> {
        self.forks.get(&port).map(|far| far.heard.try_iter().flatten().collect()).unwrap_or_default()
    }

    /// What the program says; None: it forgets what it said.
    #[pyo3(signature = (port, samples))]
    fn fork_says(&self, port: u32, samples: Option<Vec<i16>>) -> bool {
        let say = samples.map_or(Say::Clear, Say::Sound);
        self.forks.get(&port).is_some_and(|far| far.says.try_send(say).is_ok())
    }

    /// Do all that is due.
    fn tick(&mut self, now: f64) {
        let now = from_seconds(now);
        let steps = self.control.tick(now);
        self.perform(steps, now);
        self.workers.iter_mut().for_each(|worker| worker.tick(now));
        self.collect_events();
    }

    /// When `tick` is next due.
    fn next_deadline(&self) -> Option<f64> {
        let workers = self.workers.iter().filter_map(Ports::next_deadline);
        workers.chain(self.control.next_deadline()).min().map(to_seconds)
    }

    /// One frame with what happened since this was last asked.
    fn take_events<'py>(&mut self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &write_frame(&std::mem::take(&mut self.events)))
    }
}

impl Core {
    fn perform(&mut self, steps: Vec<Step>, now: Micros) {
        for step in steps {
            match step {
                Step::Order { worker, command } => self.order(worker, &command, now),
                Step::Move { from, to, ports } => {
                    let moving =
                        self.workers.get_mut(from).map(|worker| worker.release(&ports)).unwrap_or_default();
                    if let Some(worker) = self.workers.get_mut(to) {
                        moving.into_iter().for_each(|port| worker.adopt(port, now));
                    }
                }
                Step::Tell(event) => self.events.push(event),
                Step::HangUp => self.control.disconnected(now),
            }
        }
    }

    fn order(&mut self, worker: usize, command: &Command, now: Micros) {
        match *command {
            Command::OpenPort { port, local, .. } => self.open(worker, port, local),
            Command::ClosePort { port } => {
                self.bound.retain(|_, (bound, _)| *bound != port);
                self.pass_on(worker, command, now);
            }
            Command::Play { port, ref request } => {
                self.pass_on(worker, command, now);
                let list = self.loader.load(request);
                if let Some(worker) = self.workers.get_mut(worker) {
                    worker.loaded(port, request.play, list, now);
                }
                self.collect_events();
            }
            _ => self.pass_on(worker, command, now),
        }
    }

    fn pass_on(&mut self, worker: usize, command: &Command, now: Micros) {
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.command(command, now);
        }
        self.collect_events();
    }

    fn collect_events(&mut self) {
        for worker in &mut self.workers {
            let written = worker.take_to_write().into_iter().filter_map(|work| self.recordings.take(work));
            let written: Vec<Event> = written.collect();
            self.forks.extend(worker.take_forks().into_iter().map(|(port, _, far)| (port, far)));
            let mut events = worker.take_events();
            events.extend(written);
            if self.control.has_engine() {
                self.events.extend(events);
            }
        }
    }

    fn open(&mut self, worker: usize, port: u32, local: SocketAddr) {
        let next = SocketAddr::new(local.ip(), local.port().wrapping_add(1));
        if self.bound.contains_key(&local) || self.bound.contains_key(&next) {
            self.control.port_failed(port);
            self.events.push(Event::PortFailed { port, why: "Address already in use".to_owned() });
            return;
        }
        self.bound.insert(local, (port, Component::Rtp));
        self.bound.insert(next, (port, Component::Rtcp));
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.open(port, local, Outbox { local, sent: self.sent.clone() });
        }
    }
}

/// See `rtp_load`.
type LoadResult = (u64, u64, u64, u64, u64, u64, u64, f64);

/// Play `ports` RTP peers against 127.0.0.1:`first_port` + 2n and measure; for benchmarks. Blocks.
///
/// The peers' addresses are told by `load_peer`; with `opus` every second one speaks Opus (107), all others PCMU.
/// `watch` says what tells how long sound is on its way: "stamps" in packets that are passed on, "turns" of peers
/// in groups of `group` of which one talks at a time, or the "ticks" on which media plays. Gives packets sent,
/// received, sent and received after the warm-up, one-way microseconds (median, 99 %, 99.9 %), and the load's own
/// worst delay in ms.
#[pyfunction]
#[pyo3(signature = (first_port, ports, seconds, watch = "stamps", group = 2, opus = false))]
fn rtp_load(
    py: Python<'_>,
    first_port: u16,
    ports: usize,
    seconds: f64,
    watch: &str,
    group: usize,
    opus: bool,
) -> PyResult<LoadResult> {
    let watch = match watch {
        "stamps" => Watch::Stamps,
        "ticks" => Watch::Ticks,
        _ => Watch::Turns(group.max(1)),
    };
    let spoken = if opus { vec![PCMU, OPUS] } else { vec![PCMU] };
    let m = py.detach(|| load::load(first_port, ports, seconds, Scene::new(watch, ports, spoken)))?;
    Ok((m.sent, m.received, m.counted, m.counted_received, m.p50_us, m.p99_us, m.p999_us, m.late_ms))
}

/// What libopus alone costs for a packet decoded and one encoded, of what peers say: microseconds of CPU.
#[pyfunction]
fn opus_us(py: Python<'_>, seconds: usize) -> f64 {
    py.detach(|| load::opus_us(seconds))
}

/// The address of the n-th peer of `rtp_load`.
#[pyfunction]
fn load_peer(n: usize) -> (String, u16) {
    let peer = load::peer(n);
    (peer.ip().to_string(), peer.port())
}

/// Relay between neighbouring ports with nothing but system calls: the floor to compare with. Never returns.
#[pyfunction]
fn bare_relay(py: Python<'_>, first_port: u16, ports: usize) -> PyResult<()> {
    Ok(py.detach(|| load::bare_relay(first_port, ports))?)
}

/// Make a prompt of a sound file, see `sound::prepare`. Raises ValueError that says what is wrong with which file.
#[pyfunction]
fn prepare_prompt(py: Python<'_>, source: PathBuf, target: PathBuf) -> PyResult<()> {
    py.detach(|| sound::prepare(&source, &target)).map_err(PyValueError::new_err)
}

#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("VERSION", env!("CARGO_PKG_VERSION"))?;
    m.add_function(wrap_pyfunction!(serve, m)?)?;
    m.add_function(wrap_pyfunction!(rtp_load, m)?)?;
    m.add_function(wrap_pyfunction!(load_peer, m)?)?;
    m.add_function(wrap_pyfunction!(prepare_prompt, m)?)?;
    m.add_function(wrap_pyfunction!(opus_us, m)?)?;
    m.add_function(wrap_pyfunction!(bare_relay, m)?)?;
    m.add_class::<Core>()
}
