"""The engine's side of the control socket: commands out in batches, events in.

`pack` and `FrameReader` are the wire without I/O; `MediaClient` keeps one connection and comes back when
media was away. What the messages mean is told in `media/messages.py`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence

import msgspec

from media.messages import VERSION, Command, Event, Hello, Welcome

LONGEST_FRAME = 64 << 20
_MOST_UNSENT = 16 << 20
_READ_BYTES = 256 << 10
_FIRST_RETRY_S = 0.1
_LONGEST_RETRY_S = 5.0

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Event])


class MediaFault(Exception):
    """The media process does not speak our version of the protocol, or something else listens there."""


def pack(commands: Iterable[Command]) -> bytes:
    """One frame that holds these commands, in order."""
    body = _encoder.encode(list(commands))
    return len(body).to_bytes(4, "big") + body


class FrameReader:
    """Turns bytes as they come from the socket into events."""

    __slots__ = ("_unread",)

    def __init__(self) -> None:
        self._unread = bytearray()

    def feed(self, data: bytes) -> list[Event]:
        """The events that are complete with `data`. Raises MediaFault when it is not a frame of events."""
        unread = self._unread
        unread += data
        events: list[Event] = []
        start = 0
        while len(unread) - start >= 4:
            length = int.from_bytes(unread[start : start + 4], "big")
            if length > LONGEST_FRAME:
                raise MediaFault(f"a frame of {length} bytes")
            end = start + 4 + length
            if end > len(unread):
                break
            try:
                events += _decoder.decode(memoryview(unread)[start + 4 : end])
            except msgspec.MsgspecError as fault:
                raise MediaFault(str(fault)) from fault
            start = end
        del unread[:start]
        return events


class MediaClient:
    """One connection to the media process, opened again whenever it was lost, until `close`.

    `on_events` gets each batch of events as it came. `on_link` gets media's Welcome each time that it is
    there: whoever keeps calls asks now for the memos, or tells everything anew; and None when it is away.
    All callbacks come on the loop that `connect` was awaited on.
    """

    __slots__ = (
        "_keeper",
        "_link",
        "_loop",
        "_outgoing",
        "_welcomed",
        "on_events",
        "on_link",
        "orphan_s",
        "path",
    )

    def __init__(
        self,
        path: str,
        on_events: Callable[[Sequence[Event]], None],
        on_link: Callable[[Welcome | None], None],
        orphan_s: float = 60.0,
    ) -> None:
        self.path = path
        self.on_events = on_events
        self.on_link = on_link
        self.orphan_s = orphan_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._link: _Link | None = None
        self._welcomed: asyncio.Future[Welcome] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._outgoing: list[Command] = []

    @property
    def connected(self) -> bool:
        return self._link is not None

    async def connect(self) -> Welcome:
        """Connect, trying again for as long as nobody listens, and keep connected from then on.

        Raises MediaFault when what listens there is no media process of our version.
        """
        self._loop = asyncio.get_running_loop()
        self._welcomed = self._loop.create_future()
        self._keeper = self._loop.create_task(self._keep_connected(), name="media-client")
        await asyncio.wait((self._keeper, self._welcomed), return_when=asyncio.FIRST_COMPLETED)
        if self._keeper.done():
            await self._keeper
        return await self._welcomed

    async def close(self) -> None:
        """Let go of media, which relays on for `orphan_s`."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait((keeper,))

    def send(self, command: Command) -> None:
        """Send `command` in one frame with all others of this turn of the loop; dropped while media is away.

        What media must know after that is told when `on_link` says that it is back.
        """
        if self._link is None or self._loop is None:
            return
        if not self._outgoing:
            self._loop.call_soon(self.flush)
        self._outgoing.append(command)

    def flush(self) -> None:
        """Send what waits for the end of this turn of the loop now: before the answer that depends on it."""
        commands, self._outgoing = self._outgoing, []
        if self._link is not None and commands:
            self._link.write(commands)

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        retry_s = _FIRST_RETRY_S
        while True:
            link = _Link(self, loop)
            try:
                await link.run(self.path)
            except OSError:
                pass
            finally:
                link.close()
            retry_s = _FIRST_RETRY_S if link.welcome is not None else min(2 * retry_s, _LONGEST_RETRY_S)
            await _pause(loop, retry_s)

    def _linked(self, link: _Link, welcome: Welcome) -> None:
        self._link = link
        if self._welcomed is not None and not self._welcomed.done():
            self._welcomed.set_result(welcome)
        self.on_link(welcome)

    def _unlinked(self) -> None:
        self._link = None
        self._outgoing.clear()
        self.on_link(None)


class _Link:
    """One connection: says Hello, waits for Welcome, then passes events.

    Writes the socket itself, at once: an asyncio transport would write at the end of the turn, after the
    SIP answer that the frame must go before, and at several times the cost.
    """

    __slots__ = ("_client", "_closed", "_loop", "_reader", "_socket", "_unsent", "welcome")

    def __init__(self, client: MediaClient, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop
        self._reader = FrameReader()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._unsent = bytearray()
        self._closed: asyncio.Future[None] = loop.create_future()
        self.welcome: Welcome | None = None

    async def run(self, path: str) -> None:
        """Connect, and go on until the connection ends. Raises OSError, and MediaFault for a wrong peer."""
        await self._loop.sock_connect(self._socket, path)
        self._loop.add_reader(self._socket, self._readable)
        self.write([Hello(VERSION, self._client.orphan_s)])
        await self._closed

    def write(self, commands: Sequence[Command]) -> None:
        """Hand one frame to the kernel, or keep what it does not take."""
        frame = pack(commands)
        if self._unsent:
            self._keep(frame)
            return
        try:
            sent = self._socket.send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._end()
            return
        if sent < len(frame):
            self._keep(frame[sent:])
            self._loop.add_writer(self._socket, self._writable)

    def _keep(self, data: bytes) -> None:
        self._unsent += data
        if len(self._unsent) > _MOST_UNSENT:
            self._end()  # media has stopped reading: better to be seen as away than to hoard

    def _writable(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self._end()
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        try:
            events = self._reader.feed(data)
            if self.welcome is None and events:
                self._greet(events.pop(0))
        except MediaFault as fault:
            if not self._closed.done():
                self._closed.set_exception(fault)
            return
        if events:
            self._client.on_events(events)

    def _greet(self, first: Event) -> None:
        if not isinstance(first, Welcome) or first.version != VERSION:
            raise MediaFault(f"media does not speak version {VERSION}: {first!r}")
        self.welcome = first
        self._client._linked(self, first)

    def _end(self) -> None:
        if not self._closed.done():
            self._closed.set_result(None)

    def close(self) -> None:
        """Let go of the socket; the client hears of it when the connection had stood."""
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        if self.welcome is not None:
            self._client._unlinked()


async def _pause(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    over: asyncio.Future[None] = loop.create_future()
    timer = loop.call_later(seconds, over.set_result, None)
    try:
        await over
    finally:
        timer.cancel()
