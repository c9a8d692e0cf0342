"""Sound to speak and sound that was heard: sines into WAV files, Goertzel's filter for what came out."""

from __future__ import annotations

import array
import itertools
import math
import wave
from pathlib import Path

import msgspec

MARK_HZ, MARK_S = 2600, 0.1


def write_speech(file: Path, tone_hz: int, seconds: int, *, rate: int = 8000, channels: int = 1) -> Path:
    """A sine of 16 bits that never pauses, and with it MARK_HZ for the first tenth of each second."""
    second = array.array("h")
    for n in range(rate):
        value = 0.3 * math.sin(2 * math.pi * tone_hz * n / rate)
        if n < rate * MARK_S:
            value += 0.2 * math.sin(2 * math.pi * MARK_HZ * n / rate)
        second.extend([round(32767 * value)] * channels)
    with wave.open(str(file), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        for _ in range(seconds):
            out.writeframes(second.tobytes())
    return file


class Heard(msgspec.Struct, frozen=True):
    """A stretch of mono sound."""

    samples: array.array[int]
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    def part(self, from_s: float, to_s: float) -> Heard:
        return Heard(self.samples[int(from_s * self.rate) : int(to_s * self.rate)], self.rate)

    def last(self, seconds: float) -> Heard:
        return Heard(self.samples[-int(seconds * self.rate) :], self.rate)

    def level_db(self, frequency_hz: float) -> float:
        """Power of this frequency in dB below a full-scale sine; -120 is nothing at all."""
        return _goertzel_db(self.samples, frequency_hz, self.rate)

    def above_db(self, tone_hz: float, other_hz: float) -> float:
        """How far `tone_hz` stands above `other_hz`."""
        return self.level_db(tone_hz) - self.level_db(other_hz)

    def stretches(self, tone_hz: float, *, floor_db: float = -30.0) -> list[tuple[float, float]]:
        """When the tone was there: (from, to) in seconds, to half a window of 10 ms."""
        step = int(0.01 * self.rate)
        found: list[tuple[float, float]] = []
        for start in range(0, len(self.samples) - step + 1, step):
            at = start / self.rate
            if _goertzel_db(self.samples[start : start + step], tone_hz, self.rate) < floor_db:
                continue
            if found and at - found[-1][1] < 0.001:
                found[-1] = (found[-1][0], at + 0.01)
            else:
                found.append((at, at + 0.01))
        return found

    def drift_s(self) -> float:
        """How far the marks of speech strayed from one a second: delay that grew or shrank."""
        begins = [begin for begin, _ in self.stretches(MARK_HZ)]
        assert len(begins) > 1, "speech had no marks"
        return max(abs(begin - begins[0] - round(begin - begins[0])) for begin in begins)

    def longest_gap_s(self, tone_hz: float) -> float:
        """The longest time without the tone; before its first and after its last sound count as well."""
        edges = [0.0, *itertools.chain.from_iterable(self.stretches(tone_hz)), self.seconds]
        return max(end - begin for begin, end in zip(edges[::2], edges[1::2], strict=True))


def _goertzel_db(samples: array.array[int], frequency_hz: float, rate: int) -> float:
    count = len(samples)
    if not count:
        return -120.0
    coefficient = 2 * math.cos(2 * math.pi * frequency_hz / rate)
    one = two = 0.0
    for sample in samples:
        one, two = sample + coefficient * one - two, one
    power = one * one + two * two - coefficient * one * two
    amplitude = 2 * math.sqrt(max(power, 0.0)) / count
    return max(-120.0, 20 * math.log10(amplitude / 32768)) if amplitude else -120.0
