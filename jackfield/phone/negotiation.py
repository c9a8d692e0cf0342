"""One call's offers and answers (RFC 3264): what the phone says, and what it holds against the other side.

Keeps the last description of each side. Makes offers and answers in the phone's own words (one
session id, the version up by one for each change), and checks the other side's against those before:
a changed session id, a version that stands still while the text moves, fewer m-lines, an answer that
does not fit its offer, a payload type with a new meaning.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from jackfield.phone.sdp import EVENTS, MIRROR, PCMA, PCMU, Address, Codec, Sdp, Stream, Unusable, read_sdp

SENDS = {"sendrecv", "sendonly"}
RECEIVES = {"sendrecv", "recvonly"}


@dataclass(frozen=True, slots=True)
class Media:
    """What was agreed: where our sound goes, what may come, and in which directions."""

    remote: Address
    sends: bool
    receives: bool
    send: Codec
    """what we speak"""
    receive: tuple[Codec, ...]
    """what the other side may send to us"""
    events_out: int | None
    """their payload type for telephone-event, None when they do not take any"""


class NoCommonCodec(Exception):
    """The offer has no audio that we speak: 488."""


class Negotiation:
    """The offer/answer state of one call, from this phone's side."""

    def __init__(
        self, rng: random.Random, local: Address, codecs: Sequence[Codec] = (PCMU, PCMA, EVENTS)
    ) -> None:
        self.local_address = local
        self.codecs = tuple(codecs)
        self.direction = "sendrecv"
        """our wish; an answer is this, narrowed by the offer"""
        self.zero_address = False
        """hold the old way, with c=IN IP4 0.0.0.0 (RFC 2543 style)"""
        self.media: Media | None = None
        self.remote: Sdp | None = None
        self.faults: list[str] = []
        self._session_id = rng.getrandbits(31)
        self._version = rng.getrandbits(15)
        self._local: bytes = b""
        self._local_sdp: Sdp | None = None
        self._seen: Sdp | None = None
        """their newest description, even of an offer that was refused"""
        self._known_types: dict[int, Codec] = {}

    @property
    def has_offered(self) -> bool:
        return bool(self._local)

    def offer(self) -> bytes:
        """Our description as an offer: all m-lines so far, our wish, our codecs."""
        others = self._local_sdp.streams if self._local_sdp else []
        return self._write([self._audio(s, self.codecs, self.direction) for s in others or [Stream()]])

    def answer(self, body: bytes) -> bytes:
        """Take the other side's offer and answer it. Raises NoCommonCodec; Unusable for no SDP at all."""
        remote = self._take(body, "offer")
        if self._local_sdp and len(remote.streams) < len(self._local_sdp.streams):
            self.faults.append("the offer has fewer m-lines than there were (RFC 3264 8)")
        chosen = remote.audio
        common = self._common(chosen) if chosen else []
        if chosen is None or all(codec.name == EVENTS.name for codec in common):
            raise NoCommonCodec("no audio codec in common")
        direction = _narrow(self.direction, _heard(chosen))
        streams = [self._audio(s, common, direction) if s is chosen else _refused(s) for s in remote.streams]
        written = self._write(streams)
        self._settle(chosen, common, direction)
        return written

    def take_answer(self, body: bytes) -> None:
        """Take the answer to our offer. Raises Unusable when nothing can be made of it."""
        remote = self._take(body, "answer")
        offered = self._local_sdp
        assert offered is not None, "an answer is taken after an offer"
        if len(remote.streams) != len(offered.streams):
            self.faults.append(
                f"the answer has {len(remote.streams)} m-lines, the offer {len(offered.streams)} (RFC 3264 6)"
            )
        for theirs, ours in zip(remote.streams, offered.streams, strict=False):
            self._check_answered(theirs, ours)
        audio = remote.audio
        common = self._common(audio) if audio else []
        if audio is None or all(codec.name == EVENTS.name for codec in common):
            raise Unusable("the answer has no audio that was offered")
        self._settle(audio, common, _narrow(self.direction, _heard(audio)))

    def again(self, body: bytes) -> None:
        """The same answer again (a 200 after a 183 with SDP): it must not have changed (RFC 3261 13.2.1)."""
        if self.remote is not None and body.decode(errors="replace") != self.remote.text:
            self.faults.append(
                "the SDP of the 2xx is not that of the provisional before it (RFC 3261 13.2.1)"
            )

    def glance(self, body: bytes) -> None:
        """Look at an offer that is refused for other reasons: its version counts. Raises Unusable."""
        remote, faults = read_sdp(body)
        self.faults += [f"offer: {fault}" for fault in faults]
        self._check_origin(remote, "offer")

    def _take(self, body: bytes, what: str) -> Sdp:
        remote, faults = read_sdp(body)
        self.faults += [f"{what}: {fault}" for fault in faults]
        self._check_origin(remote, what)
        for stream in remote.streams:
            for codec in stream.codecs():
                known = self._known_types.setdefault(codec.payload_type, codec)
                if not known.same_format(codec):
                    self.faults.append(
                        f"{what}: payload type {codec.payload_type} was {known.rtpmap}, "
                        f"is {codec.rtpmap} (RFC 3264 8.3.2)"
                    )
        self.remote = remote
        return remote

    def _check_origin(self, remote: Sdp, what: str) -> None:
        before, self._seen = self._seen, remote
        if before is None:
            return
        if (before.username, before.session_id, before.origin_host) != (
            remote.username,
            remote.session_id,
            remote.origin_host,
        ):
            self.faults.append(f"{what}: the o= line names another session than before (RFC 3264 8)")
        elif remote.version == before.version and remote.past_origin != before.past_origin:
            self.faults.append(f"{what}: the SDP changed and its version did not (RFC 3264 8)")
        elif remote.version not in (before.version, before.version + 1):
            self.faults.append(
                f"{what}: the version went from {before.version} to {remote.version} (RFC 3264 8)"
            )
        if len(remote.streams) < len(before.streams):
            self.faults.append(
                f"{what}: {len(before.streams)} m-lines became {len(remote.streams)} (RFC 3264 8)"
            )

    def _check_answered(self, theirs: Stream, ours: Stream) -> None:
        if (theirs.kind, theirs.protocol) != (ours.kind, ours.protocol):
            self.faults.append(
                f"the answer has m={theirs.kind} {theirs.protocol} "
                f"for {ours.kind} {ours.protocol} (RFC 3264 6)"
            )
        if ours.port == 0 and theirs.port != 0:
            self.faults.append("the answer opens a stream that the offer had closed (RFC 3264 6)")
        if theirs.port == 0:
            return
        allowed = {"sendrecv": set(MIRROR), "sendonly": {"recvonly", "inactive"}}
        allowed |= {"recvonly": {"sendonly", "inactive"}, "inactive": {"inactive"}}
        if theirs.direction not in allowed[ours.direction or "sendrecv"]:
            self.faults.append(
                f"the answer is {theirs.direction} to an offer of {ours.direction} (RFC 3264 6.1)"
            )
        if not set(theirs.formats) & set(ours.formats):
            self.faults.append("the answer has no format of the offer (RFC 3264 6.1)")

    def _common(self, stream: Stream) -> list[Codec]:
        """Their formats that we speak too, in their order, with their payload types."""
        return [codec for codec in stream.codecs() if any(codec.same_format(own) for own in self.codecs)]

    def _settle(self, theirs: Stream, common: list[Codec], direction: str) -> None:
        remote = (theirs.host, theirs.port)
        held = theirs.host == "0.0.0.0"  # noqa: S104 - the old way of hold, no address to bind
        voices = [codec for codec in common if codec.name != EVENTS.name]
        events = next((codec.payload_type for codec in common if codec.name == EVENTS.name), None)
        ours = self._local_sdp.audio if self._local_sdp else None
        receive = tuple(ours.codecs()) if ours else ()
        sends = direction in SENDS and not held
        self.media = Media(remote, sends, direction in RECEIVES, voices[0], receive, events)

    def _audio(self, like: Stream, codecs: Sequence[Codec], direction: str) -> Stream:
        if like.kind != "audio":
            return _refused(like)
        stream = Stream(like.kind, self.local_address[1], like.protocol, direction=direction)
        stream.formats = [str(codec.payload_type) for codec in codecs]
        for codec in codecs:
            stream.attributes.append(f"rtpmap:{codec.payload_type} {codec.rtpmap}")
            if codec.fmtp:
                stream.attributes.append(f"fmtp:{codec.payload_type} {codec.fmtp}")
        stream.attributes += ["ptime:20", direction]
        return stream

    def _write(self, streams: list[Stream]) -> bytes:
        host = self.local_address[0]
        family = "IP6" if ":" in host else "IP4"
        said = "0.0.0.0" if self.zero_address else host  # noqa: S104 - the old way of hold, no address to bind
        tail = ["s=-", f"c=IN {family} {said}", "t=0 0"]
        for stream in streams:
            tail.append(f"m={stream.kind} {stream.port} {stream.protocol} {' '.join(stream.formats)}")
            tail += [f"a={attribute}" for attribute in stream.attributes]
        before = self._local_sdp.past_origin if self._local_sdp else None
        if before is not None and before != "\r\n".join(["v=0", *tail, ""]):
            self._version += 1
        origin = f"o=phone {self._session_id} {self._version} IN {family} {host}"
        self._local = "\r\n".join(["v=0", origin, *tail, ""]).encode()
        self._local_sdp, _ = read_sdp(self._local)
        return self._local


def _heard(stream: Stream) -> str:
    """Their direction, with the old way of hold taken for what it means."""
    return "inactive" if stream.host == "0.0.0.0" and stream.direction == "recvonly" else stream.direction  # noqa: S104


def _narrow(wish: str, theirs: str) -> str:
    """Our direction: what we wish and they leave us (RFC 3264 6.1)."""
    sends = wish in SENDS and theirs in RECEIVES
    receives = wish in RECEIVES and theirs in SENDS
    return {(True, True): "sendrecv", (True, False): "sendonly", (False, True): "recvonly"}.get(
        (sends, receives), "inactive"
    )


def _refused(stream: Stream) -> Stream:
    return Stream(stream.kind, 0, stream.protocol, list(stream.formats))
