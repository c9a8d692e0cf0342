"""A new engine takes up the calls of the one before it, as far as their memos go, and ends what cannot be.

Dialogs, legs, ports and who hears whom go on as they were; an application begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from media import messages as media
from pbx import memo
from pbx.api import EndCause, LegId
from pbx.board import StartApp
from pbx.call import Call
from pbx.headers import reason_header
from pbx.routing import Attempt
from sipcore.faults import Misuse

if TYPE_CHECKING:
    from pbx.switchboard import Dialogs, Switchboard

LOST = reason_header("SIP", 500, "Lost in a restart")


def take_up(board: Switchboard, dialogs: Dialogs, memos: media.Memos, now: float) -> None:
    """Call it once, before the first message comes in."""
    calls = []
    for call_id, note in memos.memos:
        found = memo.read(note)
        call = None if found is None else _taken_up(board, dialogs, found, now)
        if call is None:
            board.send(media.DropMemo(call_id))
        else:
            calls.append(call)
    _claim_ports(board, calls, memos.ports)
    for call in calls:
        if not _goes_on(board, call):
            call.hang_up_all(board, EndCause.FAILED, now, (LOST,))
            board.settle(call, now)


def _taken_up(board: Switchboard, dialogs: Dialogs, found: memo.CallMemo, now: float) -> Call | None:
    attempt = Attempt(found.caller.tenant, found.caller, found.dialled)
    call = Call(found.id, attempt, board.snapshot)
    call.has_memo = True
    ids: dict[LegId, LegId] = {}
    for noted in found.legs:
        ids[noted.id] = leg_id = LegId(dialogs.new_id())
        try:
            dialogs.restore(leg_id, noted.dialog, now)
        except Misuse:  # written by a version that this one cannot read
            continue
        call.legs[leg_id] = memo.leg_from(noted, leg_id, call.id)
    if not call.legs:
        return None
    if found.bridge is not None and call.legs.keys() >= {ids[leg] for leg in found.bridge}:
        first, second = found.bridge
        call.bridge = (ids[first], ids[second])
        call.edges = call.wanted_edges()
    elif found.app_leg is not None:
        call.app, call.app_leg = found.app, ids[found.app_leg]
    board.adopt(call)
    return call


def _claim_ports(
    board: Switchboard, calls: Iterable[Call], ports: Iterable[tuple[int, int, str, int]]
) -> None:
    """The ports of these calls are in use; those of nobody are closed."""
    known = {port for call in calls for leg in call.legs.values() for port in leg.sound.ports}
    board.numbers.claim(number for port, _, _, number in ports if number and port in known)
    for port, _, _, _ in ports:
        if port not in known:
            board.send(media.ClosePort(port))


def _goes_on(board: Switchboard, call: Call) -> bool:
    """False: the call makes no sense any more and must end."""
    if call.tenant not in board.snapshot.tenants:
        return False
    if call.bridge is not None:
        return True
    if call.app is None or call.app_leg not in call.legs:
        return False
    board.send(StartApp(call.id, call.app, call.attempt.dialled))
    return True
