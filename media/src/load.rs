//! For measuring: an RTP load with the time of each packet, and the barest relay to compare with.
//!
//! Peers are distinct addresses of 127/8, so that one socket plays all of them and system calls are batched: the
//! load stays cheap. A packet has left before its system call and arrived at the kernel's receive time stamp, so that
//! the load's own delay in reading does not count. What the peers say is in `scene.rs`.

#![allow(unsafe_code, clippy::indexing_slicing)]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use crate::io::{NOTHING, Poller};
use crate::rtp::{HEADER, Header};
use crate::scene::{OPUS, Scene, Watch, sound};

const PEER_PORT: u16 = 40_000;
const PACKET: usize = 256;
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
    /// After the warm-up.
    pub counted: u64,
    pub counted_received: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub late_ms: f64,
}

/// Send 50 packets a second from each of `ports` peers to port `first_port` + 2n of this host; what came back.
pub fn load(first_port: u16, ports: usize, seconds: f64, mut scene: Scene) -> io::Result<Measured> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PEER_PORT))?;
    let _swallows_rtcp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PEER_PORT + 1))?;
    socket.set_nonblocking(true)?;
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER as i32);
    set(&socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, BUFFER as i32);
    set(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1);
    let mut sender = Sender::new(first_port, ports);
    let mut receiver = Receiver::new(first_port);
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
            let counted = slot >= counted_from;
            let sent = sender.send_slot(&socket, slot % SLOTS, counted, &mut scene);
            measured.sent += sent;
            measured.counted += if counted { sent } else { 0 };
        }
        receiver.counts = scene.watch == Watch::Stamps || (counted_from..counted_to).contains(&slot);
        receiver.receive_all(&socket, &mut scene);
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
    packets: Vec<([u8; PACKET], usize)>,
    rounds: u32,
}

impl Sender {
    fn new(first_port: u16, ports: usize) -> Self {
        let to =
            (0..ports).map(|n| address(SocketAddrV4::new(Ipv4Addr::LOCALHOST, first_port + 2 * n as u16)));
        let from = (0..ports).map(|n| source_address(*peer(n).ip()));
        Self {
            to: to.collect(),
            from: from.collect(),
            packets: vec![([0; PACKET], HEADER); ports],
            rounds: 0,
        }
    }

    fn send_slot(&mut self, socket: &UdpSocket, slot: usize, counted: bool, scene: &mut Scene) -> u64 {
        self.rounds += u32::from(slot == 0);
        let due: Vec<usize> = (slot..self.packets.len()).step_by(SLOTS).collect();
        for batch in due.chunks(BATCH) {
            let now = clock_ns(libc::CLOCK_REALTIME);
            batch.iter().for_each(|n| self.write(*n, now, counted, scene));
            self.send_batch(socket, batch);
        }
        due.len() as u64
    }

    fn write(&mut self, n: usize, now: i64, counted: bool, scene: &mut Scene) {
        let spoken = scene.spoken(n);
        let (packet, length) = &mut self.packets[n];
        let header = Header {
            marker: false,
            payload_type: spoken.payload_type,
            sequence: self.rounds as u16,
            timestamp: self.rounds.wrapping_mul(spoken.ticks()),
            ssrc: n as u32 + 1,
        };
        if let Some(head) = packet.first_chunk_mut() {
            header.write(head);
        }
        let payload = scene.says(n, self.rounds as usize, now);
        *length = HEADER + payload.len();
        packet[HEADER..*length].copy_from_slice(payload);
        if scene.watch == Watch::Stamps {
            packet[HEADER..HEADER + 8].copy_from_slice(&now.to_ne_bytes());
            packet[HEADER + 8] = u8::from(counted);
        }
    }

    fn send_batch(&mut self, socket: &UdpSocket, batch: &[usize]) {
        // SAFETY: every pointer is into vectors of self that outlive the call; lengths are theirs.
        unsafe {
            let mut parts: [libc::iovec; BATCH] = zeroed();
            let mut messages: [libc::mmsghdr; BATCH] = zeroed();
            for (place, n) in batch.iter().enumerate() {
                let (packet, length) = &mut self.packets[*n];
                parts[place] = libc::iovec { iov_base: packet.as_mut_ptr().cast(), iov_len: *length };
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
    first_port: u16,
    data: Box<[[u8; PACKET]; BATCH]>,
    control: Box<[[u64; CONTROL / 8]; BATCH]>,
    from: Box<[libc::sockaddr_in; BATCH]>,
    /// How far real time is ahead of the monotonic clock.
    ahead_ns: i64,
    /// Packets by their microseconds on the way.
    delays: Vec<u64>,
    counts: bool,
    received: u64,
    counted: u64,
}

impl Receiver {
    fn new(first_port: u16) -> Self {
        let (data, control) = (Box::new([[0; PACKET]; BATCH]), Box::new([[0; CONTROL / 8]; BATCH]));
        let from = Box::new([address(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)); BATCH]);
        let ahead_ns = clock_ns(libc::CLOCK_REALTIME) - clock_ns(libc::CLOCK_MONOTONIC);
        let (delays, counts, received, counted) = (vec![0; MOST_US], false, 0, 0);
        Self { first_port, data, control, from, ahead_ns, delays, counts, received, counted }
    }

    fn receive_all(&mut self, socket: &UdpSocket, scene: &mut Scene) {
        while self.receive_batch(socket, scene) == BATCH {}
    }

    fn receive_batch(&mut self, socket: &UdpSocket, scene: &mut Scene) -> usize {
        // SAFETY: every pointer is into boxes of self that outlive the call; lengths are theirs.
        unsafe {
            let mut parts: [libc::iovec; BATCH] = zeroed();
            let mut messages: [libc::mmsghdr; BATCH] = zeroed();
            for place in 0..BATCH {
                parts[place] =
                    libc::iovec { iov_base: self.data[place].as_mut_ptr().cast(), iov_len: PACKET };
                let header = &mut messages[place].msg_hdr;
                header.msg_name = (&raw mut self.from[place]).cast();
                header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
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
                self.note(place, message.msg_len as usize, arrival_ns(&message.msg_hdr), scene);
            }
            count
        }
    }

    fn note(&mut self, place: usize, length: usize, arrived: i64, scene: &mut Scene) {
        self.received += 1;
        let port = u16::from_be(self.from[place].sin_port);
        let peer = usize::from(port.wrapping_sub(self.first_port)) / 2;
        let payload = self.data[place].get(HEADER..length).unwrap_or_default();
        let delay = scene.delay_ns(peer, payload, arrived, self.ahead_ns);
        if !self.counts {
            return;
        }
        self.counted += u64::from(scene.watch != Watch::Stamps || delay.is_some());
        if let Some(delay) = delay {
            let us = delay.max(0) as usize / 1000;
            self.delays[us.min(MOST_US - 1)] += 1;
        }
    }

    fn quantile(&self, part: f64) -> u64 {
        let wanted = (part * self.delays.iter().sum::<u64>() as f64) as u64;
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

/// What libopus alone costs for a packet that is decoded and one that is encoded: microseconds of this thread.
pub fn opus_us(seconds: usize) -> f64 {
    let (Some(mut decoder), Some(mut encoder)) = (OPUS.codec.decoder(), OPUS.encoder()) else { return 0.0 };
    let packets = [OPUS.second(true), OPUS.second(false)];
    let frames = [true, false].map(|talks| sound(OPUS.codec.rate(), talks));
    let (mut samples, mut payload, mut count) = (Vec::new(), Vec::new(), 0u32);
    let start = clock_ns(libc::CLOCK_THREAD_CPUTIME_ID);
    for second in 0..seconds {
        for (packet, frame) in packets[second % 2].iter().zip(&frames[second % 2]) {
            samples.clear();
            payload.clear();
            let _ = decoder.decode(packet, &mut samples);
            encoder.encode(frame, &mut payload);
            count += 1;
        }
    }
    (clock_ns(libc::CLOCK_THREAD_CPUTIME_ID) - start) as f64 / 1000.0 / f64::from(count.max(1))
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
