"""Incoming calls up to their ACK: the server's side of an INVITE (RFC 3261 13.3, RFC 3262 section 3).

100 at once, then what the call layer says; the 2xx is resent here until its ACK. Requests inside the
dialog are `asked.py`'s work.
"""

from __future__ import annotations

from sipcore.core import Core
from sipcore.dialog import DialogState, dialog_of_request
from sipcore.endings import Endings
from sipcore.events import (
    Acked,
    Answer,
    Cancelled,
    DialogId,
    EndedBy,
    IncomingCall,
    Progress,
    Reject,
    RequestId,
)
from sipcore.faults import Misuse
from sipcore.flow import Flow
from sipcore.headers import RAck
from sipcore.message import Request
from sipcore.reliable import MAX_QUEUED, Unpracked
from sipcore.session_timer import grant, response_lines, wanted_by
from sipcore.sessions import Sessions
from sipcore.text import content_line, header_lines, tag_of
from sipcore.transaction_store import Transaction
from sipcore.usage import DialogTimer, Invited, Offer, Phase, Unacked, Usage


class Incoming:
    """What peers' INVITEs become."""

    def __init__(self, core: Core, endings: Endings, sessions: Sessions) -> None:
        self._core = core
        self._endings = endings
        self._sessions = sessions

    # ------------------------------------------------------------ from the wire

    def invite(self, request: Request, tx: Transaction, head: str, tag: str, flow: Flow) -> None:
        """A new INVITE outside any dialog that passed the screening. Raises PeerFault(400)."""
        core = self._core
        stamp = request.get("timestamp")
        core.respond(tx, head, 100, lines=f"Timestamp: {stamp}\r\n" if stamp else "")
        dialog = dialog_of_request(request, tag, tag_of(request.get("from")), flow)
        wanted = wanted_by(request)
        least_s = core.settings.min_se_s
        if wanted.is_too_short(least_s):
            core.respond(tx, head, 422, lines=f"{core.server_line}Min-SE: {least_s}\r\n")
            return
        needs_reliable = request.get("require") is not None and "100rel" in request.require
        tx.user = dialog_id = DialogId(core.new_id())
        invited = Invited(
            transaction=tx,
            head=head,
            cseq=dialog.remote_cseq,
            has_offer=bool(request.body),
            takes_reliable=needs_reliable or "100rel" in request.supported,
            needs_reliable=needs_reliable,
            lines=_record_routes(request) + core.contact_line(flow, secure=dialog.secure),
            wanted=wanted,
        )
        offer = Offer.THEIRS if request.body else Offer.NONE
        core.add(Usage(dialog_id, tag, Phase.INVITED, dialog, invited, offer=offer))
        core.tell(IncomingCall(dialog_id, request, flow))

    def cancel(self, usage: Usage, request: Request) -> None:
        """CANCEL, or a BYE before the answer: 487 to the INVITE (9.2, 15.1.2). Too late, it does nothing."""
        invited = usage.invited
        if invited is None:
            return
        self._core.respond(invited.transaction, invited.head, 487, lines=self._core.server_line)
        self._endings.settle(usage)
        self._core.tell(Cancelled(usage.id, request))

    def ack(self, usage: Usage, cseq: int, body: bytes) -> None:
        """The ACK of a 2xx of ours; others, and further copies, are for nobody."""
        unacked = usage.unacked
        if unacked is None or unacked.cseq != cseq:
            return
        usage.unacked = None
        self._core.stop(DialogTimer.RESEND_2XX, usage)
        if usage.phase is Phase.LEAVING:
            self._endings.end(usage, EndedBy.OUR_BYE, bye=True)
            return
        usage.phase = Phase.CONFIRMED
        if usage.offer is Offer.OURS:
            usage.offer = Offer.NONE
        if unacked.tell:
            self._core.tell(Acked(usage.id, body, RequestId(unacked.request) if unacked.request else None))

    def prack(self, usage: Usage, rack: RAck, *, answers_offer: bool) -> bool:
        """True when this PRACK is for the response on its way: then the next one, or the 2xx, may go."""
        invited = usage.invited
        if invited is None or invited.reliable is None:
            return False
        reliable = invited.reliable
        if not reliable.acknowledged(rack, invited.cseq):
            return False
        self._core.stop(DialogTimer.RESEND_1XX, usage)
        if reliable.with_sdp and answers_offer:
            usage.offer = Offer.NONE
        return True

    def go_on(self, usage: Usage) -> None:
        """After a PRACK was answered: send what had to wait for it."""
        reliable = usage.invited.reliable if usage.invited is not None else None
        if reliable is None or reliable.wire:
            return
        if reliable.queue:
            self.progress(usage, reliable.queue.pop(0))
        elif reliable.held is not None:
            held, reliable.held = reliable.held, None
            self.answer(usage, held)

    # ------------------------------------------------------------ from the call layer

    def progress(self, usage: Usage, event: Progress) -> None:
        """Send a 101-199, reliably where the caller requires or allows it."""
        invited = self._invited(usage)
        if not 101 <= event.status <= 199:
            raise Misuse(f"{event.status} is no progress")
        core = self._core
        lines = f"{invited.lines}{core.able_lines}{header_lines(event.headers)}"
        lines += content_line(event.content_type, event.body)
        if not invited.needs_reliable and not (event.reliable and invited.takes_reliable):
            core.respond(invited.transaction, invited.head, event.status, event.reason, lines, event.body)
            return
        reliable = invited.reliable
        if reliable is None:
            reliable = invited.reliable = Unpracked(core.random.getrandbits(30) + 1)
        elif reliable.wire:
            if len(reliable.queue) >= MAX_QUEUED:
                raise Misuse("too many provisional responses wait for a PRACK")
            reliable.queue.append(event)
            return
        else:
            reliable.rseq += 1
        lines = f"Require: 100rel\r\nRSeq: {reliable.rseq}\r\n{lines}"
        wire = core.respond(invited.transaction, invited.head, event.status, event.reason, lines, event.body)
        due = reliable.sent(wire, with_sdp=bool(event.body), t1=core.settings.timers.t1, now=core.now)
        core.start(DialogTimer.RESEND_1XX, usage, due)
        if event.body:
            usage.offer = Offer.NONE if usage.offer is Offer.THEIRS else Offer.OURS

    def answer(self, usage: Usage, event: Answer) -> None:
        """Send the 200 and resend it until the ACK. While an SDP sent reliably lacks its PRACK, it waits."""
        invited, dialog, core = self._invited(usage), usage.dialog, self._core
        assert dialog is not None  # an incoming usage has one from its beginning
        reliable = invited.reliable
        if reliable is not None and reliable.wire and reliable.with_sdp:
            reliable.held = event
            return
        usage.session_expires_s = event.session_expires_s
        session = grant(invited.wanted, event.session_expires_s, core.settings.min_se_s)
        lines = (
            f"{invited.lines}{core.able_lines}{response_lines(session)}"
            f"{header_lines(event.headers)}{content_line(event.content_type, event.body)}"
        )
        core.stop(DialogTimer.RESEND_1XX, usage)
        wire = core.respond(invited.transaction, invited.head, 200, "", lines, event.body)
        usage.invited = None
        usage.phase = Phase.ANSWERED
        dialog.state = DialogState.CONFIRMED
        usage.offer = Offer.OURS if event.body and not invited.has_offer and reliable is None else Offer.NONE
        self.await_ack(usage, invited.transaction.flow, wire, invited.cseq)
        self._sessions.agreed(usage, session, event.body)

    def reject(self, usage: Usage, event: Reject) -> None:
        """Send the failure; the usage is over. A 503 says when to try again, or it would count as 500."""
        invited = self._invited(usage)
        if not 300 <= event.status <= 699:
            raise Misuse(f"{event.status} is no refusal")
        core = self._core
        retry = core.retry_line if event.status == 503 else ""
        lines = f"{core.server_line}{retry}{header_lines(event.headers)}"
        lines += content_line(event.content_type, event.body)
        core.respond(invited.transaction, invited.head, event.status, event.reason, lines, event.body)
        self._endings.settle(usage)

    def hang_up(self, usage: Usage) -> None:
        """The call layer has answered, but the 2xx still waits for a PRACK: the call is refused after all."""
        invited = usage.invited
        if invited is None or invited.reliable is None or invited.reliable.held is None:
            raise Misuse("an incoming call that is not answered is rejected, not hung up")
        self._core.respond(invited.transaction, invited.head, 480, lines=self._core.server_line)
        self._endings.end(usage, EndedBy.OUR_BYE, bye=False)

    def _invited(self, usage: Usage) -> Invited:
        invited = usage.invited
        if invited is None or (invited.reliable is not None and invited.reliable.held is not None):
            raise Misuse(f"dialog {usage.id} is {usage.phase.name}: no answer of ours is due")
        return invited

    # ------------------------------------------------------------ resending

    def await_ack(
        self, usage: Usage, flow: Flow, wire: bytes, cseq: int, request: int = 0, tell: bool = True
    ) -> None:
        """Resend this 2xx, on any transport, until its ACK or 64*T1 (13.3.1.4)."""
        core, timers = self._core, self._core.settings.timers
        usage.unacked = Unacked(cseq, wire, flow, timers.t1, core.now + timers.give_up_s, request, tell)
        core.start(DialogTimer.RESEND_2XX, usage, core.now + timers.t1)

    def resend_2xx(self, usage: Usage) -> None:
        """DialogTimer.RESEND_2XX: intervals double up to T2."""
        core, unacked = self._core, usage.unacked
        if unacked is None:
            return
        if core.now >= unacked.give_up_at:
            usage.unacked = None
            self._endings.end(usage, EndedBy.NO_ACK, bye=True)
            return
        core.transmit(unacked.flow, unacked.wire)
        unacked.interval_s = min(2 * unacked.interval_s, core.settings.timers.t2)
        core.start(DialogTimer.RESEND_2XX, usage, min(core.now + unacked.interval_s, unacked.give_up_at))

    def resend_1xx(self, usage: Usage) -> None:
        """DialogTimer.RESEND_1XX: until the PRACK, or 64*T1; then the INVITE is refused (RFC 3262 3)."""
        core, invited = self._core, usage.invited
        reliable = None if invited is None else invited.reliable
        if invited is None or reliable is None or not reliable.wire:
            return
        due = reliable.again(core.now)
        if due is None:
            core.respond(invited.transaction, invited.head, 504, lines=core.server_line)
            self._endings.end(usage, EndedBy.NO_ACK, bye=False)
            return
        core.transmit(invited.transaction.flow, reliable.wire)
        core.start(DialogTimer.RESEND_1XX, usage, due)


def _record_routes(request: Request) -> str:
    """The Record-Routes of an INVITE, for the responses that make a dialog (12.1.1)."""
    if not request.record_routes:
        return ""
    return "".join([f"Record-Route: {value}\r\n" for value in request.get_all("Record-Route")])
