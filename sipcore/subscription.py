"""The notifier's side of one subscription (RFC 6665 section 4.2).

Knows when to say what, not what is said: event packages bring bodies. The dialog that SUBSCRIBE and
NOTIFY travel in is the stack's; the other side is `subscriber.py`, and REFER's use of both `refer.py`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from sipcore.events import Tick
from sipcore.faults import Misuse
from sipcore.headers import SubscriptionState

# ---------------------------------------------------------------- how long


class Limits(msgspec.Struct, frozen=True, gc=False):
    """How long a subscription of one package may last."""

    min_expires_s: int = 60
    default_expires_s: int = 3600
    max_expires_s: int = 7200


def granted_s(asked_s: int | None, limits: Limits) -> int | None:
    """What to grant a SUBSCRIBE that asks for this (RFC 6665 4.2.1.1); 0 is a fetch, or the end.

    None: too brief; answer 423 with Min-Expires. Asking for an hour or more is never too brief.
    """
    if asked_s is None:
        return limits.default_expires_s
    if 0 < asked_s < min(limits.min_expires_s, 3600):
        return None
    return min(asked_s, limits.max_expires_s)


GONE = frozenset({404, 405, 408, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604})
"""Answers to SUBSCRIBE or NOTIFY that end the subscription (RFC 6665 4.1.2.2, 4.2.2); 408 is no answer."""

# ---------------------------------------------------------------- in and out


class Subscribe(msgspec.Struct, frozen=True, gc=False):
    """A SUBSCRIBE came in, the first or a later one; `expires_s` is what `granted_s` said.

    `implicit`: another request made the subscription (REFER) and is answered by whoever took it.
    """

    expires_s: int
    implicit: bool = False


class Approve(msgspec.Struct, frozen=True, gc=False):
    """The subscriber may know."""


class Publish(msgspec.Struct, frozen=True, gc=False):
    """What there is to know is now this."""

    body: bytes


class End(msgspec.Struct, frozen=True, gc=False):
    """We end it: "rejected", "noresource", "deactivated", "probation", "giveup" (RFC 6665 4.1.3).

    `body` replaces what was published last; b"" leaves it.
    """

    reason: str
    body: bytes = b""
    retry_after_s: int | None = None


class NotifyAnswered(msgspec.Struct, frozen=True, gc=False):
    """The final answer to our last NOTIFY; 408 when none came."""

    status: int


class Respond(msgspec.Struct, frozen=True, gc=False):
    """Answer the SUBSCRIBE; `expires_s` goes into Expires of a 200."""

    status: int
    expires_s: int = 0


class Notify(msgspec.Struct, frozen=True, gc=False):
    """Send a NOTIFY; its answer comes back as NotifyAnswered. There is never more than one under way."""

    state: SubscriptionState
    body: bytes


class Over(msgspec.Struct, frozen=True, gc=False):
    """The subscription is gone, said once."""


Input = Subscribe | Approve | Publish | End | NotifyAnswered | Tick
Output = Respond | Notify | Over

# ---------------------------------------------------------------- the table


class State(enum.Enum):
    INIT = "no SUBSCRIBE yet"
    PENDING = "the subscriber may not know yet"
    ACTIVE = "the subscriber is told"
    TERMINATED = "the last NOTIFY is to be sent or answered"
    OVER = "gone"


class Trigger(enum.Enum):
    SUBSCRIBE = "with a time"
    UNSUBSCRIBE = "with Expires 0"
    APPROVE = "allowed to know"
    PUBLISH = "there is news"
    END = "we end it"
    EXPIRED = "not refreshed"
    NOTIFY_FAILED = "the subscriber is not there any more"
    ALL_TOLD = "the last NOTIFY was answered"


class Effect(enum.Enum):
    ACCEPT = "answer 200 and count the time from now"
    REFUSE = "answer 481"
    NOTIFY = "tell state and body, as soon as no other NOTIFY is under way"
    HIDE = "forget the body: who was never allowed to know is not told at the end"
    REPORT = "it is over"


Step = tuple[State, tuple[Effect, ...]]
(INIT, PENDING, ACTIVE, TERMINATED, OVER) = State
(ACCEPT, REFUSE, NOTIFY, HIDE, REPORT) = Effect
T = Trigger

TABLE: Mapping[tuple[State, Trigger], Step] = {
    (INIT, T.SUBSCRIBE): (PENDING, (ACCEPT, NOTIFY)),
    (INIT, T.UNSUBSCRIBE): (PENDING, (ACCEPT, NOTIFY)),  # a fetch, 4.4.3: ends below, allowed or not
    (INIT, T.APPROVE): (INIT, ()),
    (INIT, T.PUBLISH): (INIT, ()),
    (PENDING, T.SUBSCRIBE): (PENDING, (ACCEPT, NOTIFY)),
    (PENDING, T.UNSUBSCRIBE): (TERMINATED, (ACCEPT, HIDE, NOTIFY)),
    (PENDING, T.APPROVE): (ACTIVE, (NOTIFY,)),
    (PENDING, T.PUBLISH): (PENDING, ()),  # kept until it may be told
    (PENDING, T.END): (TERMINATED, (HIDE, NOTIFY)),
    (PENDING, T.EXPIRED): (TERMINATED, (HIDE, NOTIFY)),
    (PENDING, T.NOTIFY_FAILED): (OVER, (REPORT,)),
    (ACTIVE, T.SUBSCRIBE): (ACTIVE, (ACCEPT, NOTIFY)),  # a refresh is told all of it, 4.2.1.2
    (ACTIVE, T.UNSUBSCRIBE): (TERMINATED, (ACCEPT, NOTIFY)),
    (ACTIVE, T.APPROVE): (ACTIVE, ()),
    (ACTIVE, T.PUBLISH): (ACTIVE, (NOTIFY,)),
    (ACTIVE, T.END): (TERMINATED, (NOTIFY,)),
    (ACTIVE, T.EXPIRED): (TERMINATED, (NOTIFY,)),
    (ACTIVE, T.NOTIFY_FAILED): (OVER, (REPORT,)),
    (TERMINATED, T.SUBSCRIBE): (TERMINATED, (REFUSE,)),
    (TERMINATED, T.UNSUBSCRIBE): (TERMINATED, (REFUSE,)),
    (TERMINATED, T.APPROVE): (TERMINATED, ()),
    (TERMINATED, T.PUBLISH): (TERMINATED, ()),
    (TERMINATED, T.END): (TERMINATED, ()),
    (TERMINATED, T.NOTIFY_FAILED): (OVER, (REPORT,)),
    (TERMINATED, T.ALL_TOLD): (OVER, (REPORT,)),
    (OVER, T.SUBSCRIBE): (OVER, (REFUSE,)),
    (OVER, T.UNSUBSCRIBE): (OVER, (REFUSE,)),
    (OVER, T.APPROVE): (OVER, ()),
    (OVER, T.PUBLISH): (OVER, ()),
    (OVER, T.END): (OVER, ()),
}


class Notifier:
    """One subscription. News that comes while a NOTIFY is under way is told afterwards, the latest only."""

    __slots__ = ("_allowed", "_body", "_due", "_expires_at", "_in_flight", "_last_words", "state")

    def __init__(self, *, allowed: bool = True, body: bytes = b"") -> None:
        """`allowed`: the subscriber may know from the start; otherwise it is pending until Approve."""
        self.state = INIT
        self._allowed = allowed
        self._body = body
        self._expires_at: float | None = None
        self._last_words = SubscriptionState("terminated", "timeout")
        self._due = False
        self._in_flight = False

    def next_deadline(self) -> float | None:
        return self._expires_at

    def handle(self, input: Input, now: float) -> list[Output]:
        out: list[Output] = []
        if self._expires_at is not None and now >= self._expires_at:
            self._step(T.EXPIRED, out)
        match input:
            case Subscribe():
                self._subscribe(input, now, out)
            case Approve():
                self._allowed = True
                self._step(T.APPROVE, out)
            case Publish(body=body):
                self._body = body
                self._step(T.PUBLISH, out)
            case End():
                if self.state in (PENDING, ACTIVE):
                    self._body = input.body or self._body
                    self._last_words = SubscriptionState(
                        "terminated", input.reason, retry_after_s=input.retry_after_s
                    )
                self._step(T.END, out)
            case NotifyAnswered(status=status):
                self._answered(status, out)
            case Tick():
                pass
        self._flush(now, out)
        return out

    def _subscribe(self, subscribe: Subscribe, now: float, out: list[Output]) -> None:
        first = self.state is INIT
        if self.state in (INIT, PENDING, ACTIVE):
            self._expires_at = now + subscribe.expires_s
        self._step(T.SUBSCRIBE if subscribe.expires_s else T.UNSUBSCRIBE, out, subscribe)
        if first and self._allowed:
            self._step(T.APPROVE, out)
        if first and not subscribe.expires_s:
            self._step(T.EXPIRED, out)

    def _answered(self, status: int, out: list[Output]) -> None:
        if not self._in_flight:
            raise Misuse("an answer to no NOTIFY")
        self._in_flight = False
        if status in GONE:
            self._due = False
            self._step(T.NOTIFY_FAILED, out)
        elif self.state is TERMINATED and not self._due:
            self._step(T.ALL_TOLD, out)

    def _step(self, trigger: Trigger, out: list[Output], subscribe: Subscribe | None = None) -> None:
        step = TABLE.get((self.state, trigger))
        if step is None:
            raise Misuse(f"{trigger.name} in {self.state.name}")
        self.state, effects = step
        if self.state in (TERMINATED, OVER):
            self._expires_at = None
        for effect in effects:
            match effect:
                case Effect.ACCEPT if subscribe is not None and not subscribe.implicit:
                    out.append(Respond(200, subscribe.expires_s))
                case Effect.REFUSE:
                    out.append(Respond(481))
                case Effect.NOTIFY:
                    self._due = True
                case Effect.HIDE:
                    self._body = b""
                case Effect.REPORT:
                    out.append(Over())

    def _flush(self, now: float, out: list[Output]) -> None:
        if not self._due or self._in_flight:
            return
        self._due, self._in_flight = False, True
        if self.state is TERMINATED:
            out.append(Notify(self._last_words, self._body))
            return
        left_s = 0 if self._expires_at is None else max(0, round(self._expires_at - now))
        if self.state is PENDING:
            out.append(Notify(SubscriptionState("pending", expires_s=left_s), b""))
        else:
            out.append(Notify(SubscriptionState("active", expires_s=left_s), self._body))
