//! Sockets, readiness and the clock: the thin layer over the kernel.
//!
//! Level-triggered epoll and one `recvfrom` per wake of a socket: a stream has one packet per 20 ms, so that
//! draining a socket until it is empty would double its system calls, and `recvmmsg` has nothing to batch.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, socket_with, sockopt};
use rustix::time::{ClockId, clock_gettime};

use crate::stream::{Component, Door};
use crate::time::{Micros, SECOND};

const NTP_TO_UNIX_S: u64 = 2_208_988_800;
/// Expedited forwarding (RFC 3246, RFC 4594 section 4.1).
const VOICE_CLASS: u8 = 46 << 2;

/// Monotonic time: the same clock as Python's `time.monotonic()`.
pub fn now() -> Micros {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64 / 1000
}

/// Microseconds from 1900 to the monotonic clock's zero.
pub fn epoch() -> Micros {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    NTP_TO_UNIX_S * SECOND + unix.as_micros() as u64 - now()
}

/// The two sockets of a stream.
#[derive(Debug)]
pub struct Sockets {
    rtp: UdpSocket,
    rtcp: UdpSocket,
}

impl Sockets {
    /// Bind RTP on `local` and RTCP on the next port.
    pub fn open(local: SocketAddr) -> io::Result<Self> {
        let next = local.port().checked_add(1).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { rtp: bound(local)?, rtcp: bound(SocketAddr::new(local.ip(), next))? })
    }

    pub fn get(&self, component: Component) -> &UdpSocket {
        match component {
            Component::Rtp => &self.rtp,
            Component::Rtcp => &self.rtcp,
        }
    }
}

/// A datagram socket with the kernel's own buffer sizes: some three seconds of sound, or a burst of video.
fn bound(local: SocketAddr) -> io::Result<UdpSocket> {
    let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?;
    if local.is_ipv4() {
        sockopt::set_ip_tos(&socket, VOICE_CLASS)?;
    } else {
        sockopt::set_ipv6_v6only(&socket, true)?;
        sockopt::set_ipv6_tclass(&socket, u32::from(VOICE_CLASS))?;
    }
    bind(&socket, &local)?;
    Ok(UdpSocket::from(socket))
}

impl Door for Sockets {
    /// A datagram that the kernel does not take is lost like any other on its way.
    fn send(&self, component: Component, to: SocketAddr, data: &[u8]) {
        let _ = self.get(component).send_to(data, to);
    }
}

/// Waits for any of many sources, each known by a number.
pub struct Poller {
    epoll: OwnedFd,
}

pub type Ready = epoll::Event;

pub const NOTHING: Ready = Ready { flags: EventFlags::empty(), data: EventData::new_u64(0) };

impl Poller {
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    pub fn watch(&self, source: impl AsFd, number: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, source, EventData::new_u64(number), EventFlags::IN)?)
    }

    /// Also wake when `source` can be written to.
    pub fn watch_writing(&self, source: impl AsFd, number: u64, writing: bool) -> io::Result<()> {
        let flags = if writing { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        Ok(epoll::modify(&self.epoll, source, EventData::new_u64(number), flags)?)
    }

    pub fn forget(&self, source: impl AsFd) {
        let _ = epoll::delete(&self.epoll, source);
    }

    /// Wait until something is ready or the time has come.
    pub fn wait<'a>(&self, ready: &'a mut [Ready], until: Option<Micros>) -> io::Result<&'a [Ready]> {
        let timeout = until.map(|at| {
            let left = at.saturating_sub(now());
            Timespec { tv_sec: (left / SECOND) as i64, tv_nsec: (left % SECOND * 1000) as i64 }
        });
        match epoll::wait(&self.epoll, &mut *ready, timeout.as_ref()) {
            Ok(count) => Ok(ready.get(..count).unwrap_or_default()),
            Err(rustix::io::Errno::INTR) => Ok(&[]),
            Err(error) => Err(error.into()),
        }
    }
}

/// Wakes a thread that waits in a `Poller`.
#[derive(Debug)]
pub struct Bell {
    fd: OwnedFd,
}

impl Bell {
    pub fn new() -> io::Result<Self> {
        Ok(Self { fd: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)? })
    }

    pub fn ring(&self) {
        let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
    }

    /// Be silent again.
    pub fn hush(&self) {
        let _ = rustix::io::read(&self.fd, &mut [0u8; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// SIGTERM and SIGINT as something to wait for; must be made before any thread is.
#[allow(unsafe_code)]
pub fn stop_signals() -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: the set is initialised by sigemptyset before it is used, and signalfd returns a new descriptor.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGTERM);
        libc::sigaddset(&mut set, libc::SIGINT);
        if libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}
