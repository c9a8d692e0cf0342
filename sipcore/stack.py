"""The SIP stack: one door for what comes from the wire and for what the call layer wants (RFC 3261).

Joins parser, transactions, dialogs and requests; decides to which of them an input belongs. Knows no
socket and no clock: `handle(input, now)` returns what is to be sent and what is to be known, and
`next_deadline()` says when it wants to be called again.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from sipcore.asked import PeerRequests
from sipcore.asking import Asking
from sipcore.core import Core
from sipcore.dialog import DialogState
from sipcore.endings import Endings
from sipcore.events import (
    Ack,
    Answer,
    Ask,
    Crashed,
    DialogId,
    Ended,
    EndedBy,
    Failed,
    FlowFailed,
    HangUp,
    Input,
    Invite,
    Output,
    Progress,
    Received,
    Reject,
    Replied,
    Reply,
    Resolved,
    Send,
    Tick,
)
from sipcore.faces import SourceFor, first_listener
from sipcore.faults import Misuse
from sipcore.flow import Flow
from sipcore.identifiers import RandomSource
from sipcore.incoming import Incoming
from sipcore.memo import read_memo, write_memo
from sipcore.outgoing import Outgoing
from sipcore.outside import Outside
from sipcore.phrases import PHRASES
from sipcore.reception import Reception
from sipcore.requests import Requests
from sipcore.sessions import Sessions
from sipcore.settings import StackSettings
from sipcore.transaction import Machine, State
from sipcore.transaction_store import Transaction
from sipcore.usage import DialogTimer, Phase, Usage

_CLIENTS = (Machine.INVITE_CLIENT, Machine.REQUEST_CLIENT)
_UNANSWERED_STATES = (State.TRYING, State.PROCEEDING)


class DialogFacts(msgspec.Struct, frozen=True, gc=False):
    """What the call layer may know of a dialog; a snapshot."""

    call_id: str
    local_tag: str
    remote_tag: str
    local: str
    """our From in requests, whole"""
    remote: str
    """our To in requests, whole"""
    remote_target: str
    flow: Flow | None
    state: DialogState
    initiator: bool


class Stack:
    """See the module. `random` is the only source of chance: one seed, one course of events.

    `source_for` says which local address a message to a peer leaves from; without it the first listener
    of the transport is taken.
    """

    def __init__(
        self, settings: StackSettings, random: RandomSource, source_for: SourceFor | None = None
    ) -> None:
        self._core = core = Core(settings, random, source_for or first_listener(settings))
        self._requests = requests = Requests(core)
        self._endings = endings = Endings(core, requests)
        sessions = Sessions(core, endings)
        self._sessions = sessions
        self._incoming = Incoming(core, endings, sessions)
        self._outgoing = Outgoing(core, requests, endings, sessions)
        self._asking = Asking(core, requests, endings, sessions, self._outgoing)
        self._peer_requests = PeerRequests(core, endings, sessions, self._incoming, self._asking)
        self._outside = Outside(core, requests)
        self._reception = reception = Reception(
            core, requests, self._incoming, self._peer_requests, self._outside, self._asking
        )
        self._doors: dict[type, Callable[[Any], None]] = {
            Received: reception.received,
            FlowFailed: self._flow_failed,
            Resolved: self._resolved,
            Tick: lambda tick: None,
            Invite: self._invite,
            Progress: lambda event: self._for_usage(event, self._incoming.progress),
            Answer: lambda event: self._for_usage(event, self._incoming.answer),
            Reject: lambda event: self._for_usage(event, self._incoming.reject),
            Ack: lambda event: self._for_usage(event, self._acknowledge),
            HangUp: lambda event: self._for_usage(event, self._hang_up),
            Ask: self._ask,
            Send: self._outside.send,
            Reply: self._reply,
        }
        self._timers: dict[DialogTimer, Callable[[Usage], None]] = {
            DialogTimer.RESEND_2XX: self._incoming.resend_2xx,
            DialogTimer.RESEND_1XX: self._incoming.resend_1xx,
            DialogTimer.GIVE_UP_CANCEL: self._outgoing.give_up_cancelled,
            DialogTimer.REFRESH: sessions.refresh,
            DialogTimer.EXPIRE: sessions.expire,
            DialogTimer.RETRY: self._asking.retry,
        }

    # ------------------------------------------------------------ the two doors

    def handle(self, input: Input, now: float) -> list[Output]:
        """Run the timers that are due, then take the input. `now` never runs backwards.

        Nothing that a peer sends raises. A fault of ours is raised when the settings say strict;
        otherwise it ends the dialog that it happened in and is told as `Crashed`.
        """
        core = self._core
        core.now = now
        out: list[Output] = []
        core.out = out
        if now >= core.deadlines.earliest or core.transactions.is_due(now):
            self._run_timers(now)
        core.in_hand = None
        core.subject = 0
        try:
            self._doors[type(input)](input)
        except Exception as error:  # noqa: BLE001 - the decision about it is made there
            self._crashed(error)
        return out

    def next_deadline(self) -> float | None:
        """When `handle(Tick(), ...)` has something to do, or None."""
        mine, theirs = self._core.deadlines.next(), self._core.transactions.next_deadline()
        if mine is None or theirs is None:
            return theirs if mine is None else mine
        return min(mine, theirs)

    @property
    def shedding(self) -> float:
        """The share, 0 to 1, of new calls that are refused with 503 before they cost a transaction."""
        return self._reception.shedding

    @shedding.setter
    def shedding(self, share: float) -> None:
        self._reception.shedding = share

    # ------------------------------------------------------------ questions of the call layer

    def new_id(self) -> int:
        """A fresh DialogId or RequestId."""
        return self._core.new_id()

    def find_dialog(self, call_id: str, local_tag: str, remote_tag: str) -> DialogId | None:
        """The dialog that a Replaces or Join means (RFC 3891 section 3), early or confirmed."""
        found = self._core.find(call_id, local_tag, remote_tag)
        return None if found is None else found[0].id

    def dialog(self, dialog_id: DialogId) -> DialogFacts | None:
        """The facts of a dialog; None when there is none, or several early ones, or only an INVITE so far."""
        usage = self._core.usages.get(dialog_id)
        dialog = None if usage is None else usage.dialog
        if usage is not None and dialog is None and usage.calling is not None:
            early = usage.calling.early
            dialog = next(iter(early.values())) if len(early) == 1 else None
        if dialog is None:
            return None
        return DialogFacts(
            dialog.call_id,
            dialog.local_tag,
            dialog.remote_tag,
            dialog.local,
            dialog.remote,
            dialog.remote_target,
            dialog.flow,
            dialog.state,
            dialog.initiator,
        )

    def memo(self, dialog_id: DialogId) -> bytes:
        """A confirmed dialog as bytes, from the moment that `Answer` or `Answered` was handled. Or Misuse."""
        usage = self._core.usages.get(dialog_id)
        if usage is None:
            raise Misuse(f"no dialog {dialog_id}")
        return write_memo(usage)

    def restore(self, dialog_id: DialogId, memo: bytes, now: float) -> None:
        """Take up a dialog where its memo left it; `dialog_id` is a fresh id. Raises Misuse.

        A refresh of ours comes between a sixteenth and a quarter of the interval, at random: nobody knows
        when the last one was, and thousands of dialogs may be restored at once.
        """
        core = self._core
        usage = read_memo(dialog_id, memo)
        if dialog_id in core.usages or usage.local_tag in core.by_tag:
            raise Misuse(f"dialog {dialog_id} exists")
        core.now = now
        core.add(usage)
        if usage.session is not None:
            self._sessions.agreed(usage, usage.session)
            if usage.session.we_refresh:
                wait_s = core.random.uniform(usage.session.interval_s / 16, usage.session.interval_s / 4)
                core.start(DialogTimer.REFRESH, usage, now + wait_s)

    def counts(self) -> dict[str, int]:
        """What is remembered, by kind: all are 0 when every call is over and every timer has run out."""
        core = self._core
        return {
            "client_transactions": len(core.transactions.clients),
            "server_transactions": len(core.transactions.servers),
            "dialogs": len(core.usages),
            "tags": len(core.by_tag),
            "timers": core.transactions.timers_running() + len(core.deadlines),
            "unanswered": len(core.unanswered),
            "under_way": len(self._requests.under_way),
            "resolving": len(self._requests.resolving),
            "merge_keys": len(core.transactions.merge_keys),
            "flows": core.transactions.flows_watched(),
        }

    # ------------------------------------------------------------ flows and names

    def _flow_failed(self, event: FlowFailed) -> None:
        core = self._core
        for tx, tell in core.transactions.flow_failed(event.flow, core.now, core.out):
            if tx.machine in _CLIENTS:
                self._requests.told(tx, tell)
            else:
                self._answer_elsewhere(tx)

    def _answer_elsewhere(self, tx: Transaction) -> None:
        """The connection of a request is gone: open one to the address in its Via (18.2.2), once."""
        if not tx.reply_port:
            return
        core, old = self._core, tx.flow
        flow = Flow(old.transport, old.local, (old.remote[0], tx.reply_port))
        tx.reply_port = 0
        core.transactions.move(tx, flow)
        usage = core.usages.get(tx.user)
        if usage is not None and usage.unacked is not None and usage.unacked.flow == old:
            usage.unacked.flow = flow
            core.transmit(flow, usage.unacked.wire)
        elif tx.wire:
            core.transmit(flow, tx.wire)

    def _resolved(self, event: Resolved) -> None:
        self._requests.resolved(event)

    # ------------------------------------------------------------ from the call layer

    def _invite(self, event: Invite) -> None:
        self._core.subject = event.dialog
        if len(self._core.usages) >= self._core.settings.max_dialogs:
            self._core.tell(Failed(event.dialog, 503, "Service Unavailable", None))
            return
        self._outgoing.invite(event)

    def _for_usage(self, event: Any, do: Callable[[Usage, Any], None]) -> None:
        """A command to a dialog. One that ended while the command was on its way wants nothing any more."""
        usage = self._core.usages.get(event.dialog)
        if usage is not None:
            self._core.subject = usage.id
            do(usage, event)
        elif not self._core.was_given(event.dialog):
            raise Misuse(f"no dialog {event.dialog}")

    def _acknowledge(self, usage: Usage, event: Ack) -> None:
        self._outgoing.acknowledge(usage, event)
        self._asking.flush(usage)

    def _ask(self, event: Ask) -> None:
        usage = self._core.usages.get(event.dialog)
        if usage is not None and usage.phase is not Phase.LEAVING:
            self._core.subject = usage.id
            self._asking.ask(usage, event)
        elif self._core.was_given(event.dialog):
            self._core.tell(Replied(event.request, 481, None))
        else:
            raise Misuse(f"no dialog {event.dialog}")

    def _reply(self, event: Reply) -> None:
        """An answer to a request that is over meanwhile (its dialog ended) is dropped."""
        core = self._core
        unanswered = core.unanswered.get(event.request)
        if unanswered is None:
            if not core.was_given(event.request):
                raise Misuse(f"no request {event.request}")
            return
        self._core.subject = unanswered.dialog
        if event.status < 200:
            core.respond(unanswered.transaction, unanswered.head, event.status, event.reason)
            return
        del core.unanswered[event.request]
        usage = core.usages.get(unanswered.dialog)
        if usage is not None:
            self._peer_requests.reply(usage, unanswered, event)
        else:
            self._outside.reply(unanswered, event)

    def _hang_up(self, usage: Usage, event: HangUp) -> None:
        match usage.phase:
            case Phase.CALLING:
                self._outgoing.hang_up(usage, event.headers)
            case Phase.CONFIRMED:
                usage.leave_headers = event.headers
                if usage.late_ack is not None and usage.dialog is not None:
                    self._outgoing.ack(usage.dialog, usage.late_ack)
                self._endings.end(usage, EndedBy.OUR_BYE, bye=True)
            case Phase.ANSWERED:
                usage.leave_headers = event.headers
                self._endings.leave(usage)
            case Phase.INVITED:
                self._incoming.hang_up(usage)
            case Phase.LEAVING | Phase.CANCELLED | Phase.OVER:
                pass

    # ------------------------------------------------------------ timers and faults

    def _run_timers(self, now: float) -> None:
        core = self._core
        core.forget_unanswered()
        for tx, tell in core.transactions.expire(now, core.out):
            if tx.machine in _CLIENTS:
                self._guarded(tx.user, self._requests.told, tx, tell)
        while (due := core.deadlines.pop(now)) is not None:
            usage = core.usages.get(due[1])
            if usage is not None:
                self._guarded(usage.id, self._timers[due[0]], usage)

    def _guarded(self, subject: int, do: Callable[..., None], *what: object) -> None:
        try:
            self._core.in_hand = None
            self._core.subject = subject
            do(*what)
        except Exception as error:  # noqa: BLE001 - the decision about it is made there
            self._crashed(error)

    def _crashed(self, error: Exception) -> None:
        """A fault of ours: loud in tests; in service the end of one dialog, not of the house."""
        core = self._core
        if core.settings.strict:
            raise error
        core.out.append(Crashed(DialogId(core.subject) if core.subject else None, _told(error)))
        usage = core.usages.get(core.subject)
        try:
            if core.in_hand is not None and core.in_hand[0].state in _UNANSWERED_STATES:
                core.respond(*core.in_hand, 500)
            if usage is not None:
                self._take_leave(usage)
        except Exception as second:  # noqa: BLE001 - it is told, and the dialog is forgotten all the same
            core.out.append(Crashed(DialogId(core.subject), _told(second)))
        if usage is not None:
            self._forget(usage)

    def _take_leave(self, usage: Usage) -> None:
        """Tell the peer that it is over, as far as the broken state lets us."""
        invited, calling, dialog = usage.invited, usage.calling, usage.dialog
        if invited is not None and invited.transaction.state in _UNANSWERED_STATES:
            self._core.respond(invited.transaction, invited.head, 500)
        elif calling is not None:
            self._requests.give_up(calling.sending)
            self._requests.give_up_resolving(usage.id)
        elif dialog is not None:
            self._endings.bye(usage, dialog)
        self._endings.settle(usage)

    def _forget(self, usage: Usage) -> None:
        self._core.remove(usage)
        if usage.calling is not None:
            self._core.tell(Failed(usage.id, 500, PHRASES[500], None))
        elif not usage.leaving:
            self._core.tell(Ended(usage.id, EndedBy.OUR_FAULT))


def _told(error: Exception) -> str:
    return "".join(traceback.format_exception(error))
