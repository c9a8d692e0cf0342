//! The sockets of one stream.
//!
//! Level-triggered epoll and one `recvfrom` per wake of a socket: a stream has one packet per 20 ms, so that
//! draining a socket until it is empty would double its system calls, and `recvmmsg` has nothing to batch.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::epoll;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, ipproto, recvfrom, send, sendto,
    socket_with, sockopt,
};

use crate::io::{Poller, watch};
use crate::stream::{Component, Door};

const MOST_OLDER: u8 = 64;
/// Expedited forwarding (RFC 3246, RFC 4594 section 4.1).
const VOICE_CLASS: u8 = 46 << 2;

/// The sockets of a stream: RTP, RTCP, and once the peer is known a second one for RTP that is connected to it.
///
/// A connected socket spares the route look-up of each packet, a tenth of what relaying costs. It shares the
/// port with the first one, which still hears everybody else: strangers are counted, a peer that moves is found.
#[derive(Debug)]
pub struct Sockets {
    local: SocketAddr,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    connected: Option<(UdpSocket, SocketAddr)>,
    /// How many packets from before the second socket was connected may still wait in the first.
    older: u8,
    watched: Option<(Arc<OwnedFd>, u64)>,
}

/// Which of the sockets of a port is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Rtp,
    Rtcp,
    Connected,
}

impl Which {
    pub fn component(self) -> Component {
        if self == Self::Rtcp { Component::Rtcp } else { Component::Rtp }
    }
}

impl Sockets {
    /// Bind RTP on `local` and RTCP on the next port.
    pub fn open(local: SocketAddr) -> io::Result<Self> {
        let next = local.port().checked_add(1).ok_or(io::ErrorKind::InvalidInput)?;
        let rtp = bound(local, false)?;
        let rtcp = bound(SocketAddr::new(local.ip(), next), false)?;
        // Only now, so that a port that is in use, be it by another of our kind, is refused above.
        sockopt::set_socket_reuseport(&rtp, true)?;
        Ok(Self { local, rtp, rtcp, connected: None, older: 0, watched: None })
    }

    fn all(&self) -> impl Iterator<Item = (Which, &UdpSocket)> {
        let connected = self.connected.iter().map(|(socket, _)| (Which::Connected, socket));
        [(Which::Rtp, &self.rtp), (Which::Rtcp, &self.rtcp)].into_iter().chain(connected)
    }

    /// Let `poller` tell when something came; its number is `number` times 4, plus which.
    pub fn watch(&mut self, poller: &Poller, number: u64) -> io::Result<()> {
        self.all()
            .try_for_each(|(which, socket)| watch(&poller.epoll, socket, number << 2 | which as u64))?;
        self.watched = Some((poller.epoll.clone(), number));
        Ok(())
    }

    pub fn unwatch(&mut self) {
        if let Some((epoll, _)) = self.watched.take() {
            for (_, socket) in self.all() {
                let _ = epoll::delete(&*epoll, socket);
            }
        }
    }

    /// Read one datagram from the socket that is ready, with its real source: what a connected socket was sent
    /// just before it was connected, or connected anew, may be somebody else's.
    pub fn receive(&mut self, which: Which, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match (which, &self.connected) {
            (Which::Rtcp, _) => receive(&self.rtcp, into),
            (Which::Connected, Some((socket, _))) if self.older == 0 => receive(socket, into),
            (Which::Connected, Some((socket, _))) => {
                // Older packets first, or the peer's stream would be misordered here.
                let older = receive(&self.rtp, into);
                self.older = if older.is_ok() { self.older - 1 } else { 0 };
                older.or_else(|_| receive(socket, into))
            }
            _ => receive(&self.rtp, into),
        }
    }

    fn connect(&mut self, peer: SocketAddr) -> io::Result<()> {
        self.older = MOST_OLDER;
        if let Some((socket, known)) = &mut self.connected {
            socket.connect(peer)?;
            *known = peer;
            return Ok(());
        }
        let socket = bound(self.local, true)?;
        socket.connect(peer)?;
        if let Some((epoll, number)) = &self.watched {
            watch(epoll, &socket, number << 2 | Which::Connected as u64)?;
        }
        self.connected = Some((socket, peer));
        Ok(())
    }
}

fn receive(socket: &UdpSocket, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    let (length, _, from) = recvfrom(socket, into, RecvFlags::empty())?;
    let from = from.and_then(|from| SocketAddr::try_from(from).ok());
    Ok((length, from.ok_or(io::ErrorKind::InvalidData)?))
}

/// What a number that `Sockets::watch` gave says.
pub fn which(number: u64) -> (u64, Which) {
    let which = match number & 3 {
        0 => Which::Rtp,
        1 => Which::Rtcp,
        _ => Which::Connected,
    };
    (number >> 2, which)
}

/// A datagram socket with the kernel's own buffer sizes: some three seconds of sound, or a burst of video.
///
/// `sharing`: beside another one on the same port.
fn bound(local: SocketAddr, sharing: bool) -> io::Result<UdpSocket> {
    let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?;
    if local.is_ipv4() {
        sockopt::set_ip_tos(&socket, VOICE_CLASS)?;
    } else {
        sockopt::set_ipv6_v6only(&socket, true)?;
        sockopt::set_ipv6_tclass(&socket, u32::from(VOICE_CLASS))?;
    }
    if sharing {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    bind(&socket, &local)?;
    Ok(UdpSocket::from(socket))
}

impl Door for Sockets {
    /// A datagram that the kernel does not take is lost like any other on its way.
    fn send(&self, component: Component, to: SocketAddr, data: &[u8]) {
        let _ = match (component, &self.connected) {
            (Component::Rtp, Some((socket, peer))) if *peer == to => send(socket, data, SendFlags::empty()),
            (Component::Rtp, _) => sendto(&self.rtp, data, SendFlags::empty(), &to),
            (Component::Rtcp, _) => sendto(&self.rtcp, data, SendFlags::empty(), &to),
        };
    }

    /// Without a second socket everything goes on by the first.
    fn peer_found(&mut self, peer: SocketAddr) {
        if self.connect(peer).is_err() {
            self.connected = None;
        }
    }
}
