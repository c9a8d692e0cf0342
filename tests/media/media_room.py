"""The media core in virtual time, with scripted peers on a network without delay, loss or sockets."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable
from typing import NamedTuple

from media._core import Core
from media.client import FrameReader, pack
from media.messages import (
    VERSION,
    AskReport,
    ClosePort,
    Command,
    Dtls,
    Event,
    Hear,
    Hello,
    Ice,
    Negotiated,
    OpenPlayer,
    OpenPort,
    Payload,
    Play,
    PlayTone,
    Report,
    Sdes,
    Unhear,
)

LOCAL = "192.0.2.1"
PCMU = Payload(0, "pcmu", 8000)
PCMA = Payload(8, "pcma", 8000)
OPUS = Payload(111, "opus", 48000, 2, "useinbandfec=1")
EVENTS = Payload(101, "telephone-event", 8000, 1, "0-16")
FRAME_S = 0.02


def tone(port: int, call: int, frequency_hz: float, level_dbov: float) -> tuple[OpenPlayer, Play]:
    """A port that speaks a sine without end."""
    return OpenPlayer(port, call), Play(port, 1, (PlayTone((frequency_hz,), level_dbov),))


class Rtp(NamedTuple):
    """One RTP packet, and when it was sent."""

    at: float
    marker: bool
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes

    @classmethod
    def parse(cls, data: bytes, at: float) -> Rtp:
        first, second, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", data)
        assert first == 0x80, "what we send has a bare header"
        return cls(at, second >> 7 == 1, second & 0x7F, sequence, timestamp, ssrc, data[12:])


def rtp(
    sequence: int, timestamp: int, ssrc: int, payload: bytes, payload_type: int = 0, marker: bool = False
) -> bytes:
    second = payload_type | (0x80 if marker else 0)
    return struct.pack("!BBHII", 0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload


class Room:
    """One media core with its engine: commands in, events and packets out, at `now`."""

    def __init__(
        self, workers: int = 1, silence_s: float = 15.0, orphan_s: float = 60.0, seed: int = 1
    ) -> None:
        self.core = Core(workers=workers, silence_s=silence_s, seed=seed)
        self.now = 1000.0
        self.phones: list[Phone] = []
        self.stray: list[tuple[str, int, bytes]] = []
        self._reader = FrameReader()
        self._events: list[Event] = []
        self.tell(Hello(VERSION, orphan_s))
        self.events()

    def tell(self, *commands: Command) -> None:
        self.core.handle_frame(pack(commands), self.now)
        self._route(self.core.take_sends())

    def events(self) -> list[Event]:
        """What the engine was told since this was last asked."""
        self._events += self._reader.feed(self.core.take_events())
        events, self._events = self._events, []
        return events

    def phone(
        self, port: int, *codecs: Payload, call: int = 1, kind: type[Phone] | None = None, **terms: object
    ) -> Phone:
        """A phone with a port of its own, that the engine has negotiated with."""
        phone = (kind or Phone)(self, port, codecs or (PCMU, EVENTS))
        self.phones.append(phone)
        self.tell(OpenPort(port, call, LOCAL, phone.local_port))
        phone.negotiates(**terms)
        return phone

    def join(self, *phones: Phone) -> None:
        self.tell(*(Hear(one.port, other.port) for one in phones for other in phones if one is not other))

    def part(self, *phones: Phone) -> None:
        self.tell(*(Unhear(one.port, other.port) for one in phones for other in phones if one is not other))

    def report(self, phone: Phone) -> Report:
        self.tell(AskReport(phone.port))
        (report,) = [event for event in self.events() if isinstance(event, Report)]
        return report

    def close(self, phone: Phone) -> Report:
        self.tell(ClosePort(phone.port))
        (report,) = [event for event in self.events() if isinstance(event, Report)]
        return report

    def deliver(self, local_port: int, source: tuple[str, int], data: bytes) -> None:
        self._route(self.core.receive((LOCAL, local_port), source, data, self.now))

    def wait(self, seconds: float) -> None:
        """Let time pass, and all that falls due in it happen at its time."""
        until = self.now + seconds
        while (due := self.core.next_deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.core.tick(self.now)
            self._route(self.core.take_sends())
        self.now = until

    def _route(self, sends: Iterable[tuple[int, str, int, bytes]]) -> None:
        for local_port, host, port, data in sends:
            for phone in self.phones:
                if phone.takes(local_port, (host, port), data):
                    break
            else:
                self.stray.append((host, port, data))


class Phone:
    """A peer that sends numbered packets, and keeps what it hears."""

    def __init__(self, room: Room, port: int, codecs: tuple[Payload, ...]) -> None:
        self.room = room
        self.port = port
        self.codecs = codecs
        self.local_port = 20000 + 2 * port
        self.signalled = self.address = (f"198.51.100.{port}", 4000)
        self.ssrc = 0xA000 + port
        self.sequence = 65_000 + port
        self.timestamp = 0xFFFF_0000 + port
        self.heard: list[Rtp] = []
        self.reports: list[bytes] = []
        self.datagrams: list[bytes] = []
        self.echoes = False
        """sends back at once what it hears, and keeps nothing"""

    def negotiates(
        self,
        *,
        sends: bool = True,
        receives: bool = True,
        receive: tuple[Payload, ...] = (),
        send: tuple[Payload, ...] = (),
        protocol: str = "rtp",
        rtcp: bool = True,
        ptime_ms: int = 20,
        security: Sdes | Dtls | None = None,
        ice: Ice | None = None,
        multiplexed: bool = False,
    ) -> None:
        host, port = self.signalled
        rtcp_port = port if multiplexed else port + 1 if rtcp else 0
        receive, send = receive or self.codecs, send or self.codecs
        terms = Negotiated(
            self.port,
            host,
            port,
            rtcp_port,
            sends,
            receives,
            receive,
            send,
            ptime_ms,
            protocol,
            security,
            ice,
        )
        self.room.tell(terms)

    def takes(self, local_port: int, to: tuple[str, int], data: bytes) -> bool:
        if local_port == self.local_port and to == self.address and self.echoes:
            self.room.deliver(self.local_port, self.address, data)
            return True
        if local_port == self.local_port and to == self.address:
            self.datagrams.append(data)
            if data[0] >> 6 == 2:
                self.heard.append(Rtp.parse(data, self.room.now))
            return True
        if local_port == self.local_port + 1 and to == self.rtcp_address:
            self.reports.append(data)
            return True
        return False

    @property
    def rtcp_address(self) -> tuple[str, int]:
        return self.address[0], self.address[1] + 1

    def sends(self, data: bytes, source: tuple[str, int] | None = None) -> None:
        self.room.deliver(self.local_port, source or self.address, data)

    def sends_rtcp(self, data: bytes, source: tuple[str, int] | None = None) -> None:
        self.room.deliver(self.local_port + 1, source or self.rtcp_address, data)

    def packet(self, payload: bytes = b"\xff" * 160, payload_type: int | None = None) -> bytes:
        """The next packet of its stream."""
        chosen = self.codecs[0].payload_type if payload_type is None else payload_type
        data = rtp(self.sequence, self.timestamp, self.ssrc, payload, chosen)
        self.sequence += 1
        self.timestamp += round(FRAME_S * self.codecs[0].clock_rate_hz)
        return data

    def talks(self, packets: int = 1) -> None:
        """Send packets, one each 20 ms."""
        for _ in range(packets):
            self.sends(self.packet())
            self.room.wait(FRAME_S)


def steps(packets: list[Rtp]) -> list[tuple[int, int]]:
    """From each packet to the next: the step in sequence, and in timestamp."""
    return [
        ((b.sequence - a.sequence) & 0xFFFF, (b.timestamp - a.timestamp) & 0xFFFFFFFF)
        for a, b in itertools.pairwise(packets)
    ]
