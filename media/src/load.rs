//! For measuring: an RTP load with the time of each packet, and the barest relay to compare with.
//!
//! Peers are distinct addresses of 127/8, so that one socket plays all of them and system calls are batched: the
//! load stays cheap. A packet carries the time before its system call; it has arrived at the kernel's receive
//! time stamp, so that the load's own delay in reading does not count.

#![allow(unsafe_code, clippy::indexing_slicing)]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use crate::io::{NOTHING, Poller};
use crate::rtp::{HEADER, Header};

const PEER_PORT: u16 = 40_000;
const PAYLOAD: usize = 160;
const PACKET: usize = HEADER + PAYLOAD;
const BATCH: usize = 16;
const SLOTS: usize = 20;
const SLOT_NS: i64 = 1_000_000;
const WARM_UP_SLOTS: usize = 1000;
const DRAIN_SLOTS: usize = 200;
const BUFFER: usize = 32 << 20;
const CONTROL: usize = 128;
const MOST_US: usize = 100_000;

/// The address of the peer behind port number `port` (0, 1: the two sides of the first call).
pub fn peer(port: usize) -> SocketAddrV4 {
    let [_, high, middle, low] = ((port + 256) as u32).to_be_bytes();
    SocketAddrV4::new(Ipv4Addr::new(127, 1 + high, middle, low), PEER_PORT)
}

#[derive(Debug, Default)]
pub struct Measured {
    pub sent: u64,
    pub received: u64,
    /// Of those that were sent after the warm-up.
    pub counted: u64,
    pub counted_received: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub late_ms: f64,
}

/// Send 50 packets a second from each of `ports` peers to port `first_port` + 2n of this host; what came back.
pub fn load(first_port: u16, ports: usize, seconds: f64) -> io::Result<Measured> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PEER_PORT))?;
    let _swallows_rtcp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PEER_PORT + 1))?;
    socket.set_nonblocking(true)?;
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER as i32);
    set(&socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, BUFFER as i32);
    set(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1);
    let mut sender = Sender::new(first_port, ports);
    let mut receiver = Receiver::new();
    let mut measured = Measured::default();
    let counted_from = WARM_UP_SLOTS;
    let counted_to = counted_from + (seconds * 1000.0) as usize;
    let start = clock_ns(libc::CLOCK_MONOTONIC);
    for slot in 0..counted_to + DRAIN_SLOTS {
        let due = start + slot as i64 * SLOT_NS;
        let late = clock_ns(libc::CLOCK_MONOTONIC) - due;
        if late < 0 {
            std::thread::sleep(std::time::Duration::from_nanos(late.unsigned_abs()));
        }
        measured.late_ms = measured.late_ms.max(late as f64 / 1e6);
        if slot < counted_to {
            let sent = sender.send_slot(&socket, slot % SLOTS, slot >= counted_from);
            measured.sent += sent;
            measured.counted += if slot >= counted_from { sent } else { 0 };
        }
        receiver.receive_all(&socket);
    }
    measured.received = receiver.received;
    measured.counted_received = receiver.counted;
    measured.p50_us = receiver.quantile(0.5);
    measured.p99_us = receiver.quantile(0.99);
    measured.p999_us = receiver.quantile(0.999);
    Ok(measured)
}

fn set(socket: &UdpSocket, level: i32, name: i32, value: i32) {
    // SAFETY: the value outlives the call and its size is passed.
    unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size_of::<i32>() as u32);
    }
}

fn clock_ns(clock: libc::clockid_t) -> i64 {
    // SAFETY: clock_gettime fills in the struct that it is given.
    unsafe {
        let mut time: libc::timespec = zeroed();
        libc::clock_gettime(clock, &mut time);
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
}

fn address(of: SocketAddrV4) -> libc::sockaddr_in {
    // SAFETY: all zeros is a valid sockaddr_in.
    let mut address: libc::sockaddr_in = unsafe { zeroed() };
    address.sin_family = libc::AF_INET as u16;
    address.sin_port = of.port().to_be();
    address.sin_addr.s_addr = u32::from(*of.ip()).to_be();
    address
}

struct Sender {
    to: Vec<libc::sockaddr_in>,
    from: Vec<[u64; CONTROL / 8]>,
    packets: Vec<[u8; PACKET]>,
    rounds: u32,
}

impl Sender {
    fn new(first_port: u16, ports: usize) -> Self {
        let to =
            (0..ports).map(|n| address(SocketAddrV4::new(Ipv4Addr::LOCALHOST, first_port + 2 * n as u16)));
        let from = (0..ports).map(|n| source_address(*peer(n).ip()));
        Self { to: to.collect(), from: from.collect(), packets: vec![[0xff; PACKET]; ports], rounds: 0 }
    }

    fn send_slot(&mut self, socket: &UdpSocket, slot: usize, counted: bool) -> u64 {
        self.rounds += u32::from(slot == 0);
        let due: Vec<usize> = (slot..self.packets.len()).step_by(SLOTS).collect();
        due.chunks(BATCH).for_each(|batch| self.send_batch(socket, batch, counted));
        due.len() as u64
    }

    fn send_batch(&mut self, socket: &UdpSocket, batch: &[usize], counted: bool) {
        let stamp = clock_ns(libc::CLOCK_REALTIME);
        for n in batch {
            let packet = &mut self.packets[*n];
            let header = Header {
                marker: false,
                payload_type: 0,
                sequence: self.rounds as u16,
                timestamp: self.rounds.wrapping_mul(PAYLOAD as u32),
                ssrc: *n as u32 + 1,
            };
            if let Some(head) = packet.first_chunk_mut() {
                header.write(head);
            }
            packet[HEADER..HEADER + 8].copy_from_slice(&stamp.to_ne_bytes());
            packet[HEADER + 8] = u8::from(counted);
        }
        // SAFETY: every pointer is into vectors of self that outlive the call; lengths are theirs.
        unsafe {
            let mut parts: [libc::iovec; BATCH] = zeroed();
            let mut messages: [libc::mmsghdr; BATCH] = zeroed();
            for (place, n) in batch.iter().enumerate() {
                parts[place] =
                    libc::iovec { iov_base: self.packets[*n].as_mut_ptr().cast(), iov_len: PACKET };
                let header = &mut messages[place].msg_hdr;
                header.msg_name = (&raw mut self.to[*n]).cast();
                header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
                header.msg_iov = &mut parts[place];
                header.msg_iovlen = 1;
                header.msg_control = self.from[*n].as_mut_ptr().cast();
                header.msg_controllen = libc::CMSG_SPACE(size_of::<libc::in_pktinfo>() as u32) as usize;
            }
            libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), batch.len() as u32, 0);
        }
    }
}

/// The control message that makes a datagram come from `ip`.
fn source_address(ip: Ipv4Addr) -> [u64; CONTROL / 8] {
    let mut space = [0u64; CONTROL / 8];
    // SAFETY: the space is aligned and larger than one in_pktinfo message.
    unsafe {
        let mut header: libc::msghdr = zeroed();
        header.msg_control = space.as_mut_ptr().cast();
        header.msg_controllen = CONTROL;
        let message = &mut *libc::CMSG_FIRSTHDR(&header);
        message.cmsg_level = libc::IPPROTO_IP;
        message.cmsg_type = libc::IP_PKTINFO;
        message.cmsg_len = libc::CMSG_LEN(size_of::<libc::in_pktinfo>() as u32) as usize;
        let info = libc::CMSG_DATA(message).cast::<libc::in_pktinfo>();
        (*info).ipi_spec_dst.s_addr = u32::from(ip).to_be();
    }
    space
}

struct Receiver {
    data: Box<[[u8; 256]; BATCH]>,
    control: Box<[[u64; CONTROL / 8]; BATCH]>,
    /// Packets by their microseconds on the way.
    delays: Vec<u64>,
    received: u64,
    counted: u64,
}

impl Receiver {
    fn new() -> Self {
        let (data, control) = (Box::new([[0; 256]; BATCH]), Box::new([[0; CONTROL / 8]; BATCH]));
        Self { data, control, delays: vec![0; MOST_US], received: 0, counted: 0 }
    }

    fn receive_all(&mut self, socket: &UdpSocket) {
        while self.receive_batch(socket) == BATCH {}
    }

    fn receive_batch(&mut self, socket: &UdpSocket) -> usize {
        // SAFETY: every pointer is into boxes of self that outlive the call; lengths are theirs.
        unsafe {
            let mut parts: [libc::iovec; BATCH] = zeroed();
            let mut messages: [libc::mmsghdr; BATCH] = zeroed();
            for place in 0..BATCH {
                parts[place] = libc::iovec { iov_base: self.data[place].as_mut_ptr().cast(), iov_len: 256 };
                let header = &mut messages[place].msg_hdr;
                header.msg_iov = &mut parts[place];
                header.msg_iovlen = 1;
                header.msg_control = self.control[place].as_mut_ptr().cast();
                header.msg_controllen = CONTROL;
            }
            let fd = socket.as_raw_fd();
            let none = std::ptr::null_mut();
            let count =
                libc::recvmmsg(fd, messages.as_mut_ptr(), BATCH as u32, libc::MSG_DONTWAIT as _, none);
            let count = usize::try_from(count).unwrap_or(0);
            for (place, message) in messages.iter().enumerate().take(count) {
                self.note(place, message.msg_len as usize, arrival_ns(&message.msg_hdr));
            }
            count
        }
    }

    fn note(&mut self, place: usize, length: usize, arrived: i64) {
        self.received += 1;
        if length != PACKET || self.data[place][HEADER + 8] == 0 {
            return;
        }
        self.counted += 1;
        let mut stamp = [0; 8];
        stamp.copy_from_slice(&self.data[place][HEADER..HEADER + 8]);
        let us = (arrived - i64::from_ne_bytes(stamp)).max(0) as usize / 1000;
        self.delays[us.min(MOST_US - 1)] += 1;
    }

    fn quantile(&self, part: f64) -> u64 {
        let wanted = (part * self.counted as f64) as u64;
        let mut seen = 0;
        let reached = self.delays.iter().position(|count| {
            seen += count;
            seen > wanted
        });
        reached.unwrap_or(0) as u64
    }
}

/// # Safety
/// `header` is one that recvmmsg filled in and whose control space is alive.
unsafe fn arrival_ns(header: &libc::msghdr) -> i64 {
    // SAFETY: see above; a SO_TIMESTAMPNS message holds a timespec.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(header);
        if message.is_null() || (*message).cmsg_type != libc::SO_TIMESTAMPNS {
            return 0;
        }
        let time = libc::CMSG_DATA(message).cast::<libc::timespec>().read_unaligned();
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
}

/// The floor: one `recvfrom` and one `sendto` per packet between the two ports of each call, and nothing else.
/// Runs until killed.
pub fn bare_relay(first_port: u16, ports: usize) -> io::Result<()> {
    let bind = |n: usize| UdpSocket::bind((Ipv4Addr::LOCALHOST, first_port + 2 * n as u16));
    let sockets = (0..ports).map(bind).collect::<io::Result<Vec<_>>>()?;
    let poller = Poller::new()?;
    for (n, socket) in sockets.iter().enumerate() {
        socket.set_nonblocking(true)?;
        poller.watch(socket, n as u64)?;
    }
    let peers: Vec<SocketAddrV4> = (0..ports).map(peer).collect();
    let mut space = [NOTHING; 64];
    let mut data = [0; 2048];
    loop {
        for ready in poller.wait(&mut space, None)? {
            let n = ready.data.u64() as usize;
            if let Ok((length, _)) = sockets[n].recv_from(&mut data) {
                let _ = sockets[n ^ 1].send_to(&data[..length], peers[n ^ 1]);
            }
        }
    }
}
