"""One call as this phone sees it, from INVITE to BYE (RFC 3261 sections 13 to 15, 3262, 3264, 3311, 4028).

Here is what all of it shares: the dialog, the state, requests inside, the end. The caller's half is in
`calling.py`, the callee's in `called.py`, our 2xx until its ACK in `accepted.py`, re-INVITE and UPDATE
in `changing.py`, the session timer in `session_timer.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackfield.phone.accepted import Accepted
from jackfield.phone.called import Called
from jackfield.phone.calling import Calling
from jackfield.phone.changing import Changing
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
from jackfield.phone.state import State
from jackfield.phone.transaction import ServerTransaction

if TYPE_CHECKING:
    from jackfield.phone.agent import Agent

FORGET_AFTER_S = 33.0
"""An ended leg stays that long, so that stragglers (a resent BYE, a late 2xx) still find it."""


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
        self.changing = Changing(self)
        self.accepted = Accepted(self)
        self.invite_transaction: ServerTransaction | None = None
        """the first INVITE's, on the callee's side"""
        self.peer_allows: frozenset[str] = frozenset()
        self.acks: dict[tuple[str, int], tuple[Message, bytes]] = {}
        """the 2xx that were acknowledged, by To tag and CSeq, and with what"""
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
                self.changing.offer(command)
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

    def take_ack(self, ack: Message) -> None:
        self.accepted.take_ack(ack)

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
                self.changing.take(request, transaction)
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
        if self.called.is_open:
            self.called.answer_with(487)
        self.end("the far side hung up", request)

    # ------------------------------------------------------------ states

    def confirm(self, response: Message | None = None) -> None:
        self.state = State.CONFIRMED
        self.agent.emit(Confirmed(self.id, response))
        if self._bye_after_ack is not None:
            self.hang_up(self._bye_after_ack)

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
        self.changing.stop()
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
        forget = self._ended_at + FORGET_AFTER_S if self._ended_at is not None else None
        parts = (self.changing, self.accepted, self.timer, self.called)
        times = [forget, *(part.deadline for part in parts)]
        return min((time for time in times if time is not None), default=None)

    def tick(self) -> None:
        self.timer.tick()
        self.called.tick()
        self.changing.tick()
        self.accepted.tick()

    @property
    def supported(self) -> str:
        options = ["replaces", "timer"]
        return ", ".join(options if self.agent.account.prack == "off" else ["100rel", *options])

    def target_fields(self) -> list[tuple[str, str]]:
        """Contact, Allow and Supported, as every message that sets a target carries them."""
        contact = ("Contact", f"<{self.agent.contact_uri}>")
        return [contact, ("Allow", ALLOW), ("Supported", self.supported)]
