"""Our 2xx to an INVITE, resent until its ACK comes or 64*T1 have passed (RFC 3261 13.3.1.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackfield.phone.message import Message
from jackfield.phone.sdp import Unusable
from jackfield.phone.state import State
from jackfield.phone.transaction import Resender, ServerTransaction

if TYPE_CHECKING:
    from jackfield.phone.leg import Leg


class Accepted:
    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self._resender: Resender | None = None
        self._current: tuple[bytes, ServerTransaction, bool] | None = None
        """the newest 2xx, its INVITE's transaction, and whether it carried our offer"""
        self._acked_seqs: set[int] = set()
        """CSeq numbers of their INVITEs before the newest: ACKs of those are stragglers"""

    @property
    def deadline(self) -> float | None:
        return self._resender.deadline if self._resender else None

    def tick(self) -> None:
        leg, agent = self._leg, self._leg.agent
        if self._resender is None or self._current is None:
            return
        data, transaction, _ = self._current
        if agent.now >= self._resender.gives_up_at:
            self._resender = None
            agent.complain("our 200 to INVITE was never acknowledged (RFC 3261 13.3.1.4)")
            if leg.state is not State.ENDED:
                leg.bye()
                leg.end("our answer was never acknowledged")
        elif self._resender.due(agent.now):
            agent.transmit(data, agent.back(transaction))

    def resend(self, data: bytes, transaction: ServerTransaction, *, offered: bool) -> None:
        """A 2xx to INVITE is the dialog's to resend, over every transport (13.3.1.4)."""
        agent = self._leg.agent
        self._acked_seqs.update([self._current[1].request.cseq.number] if self._current else [])
        self._resender = Resender(agent.timers, agent.now, agent.timers.t2, reliable=False)
        self._current = (data, transaction, offered)

    def take_ack(self, ack: Message) -> None:
        leg, agent = self._leg, self._leg.agent
        if self._current is None:
            agent.complain("ACK, and no answer of ours to acknowledge (RFC 3261 13.2.2.4)")
            return
        _, transaction, offered = self._current
        if ack.cseq.number in self._acked_seqs:
            return
        if ack.cseq.number != transaction.request.cseq.number:
            number = transaction.request.cseq.number
            agent.complain(f"the ACK has CSeq {ack.cseq.number}, the INVITE {number} (RFC 3261 13.2.2.4)")
            return
        if self._resender is None:
            return
        self._resender = None
        agent.complain(*leg.dialog.faults_of_addressing(ack, agent.contact_uri))
        if offered and leg.state is not State.ENDED:
            self._take_answer_of_ack(ack)
        elif ack.sdp and not offered:
            agent.complain("the ACK has SDP, and we had not offered (RFC 3261 13.2.1)")
        if leg.state is State.RINGING:
            leg.confirm()

    def _take_answer_of_ack(self, ack: Message) -> None:
        try:
            if not ack.sdp:
                raise Unusable("the ACK has no SDP, and we had offered")
            self._leg.negotiation.take_answer(ack.sdp)
        except Unusable as fault:
            self._leg.agent.complain(f"{fault} (RFC 3261 13.2.1)")
        self._leg.media_may_have_changed()

    def implied_ack(self) -> None:
        """Their next INVITE is here and the ACK of the last is not: it was lost, or is late."""
        if self._resender is None or (self._current is not None and self._current[2]):
            return  # nothing is due, or their answer to our offer is, and cannot be implied
        self._resender = None
        if self._leg.state is State.RINGING:
            self._leg.confirm()
