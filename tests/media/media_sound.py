"""Sound for the media core's tests: phones that speak sines, and judge what they hear on its samples."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence

from media_room import FRAME_S, Phone, Room, Rtp

SAMPLE_HZ = {"pcmu": 8000, "pcma": 8000, "g722": 16000, "l16": 8000, "opus": 16000}


def mu_law(code: int) -> int:
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 132 << (code >> 4 & 7)) - 132
    return -magnitude if code & 0x80 else magnitude


def a_law(code: int) -> int:
    code ^= 0x55
    segment, step = code >> 4 & 7, code & 0x0F
    magnitude = (step << 4) + 8 if segment == 0 else (step << 4) + 264 << (segment - 1)
    return magnitude if code & 0x80 else -magnitude


MU_LAW = [mu_law(code) for code in range(256)]
A_LAW = [a_law(code) for code in range(256)]
_TO_MU_LAW = sorted((value, code) for code, value in enumerate(MU_LAW) if code != 0x7F)
_TO_A_LAW = sorted((value, code) for code, value in enumerate(A_LAW))


def _nearest(table: Sequence[tuple[int, int]], sample: int) -> int:
    low, high = 0, len(table) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if table[middle][0] <= sample:
            low = middle
        else:
            high = middle
    return min(table[low], table[high], key=lambda entry: abs(entry[0] - sample))[1]


MU_LAW_CODE = [_nearest(_TO_MU_LAW, value - 32768) for value in range(65536)]
A_LAW_CODE = [_nearest(_TO_A_LAW, value - 32768) for value in range(65536)]


def encode(codec: str, samples: Sequence[int]) -> bytes:
    """G.711 and L16 only: what a test speaks must not come from what it tests."""
    match codec:
        case "pcmu":
            return bytes(MU_LAW_CODE[sample + 32768] for sample in samples)
        case "pcma":
            return bytes(A_LAW_CODE[sample + 32768] for sample in samples)
        case "l16":
            return struct.pack(f">{len(samples)}h", *samples)
    raise NotImplementedError(codec)


def decode(codec: str, payload: bytes) -> list[int]:
    match codec:
        case "pcmu":
            return [MU_LAW[code] for code in payload]
        case "pcma":
            return [A_LAW[code] for code in payload]
        case "l16":
            return list(struct.unpack(f">{len(payload) // 2}h", payload))
    raise NotImplementedError(codec)


def amplitude(samples: Sequence[int], frequency_hz: float, sample_hz: int = 8000) -> float:
    """How much of `frequency_hz` there is, as the amplitude of a sine (Goertzel)."""
    step = 2 * math.cos(2 * math.pi * frequency_hz / sample_hz)
    before, last = 0.0, 0.0
    for sample in samples:
        before, last = last, sample + step * last - before
    power = last * last + before * before - step * last * before
    return 2 * math.sqrt(max(power, 0.0)) / max(len(samples), 1)


def level_db(samples: Sequence[int], frequency_hz: float) -> float:
    """Of the sine of `frequency_hz` in `samples`: 0 just reaches full scale."""
    return 20 * math.log10(max(amplitude(samples, frequency_hz), 1e-3) / 32767)


class Speaker:
    """A phone that speaks a sine in its first codec, packet after packet, without a seam."""

    def __init__(
        self, phone: Phone, frequency_hz: float, level_dbov: float = -16.0, ptime_ms: int = 20
    ) -> None:
        self.phone = phone
        self.frequency_hz = frequency_hz
        self.codec = phone.codecs[0]
        self.ptime_ms = ptime_ms
        self.amplitude = 32767 * 10 ** (level_dbov / 20)
        self._spoken = 0

    def samples(self, first: int, count: int) -> list[int]:
        turn = 2 * math.pi * self.frequency_hz / SAMPLE_HZ[self.codec.name]
        return [round(self.amplitude * math.sin(turn * n)) for n in range(first, first + count)]

    def packet(self) -> bytes:
        count = SAMPLE_HZ[self.codec.name] * self.ptime_ms // 1000
        payload = encode(self.codec.name, self.samples(self._spoken, count))
        self._spoken += count
        data = self.phone.packet(payload)
        extra_s = self.ptime_ms / 1000 - FRAME_S
        self.phone.timestamp += round(extra_s * self.codec.clock_rate_hz)
        return data

    def speaks(self) -> None:
        self.phone.sends(self.packet())


def talk(room: Room, speakers: Iterable[Speaker], seconds: float) -> None:
    """Let them all speak at once, each packet at its time."""
    speakers = tuple(speakers)
    for step in range(round(seconds * 1000 / 10)):
        for speaker in speakers:
            if step * 10 % speaker.ptime_ms == 0:
                speaker.speaks()
        room.wait(0.01)


def sound(packets: Iterable[Rtp], codec: str) -> list[int]:
    return [sample for packet in packets for sample in decode(codec, packet.payload)]


def whole(packets: Sequence[Rtp], codec: str) -> list[int]:
    """What a phone plays that puts packets in the places of their timestamps: gaps are silence."""
    if not packets:
        return []
    first = packets[0].timestamp
    heard: list[int] = []
    for packet in packets:
        at = (packet.timestamp - first) & 0xFFFFFFFF
        assert at >= len(heard), "two packets say different things of one moment"
        heard += [0] * (at - len(heard)) + decode(codec, packet.payload)
    return heard
