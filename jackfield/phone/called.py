"""The callee's half of a call: ringing, reliable provisionals, answering, refusing, being cancelled.

RFC 3261 13.3 and 9.2, RFC 3262 section 3, RFC 3891 (Replaces).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackfield.phone.dialog import Dialog
from jackfield.phone.events import Invited, Progress, Refuse
from jackfield.phone.message import Message, read_params
from jackfield.phone.negotiation import NoCommonCodec
from jackfield.phone.sdp import Unusable
from jackfield.phone.state import State
from jackfield.phone.transaction import Resender, ServerTransaction

if TYPE_CHECKING:
    from jackfield.phone.leg import Leg


class Called:
    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self._transaction: ServerTransaction | None = None
        self._rseq = 0
        self._unacked: tuple[int, bytes, Resender] | None = None
        self._early_sdp = b""
        self._early_offer_open = False
        self._accept_after_prack = False
        self._replaces: int | None = None

    @property
    def was_called(self) -> bool:
        return self._transaction is not None

    @property
    def has_accepted(self) -> bool:
        """Our 200 is out or decided on, and its ACK not here."""
        out = self._transaction is not None and 200 <= self._transaction.status < 300
        return self._leg.state is State.RINGING and (out or self._accept_after_prack)

    @property
    def _invite(self) -> Message:
        assert self._transaction is not None, "this leg was not called"
        return self._transaction.request

    def invited(self, request: Message, transaction: ServerTransaction) -> None:
        leg, agent = self._leg, self._leg.agent
        self._transaction = transaction
        leg.dialog = Dialog.of_request(request, agent.token())
        leg.peer_allows |= request.options("allow")
        agent.respond(transaction, 100)
        if least := leg.timer.refuses(request):
            self.answer_with(422, fields=(("Min-SE", str(least)),))
            leg.end("the session interval is too small")
            return
        if request.get("replaces"):
            self._replaces = self._find_replaced(request)
            if self._replaces is None:
                agent.complain(f"Replaces names no call of ours: {request.get('replaces')} (RFC 3891 3)")
                self.answer_with(481)
                leg.end("the call to replace is not there")
                return
        agent.emit(Invited(leg.id, request, self._replaces))

    def _find_replaced(self, request: Message) -> int | None:
        call_id, _, params = request.get("replaces").partition(";")
        tags = read_params(";" + params)
        for other in self._leg.agent.legs.values():
            dialog = other.dialog
            if (dialog.call_id, dialog.local_tag, dialog.remote_tag) == (
                call_id.strip(),
                tags.get("to-tag"),
                tags.get("from-tag"),
            ):
                return other.id
        return None

    # ------------------------------------------------------------ answers

    def progress(self, wish: Progress) -> None:
        """Send a 101-199, reliably when asked and possible, always when the caller requires it."""
        leg, agent = self._leg, self._leg.agent
        if not self.is_open:
            return
        required = "100rel" in self._invite.options("require")
        can = required or "100rel" in self._invite.options("supported")
        reliable = required or (wish.reliable and can)
        fields = leg.target_fields()
        body = self._early_description(reliable) if wish.with_sdp else b""
        if not reliable:
            self._respond(wish.status, fields, body)
            return
        if self._unacked is not None:
            return  # the next one only after the PRACK of the first (RFC 3262 3)
        self._rseq = self._rseq + 1 if self._rseq else agent.rng.randint(1, 2**30)
        fields += [("Require", "100rel"), ("RSeq", str(self._rseq))]
        data = self._respond(wish.status, fields, body)
        cap_s = 64 * agent.timers.t1
        self._unacked = (self._rseq, data, Resender(agent.timers, agent.now, cap_s, reliable=False))

    def _early_description(self, reliable: bool) -> bytes:
        if self._early_sdp:
            return self._early_sdp
        leg = self._leg
        if not self._invite.sdp and not reliable:
            return b""  # an offer of ours needs a reliable provisional
        self._early_offer_open = not self._invite.sdp
        self._early_sdp = self._description()
        leg.media_may_have_changed()
        return self._early_sdp

    def _description(self) -> bytes:
        """Our answer to the INVITE's offer, or our own offer when it has none."""
        negotiation = self._leg.negotiation
        return negotiation.answer(self._invite.sdp) if self._invite.sdp else negotiation.offer()

    def accept(self) -> None:
        """200, after the PRACK that is still due when SDP hangs on it (RFC 3262 3)."""
        leg, agent = self._leg, self._leg.agent
        if not self.is_open:
            return
        if self._unacked is not None:
            self._accept_after_prack = True
            return
        offered = not self._invite.sdp and not self._early_sdp
        settled_reliably = bool(self._early_sdp and self._rseq)
        try:
            body = b"" if settled_reliably else self._early_sdp or self._description()
        except (Unusable, NoCommonCodec) as fault:
            agent.complain(f"INVITE: {fault} (RFC 3264)")
            self.answer_with(488)
            leg.end("no common codec")
            return
        fields = [*leg.target_fields(), *leg.timer.answer(self._invite)]
        assert self._transaction is not None
        data = self._respond(200, fields, body)
        leg.media_may_have_changed()
        leg.accepted.resend(data, self._transaction, offered=offered)
        if self._replaces is not None and self._replaces in agent.legs:
            agent.legs[self._replaces].hang_up()

    def refuse(self, wish: Refuse) -> None:
        if self.is_open:
            self.answer_with(wish.status, wish.reason, wish.fields)
            self._leg.end(f"we refused with {wish.status}")

    def answer_with(self, status: int, reason: str = "", fields: tuple[tuple[str, str], ...] = ()) -> None:
        """A final response other than a 2xx."""
        self._unacked = None
        self._respond(status, list(fields), b"", reason)

    def cancelled(self, cancel: Message, transaction: ServerTransaction) -> None:
        leg, agent = self._leg, self._leg.agent
        if self.is_open and agent.account.crosses_cancel:
            self.accept()
        agent.respond(transaction, 200, tag=leg.dialog.local_tag)
        if self.is_open:
            self.answer_with(487)
            leg.end("the caller gave up", cancel)

    # ------------------------------------------------------------ PRACK

    def take_prack(self, prack: Message, transaction: ServerTransaction) -> None:
        agent = self._leg.agent
        invite = self._invite if self._transaction else None
        expected = f"{self._rseq} {invite.get('cseq')}" if invite and self._unacked else ""
        if " ".join(prack.get("rack").split()) != expected:
            agent.complain(f"PRACK with RAck {prack.get('rack')!r}, {expected!r} is due (RFC 3262 3)")
            agent.respond(transaction, 481)
            return
        self._unacked = None
        body = self._take_prack_sdp(prack)
        agent.respond(transaction, 200, body=body)
        if self._accept_after_prack:
            self.accept()

    def _take_prack_sdp(self, prack: Message) -> bytes:
        leg = self._leg
        body = b""
        try:
            if prack.sdp and self._early_offer_open:
                leg.negotiation.take_answer(prack.sdp)
                self._early_offer_open = False
            elif prack.sdp:
                body = leg.negotiation.answer(prack.sdp)
            elif self._early_offer_open:
                leg.agent.complain("PRACK without an answer to our offer (RFC 3262 5)")
        except (Unusable, NoCommonCodec) as fault:
            leg.agent.complain(f"PRACK: {fault} (RFC 3264)")
        leg.media_may_have_changed()
        return body

    # ------------------------------------------------------------ time

    @property
    def deadline(self) -> float | None:
        return self._unacked[2].deadline if self._unacked else None

    def tick(self) -> None:
        if self._unacked is None or self._transaction is None:
            return
        agent = self._leg.agent
        _, data, resender = self._unacked
        if agent.now >= resender.gives_up_at:
            agent.complain("our reliable provisional was never acknowledged (RFC 3262 3)")
            self.answer_with(504)
            self._leg.end("our provisional was never acknowledged")
        elif resender.due(agent.now):
            agent.transmit(data, agent.back(self._transaction))

    @property
    def is_open(self) -> bool:
        """Can the INVITE still be answered?"""
        return self._transaction is not None and self._transaction.status < 200

    def _respond(self, status: int, fields: list[tuple[str, str]], body: bytes, reason: str = "") -> bytes:
        assert self._transaction is not None
        tag = self._leg.dialog.local_tag
        return self._leg.agent.respond(
            self._transaction, status, tag=tag, reason=reason, fields=fields, body=body
        )
