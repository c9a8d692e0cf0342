"""The phone's mouth: one RTP stream out, a frame each 20 ms, and digits as telephone-events (RFC 3550, 4733).

Knows no clock: `tick(now)` is called each 20 ms and gives the packets that are due.
"""

from __future__ import annotations

import random
from collections import deque

from jackfield.phone import sound
from jackfield.phone.negotiation import Media
from jackfield.phone.rtp import Event, Packet

PTIME_S = 0.02
END_PACKETS = 3
GAP_TICKS = 4
"""silence of 80 ms between two digits"""


class Mouth:
    """Speaks `voice` in the codec that was agreed; patterned bytes where the codec is not G.711."""

    def __init__(self, rng: random.Random, voice: sound.Voice = sound.SILENCE) -> None:
        self.voice = voice
        self.muted = False
        """the microphone is off: silence is sent where something is sent at all"""
        self.media: Media | None = None
        self.sent = 0
        self._ssrc = rng.getrandbits(32)
        self._sequence = rng.getrandbits(15)
        self._timestamp = rng.getrandbits(31)
        self._index = 0
        self._speaking = False
        self._digits: deque[tuple[str, int]] = deque()
        self._pressed: _Pressed | None = None
        self._gap = 0

    def press(self, digit: str, duration_ms: int) -> None:
        """Queue one digit; it sounds after those before it."""
        self._digits.append((digit, duration_ms))

    @property
    def pressing(self) -> bool:
        return bool(self._digits or self._pressed or self._gap)

    def tick(self, now: float) -> list[bytes]:
        """The packets of the frame that begins at `now`; sample and packet counts go on while held."""
        media = self.media
        if media is None or not media.sends or media.remote[1] == 0:
            self._advance(160, speaking=False)
            return []
        ticks = media.send.clock_rate_hz // 50
        packets = self._digit_packets(media, ticks)
        if not packets:
            packets = [self._packet(media.send.payload_type, self._timestamp, self._frame(media, now))]
        self._advance(ticks, speaking=True)
        return packets

    def _frame(self, media: Media, now: float) -> bytes:
        payload_type = media.send.payload_type
        if payload_type in (0, 8):
            voice = sound.SILENCE if self.muted else self.voice
            return sound.frame(voice, payload_type, self._index, now)
        return sound.pattern(self._index // sound.FRAME, payload_type)

    def _packet(
        self, payload_type: int, timestamp: int, payload: bytes, *, marker: bool | None = None
    ) -> bytes:
        first = not self._speaking if marker is None else marker
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._speaking = True
        self.sent += 1
        return Packet(payload_type, self._sequence, timestamp, self._ssrc, payload, first).to_bytes()

    def _advance(self, ticks: int, *, speaking: bool) -> None:
        self._timestamp = (self._timestamp + ticks) & 0xFFFFFFFF
        self._index += sound.FRAME
        self._speaking = speaking

    def _digit_packets(self, media: Media, ticks: int) -> list[bytes]:
        """What an event in progress sends in this frame instead of sound."""
        if media.events_out is None:
            self._digits.clear()
            return []
        if self._gap:
            self._gap -= 1
            return []
        if self._pressed is None:
            if not self._digits:
                return []
            digit, duration_ms = self._digits.popleft()
            self._pressed = _Pressed(digit, max(1, round(duration_ms / 20)), self._timestamp)
            first = True
        else:
            first = False
        pressed = self._pressed
        pressed.frames += 1
        end = pressed.frames >= pressed.lasts
        payload = Event(pressed.digit, end, 10, min(0xFFFF, pressed.frames * ticks)).to_bytes()
        copies = END_PACKETS if end else 1
        type_ = media.events_out
        packets = [
            self._packet(type_, pressed.began, payload, marker=first and n == 0) for n in range(copies)
        ]
        if end:
            self._pressed, self._gap = None, GAP_TICKS
        return packets


class _Pressed:
    __slots__ = ("began", "digit", "frames", "lasts")

    def __init__(self, digit: str, lasts: int, began: int) -> None:
        self.digit = digit
        self.lasts = lasts
        self.began = began
        self.frames = 0
