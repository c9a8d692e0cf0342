"""Outgoing calls up to their answer: the client's side of an INVITE (RFC 3261 13.2, RFC 3262 section 4).

One usage covers the forks of an INVITE. Each has its early dialog; the first 2xx makes the call, and
those that come later are acknowledged and ended here. Sending is `requests.py`'s work.
"""

from __future__ import annotations

from sipcore import session_timer
from sipcore.core import Core
from sipcore.dialog import (
    Dialog,
    DialogState,
    contact_of,
    dialog_of_response,
    knows_update,
    routed,
)
from sipcore.endings import Endings
from sipcore.events import Ack, Answered, Failed, Headers, Invite, Progressed, Transmit
from sipcore.faults import Misuse
from sipcore.flow import Flow
from sipcore.hops import next_hop
from sipcore.message import Response
from sipcore.phrases import PHRASES
from sipcore.reliable import Order, order_of, rseq_of
from sipcore.requests import Requests
from sipcore.sending import Purpose, Sending
from sipcore.sessions import Sessions
from sipcore.text import Draft, check_lines, content_line, header_lines, tag_of
from sipcore.transaction_store import Transaction
from sipcore.usage import Calling, DialogTimer, LateAck, Offer, Phase, Usage

MAX_FORKS = 32
"""Early dialogs remembered for one INVITE; what further forks say before their 2xx is not heard."""


class Outgoing:
    """What our INVITEs become."""

    def __init__(self, core: Core, requests: Requests, endings: Endings, sessions: Sessions) -> None:
        self._core = core
        self._requests = requests
        self._endings = endings
        self._sessions = sessions
        requests.on_provisional[Purpose.INVITE] = self._provisional
        requests.on_final[Purpose.INVITE] = self._final
        requests.on_final[Purpose.PRACK] = self._pracked
        requests.on_2xx_again = self._again

    # ------------------------------------------------------------ from the call layer

    def invite(self, event: Invite) -> None:
        """Place a call. Raises Misuse for an id that is in use, or text that no header can hold."""
        core = self._core
        if event.dialog in core.usages:
            raise Misuse(f"dialog {event.dialog} exists")
        check_lines(event.uri, event.from_, event.to, event.content_type, *event.route)
        tag = core.ids.token()
        session_lines = session_timer.request_lines(event.session_expires_s, core.settings.min_se_s)
        uri, routes = routed(event.uri, event.route)
        draft = Draft(
            method="INVITE",
            uri=uri,
            from_=f"{event.from_};tag={tag}",
            to=event.to,
            call_id=core.ids.call_id(),
            cseq=1,
            routes=routes,
            lines=(
                f"{core.allow_line}{self._supported(event)}{session_lines}{header_lines(event.headers)}"
                f"{content_line(event.content_type, event.body)}"
            ),
            body=event.body,
            max_forwards=event.max_forwards,
            hop=next_hop(event.route, event.uri),
            secure=uri[:5].lower() == "sips:",
            contact=True,
        )
        sending = Sending(draft, Purpose.INVITE, event.dialog, credentials=event.credentials)
        calling = Calling(sending, session_lines, late_offer=not event.body, body=event.body)
        usage = Usage(event.dialog, tag, Phase.CALLING, calling=calling, credentials=event.credentials)
        usage.session_expires_s = event.session_expires_s
        usage.offer = Offer.OURS if event.body else Offer.NONE
        usage.our_invite = True
        core.add(usage)
        self._requests.send(sending, event.flow)

    def _supported(self, event: Invite) -> str:
        """No 100rel without a body: a reliable response might bring the offer, for its PRACK to answer."""
        unsaid = set() if event.body else {"100rel"}
        if not event.session_expires_s:
            unsaid.add("timer")
        if not unsaid:
            return self._core.supported_line
        said = [tag for tag in self._core.settings.extensions if tag not in unsaid]
        return f"Supported: {', '.join(said)}\r\n"

    def acknowledge(self, usage: Usage, event: Ack) -> None:
        """Send the ACK that a 2xx with an offer waits for."""
        late, dialog = usage.late_ack, usage.dialog
        if late is None or dialog is None:
            raise Misuse(f"dialog {usage.id} waits for no ACK of ours")
        usage.late_ack = None
        usage.offer = Offer.NONE
        self.ack(dialog, late, event.body)

    def hang_up(self, usage: Usage, headers: Headers) -> None:
        """Cancel a call that is not answered (9.1). Failed follows, whatever the answer turns out to be."""
        calling = usage.calling
        assert calling is not None  # the phase says so
        usage.phase = Phase.CANCELLED
        calling.cancel_headers = headers
        sending = calling.sending
        sending.more, sending.credentials = (), None
        if sending.flow is None:
            self._requests.give_up_resolving(usage.id)
            self._failed(usage, None, 487)
        elif calling.provisional:
            self._cancel(usage, calling)

    def _cancel(self, usage: Usage, calling: Calling) -> None:
        if calling.cancel_sent:
            return
        calling.cancel_sent = True
        core = self._core
        self._requests.cancel(calling.sending, header_lines(calling.cancel_headers))
        core.start(DialogTimer.GIVE_UP_CANCEL, usage, core.now + core.settings.timers.give_up_s)

    def give_up_cancelled(self, usage: Usage) -> None:
        """DialogTimer.GIVE_UP_CANCEL: a cancelled INVITE that is not answered within 64*T1 is over (9.1)."""
        if usage.calling is not None:
            self._requests.give_up(usage.calling.sending)
            self._failed(usage, None, 487)

    # ------------------------------------------------------------ from the wire

    def _provisional(self, sending: Sending, response: Response) -> None:
        core = self._core
        usage = core.usages.get(sending.dialog)
        if usage is None or usage.calling is None:
            return
        calling = usage.calling
        calling.provisional = True
        if usage.phase is Phase.CANCELLED:
            self._cancel(usage, calling)
            return
        if response.status == 100:
            return
        tag = sending.tag
        early = calling.early.get(tag)
        if early is None:
            if tag and len(calling.early) < MAX_FORKS:
                early = self._dialog(usage, sending, response)
                calling.early[tag] = early
        else:
            early.refresh(response)
        rseq = rseq_of(response)
        if rseq is not None and early is not None:
            if order_of(rseq, calling.rseqs.get(tag)) is not Order.NEXT:
                return
            calling.rseqs[tag] = rseq
            self._prack(usage, early, rseq, sending.draft.cseq)
            if response.body and usage.offer is Offer.OURS:
                usage.offer = Offer.NONE
        core.tell(Progressed(usage.id, response))

    def _prack(self, usage: Usage, early: Dialog, rseq: int, cseq: int) -> None:
        draft = early.next_request("PRACK", f"RAck: {rseq} {cseq} INVITE\r\n")
        self._requests.send(
            Sending(draft, Purpose.PRACK, usage.id, credentials=usage.credentials), early.flow
        )

    def _pracked(self, sending: Sending, response: Response | None, status: int) -> None:
        """A PRACK that fails leaves the call as it is: the final answer to the INVITE decides."""

    def _final(self, sending: Sending, response: Response | None, status: int) -> None:
        usage = self._core.usages.get(sending.dialog)
        if usage is None or usage.calling is None:
            return
        if response is not None and status < 300:
            self._answered(usage, usage.calling, response)
        elif response is None or status != 422 or not self._longer(usage, usage.calling, response):
            self._failed(usage, response, status)

    def _longer(self, usage: Usage, calling: Calling, response: Response) -> bool:
        """Try again with the interval that a 422 asks for (RFC 4028 7.3). False: it asks for nothing new."""
        least_s = session_timer.least_of(response)
        if least_s <= max(calling.least_s, session_timer.FLOOR_S) or usage.phase is not Phase.CALLING:
            return False
        calling.least_s = least_s
        lines = session_timer.request_lines(usage.session_expires_s, least_s)
        sending = calling.sending
        if not lines or sending.flow is None:
            return False
        sending.draft.lines = sending.draft.lines.replace(calling.session_lines, lines, 1)
        calling.session_lines = lines
        calling.early.clear()
        sending.draft.cseq += 1
        self._requests.again(sending)
        return True

    def _failed(self, usage: Usage, response: Response | None, status: int) -> None:
        if usage.phase is Phase.CANCELLED and response is None:
            status = 487
        self._endings.settle(usage)
        reason = response.reason if response is not None else PHRASES.get(status, "")
        self._core.tell(Failed(usage.id, status, reason, response))

    def _answered(self, usage: Usage, calling: Calling, response: Response) -> None:
        core, sending = self._core, calling.sending
        core.stop(DialogTimer.GIVE_UP_CANCEL, usage)
        early = calling.early.get(sending.tag)
        if early is not None and _says_the_same(early, response):
            dialog = early
        else:
            dialog = self._dialog(usage, sending, response)
        if early is not None:
            dialog.local_cseq, dialog.remote_cseq = early.local_cseq, early.remote_cseq
            dialog.takes_update = dialog.takes_update or early.takes_update
        dialog.state = DialogState.CONFIRMED
        usage.dialog, usage.calling, usage.our_invite, usage.offer = dialog, None, False, Offer.NONE
        late = LateAck(sending.draft.cseq, sending.sent_as, sending.draft.credentials)
        if usage.phase is Phase.CANCELLED:
            self.ack(dialog, late)
            self._endings.bye(usage, dialog, calling.cancel_headers)
            self._endings.settle(usage)
            core.tell(Failed(usage.id, 487, PHRASES[487], None))
            return
        usage.phase = Phase.CONFIRMED
        late_offer = calling.late_offer and bool(response.body)
        if late_offer:
            usage.late_ack, usage.offer = late, Offer.THEIRS
        else:
            self.ack(dialog, late)
        core.tell(Answered(usage.id, response, late_offer))
        self._sessions.agreed(usage, session_timer.terms_of_response(response, calling.least_s), calling.body)

    def _again(self, tx: Transaction, response: Response, flow: Flow) -> None:
        """A 2xx after the first: a copy is acknowledged as before, another fork's is ended (13.2.2.4)."""
        tag = tag_of(response.get("to"))
        for acked_tag, ack in tx.acks:
            if acked_tag == tag:
                # A connection that broke took the ACK with it; the copy shows where there is another.
                self._core.out.append(Transmit(flow, ack.data) if ack.flow.connection else ack)
                return
        usage = self._core.usages.get(tx.user)
        if usage is not None and usage.dialog is not None and usage.dialog.remote_tag == tag:
            return  # its ACK waits for the call layer, or for a name to be resolved
        if len(tx.acks) < MAX_FORKS:
            self._end_fork(tx, response)

    def _end_fork(self, tx: Transaction, response: Response) -> None:
        draft = Draft(
            method="INVITE",
            uri=response.from_.uri,
            from_=response.get("from") or "",
            to=response.get("to") or "",
            call_id=response.call_id,
            cseq=response.cseq.number,
        )
        tag = tag_of(draft.to)
        dialog = dialog_of_response(draft, response.from_.tag, tag, response, tx.flow, pinned=False)
        self.ack(dialog, LateAck(draft.cseq, tx.key, ""))
        sending = Sending(dialog.next_request("BYE"), Purpose.BYE)
        self._requests.send(sending, dialog.flow)

    def ack(self, dialog: Dialog, late: LateAck, body: bytes = b"") -> None:
        """Acknowledge a 2xx; it goes its own way, not that of the INVITE (13.2.2.4)."""
        draft = dialog.request_of("ACK", late.cseq, content_line("application/sdp", body), body)
        draft.credentials = late.credentials
        sending = Sending(draft, Purpose.ACK, sent_as=late.sent_as, tag=dialog.remote_tag)
        self._requests.send(sending, dialog.flow)

    def _dialog(self, usage: Usage, sending: Sending, response: Response) -> Dialog:
        assert sending.flow is not None  # it was answered
        return dialog_of_response(
            sending.draft, usage.local_tag, sending.tag, response, sending.flow, pinned=sending.pinned
        )


def _says_the_same(early: Dialog, response: Response) -> bool:
    """True when a 2xx confirms its early dialog as it is: no proxy, the same Contact (13.2.2.4)."""
    return (
        not early.route_set
        and not response.record_routes
        and early.remote_target == contact_of(response)
        and (early.takes_update or not knows_update(response))
    )
