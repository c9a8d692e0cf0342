"""Sounds that the phone makes and recognises: sines, silence, patterned bytes, and a tick on every second.

Levels are in dBov of a sine: 0 is a sine of full scale. A *tick* is a burst of 2500 Hz, 40 ms long,
whose first sample falls on a whole second of the clock that both phones share; who hears it knows the
one-way delay modulo one second. The tick is added to tones, never to silence.
"""

from __future__ import annotations

import cmath
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul

from jackfield.phone import g711

RATE_HZ = 8000
FRAME = 160
"""samples in 20 ms"""
TICK_HZ = 2500
TICK_DBOV = -22.0
TICK_SAMPLES = 320
NOTHING_DBOV = -96.0
FFT = 1024


@dataclass(frozen=True, slots=True)
class Tone:
    """A sine; `ticks`: with the mark that one-way delay is measured by."""

    frequency_hz: int
    level_dbov: float = -13.0
    ticks: bool = True

    def __str__(self) -> str:
        return f"{self.frequency_hz} Hz at {self.level_dbov:.0f} dBov"


@dataclass(frozen=True, slots=True)
class Silence:
    """Frames of silence: packets flow, nothing is heard."""

    def __str__(self) -> str:
        return "silence"


Voice = Tone | Silence
SILENCE = Silence()


def tone(frequency_hz: int, level_dbov: float = -13.0, *, ticks: bool = True) -> Tone:
    return Tone(frequency_hz, level_dbov, ticks)


def frame(voice: Voice, payload_type: int, index: int, starts_at: float) -> bytes:
    """The G.711 frame that begins with sample `index`, at clock time `starts_at`."""
    if isinstance(voice, Silence):
        return _silent_frame(payload_type)
    into = (starts_at % 1.0) * RATE_HZ
    if voice.ticks and (into < TICK_SAMPLES or into > RATE_HZ - FRAME):
        return g711.encode(_with_tick(voice, index, into), payload_type)
    period = _period(voice.frequency_hz, voice.level_dbov, payload_type)
    start = index % (len(period) - FRAME)
    return period[start : start + FRAME]


@functools.cache
def _silent_frame(payload_type: int) -> bytes:
    return g711.encode([0] * FRAME, payload_type)


@functools.lru_cache(maxsize=64)
def _period(frequency_hz: int, level_dbov: float, payload_type: int) -> bytes:
    """One whole number of periods, and one frame more, so that any frame is a slice."""
    length = RATE_HZ // math.gcd(RATE_HZ, frequency_hz)
    return g711.encode([_sine(frequency_hz, level_dbov, n) for n in range(length + FRAME)], payload_type)


def _sine(frequency_hz: float, level_dbov: float, n: int) -> int:
    amplitude = 32767 * 10 ** (level_dbov / 20)
    return round(amplitude * math.sin(2 * math.pi * frequency_hz * n / RATE_HZ))


def _with_tick(voice: Tone, index: int, into: float) -> list[int]:
    samples = [_sine(voice.frequency_hz, voice.level_dbov, index + n) for n in range(FRAME)]
    for n in range(FRAME):
        since = round(into + n) % RATE_HZ
        if since < TICK_SAMPLES:
            samples[n] = max(-32768, min(32767, samples[n] + _sine(TICK_HZ, TICK_DBOV, since)))
    return samples


# ---------------------------------------------------------------- analysis


@functools.lru_cache(maxsize=256)
def _waves(frequency_hz: float, length: int) -> tuple[list[float], list[float]]:
    turn = 2 * math.pi * frequency_hz / RATE_HZ
    return [math.cos(turn * n) for n in range(length)], [math.sin(turn * n) for n in range(length)]


def level_of(samples: Sequence[int], frequency_hz: float) -> float:
    """The level of one frequency in these samples, dBov: the one bin of a transform that Goertzel's gives."""
    cosine, sine = _waves(frequency_hz, len(samples))
    amplitude = (
        2 * math.hypot(sum(map(mul, samples, cosine)), sum(map(mul, samples, sine))) / max(1, len(samples))
    )
    return to_dbov(amplitude)


def level(samples: Sequence[int]) -> float:
    """The level of all there is, dBov, as of a sine of the same power."""
    power = sum(map(mul, samples, samples)) / max(1, len(samples))
    return to_dbov(math.sqrt(2 * power))


def to_dbov(amplitude: float) -> float:
    return max(NOTHING_DBOV, 20 * math.log10(amplitude / 32768)) if amplitude > 0 else NOTHING_DBOV


def tones_in(samples: Sequence[int], above_dbov: float = -45.0) -> list[tuple[int, float]]:
    """The sines in the last 128 ms: (Hz to the nearest 5, dBov), loudest first."""
    if len(samples) < FFT:
        return []
    window = _hann()
    spectrum = _fft([complex(sample * weight) for sample, weight in zip(samples[-FFT:], window, strict=True)])
    amplitude = [4 * abs(bin) / FFT for bin in spectrum[: FFT // 2]]
    found = []
    for k in range(2, FFT // 2 - 2):
        here = amplitude[k]
        if here > amplitude[k - 1] and here >= amplitude[k + 1] and to_dbov(here) > above_dbov - 3:
            at = k + _lean(amplitude[k - 1], here, amplitude[k + 1])
            frequency = 5 * round(at * RATE_HZ / FFT / 5)
            found.append((frequency, round(level_of(samples[-FFT:], at * RATE_HZ / FFT), 1)))
    loud = sorted((pair for pair in found if pair[1] > above_dbov), key=lambda pair: -pair[1])
    return [pair for pair in loud if not loud or pair[1] > loud[0][1] - 30][:6]


def _lean(before: float, here: float, after: float) -> float:
    """How far the peak lies from its bin's middle, by the parabola through the logarithms."""
    a, b, c = (math.log(max(value, 1e-9)) for value in (before, here, after))
    curve = a - 2 * b + c
    return 0.5 * (a - c) / curve if curve else 0.0


@functools.cache
def _hann() -> list[float]:
    return [0.5 - 0.5 * math.cos(2 * math.pi * n / FFT) for n in range(FFT)]


def _fft(values: list[complex]) -> list[complex]:
    if len(values) == 1:
        return values
    even, odd = _fft(values[::2]), _fft(values[1::2])
    half = len(even)
    turned = [twist * value for twist, value in zip(_twists(half), odd, strict=True)]
    low = [a + b for a, b in zip(even, turned, strict=True)]
    return low + [a - b for a, b in zip(even, turned, strict=True)]


@functools.cache
def _twists(half: int) -> list[complex]:
    return [cmath.exp(-1j * math.pi * k / half) for k in range(half)]


def tick_onset(samples: Sequence[int]) -> int | None:
    """Where a tick begins in these samples (to about 1 ms), or None."""
    width = 40
    levels = [level_of(samples[at : at + width], TICK_HZ) for at in range(0, len(samples) - width, 8)]
    if not levels or levels[0] > TICK_DBOV - 12 or max(levels) < TICK_DBOV - 8:
        return None
    rise = next((n for n, value in enumerate(levels) if value > max(levels) - 6), None)
    return None if rise is None else rise * 8 + width // 2


# ---------------------------------------------------------------- what is passed through unheard


def pattern(index: int, payload_type: int) -> bytes:
    """The opaque frame of that number: recognisable, checkable, and of a length that varies."""
    body = bytes((index * 7 + n) & 0xFF for n in range(40 + index % 40))
    return b"Jack" + bytes([payload_type]) + index.to_bytes(4, "big") + body


def read_pattern(payload: bytes) -> int | None:
    """The number of an opaque frame that arrived whole, else None."""
    if len(payload) < 9 or payload[:4] != b"Jack":
        return None
    index = int.from_bytes(payload[5:9], "big")
    return index if payload == pattern(index, payload[4]) else None
