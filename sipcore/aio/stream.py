"""SIP over TCP and TLS: messages and CRLF keep-alives on a stream (RFC 3261 18.3, RFC 5626 3.5.1).

The cutting is done by `sipcore/framing.py`; here it gets the shape that a connection asks for.
"""

from __future__ import annotations

from sipcore.aio.wire import Brought
from sipcore.framing import PING_BYTES, PONG_BYTES, Framed, KeepAlive, StreamBroken, StreamFramer


class StreamWire:
    """One TCP or TLS connection."""

    __slots__ = ("_framer",)

    ready = True

    def __init__(self) -> None:
        self._framer = StreamFramer()

    def receive(self, data: bytes) -> Brought:
        """Whole messages; a ping is answered. What was whole before a fault still counts."""
        try:
            framed = self._framer.feed(data)
        except StreamBroken as broken:
            brought = _sort(broken.framed)
            brought.broken = broken
            return brought
        return _sort(framed)

    def wrap(self, message: bytes) -> bytes:
        return message

    def ping(self) -> bytes:
        return PING_BYTES

    def farewell(self) -> bytes:
        return b""


def _sort(framed: list[Framed]) -> Brought:
    if KeepAlive.PONG not in framed and KeepAlive.PING not in framed:
        return Brought([item for item in framed if not isinstance(item, KeepAlive)])
    messages = [item for item in framed if not isinstance(item, KeepAlive)]
    pings = framed.count(KeepAlive.PING)
    # Each ping of the far side begins with what could be an answer to one of ours: only a CRLF that
    # no ping accounts for says that ours are answered.
    ponged = framed.count(KeepAlive.PONG) > pings
    return Brought(messages, PONG_BYTES * pings, ponged=ponged, keep_alives=len(framed) - len(messages))
