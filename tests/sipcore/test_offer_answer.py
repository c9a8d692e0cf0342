"""Who may offer when, and what an answer may say (RFC 3264, RFC 6337)."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from sipcore.codec import Codec
from sipcore.faults import Misuse, PeerFault
from sipcore.offer_answer import (
    FAULTS,
    TABLE,
    Capabilities,
    Negotiation,
    NoCommonCodec,
    State,
    Trigger,
    answer_direction,
    check_answer,
    check_offer,
    is_hold,
    is_resume,
    make_answer,
    payloads,
    same_codecs,
)
from sipcore.sdp import Direction, LocalStream, Origin, Sdp, parse_sdp

OURS = Origin("jackfield", 7, 1, "198.51.100.1")
LOCAL = LocalStream("198.51.100.1", 20000)
EVENTS = Codec(101, "telephone-event", 8000, 1, "0-15")
ABLE = Capabilities((Codec(8, "pcma", 8000), Codec(0, "pcmu", 8000), EVENTS))


def sdp(*lines: str, version: int = 1, host: str = "192.0.2.1") -> Sdp:
    head = ["v=0", f"o=- 1 {version} IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0"]
    return parse_sdp("\r\n".join([*head, *lines, ""]).encode())


AUDIO = ("m=audio 4000 RTP/AVP 0 8 96", "a=rtpmap:96 telephone-event/8000", "a=fmtp:96 0-16")
VIDEO = ("m=video 4002 RTP/AVP 31",)


# ---------------------------------------------------------------- answering


def test_an_answer_has_the_offers_m_lines_order_and_payload_types():
    answer = make_answer(sdp(*VIDEO, *AUDIO), ABLE, LOCAL, OURS)
    video, audio = answer.streams
    assert (video.kind, video.port, video.formats) == ("video", 0, ("31",))
    assert (audio.kind, audio.port, audio.host) == ("audio", 20000, "198.51.100.1")
    assert audio.codecs == (
        Codec(0, "pcmu", 8000),
        Codec(8, "pcma", 8000),
        Codec(96, "telephone-event", 8000, 1, "0-15"),
    )
    check_answer(sdp(*VIDEO, *AUDIO), answer)


def test_only_the_first_stream_that_fits_is_taken():
    offer = sdp("m=audio 0 RTP/AVP 0", "m=audio 1 RTP/SAVP 0", "m=audio 2 RTP/AVP 3", *AUDIO, *AUDIO)
    assert [each.port for each in make_answer(offer, ABLE, LOCAL, OURS).streams] == [0, 0, 0, 20000, 0]


@pytest.mark.parametrize(
    "lines",
    [
        ("m=audio 4000 RTP/AVP 3",),
        ("m=audio 4000 RTP/AVP 96", "a=rtpmap:96 telephone-event/8000"),
        ("m=audio 4000 RTP/AVP 96", "a=rtpmap:96 PCMU/16000"),
        ("m=audio 0 RTP/AVP 0",),
        VIDEO,
        (),
    ],
)
def test_an_offer_without_a_codec_of_ours_is_488(lines: tuple[str, ...]):
    with pytest.raises(NoCommonCodec) as caught:
        make_answer(sdp(*lines), ABLE, LOCAL, OURS)
    assert caught.value.status == 488


@pytest.mark.parametrize(
    ("offered", "wanted", "answered"),
    [
        ("sendrecv", "sendrecv", "sendrecv"),
        ("sendonly", "sendrecv", "recvonly"),
        ("recvonly", "sendrecv", "sendonly"),
        ("inactive", "sendrecv", "inactive"),
        ("sendrecv", "sendonly", "sendonly"),
        ("sendrecv", "inactive", "inactive"),
        ("sendonly", "sendonly", "inactive"),
        ("recvonly", "sendonly", "sendonly"),
    ],
)
def test_the_answer_turns_the_direction_round_and_may_narrow_it(offered: str, wanted: str, answered: str):
    assert answer_direction(Direction(offered), Direction(wanted)) is Direction(answered)
    local = msgspec.structs.replace(LOCAL, direction=Direction(wanted))
    answer = make_answer(sdp(*AUDIO, f"a={offered}"), ABLE, local, OURS)
    assert answer.streams[0].direction is Direction(answered)


def test_payloads_are_what_media_wants_to_know():
    assert payloads(sdp(*AUDIO).streams[0]) == (
        (0, "pcmu", 8000, 1, ""),
        (8, "pcma", 8000, 1, ""),
        (96, "telephone-event", 8000, 1, "0-16"),
    )


# ---------------------------------------------------------------- hold, and what one leg settles alone

TALKING = sdp(*AUDIO)


@pytest.mark.parametrize(
    "held",
    [
        sdp(*AUDIO, "a=sendonly", version=2),
        sdp(*AUDIO, "a=inactive", version=2),
        sdp(*AUDIO, version=2, host="0.0.0.0"),
        sdp(*AUDIO, "a=sendonly", *AUDIO, "a=inactive"),
    ],
)
def test_hold_and_resume_are_seen(held: Sdp):
    assert (is_hold(TALKING, held), is_resume(held, TALKING)) == (True, True)
    assert (is_hold(held, held), is_resume(TALKING, TALKING)) == (False, False)
    assert (is_hold(held, TALKING), is_resume(TALKING, held)) == (False, False)


@pytest.mark.parametrize("lines", [VIDEO, ("m=audio 0 RTP/AVP 0",), (*AUDIO, "a=recvonly")])
def test_what_is_no_hold(lines: tuple[str, ...]):
    assert not is_hold(TALKING, sdp(*lines))


@pytest.mark.parametrize(
    ("after", "same"),
    [
        (sdp(*AUDIO, version=2), True),
        (sdp(*AUDIO, "a=sendonly", version=2), True),
        (sdp(*AUDIO, host="192.0.2.99"), True),
        (sdp(AUDIO[0].replace("4000", "4010"), *AUDIO[1:], "a=ptime:20"), True),
        (sdp(AUDIO[0].replace("4000", "0"), *AUDIO[1:]), False),
        (sdp(AUDIO[0].replace(" 8", ""), *AUDIO[1:]), False),
        (sdp(AUDIO[0].replace("0 8", "8 0"), *AUDIO[1:]), False),
        (sdp(AUDIO[0].replace("AVP", "SAVP"), *AUDIO[1:]), False),
        (sdp(*AUDIO[:2], "a=fmtp:96 0-15"), False),
        (sdp(*AUDIO, *VIDEO), False),
        (sdp("m=image 4000 udptl t38"), False),
    ],
)
def test_only_direction_address_and_version_may_differ(after: Sdp, same: bool):
    assert same_codecs(TALKING, after) is same
    assert same_codecs(after, TALKING) is same


# ---------------------------------------------------------------- whose turn it is

OFFER, ANSWER = TALKING, sdp("m=audio 5000 RTP/AVP 0")


def reached(state: State) -> Negotiation:
    return {
        State.STABLE: Negotiation(),
        State.OFFER_SENT: Negotiation().after(Trigger.SEND_OFFER, OFFER),
        State.OFFER_RECEIVED: Negotiation().after(Trigger.RECEIVE_OFFER, OFFER),
    }[state]


def test_our_offer_and_its_answer():
    done = reached(State.OFFER_SENT).after(Trigger.RECEIVE_ANSWER, ANSWER)
    assert done == Negotiation(State.STABLE, OFFER, ANSWER)


def test_their_offer_and_our_answer():
    done = reached(State.OFFER_RECEIVED).after(Trigger.SEND_ANSWER, ANSWER)
    assert done == Negotiation(State.STABLE, ANSWER, OFFER)


def test_a_preview_is_heard_but_leaves_the_offer_open():
    early = reached(State.OFFER_SENT).after(Trigger.RECEIVE_PREVIEW, ANSWER)
    assert early == Negotiation(State.OFFER_SENT, OFFER, ANSWER, OFFER)
    assert early.after(Trigger.RECEIVE_ANSWER, ANSWER) == Negotiation(State.STABLE, OFFER, ANSWER)


def test_an_answer_that_is_said_again_changes_nothing():
    done = reached(State.OFFER_SENT).after(Trigger.RECEIVE_ANSWER, ANSWER)
    assert done.after(Trigger.RECEIVE_ANSWER, OFFER) is done


@pytest.mark.parametrize(
    ("mine", "state"), [(Trigger.SEND_OFFER, State.OFFER_SENT), (Trigger.RECEIVE_OFFER, State.OFFER_RECEIVED)]
)
def test_an_offer_that_failed_leaves_what_was_agreed(mine: Trigger, state: State):
    agreed = reached(State.OFFER_SENT).after(Trigger.RECEIVE_ANSWER, ANSWER)
    offered = agreed.after(mine, sdp(*AUDIO, *VIDEO))
    assert offered.state is state
    assert offered.after(Trigger.WITHDRAW) == agreed


@pytest.mark.parametrize(
    ("state", "trigger", "status"),
    [
        (State.OFFER_SENT, Trigger.RECEIVE_OFFER, 491),
        (State.OFFER_RECEIVED, Trigger.RECEIVE_OFFER, 500),
        (State.OFFER_RECEIVED, Trigger.RECEIVE_ANSWER, 488),
        (State.OFFER_RECEIVED, Trigger.RECEIVE_PREVIEW, 488),
    ],
)
def test_the_peer_out_of_turn_is_told_so(state: State, trigger: Trigger, status: int):
    with pytest.raises(PeerFault) as caught:
        reached(state).after(trigger, OFFER)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("state", "trigger"),
    [
        (State.STABLE, Trigger.SEND_ANSWER),
        (State.STABLE, Trigger.WITHDRAW),
        (State.OFFER_SENT, Trigger.SEND_OFFER),
        (State.OFFER_SENT, Trigger.SEND_ANSWER),
        (State.OFFER_RECEIVED, Trigger.SEND_OFFER),
    ],
)
def test_we_out_of_turn_are_our_own_mistake(state: State, trigger: Trigger):
    with pytest.raises(Misuse):
        reached(state).after(trigger, OFFER)


def test_every_pair_is_allowed_or_refused_and_the_peer_never_causes_misuse():
    theirs = {Trigger.RECEIVE_OFFER, Trigger.RECEIVE_ANSWER, Trigger.RECEIVE_PREVIEW}
    assert not TABLE.keys() & FAULTS.keys()
    assert set(itertools.product(State, theirs)) <= TABLE.keys() | FAULTS.keys()


@pytest.mark.parametrize(
    ("state", "trigger"),
    [
        (State.STABLE, Trigger.SEND_OFFER),
        (State.STABLE, Trigger.RECEIVE_OFFER),
        (State.OFFER_SENT, Trigger.RECEIVE_ANSWER),
        (State.OFFER_SENT, Trigger.RECEIVE_PREVIEW),
        (State.OFFER_RECEIVED, Trigger.SEND_ANSWER),
    ],
)
def test_an_offer_and_an_answer_need_a_description(state: State, trigger: Trigger):
    with pytest.raises(Misuse):
        reached(state).after(trigger)


# ---------------------------------------------------------------- m-lines


@pytest.mark.parametrize("answer", [sdp(), sdp(*AUDIO), sdp(*AUDIO, *AUDIO), sdp(*VIDEO, *AUDIO)])
def test_an_answer_has_the_m_lines_of_the_offer(answer: Sdp):
    offer = sdp(*AUDIO, *VIDEO)
    with pytest.raises(PeerFault) as caught:
        reached(State.STABLE).after(Trigger.SEND_OFFER, offer).after(Trigger.RECEIVE_ANSWER, answer)
    assert caught.value.status == 488
    with pytest.raises(Misuse):
        reached(State.STABLE).after(Trigger.RECEIVE_OFFER, offer).after(Trigger.SEND_ANSWER, answer)


def test_a_refused_stream_may_be_answered_with_any_kind():
    check_answer(sdp(*AUDIO, *VIDEO), sdp(*AUDIO, "m=audio 0 RTP/AVP 0"))


def test_m_lines_never_get_fewer():
    agreed = Negotiation(State.STABLE, sdp(*AUDIO, *VIDEO), sdp(*AUDIO, *VIDEO))
    with pytest.raises(PeerFault) as caught:
        agreed.after(Trigger.RECEIVE_OFFER, sdp(*AUDIO))
    assert caught.value.status == 488
    with pytest.raises(Misuse):
        agreed.after(Trigger.SEND_OFFER, sdp(*AUDIO))
    check_offer(None, sdp(*AUDIO))


def test_a_stream_may_become_another_kind():
    agreed = Negotiation(State.STABLE, sdp(*AUDIO), sdp(*AUDIO))
    fax = sdp("m=image 4000 udptl t38")
    assert agreed.after(Trigger.RECEIVE_OFFER, fax).state is State.OFFER_RECEIVED


def test_a_negotiation_is_plain_data():
    early = reached(State.OFFER_SENT).after(Trigger.RECEIVE_PREVIEW, ANSWER)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(early), type=Negotiation) == early
