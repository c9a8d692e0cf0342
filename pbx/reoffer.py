"""Offers in mid-call: hold, resume, a moved phone, a change of codecs or streams (RFC 3264 section 8).

What concerns one leg alone (direction, address) is answered at once and only changes who hears whom.
What needs the other end's consent (other codecs, another stream) is offered to it first, and the
asker gets its answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pbx import api
from pbx.api import LegId
from pbx.sound import NoPortsLeft, carried, is_held
from sipcore import events as sip
from sipcore.faults import PeerFault
from sipcore.sdp import Sdp, parse_sdp

if TYPE_CHECKING:
    from pbx.board import Board
    from pbx.call import Call
    from pbx.leg import Leg


class Reoffer(msgspec.Struct, frozen=True):
    """An offer of ours that waits for its answer; `asker` and `asked` name whom to tell, None: nobody."""

    leg: LegId
    asker: LegId | None
    asked: sip.RequestId | None
    old: Sdp | None = None
    """what the asker had said before: it stays in force when the other end says no (RFC 3264 section 8)"""


def offered(call: Call, board: Board, event: sip.Asked, now: float) -> None:
    """A re-INVITE or UPDATE came in on one leg."""
    leg = call.legs[event.dialog]
    request = event.message
    if not request.body:
        _offerless(board, leg, event)
        return
    try:
        offer = parse_sdp(request.body)
        if leg.sound.can_answer_alone(offer) and not (board.settings.pass_hold and leg.sound.turns(offer)):
            before = leg.sound.theirs
            body = leg.sound.answer_alone(board, offer)
            board.send(sdp_reply(event.request, body))
            _settled(call, board, leg, before, now)
            return
        _ask_the_other(call, board, leg, event, offer, now)
    except PeerFault as fault:
        board.send(sip.Reply(request=event.request, status=fault.status, reason=fault.reason))
    except NoPortsLeft:
        board.send(sip.Reply(request=event.request, status=503, reason="No Media Ports Left"))


def _settled(call: Call, board: Board, leg: Leg, before: Sdp | None, now: float) -> None:
    """The offer of `leg` is in force: who hears whom follows, and a hold or its end is told."""
    call.redraw(board)
    board.changed(call)
    if leg.sound.held != is_held(before):
        board.tell((api.Held if leg.sound.held else api.Resumed)(call.id, now, leg.id))


def _offerless(board: Board, leg: Leg, event: sip.Asked) -> None:
    """A re-INVITE without SDP asks for an offer of ours; its answer comes in the ACK."""
    if event.message.method != "INVITE":
        board.send(sip.Reply(request=event.request, status=200))
        return
    leg.sound.awaits_answer = True
    board.send(sdp_reply(event.request, leg.sound.sent))


def _ask_the_other(call: Call, board: Board, leg: Leg, event: sip.Asked, offer: Sdp, now: float) -> None:
    other = call.peer_of(leg)
    if other is None or call.reoffers or not any(map(carried, offer.streams)):
        status, reason = (491, "Request Pending") if call.reoffers else (488, "Not Acceptable Here")
        board.send(sip.Reply(request=event.request, status=status, reason=reason))
        return
    old = leg.sound.theirs
    leg.sound.hears_offer(offer)
    body = other.sound.offer(board, leg.sound, now)
    request = board.new_request_id(call)
    call.reoffers[request] = Reoffer(other.id, leg.id, event.request, old)
    board.send(
        sip.Ask(dialog=other.id, request=request, method="INVITE", body=body, content_type="application/sdp")
    )


def replied(call: Call, board: Board, event: sip.Replied, now: float) -> bool:
    """The answer to an offer of ours in mid-call. False: it was none of these."""
    reoffer = call.reoffers.pop(event.request, None)
    if reoffer is None:
        return False
    leg = call.legs[reoffer.leg]
    asker = None if reoffer.asker is None else call.legs[reoffer.asker]
    accepted = _accepted(board, leg, event)
    if asker is None or reoffer.asked is None:
        call.redraw(board)
        return True
    if accepted:
        body = asker.sound.answer_like(board, leg.sound, now)
        board.send(sdp_reply(reoffer.asked, body))
        _settled(call, board, asker, reoffer.old, now)
    else:
        asker.sound.theirs = reoffer.old
        status = event.status if event.status in (415, 488, 491, 606) else 488
        board.send(sip.Reply(request=reoffer.asked, status=status))
    return True


def _accepted(board: Board, leg: Leg, event: sip.Replied) -> bool:
    if event.response is None or not 200 <= event.status < 300:
        return False
    try:
        return leg.sound.hears_answer(board, parse_sdp(event.response.body))
    except PeerFault:
        return False


def align(call: Call, board: Board, leg: Leg, other: Leg, now: float) -> None:
    """Two legs of different calls were joined: where they share no codec, offer `leg` what `other` speaks."""
    if leg.sound.understands(other.sound):
        return
    body = leg.sound.offer(board, other.sound, now)
    request = board.new_request_id(call)
    call.reoffers[request] = Reoffer(leg.id, None, None)
    board.send(
        sip.Ask(dialog=leg.id, request=request, method="INVITE", body=body, content_type="application/sdp")
    )


def forget(call: Call, board: Board, leg: Leg) -> None:
    """A leg is over: whoever waits for its answer is told no."""
    for request, reoffer in list(call.reoffers.items()):
        if leg.id not in (reoffer.leg, reoffer.asker):
            continue
        del call.reoffers[request]
        if reoffer.asked is not None and reoffer.asker in call.legs:
            board.send(sip.Reply(request=reoffer.asked, status=488))


def sdp_reply(request: sip.RequestId, body: bytes) -> sip.Reply:
    return sip.Reply(request=request, status=200, body=body, content_type="application/sdp")
