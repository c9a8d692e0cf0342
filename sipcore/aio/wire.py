"""What a connection asks of the encoding on it: TCP framing (`stream.py`) or WebSocket (`websocket.py`)."""

from __future__ import annotations

from typing import Protocol

import msgspec

from sipcore.faults import PeerFault


class Brought(msgspec.Struct):
    """What a piece of the incoming stream amounted to.

    `answer` is to be written at once (pongs, a handshake). `ponged`: a ping of ours was answered.
    `ended`: the far side said goodbye; write the answer and close. `broken`: nothing that follows can
    be made sense of; deliver the messages and drop the connection.
    """

    messages: list[bytes]
    answer: bytes = b""
    ponged: bool = False
    ended: bool = False
    keep_alives: int = 0
    broken: PeerFault | None = None


class BadHandshake(Exception):
    """The connection never became one for SIP. `answer` may still be written before it is closed."""

    def __init__(self, answer: bytes, why: str, origin_refused: bool) -> None:
        super().__init__(why)
        self.answer = answer
        self.origin_refused = origin_refused


class Wire(Protocol):
    """Bytes to messages and back, for one connection. Knows no socket."""

    @property
    def ready(self) -> bool:
        """True while messages may be sent."""
        ...

    def receive(self, data: bytes) -> Brought:
        """Never called again after `broken` or `ended`. Raises BadHandshake."""
        ...

    def wrap(self, message: bytes) -> bytes: ...

    def ping(self) -> bytes: ...

    def farewell(self) -> bytes:
        """What is written before an orderly close; may be empty."""
        ...
