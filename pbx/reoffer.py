"""Offers in mid-call: hold, resume, a moved phone, a change of codecs or streams (RFC 3264 section 8).

What concerns one leg alone (direction, address) is answered at once and only changes who hears whom.
What needs the other end's consent (other codecs, another stream) is offered to it first, and the
asker gets its answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pbx import api
from pbx.api import EndCause, LegId
from pbx.headers import reason_header, warning_fields
from pbx.leg import LegState
from pbx.sound import NoPortsLeft, carried, directed, is_held
from sipcore import events as sip
from sipcore.faults import PeerFault
from sipcore.sdp import Direction, Sdp, parse_sdp

if TYPE_CHECKING:
    from pbx.board import Board
    from pbx.call import Call
    from pbx.leg import Leg


NOTHING_IN_COMMON = reason_header("SIP", 488, "No common codec")
MOST_ROUNDS = 4


class Reoffer(msgspec.Struct, frozen=True):
    """An offer of ours to `leg` that waits for its answer; what it says comes from `source`."""

    leg: LegId
    source: LegId
    asked: sip.RequestId | None = None
    """the request of `source` to answer; None where the wish was ours (`align`)"""
    old: Sdp | None = None
    """what `source` had said before: it stays in force when the other end says no (RFC 3264 section 8)"""
    round: int = 0
    """how many offers went before this one, to align the two"""


def offered(call: Call, board: Board, event: sip.Asked, now: float) -> None:
    """A re-INVITE or UPDATE came in on one leg."""
    leg = call.legs[event.dialog]
    request = event.message
    if leg.sound.awaits_answer:  # an offer of ours is written already and may wait to be sent once more
        board.send(sip.Reply(request=event.request, status=491))
        return
    if not request.body:
        _offerless(call, board, leg, event, now)
        return
    try:
        offer = leg.sound.screened(board, parse_sdp(request.body))
        if leg.sound.can_answer_alone(offer) and not (board.settings.pass_hold and leg.sound.turns(offer)):
            before = leg.sound.theirs
            body = leg.sound.answer_alone(board, offer)
            board.send(sdp_reply(event.request, body))
            settled(call, board, leg, before, now)
            return
        _ask_the_other(call, board, leg, event, offer, now)
    except PeerFault as fault:
        headers = warning_fields(fault)
        board.send(
            sip.Reply(request=event.request, status=fault.status, reason=fault.reason, headers=headers)
        )
    except NoPortsLeft:
        board.send(sip.Reply(request=event.request, status=503, reason="No Media Ports Left"))


def settled(call: Call, board: Board, leg: Leg, before: Sdp | None, now: float) -> None:
    """What `leg` says is in force: who hears whom follows, and a hold or its end is told."""
    call.redraw(board)
    board.changed(call)
    if leg.sound.held != is_held(before):
        board.tell((api.Held if leg.sound.held else api.Resumed)(call.id, now, leg.id))


def _offerless(call: Call, board: Board, leg: Leg, event: sip.Asked, now: float) -> None:
    """A re-INVITE without SDP asks for an offer of all that is possible; the ACK brings its answer."""
    other = call.peer_of(leg)
    if event.message.method != "INVITE":
        board.send(sip.Reply(request=event.request, status=200))
        return
    if other is not None and other.sound.theirs is not None:
        body = leg.sound.offer(board, other.sound, now, Direction.SENDRECV)
    elif leg.sound.shown is not None:
        body = leg.sound.offer_streams(board, directed(leg.sound.shown, Direction.SENDRECV), now)
    else:
        board.send(sip.Reply(request=event.request, status=488))
        return
    board.send(sdp_reply(event.request, body))


def _ask_the_other(call: Call, board: Board, leg: Leg, event: sip.Asked, offer: Sdp, now: float) -> None:
    other = call.peer_of(leg)
    if other is None or call.reoffers or not any(map(carried, offer.streams)):
        status, reason = (491, "Request Pending") if call.reoffers else (488, "Not Acceptable Here")
        board.send(sip.Reply(request=event.request, status=status, reason=reason))
        return
    old = leg.sound.theirs
    leg.sound.hears_offer(offer)
    body = other.sound.offer(board, leg.sound, now)
    _offer(call, board, Reoffer(other.id, leg.id, event.request, old), body)


def _offer(call: Call, board: Board, reoffer: Reoffer, body: bytes) -> None:
    request = board.new_request_id(call)
    call.reoffers[request] = reoffer
    board.send(
        sip.Ask(
            dialog=reoffer.leg, request=request, method="INVITE", body=body, content_type="application/sdp"
        )
    )


def replied(call: Call, board: Board, event: sip.Replied, now: float) -> None:
    """The answer to a request of ours inside a dialog; those that were no offer need nothing more."""
    reoffer = call.reoffers.pop(event.request, None)
    if reoffer is None:
        return
    leg, source = call.legs[reoffer.leg], call.legs.get(reoffer.source)
    accepted = _accepted(board, leg, event)
    if not accepted:
        leg.sound.offer_refused()
    if reoffer.asked is None or source is None:
        _aligned(call, board, reoffer, accepted, now)
    elif accepted:
        body = source.sound.answer_like(board, leg.sound, now)
        board.send(sdp_reply(reoffer.asked, body))
        settled(call, board, source, reoffer.old, now)
    else:
        source.sound.theirs = reoffer.old
        status = event.status if event.status in (415, 488, 491, 606) else 488
        board.send(sip.Reply(request=reoffer.asked, status=status))


def _accepted(board: Board, leg: Leg, event: sip.Replied) -> bool:
    if event.response is None or not 200 <= event.status < 300:
        return False
    try:
        return leg.sound.hears_answer(board, parse_sdp(event.response.body))
    except PeerFault:
        return False


def align(call: Call, board: Board, leg: Leg, other: Leg, now: float, round_: int = 0) -> None:
    """Two legs were joined that never negotiated with each other: offer one what the other speaks.

    Goes to and fro until each accepts all that the other may send; nothing goes where that is so already.
    While the answer of one is awaited, nothing: it is called again then.
    """
    if leg.sound.awaits_answer or other.sound.awaits_answer or round_ >= MOST_ROUNDS:
        return
    if leg.sound.suits(other.sound):
        leg, other = other, leg
    if not leg.sound.suits(other.sound):
        _offer_to_align(call, board, leg, other, round_, now)


def _offer_to_align(call: Call, board: Board, leg: Leg, other: Leg, round_: int, now: float) -> None:
    try:
        body = leg.sound.offer(board, other.sound, now, Direction.SENDRECV)
    except NoPortsLeft:
        return
    _offer(call, board, Reoffer(leg.id, other.id, round=round_), body)


def _aligned(call: Call, board: Board, reoffer: Reoffer, accepted: bool, now: float) -> None:
    leg = call.legs[reoffer.leg]
    other = call.peer_of(leg)
    if other is None:
        return
    if accepted or reoffer.source != other.id:
        call.redraw(board)
        board.changed(call)
        align(call, board, leg, other, now, reoffer.round + 1)
    elif reoffer.round == 0:  # what it refuses, the other one may be able to do without
        _offer_to_align(call, board, other, leg, 1, now)
    elif not leg.sound.can_talk_with(other.sound):
        call.hang_up_all(board, EndCause.NO_COMMON_CODEC, now, (NOTHING_IN_COMMON,))


def forget(call: Call, board: Board, leg: Leg) -> dict[sip.RequestId, Reoffer]:
    """A leg has left the call: offers that wait for its consent, or are its own, have to be made anew.

    What others were offered on its behalf is left to be aligned with whom they talk with then. Offers to
    the leg itself are given back, for the call that it goes to.
    """
    to_it: dict[sip.RequestId, Reoffer] = {}
    for request, reoffer in list(call.reoffers.items()):
        if leg.id not in (reoffer.leg, reoffer.source):
            continue
        source = leg if leg.id == reoffer.source else call.legs.get(reoffer.source)
        if reoffer.asked is not None and source is not None and source.state is not LegState.OVER:
            source.sound.theirs = reoffer.old
            board.send(sip.Reply(request=reoffer.asked, status=491))
        orphan = Reoffer(reoffer.leg, reoffer.source)
        if leg.id == reoffer.leg:
            del call.reoffers[request]
            to_it[request] = orphan
        else:
            call.reoffers[request] = orphan
    return to_it


def sdp_reply(request: sip.RequestId, body: bytes) -> sip.Reply:
    return sip.Reply(request=request, status=200, body=body, content_type="application/sdp")
