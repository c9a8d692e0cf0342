"""Transfer by REFER (RFC 3515) and replacement (RFC 3891): the server does it, the far side never sees it.

The transferor's phone asks; we ring the target, or find the other call that the phone has with us, and
connect the transferred party there. The transferor stays connected until that has worked, and is told
with sipfrag NOTIFYs. A party that is transferred keeps its dialog, its ports and its stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pbx import api, reoffer
from pbx.api import EndCause, LegId, Party
from pbx.headers import reason_header
from pbx.plan import Refuse
from pbx.routing import Attempt, decide
from pbx.sound import NoPortsLeft, answer_within
from sipcore import events as sip
from sipcore.faults import PeerFault
from sipcore.headers import Replaces, parse_refer_to, parse_replaces
from sipcore.sdp import parse_sdp

if TYPE_CHECKING:
    from pbx.board import Board
    from pbx.call import Call
    from pbx.leg import Leg
    from sipcore.message import Request

MOVED = reason_header("SIP", 200, "Call transferred")


class Transfer(msgspec.Struct, frozen=True):
    """A transfer that is under way: who asked, who is moved, and where to."""

    transferor: LegId
    transferee: LegId
    target: str
    notify: bool
    party: Party


def referred(call: Call, board: Board, event: sip.Asked, now: float) -> None:
    """A REFER came in on one leg of this call."""
    transferor = call.legs[event.dialog]
    transferee = call.peer_of(transferor)
    request = event.message
    if transferee is None or call.transfer is not None:
        board.send(sip.Reply(request=event.request, status=491 if call.transfer else 481))
        return
    try:
        number, replaces = _target(request)
    except PeerFault as fault:
        board.send(sip.Reply(request=event.request, status=fault.status, reason=fault.reason))
        return
    notify = (request.get("Refer-Sub") or "true").strip().lower() != "false"
    board.send(
        sip.Reply(request=event.request, status=202, headers=() if notify else (("Refer-Sub", "false"),))
    )
    call.transfer = Transfer(transferor.id, transferee.id, number, notify, transferor.party)
    _notify(call, board, 100)
    if replaces is not None:
        _join_other_call(call, board, transferor, transferee, replaces, now)
        return
    attempt = Attempt(call.tenant, transferor.party, number)
    plan = decide(call.snapshot, attempt)
    if isinstance(plan, Refuse):
        target_failed(call, board, transferee, plan.status, plan.cause, now)
        return
    call.follow(board, plan, transferee, now)


def _target(request: Request) -> tuple[str, Replaces | None]:
    """The number to ring, or the dialog to take over (RFC 3515 2.1, RFC 5589)."""
    value = request.get("Refer-To")
    if value is None:
        raise PeerFault(400, "Missing Refer-To", "RFC 3515 2.4.2")
    address, headers = parse_refer_to(value)
    replaces = headers.get("replaces")
    return address.sip_uri.user, None if replaces is None else parse_replaces(replaces)


def target_rings(call: Call, board: Board, status: int) -> None:
    """The target's phone rings: the transferor may show it."""
    if call.transfer is not None and status == 180:
        _notify(call, board, 180)


def target_answered(call: Call, board: Board, transferee: Leg, target: Leg, now: float) -> None:
    """Blind transfer has worked: connect the two and let the transferor go."""
    _connect(call, board, transferee, target, now)


def target_failed(
    call: Call, board: Board, transferee: Leg, status: int, cause: EndCause, now: float
) -> None:
    """The target was not reached: the transferor, if it is still there, has the call as before."""
    pending = call.transfer
    if pending is not None:
        _notify(call, board, status)
        call.transfer = None
        if pending.transferor in call.legs:
            return
    call.hang_up_all(board, cause, now, (reason_header("SIP", status, "Transfer failed"),))


def _connect(call: Call, board: Board, transferee: Leg, target: Leg, now: float) -> None:
    pending = call.transfer
    call.part(board)
    call.connect(board, transferee, target, now)
    reoffer.align(call, board, transferee, target, now)
    if pending is None:
        return
    _notify(call, board, 200)
    board.tell(api.Transferred(call.id, now, pending.transferor, pending.party, pending.target))
    call.transfer = None
    transferor = call.legs.get(pending.transferor)
    if transferor is not None:
        call.hang_up(board, transferor, EndCause.TRANSFERRED, now, (MOVED,))
    board.changed(call)


def _join_other_call(
    call: Call, board: Board, transferor: Leg, transferee: Leg, replaces: Replaces, now: float
) -> None:
    """Attended transfer: the target is the far side of another call that the transferor has with us."""
    found = board.find_leg(replaces.call_id, replaces.to_tag, replaces.from_tag)
    if found is None or found[0] is call or found[1].party != transferor.party:
        target_failed(call, board, transferee, 481, EndCause.FAILED, now)
        return
    other_call, consult = found
    target = other_call.peer_of(consult)
    if target is None:
        target_failed(call, board, transferee, 480, EndCause.FAILED, now)
        return
    other_call.give_away(board, target)
    call.take_in(board, target)
    _connect(call, board, transferee, target, now)
    other_call.hang_up_all(board, EndCause.TRANSFERRED, now, (MOVED,))
    board.settle(other_call, now)


def replaced(call: Call, board: Board, event: sip.IncomingCall, old: Leg, party: Party, now: float) -> None:
    """An INVITE with Replaces from an authenticated phone: its leg takes the place of `old` (RFC 3891)."""
    other = call.peer_of(old)
    newcomer = call.open_leg(board, event, party)
    if other is None or not event.request.body:
        _turn_away(call, board, newcomer, 481 if other is None else 488, now)
        return
    try:
        offer = parse_sdp(event.request.body)
        answer = answer_within(offer, other.sound)
        if answer is None or not newcomer.sound.hears_offer(offer):
            _turn_away(call, board, newcomer, 488, now)
            return
        body = newcomer.sound.answer_with(board, answer, now)
    except PeerFault as fault:
        _turn_away(call, board, newcomer, fault.status, now)
        return
    except NoPortsLeft:
        _turn_away(call, board, newcomer, 503, now)
        return
    call.part(board)
    call.answer_leg(board, newcomer, body, now)
    call.connect(board, other, newcomer, now)
    call.hang_up(board, old, EndCause.REPLACED, now)


def _turn_away(call: Call, board: Board, newcomer: Leg, status: int, now: float) -> None:
    board.send(sip.Reject(dialog=newcomer.id, status=status))
    call.drop(board, newcomer, EndCause.FAILED, now, status)


def _notify(call: Call, board: Board, status: int) -> None:
    pending = call.transfer
    if pending is None or not pending.notify or pending.transferor not in call.legs:
        return
    state = "active;expires=60" if status < 200 else "terminated;reason=noresource"
    board.send(
        sip.Ask(
            dialog=pending.transferor,
            request=board.new_request_id(call),
            method="NOTIFY",
            headers=(("Event", "refer"), ("Subscription-State", state)),
            body=sipfrag(status),
            content_type="message/sipfrag;version=2.0",
        )
    )


PHRASES = {100: "Trying", 180: "Ringing", 200: "OK", 480: "Temporarily Unavailable", 486: "Busy Here"}


def sipfrag(status: int) -> bytes:
    """The body of a NOTIFY about a REFER: the status line of the request that it caused (RFC 3515 2.4.5)."""
    return f"SIP/2.0 {status} {PHRASES.get(status, 'Transfer Failed')}\r\n".encode()
