"""Ringing: all phones of one group at once, group after group; the first that answers wins.

Works on the one Ringing of a Call. On whose behalf it rings may be a caller who waits for an answer, or
an answered party that is being transferred.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from pbx import api, reoffer, transfer
from pbx.api import EndCause, LegId, Party
from pbx.board import Board, Target
from pbx.headers import reason_header
from pbx.identity import said_as
from pbx.leg import Leg, LegState
from pbx.limits import place_of
from pbx.plan import Plan
from pbx.securing import manner_of
from pbx.sound import LegSound, NoPortsLeft
from sipcore import events as sip
from sipcore.causes import best, between_legs
from sipcore.faults import PeerFault
from sipcore.message import Response
from sipcore.sdp import Direction, parse_sdp

if TYPE_CHECKING:
    from pbx.call import Call

ELSEWHERE = reason_header("SIP", 200, "Call completed elsewhere")
"""Keeps a phone that did not win from showing a missed call (RFC 3326)."""
TIMED_OUT = reason_header("SIP", 480, "No answer")
NO_USABLE_ANSWER = reason_header("SIP", 488, "No sound in the answer, or not encrypted as it must be")

CAUSES = {
    404: EndCause.NO_SUCH_NUMBER,
    408: EndCause.PEER_LOST,
    480: EndCause.NO_ANSWER,
    486: EndCause.BUSY,
    488: EndCause.NO_COMMON_CODEC,
    600: EndCause.BUSY,
    603: EndCause.REJECTED,
}


NOT_ACCEPTABLE = 488
"""no codec that the caller offered: with ours beside them, media can translate"""


class Ringing:
    """One step of ringing: on whose behalf, which phones ring now, which come next, what failed so far."""

    __slots__ = ("behalf_of", "deadline", "early", "failures", "groups", "legs", "narrow", "on", "party")

    def __init__(
        self,
        behalf_of: LegId,
        party: Party,
        groups: Sequence[Sequence[Target]],
        deadline: float,
        on: Mapping[EndCause, Plan],
    ) -> None:
        self.behalf_of = behalf_of
        self.party = party
        self.groups = list(groups)
        self.deadline = deadline
        self.on = on
        self.legs: list[LegId] = []
        self.narrow: dict[LegId, Target] = {}
        """where phones ring that were offered the caller's codecs alone"""
        self.failures: list[int] = []
        self.early: LegId | None = None
        """the leg whose sound the caller hears before the answer"""


def begin(
    call: Call,
    board: Board,
    behalf_of: Leg,
    party: Party,
    groups: Sequence[Sequence[Target]],
    deadline: float,
    on: Mapping[EndCause, Plan],
    now: float,
) -> None:
    """Ring `party` at these groups of targets, best first, until `deadline`."""
    call.ringing = Ringing(behalf_of.id, party, groups, deadline, on)
    if groups:
        _ring_next_group(call, board, call.ringing, now)
    else:
        _finish(call, board, call.ringing, 480, EndCause.NOT_REGISTERED, now)


def _ring_next_group(call: Call, board: Board, ringing: Ringing, now: float) -> None:
    while ringing.groups and not ringing.legs:
        for target in ringing.groups.pop(0):
            _dial(call, board, ringing, target, now)
    if not ringing.legs:
        status = best(ringing.failures)
        _finish(call, board, ringing, status, CAUSES.get(status, EndCause.FAILED), now)


def _dial(
    call: Call, board: Board, ringing: Ringing, target: Target, now: float, *, wide: bool = False
) -> None:
    behalf_of = call.legs[ringing.behalf_of]
    manner = manner_of(call.snapshot, ringing.party, target.flow)
    sound = LegSound(call.id, board.media_host(target.flow, target.uri), board.new_session_id(), manner)
    try:
        # who is transferred may be on hold: the target is not
        direction = Direction.SENDRECV if behalf_of.answered else None
        body = sound.offer(board, behalf_of.sound, now, direction, wide=wide)
    except NoPortsLeft:
        sound.close(board, now)
        ringing.failures.append(503)
        return
    leg = Leg(board.new_leg_id(call), ringing.party, LegState.DIALING, sound)
    call.legs[leg.id] = leg
    ringing.legs.append(leg.id)
    if not wide:
        ringing.narrow[leg.id] = target
    realm = call.snapshot.tenants[call.tenant].realm
    from_, identity = said_as(behalf_of.party, realm, private=behalf_of.private, trusted=board.trusts(target))
    board.send(
        sip.Invite(
            dialog=leg.id,
            uri=target.uri,
            from_=from_,
            to=f"<sip:{ringing.party.number}@{realm}>",
            flow=target.flow,
            route=target.route,
            headers=call.leg_headers + identity,
            body=body,
            max_forwards=call.max_forwards,
            session_expires_s=board.settings.session_expires_s,
        )
    )
    board.tell(api.LegDialed(call.id, now, leg.id, ringing.party, target.uri))


def progressed(call: Call, board: Board, leg: Leg, response: Response, now: float) -> None:
    """A phone rings, or plays something before the answer."""
    ringing = call.ringing
    if ringing is None or leg.id not in ringing.legs:
        return
    if leg.state is LegState.DIALING:
        leg.state = LegState.RINGING
        board.tell(api.LegRang(call.id, now, leg.id))
    caller = call.legs[ringing.behalf_of]
    if caller.state is not LegState.INVITED:
        transfer.target_rings(call, board, response.status, now)
        return
    body = _early_sound(call, board, ringing, caller, leg, response, now)
    headers = board.settings.passing.of(response)
    board.send(
        sip.Progress(
            dialog=caller.id, status=response.status, reason=response.reason, headers=headers, body=body
        )
    )


def _early_sound(
    call: Call, board: Board, ringing: Ringing, caller: Leg, leg: Leg, response: Response, now: float
) -> bytes:
    """The first leg that sends SDP before it answers is heard by the caller, one way."""
    if not response.body or ringing.early not in (None, leg.id) or caller.sound.theirs is None:
        return b""
    try:
        if not leg.sound.hears_answer(board, parse_sdp(response.body)):
            return b""
        body = caller.sound.answer_once(board, leg.sound, now)
    except (PeerFault, NoPortsLeft):
        return b""
    ringing.early = leg.id
    call.redraw_edges(board, caller.sound.hears(leg.sound))
    return body


def answered(call: Call, board: Board, leg: Leg, event: sip.Answered, now: float) -> None:
    """A phone was picked up: the first one wins, the others are told so."""
    ringing = call.ringing
    leg.state = LegState.ANSWERED
    board.tell(api.LegAnswered(call.id, now, leg.id))
    if ringing is None or leg.id not in ringing.legs:
        call.hang_up(board, leg, EndCause.ELSEWHERE, now)
        return
    ringing.legs.remove(leg.id)
    if not _usable(board, leg, event.response.body):
        call.hang_up(board, leg, EndCause.NO_COMMON_CODEC, now, (NO_USABLE_ANSWER,))
        _lost(call, board, ringing, leg, 488, now)
        return
    won(call, board, leg, board.settings.passing.of(event.response), now)


def won(call: Call, board: Board, winner: Leg, headers: sip.Headers, now: float) -> None:
    """This leg, answered and not among those that ring any more, gets the call."""
    ringing, call.ringing = call.ringing, None
    assert ringing is not None
    for other in ringing.legs:
        call.hang_up(board, call.legs[other], EndCause.ELSEWHERE, now, (ELSEWHERE,))
    caller = call.legs[ringing.behalf_of]
    if caller.state is LegState.INVITED:
        _answer_caller(call, board, caller, winner, headers, now)
    else:
        transfer.target_answered(call, board, caller, winner, now)


def _usable(board: Board, leg: Leg, body: bytes) -> bool:
    if not body and leg.sound.agreed is not None:
        return True  # it answered our offer before, in a reliable provisional (RFC 3262 section 5)
    try:
        return leg.sound.hears_answer(board, parse_sdp(body))
    except PeerFault:
        return False


def _answer_caller(
    call: Call, board: Board, caller: Leg, callee: Leg, headers: sip.Headers, now: float
) -> None:
    early = caller.sound.agreed is not None
    try:
        body = caller.sound.answer_once(board, callee.sound, now)
    except NoPortsLeft:
        call.refuse(board, caller, 503, "No Media Ports Left", EndCause.FAILED, now)
        return
    call.connect(board, caller, callee, now)
    call.answer_leg(board, caller, body, now, headers)
    if early:  # perhaps another fork had answered then, with other codecs
        reoffer.align(call, board, caller, callee, now)


def failed(call: Call, board: Board, leg: Leg, status: int, now: float, *, gone: bool = False) -> None:
    """An INVITE of ours ended without a call. `gone`: it did not get to the phone."""
    ringing = call.ringing
    call.drop(board, leg, CAUSES.get(status, EndCause.FAILED), now, status)
    if ringing is None or leg.id not in ringing.legs:
        return
    ringing.legs.remove(leg.id)
    target = ringing.narrow.pop(leg.id, None)
    if gone and target and target.spare:
        first, *others = target.spare
        _dial(call, board, ringing, msgspec.structs.replace(first, spare=tuple(others)), now)
        if ringing.legs:
            return
    if status == NOT_ACCEPTABLE and target and call.legs[ringing.behalf_of].sound.is_translatable(board):
        ringing.failures.append(status)  # what is told when the second try says less
        _dial(call, board, ringing, target, now, wide=True)
        if ringing.legs:
            return
    if status >= 600:  # RFC 3261 21.6: no other place will do
        ringing.groups.clear()
        for other in ringing.legs:
            call.hang_up(board, call.legs[other], EndCause.REJECTED, now)
        ringing.legs.clear()
    _lost(call, board, ringing, leg, status, now)


def _lost(call: Call, board: Board, ringing: Ringing, leg: Leg, status: int, now: float) -> None:
    """One phone less: when it was the last of its group, the next group rings, or it is over."""
    ringing.failures.append(status)
    if ringing.early == leg.id:
        ringing.early = None
    if not ringing.legs:
        _ring_next_group(call, board, ringing, now)


def timed_out(call: Call, board: Board, now: float) -> None:
    """Nobody answered in time."""
    ringing = call.ringing
    assert ringing is not None
    for leg in ringing.legs:
        call.hang_up(board, call.legs[leg], EndCause.NO_ANSWER, now, (TIMED_OUT,))
    _finish(call, board, ringing, 480, EndCause.NO_ANSWER, now)


def _finish(call: Call, board: Board, ringing: Ringing, status: int, cause: EndCause, now: float) -> None:
    """This step of ringing reached nobody: the plan may know what comes next."""
    call.ringing = None
    board.give_place(call, place_of(ringing.party))
    behalf_of = call.legs[ringing.behalf_of]
    following = ringing.on.get(cause)
    if following is None:
        gave_up(call, board, behalf_of, between_legs(status), cause, now)
    else:
        call.follow(board, following, behalf_of, now)


def gave_up(call: Call, board: Board, behalf_of: Leg, status: int, cause: EndCause, now: float) -> None:
    """Nobody was reached: refuse the caller, or, where a party was being transferred, say so."""
    if behalf_of.state is LegState.INVITED:
        call.refuse(board, behalf_of, status, "", cause, now)
    else:
        transfer.target_failed(call, board, status, cause, now)
