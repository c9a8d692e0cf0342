"""How a phone reaches the world: what a transport must offer, and the one over real sockets.

Tests in memory bring their own. All sockets are opened at once, without waiting, so that addresses
are known before the first message is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

Address = tuple[str, int]
Receive = Callable[[bytes, Address], None]
"""(data, src)"""
ReceiveRtp = Callable[[Address, bytes, Address], None]
"""(local, data, src)"""
MAX_MESSAGE = 65_536


class Transport(Protocol):
    """`kind` is the word of the Via; `local` the address where SIP arrives."""

    kind: str
    local: Address

    def open(
        self, receive: Receive, receive_rtp: ReceiveRtp, broken: Callable[[Address, str], None]
    ) -> None: ...
    def close(self) -> None: ...
    def send(self, data: bytes, dst: Address) -> None: ...
    def open_rtp(self) -> Address:
        """Open one more place to hear sound at."""
        ...

    def close_rtp(self, local: Address) -> None: ...
    def send_rtp(self, local: Address, data: bytes, dst: Address) -> None: ...


class _Sockets:
    """Datagram sockets on one host, read as they become readable."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._rtp: dict[Address, socket.socket] = {}
        self._receive_rtp: ReceiveRtp | None = None

    def _bind(self, port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind((self._host, port))
        return sock

    def open_rtp(self) -> Address:
        """An even port whose odd neighbour is free too (RFC 3550 11)."""
        for _ in range(100):
            sock = self._bind(0)
            local: Address = sock.getsockname()[:2]
            if local[1] % 2 == 0:
                break
            sock.close()
        else:
            raise OSError("no even port is free")
        self._rtp[local] = sock
        asyncio.get_running_loop().add_reader(sock, self._read_rtp, local, sock)
        return local

    def close_rtp(self, local: Address) -> None:
        sock = self._rtp.pop(local, None)
        if sock is not None:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()

    def send_rtp(self, local: Address, data: bytes, dst: Address) -> None:
        sock = self._rtp.get(local)
        if sock is not None:
            with contextlib.suppress(OSError):  # a full buffer or a closed port there: as if lost on the way
                sock.sendto(data, dst)

    def _read_rtp(self, local: Address, sock: socket.socket) -> None:
        for data, src in _datagrams(sock):
            if self._receive_rtp is not None:
                self._receive_rtp(local, data, src)

    def _close_rtp_all(self) -> None:
        for local in list(self._rtp):
            self.close_rtp(local)


class UdpTransport(_Sockets):
    """SIP over UDP from one real socket. `port` 0 takes any."""

    kind = "UDP"

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(host)
        self._sip = self._bind(port)
        self.local: Address = self._sip.getsockname()[:2]
        self._receive: Receive | None = None
        self._broken: Callable[[Address, str], None] | None = None

    def open(self, receive: Receive, receive_rtp: ReceiveRtp, broken: Callable[[Address, str], None]) -> None:
        self._receive, self._receive_rtp, self._broken = receive, receive_rtp, broken
        asyncio.get_running_loop().add_reader(self._sip, self._read)

    def close(self) -> None:
        self._close_rtp_all()
        asyncio.get_running_loop().remove_reader(self._sip)
        self._sip.close()

    def send(self, data: bytes, dst: Address) -> None:
        with contextlib.suppress(OSError):  # lost, as far as SIP over UDP is concerned: it is sent again
            self._sip.sendto(data, dst)

    def _read(self) -> None:
        for data, src in _datagrams(self._sip):
            if self._receive is not None:
                self._receive(data, src)


class StreamTransport(_Sockets):
    """SIP over TCP, or TLS with `client_tls` (and `server_tls` to be called directly).

    Listens on a port of its own, which is the Contact's; a connection to an address is kept and used
    in both directions until one side closes it.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        client_tls: ssl.SSLContext | None = None,
        server_tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> None:
        super().__init__(host)
        self.kind = "TLS" if client_tls else "TCP"
        self._client_tls, self._server_tls = client_tls, server_tls
        self._server_name = server_name
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family)
        self.local: Address = self._listener.getsockname()[:2]
        self._writers: dict[Address, asyncio.StreamWriter] = {}
        self._waiting: dict[Address, list[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._receive: Receive | None = None
        self._broken: Callable[[Address, str], None] | None = None

    def open(self, receive: Receive, receive_rtp: ReceiveRtp, broken: Callable[[Address, str], None]) -> None:
        self._receive, self._receive_rtp, self._broken = receive, receive_rtp, broken
        self._spawn(self._listen())

    def close(self) -> None:
        self._close_rtp_all()
        if self._server is not None:
            self._server.close()
        for writer in self._writers.values():
            writer.close()
        for task in self._tasks:
            task.cancel()
        self._listener.close()

    def send(self, data: bytes, dst: Address) -> None:
        writer = self._writers.get(dst)
        if writer is not None and not writer.is_closing():
            writer.write(data)
        elif dst in self._waiting:
            self._waiting[dst].append(data)
        else:
            self._waiting[dst] = [data]
            self._spawn(self._connect(dst))

    def _spawn(self, work: asyncio.coroutines.Coroutine[None, None, None]) -> None:  # type: ignore[name-defined]
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, sock=self._listener, ssl=self._server_tls)

    async def _connect(self, dst: Address) -> None:
        try:
            name = (self._server_name or dst[0]) if self._client_tls else None
            reader, writer = await asyncio.open_connection(*dst, ssl=self._client_tls, server_hostname=name)
        except OSError as error:
            self._waiting.pop(dst, None)
            if self._broken is not None:
                self._broken(dst, str(error))
            return
        self._writers[dst] = writer
        for data in self._waiting.pop(dst, []):
            writer.write(data)
        await self._read(reader, dst)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        src: Address = writer.get_extra_info("peername")[:2]
        self._writers[src] = writer
        try:
            await self._read(reader, src)
        except asyncio.CancelledError:
            writer.close()  # the loop ends, and nobody awaits this task of the server's

    async def _read(self, reader: asyncio.StreamReader, src: Address) -> None:
        """Cut the stream into messages by Content-Length (RFC 3261 18.3)."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if not head.strip():
                    continue
                body = await reader.readexactly(_body_length(head.lstrip(b"\r\n")))
                if self._receive is not None:
                    self._receive(head.lstrip(b"\r\n") + body, src)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass  # they hung up, or sent what cannot be cut: the connection is over
        finally:
            writer = self._writers.pop(src, None)
            if writer is not None:
                writer.close()


def _body_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip() in (b"content-length", b"l") and value.strip().isdigit():
            return min(int(value), MAX_MESSAGE)
    return 0


def _datagrams(sock: socket.socket) -> list[tuple[bytes, Address]]:
    """All that is there now. An ICMP error of an earlier send shows up here; it means: lost."""
    found: list[tuple[bytes, Address]] = []
    for _ in range(64):
        try:
            data, src = sock.recvfrom(MAX_MESSAGE)
        except BlockingIOError:
            break
        except ConnectionError:
            continue
        found.append((data, src[:2]))
    return found
