"""Session descriptions: text to values, values to text (RFC 8866; RFC 3605 for the RTCP port).

An `Sdp` says what the text means: each stream knows its effective address and direction, wherever
those were written. Lines that need no understanding are kept as they came. What may be answered to an
offer is `offer_answer.py`; sound is `media`.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from sipcore.codec import Codec as Codec
from sipcore.codec import codec_lines, read_codecs
from sipcore.faults import Misuse, PeerFault

MAX_BYTES = 32 * 1024
MAX_LINES = 1000
MAX_STREAMS = 32
MAX_FORMATS = 64


class Direction(enum.StrEnum):
    """Which way media flows, seen from whoever wrote the description (RFC 3264 section 5.1)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def sends(self) -> bool:
        return self is Direction.SENDRECV or self is Direction.SENDONLY

    @property
    def receives(self) -> bool:
        return self is Direction.SENDRECV or self is Direction.RECVONLY

    @property
    def reversed(self) -> Direction:
        """The same flow of media seen from the other side."""
        return _REVERSED[self]

    @property
    def without_receiving(self) -> Direction:
        return _WITHOUT_RECEIVING[self]

    @staticmethod
    def of(sends: bool, receives: bool) -> Direction:
        return _BY_FLAGS[sends, receives]


_REVERSED = {
    Direction.SENDRECV: Direction.SENDRECV,
    Direction.SENDONLY: Direction.RECVONLY,
    Direction.RECVONLY: Direction.SENDONLY,
    Direction.INACTIVE: Direction.INACTIVE,
}
_WITHOUT_RECEIVING = {
    Direction.SENDRECV: Direction.SENDONLY,
    Direction.SENDONLY: Direction.SENDONLY,
    Direction.RECVONLY: Direction.INACTIVE,
    Direction.INACTIVE: Direction.INACTIVE,
}
_BY_FLAGS = {(direction.sends, direction.receives): direction for direction in Direction}
_BOTH_WAYS = Direction.SENDRECV  # an enum's member is dear to look up
_DIRECTION_OF_LINE = {f"a={direction}": direction for direction in Direction}
_LINE_OF_DIRECTION = {direction: f"a={direction}" for direction in Direction}

NOWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - read, never bound
"""Connection addresses of someone who does not receive: the hold of RFC 2543 (RFC 3264 section 8.4)."""


class Origin(msgspec.Struct, frozen=True, gc=False):
    """The o= line: who speaks, and the how manieth version of it. The caller counts `version` up."""

    username: str
    session_id: int
    version: int
    host: str


class Stream(msgspec.Struct, frozen=True, gc=False):
    """One m-line with what belongs to it."""

    kind: str
    """"audio", "video", "image", ..." """
    port: int
    """0: this stream is refused, or over"""
    protocol: str
    """"RTP/AVP", "udptl", ... as written"""
    formats: tuple[str, ...]
    host: str
    """where its author wants to receive: an address without brackets, or a name as written"""
    direction: Direction = Direction.SENDRECV
    """of its author; never receiving when `host` is 0.0.0.0 or ::, unless ICE is to find the address"""
    lines: tuple[str, ...] = ()
    """all further lines of the section but c= and the direction"""

    @property
    def codecs(self) -> tuple[Codec, ...]:
        """In the order of preference of the m-line; formats that are no RTP payload types are left out."""
        return read_codecs(self.formats, self.lines)

    @property
    def rtcp_port(self) -> int:
        """Where its author receives RTCP (RFC 3605) as long as `rtcp_mux` is not agreed; 0: nowhere."""
        told = self.attribute("rtcp").partition(" ")[0]
        if told.isdecimal() and 0 < int(told[:6]) <= 65535:
            return int(told)
        return self.port + 1 if 0 < self.port < 65535 else 0

    @property
    def rtcp_mux(self) -> bool:
        """Its author can take RTCP on the RTP port (RFC 5761); in force only when both sides say so."""
        return "a=rtcp-mux" in self.lines

    @property
    def ptime_ms(self) -> int:
        """How much sound its author wishes in a packet; 20 when it does not say (RFC 3551 section 4.2)."""
        told = self.attribute("ptime").partition(".")[0]
        return int(told) if told.isdecimal() and len(told) <= 3 and 10 <= int(told) <= 200 else 20

    def attribute(self, name: str) -> str:
        """The value of the first a=name:value, stripped; "" when there is none."""
        wanted = f"a={name}:"
        for line in self.lines:
            if line.startswith(wanted):
                return line[len(wanted) :].strip()
        return ""


class Sdp(msgspec.Struct, frozen=True, gc=False):
    """One session description, from its author's point of view."""

    origin: Origin
    streams: tuple[Stream, ...]
    name: str = "-"
    lines: tuple[str, ...] = ("t=0 0",)
    """the lines before the first m-line but v=, o=, s=, c= and the direction"""

    @property
    def audio(self) -> Stream | None:
        """The first audio stream that is in use."""
        for stream in self.streams:
            if stream.kind == "audio" and stream.port:
                return stream
        return None

    def to_bytes(self) -> bytes:
        """The text, UTF-8, lines ending in CRLF; `parse_sdp` of it gives an equal value."""
        origin = self.origin
        host = _session_host(self)
        lines = [
            "v=0",
            f"o={origin.username} {origin.session_id} {origin.version} {_address(origin.host)}",
            f"s={self.name}",
        ]
        _write_with_c(self.lines, host, lines)
        for stream in self.streams:
            _write_stream(stream, host, lines)
        lines.append("")
        return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def _session_host(sdp: Sdp) -> str:
    for stream in sdp.streams:
        if stream.port:
            return stream.host
    return sdp.streams[0].host if sdp.streams else sdp.origin.host


def _address(host: str) -> str:
    return f"IN IP6 {host}" if ":" in host else f"IN IP4 {host}"


def _write_with_c(kept: tuple[str, ...], host: str, lines: list[str]) -> None:
    """Write lines that were kept, with a c= at the place that the grammar has for it."""
    before = 0
    while before < len(kept) and kept[before][:2] in _BEFORE_C:
        before += 1
    lines.extend(kept[:before])
    lines.append(f"c={_address(host)}")
    lines.extend(kept[before:])


def _write_stream(stream: Stream, session_host: str, lines: list[str]) -> None:
    lines.append(" ".join(("m=" + stream.kind, str(stream.port), stream.protocol, *stream.formats)))
    if stream.host == session_host:
        lines.extend(stream.lines)
    else:
        _write_with_c(stream.lines, stream.host, lines)
    # To T.38 a direction means nothing, and gateways of its time trip over it.
    if stream.direction is not Direction.SENDRECV or stream.protocol.startswith("RTP/"):
        lines.append(_LINE_OF_DIRECTION[stream.direction])


# ---------------------------------------------------------------- reading

_BEFORE_C = frozenset(f"{letter}=" for letter in "iuep")
_AFTER_C = frozenset(f"{letter}=" for letter in "btrzka")
_AFTER_STREAM_C = frozenset(f"{letter}=" for letter in "bka")
_MISPLACED = frozenset(f"{letter}=" for letter in "uetrzp")
"""Of the session, yet some devices write them behind an m-line: read over."""


def parse_sdp(body: bytes) -> Sdp:
    """Read a session description.

    Bare LF or CR ends a line too, blank lines are passed over, t= and s= may be missing: phones do all
    of that. Raises PeerFault(400) for what cannot be understood, and for more than a call needs.
    """
    if len(body) > MAX_BYTES or b"\0" in body:
        raise _broken("too long, or with a NUL")
    text = body.decode("utf-8", "surrogateescape").replace("\r", "\n")
    opening, *sections = text.strip("\n").split("\nm=")
    if len(sections) > MAX_STREAMS or text.count("\n") > 2 * MAX_LINES:
        raise _broken("too many lines")
    version, first, *lines = [*filter(None, opening.split("\n")), "", ""]
    if version.rstrip() != "v=0" or first[:2] != "o=":
        raise _broken("does not open with v=0 and o=")
    name, host, direction = "-", "", _BOTH_WAYS
    titles, kept = [], []
    for line in filter(None, lines):
        start = line[:2]
        if start == "s=":
            name = line[2:]
        elif start == "c=":
            host = _read_connection(line)
        elif line in _DIRECTION_OF_LINE:
            direction = _DIRECTION_OF_LINE[line]
        elif start in _AFTER_C:
            kept.append(line)
        elif start in _BEFORE_C:
            titles.append(line)
        else:
            raise _broken(f"line of type {start!r} in the session part")
    ice = any(line.startswith("a=ice-ufrag:") for line in kept)
    streams = [_read_stream(section, host, direction, ice=ice) for section in sections]
    return Sdp(_read_origin(first), tuple(streams), name, tuple(titles + kept))


def _read_stream(section: str, host: str, direction: Direction, *, ice: bool) -> Stream:
    media, *lines = section.split("\n")
    kind, port, protocol, formats = _read_media(media)
    titles, kept = [], []
    for line in filter(None, lines):
        start = line[:2]
        if line in _DIRECTION_OF_LINE:
            direction = _DIRECTION_OF_LINE[line]
        elif start in _AFTER_STREAM_C:
            kept.append(line)
        elif start == "c=":
            host = _read_connection(line)
        elif start == "i=":
            titles.append(line)
        elif start not in _MISPLACED:
            raise _broken(f"line of type {start!r} in a media part")
    if not host:
        if port:
            raise _broken("no c= for an m-line")
        host = "0.0.0.0"  # noqa: S104 - a refused stream leads nowhere
    if host in NOWHERE and not (ice or any(line.startswith("a=ice-ufrag:") for line in kept)):
        direction = direction.without_receiving  # with ICE it only says "not known yet" (RFC 8840 4.1.1)
    return Stream(kind, port, protocol, formats, host, direction, tuple(titles + kept))


def _read_media(line: str) -> tuple[str, int, str, tuple[str, ...]]:
    words = line.split()
    if len(words) < 3 or len(words) > 3 + MAX_FORMATS:
        raise _broken("m= without media, port and protocol, or with too many formats")
    kind, port, protocol, *formats = words
    port = port.partition("/")[0]  # 49170/2 asks for two ports in a row: nobody carries layers, one is enough
    if not (port.isdecimal() and len(port) <= 5 and int(port) <= 65535):
        raise _broken("m= with a port that is none")
    if not formats and port != "0":
        raise _broken("m= without a format")
    return kind, int(port), protocol, tuple(formats)


def _read_connection(line: str) -> str:
    words = line[2:].split()
    if len(words) != 3 or words[0] != "IN" or words[1] not in ("IP4", "IP6"):
        raise _broken("c= that is not IN IP4 or IN IP6")
    host = words[2].partition("/")[0]
    if not host or len(host) > 255:
        raise _broken("c= without an address")
    return host


def _read_origin(line: str) -> Origin:
    words = line[2:].split()
    if len(words) != 6 or len(words[1]) > 40 or len(words[2]) > 40:
        raise _broken("o= without its six parts")
    try:
        return Origin(words[0], int(words[1]), int(words[2]), words[5])
    except ValueError:
        raise _broken("o= whose id or version is no number") from None


def _broken(what: str) -> PeerFault:
    return PeerFault(400, "Bad Session Description", f"RFC 8866 5: {what}")


# ---------------------------------------------------------------- descriptions of our own


class LocalStream(msgspec.Struct, frozen=True, gc=False):
    """Where we receive one stream; RTCP has the port after it. `direction` overrides what would be said."""

    host: str
    port: int
    direction: Direction | None = None


# What is agreed between neighbours and would be a lie one hop further: addresses, keys, transports,
# RTCP that ends at us, and the alternatives that a peer could choose behind our back (RFC 5939).
_HOP_BOUND = frozenset(
    {"k=prompt", "k=clear", "k=base64", "k=uri"}
    | {"a=rtcp", "a=rtcp-mux", "a=rtcp-mux-only", "a=rtcp-rsize", "a=rtcp-xr"}
    | {"a=candidate", "a=remote-candidates", "a=end-of-candidates", "a=altc", "a=nortpproxy"}
    | {"a=ice-ufrag", "a=ice-pwd", "a=ice-lite", "a=ice-options", "a=ice-mismatch", "a=ice-pacing"}
    | {"a=crypto", "a=fingerprint", "a=setup", "a=connection", "a=tls-id", "a=key-mgmt", "a=zrtp-hash"}
    | {"a=identity", "a=mid", "a=group", "a=bundle-only", "a=msid", "a=msid-semantic", "a=rid", "a=simulcast"}
    | {"a=ssrc", "a=ssrc-group", "a=extmap", "a=extmap-allow-mixed"}
    | {"a=csup", "a=creq", "a=tcap", "a=acap", "a=pcfg", "a=acfg"}
)


def relayed(sdp: Sdp, local: Sequence[LocalStream | None], origin: Origin) -> Sdp:
    """Say to one peer what the other one said, with ourselves as the place where media goes.

    The m-lines stay the same ones in the same order, with codecs, payload types, fmtp, ptime and
    direction; addresses, ICE, keys and all else that is between neighbours is left out. `local` has one
    entry per m-line, None for a stream that is not carried (port 0).
    """
    if len(local) != len(sdp.streams):
        raise Misuse(f"{len(local)} local streams for {len(sdp.streams)} m-lines")
    streams = [
        _relayed_stream(theirs, ours, origin.host) for theirs, ours in zip(sdp.streams, local, strict=True)
    ]
    bandwidth = [line for line in sdp.lines if line[0] == "b"]
    return Sdp(origin, tuple(streams), "-", (*bandwidth, "t=0 0"))


def _relayed_stream(theirs: Stream, ours: LocalStream | None, host: str) -> Stream:
    if ours is None or not theirs.port:
        return refused(theirs, host)
    return Stream(
        theirs.kind,
        ours.port,
        theirs.protocol,
        theirs.formats,
        ours.host,
        ours.direction or theirs.direction,
        _end_to_end(theirs.lines),
    )


@lru_cache(maxsize=256)
def _end_to_end(lines: tuple[str, ...]) -> tuple[str, ...]:
    return tuple([line for line in lines if line.partition(":")[0] not in _HOP_BOUND])


def refused(stream: Stream, host: str) -> Stream:
    """The same m-line with port 0 (RFC 3264 section 6)."""
    return Stream(stream.kind, 0, stream.protocol, stream.formats, host)


def audio_stream(codecs: Sequence[Codec], local: LocalStream, ptime_ms: int = 20) -> Stream:
    """An RTP audio stream of our own."""
    lines = [line for codec in codecs for line in codec_lines(codec)]
    lines.append(f"a=ptime:{ptime_ms}")
    return Stream(
        "audio",
        local.port,
        "RTP/AVP",
        tuple([str(codec.payload_type) for codec in codecs]),
        local.host,
        local.direction or Direction.SENDRECV,
        tuple(lines),
    )


def own_offer(codecs: Sequence[Codec], local: LocalStream, origin: Origin, ptime_ms: int = 20) -> Sdp:
    """An audio offer of our own: where a late offer is asked for, or nothing is known of the call's media."""
    return Sdp(origin, (audio_stream(codecs, local, ptime_ms),))
