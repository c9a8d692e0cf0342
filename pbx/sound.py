"""One leg's side of offer/answer (RFC 3264) and its ports in media.

Each stream (m-line) of a leg has one port of its own; stream *i* of one leg is heard by stream *i* of
the other. The codecs cross from leg to leg as they are; addresses, ports, session ids and keys never do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from media import messages as media
from pbx import securing
from pbx.api import CallId
from pbx.securing import UNPROTECTED, Manner, Means
from pbx.translating import EVENTS, fitted, is_translatable, widened
from sipcore.flow import is_address
from sipcore.sdp import Codec, Direction, LocalStream, Origin, Sdp, Stream, own_offer, relayed

if TYPE_CHECKING:
    from pbx.board import Board

USERNAME = "jackfield"
RELAYED = {"udptl": "udptl", "UDPTL": "udptl"} | dict.fromkeys(securing.RTP, "rtp")
"""The protocols that media carries, and its words for them."""
NO_PORT = 0


class NoPortsLeft(Exception):
    """Every port of media's range is in use or resting; becomes a 503."""


class LegSound:
    """Mutable, owned by one leg.

    `theirs` is the peer's last session description, `shown` the one that we last passed on to it (its
    codecs are what the peer may send us), `agreed` the answer of the last exchange, whoever gave it.
    `said` is what became of `shown`, with our ports and keys; `met` what the peer said when media was last
    told.
    """

    __slots__ = (
        "_said_before",
        "_shown_before",
        "agreed",
        "awaits_answer",
        "call",
        "host",
        "manner",
        "met",
        "numbers",
        "ports",
        "said",
        "sent",
        "session_id",
        "shown",
        "theirs",
        "version",
    )

    def __init__(self, call: CallId, host: str, session_id: int, manner: Manner = UNPROTECTED) -> None:
        self.call = call
        self.manner = manner
        self.host = host
        self.session_id = session_id
        self.version = 0
        self.ports: list[int] = []
        self.numbers: list[int] = []
        self.theirs: Sdp | None = None
        self.shown: Sdp | None = None
        self.agreed: Sdp | None = None
        self.said: Sdp | None = None
        self.met: Sdp | None = None
        self.sent = b""
        self.awaits_answer = False
        self._shown_before: Sdp | None = None
        self._said_before: Sdp | None = None

    # ------------------------------------------------------------ what the peer says

    def screened(self, board: Board, offer: Sdp) -> Sdp:
        """The peer's offer without the streams that are not protected as they must be.

        Raises Unprotected where that leaves none, and PeerFault(488) for keys that make no sense.
        """
        return securing.screened(offer, self.manner, board.media_fingerprint)

    def hears_offer(self, offer: Sdp) -> bool:
        """Take the peer's offer, `screened`. False, and nothing is changed, when we can carry none of it."""
        if not any(carried(stream) for stream in offer.streams):
            return False
        self.theirs = offer
        return True

    def hears_answer(self, board: Board, answer: Sdp) -> bool:
        """Take the peer's answer to our last offer and tell media. False: it kept no stream that may be.

        Raises PeerFault(488) for keys that make no sense.
        """
        if self.shown is None or self.said is None or len(answer.streams) != len(self.shown.streams):
            return False
        answer = securing.answered(answer, self.said, self.manner)
        self.awaits_answer = False
        self.theirs = self.agreed = answer
        self._tell_media(board)
        return any(carried(stream) for stream in answer.streams)

    def offer_refused(self) -> None:
        """The peer said no to our last offer: what was agreed before it stays (RFC 3264 section 8)."""
        self.awaits_answer = False
        self.shown, self.said = self._shown_before, self._said_before

    # ------------------------------------------------------------ what we say

    def offer(
        self,
        board: Board,
        other: LegSound,
        now: float,
        direction: Direction | None = None,
        *,
        wide: bool = False,
    ) -> bytes:
        """Our offer to this leg: what the other leg's peer last said, with our ports. Raises NoPortsLeft.

        Where the other peer has said nothing yet (late offer) it is an offer of our own. `direction`
        overrides that of every stream in use. `wide`: with our own codecs behind those of the other peer.
        """
        source = other.theirs
        if source is None:
            return self.offer_own(board, now)
        if wide:
            source = widened(source, board.settings.own_codecs) or source
        return self.offer_streams(board, source if direction is None else directed(source, direction), now)

    def offer_streams(self, board: Board, source: Sdp, now: float) -> bytes:
        """Offer these streams. No m-line that was there before may be missing (RFC 3264 section 8)."""
        if self.shown is not None and len(self.shown.streams) > len(source.streams):
            source = Sdp(source.origin, source.streams + _closed(self.shown.streams[len(source.streams) :]))
        source = securing.offerable(source, self.manner)
        self._open_ports(board, source, now)
        self.awaits_answer = True
        self._shown_before, self._said_before = self.shown, self.said
        return self._say(board, source, offer=None)

    def offer_own(self, board: Board, now: float) -> bytes:
        """An offer of our own codecs. Raises NoPortsLeft."""
        number = self._take_port(board, 0, now)
        local = LocalStream(self.host, number)
        self.awaits_answer = True
        return self._say(board, own_offer(board.settings.own_codecs, local, self._origin()), offer=None)

    def answer_like(self, board: Board, other: LegSound, now: float) -> bytes:
        """What the other leg's peer answered, as our answer to this leg's offer. Raises NoPortsLeft.

        Where this leg made no offer it is our offer instead, and its answer comes with the ACK. Where the
        other leg's peer made an offer as well, what both offers have in common.
        """
        source = other.theirs
        if other.agreed is not source and self.theirs is not None:
            source = answer_within(self.theirs, other)
        assert source is not None
        if self.theirs is not None:
            source = fitted(self.theirs, source)
        return self.answer_with(board, source, now)

    def answer_once(self, board: Board, other: LegSound, now: float) -> bytes:
        """`answer_like`, but an answer that this leg has had already stays as it is (RFC 3261 13.2.1)."""
        return self.sent if self.agreed is not None else self.answer_like(board, other, now)

    def answer_with(self, board: Board, answer: Sdp, now: float) -> bytes:
        """Answer this leg's offer with these streams (ours may be an application's). Raises NoPortsLeft."""
        if self.theirs is not None and len(answer.streams) > len(self.theirs.streams):
            answer = Sdp(answer.origin, answer.streams[: len(self.theirs.streams)])
        self._open_ports(board, answer, now)
        body = self._say(board, answer, offer=self.theirs)
        if self.theirs is None:
            self.awaits_answer = True
        else:
            self.agreed = answer
            self._tell_media(board)
        return body

    # ------------------------------------------------------------ offers in mid-call

    def can_answer_alone(self, offer: Sdp) -> bool:
        """True when the offer changes only where and whether the peer sends and listens.

        Then each stream in use still offers every codec that was agreed on, and none has come or gone.
        """
        if self.agreed is None or len(offer.streams) != len(self.agreed.streams):
            return False
        return all(
            encodings(agreed) <= encodings(offered) if agreed.port and offered.port else not offered.port
            for agreed, offered in zip(self.agreed.streams, offer.streams, strict=True)
        )

    def answer_alone(self, board: Board, offer: Sdp) -> bytes:
        """Answer an offer for which `can_answer_alone` holds: agreed codecs, the directions turned round."""
        assert self.agreed is not None
        streams = tuple(
            narrowed(offered, encodings(agreed))
            for offered, agreed in zip(offer.streams, self.agreed.streams, strict=True)
        )
        self.theirs = offer
        self.agreed = Sdp(offer.origin, streams)
        body = self._say(board, self.agreed, offer=offer)
        self._tell_media(board)
        return body

    def turns(self, offer: Sdp) -> bool:
        """True when the offer changes a direction: a hold, or its end."""
        return self.theirs is not None and [stream.direction for stream in offer.streams] != [
            stream.direction for stream in self.theirs.streams
        ]

    @property
    def held(self) -> bool:
        """True while the peer does not listen: it has put us on hold."""
        return is_held(self.theirs)

    def suits(self, other: LegSound) -> bool:
        """True when the other leg's peer accepts all that this one may send, and we do not hold this one."""
        audio = None if self.shown is None else self.shown.audio
        if audio is not None and audio.direction is not Direction.SENDRECV:
            return False
        return self._speech() <= other._speech()

    def is_translatable(self, board: Board) -> bool:
        """True when others can be offered more codecs than this leg's peer offered."""
        return self.theirs is not None and widened(self.theirs, board.settings.own_codecs) is not None

    def can_talk_with(self, other: LegSound) -> bool:
        """True when there is a codec that both peers accept now, or media can translate."""
        if not self._speech().isdisjoint(other._speech()):
            return True
        streams = [None if sound.agreed is None else sound.agreed.audio for sound in (self, other)]
        return all(stream is not None and is_translatable(stream) for stream in streams)

    def _speech(self) -> frozenset[tuple[str, int, int]]:
        stream = None if self.agreed is None else self.agreed.audio
        if stream is None:
            return frozenset()
        return frozenset(each for each in encodings(stream) if each[0] != EVENTS)

    # ------------------------------------------------------------ who hears whom

    def hears(self, other: LegSound) -> set[tuple[int, int]]:
        """The edges (listening, speaking port) by which this leg hears the other, as directions allow."""
        if self.theirs is None or other.theirs is None:
            return set()
        return {
            (mine, its)
            for mine, its, listening, speaking in zip(
                self.ports, other.ports, self.theirs.streams, other.theirs.streams, strict=False
            )
            if mine and its and listening.direction.receives and speaking.direction.sends
        }

    def audio_port(self) -> int | None:
        """The port of the sound that both sides agreed on."""
        if self.agreed is None or self.theirs is None:
            return None
        for port, stream in zip(self.ports, self.theirs.streams, strict=False):
            if port and stream.kind == "audio" and stream.port:
                return port
        return None

    def events_port(self) -> int | None:
        """The port whose peer understands telephone-events (RFC 4733)."""
        port = self.audio_port()
        if port is None or self.theirs is None:
            return None
        stream = self.theirs.streams[self.ports.index(port)]
        return port if any(encoding[0] == EVENTS for encoding in encodings(stream)) else None

    # ------------------------------------------------------------ ports

    def _open_ports(self, board: Board, sdp: Sdp, now: float) -> None:
        for index, stream in enumerate(sdp.streams):
            if index == len(self.ports):
                self.ports.append(NO_PORT)
                self.numbers.append(0)
            if not self.ports[index] and carried(stream):
                self._take_port(board, index, now)

    def _take_port(self, board: Board, index: int, now: float) -> int:
        if index == len(self.ports):
            self.ports.append(NO_PORT)
            self.numbers.append(0)
        if self.ports[index]:
            return self.numbers[index]
        number = board.numbers.take(now)
        if number is None:
            raise NoPortsLeft
        port = board.new_port_id(self.call)
        self.ports[index], self.numbers[index] = port, number
        board.send(media.OpenPort(port, self.call, board.bind_host(self.host), number))
        return number

    def open_again(self, board: Board) -> None:
        """Tell a media process that knows nothing of it all about this leg."""
        for port, number in zip(self.ports, self.numbers, strict=True):
            if port:
                board.send(media.OpenPort(port, self.call, board.bind_host(self.host), number))
        if self.agreed is not None and self.theirs is not None:
            self._tell_media(board)

    def close(self, board: Board, now: float) -> None:
        """Close every port; the numbers rest before they are used again."""
        for port, number in zip(self.ports, self.numbers, strict=True):
            if port:
                board.send(media.ClosePort(port))
                board.numbers.give_back(number, now)
                board.port_over(port)
        self.ports, self.numbers = [], []

    # ------------------------------------------------------------ writing and telling

    def _origin(self) -> Origin:
        return Origin(USERNAME, self.session_id, self.version, self.host)

    def _say(self, board: Board, source: Sdp, offer: Sdp | None) -> bytes:
        """`source` with our addresses and keys, as our answer to `offer`, or as an offer where there is none.

        Its version counts up when it differs from what we said before.
        """
        self.shown = source
        local = [
            LocalStream(self.host, number) if port and stream.port else None
            for port, number, stream in zip(self.ports, self.numbers, source.streams, strict=False)
        ]
        plain = relayed(source, local, self._origin())
        means = Means(board.media_fingerprint, board.new_secret)
        if offer is None:
            said = securing.dressed_offer(plain, self.manner, self.said, means)
        else:
            said = securing.dressed_answer(plain, self.manner, offer, self.met, self.said, means)
        body = said.to_bytes()
        if body != self.sent:
            if self.sent:
                self.version += 1
                said = msgspec.structs.replace(said, origin=self._origin())
                body = said.to_bytes()
            self.sent = body
        self.said = said
        return body

    def _tell_media(self, board: Board) -> None:
        assert self.theirs is not None
        assert self.shown is not None
        assert self.said is not None
        self.met = self.theirs
        streams = zip(self.ports, self.theirs.streams, self.shown.streams, self.said.streams, strict=False)
        for port, their, ours, said in streams:
            if port == NO_PORT:
                continue
            in_use = their.port != 0 and ours.port != 0
            security, ice = None, None
            if in_use and not self.manner.plain:
                security, ice = securing.in_force(self.said, said, self.theirs, their)
            muxed = said.rtcp_mux and their.rtcp_mux
            board.send(
                media.Negotiated(
                    port,
                    their.host,
                    their.port,
                    their.port if muxed else their.rtcp_port,
                    in_use and their.direction.sends,
                    in_use and their.direction.receives,
                    payloads(ours),
                    payloads(their),
                    their.ptime_ms,
                    RELAYED.get(their.protocol, "rtp"),
                    security,
                    ice,
                )
            )


def carried(stream: Stream) -> bool:
    """True for a stream in use that media can relay: RTP, or T.38 over UDPTL, to a literal address."""
    return stream.port != 0 and stream.protocol in RELAYED and is_address(stream.host)


def is_held(theirs: Sdp | None) -> bool:
    """True when a peer that said this does not listen to any sound."""
    return theirs is not None and not any(
        stream.kind == "audio" and stream.direction.receives for stream in theirs.streams
    )


def encodings(stream: Stream) -> frozenset[tuple[str, int, int]]:
    return frozenset(codec.encoding for codec in stream.codecs)


def payloads(stream: Stream) -> tuple[media.Payload, ...]:
    return tuple([_payload(codec) for codec in stream.codecs])


def _payload(codec: Codec) -> media.Payload:
    return media.Payload(codec.payload_type, codec.name, codec.clock_rate_hz, codec.channels, codec.fmtp)


def narrowed(offered: Stream, keep: frozenset[tuple[str, int, int]]) -> Stream:
    """The answer to an offered stream that keeps these encodings, its direction turned round."""
    if not offered.port:
        return offered
    formats = offered.formats
    if offered.codecs:
        formats = tuple(str(codec.payload_type) for codec in offered.codecs if codec.encoding in keep)
    direction = Direction.of(offered.direction.receives, offered.direction.sends)
    dropped = tuple(
        f"a={attribute}:{each} "
        for each in offered.formats
        if each not in formats
        for attribute in ("rtpmap", "fmtp")
    )
    lines = (
        tuple(line for line in offered.lines if not line.startswith(dropped)) if dropped else offered.lines
    )
    return msgspec.structs.replace(offered, formats=formats, direction=direction, lines=lines)


def answer_within(offer: Sdp, other: LegSound) -> Sdp | None:
    """An answer that keeps, of each offered stream, the codecs that the other leg's peer accepts as well.

    None where they have no sound in common.
    """
    if other.theirs is None:
        return None
    common = [
        _common(offered, theirs) for offered, theirs in zip(offer.streams, other.theirs.streams, strict=False)
    ]
    streams = tuple(common) + _closed(offer.streams[len(common) :])
    return Sdp(offer.origin, streams) if any(stream.port for stream in streams) else None


def _common(offered: Stream, theirs: Stream) -> Stream:
    kept = narrowed(offered, encodings(theirs))
    spoken = any(codec.name != "telephone-event" for codec in kept.codecs)
    usable = theirs.port and theirs.kind == offered.kind and (spoken or not offered.codecs)
    return kept if usable else msgspec.structs.replace(offered, port=0)


def directed(sdp: Sdp, direction: Direction) -> Sdp:
    """The same streams, those in use with this direction."""
    streams = [
        msgspec.structs.replace(stream, direction=direction) if stream.port else stream
        for stream in sdp.streams
    ]
    return Sdp(sdp.origin, tuple(streams))


def _closed(streams: tuple[Stream, ...]) -> tuple[Stream, ...]:
    return tuple([msgspec.structs.replace(stream, port=0) for stream in streams])
