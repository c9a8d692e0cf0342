"""Keys that a leg's phone presses, whichever way they come: each press is told once.

A phone may say a digit as a telephone-event (RFC 4733), as an INFO request, as tones in its sound, or in
several of these ways at once. `Keypad` joins what belongs to one press.
"""

from __future__ import annotations

import enum
from typing import NewType

import msgspec

Digit = NewType("Digit", str)
"""One of 0-9, *, #, A-D, or "flash"."""

DIGITS = frozenset("0123456789*#ABCD")
USUAL_MS = 160
"""of a digit that says nothing of its length"""
LONGEST_MS = 5000
RELAY, PLAIN = "application/dtmf-relay", "application/dtmf"
INFO_TYPES = frozenset((RELAY, PLAIN))

_SAME_PRESS_S = 1.5
"""Tones are found late, INFO goes by way of servers: within this, another way tells of the same press."""
_MOST_KEPT = 32
_LOW_HZ = (697.0, 770.0, 852.0, 941.0)
_HIGH_HZ = (1209.0, 1336.0, 1477.0, 1633.0)
_KEYS = ("123A", "456B", "789C", "*0#D")
_TONES = {
    key: (_LOW_HZ[row], _HIGH_HZ[column]) for row, keys in enumerate(_KEYS) for column, key in enumerate(keys)
}


class Way(enum.Enum):
    """How a digit came."""

    EVENT = "event"
    TONE = "tone"
    INFO = "info"


class _Press:
    __slots__ = ("at", "digit", "told", "ways")

    def __init__(self, digit: str, way: Way, at: float) -> None:
        self.digit = digit
        self.ways = {way}
        self.at = at
        self.told = way
        """the way that came first, whose end is the end of the press"""


class Keypad:
    """The keys of one leg's phone. Knows no clock; bounded."""

    __slots__ = ("_presses",)

    def __init__(self) -> None:
        self._presses: list[_Press] = []

    def begins(self, digit: str, way: Way, now: float) -> bool:
        """True when this is a press that was not known of yet."""
        self._presses = [press for press in self._presses[-_MOST_KEPT:] if now - press.at < _SAME_PRESS_S]
        for press in self._presses:
            if press.digit == digit and way not in press.ways:
                press.ways.add(way)
                return False
        self._presses.append(_Press(digit, way, now))
        return True

    def is_told_by(self, digit: str, way: Way) -> bool:
        """True when the latest press of this digit is told of in this way."""
        latest = [press for press in self._presses if press.digit == digit and way in press.ways]
        return not latest or latest[-1].told is way


class Pressed(msgspec.Struct, frozen=True):
    """What an INFO says."""

    digit: str
    duration_ms: int


def read_info(content_type: str, body: bytes) -> Pressed | None:
    """The digit in the body of an INFO; None for one that holds none."""
    if len(body) > 256 or content_type not in INFO_TYPES:
        return None
    text = body.decode("ascii", "replace")
    if content_type == PLAIN:
        return _pressed(text.strip(), USUAL_MS)
    fields = dict(_field(line) for line in text.splitlines())
    duration = fields.get("duration", "")
    duration_ms = (
        int(duration) if duration.isascii() and duration.isdigit() and len(duration) < 6 else USUAL_MS
    )
    return _pressed(fields.get("signal", ""), duration_ms)


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition("=")
    return name.strip().lower(), value.strip()


def _pressed(signal: str, duration_ms: int) -> Pressed | None:
    digit = {"10": "*", "11": "#"}.get(signal, signal.upper())
    return Pressed(digit, min(duration_ms, LONGEST_MS)) if digit in DIGITS else None


def tones(digit: str) -> tuple[float, float] | None:
    """The two tones of a digit in Hz (ITU-T Q.23); None for "flash", which has none."""
    return _TONES.get(digit)
