"""The caller's half of a call: INVITE, provisionals, CANCEL, the first 2xx (RFC 3261 13.2, 9.1, RFC 3262)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackfield.phone.dialog import Dialog
from jackfield.phone.errand import Errand
from jackfield.phone.events import Dial, Fields, Progressed
from jackfield.phone.message import Message
from jackfield.phone.negotiation import NoCommonCodec
from jackfield.phone.sdp import Unusable
from jackfield.phone.state import State

if TYPE_CHECKING:
    from jackfield.phone.leg import Leg


class Calling:
    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self._errand: Errand | None = None
        self._wish: Dial | None = None
        self._cancel_fields: Fields | None = None
        self._cancel_sent = False
        self._answered_early = False
        self._rseq: dict[str, int] = {}

    def dial(self, wish: Dial, least_session_s: int = 0) -> None:
        """Send the INVITE (13.2.1)."""
        leg, agent = self._leg, self._leg.agent
        self._wish = wish
        uri = agent.uri_of(wish.target)
        if not least_session_s:
            call_id = f"{agent.token(96)}@{agent.local[0]}"
            leg.dialog = Dialog(call_id, agent.address_of_record, f"<{uri}>", agent.token(), target=uri)
        fields = [*leg.dialog.fields(), *leg.target_fields(), *leg.timer.fields_of_invite(least_session_s)]
        if agent.account.prack == "required":
            fields.append(("Require", "100rel"))
        fields += wish.fields
        body = b""
        if wish.offers:
            body = leg.negotiation.offer()
            fields.append(("Content-Type", "application/sdp"))
        where = agent.account.server or agent.where(uri)
        self._errand = Errand(
            "INVITE", uri, where, fields, leg.dialog.next_seq, self._replied, self._provisional, body
        )
        agent.launch(self._errand)

    def cancel(self, fields: Fields) -> None:
        """CANCEL now, or as soon as a provisional allows it (9.1)."""
        self._cancel_fields = fields
        errand = self._errand
        if errand is not None:
            errand.given_up = True
        if errand is not None and errand.transaction is not None and errand.transaction.provisional:
            self._send_cancel()

    def _send_cancel(self) -> None:
        if not self._cancel_sent and self._errand is not None and self._errand.under_way:
            self._cancel_sent = True
            self._leg.agent.cancel(self._errand, self._cancel_fields or ())

    def _provisional(self, response: Message) -> None:
        leg, agent = self._leg, self._leg.agent
        if self._cancel_fields is not None:
            self._send_cancel()
        if response.status == 100:
            return
        self._check_tag(response)
        leg.peer_allows |= response.options("allow")
        if response.to.tag:
            leg.dialog.learn(response)
        if "100rel" in response.options("require") and response.number("rseq") is not None:
            self._acknowledge(response)
        elif response.sdp and self._wish and self._wish.offers:
            self._take_early_answer(response)
        agent.emit(Progressed(leg.id, response))

    def _check_tag(self, response: Message) -> None:
        leg = self._leg
        before = leg.dialog.remote_tag
        if before and response.to.tag and response.to.tag != before and not leg.agent.account.forks_allowed:
            self._leg.agent.complain(
                f"the To tag {before} became {response.to.tag} with {response.status} (RFC 3261 12.1)"
            )

    def _acknowledge(self, response: Message) -> None:
        """PRACK a reliable provisional, in order and once (RFC 3262 4)."""
        leg, agent = self._leg, self._leg.agent
        number, tag = response.number("rseq") or 0, response.to.tag
        last = self._rseq.get(tag)
        if last is not None and number <= last:
            return  # resent: our PRACK is being resent as well
        if last is not None and number != last + 1:
            agent.complain(f"RSeq went from {last} to {number} (RFC 3262 3)")
            return
        self._rseq[tag] = number
        body = b""
        if response.sdp and self._wish and self._wish.offers:
            self._take_early_answer(response)
        elif response.sdp:
            body = self._answer_early_offer(response)
        kind = [("Content-Type", "application/sdp")] if body else []
        rack = ("RAck", f"{number} {response.get('cseq')}")
        leg.request("PRACK", [rack, *kind], body, self._pracked)

    def _pracked(self, response: Message | None) -> None:
        if response is None or response.status >= 300:
            status = response.status if response else "no answer"
            self._leg.agent.complain(f"our PRACK met {status} (RFC 3262 3)")

    def _answer_early_offer(self, response: Message) -> bytes:
        leg = self._leg
        try:
            answer = leg.negotiation.answer(response.sdp)
            self._answered_early = True
        except (Unusable, NoCommonCodec) as fault:
            leg.agent.complain(f"{response.status}: {fault} (RFC 3264)")
            return b""
        leg.media_may_have_changed()
        return answer

    def _take_early_answer(self, response: Message) -> None:
        leg = self._leg
        try:
            if self._answered_early:
                leg.negotiation.again(response.sdp)
            else:
                leg.negotiation.take_answer(response.sdp)
                self._answered_early = True
        except Unusable as fault:
            leg.agent.complain(f"{response.status}: {fault} (RFC 3264)")
        leg.media_may_have_changed()

    def _replied(self, response: Message | None) -> None:
        leg = self._leg
        if response is None:
            leg.fail(408, None)
        elif response.status == 422 and self._wish and (response.number("min-se") or 0) > 0:
            self.dial(self._wish, response.number("min-se") or 0)
        elif response.status >= 300:
            leg.fail(response.status, response)
        elif leg.state is State.CALLING:
            self._answered(response)
        else:
            self._answered_again(response)

    def _answered(self, response: Message) -> None:
        """The first 2xx (13.2.2.4)."""
        leg = self._leg
        self._check_tag(response)
        leg.peer_allows |= response.options("allow")
        leg.dialog.learn(response)
        body = b""
        if self._answered_early:
            if response.sdp and self._wish and self._wish.offers:
                leg.negotiation.again(response.sdp)
            leg.media_may_have_changed()
        else:
            offered = bool(self._wish and self._wish.offers)
            body = leg.take_sdp_of_2xx(response, offered=offered, needed=True)
        leg.timer.settle(response, we_asked=bool(leg.agent.account.session_expires_s))
        leg.acknowledge(response, body)
        if self._cancel_fields is not None:  # our CANCEL and their 200 have crossed
            leg.bye(self._cancel_fields)
            leg.end("we hung up while they answered")
        else:
            leg.confirm(response)

    def _answered_again(self, response: Message) -> None:
        """The same 2xx resent: ACK again. Another fork's: ACK, then BYE (13.2.2.4)."""
        leg, agent = self._leg, self._leg.agent
        if (response.to.tag, response.cseq.number) in leg.acks:
            leg.acknowledge(response, b"")
            return
        if not agent.account.forks_allowed:
            agent.complain("a second 2xx with another To tag (RFC 3261 13.2.2.4)")
        fork = Dialog(
            leg.dialog.call_id, leg.dialog.local, leg.dialog.remote, leg.dialog.local_tag,
            local_seq=leg.dialog.local_seq,
        )  # fmt: skip
        fork.learn(response)
        where = agent.where(fork.target, fork.routes)
        data = agent.send_ack(fork.target, where, fork.fields(), response.cseq.number, b"")
        leg.acks[response.to.tag, response.cseq.number] = (response, data)
        agent.launch(Errand("BYE", fork.target, where, fork.fields(), fork.next_seq, lambda _: None))
