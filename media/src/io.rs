//! Readiness, wake-ups, signals and the clock: the thin layer over the kernel.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, clock_gettime, timerfd_create,
    timerfd_settime,
};

use crate::time::{Micros, SECOND};

const NTP_TO_UNIX_S: u64 = 2_208_988_800;

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

/// Add one more source to an epoll.
pub fn watch(epoll: &OwnedFd, source: impl AsFd, number: u64) -> io::Result<()> {
    Ok(epoll::add(epoll, source, EventData::new_u64(number), EventFlags::IN)?)
}

/// Waits for any of many sources, each known by a number, or for a time.
///
/// The time is a timer of its own that is set only when it changes: with a timeout on each wait the kernel
/// would set one and take it back for each packet.
pub struct Poller {
    pub epoll: Arc<OwnedFd>,
    alarm: OwnedFd,
    alarm_at: Cell<Option<Micros>>,
}

/// The number of the time itself among what is ready.
pub const ALARM: u64 = u64::MAX;

pub type Ready = epoll::Event;

pub const NOTHING: Ready = Ready { flags: EventFlags::empty(), data: EventData::new_u64(0) };

impl Poller {
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let alarm = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let poller =
            Self { epoll: Arc::new(epoll::create(CreateFlags::CLOEXEC)?), alarm, alarm_at: Cell::new(None) };
        poller.watch(&poller.alarm, ALARM)?;
        Ok(poller)
    }

    pub fn watch(&self, source: impl AsFd, number: u64) -> io::Result<()> {
        watch(&self.epoll, source, number)
    }

    /// Also wake when `source` can be written to.
    pub fn watch_writing(&self, source: impl AsFd, number: u64, writing: bool) -> io::Result<()> {
        let flags = if writing { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        Ok(epoll::modify(&*self.epoll, source, EventData::new_u64(number), flags)?)
    }

    /// Wait until something is ready or the time has come, which is then ready as `ALARM`.
    pub fn wait<'a>(&self, ready: &'a mut [Ready], until: Option<Micros>) -> io::Result<&'a [Ready]> {
        if self.alarm_at.get() != until {
            self.set_alarm(until)?;
        }
        let count = match epoll::wait(&*self.epoll, &mut *ready, None) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        Ok(ready.get(..count).unwrap_or_default())
    }

    /// Setting the alarm, even to the same time, also ends one that has gone off.
    fn set_alarm(&self, until: Option<Micros>) -> io::Result<()> {
        // A time of zero would switch it off.
        let at = until.map_or(0, |at| at.max(1));
        let it_value = Timespec { tv_sec: (at / SECOND) as i64, tv_nsec: (at % SECOND * 1000) as i64 };
        let time = Itimerspec { it_interval: Timespec::default(), it_value };
        timerfd_settime(&self.alarm, TimerfdTimerFlags::ABSTIME, &time)?;
        self.alarm_at.set(until);
        Ok(())
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
