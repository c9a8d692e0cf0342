"""RTP packets and telephone-events on the wire (RFC 3550 section 5.1, RFC 4733 section 2.3)."""

from __future__ import annotations

import struct
from typing import NamedTuple

EVENT_DIGITS = "0123456789*#ABCD"


class BadPacket(Exception):
    """These bytes are no RTP; the text says why."""


class Packet(NamedTuple):
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False

    def to_bytes(self) -> bytes:
        second = self.payload_type | (0x80 if self.marker else 0)
        return struct.pack("!BBHII", 0x80, second, self.sequence, self.timestamp, self.ssrc) + self.payload


class Event(NamedTuple):
    """One telephone-event payload; `duration_ts` in clock ticks."""

    digit: str
    end: bool
    volume: int
    duration_ts: int

    def to_bytes(self) -> bytes:
        code = EVENT_DIGITS.index(self.digit)
        return struct.pack("!BBH", code, (0x80 if self.end else 0) | self.volume, self.duration_ts)


def read_packet(data: bytes) -> Packet:
    """Raises BadPacket."""
    if len(data) < 12:
        raise BadPacket(f"{len(data)} bytes, an RTP header has 12 (RFC 3550 5.1)")
    first, second, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", data)
    if first >> 6 != 2:
        raise BadPacket(f"RTP version {first >> 6} (RFC 3550 5.1)")
    start = 12 + 4 * (first & 0x0F)
    if first & 0x10:
        if len(data) < start + 4:
            raise BadPacket("the header extension is cut off (RFC 3550 5.3.1)")
        start += 4 + 4 * struct.unpack_from("!H", data, start + 2)[0]
    end = len(data) - data[-1] if first & 0x20 else len(data)
    if start > end:
        raise BadPacket("CSRCs, extension or padding are longer than the packet (RFC 3550 5.1)")
    return Packet(second & 0x7F, sequence, timestamp, ssrc, data[start:end], bool(second & 0x80))


def read_event(payload: bytes) -> Event:
    """Raises BadPacket."""
    if len(payload) != 4:
        raise BadPacket(f"a telephone-event of {len(payload)} bytes (RFC 4733 2.3)")
    code, flags, duration = struct.unpack("!BBH", payload)
    if code >= len(EVENT_DIGITS):
        raise BadPacket(f"telephone-event {code} is no digit (RFC 4733 3.2)")
    return Event(EVENT_DIGITS[code], bool(flags & 0x80), flags & 0x3F, duration)
