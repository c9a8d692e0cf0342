"""The phone's ear: one RTP stream in, judged as a stream (RFC 3550, 4733) and as sound.

Keeps the last half minute of frames; everything about sound is worked out only when asked. What the
stream does against the rules goes to `complaints`, each kind once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from jackfield.phone import g711, sound
from jackfield.phone.negotiation import Media
from jackfield.phone.rtp import BadPacket, Packet, read_event, read_packet
from jackfield.phone.sdp import Codec

KEPT_FRAMES = 1500
GRACE_S = 1.0
"""how long packets of before a change may still arrive"""
LONG_JUMP = 100
GAP_S = 0.06


class Frame(NamedTuple):
    """One packet of sound: when it came, its sequence number without wrap, its RTP time and bytes."""

    at: float
    sequence: int
    timestamp: int
    payload_type: int
    payload: bytes


@dataclass(slots=True)
class Digit:
    """One telephone-event that was heard."""

    digit: str
    at: float
    timestamp: int
    duration_ms: int = 0
    ended: bool = False
    end_packets: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """What a call sounded like so far. `delay_ms` None: no tick was heard; levels are of the last 128 ms.

    Ticks are not told as tones.
    """

    packets: int
    lost: int
    late: int
    gaps: int
    """times that no packet came for more than 60 ms, or a frame was missing"""
    longest_gap_ms: float
    jitter_ms: float
    delay_ms: float | None
    tones: list[tuple[int, float]] = field(default_factory=list)
    level_dbov: float = sound.NOTHING_DBOV
    digits: str = ""
    patterns: int = 0
    broken_patterns: int = 0

    def __str__(self) -> str:
        tones = ", ".join(f"{hz} Hz at {db:.0f} dBov" for hz, db in self.tones) or "no tone"
        delay = "delay unknown" if self.delay_ms is None else f"delay {self.delay_ms:.0f} ms"
        digits = f", digits {self.digits}" if self.digits else ""
        return (
            f"{tones}; {self.packets} packets, {self.lost} lost, {self.gaps} gaps, "
            f"jitter {self.jitter_ms:.1f} ms, {delay}{digits}"
        )


class Ear:
    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.frames: deque[Frame] = deque(maxlen=KEPT_FRAMES)
        self.digits: list[Digit] = []
        self.packets = 0
        self.late = 0
        self.gaps = 0
        self.longest_gap_s = 0.0
        self.patterns = 0
        self.broken_patterns = 0
        self.media: Media | None = None
        self._changed_at = 0.0
        self._types: dict[int, str] = {}
        self._types_before: dict[int, str] = {}
        self._remotes: set[tuple[str, int]] = set()
        self._kinds: set[str] = set()
        self._ssrc: int | None = None
        self._first = 0
        self._highest = 0
        self._jitter_s = 0.0
        self._last: Frame | None = None

    def agree(self, media: Media, now: float) -> None:
        """These media hold from now on."""
        if self.media is not None and media.receives and not self.media.receives:
            self._last = None  # the pause was agreed: it is no gap
        self.media, self._changed_at = media, now
        self._types_before = self._types
        self._types = {codec.payload_type: codec.name for codec in media.receive}
        self._remotes.add(media.remote)

    def expect(self, codecs: Iterable[Codec]) -> None:
        """An offer is out: from now on sound may come in any of these (RFC 3264 5.1)."""
        self._types = {codec.payload_type: codec.name for codec in codecs}

    def hear(self, data: bytes, src: tuple[str, int], now: float) -> None:
        """One datagram came to the RTP port."""
        try:
            packet = read_packet(data)
            self._judge(packet, src, now)
            if self._name(packet.payload_type).lower() == "telephone-event":
                self._note_event(packet, now)
            else:
                self._note_frame(packet, now)
        except BadPacket as fault:
            self._complain("packet", str(fault))

    @property
    def lost(self) -> int:
        return max(0, self._highest - self._first + 1 - self.packets) if self.packets else 0

    # ------------------------------------------------------------ the stream

    def _name(self, payload_type: int) -> str:
        return self._types.get(payload_type) or self._types_before.get(payload_type, "")

    def _judge(self, packet: Packet, src: tuple[str, int], now: float) -> None:
        settled = now > self._changed_at + GRACE_S
        if not self._name(packet.payload_type):
            self._complain(
                f"type {packet.payload_type}",
                f"RTP payload type {packet.payload_type} was not agreed (RFC 3264 6.1)",
            )
        if self.media is not None and src not in self._remotes:
            where = f"{src[0]}:{src[1]}"
            self._complain(
                f"from {where}", f"RTP comes from {where}, the SDP said {self.media.remote} (RFC 4961)"
            )
        if self.media is not None and not self.media.receives and settled:
            self._complain("held", "RTP goes on although we do not receive (RFC 3264 5.1)")
        if self._ssrc is not None and packet.ssrc != self._ssrc:
            self._complain(
                f"ssrc {packet.ssrc}",
                f"the SSRC changed from {self._ssrc:08x} to {packet.ssrc:08x} (RFC 3550 8)",
            )
            self._first = self._highest = packet.sequence
            self.packets = 0
            self._last = None
        self._ssrc = packet.ssrc

    def _extend(self, sequence: int) -> int:
        """The sequence number without wrap: the one nearest to the highest so far."""
        if not self.packets:
            self._first = self._highest = sequence
            return sequence
        step = (sequence - self._highest) & 0xFFFF
        return self._highest + (step if step < 0x8000 else step - 0x10000)

    def _count(self, packet: Packet) -> int:
        sequence = self._extend(packet.sequence)
        if sequence > self._highest + LONG_JUMP:
            self._complain("jump", f"the RTP sequence jumped by {sequence - self._highest} (RFC 3550 5.1)")
        if self.packets and sequence <= self._highest:
            self.late += 1
        self.packets += 1
        self._highest = max(self._highest, sequence)
        return sequence

    def _note_frame(self, packet: Packet, now: float) -> None:
        sequence = self._count(packet)
        frame = Frame(now, sequence, packet.timestamp, packet.payload_type, packet.payload)
        last = self._last
        if last is not None and sequence > last.sequence:
            self._judge_step(last, frame, packet.marker)
            self._note_gap(last, frame)
        if last is None or sequence > last.sequence:
            self._last = frame
        self.frames.append(frame)
        if packet.payload_type not in (0, 8):
            whole = sound.read_pattern(packet.payload) is not None
            self.patterns += whole
            self.broken_patterns += not whole

    def _judge_step(self, last: Frame, frame: Frame, marker: bool) -> None:
        step = (frame.timestamp - last.timestamp) & 0xFFFFFFFF
        if step >= 0x80000000:
            self._complain("backwards", "the RTP timestamp went backwards (RFC 3550 5.1)")
        elif _follows(last, frame) and step != len(last.payload) and not marker:
            told = f"the RTP timestamp went on by {step} after {len(last.payload)} samples (RFC 3551 4.2)"
            self._complain("step", told)
        arrived, meant = frame.at - last.at, step / sound.RATE_HZ
        if step < 0x80000000 and frame.payload_type in (0, 8) and not marker:
            self._jitter_s += (abs(arrived - meant) - self._jitter_s) / 16

    def _note_gap(self, last: Frame, frame: Frame) -> None:
        missing = frame.sequence - last.sequence - 1 - self._event_packets_between(last)
        if frame.at - last.at > GAP_S + 0.02 * max(0, self._event_packets_between(last)) or missing > 0:
            self.gaps += 1
        if not self._event_packets_between(last):
            self.longest_gap_s = max(self.longest_gap_s, frame.at - last.at)

    def _event_packets_between(self, last: Frame) -> int:
        digit = self.digits[-1] if self.digits else None
        if digit is None or digit.at < last.at:
            return 0
        return digit.duration_ms // 20 + 3

    def _note_event(self, packet: Packet, now: float) -> None:
        self._count(packet)
        event = read_event(packet.payload)
        digit = next((d for d in self.digits[-3:] if d.timestamp == packet.timestamp), None)
        if digit is None:
            digit = Digit(event.digit, now, packet.timestamp)
            self.digits.append(digit)
            if not packet.marker and not event.end:
                self._complain("event marker", "a telephone-event began without marker (RFC 4733 2.5.1.2)")
        elif digit.digit != event.digit:
            self._complain("event", "a telephone-event changed its digit (RFC 4733 2.5.1.2)")
        elif packet.marker:
            self._complain(
                "marker again", "a telephone-event with the marker more than once (RFC 4733 2.5.1.2)"
            )
        duration_ms = event.duration_ts * 1000 // sound.RATE_HZ
        if duration_ms < digit.duration_ms and self._highest == packet.sequence & 0xFFFF:
            self._complain("event shrinks", "a telephone-event's duration went back (RFC 4733 2.5.1.2)")
        digit.duration_ms = max(digit.duration_ms, duration_ms)
        digit.ended = digit.ended or event.end
        digit.end_packets += event.end

    def _complain(self, kind: str, text: str) -> None:
        if kind not in self._kinds and len(self._kinds) < 50:
            self._kinds.add(kind)
            self.complaints.append(text)

    # ------------------------------------------------------------ the sound

    def samples(self, for_s: float, now: float | None = None) -> list[int]:
        """The newest samples without a break, at most `for_s`; with `now`, all since `now - for_s`."""
        wanted = max(1, round(for_s * 50))
        newest = list(islice(reversed(self.frames), wanted))
        if now is not None:
            newest = [frame for frame in newest if frame.at > now - for_s - 0.001]
        newest.sort(key=lambda frame: frame.sequence)
        if now is None:
            breaks = (n for n in range(len(newest) - 1, 0, -1) if not _continues(newest[n - 1], newest[n]))
            newest = newest[next(breaks, 0) :]
        return _decoded(newest)

    def level_of(self, frequency_hz: float, for_s: float = 0.1) -> float:
        """The level of one tone in the newest `for_s`, dBov; NOTHING_DBOV when not so much was heard yet."""
        samples = self.samples(for_s)
        if len(samples) < for_s * sound.RATE_HZ * 0.9:
            return sound.NOTHING_DBOV
        return sound.level_of(samples, frequency_hz)

    def delay_ms(self) -> float | None:
        """The one-way delay by the newest tick, or None (see `sound.py`)."""
        frames = sorted(
            (f for f in self.frames if f.payload_type in (0, 8)), key=lambda frame: frame.sequence
        )
        for newer, older in zip(reversed(frames), reversed(frames[:-1]), strict=False):
            if newer.sequence != older.sequence + 1:
                continue
            both = _decoded([older, newer])
            if sound.level_of(both[160:], sound.TICK_HZ) < sound.TICK_DBOV - 12:
                continue
            onset = sound.tick_onset(both)
            if onset is not None:
                began = (
                    older.at + onset / sound.RATE_HZ
                    if onset < 160
                    else newer.at + (onset - 160) / sound.RATE_HZ
                )
                return ((began + 0.1) % 1.0 - 0.1) * 1000
        return None

    def report(self) -> Heard:
        samples = self.samples(sound.FFT / sound.RATE_HZ + 0.02)
        return Heard(
            self.packets,
            self.lost,
            self.late,
            self.gaps,
            self.longest_gap_s * 1000,
            self._jitter_s * 1000,
            self.delay_ms(),
            [pair for pair in sound.tones_in(samples) if abs(pair[0] - sound.TICK_HZ) > 40],
            sound.level(samples) if samples else sound.NOTHING_DBOV,
            "".join(digit.digit for digit in self.digits),
            self.patterns,
            self.broken_patterns,
        )


def _follows(last: Frame, frame: Frame) -> bool:
    """Two frames of the same G.711, none lost between."""
    return last.payload_type == frame.payload_type in (0, 8) and frame.sequence == last.sequence + 1


def _continues(last: Frame, frame: Frame) -> bool:
    """Does this frame begin where the one before ended?"""
    return _follows(last, frame) and (frame.timestamp - last.timestamp) & 0xFFFFFFFF == len(last.payload)


def _decoded(frames: Iterable[Frame]) -> list[int]:
    samples: list[int] = []
    for frame in frames:
        if frame.payload_type in (0, 8):
            samples += g711.decode(frame.payload, frame.payload_type)
    return samples
