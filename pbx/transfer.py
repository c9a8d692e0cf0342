"""Transfer by REFER (RFC 3515, RFC 5589): the server does it, the far side never sees it.

The transferor's phone asks; we ring the target, or find the other call that the phone has with us, and
connect the transferred party there. The transferor stays connected until that has worked, is told with
sipfrag NOTIFYs, and is let go once it knows. A party that is transferred keeps its dialog, its ports and
its stream. INVITE with Replaces is `pbx/replacement.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pbx import api, reoffer
from pbx.api import EndCause, LegId, Party
from pbx.headers import reason_header
from pbx.leg import LegState
from pbx.limits import place_of
from pbx.plan import Refuse, RunApp
from pbx.routing import Attempt, decide
from sipcore import events as sip
from sipcore import subscription
from sipcore.faults import PeerFault
from sipcore.headers import Replaces, parse_refer_to, parse_replaces
from sipcore.refer import NO_SUBSCRIPTION, SIPFRAG, refer_event, refer_notify, sipfrag, wants_subscription
from sipcore.subscription import Notifier, Notify, NotifyAnswered

if TYPE_CHECKING:
    from pbx.board import Board
    from pbx.call import Call
    from pbx.leg import Leg
    from sipcore.message import Request

MOVED = reason_header("SIP", 200, "Call transferred")
REFER_LASTS_S = 600
"""The implicit subscription: longer than any plan rings."""


class Transfer:
    """One REFER and what became of it. Its Call has it until the transferor was told the last of it."""

    __slots__ = ("event", "notifier", "party", "target", "transferee", "transferor", "worked")

    def __init__(self, transferor: Leg, transferee: Leg, target: str, event: str) -> None:
        self.transferor: LegId = transferor.id
        self.transferee: LegId = transferee.id
        self.party: Party = transferor.party
        self.target = target
        self.event = event
        self.notifier: Notifier | None = None
        """None: the transferor does not want to know, or knows all"""
        self.worked = False


# ---------------------------------------------------------------- the wish


def referred(call: Call, board: Board, event: sip.Asked, now: float) -> None:
    """A REFER came in on one leg of this call."""
    transferor = call.legs[event.dialog]
    transferee = call.peer_of(transferor)
    request = event.message
    if transferee is None:
        board.send(sip.Reply(request=event.request, status=403, reason="Nobody To Transfer"))
        return
    if call.transfer is not None:
        board.send(sip.Reply(request=event.request, status=491))
        return
    try:
        host, number, replaces = _target(request)
    except PeerFault as fault:
        board.send(sip.Reply(request=event.request, status=fault.status, reason=fault.reason))
        return
    _accept(call, board, event, Transfer(transferor, transferee, number, _event_of(transferor, request)), now)
    if replaces is not None:
        _join_other_call(call, board, transferor, transferee, replaces, now)
        return
    plan = decide(call.snapshot, Attempt(call.tenant, transferor.party, number))
    if host and not board.means(host, call.tenant):
        plan = Refuse(404, "Not Found", EndCause.NO_SUCH_NUMBER)
    match plan:
        case Refuse(status=status, cause=cause):
            target_failed(call, board, status, cause, now)
        case RunApp():
            _hand_to_app(call, board, transferee, plan, now)
        case _:
            call.follow(board, plan, transferee, now)


def _target(request: Request) -> tuple[str, str, Replaces | None]:
    """Host and number to ring, or the dialog to take over (RFC 3515 2.1, RFC 5589). A tel has no host."""
    values = request.get_all("Refer-To")
    if len(values) != 1:
        raise PeerFault(400, "Not One Refer-To", "RFC 3515 2.4.1")
    address, headers = parse_refer_to(values[0])
    uri = address.sip_uri
    if (uri.params.get("method") or "INVITE").upper() != "INVITE":
        raise PeerFault(501, "Refer-To Another Method", "RFC 3515 2.4.2")
    replaces = headers.get("replaces")
    return uri.host, uri.user, None if replaces is None else parse_replaces(replaces)


def _event_of(transferor: Leg, request: Request) -> str:
    transferor.refers += 1
    return refer_event(request.cseq.number, first=transferor.refers == 1)


def _accept(call: Call, board: Board, event: sip.Asked, transfer: Transfer, now: float) -> None:
    call.transfer = transfer
    if not wants_subscription(event.message):
        board.send(sip.Reply(request=event.request, status=202, headers=(NO_SUBSCRIPTION,)))
        return
    board.send(sip.Reply(request=event.request, status=202))
    transfer.notifier = Notifier(body=sipfrag(100))
    _say(call, board, transfer, subscription.Subscribe(REFER_LASTS_S, implicit=True), now)


# ---------------------------------------------------------------- what becomes of it


def target_rings(call: Call, board: Board, status: int, now: float) -> None:
    """The target's phone rings: the transferor may show it."""
    if call.transfer is not None and status == 180:
        _say(call, board, call.transfer, refer_notify(180), now)


def target_answered(call: Call, board: Board, transferee: Leg, target: Leg, now: float) -> None:
    """Blind transfer has worked: connect the two and let the transferor go."""
    call.part(board)
    call.connect(board, transferee, target, now)
    reoffer.align(call, board, transferee, target, now)
    _worked(call, board, now)


def target_failed(call: Call, board: Board, status: int, cause: EndCause, now: float) -> None:
    """The target was not reached: the transferor, if it is still there, has the call as before."""
    pending, call.transfer = call.transfer, None
    if pending is not None and pending.transferor in call.legs:
        _say(call, board, pending, refer_notify(status), now)
        return
    call.hang_up_all(board, cause, now, (reason_header("SIP", status, "Transfer failed"),))


def _hand_to_app(call: Call, board: Board, transferee: Leg, plan: RunApp, now: float) -> None:
    call.part(board)
    call.follow(board, plan, transferee, now)
    _worked(call, board, now)


def _join_other_call(
    call: Call, board: Board, transferor: Leg, transferee: Leg, replaces: Replaces, now: float
) -> None:
    """Attended transfer: the target is the far side of another call that the transferor has with us.

    Where that call still rings (semi-attended), the target's phones ring on, now for the transferred party.
    """
    found = board.find_leg(replaces.call_id, replaces.to_tag, replaces.from_tag)
    if found is None or found[0] is call or place_of(found[1].party) != place_of(transferor.party):
        target_failed(call, board, 481, EndCause.FAILED, now)
        return
    other_call, consult = found
    target = other_call.peer_of(consult)
    ringing = other_call.ringing
    if target is not None and other_call.transfer is None:
        board.move_place(place_of(target.party), other_call, call)
        other_call.give_to(call, board, target)
        target_answered(call, board, transferee, target, now)
        other_call.hang_up_all(board, EndCause.TRANSFERRED, now, (MOVED,))
        board.settle(other_call, now)
    elif ringing is not None and ringing.behalf_of == consult.id and consult.state is LegState.INVITED:
        _take_over_ringing(call, board, transferee, other_call, now)
        other_call.refuse(board, consult, 487, "", EndCause.TRANSFERRED, now)
        board.settle(other_call, now)
    else:
        target_failed(call, board, 480, EndCause.FAILED, now)


def _take_over_ringing(call: Call, board: Board, transferee: Leg, other_call: Call, now: float) -> None:
    ringing, other_call.ringing = other_call.ringing, None
    assert ringing is not None
    board.move_place(place_of(ringing.party), other_call, call)
    for leg_id in ringing.legs:
        other_call.give_to(call, board, other_call.legs[leg_id])
    ringing.behalf_of, ringing.early = transferee.id, None
    call.ringing = ringing
    target_rings(call, board, 180, now)


def _worked(call: Call, board: Board, now: float) -> None:
    pending, call.transfer = call.transfer, None
    board.changed(call)
    if pending is None:
        return
    board.tell(api.Transferred(call.id, now, pending.transferor, pending.party, pending.target))
    pending.worked = True
    if pending.notifier is None:
        _let_go(call, board, pending, now)
    else:
        _say(call, board, pending, refer_notify(200), now)


def _let_go(call: Call, board: Board, transfer: Transfer, now: float) -> None:
    """The transferor has handed the call over and knows it: its leg ends, unless it has hung up itself."""
    transferor = call.legs.get(transfer.transferor)
    if transferor is not None:
        call.hang_up(board, transferor, EndCause.TRANSFERRED, now, (MOVED,))
        board.changed(call)


# ---------------------------------------------------------------- telling the transferor


def notified(call: Call, board: Board, transfer: Transfer, event: sip.Replied, now: float) -> None:
    """The answer to one of our NOTIFYs."""
    _say(call, board, transfer, NotifyAnswered(event.status), now)


def _say(call: Call, board: Board, transfer: Transfer, news: subscription.Input, now: float) -> None:
    if transfer.notifier is not None and transfer.transferor in call.legs:
        _perform(call, board, transfer, transfer.notifier.handle(news, now), now)


def _perform(
    call: Call, board: Board, transfer: Transfer, outputs: Iterable[subscription.Output], now: float
) -> None:
    for output in outputs:
        match output:
            case Notify(state=state, body=body):
                request = board.new_request_id(call)
                call.notifies[request] = transfer
                headers = (("Event", transfer.event), ("Subscription-State", str(state)))
                board.send(
                    sip.Ask(
                        dialog=transfer.transferor,
                        request=request,
                        method="NOTIFY",
                        headers=headers,
                        body=body,
                        content_type=SIPFRAG,
                    )
                )
            case subscription.Over():
                transfer.notifier = None
                if transfer.worked:
                    _let_go(call, board, transfer, now)
            case subscription.Respond():
                pass
