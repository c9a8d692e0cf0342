"""What telephones say without words, by country: frequencies and cadences (ITU-T E.180 supplement 2).

A country that is not here sounds like the ITU's recommendation, 425 Hz.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from pbx.api import Tone


class Signal(enum.Enum):
    RINGING = "the far phone rings"
    BUSY = "the far phone is in use"
    CONGESTION = "the way there is blocked"
    WAITING = "somebody else is calling"
    BEEP = "speak now"


LEVEL_DBOV = -19.0
"""of each sine: about -13 dBm0 (E.180 wants -15 to -5)"""

Cadence = tuple[int, ...]
"""Milliseconds on, off, on, off, ..."""

_BEEP: tuple[tuple[float, ...], Cadence] = ((1000.0,), (250, 50))
_TABLE: Mapping[str, Mapping[Signal, tuple[tuple[float, ...], Cadence]]] = {
    "": {
        Signal.RINGING: ((425.0,), (1000, 4000)),
        Signal.BUSY: ((425.0,), (500, 500)),
        Signal.CONGESTION: ((425.0,), (200, 200)),
        Signal.WAITING: ((425.0,), (200, 200, 200, 5000)),
    },
    "at": {
        Signal.RINGING: ((420.0,), (1000, 5000)),
        Signal.BUSY: ((420.0,), (400, 400)),
        Signal.CONGESTION: ((420.0,), (200, 200)),
        Signal.WAITING: ((420.0,), (40, 1960)),
    },
    "au": {
        Signal.RINGING: ((400.0, 450.0), (400, 200, 400, 2000)),
        Signal.BUSY: ((425.0,), (375, 375)),
        Signal.CONGESTION: ((425.0,), (375, 375)),
        Signal.WAITING: ((425.0,), (200, 200, 200, 4400)),
    },
    "br": {
        Signal.BUSY: ((425.0,), (250, 250)),
        Signal.CONGESTION: ((425.0,), (250, 250, 750, 250)),
        Signal.WAITING: ((425.0,), (50, 1000)),
    },
    "de": {
        Signal.BUSY: ((425.0,), (480, 480)),
        Signal.CONGESTION: ((425.0,), (240, 240)),
    },
    "es": {
        Signal.RINGING: ((425.0,), (1500, 3000)),
        Signal.BUSY: ((425.0,), (200, 200)),
        Signal.CONGESTION: ((425.0,), (200, 200, 200, 200, 200, 600)),
        Signal.WAITING: ((425.0,), (175, 175, 175, 3500)),
    },
    "fr": {
        Signal.RINGING: ((440.0,), (1500, 3500)),
        Signal.BUSY: ((440.0,), (500, 500)),
        Signal.CONGESTION: ((440.0,), (250, 250)),
        Signal.WAITING: ((440.0,), (300, 10000)),
    },
    "gb": {
        Signal.RINGING: ((400.0, 450.0), (400, 200, 400, 2000)),
        Signal.BUSY: ((400.0,), (375, 375)),
        Signal.CONGESTION: ((400.0,), (400, 350, 225, 525)),
        Signal.WAITING: ((400.0,), (100, 4000)),
    },
    "it": {
        Signal.WAITING: ((425.0,), (400, 100, 250, 100, 150, 14000)),
    },
    "jp": {
        Signal.RINGING: ((384.0, 416.0), (1000, 2000)),
        Signal.BUSY: ((400.0,), (500, 500)),
        Signal.CONGESTION: ((400.0,), (500, 500)),
        Signal.WAITING: ((384.0, 416.0), (100, 100, 100, 3000)),
    },
    "nl": {
        Signal.CONGESTION: ((425.0,), (250, 250)),
        Signal.WAITING: ((425.0,), (500, 9500)),
    },
    "pt": {
        Signal.RINGING: ((425.0,), (1000, 5000)),
    },
    "ru": {
        Signal.RINGING: ((425.0,), (1000, 4000)),
        Signal.BUSY: ((425.0,), (400, 400)),
        Signal.WAITING: ((425.0,), (200, 5000)),
    },
    "us": {
        Signal.RINGING: ((440.0, 480.0), (2000, 4000)),
        Signal.BUSY: ((480.0, 620.0), (500, 500)),
        Signal.CONGESTION: ((480.0, 620.0), (250, 250)),
        Signal.WAITING: ((440.0,), (300, 10000)),
    },
}
COUNTRIES = frozenset(_TABLE) - {""}


def signal(country: str, what: Signal) -> tuple[Tone, ...]:
    """One round of a signal; play it for ever (a beep once). `country`: ISO 3166 in lower case."""
    own = _TABLE.get(country, {})
    frequencies_hz, cadence = own.get(what) or _TABLE[""].get(what, _BEEP)
    parts = enumerate(cadence)
    return tuple(Tone(() if n % 2 else frequencies_hz, LEVEL_DBOV, duration_ms) for n, duration_ms in parts)
