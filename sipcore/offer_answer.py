"""Offer and answer: who may offer when, and what may be answered (RFC 3264, RFC 3261 14.2, RFC 6337).

Values and one small table; reading and writing SDP is `sdp.py`, the requests that carry it are the
dialog's, ports and sound are `media`'s.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import msgspec

from sipcore.codec import Codec
from sipcore.faults import Misuse, PeerFault
from sipcore.sdp import Direction, LocalStream, Origin, Sdp, Stream, audio_stream, refused

NOT_SPEECH = frozenset({"telephone-event", "cn", "red"})
"""Payloads that accompany a codec and make no call by themselves."""

_OWN_PROTOCOLS = frozenset({"RTP/AVP", "RTP/AVPF"})


class NoCommonCodec(PeerFault):
    """No audio stream of the offer can be kept."""

    def __init__(self) -> None:
        super().__init__(488, "Not Acceptable Here", "RFC 3264 6: no common codec")


# ---------------------------------------------------------------- answering for an application of ours


class Capabilities(msgspec.Struct, frozen=True, gc=False):
    """What we can take ourselves. Payload types do not matter: an answer has the offer's."""

    codecs: tuple[Codec, ...]
    ptime_ms: int = 20


def make_answer(offer: Sdp, able: Capabilities, local: LocalStream, origin: Origin) -> Sdp:
    """Answer an SDP offer (RFC 3264 section 6).

    Each m-line of the offer gets one in the answer, in the same order; the first audio stream with a
    codec in common is taken, all else is refused with port 0. Codecs keep the offerer's order and
    payload types. `able.ptime_ms` is a wish, not a demand; `local` must already be listening, and its
    direction, where it has one, narrows what is offered. The offer is not changed.

    Raises NoCommonCodec, answered with 488, when no audio stream can be kept.
    """
    streams: list[Stream] = []
    taken = False
    for stream in offer.streams:
        codecs = () if taken else _takeable(stream, able)
        if codecs:
            direction = answer_direction(stream.direction, local.direction or Direction.SENDRECV)
            ours = audio_stream(codecs, LocalStream(local.host, local.port, direction), able.ptime_ms)
            streams.append(msgspec.structs.replace(ours, protocol=stream.protocol))
            taken = True
        else:
            streams.append(refused(stream, origin.host))
    if not taken:
        raise NoCommonCodec
    return Sdp(origin, tuple(streams))


def _takeable(stream: Stream, able: Capabilities) -> tuple[Codec, ...]:
    if stream.kind != "audio" or not stream.port or stream.protocol not in _OWN_PROTOCOLS:
        return ()
    common = common_codecs(stream.codecs, able.codecs)
    return common if any(codec.name not in NOT_SPEECH for codec in common) else ()


def common_codecs(offered: tuple[Codec, ...], able: tuple[Codec, ...]) -> tuple[Codec, ...]:
    """What both can do: in the offerer's order and with its payload types, parameters (fmtp) ours."""
    ours = {codec.encoding: codec.fmtp for codec in able}
    return tuple(
        [
            Codec(codec.payload_type, codec.name, codec.clock_rate_hz, codec.channels, ours[codec.encoding])
            for codec in offered
            if codec.encoding in ours
        ]
    )


def answer_direction(offered: Direction, wanted: Direction = Direction.SENDRECV) -> Direction:
    """The direction to answer (RFC 3264 6.1): the offered one turned round, no wider than we want."""
    return Direction.of(offered.receives and wanted.sends, offered.sends and wanted.receives)


# ---------------------------------------------------------------- comparing descriptions of one peer


def is_held(sdp: Sdp) -> bool:
    """Its author listens to no audio stream that is in use: it has put us on hold (RFC 3264 8.4)."""
    audio = [stream for stream in sdp.streams if stream.kind == "audio" and stream.port]
    return bool(audio) and not any(stream.direction.receives for stream in audio)


def is_hold(before: Sdp, after: Sdp) -> bool:
    """The peer puts us on hold with `after`."""
    return is_held(after) and not is_held(before)


def is_resume(before: Sdp, after: Sdp) -> bool:
    """The peer takes us back with `after`."""
    return is_held(before) and not is_held(after)


def same_codecs(before: Sdp, after: Sdp) -> bool:
    """Only direction, address or version differ: what one leg can settle without asking the other one."""
    return len(before.streams) == len(after.streams) and all(
        _same_media(one, other) for one, other in zip(before.streams, after.streams, strict=True)
    )


def _same_media(before: Stream, after: Stream) -> bool:
    return (
        before.kind == after.kind
        and bool(before.port) == bool(after.port)
        and before.protocol == after.protocol
        and before.formats == after.formats
        and before.codecs == after.codecs
    )


def payloads(stream: Stream) -> tuple[tuple[int, str, int, int, str], ...]:
    """(payload type, name, clock rate, channels, fmtp) in order of preference: what media wants to know."""
    return tuple(
        [
            (codec.payload_type, codec.name, codec.clock_rate_hz, codec.channels, codec.fmtp)
            for codec in stream.codecs
        ]
    )


# ---------------------------------------------------------------- what must fit together


def check_answer(offer: Sdp, answer: Sdp) -> None:
    """Raises PeerFault(488) for an answer whose m-lines are not those of the offer (RFC 3264 section 6).

    Accepting a stream that was offered with port 0 is let pass: nothing is sent there anyhow.
    """
    if len(offer.streams) != len(answer.streams):
        raise _mismatch("6: an answer with another number of m-lines")
    for offered, answered in zip(offer.streams, answer.streams, strict=True):
        if answered.port and answered.kind != offered.kind:
            raise _mismatch("6: an answer with another kind of media")


def check_offer(before: Sdp | None, offer: Sdp) -> None:
    """Raises PeerFault(488) for a new offer that has lost m-lines of the one before (RFC 3264 section 8)."""
    if before is not None and len(offer.streams) < len(before.streams):
        raise _mismatch("8: an offer with fewer m-lines than before")


def _mismatch(rule: str) -> PeerFault:
    return PeerFault(488, "Not Acceptable Here", f"RFC 3264 {rule}")


# ---------------------------------------------------------------- whose turn it is


class State(enum.Enum):
    """Of one dialog's offer/answer exchange."""

    STABLE = "nothing is open"
    OFFER_SENT = "ours waits for its answer"
    OFFER_RECEIVED = "theirs waits for our answer"


class Trigger(enum.Enum):
    """What can happen to it."""

    SEND_OFFER = "we offer"
    SEND_ANSWER = "we answer"
    RECEIVE_OFFER = "the peer offers"
    RECEIVE_ANSWER = "the peer answers: in a 2xx, a reliable 1xx, an ACK or a PRACK"
    RECEIVE_PREVIEW = "the peer answers in a 1xx that may be lost"
    WITHDRAW = "the request that carried the offer failed"


class Negotiation(msgspec.Struct, frozen=True, gc=False):
    """Where the exchange of one dialog stands. Plain data: `after` gives the next one."""

    state: State = State.STABLE
    local: Sdp | None = None
    """what we said last that is in force"""
    remote: Sdp | None = None
    """what the peer said last that is in force"""
    offer: Sdp | None = None
    """the one that is open, whosever it is"""

    def after(self, trigger: Trigger, sdp: Sdp | None = None) -> Negotiation:
        """The negotiation after `trigger`; all but WITHDRAW bring a description.

        Raises PeerFault with what the peer's request is to be answered with: 491 where offers cross,
        500 where it offers again before our answer (with a Retry-After of 0 to 10 s, RFC 3261 14.2),
        488 where m-lines do not fit. Raises Misuse where it is not our turn.
        """
        step = TABLE.get((self.state, trigger))
        if step is not None:
            return step(self, sdp)
        fault = FAULTS.get((self.state, trigger))
        if fault is not None:
            raise PeerFault(*fault)
        raise Misuse(f"{trigger.name} in {self.state.name}")


def _given(sdp: Sdp | None) -> Sdp:
    if sdp is None:
        raise Misuse("an offer or an answer without a description")
    return sdp


def _open_ours(it: Negotiation, sdp: Sdp | None) -> Negotiation:
    offer = _given(sdp)
    if it.local is not None and len(offer.streams) < len(it.local.streams):
        raise Misuse("our offer has lost m-lines (RFC 3264 section 8)")
    return Negotiation(State.OFFER_SENT, it.local, it.remote, offer)


def _open_theirs(it: Negotiation, sdp: Sdp | None) -> Negotiation:
    offer = _given(sdp)
    check_offer(it.remote, offer)
    return Negotiation(State.OFFER_RECEIVED, it.local, it.remote, offer)


def _settle_ours(it: Negotiation, sdp: Sdp | None) -> Negotiation:
    answer = _given(sdp)
    check_answer(_given(it.offer), answer)
    return Negotiation(State.STABLE, it.offer, answer)


def _settle_theirs(it: Negotiation, sdp: Sdp | None) -> Negotiation:
    answer = _given(sdp)
    try:
        check_answer(_given(it.offer), answer)
    except PeerFault as fault:
        raise Misuse(f"our answer does not fit: {fault}") from fault
    return Negotiation(State.STABLE, answer, it.offer)


def _preview(it: Negotiation, sdp: Sdp | None) -> Negotiation:
    answer = _given(sdp)
    check_answer(_given(it.offer), answer)
    return Negotiation(State.OFFER_SENT, it.offer, answer, it.offer)


def _withdraw(it: Negotiation, _sdp: Sdp | None) -> Negotiation:
    return Negotiation(State.STABLE, it.local, it.remote)


def _ignore(it: Negotiation, _sdp: Sdp | None) -> Negotiation:
    return it


TABLE: dict[tuple[State, Trigger], Callable[[Negotiation, Sdp | None], Negotiation]] = {
    (State.STABLE, Trigger.SEND_OFFER): _open_ours,
    (State.STABLE, Trigger.RECEIVE_OFFER): _open_theirs,
    (State.STABLE, Trigger.RECEIVE_ANSWER): _ignore,  # the 2xx says again what a 1xx said, RFC 3261 13.2.1
    (State.STABLE, Trigger.RECEIVE_PREVIEW): _ignore,
    (State.OFFER_SENT, Trigger.RECEIVE_ANSWER): _settle_ours,
    (State.OFFER_SENT, Trigger.RECEIVE_PREVIEW): _preview,  # RFC 6337 3.1.1: heard, not yet binding
    (State.OFFER_SENT, Trigger.WITHDRAW): _withdraw,
    (State.OFFER_RECEIVED, Trigger.SEND_ANSWER): _settle_theirs,
    (State.OFFER_RECEIVED, Trigger.WITHDRAW): _withdraw,
}
FAULTS: dict[tuple[State, Trigger], tuple[int, str, str]] = {
    (State.OFFER_SENT, Trigger.RECEIVE_OFFER): (491, "Request Pending", "RFC 3261 14.2, RFC 3311 5.2"),
    (State.OFFER_RECEIVED, Trigger.RECEIVE_OFFER): (500, "Offer Pending", "RFC 3261 14.2, RFC 3311 5.2"),
    (State.OFFER_RECEIVED, Trigger.RECEIVE_ANSWER): (488, "Not Acceptable Here", "RFC 3264 4"),
    (State.OFFER_RECEIVED, Trigger.RECEIVE_PREVIEW): (488, "Not Acceptable Here", "RFC 3264 4"),
}
