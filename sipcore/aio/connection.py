"""One stream connection, accepted or opened: TCP, TLS, WS or WSS (RFC 3261 section 18).

Moves bytes between an asyncio transport and a `Wire`, bounds what waits to be written, and tells its
table how it ended. Which connection a message takes is the table's business (`connections.py`).
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Protocol, cast

from sipcore.aio.counters import Counters
from sipcore.aio.keepalive import Due, Liveness
from sipcore.aio.tls import names_in
from sipcore.aio.udp import OnReceived
from sipcore.aio.wire import BadHandshake, Brought, Wire
from sipcore.flow import Address, Flow, Transport

Key = tuple[Transport, Address, str]
"""Transport, remote address, and the name that the certificate there was checked for ("" for none)."""

_CLOSING_S = 2.0
_FLOWS_TOLD = 16
"""how many ways of naming one connection are remembered, to tell each when it is lost"""


class Table(Protocol):
    """What a connection needs of the table that it is in."""

    def stands(self, connection: Connection) -> None:
        """The connection, its TLS handshake included, is there."""
        ...

    def lost(self, connection: Connection, why: str) -> None:
        """It is gone; called exactly once, after `stands`."""
        ...


class Connection(asyncio.Protocol):
    """`flow` names it. Made before it stands; `stood` is True from then on, also after its end."""

    __slots__ = (
        "_counters",
        "_on_received",
        "_proven",
        "_table",
        "_transport",
        "_wire",
        "_write_buffer",
        "flow",
        "keys",
        "liveness",
        "sent_as",
        "stood",
        "why",
    )

    def __init__(
        self,
        table: Table,
        flow: Flow,
        wire: Wire,
        liveness: Liveness,
        on_received: OnReceived,
        counters: Counters,
        write_buffer: int,
    ) -> None:
        self.flow = flow
        self.stood = False
        self.keys: set[Key] = set()
        """what the table finds it by"""
        self.sent_as: set[Flow] = set()
        """the flows of connection 0 that turned out to mean this one"""
        self.liveness = liveness
        self._proven = False
        self._table = table
        self._wire = wire
        self._on_received = on_received
        self._counters = counters
        self._write_buffer = write_buffer
        self._transport: asyncio.Transport | None = None
        self.why = ""
        """of its end, once that has begun"""

    # ------------------------------------------------------------ from asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.stood = True
        self._table.stands(self)

    def data_received(self, data: bytes) -> None:
        if self.why:
            return
        self.liveness.heard(monotonic())
        try:
            brought = self._wire.receive(data)
        except BadHandshake as bad:
            self._refuse_handshake(bad)
        else:
            self._take(brought)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._counters.bad_handshakes += not self.why and not self._wire.ready
        self.why = self.why or (str(exc) if exc else "the far side closed the connection")
        self._table.lost(self, self.why)

    # ------------------------------------------------------------ from the table

    def send(self, data: bytes, flow: Flow) -> bool:
        """Write one message that was sent on `flow`, another name of this connection perhaps.

        False, and nothing sent, when the connection is about to close or shakes hands yet.
        """
        if self.why or not self._wire.ready:
            return False
        if flow != self.flow and len(self.sent_as) < _FLOWS_TOLD:
            self.sent_as.add(flow)
        self._write(self._wire.wrap(data))
        return True

    def check(self, now: float) -> None:
        """Ping, or give the connection up, when it is time to."""
        match self.liveness.due(now):
            case None:
                pass
            case Due.PING:
                self._write(self._wire.ping())
            case why:
                self._counters.silent_peers += 1
                self.abort(why)

    def close(self, why: str) -> None:
        """Close in order: what was written still goes out, unless the far side takes too long to read it."""
        transport = self._transport
        if transport is not None and not self.why:
            self.why = why
            transport.write(self._wire.farewell())
            transport.close()
            asyncio.get_running_loop().call_later(_CLOSING_S, transport.abort)

    def abort(self, why: str) -> None:
        """Close at once; what waits to be written is lost."""
        self.why = self.why or why
        if self._transport is not None:
            self._transport.abort()

    def peer_names(self) -> tuple[str, ...]:
        """The names in the certificate that the far side showed and proved; none without such a one."""
        if self._transport is None:
            return ()
        return names_in(self._transport.get_extra_info("peercert"))

    # ------------------------------------------------------------ within

    def _take(self, brought: Brought) -> None:
        if brought.answer:
            self._write(brought.answer)
        if brought.ponged:
            self.liveness.ponged()
        self._counters.keep_alives += brought.keep_alives
        if brought.messages and not self._proven:
            self._proven = True
            self.liveness.proven()
        for message in brought.messages:
            self._on_received(message, self.flow)
        if brought.broken is not None:
            self._counters.bad_framing += 1
            self.close(str(brought.broken))
        elif brought.ended:
            self.close("the far side closed the connection")

    def _write(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or self.why:
            return
        transport.write(data)
        if transport.get_write_buffer_size() > self._write_buffer:
            self._counters.slow_readers += 1
            self.abort("the far side does not read what we send")

    def _refuse_handshake(self, bad: BadHandshake) -> None:
        self._counters.bad_handshakes += 1
        self._counters.websocket_origins_refused += bad.origin_refused
        if self._transport is not None:
            self._transport.write(bad.answer)
        self.close(str(bad))
