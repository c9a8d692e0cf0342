"""All stream connections: which one a message takes, how many there may be, when one is given up.

A request to an address reuses the connection that we opened to it, or that its owner opened to us
and proved to be theirs (RFC 5923); without one, one is opened and messages wait for it, bounded.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from time import monotonic, time_ns

from sipcore.aio.connection import Connection, Key
from sipcore.aio.counters import Counters
from sipcore.aio.keepalive import Liveness, Origin
from sipcore.aio.listen import Limits, Listen, TlsClientSettings
from sipcore.aio.opening import NotOpened, Opener
from sipcore.aio.stream import StreamWire
from sipcore.aio.udp import OnFailed, OnReceived
from sipcore.aio.websocket import WebSocketWire
from sipcore.aio.wire import Wire
from sipcore.flow import Address, Flow, Transport
from sipcore.framing import MAX_BODY_BYTES

_WEBSOCKETS = (Transport.WS, Transport.WSS)


class Opening:
    """A connection that is being opened, and the messages that wait for it."""

    __slots__ = ("task", "waiting")

    def __init__(self) -> None:
        self.waiting: list[tuple[Flow, bytes]] = []
        self.task: asyncio.Task[None] | None = None


class Connections:
    """The table. `on_failed(flow, why)` is called from the event loop, never from inside `send`."""

    def __init__(
        self,
        on_received: OnReceived,
        on_failed: OnFailed,
        counters: Counters,
        limits: Limits,
        tls: TlsClientSettings,
    ) -> None:
        self._on_received = on_received
        self._on_failed = on_failed
        self._counters = counters
        self._limits = limits
        self._opener = Opener(tls, limits.connect_s)
        self._jitter = random.Random()  # noqa: S311 spreads keep-alives, guards nothing
        # Not from 1: a flow kept from before a restart must not name another connection.
        self._ids = itertools.count(time_ns() // 1_000_000)
        self._by_id: dict[int, Connection] = {}
        self._by_key: dict[Key, Connection] = {}
        self._openings: dict[Key, Opening] = {}
        self._reserved = 0
        self._sources: Counter[str] = Counter()
        self._loop = asyncio.get_running_loop()
        self._gone = asyncio.Event()
        self._closed = False
        self._sweeper = self._loop.call_later(self._sweep_s(), self._sweep)

    def __len__(self) -> int:
        """How many connections are open, being opened, or shaking hands."""
        return self._reserved

    # ------------------------------------------------------------ sending

    def send(self, flow: Flow, data: bytes) -> None:
        """Send one message; `flow.connection` 0 takes or opens a connection to `flow.remote`."""
        if flow.connection:
            connection = self._by_id.get(flow.connection)
            if connection is None or connection.flow.remote != flow.remote:
                self._fail(flow, "the connection is gone")
            elif not connection.send(data, flow):
                self._fail(flow, connection.why or "the connection is not ready")
            return
        key = _key(flow)
        connection = self._by_key.get(key)
        if connection is None or not connection.send(data, flow):
            self._open(key, flow, data)

    def alias(self, flow: Flow, port: int) -> bool:
        """Let requests to `port` of the far side of `flow` take that connection (RFC 5923 section 5).

        For a TLS connection that the peer opened to us, with a certificate that we verified: only
        requests for the names in it take the connection. False when there is no such certificate.
        """
        connection = self._by_id.get(flow.connection)
        if connection is None or connection.flow.transport is not Transport.TLS:
            return False
        host = flow.remote[0]
        names = connection.peer_names()
        for name in names:
            self._enter(connection, (Transport.TLS, (host, port), "" if name == host else name))
        return bool(names)

    def peer_names(self, flow: Flow) -> tuple[str, ...]:
        """The names in the verified certificate of the peer (RFC 5922 7.1); none when it showed none."""
        connection = self._by_id.get(flow.connection)
        return () if connection is None else connection.peer_names()

    def disconnect(self, flow: Flow, why: str) -> None:
        """Close the connection of `flow`; its loss is reported like any other."""
        connection = self._by_id.get(flow.connection)
        if connection is not None:
            connection.close(why)

    # ------------------------------------------------------------ their coming and going

    def admit(self, listen: Listen, local: Address, remote: Address) -> Connection | None:
        """A connection for a socket just accepted; None when there are too many, in all or from there."""
        too_many = self._sources[remote[0]] >= self._limits.connections_per_source
        if too_many or not self._reserve(remote):
            self._counters.over_limit += 1
            return None
        self._counters.accepted += 1
        flow = Flow(listen.transport, local, remote, next(self._ids))
        if listen.transport in _WEBSOCKETS:
            return self._connection(flow, WebSocketWire(MAX_BODY_BYTES, listen.origins), Origin.WEBSOCKET)
        return self._connection(flow, StreamWire(), Origin.ACCEPTED)

    def turned_away(self, connection: Connection) -> None:
        """An admitted connection did not get through its handshake."""
        self._counters.bad_handshakes += 1
        self._release(connection.flow.remote)

    def stands(self, connection: Connection) -> None:
        self._by_id[connection.flow.connection] = connection
        if _key(connection.flow) not in self._openings:
            self._enter(connection, _key(connection.flow))

    def lost(self, connection: Connection, why: str) -> None:
        del self._by_id[connection.flow.connection]
        for key in connection.keys:
            del self._by_key[key]
        connection.keys.clear()
        self._release(connection.flow.remote)
        for flow in {connection.flow, *connection.sent_as}:
            self._fail(flow, why)

    def _enter(self, connection: Connection, key: Key) -> None:
        """Make the connection the one that `key` leads to from now on."""
        before = self._by_key.get(key)
        if before is not None:
            before.keys.discard(key)
        self._by_key[key] = connection
        connection.keys.add(key)

    def _connection(self, flow: Flow, wire: Wire, origin: Origin) -> Connection:
        liveness = Liveness(self._limits, origin, monotonic(), self._jitter.random())
        buffer = self._limits.write_buffer
        return Connection(self, flow, wire, liveness, self._on_received, self._counters, buffer)

    def _reserve(self, remote: Address) -> bool:
        """Count one more connection, if one more is allowed."""
        if self._closed or self._reserved >= self._limits.connections:
            return False
        self._reserved += 1
        self._sources[remote[0]] += 1
        return True

    def _release(self, remote: Address) -> None:
        self._reserved -= 1
        self._sources[remote[0]] -= 1
        if not self._sources[remote[0]]:
            del self._sources[remote[0]]
        self._gone.set()

    # ------------------------------------------------------------ opening

    def _open(self, key: Key, flow: Flow, data: bytes) -> None:
        """Have the message wait for the connection, which is opened unless that is under way."""
        opening = self._openings.get(key)
        if opening is None:
            if flow.transport in _WEBSOCKETS:
                self._fail(flow, "browsers connect to us, never we to them (RFC 7118)")
                return
            if not self._reserve(flow.remote):
                self._counters.over_limit += 1
                self._fail(flow, "too many connections")
                return
            opening = self._openings[key] = Opening()
            opening.task = self._loop.create_task(self._opened(key, flow, opening))
        if len(opening.waiting) >= self._limits.waiting_messages:
            self._fail(flow, "too many messages wait for the connection")
            return
        opening.waiting.append((flow, data))

    async def _opened(self, key: Key, flow: Flow, opening: Opening) -> None:
        """Open the connection and send what waits for it, or tell all who wait why not."""
        made: list[Connection] = []

        def make(address: Address) -> Connection:
            # The far side reaches us at the listener's port, not at the one that this socket happens to have.
            local = (address[0], flow.local[1])
            name = Flow(flow.transport, local, flow.remote, next(self._ids), flow.server_name)
            made.append(self._connection(name, StreamWire(), Origin.OPENED))
            return made[0]

        why = "the far side closed the connection"
        try:
            connection = await self._opener.open(flow, make)
            self._counters.opened += 1
            if connection.flow.connection in self._by_id:
                self._enter(connection, key)
        except NotOpened as not_opened:
            why = str(not_opened)
        finally:
            del self._openings[key]
            if not any(connection.stood for connection in made):
                self._release(flow.remote)
        unsent = [flow for flow, data in opening.waiting if not (made and made[0].send(data, flow))]
        for waiting in dict.fromkeys(unsent):
            self._fail(waiting, why)

    # ------------------------------------------------------------ housekeeping

    async def close(self, within_s: float = 3.0) -> None:
        """Close all connections, in order where the far side lets us, and wait for their end."""
        self._closed = True
        self._sweeper.cancel()
        tasks = [opening.task for opening in self._openings.values() if opening.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in list(self._by_id.values()):
            connection.close("we are shutting down")
        try:
            async with asyncio.timeout(within_s):
                while self._by_id:
                    self._gone.clear()
                    await self._gone.wait()
        except TimeoutError:
            for connection in list(self._by_id.values()):
                connection.abort("we are shutting down")

    def _sweep(self) -> None:
        now = monotonic()
        for connection in list(self._by_id.values()):
            connection.check(now)
        self._sweeper = self._loop.call_later(self._sweep_s(), self._sweep)

    def _sweep_s(self) -> float:
        """A second, or a quarter of the shortest limit; a timer for each connection would cost more."""
        limits = self._limits
        pings = [ping for ping in (limits.ping_s, limits.websocket_ping_s) if ping]
        return min(1.0, min(limits.first_message_s, limits.idle_s, limits.pong_s, *pings) / 4)

    def _fail(self, flow: Flow, why: str) -> None:
        self._loop.call_soon(self._on_failed, flow, why)


def _key(flow: Flow) -> Key:
    return flow.transport, flow.remote, flow.server_name
