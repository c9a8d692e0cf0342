"""INVITE with Replaces (RFC 3891): an authenticated phone takes the place of a leg.

Of a leg that talks: its peer goes on talking, with the newcomer. Of a phone that we ring: the newcomer
picks the call up in its stead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx import reoffer, ringing
from pbx.api import EndCause, Party
from pbx.headers import warning_fields
from pbx.limits import place_of
from pbx.sound import NoPortsLeft, answer_within
from sipcore import events as sip
from sipcore.faults import PeerFault
from sipcore.sdp import parse_sdp

if TYPE_CHECKING:
    from pbx.board import Board
    from pbx.call import Call
    from pbx.leg import Leg
    from pbx.sound import LegSound


def refusal(call: Call, old: Leg, *, early_only: bool) -> int:
    """The status that refuses an INVITE which wants to replace `old`; 0: it may (RFC 3891 section 3)."""
    if old.answered:
        if early_only:
            return 486
        if call.transfer is not None or call.peer_of(old) is None:
            return 491
        return 0
    rung = call.ringing is not None and old.id in call.ringing.legs
    return 0 if rung else 481  # a leg that waits for *our* answer was not begun by us


def replaced(call: Call, board: Board, event: sip.IncomingCall, old: Leg, party: Party, now: float) -> None:
    """The INVITE came from a phone that may; `refusal` has said 0."""
    newcomer = call.open_leg(board, event, party)
    other = call.peer_of(old) if old.answered else call.legs[_behalf_of(call)]
    assert other is not None
    try:
        body = _answer(board, newcomer.sound, other.sound, event.request.body, now)
    except PeerFault as fault:
        _turn_away(call, board, newcomer, fault.status, now, warning_fields(fault))
        return
    except NoPortsLeft:
        _turn_away(call, board, newcomer, 503, now)
        return
    if old.answered:
        call.part(board)
        call.answer_leg(board, newcomer, body, now)
        call.connect(board, other, newcomer, now)
        call.hang_up(board, old, EndCause.REPLACED, now)
        reoffer.align(call, board, other, newcomer, now)
    else:
        call.answer_leg(board, newcomer, body, now)
        ringing.won(call, board, newcomer, (), now)


def _behalf_of(call: Call) -> sip.DialogId:
    assert call.ringing is not None
    return call.ringing.behalf_of


def _answer(board: Board, newcomer: LegSound, other: LegSound, offer: bytes, now: float) -> bytes:
    """The body of our 200. Raises PeerFault(488) where the two have nothing in common, and NoPortsLeft.

    A late offer can only be waited for where `other` talks already.
    """
    if not offer and other.agreed is not None:
        return newcomer.offer(board, other, now)
    sdp = newcomer.screened(board, parse_sdp(offer)) if offer else None
    answer = None if sdp is None else answer_within(sdp, other)
    if sdp is None or answer is None or not newcomer.hears_offer(sdp):
        raise PeerFault(488, "Not Acceptable Here", "RFC 3264 6")
    return newcomer.answer_with(board, answer, now)


def _turn_away(
    call: Call, board: Board, newcomer: Leg, status: int, now: float, headers: sip.Headers = ()
) -> None:
    board.send(sip.Reject(dialog=newcomer.id, status=status, headers=headers))
    call.drop(board, newcomer, EndCause.FAILED, now, status)
    board.give_place(call, place_of(newcomer.party))
