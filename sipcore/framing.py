"""Cuts a TCP or TLS byte stream into SIP messages (RFC 3261 18.3) and keep-alives (RFC 5626 3.5.1).

A message ends where its Content-Length says, which is mandatory on a stream. Whatever leaves doubt
about that place is a fault, after which nothing on this connection can be trusted: bytes of one
message could be read as another one. What the messages say is `sipcore/parser.py`'s business.
"""

from __future__ import annotations

import enum
import re

from sipcore.faults import Misuse, PeerFault
from sipcore.parser import MAX_HEAD_BYTES

MAX_BODY_BYTES = 256 * 1024

_lengths = re.compile(rb"\r\n(?:content-length|l)[ \t]*:((?:[^\r]+|\r\n[ \t])*)", re.IGNORECASE).findall
_is_length = re.compile(rb"[0-9]{1,10}").fullmatch


class KeepAlive(enum.Enum):
    """Line ends between messages. A ping, two of them, shows up as PONG, PING: the first alone may be all."""

    PONG = "a CRLF: the answer to our ping, or the first half of a ping"
    PING = "a second CRLF: answer with one CRLF (PONG_BYTES)"


PING_BYTES = b"\r\n\r\n"
PONG_BYTES = b"\r\n"

Framed = bytes | KeepAlive


class StreamBroken(PeerFault):
    """The stream cannot be cut any more: close the connection. `framed` was whole before the fault."""

    def __init__(self, fault: PeerFault, framed: list[Framed]) -> None:
        super().__init__(fault.status, fault.reason, fault.rule)
        self.framed = framed


class StreamFramer:
    """One per connection. However the stream is split into `feed` calls, the same things come out.

    Holds at most one unfinished message (MAX_HEAD_BYTES + MAX_BODY_BYTES) and looks at no byte of it
    twice, so that a peer that sends byte by byte costs no more than its bytes.
    """

    __slots__ = ("_after_crlf", "_broken", "_buffer", "_scanned", "_size")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        """how far the end of the header fields has been searched for in vain"""
        self._size = 0
        """of the message at the front of the buffer; 0 while its header fields are incomplete"""
        self._after_crlf = False
        self._broken = False

    def feed(self, data: bytes) -> list[Framed]:
        """Take the bytes that arrived, give back what is whole now, in order.

        Raises StreamBroken, a PeerFault: 400, 413 or 513. The connection must then be closed.
        """
        if self._broken:
            raise Misuse("a broken stream was fed again")
        self._buffer += data
        framed: list[Framed] = []
        at = 0
        try:
            while (end := self._next(at, framed)) > at:
                at = end
        except PeerFault as fault:
            self._broken = True
            self._buffer.clear()
            raise StreamBroken(fault, framed) from None
        del self._buffer[:at]
        return framed

    def _next(self, at: int, framed: list[Framed]) -> int:
        """Add what is whole at `at`; return where it ends, or `at` when more bytes are needed."""
        buffer = self._buffer
        if not self._size:
            front = bytes(buffer[at : at + 2])
            if front == b"\r\n":
                framed.append(KeepAlive.PING if self._after_crlf else KeepAlive.PONG)
                self._after_crlf = not self._after_crlf
                return at + 2
            if front in (b"", b"\r"):
                return at
            self._size = self._measure(at)
        if not self._size or len(buffer) - at < self._size:
            return at
        end = at + self._size
        framed.append(bytes(buffer[at:end]))
        self._size = self._scanned = 0
        self._after_crlf = False
        return end

    def _measure(self, at: int) -> int:
        """The size of the message at `at`, 0 while its header fields are incomplete."""
        buffer = self._buffer
        limit = at + MAX_HEAD_BYTES
        end = buffer.find(b"\r\n\r\n", at + self._scanned, limit)
        if end < 0:
            if len(buffer) >= limit:
                raise PeerFault(513, "Message Too Large", "header fields without end")
            self._scanned = max(0, len(buffer) - at - 3)
            return 0
        return end + 4 - at + _content_length(bytes(buffer[at:end]))


def _content_length(head: bytes) -> int:
    if head.count(b"\n") != head.count(b"\r\n"):
        raise PeerFault(400, "Bare line feed", "RFC 3261 7")
    lengths = {length.strip() for length in _lengths(head)}
    if len(lengths) != 1:
        raise PeerFault(400, "Missing or contradicting Content-Length", "RFC 3261 18.3")
    length = lengths.pop()
    if not _is_length(length):
        raise PeerFault(400, "Malformed Content-Length", "RFC 3261 20.14")
    if int(length) > MAX_BODY_BYTES:
        raise PeerFault(413, "Request Entity Too Large", "RFC 3261 21.4.11")
    return int(length)
