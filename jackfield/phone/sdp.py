"""Session descriptions as the phone reads, writes and judges them (RFC 8866, RFC 3264).

One audio stream is all that the phone can use; others of an offer are refused with port 0. The
judging of a description against those before it is in `negotiation.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

Address = tuple[str, int]
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
MIRROR = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}


class Unusable(Exception):
    """This is no session description that anyone could use; the text says why."""


class Codec(NamedTuple):
    """One payload format. All but PCMU and PCMA are spoken as patterned bytes: checked, not heard."""

    name: str
    payload_type: int
    clock_rate_hz: int = 8000
    channels: int = 1
    fmtp: str = ""

    @property
    def rtpmap(self) -> str:
        return f"{self.name}/{self.clock_rate_hz}" + (f"/{self.channels}" if self.channels != 1 else "")

    def same_format(self, other: Codec) -> bool:
        return self.rtpmap.lower() == other.rtpmap.lower()


PCMU = Codec("PCMU", 0)
PCMA = Codec("PCMA", 8)
G722 = Codec("G722", 9)
OPUS = Codec("opus", 111, 48000, 2)
EVENTS = Codec("telephone-event", 101, fmtp="0-16")
STATIC = {codec.payload_type: codec for codec in (PCMU, PCMA, G722, Codec("GSM", 3), Codec("G729", 18))}


@dataclass(slots=True)
class Stream:
    """One m-line with what belongs to it."""

    kind: str = "audio"
    port: int = 0
    protocol: str = "RTP/AVP"
    formats: list[str] = field(default_factory=list)
    host: str = ""
    direction: str = ""
    attributes: list[str] = field(default_factory=list)

    def codecs(self) -> list[Codec]:
        """The formats in order, static payload types filled in; those that nobody explains are left out."""
        maps, fmtps = {}, {}
        for attribute in self.attributes:
            if m := re.match(r"rtpmap:(\d+) ([^/\s]+)/(\d+)(?:/(\d+))?\s*\Z", attribute):
                maps[int(m[1])] = Codec(m[2], int(m[1]), int(m[3]), int(m[4] or 1))
            elif m := re.match(r"fmtp:(\d+) (.*)\Z", attribute):
                fmtps[int(m[1])] = m[2]
        known = [maps.get(int(f)) or STATIC.get(int(f)) for f in self.formats if f.isdigit()]
        return [codec._replace(fmtp=fmtps.get(codec.payload_type, "")) for codec in known if codec]


@dataclass(slots=True)
class Sdp:
    username: str
    session_id: str
    version: int
    origin_host: str
    host: str = ""
    direction: str = ""
    streams: list[Stream] = field(default_factory=list)
    text: str = ""

    @property
    def audio(self) -> Stream | None:
        """The first audio stream that is not refused."""
        return next((s for s in self.streams if s.kind == "audio" and s.port), None)

    @property
    def past_origin(self) -> str:
        """All of it but the o= line, to tell whether anything changed."""
        return re.sub(r"o=.*\r?\n", "", self.text, count=1)


def read_sdp(body: bytes) -> tuple[Sdp, list[str]]:
    """Read a description; raises Unusable, and lists what is wrong but bearable."""
    text = body.decode(errors="replace")
    faults: list[str] = []
    if "\r\n" not in text:
        faults.append("SDP lines do not end in CRLF (RFC 8866 5)")
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line]
    if any(len(line) < 2 or line[1] != "=" for line in lines):
        raise Unusable("a line that is not type=value (RFC 8866 5)")
    session, streams = _sections(lines)
    _check_session(session, streams, faults)
    origin = dict(session)["o"].split(" ")
    if len(origin) != 6 or not origin[1].isdigit() or not origin[2].isdigit():
        raise Unusable(f"o={' '.join(origin)} (RFC 8866 5.2)")
    sdp = Sdp(origin[0], origin[1], int(origin[2]), origin[5], text=text)
    sdp.host = _host(session)
    sdp.direction = _direction(session)
    sdp.streams = [_stream(sdp, lines, faults) for lines in streams]
    return sdp, faults


Lines = list[tuple[str, str]]


def _sections(lines: list[str]) -> tuple[Lines, list[Lines]]:
    session: Lines = []
    streams: list[Lines] = []
    for line in lines:
        kind, value = line[0], line[2:]
        if kind == "m":
            streams.append([])
        (streams[-1] if streams else session).append((kind, value))
    return session, streams


def _check_session(session: Lines, streams: list[Lines], faults: list[str]) -> None:
    kinds = "".join(kind for kind, _ in session)
    if not kinds.startswith("vo"):
        raise Unusable("does not begin with v= and o= (RFC 8866 5)")
    if session[0][1] != "0":
        raise Unusable(f"v={session[0][1]} (RFC 8866 5.1)")
    for needed in "st":
        if needed not in kinds:
            faults.append(f"SDP without {needed}= (RFC 8866 5)")
    order = [kind for kind in kinds if kind in "vosiuepcbtrzka"]
    if order != sorted(order, key="vosiuepcbtrzka".index):
        faults.append(f"SDP session lines out of order: {kinds} (RFC 8866 5)")
    for lines in streams:
        media = "".join(kind for kind, _ in lines)
        if list(media) != sorted(media, key="micbka".find):
            faults.append(f"SDP media lines out of order: {media} (RFC 8866 5)")
        if "c" not in kinds and "c" not in media:
            faults.append("SDP without c= for a stream (RFC 8866 5.7)")


def _host(lines: Lines) -> str:
    value = dict(lines).get("c", "")
    return value.split(" ")[2].partition("/")[0] if value.count(" ") == 2 else ""


def _direction(lines: Lines) -> str:
    return next((value for kind, value in lines if kind == "a" and value in DIRECTIONS), "")


def _stream(sdp: Sdp, lines: Lines, faults: list[str]) -> Stream:
    parts = lines[0][1].split(" ")
    if len(parts) < 4 or not parts[1].partition("/")[0].isdigit():
        raise Unusable(f"m={lines[0][1]} (RFC 8866 5.14)")
    stream = Stream(parts[0], int(parts[1].partition("/")[0]), parts[2], parts[3:])
    stream.host = _host(lines) or sdp.host
    stream.direction = _direction(lines) or sdp.direction or "sendrecv"
    stream.attributes = [value for kind, value in lines if kind == "a"]
    if len(set(stream.formats)) != len(stream.formats):
        faults.append(f"a payload type twice in m={lines[0][1]} (RFC 8866 5.14)")
    if stream.protocol.startswith("RTP") and stream.port:
        explained = {str(codec.payload_type) for codec in stream.codecs()}
        for unexplained in [f for f in stream.formats if f not in explained]:
            faults.append(f"payload type {unexplained} without a=rtpmap (RFC 8866 6.6)")
    return stream
