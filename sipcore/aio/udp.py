"""One UDP listener (RFC 3261 section 18): datagrams in, datagrams out, ICMP errors told back.

Reads the socket itself instead of through an asyncio transport: that costs a quarter, and only so
can a reply leave from the very address that was called (18.2.2) on a host with several. What a
datagram means is not its business, apart from keep-alives (RFC 5626).
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable

from sipcore.aio.counters import Counters
from sipcore.aio.listen import Listen, listen_error
from sipcore.aio.stun import binding_response, looks_like_stun
from sipcore.flow import Address, Flow, Transport

OnReceived = Callable[[bytes, Flow], None]
OnFailed = Callable[[Flow, str], None]
Ancillary = list[tuple[int, int, bytes]]

DATAGRAMS_A_WAKE = 32
"""then timers and other sockets have their turn"""
KNOWN_PEERS = 8_192
"""a flood from forged addresses makes us forget the known ones, and costs nothing else"""
WAITING_DATAGRAMS = 1_024
RECEIVE_BUFFER = 4 << 20
LARGEST = 65_535

# Linux names that the socket module of Python 3.11 lacks.
_IP_PKTINFO = 8
_IP_MTU_DISCOVER = 10
_IP_RECVERR = 11
_IPV6_MTU_DISCOVER = 23
_IPV6_RECVERR = 25
_PMTUDISC_DONT = 0
_SO_RCVBUFFORCE = 33
_SO_MEMINFO = 55

_PKTINFO4 = struct.Struct("=I4s4s")
_PKTINFO6 = struct.Struct("=16sI")
_EXTENDED_ERROR = struct.Struct("=IBBBB")
_ICMP_ORIGINS = frozenset({2, 3})
_FATAL = frozenset(
    {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EACCES, errno.ENONET}
)
"""what makes another target worth a try; a hint about the packet size (EMSGSIZE) does not"""

_READ = select.EPOLLIN
_READ_AND_WRITE = select.EPOLLIN | select.EPOLLOUT


class UdpSocket:
    """A bound UDP socket that reads until `close`. Raises ListenError when it cannot be bound.

    `on_received(data, flow)` is called from the event loop only, `on_failed(flow, why)` likewise and
    never from inside `send`. Bound to one address, `flow.local` is that address; bound to a wildcard,
    it is the address that the datagram was sent to, and what is sent on that flow leaves from it.
    """

    def __init__(
        self,
        listen: Listen,
        on_received: OnReceived,
        on_failed: OnFailed,
        counters: Counters,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._on_received = on_received
        self._on_failed = on_failed
        self._counters = counters
        self._loop = loop
        self._v6 = ":" in listen.host
        self._wildcard = listen.host in ("0.0.0.0", "::")  # noqa: S104 the operator chose it
        self._socket = _bound(listen)
        bound = self._socket.getsockname()
        self.local: Address = (bound[0], bound[1])
        self._flows: dict[object, Flow] = {}
        self._peers: dict[Address, tuple[str, int] | tuple[str, int, int, int]] = {}
        self._sent: dict[Address, Flow] = {}
        """the last flow to each peer: an ICMP error does not tell which of our addresses it is about"""
        self._sources: dict[str, Ancillary] = {}
        self._waiting: deque[tuple[Flow, bytes]] = deque()
        # uvloop stops watching a descriptor that reports EPOLLERR, which every ICMP error would bring
        # about; an epoll of our own in between passes on readiness and nothing else.
        self._epoll = select.epoll()
        self._epoll.register(self._socket, _READ)
        loop.add_reader(self._epoll, self._on_ready)

    def close(self) -> None:
        """Stop reading and free the port; what still waits to be sent is dropped."""
        self._loop.remove_reader(self._epoll)
        self._epoll.close()
        self._socket.close()
        self._waiting.clear()

    def backlog_bytes(self) -> int:
        """What has arrived and waits to be read, as the kernel accounts for it (some 2 KiB a message)."""
        told = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36)
        return int.from_bytes(told[:4], sys.byteorder)

    def send(self, flow: Flow, data: bytes) -> None:
        """Send one datagram to `flow.remote`, now or as soon as the socket takes it."""
        if self._waiting:
            self._queue(flow, data)
            return
        try:
            self._transmit(flow, data)
        except BlockingIOError:
            self._queue(flow, data)
        except OSError as error:
            self._resend(flow, data, error)

    def _transmit(self, flow: Flow, data: bytes) -> None:
        remote = flow.remote
        peer = self._peers.get(remote) or self._meet(remote)
        self._sent[remote] = flow
        if self._wildcard:
            local = flow.local[0]
            source = self._sources.get(local)
            if source is None:
                source = self._source(local)
            self._socket.sendmsg((data,), source, 0, peer)
        else:
            self._socket.sendto(data, peer)

    def _resend(self, flow: Flow, data: bytes, error: OSError) -> None:
        """An ICMP error of an earlier datagram surfaces in whatever call is next: read it, try once more."""
        if self._read_errors():
            try:
                self._transmit(flow, data)
                return
            except BlockingIOError:
                self._queue(flow, data)
                return
            except OSError as second:
                error = second
        self._loop.call_soon(self._on_failed, flow, _words(error))

    def _queue(self, flow: Flow, data: bytes) -> None:
        if len(self._waiting) >= WAITING_DATAGRAMS:
            self._counters.datagrams_dropped += 1
            return
        self._waiting.append((flow, data))
        self._epoll.modify(self._socket, _READ_AND_WRITE)

    def _flush(self) -> None:
        waiting = self._waiting
        while waiting:
            flow, data = waiting[0]
            try:
                self._transmit(flow, data)
            except BlockingIOError:
                return
            except OSError as error:
                self._resend(flow, data, error)
            waiting.popleft()
        self._epoll.modify(self._socket, _READ)

    def _on_ready(self) -> None:
        if self._waiting:
            self._flush()
        if self._wildcard:
            self._read_wildcard()
        else:
            self._read_plain()

    def _read_plain(self) -> None:
        recvfrom = self._socket.recvfrom
        flows = self._flows
        on_received = self._on_received
        for count in range(DATAGRAMS_A_WAKE):
            try:
                data, peer = recvfrom(LARGEST)
            except BlockingIOError:
                self._read_to_the_end(count)
                return
            except OSError:
                self._read_errors()
                continue
            flow = flows.get(peer) or self._remember(peer, peer, self.local)
            if data and data[0] > 31:
                on_received(data, flow)
            else:
                self._keep_alive(data, flow)
        self._counters.datagrams += DATAGRAMS_A_WAKE

    def _read_wildcard(self) -> None:
        recvmsg = self._socket.recvmsg
        flows = self._flows
        on_received = self._on_received
        for count in range(DATAGRAMS_A_WAKE):
            try:
                data, ancillary, _, peer = recvmsg(LARGEST, 64)
            except BlockingIOError:
                self._read_to_the_end(count)
                return
            except OSError:
                self._read_errors()
                continue
            told = ancillary[0][2] if ancillary else b""
            flow = flows.get((peer, told)) or self._remember((peer, told), peer, self._called(told))
            if data and data[0] > 31:
                on_received(data, flow)
            else:
                self._keep_alive(data, flow)
        self._counters.datagrams += DATAGRAMS_A_WAKE

    def _read_to_the_end(self, count: int) -> None:
        self._counters.datagrams += count
        if not count:
            self._read_errors()  # what else woke us: an error that no call brings up would do so for ever

    def _keep_alive(self, data: bytes, flow: Flow) -> None:
        """Nothing, CRLFs, STUN: no business of the stack. A message after leading CRLFs is (RFC 3261 7.5)."""
        if looks_like_stun(data):
            answer = binding_response(data, flow.remote)
            if answer is None:
                self._counters.stun_dropped += 1
                return
            self._counters.keep_alives += 1
            self.send(flow, answer)
        elif len(data) <= 4 or not data.strip(b"\r\n"):
            self._counters.keep_alives += 1
        else:
            self._on_received(data, flow)

    def _called(self, told: bytes) -> Address:
        """The address that a datagram was sent to, from its PKTINFO."""
        if self._v6 and len(told) == _PKTINFO6.size:
            return socket.inet_ntop(socket.AF_INET6, told[:16]), self.local[1]
        if not self._v6 and len(told) == _PKTINFO4.size:
            return socket.inet_ntop(socket.AF_INET, told[4:8]), self.local[1]
        return self.local

    def _source(self, host: str) -> Ancillary:
        """The PKTINFO that makes a datagram leave from `host`; none when `host` is the wildcard itself."""
        made: Ancillary = []
        if host != self.local[0] and self._v6:
            packed = socket.inet_pton(socket.AF_INET6, host)
            made = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _PKTINFO6.pack(packed, 0))]
        elif host != self.local[0]:
            packed = socket.inet_pton(socket.AF_INET, host)
            made = [(socket.IPPROTO_IP, _IP_PKTINFO, _PKTINFO4.pack(0, packed, bytes(4)))]
        if len(self._sources) >= KNOWN_PEERS:
            self._sources.clear()
        self._sources[host] = made
        return made

    def _remember(
        self, key: object, peer: tuple[str, int] | tuple[str, int, int, int], local: Address
    ) -> Flow:
        flow = Flow(Transport.UDP, local, (peer[0], peer[1]))
        if len(self._flows) >= KNOWN_PEERS:
            self._flows.clear()
            self._forget_peers()
        self._flows[key] = flow
        self._peers[flow.remote] = peer
        return flow

    def _meet(self, remote: Address) -> tuple[str, int] | tuple[str, int, int, int]:
        """Check that `remote` is literal, since sending to a name would block in the system's resolver."""
        family = socket.AF_INET6 if self._v6 else socket.AF_INET
        socket.inet_pton(family, remote[0])
        if len(self._peers) >= KNOWN_PEERS:
            self._forget_peers()
        self._peers[remote] = remote
        return remote

    def _forget_peers(self) -> None:
        self._peers.clear()
        self._sent.clear()

    def _read_errors(self) -> bool:
        """Tell the flows that ICMP errors are about; True when there was one."""
        for count in range(DATAGRAMS_A_WAKE):
            try:
                _, ancillary, _, peer = self._socket.recvmsg(1, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return count > 0
            for _, _, report in ancillary:
                self._tell(report, (peer[0], peer[1]))
        return True

    def _tell(self, report: bytes, remote: Address) -> None:
        """One sock_extended_err, ip(7): which datagram to `remote` it was does not matter."""
        if len(report) < _EXTENDED_ERROR.size:
            return
        code, origin, *_ = _EXTENDED_ERROR.unpack_from(report)
        if origin not in _ICMP_ORIGINS or code not in _FATAL:
            return
        self._counters.icmp_errors += 1
        flow = self._sent.get(remote)
        if flow is not None:
            self._loop.call_soon(self._on_failed, flow, os.strerror(code))


def _words(error: OSError) -> str:
    return error.strerror or str(error)


def _bound(listen: Listen) -> socket.socket:
    v6 = ":" in listen.host
    try:
        made = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
    except OSError as error:
        raise listen_error(listen, error) from error
    try:
        made.setblocking(False)
        _set_options(made, v6, wildcard=listen.host in ("0.0.0.0", "::"))  # noqa: S104
        made.bind((listen.host, listen.port))
    except OSError as error:
        made.close()
        raise listen_error(listen, error) from error
    return made


def _set_options(made: socket.socket, v6: bool, wildcard: bool) -> None:
    # A large INVITE must get through as fragments instead of failing with EMSGSIZE.
    if v6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, int(wildcard))
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_DONT)
    else:
        made.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, int(wildcard))
        made.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        made.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DONT)
    for option in (socket.SO_RCVBUF, _SO_RCVBUFFORCE):
        try:
            made.setsockopt(socket.SOL_SOCKET, option, RECEIVE_BUFFER)
        except OSError:
            return  # without CAP_NET_ADMIN the system's net.core.rmem_max is the limit
