"""Client and server transactions of the phone (RFC 3261 section 17, RFC 6026), its own.

Each takes what arrived or was decided, and `tick(now)` when its `deadline` is here, and gives back the
bytes to send. Over TCP and TLS nothing is resent and the waits for stragglers are zero. A server
transaction also notices that a "retransmission" is not the same message.
"""

from __future__ import annotations

from dataclasses import dataclass

from jackfield.phone.message import Message

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Timers:
    """The three base times of RFC 3261 table 4, seconds."""

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0


class Resender:
    """Intervals T1, 2*T1, 4*T1, ..., at most `cap_s`, until 64*T1 after the start."""

    __slots__ = ("cap_s", "gives_up_at", "interval_s", "next_at")

    def __init__(self, timers: Timers, now: float, cap_s: float, reliable: bool) -> None:
        self.interval_s = timers.t1
        self.cap_s = cap_s
        self.next_at: float | None = None if reliable else now + timers.t1
        self.gives_up_at = now + 64 * timers.t1

    @property
    def deadline(self) -> float:
        return self.gives_up_at if self.next_at is None else min(self.next_at, self.gives_up_at)

    def due(self, now: float) -> bool:
        """Is it time to send again? Each yes doubles the interval."""
        if self.next_at is None or now < self.next_at:
            return False
        self.interval_s = min(2 * self.interval_s, self.cap_s)
        self.next_at += self.interval_s
        return True

    def at_cap(self) -> None:
        """A provisional came to a request that is no INVITE: from now on every T2 (17.1.2.2)."""
        self.interval_s = self.cap_s


class ClientTransaction:
    """One request under way. `over` when nothing more can come of it; `timed_out` when nobody answered."""

    def __init__(self, request: Message, dst: Address, timers: Timers, reliable: bool, now: float) -> None:
        self.request = request
        self.data = request.to_bytes()
        self.dst = dst
        self.final: Message | None = None
        self.provisional = False
        self.over = False
        self.timed_out = False
        self._timers = timers
        self._reliable = reliable
        self._invite = request.method == "INVITE"
        cap_s = 64 * timers.t1 if self._invite else timers.t2
        self._resend: Resender | None = Resender(timers, now, cap_s, reliable)
        self._lingers_until: float | None = None
        self._ack: bytes = b""
        self._is_cancelled = False

    @property
    def deadline(self) -> float | None:
        return self._resend.deadline if self._resend else self._lingers_until

    def tick(self, now: float) -> bytes:
        if self._lingers_until is not None and now >= self._lingers_until:
            self.over = True
        if self._resend is None:
            return b""
        if now >= self._resend.gives_up_at:
            self.over = self.timed_out = True
            return b""
        return self.data if self._resend.due(now) else b""

    def take(self, response: Message, now: float) -> tuple[bool, bytes]:
        """A response came: shall it go up, and what is sent at once (the ACK of a refusal, 17.1.1.3)."""
        if response.status < 200:
            return self._take_provisional()
        if self.final is not None and (self.final.status >= 300 or response.status >= 300):
            return False, self._ack
        again = self.final is not None
        self.final = response
        self._resend = None
        if self._invite and response.status < 300:
            self._lingers_until = now + 64 * self._timers.t1  # timer M, RFC 6026: other forks, and resent 2xx
            return True, b""
        if self._invite:
            self._ack = ack_of_refusal(self.request, response).to_bytes()
        linger_s = (32.0 if self._invite else self._timers.t4) if not self._reliable else 0.0
        self._lingers_until = now + linger_s
        return not again, self._ack

    def cancelled(self, now: float) -> None:
        """A CANCEL is out: without a final answer within 64*T1 the INVITE is over (9.1)."""
        self._is_cancelled = True
        self._resend = Resender(self._timers, now, self._timers.t2, reliable=True)

    def _take_provisional(self) -> tuple[bool, bytes]:
        if self.final is not None:
            return False, b""
        self.provisional = True
        if self._invite and not self._is_cancelled:
            self._resend = None  # an INVITE that is ringing has no timer B: the user's patience is the limit
        elif self._resend is not None and not self._invite:
            self._resend.at_cap()
        return True, b""


class ServerTransaction:
    """One request that came. `answer` sends a response and keeps it for those who ask again."""

    def __init__(self, request: Message, src: Address, timers: Timers, reliable: bool) -> None:
        self.request = request
        self.src = src
        self.last: bytes = b""
        self.status = 0
        self.over = False
        self.never_acked = False
        self.acked = False
        self._timers = timers
        self._reliable = reliable
        self._invite = request.method == "INVITE"
        self._resend: Resender | None = None
        self._lingers_until: float | None = None

    @property
    def deadline(self) -> float | None:
        return self._resend.deadline if self._resend else self._lingers_until

    def answer(self, response: Message, now: float) -> bytes:
        self.last, self.status = response.to_bytes(), response.status
        if self._invite and response.status >= 300:
            self._resend = Resender(self._timers, now, self._timers.t2, self._reliable)  # timers G, H
        elif response.status >= 200:
            self._lingers_until = now + (64 * self._timers.t1 if self._invite or not self._reliable else 0.0)
        return self.last

    def again(self, request: Message) -> tuple[bytes, bool]:
        """The request once more: what to say again (a 2xx is the dialog's to resend), and is it the same."""
        same = request.raw == self.request.raw
        resend = b"" if self._invite and 200 <= self.status < 300 else self.last
        return resend, same

    def ack(self, now: float) -> None:
        """The ACK of our 300-699 (timer I follows)."""
        self.acked = True
        self._resend = None
        self._lingers_until = now + (0.0 if self._reliable else self._timers.t4)

    def tick(self, now: float) -> bytes:
        if self._lingers_until is not None and now >= self._lingers_until:
            self.over = True
        if self._resend is None:
            return b""
        if now >= self._resend.gives_up_at:
            self.over = self.never_acked = True
            return b""
        return self.last if self._resend.due(now) else b""


def ack_of_refusal(invite: Message, response: Message) -> Message:
    """The ACK inside the INVITE transaction (RFC 3261 17.1.1.3)."""
    fields = [("Via", invite.all("via")[0]), ("From", invite.get("from")), ("To", response.get("to"))]
    fields += [("Call-ID", invite.call_id), ("CSeq", f"{invite.cseq.number} ACK"), ("Max-Forwards", "70")]
    fields += [("Route", route) for route in invite.all("route")]
    return Message(method="ACK", uri=invite.uri, fields=fields)
