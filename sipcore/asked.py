"""What a peer asks inside a dialog (RFC 3261 12.2.2, 14.2, 15.1.2; RFC 3262; RFC 3311; RFC 4028).

Settles here what needs no call: order, glare, BYE, PRACK, refreshes without an offer. The rest goes up as
`Asked` and is answered with `reply`.
"""

from __future__ import annotations

from sipcore.asking import Asking
from sipcore.core import Core, Unanswered
from sipcore.dialog import Dialog, contact_of, knows_update
from sipcore.endings import Endings
from sipcore.events import Asked, DialogId, EndedBy, Reply
from sipcore.flow import Flow
from sipcore.headers import parse_rack
from sipcore.incoming import Incoming
from sipcore.message import Request
from sipcore.session_timer import Wanted, grant, response_lines, wanted_by
from sipcore.sessions import Sessions
from sipcore.text import content_line, header_lines
from sipcore.transaction_store import Transaction
from sipcore.usage import Offer, Phase, Usage

MAX_PENDING = 32
"""Requests of one peer that may wait for the call layer at a time."""
_MAKES_A_SUBSCRIPTION = ("REFER", "SUBSCRIBE")
"""Their 2xx names where requests of the subscription go (RFC 3515 2.2, RFC 6665 4.2.1.2)."""
RETRY_S = 10
"""A 500 for bad timing says to come back after a random 0 to 10 seconds (RFC 3261 14.2)."""


class PeerRequests:
    """Requests of peers inside their dialogs."""

    def __init__(
        self, core: Core, endings: Endings, sessions: Sessions, incoming: Incoming, asking: Asking
    ) -> None:
        self._core = core
        self._endings = endings
        self._sessions = sessions
        self._incoming = incoming
        self._asking = asking
        self._methods = {
            "BYE": self._bye,
            "INVITE": self._invite,
            "UPDATE": self._update,
            "PRACK": self._prack,
        }

    def request(
        self, usage: Usage, dialog: Dialog, request: Request, tx: Transaction, head: str, flow: Flow
    ) -> None:
        """A new request of the peer. Raises PeerFault where a header that matters is broken."""
        number = request.cseq.number
        if number <= dialog.remote_cseq:  # 12.2.2: out of order
            self._refuse(tx, head, 500)
            return
        dialog.remote_cseq = number
        dialog.heard_on(flow)
        self._methods.get(request.method, self._other)(usage, dialog, request, tx, head)

    # ------------------------------------------------------------ by method

    def _bye(self, usage: Usage, dialog: Dialog, request: Request, tx: Transaction, head: str) -> None:
        if usage.phase in (Phase.CALLING, Phase.CANCELLED):
            self._refuse(tx, head, 481)  # a callee ends an early dialog with its final response (15)
            return
        self._core.respond(tx, head, 200, lines=self._core.server_line)
        if usage.phase is Phase.INVITED:
            self._incoming.cancel(usage, request)
        else:
            self._endings.end(usage, EndedBy.PEER_BYE, bye=False, request=request)

    def _invite(self, usage: Usage, dialog: Dialog, request: Request, tx: Transaction, head: str) -> None:
        if usage.phase is Phase.LEAVING:
            self._refuse(tx, head, 481)
            return
        if usage.our_invite or usage.offer is Offer.OURS:
            self._refuse(tx, head, 491)
            return
        if usage.phase is Phase.INVITED or usage.their_invite or usage.offer is Offer.THEIRS:
            self._refuse_for_now(tx, head)
            return
        wanted = wanted_by(request)
        if self._refuse_short_session(wanted, tx, head):
            return
        if usage.unacked is not None:  # asking anew it has our 2xx; the ACK got lost
            self._incoming.ack(usage, usage.unacked.cseq, b"")
        self._core.respond(tx, head, 100)
        request_id = self._put_up(usage, dialog, request, tx, head, wanted)
        if request_id:
            usage.their_invite = request_id
            usage.offer = Offer.THEIRS if request.body else Offer.NONE

    def _update(self, usage: Usage, dialog: Dialog, request: Request, tx: Transaction, head: str) -> None:
        wanted = wanted_by(request)
        if self._refuse_short_session(wanted, tx, head):
            return
        if not request.body:
            self._refresh(usage, dialog, request, tx, head, wanted)
        elif usage.offer is Offer.OURS:
            self._refuse(tx, head, 491)
        elif usage.offer is Offer.THEIRS or usage.their_invite:
            self._refuse_for_now(tx, head)
        elif self._put_up(usage, dialog, request, tx, head, wanted):
            usage.offer = Offer.THEIRS

    def _refresh(
        self, usage: Usage, dialog: Dialog, request: Request, tx: Transaction, head: str, wanted: Wanted
    ) -> None:
        """An UPDATE without an offer: the session goes on, the remote target may have moved."""
        core = self._core
        dialog.refresh(request)
        session = grant(wanted, usage.session_expires_s, core.settings.min_se_s)
        contact = self._contact(dialog, tx)
        core.respond(tx, head, 200, lines=f"{contact}{core.able_lines}{response_lines(session)}")
        if usage.phase in (Phase.ANSWERED, Phase.CONFIRMED):
            self._sessions.agreed(usage, session)

    def _prack(self, usage: Usage, dialog: Dialog, request: Request, tx: Transaction, head: str) -> None:
        rack = parse_rack(request.get("rack") or "")
        invited = usage.invited
        asks = bool(request.body) and invited is not None and invited.has_offer
        if not self._incoming.prack(usage, rack, answers_offer=not asks):
            self._refuse(tx, head, 481)
        elif request.body:
            self._put_up(usage, dialog, request, tx, head, None)
        else:
            self._core.respond(tx, head, 200, lines=self._core.server_line)
            self._incoming.go_on(usage)

    def _other(self, usage: Usage, dialog: Dialog, request: Request, tx: Transaction, head: str) -> None:
        self._put_up(usage, dialog, request, tx, head, None)

    def _put_up(
        self,
        usage: Usage,
        dialog: Dialog,
        request: Request,
        tx: Transaction,
        head: str,
        wanted: Wanted | None,
    ) -> int:
        """Let the call layer answer. Returns the RequestId, or 0 when too many wait already."""
        if len(usage.pending) >= MAX_PENDING:
            self._refuse_for_now(tx, head)
            return 0
        core = self._core
        unanswered = Unanswered(
            tx,
            head,
            request.method,
            usage.id,
            request.cseq.number,
            has_offer=bool(request.body),
            contact=self._contact(dialog, tx),
            target=contact_of(request),
            takes_update=knows_update(request),
            wanted=wanted,
        )
        number = core.put_up(unanswered)
        usage.pending = (*usage.pending, number)
        core.tell(Asked(DialogId(usage.id), number, request))
        return number

    # ------------------------------------------------------------ answers of the call layer

    def reply(self, usage: Usage, unanswered: Unanswered, event: Reply) -> None:
        """Send the final answer to a request that went up."""
        usage.pending = tuple([number for number in usage.pending if number != event.request])
        method, accepted = unanswered.method, event.status < 300
        lines, core = core_lines(self._core, unanswered), self._core
        session = None
        if accepted and unanswered.wanted is not None:
            session = grant(unanswered.wanted, usage.session_expires_s, core.settings.min_se_s)
            lines += response_lines(session)
        lines += f"{header_lines(event.headers)}{content_line(event.content_type, event.body)}"
        wire = core.respond(
            unanswered.transaction, unanswered.head, event.status, event.reason, lines, event.body
        )
        if unanswered.has_offer and method in ("INVITE", "UPDATE"):
            usage.offer = Offer.NONE
        if method == "INVITE":
            usage.their_invite = 0
        if accepted and unanswered.wanted is not None:
            self._accepted(usage, unanswered, event, wire)
            self._sessions.agreed(usage, session, event.body)
        if method == "PRACK":
            usage.offer = Offer.NONE
            self._incoming.go_on(usage)
        if usage.waiting:
            self._asking.flush(usage)

    def _accepted(self, usage: Usage, unanswered: Unanswered, event: Reply, wire: bytes) -> None:
        """Our 2xx to a re-INVITE or UPDATE."""
        dialog = usage.dialog
        if dialog is not None:
            dialog.remote_target = unanswered.target or dialog.remote_target
            dialog.takes_update = dialog.takes_update or unanswered.takes_update
        if unanswered.method == "INVITE":
            late = not unanswered.has_offer and bool(event.body)
            usage.offer = Offer.OURS if late else Offer.NONE
            flow = unanswered.transaction.flow
            self._incoming.await_ack(usage, flow, wire, unanswered.cseq, event.request, tell=late)

    # ------------------------------------------------------------ refusals

    def _refuse(self, tx: Transaction, head: str, status: int, lines: str = "") -> None:
        self._core.respond(tx, head, status, lines=f"{self._core.server_line}{lines}")

    def _refuse_for_now(self, tx: Transaction, head: str) -> None:
        after_s = round(self._core.random.uniform(0, RETRY_S))
        self._refuse(tx, head, 500, f"Retry-After: {after_s}\r\n")

    def _refuse_short_session(self, wanted: Wanted, tx: Transaction, head: str) -> bool:
        least_s = self._core.settings.min_se_s
        if not wanted.is_too_short(least_s):
            return False
        self._refuse(tx, head, 422, f"Min-SE: {least_s}\r\n")
        return True

    def _contact(self, dialog: Dialog, tx: Transaction) -> str:
        return self._core.contact_line(tx.flow, secure=dialog.secure)


def core_lines(core: Core, unanswered: Unanswered) -> str:
    """What our response says of ourselves: all that we can in a 2xx that may change the session."""
    if unanswered.method in ("INVITE", "UPDATE"):
        return f"{unanswered.contact}{core.able_lines}"
    if unanswered.method in _MAKES_A_SUBSCRIPTION:
        return f"{unanswered.contact}{core.server_line}"
    return core.server_line
