"""What we ask inside a dialog: re-INVITE, UPDATE, INFO, REFER, refreshes (RFC 3261 12.2.1, 14.1; RFC 3311).

One offer at a time: what cannot go now waits its turn; what meets 491 is tried again after the RFC's
random wait. Sending is `requests.py`'s work.
"""

from __future__ import annotations

from sipcore import session_timer
from sipcore.core import Core
from sipcore.dialog import Dialog
from sipcore.endings import Endings
from sipcore.events import Ask, EndedBy, Replied, RequestId
from sipcore.faults import Misuse
from sipcore.message import Response
from sipcore.outgoing import Outgoing
from sipcore.requests import Requests
from sipcore.sending import Purpose, Sending
from sipcore.sessions import REFRESH, Sessions
from sipcore.text import Draft, check_lines, content_line, header_lines
from sipcore.usage import DialogTimer, LateAck, Offer, Phase, Usage

MAX_WAITING = 16
MAX_RETRIES = 10
_OTHER_USAGES = frozenset(("NOTIFY", "SUBSCRIBE", "REFER"))
"""A 481 to these is about a subscription, not about the INVITE's usage (RFC 5057 5.2)."""
_SENT_ELSEWHERE = frozenset(("INVITE", "ACK", "BYE", "CANCEL", "PRACK"))


class Asking:
    """Our requests inside dialogs."""

    def __init__(
        self, core: Core, requests: Requests, endings: Endings, sessions: Sessions, outgoing: Outgoing
    ) -> None:
        self._core = core
        self._requests = requests
        self._endings = endings
        self._sessions = sessions
        self._outgoing = outgoing
        sessions.ask = self.ask
        requests.on_final[Purpose.ASK] = self._final

    def ask(self, usage: Usage, event: Ask) -> None:
        """Send it now, or when it may be sent. Raises Misuse for a request that the stack sends itself."""
        if event.method in _SENT_ELSEWHERE - {"INVITE"}:
            raise Misuse(f"{event.method} is sent by other means")
        check_lines(event.content_type)
        if not self._must_wait(usage, event):
            self._send(usage, event)
        elif len(usage.waiting) >= MAX_WAITING:
            raise Misuse(f"{MAX_WAITING} requests wait in dialog {usage.id}")
        else:
            usage.waiting = (*usage.waiting, event)

    def flush(self, usage: Usage) -> None:
        """Something that others waited for is settled: send what may go now, in order."""
        waiting, usage.waiting = usage.waiting, ()
        for event in waiting:
            if usage.phase is Phase.OVER or self._must_wait(usage, event):
                usage.waiting = (*usage.waiting, event)
            else:
                self._send(usage, event)

    def retry(self, usage: Usage) -> None:
        """DialogTimer.RETRY: the wait after a 491 is over."""
        event, usage.retry = usage.retry, None
        if event is not None:  # before those that came later: the last offer must be the last one made
            usage.waiting = (event, *usage.waiting)
            self.flush(usage)

    def _must_wait(self, usage: Usage, event: Ask) -> bool:
        """True while this request would meet an offer or a re-INVITE under way (14.1, RFC 3311 5.1)."""
        if event.method == "INVITE":
            return (
                usage.phase is not Phase.CONFIRMED
                or usage.our_invite
                or usage.their_invite != 0
                or usage.unacked is not None
                or usage.late_ack is not None
                or usage.offer is not Offer.NONE
                or usage.retry is not None
            )
        if event.method != "UPDATE" or not event.body:
            return False
        return usage.offer is not Offer.NONE or usage.retry is not None

    def _send(self, usage: Usage, event: Ask) -> None:
        dialog = self._dialog(usage)
        if dialog is None:
            self._core.tell(Replied(event.request, 481, None))
            return
        method, lines = event.method, ""
        if method in ("INVITE", "UPDATE"):
            lines = f"{self._core.allow_line}{self._core.supported_line}{self._session_lines(usage)}"
            if method == "INVITE":
                usage.our_invite = True
            if event.body:
                usage.offer = Offer.OURS
        lines += f"{header_lines(event.headers)}{content_line(event.content_type, event.body)}"
        sending = Sending(
            dialog.next_request(method, lines, event.body),
            Purpose.ASK,
            usage.id,
            event.request,
            usage.credentials,
            ask=event,
        )
        self._requests.send(sending, dialog.flow)

    def _session_lines(self, usage: Usage) -> str:
        return "" if usage.session is None else session_timer.refresh_lines(usage.session)

    def _dialog(self, usage: Usage) -> Dialog | None:
        """The confirmed dialog; before there is one, the latest early one."""
        if usage.dialog is not None or usage.calling is None or not usage.calling.early:
            return usage.dialog
        return list(usage.calling.early.values())[-1]

    # ------------------------------------------------------------ answers

    def _final(self, sending: Sending, response: Response | None, status: int) -> None:
        event, usage = sending.ask, self._core.usages.get(sending.dialog)
        assert event is not None  # every Sending of ours has it
        accepted = response is not None and status < 300
        late_offer = False
        if usage is None:
            if accepted and event.method == "INVITE":
                self._acknowledge_for_nobody(sending)
        elif event.method in ("INVITE", "UPDATE"):
            if self._tries_again(usage, event, response, status):
                return
            if response is not None and accepted:
                late_offer = self._accepted(usage, sending, event, response)
        if event.request != REFRESH:
            self._core.tell(Replied(RequestId(event.request), status, response, late_offer))
        if usage is not None and usage.phase is not Phase.OVER:
            if status in (408, 481) and event.method not in _OTHER_USAGES and usage.dialog is not None:
                self._endings.end(usage, EndedBy.PEER_LOST, bye=True)
            else:
                self.flush(usage)

    def _tries_again(self, usage: Usage, event: Ask, response: Response | None, status: int) -> bool:
        """Our offer is settled. True when the request goes once more: after glare, with a longer session."""
        if event.method == "INVITE":
            usage.our_invite = False
        if event.body:
            usage.offer = Offer.NONE
        if status == 491 and usage.retries < MAX_RETRIES:
            self._wait_after_glare(usage, event)
            return True
        usage.retries = 0
        if response is None or status != 422 or usage.session is None:
            return False
        least_s = session_timer.least_of(response)
        if least_s <= usage.session.interval_s:
            return False
        usage.session.interval_s = usage.session.min_se_s = least_s
        self.ask(usage, event)
        return True

    def _wait_after_glare(self, usage: Usage, event: Ask) -> None:
        """The owner of the Call-ID waits longer, in steps of 10 ms (14.1)."""
        core, dialog = self._core, usage.dialog
        owner = dialog is None or dialog.initiator
        wait_s = core.random.uniform(2.1, 4.0) if owner else core.random.uniform(0.0, 2.0)
        if usage.retry is not None:
            usage.waiting = (*usage.waiting, usage.retry)
        usage.retry = event
        usage.retries += 1
        core.start(DialogTimer.RETRY, usage, core.now + round(wait_s, 2))

    def _accepted(self, usage: Usage, sending: Sending, event: Ask, response: Response) -> bool:
        """A 2xx to our re-INVITE or UPDATE. Returns True when its ACK waits for our answer to an offer."""
        dialog = self._dialog(usage)
        if dialog is None:
            return False
        dialog.refresh(response)
        late_offer = False
        if event.method == "INVITE":
            late = LateAck(sending.draft.cseq, sending.sent_as, sending.draft.credentials)
            late_offer = not event.body and bool(response.body)
            if late_offer:
                usage.late_ack, usage.offer = late, Offer.THEIRS
            else:
                self._outgoing.ack(dialog, late)
        least_s = usage.session.min_se_s if usage.session is not None else 0
        self._sessions.agreed(usage, session_timer.terms_of_response(response, least_s), event.body)
        return late_offer

    def _acknowledge_for_nobody(self, sending: Sending) -> None:
        """A 2xx to a re-INVITE of a dialog that is over meanwhile."""
        draft = sending.draft
        ack = Draft(
            method="ACK",
            uri=draft.uri,
            from_=draft.from_,
            to=draft.to,
            call_id=draft.call_id,
            cseq=draft.cseq,
            routes=draft.routes,
        )
        self._requests.send(Sending(ack, Purpose.ACK, sent_as=sending.sent_as), sending.flow)
