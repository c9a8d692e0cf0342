"""One call as this phone sees it, from INVITE to BYE (RFC 3261 sections 13 to 15, 3262, 3264, 3311, 4028).

The caller's half is in `calling.py`, the callee's in `called.py`; here is what both share: the dialog,
changes while the call stands (re-INVITE, UPDATE), session timers, requests inside, the end.
"""

from __future__ import annotations

import contextlib
import enum
from typing import TYPE_CHECKING

from jackfield.phone.called import Called
from jackfield.phone.calling import Calling
from jackfield.phone.dialog import Dialog
from jackfield.phone.errand import ALLOW, Errand, OnReply
from jackfield.phone.events import (
    Accept,
    Address,
    Ask,
    Asked,
    Change,
    Command,
    Confirmed,
    Dial,
    Ended,
    Failed,
    Fields,
    HangUp,
    MediaChanged,
    Progress,
    Refuse,
    Replied,
    UseRtp,
)
from jackfield.phone.message import Message
from jackfield.phone.negotiation import Negotiation, NoCommonCodec
from jackfield.phone.sdp import Codec, Unusable
from jackfield.phone.session_timer import SessionTimer
from jackfield.phone.transaction import Resender, ServerTransaction

if TYPE_CHECKING:
    from jackfield.phone.agent import Agent

FORGET_AFTER_S = 33.0
"""An ended leg stays that long, so that stragglers (a resent BYE, a late 2xx) still find it."""


class State(enum.Enum):
    CALLING = "our INVITE is out"
    RINGING = "their INVITE is here"
    CONFIRMED = "the call stands"
    ENDED = "the call is over"


class Leg:
    """The state of one call: commands through `command`, messages through `take_...`, time through `tick`."""

    def __init__(self, agent: Agent, leg_id: int) -> None:
        self.agent = agent
        self.id = leg_id
        self.state = State.CALLING
        self.dialog = Dialog("", "", "", "")
        self.negotiation = Negotiation(agent.rng, agent.local)
        self.timer = SessionTimer(self)
        self.calling = Calling(self)
        self.called = Called(self)
        self.invite_transaction: ServerTransaction | None = None
        """the first INVITE's, on the callee's side"""
        self.peer_allows: frozenset[str] = frozenset()
        self.acks: dict[tuple[str, int], tuple[Message, bytes]] = {}
        """the 2xx that were acknowledged, by To tag and CSeq, and with what"""
        self._change: Errand | None = None
        self._change_again: tuple[float, Change] | None = None
        self._resend_2xx: Resender | None = None
        self._the_2xx: tuple[bytes, ServerTransaction, bool] | None = None
        self._acked_seqs: set[int] = set()
        """CSeq numbers of their INVITEs before the newest: ACKs of those are stragglers"""
        self._bye_after_ack: Fields | None = None
        self._ended_at: float | None = None

    # ------------------------------------------------------------ commands

    def command(self, command: Command) -> None:
        match command:
            case UseRtp():
                self.use_rtp(command.rtp, command.codecs)
            case Progress():
                self.called.progress(command)
            case Accept():
                self.called.accept()
            case Refuse():
                self.called.refuse(command)
            case HangUp():
                self.hang_up(command.fields)
            case Change():
                self.change(command)
            case Ask():
                self.ask(command)
            case _:
                raise TypeError(f"{command} is not for a leg")

    def dial(self, wish: Dial) -> None:
        self.use_rtp(wish.rtp, wish.codecs)
        self.calling.dial(wish)

    def use_rtp(self, rtp: Address, codecs: tuple[Codec, ...]) -> None:
        self.negotiation = Negotiation(self.agent.rng, rtp, codecs)

    def hang_up(self, fields: Fields = ()) -> None:
        """CANCEL, BYE or 480, whatever the state asks for."""
        if self.state is State.CALLING:
            self.calling.cancel(fields)
        elif self.called.has_accepted:
            self._bye_after_ack = fields  # not before it (15): else the caller may not know the dialog yet
        elif self.state is State.RINGING:
            self.called.refuse(Refuse(self.id, 480))
        elif self.state is State.CONFIRMED:
            self.bye(fields)
            self.end("we hung up")

    def change(self, wish: Change) -> None:
        """Offer anew inside the call (14.1, RFC 3311)."""
        negotiation = self.negotiation
        before = negotiation.direction, negotiation.zero_address
        negotiation.direction, negotiation.zero_address = wish.direction, wish.zero_address
        body = negotiation.offer() if wish.offers else b""
        fields = [*self.target_fields(), *self.timer.fields_of_refresh(wish.method)]
        if body:
            fields.append(("Content-Type", "application/sdp"))

        def replied(response: Message | None) -> None:
            self._changed(wish, response, before)

        self._change = self.request(wish.method, fields, body, replied)

    def _changed(self, wish: Change, response: Message | None, before: tuple[str, bool]) -> None:
        status = response.status if response else 408
        first = self._change is not None and not self._change.under_way
        if response is not None and status < 300:
            self._take_change_answer(wish, response)
        elif status == 491:
            low, high = (2.1, 4.0) if not self.called.was_called else (0.0, 2.0)  # RFC 3261 14.1
            self._change_again = (self.agent.now + self.agent.rng.uniform(low, high), wish)
            return
        elif status in (408, 481):
            self.bye()
            self.end(f"our {wish.method} met {status}")
        else:
            self.negotiation.direction, self.negotiation.zero_address = before  # all stays as it was (14.1)
        if first:
            self._change = None
            self.agent.emit(Replied(wish.ask, status, response))

    def _take_change_answer(self, wish: Change, response: Message) -> None:
        body = b""
        again = wish.method == "INVITE" and (response.to.tag, response.cseq.number) in self.acks
        if not again:
            self.dialog.retarget(response)
            self.timer.settle(response, we_asked=True)
            body = self.take_sdp_of_2xx(response, offered=wish.offers, needed=wish.method == "INVITE")
        if wish.method == "INVITE":
            self.acknowledge(response, body)

    def ask(self, wish: Ask) -> None:
        fields = list(wish.fields)
        if wish.method in ("REFER", "NOTIFY", "SUBSCRIBE", "UPDATE"):
            fields.append(("Contact", f"<{self.agent.contact_uri}>"))

        def replied(response: Message | None) -> None:
            self.agent.emit(Replied(wish.ask, response.status if response else 408, response))

        self.request(wish.method, fields, wish.body, replied)

    # ------------------------------------------------------------ requests of ours

    def request(
        self, method: str, fields: Fields | list[tuple[str, str]], body: bytes, replied: OnReply
    ) -> Errand:
        dialog = self.dialog
        dst = self.agent.where(dialog.target, dialog.routes)
        whole = [*dialog.fields(), *fields]
        errand = Errand(method, dialog.target, dst, whole, dialog.next_seq, replied, body=body)
        self.agent.launch(errand)
        return errand

    def bye(self, fields: Fields = ()) -> None:
        self.request("BYE", fields, b"", lambda response: None)

    def acknowledge(self, response: Message, body: bytes) -> None:
        """ACK a 2xx; the same ACK again for the same 2xx (13.2.2.4)."""
        key = (response.to.tag, response.cseq.number)
        if key in self.acks:
            first, data = self.acks[key]
            if first.raw != response.raw:
                self.agent.complain("a 2xx was resent with other content (RFC 3261 13.3.1.4)")
            self.agent.transmit(data, self.agent.where(self.dialog.target, self.dialog.routes))
            return
        dialog = self.dialog
        dst = self.agent.where(dialog.target, dialog.routes)
        data = self.agent.send_ack(dialog.target, dst, dialog.fields(), response.cseq.number, body)
        self.acks[key] = (response, data)

    def take_sdp_of_2xx(self, response: Message, *, offered: bool, needed: bool) -> bytes:
        """Use the SDP of a 2xx: an answer, or an offer whose answer is given back for the ACK."""
        agent, negotiation = self.agent, self.negotiation
        try:
            if offered and response.sdp:
                negotiation.take_answer(response.sdp)
            elif response.sdp:
                return negotiation.answer(response.sdp)
            elif needed:
                agent.complain(f"{response.status} to {response.cseq.method} without SDP (RFC 3261 13.2.1)")
        except (Unusable, NoCommonCodec) as fault:
            agent.complain(f"{response.status} to {response.cseq.method}: {fault} (RFC 3264)")
        finally:
            self.media_may_have_changed()
        return b""

    # ------------------------------------------------------------ what comes in

    def invited(self, request: Message, transaction: ServerTransaction) -> None:
        self.state = State.RINGING
        self.invite_transaction = transaction
        self.called.invited(request, transaction)

    def cancelled(self, cancel: Message, transaction: ServerTransaction) -> None:
        self.called.cancelled(cancel, transaction)

    def take_request(self, request: Message, transaction: ServerTransaction) -> None:
        """A request inside the dialog (12.2.2)."""
        agent = self.agent
        before = self.dialog.remote_seq
        agent.complain(*self.dialog.take(request, agent.contact_uri))
        if before is not None and request.cseq.number < before:
            agent.respond(transaction, 500)
            return
        if self.state is State.ENDED:
            agent.respond(transaction, 481 if request.method != "BYE" else 200)
            return
        self.peer_allows |= request.options("allow")
        match request.method:
            case "BYE":
                self._take_bye(request, transaction)
            case "INVITE" | "UPDATE":
                self._take_change(request, transaction)
            case "PRACK":
                self.called.take_prack(request, transaction)
            case "REFER":
                contact = ("Contact", f"<{agent.contact_uri}>")
                agent.respond(transaction, 202, fields=[contact])
                agent.emit(Asked(self.id, request))
            case _:
                agent.respond(transaction, 200)
                agent.emit(Asked(self.id, request))

    def _take_bye(self, request: Message, transaction: ServerTransaction) -> None:
        self.agent.respond(transaction, 200)
        if self.state is State.RINGING:
            self.called.answer_with(487)
        self.end("the far side hung up", request)

    def _take_change(self, request: Message, transaction: ServerTransaction) -> None:
        """Their re-INVITE or UPDATE (14.2, RFC 3311 5.2)."""
        agent = self.agent
        if self._resend_2xx is not None and request.method == "INVITE":
            self._take_implied_ack()
        if self._change is not None and self._change.under_way:
            self._refuse_change(request, transaction)
            return
        if request.method == "INVITE" and self.state is not State.CONFIRMED:
            agent.complain("a re-INVITE before the dialog was confirmed (RFC 3261 14.1)")
            self._refuse_change(request, transaction)
            return
        refused = self.timer.refuses(request)
        if refused:
            agent.respond(transaction, 422, fields=[("Min-SE", str(refused))])
            return
        try:
            body = self._answer_to(request)
        except (Unusable, NoCommonCodec) as fault:
            self.complain_of_sdp()
            agent.complain(f"{request.method}: {fault} (RFC 3264)")
            agent.respond(transaction, 488)
            return
        self.dialog.retarget(request)
        fields = [*self.target_fields(), *self.timer.answer(request)]
        data = agent.respond(transaction, 200, fields=fields, body=body)
        self.media_may_have_changed()
        if request.method == "INVITE":
            self.resend_until_ack(data, transaction, offered=not request.sdp)

    def _take_implied_ack(self) -> None:
        """Their next INVITE is here and the ACK of the last is not: it was lost, or is late."""
        offered = self._the_2xx is not None and self._the_2xx[2]
        if not offered:
            self._resend_2xx = None
            if self.state is State.RINGING:
                self.confirm()

    def _refuse_change(self, request: Message, transaction: ServerTransaction) -> None:
        """491; what the refused offer says still counts for its version."""
        if request.sdp:
            with contextlib.suppress(Unusable):
                self.negotiation.glance(request.sdp)
        self.agent.respond(transaction, 491)

    def _answer_to(self, request: Message) -> bytes:
        if request.sdp:
            return self.negotiation.answer(request.sdp)
        return self.negotiation.offer() if request.method == "INVITE" else b""

    # ------------------------------------------------------------ our 2xx and its ACK

    def resend_until_ack(self, data: bytes, transaction: ServerTransaction, *, offered: bool) -> None:
        """A 2xx to INVITE is the dialog's to resend, over every transport (13.3.1.4)."""
        timers = self.agent.timers
        self._acked_seqs.update([self._the_2xx[1].request.cseq.number] if self._the_2xx else [])
        self._resend_2xx = Resender(timers, self.agent.now, timers.t2, reliable=False)
        self._the_2xx = (data, transaction, offered)

    def take_ack(self, ack: Message) -> None:
        agent = self.agent
        if self._the_2xx is None:
            agent.complain("ACK, and no answer of ours to acknowledge (RFC 3261 13.2.2.4)")
            return
        _, transaction, offered = self._the_2xx
        first = self._resend_2xx is not None
        if ack.cseq.number in self._acked_seqs:
            return
        if ack.cseq.number != transaction.request.cseq.number:
            number = transaction.request.cseq.number
            agent.complain(f"the ACK has CSeq {ack.cseq.number}, the INVITE {number} (RFC 3261 13.2.2.4)")
            return
        if not first:
            return
        self._resend_2xx = None
        agent.complain(*self.dialog.faults_of_addressing(ack, agent.contact_uri))
        if offered and self.state is not State.ENDED:
            self._take_answer_of_ack(ack)
        elif ack.sdp and not offered:
            agent.complain("the ACK has SDP, and we had not offered (RFC 3261 13.2.1)")
        if self.state is State.RINGING:
            self.confirm()
            if self._bye_after_ack is not None:
                self.hang_up(self._bye_after_ack)

    def _take_answer_of_ack(self, ack: Message) -> None:
        try:
            if not ack.sdp:
                raise Unusable("the ACK has no SDP, and we had offered")
            self.negotiation.take_answer(ack.sdp)
        except Unusable as fault:
            self.agent.complain(f"{fault} (RFC 3261 13.2.1)")
        self.media_may_have_changed()

    # ------------------------------------------------------------ states

    def confirm(self, response: Message | None = None) -> None:
        self.state = State.CONFIRMED
        self.agent.emit(Confirmed(self.id, response))

    def fail(self, status: int, response: Message | None) -> None:
        if self.state is not State.ENDED:
            self._close()
            self.agent.emit(Failed(self.id, status, response))

    def end(self, why: str, request: Message | None = None) -> None:
        if self.state is not State.ENDED:
            self._close()
            self.agent.emit(Ended(self.id, why, request))

    def _close(self) -> None:
        self.state = State.ENDED
        self.timer.stop()
        self._change_again = None
        self._ended_at = self.agent.now
        self.media_may_have_changed()

    @property
    def forgotten(self) -> bool:
        return self._ended_at is not None and self.agent.now >= self._ended_at + FORGET_AFTER_S

    def media_may_have_changed(self) -> None:
        """Tell of the media when they are settled, and of what was wrong with the descriptions."""
        self.complain_of_sdp()
        media = self.negotiation.media
        if media is not None and self.state is not State.ENDED:
            self.agent.emit(MediaChanged(self.id, media))

    def complain_of_sdp(self) -> None:
        self.agent.complain(*self.negotiation.faults)
        self.negotiation.faults.clear()

    # ------------------------------------------------------------ time

    @property
    def deadline(self) -> float | None:
        if self._ended_at is not None and self._resend_2xx is None:
            return self._ended_at + FORGET_AFTER_S
        again = self._change_again[0] if self._change_again else None
        resend = self._resend_2xx.deadline if self._resend_2xx else None
        times = [again, resend, self.timer.deadline, self.called.deadline]
        return min((time for time in times if time is not None), default=None)

    def tick(self) -> None:
        now = self.agent.now
        self.timer.tick()
        self.called.tick()
        if self._change_again is not None and now >= self._change_again[0]:
            wish = self._change_again[1]
            self._change_again = None
            self.change(wish)
        if self._resend_2xx is None or self._the_2xx is None:
            return
        data, transaction, _ = self._the_2xx
        if now >= self._resend_2xx.gives_up_at:
            self._resend_2xx = None
            self.agent.complain("our 200 to INVITE was never acknowledged (RFC 3261 13.3.1.4)")
            if self.state is not State.ENDED:
                self.bye()
                self.end("our answer was never acknowledged")
        elif self._resend_2xx.due(now):
            self.agent.transmit(data, self.agent.back(transaction))

    @property
    def supported(self) -> str:
        options = ["replaces", "timer"]
        return ", ".join(options if self.agent.account.prack == "off" else ["100rel", *options])

    def target_fields(self) -> list[tuple[str, str]]:
        """Contact, Allow and Supported, as every message that sets a target carries them."""
        contact = ("Contact", f"<{self.agent.contact_uri}>")
        return [contact, ("Allow", ALLOW), ("Supported", self.supported)]
