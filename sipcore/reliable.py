"""Reliable provisional responses (RFC 3262): their numbers, their resending, their acknowledgement.

Plain state of one INVITE for either role. Writing and sending is done by `incoming.py`, which resends,
and `outgoing.py`, which acknowledges.
"""

from __future__ import annotations

import enum

import msgspec

from sipcore.events import Answer, Progress
from sipcore.faults import PeerFault
from sipcore.headers import RAck, parse_number
from sipcore.message import Response

MAX_QUEUED = 16


class Unpracked(msgspec.Struct, gc=False):
    """The server's side: at most one response is on its way, the others wait behind it (section 3)."""

    rseq: int
    """of the one on its way, or of the last; the first is random below 2**31"""
    wire: bytes = b""
    """what is resent; b"" when nothing waits for a PRACK"""
    with_sdp: bool = False
    interval_s: float = 0.0
    give_up_at: float = 0.0
    queue: list[Progress] = []
    held: Answer | None = None
    """a 2xx must not overtake a description that is not acknowledged yet (section 3)"""

    def sent(self, wire: bytes, *, with_sdp: bool, t1: float, now: float) -> float:
        """Note the response that just went out; returns when it is due again."""
        self.wire, self.with_sdp = wire, with_sdp
        self.interval_s, self.give_up_at = t1, now + 64 * t1
        return now + t1

    def again(self, now: float) -> float | None:
        """When the resent response is due next: intervals double without a cap. None: 64*T1 are over."""
        if now >= self.give_up_at:
            return None
        self.interval_s *= 2
        return min(now + self.interval_s, self.give_up_at)

    def acknowledged(self, rack: RAck, cseq: int) -> bool:
        """True when this PRACK is for the response on its way, which is then settled."""
        if not self.wire or (rack.rseq, rack.cseq, rack.method) != (self.rseq, cseq, "INVITE"):
            return False
        self.wire = b""
        return True


class Order(enum.Enum):
    """The client's verdict on a reliable provisional response (section 4)."""

    NEXT = "acknowledge it and tell"
    AGAIN = "a copy: acknowledged before, the PRACK resends itself"
    EARLY = "one before it is missing: as if it had not come"


def rseq_of(response: Response) -> int | None:
    """The RSeq of a response that asks for a PRACK, None for all others. A broken number counts as none."""
    if response.get("rseq") is None or "100rel" not in response.require:
        return None
    try:
        return parse_number(response.get("rseq") or "", "RSeq", "RFC 3262 7.1") or None
    except PeerFault:
        return None


def order_of(rseq: int, last: int | None) -> Order:
    """Where `rseq` stands after `last`, the last one acknowledged in its early dialog."""
    if last is None or rseq == last + 1:
        return Order.NEXT
    return Order.AGAIN if rseq <= last else Order.EARLY
