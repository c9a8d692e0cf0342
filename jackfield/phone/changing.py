"""Changes while a call stands: re-INVITE and UPDATE, in both directions (RFC 3261 section 14, RFC 3311).

Only one of ours is under way at a time; theirs meets 491 meanwhile, and ours is tried again after one.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from jackfield.phone.errand import Errand
from jackfield.phone.events import Change, Replied
from jackfield.phone.message import Message
from jackfield.phone.negotiation import NoCommonCodec
from jackfield.phone.sdp import Unusable
from jackfield.phone.state import State
from jackfield.phone.transaction import ServerTransaction

if TYPE_CHECKING:
    from jackfield.phone.leg import Leg


class Changing:
    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self._errand: Errand | None = None
        self._again: tuple[float, Change] | None = None

    @property
    def deadline(self) -> float | None:
        return self._again[0] if self._again else None

    def tick(self) -> None:
        if self._again is not None and self._leg.agent.now >= self._again[0]:
            wish = self._again[1]
            self._again = None
            self.offer(wish)

    def stop(self) -> None:
        self._again = None

    def offer(self, wish: Change) -> None:
        """Offer anew inside the call (14.1, RFC 3311)."""
        leg, negotiation = self._leg, self._leg.negotiation
        before = negotiation.direction, negotiation.zero_address
        negotiation.direction, negotiation.zero_address = wish.direction, wish.zero_address
        body = negotiation.offer() if wish.offers else b""
        fields = [*leg.target_fields(), *leg.timer.fields_of_refresh(wish.method)]
        if body:
            fields.append(("Content-Type", "application/sdp"))

        def replied(response: Message | None) -> None:
            self._replied(wish, response, before)

        self._errand = leg.request(wish.method, fields, body, replied)

    def _replied(self, wish: Change, response: Message | None, before: tuple[str, bool]) -> None:
        leg, agent = self._leg, self._leg.agent
        status = response.status if response else 408
        first = self._errand is not None and not self._errand.under_way
        if response is not None and status < 300:
            self._take_answer(wish, response)
        elif status == 491:
            low, high = (0.0, 2.0) if leg.called.was_called else (2.1, 4.0)  # RFC 3261 14.1
            self._again = (agent.now + agent.rng.uniform(low, high), wish)
            return
        elif status in (408, 481):
            leg.bye()
            leg.end(f"our {wish.method} met {status}")
        else:
            negotiation = leg.negotiation
            negotiation.direction, negotiation.zero_address = before  # all stays as it was (14.1)
        if first:
            self._errand = None
            agent.emit(Replied(wish.ask, status, response))

    def _take_answer(self, wish: Change, response: Message) -> None:
        leg, body = self._leg, b""
        again = wish.method == "INVITE" and (response.to.tag, response.cseq.number) in leg.acks
        if not again:
            leg.dialog.retarget(response)
            leg.timer.settle(response, we_asked=True)
            body = leg.take_sdp_of_2xx(response, offered=wish.offers, needed=wish.method == "INVITE")
        if wish.method == "INVITE":
            leg.acknowledge(response, body)

    def take(self, request: Message, transaction: ServerTransaction) -> None:
        """Their re-INVITE or UPDATE (14.2, RFC 3311 5.2)."""
        leg, agent = self._leg, self._leg.agent
        if request.method == "INVITE":
            leg.accepted.implied_ack()
        if self._errand is not None and self._errand.under_way:
            self._refuse(request, transaction)
            return
        if request.method == "INVITE" and leg.state is not State.CONFIRMED:
            agent.complain("a re-INVITE before the dialog was confirmed (RFC 3261 14.1)")
            self._refuse(request, transaction)
            return
        if least := leg.timer.refuses(request):
            agent.respond(transaction, 422, fields=[("Min-SE", str(least))])
            return
        try:
            body = self._answer_to(request)
        except (Unusable, NoCommonCodec) as fault:
            leg.complain_of_sdp()
            agent.complain(f"{request.method}: {fault} (RFC 3264)")
            agent.respond(transaction, 488)
            return
        leg.dialog.retarget(request)
        fields = [*leg.target_fields(), *leg.timer.answer(request)]
        data = agent.respond(transaction, 200, fields=fields, body=body)
        leg.media_may_have_changed()
        if request.method == "INVITE":
            leg.accepted.resend(data, transaction, offered=not request.sdp)

    def _refuse(self, request: Message, transaction: ServerTransaction) -> None:
        """491; what the refused offer says still counts for its version."""
        if request.sdp:
            with contextlib.suppress(Unusable):
                self._leg.negotiation.glance(request.sdp)
        self._leg.agent.respond(transaction, 491)

    def _answer_to(self, request: Message) -> bytes:
        negotiation = self._leg.negotiation
        if request.sdp:
            return negotiation.answer(request.sdp)
        return negotiation.offer() if request.method == "INVITE" else b""
