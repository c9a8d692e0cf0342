"""The subscriber's side of one subscription (RFC 6665 section 4.1).

Knows when to subscribe again and when it is over; what NOTIFYs say is the caller's to read. The other
side is `subscription.py`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from sipcore.events import Tick
from sipcore.faults import Misuse
from sipcore.headers import SubscriptionState
from sipcore.subscription import GONE

MAX_EXPIRES_S = 86_400
"""A notifier that grants or demands more is taken for this."""
RETRY_S = 60
"""When to try again where the notifier leaves it to us."""

# ---------------------------------------------------------------- in and out


class Start(msgspec.Struct, frozen=True, gc=False):
    """Subscribe for this long; 0 only fetches what is now."""

    expires_s: int


class Stop(msgspec.Struct, frozen=True, gc=False):
    """Unsubscribe."""


class Answered(msgspec.Struct, frozen=True, gc=False):
    """The final answer to our SUBSCRIBE; 408 when none came. `expires_s`: Expires, or a 423's Min-Expires."""

    status: int
    expires_s: int | None = None


class Notified(msgspec.Struct, frozen=True, gc=False):
    """A NOTIFY came in with this Subscription-State."""

    state: SubscriptionState


class SendSubscribe(msgspec.Struct, frozen=True, gc=False):
    """Send a SUBSCRIBE, inside the dialog once there is one."""

    expires_s: int


class AnswerNotify(msgspec.Struct, frozen=True, gc=False):
    """Answer the NOTIFY: 200, and its body counts; or 481, and it does not."""

    status: int


class Over(msgspec.Struct, frozen=True, gc=False):
    """The subscription is gone, said once. `retry_s`: when to subscribe anew; None: there is no use."""

    reason: str
    retry_s: int | None


Input = Start | Stop | Answered | Notified | Tick
Output = SendSubscribe | AnswerNotify | Over

# ---------------------------------------------------------------- the table


class State(enum.Enum):
    INIT = "nothing sent"
    NOTIFY_WAIT = "the first NOTIFY is awaited"
    FETCHING = "the only NOTIFY is awaited"
    LEAVING = "the first NOTIFY is awaited, to unsubscribe then"
    PENDING = "we may not know yet"
    ACTIVE = "we are told"
    ENDING = "unsubscribed, the last NOTIFY is awaited"
    TERMINATED = "gone"


class Trigger(enum.Enum):
    START = "subscribe"
    FETCH = "ask once"
    STOP = "unsubscribe"
    ACCEPTED = "2xx to a SUBSCRIBE"
    REFUSED = "an answer that ends it"
    NOTIFY_PENDING = "NOTIFY, pending"
    NOTIFY_ACTIVE = "NOTIFY, active or a state that we do not know"
    NOTIFY_TERMINATED = "NOTIFY, terminated"
    TIMER_N = "no NOTIFY within 64*T1"
    REFRESH = "time to subscribe again"
    EXPIRED = "no refresh was accepted"


class Effect(enum.Enum):
    SUBSCRIBE = "send SUBSCRIBE"
    UNSUBSCRIBE = "send SUBSCRIBE with Expires 0"
    START_N = "start timer N"
    STOP_N = "stop timer N"
    TAKE = "answer the NOTIFY with 200"
    TURN_AWAY = "answer the NOTIFY with 481"
    REPORT = "it is over"


Step = tuple[State, tuple[Effect, ...]]
(INIT, NOTIFY_WAIT, FETCHING, LEAVING, PENDING, ACTIVE, ENDING, TERMINATED) = State
(SUBSCRIBE, UNSUBSCRIBE, START_N, STOP_N, TAKE, TURN_AWAY, REPORT) = Effect
T = Trigger

TABLE: Mapping[tuple[State, Trigger], Step] = {
    (INIT, T.START): (NOTIFY_WAIT, (SUBSCRIBE, START_N)),
    (INIT, T.FETCH): (FETCHING, (SUBSCRIBE, START_N)),
    (NOTIFY_WAIT, T.STOP): (LEAVING, ()),  # a NOTIFY makes the dialog that the SUBSCRIBE needs, 4.4.1
    (NOTIFY_WAIT, T.ACCEPTED): (NOTIFY_WAIT, ()),
    (NOTIFY_WAIT, T.REFUSED): (TERMINATED, (REPORT,)),
    (NOTIFY_WAIT, T.NOTIFY_PENDING): (PENDING, (STOP_N, TAKE)),
    (NOTIFY_WAIT, T.NOTIFY_ACTIVE): (ACTIVE, (STOP_N, TAKE)),
    (NOTIFY_WAIT, T.NOTIFY_TERMINATED): (TERMINATED, (TAKE, REPORT)),
    (NOTIFY_WAIT, T.TIMER_N): (TERMINATED, (REPORT,)),
    (NOTIFY_WAIT, T.REFRESH): (NOTIFY_WAIT, ()),  # not before there is a dialog to do it in
    (NOTIFY_WAIT, T.EXPIRED): (TERMINATED, (REPORT,)),
    (FETCHING, T.STOP): (ENDING, ()),
    (FETCHING, T.ACCEPTED): (FETCHING, ()),
    (FETCHING, T.REFUSED): (TERMINATED, (REPORT,)),
    (FETCHING, T.NOTIFY_PENDING): (FETCHING, (TAKE,)),
    (FETCHING, T.NOTIFY_ACTIVE): (FETCHING, (TAKE,)),
    (FETCHING, T.NOTIFY_TERMINATED): (TERMINATED, (TAKE, REPORT)),
    (FETCHING, T.TIMER_N): (TERMINATED, (REPORT,)),
    (LEAVING, T.STOP): (LEAVING, ()),
    (LEAVING, T.ACCEPTED): (LEAVING, ()),
    (LEAVING, T.REFUSED): (TERMINATED, (REPORT,)),
    (LEAVING, T.NOTIFY_PENDING): (ENDING, (TAKE, UNSUBSCRIBE, START_N)),
    (LEAVING, T.NOTIFY_ACTIVE): (ENDING, (TAKE, UNSUBSCRIBE, START_N)),
    (LEAVING, T.NOTIFY_TERMINATED): (TERMINATED, (TAKE, REPORT)),
    (LEAVING, T.TIMER_N): (TERMINATED, (REPORT,)),
    (PENDING, T.STOP): (ENDING, (UNSUBSCRIBE, START_N)),
    (PENDING, T.ACCEPTED): (PENDING, ()),
    (PENDING, T.REFUSED): (TERMINATED, (REPORT,)),
    (PENDING, T.NOTIFY_PENDING): (PENDING, (TAKE,)),
    (PENDING, T.NOTIFY_ACTIVE): (ACTIVE, (TAKE,)),
    (PENDING, T.NOTIFY_TERMINATED): (TERMINATED, (TAKE, REPORT)),
    (PENDING, T.REFRESH): (PENDING, (SUBSCRIBE,)),
    (PENDING, T.EXPIRED): (TERMINATED, (REPORT,)),
    (ACTIVE, T.STOP): (ENDING, (UNSUBSCRIBE, START_N)),
    (ACTIVE, T.ACCEPTED): (ACTIVE, ()),
    (ACTIVE, T.REFUSED): (TERMINATED, (REPORT,)),
    (ACTIVE, T.NOTIFY_PENDING): (PENDING, (TAKE,)),
    (ACTIVE, T.NOTIFY_ACTIVE): (ACTIVE, (TAKE,)),
    (ACTIVE, T.NOTIFY_TERMINATED): (TERMINATED, (TAKE, REPORT)),
    (ACTIVE, T.REFRESH): (ACTIVE, (SUBSCRIBE,)),
    (ACTIVE, T.EXPIRED): (TERMINATED, (REPORT,)),
    (ENDING, T.STOP): (ENDING, ()),
    (ENDING, T.ACCEPTED): (ENDING, ()),
    (ENDING, T.REFUSED): (TERMINATED, (REPORT,)),
    (ENDING, T.NOTIFY_PENDING): (ENDING, (TAKE,)),
    (ENDING, T.NOTIFY_ACTIVE): (ENDING, (TAKE,)),
    (ENDING, T.NOTIFY_TERMINATED): (TERMINATED, (TAKE, REPORT)),
    (ENDING, T.TIMER_N): (TERMINATED, (REPORT,)),
    (TERMINATED, T.STOP): (TERMINATED, ()),
    (TERMINATED, T.ACCEPTED): (TERMINATED, ()),
    (TERMINATED, T.REFUSED): (TERMINATED, ()),
    (TERMINATED, T.NOTIFY_PENDING): (TERMINATED, (TURN_AWAY,)),
    (TERMINATED, T.NOTIFY_ACTIVE): (TERMINATED, (TURN_AWAY,)),
    (TERMINATED, T.NOTIFY_TERMINATED): (TERMINATED, (TURN_AWAY,)),
}

# RFC 6665 4.1.3: what the reason of the end means for another try.
_RETRY_S: Mapping[str, int | None] = {
    "deactivated": 0,
    "timeout": 0,
    "rejected": None,
    "noresource": None,
    "invariant": None,
}
_PASSING = frozenset({408, 480, 481, 500, 503, 504})
"""Refusals that may be over soon."""
_WANTED = frozenset({NOTIFY_WAIT, PENDING, ACTIVE})
_NOT_STOPPED = _WANTED | {FETCHING}


class Subscriber:
    """One subscription, from Start to Over."""

    __slots__ = ("_asked_s", "_expires_at", "_over", "_refresh_at", "_timer_n_at", "_timer_n_s", "state")

    def __init__(self, t1_s: float = 0.5) -> None:
        self.state = INIT
        self._timer_n_s = 64 * t1_s
        self._asked_s = 0
        self._over = Over("timeout", RETRY_S)
        self._timer_n_at: float | None = None
        self._refresh_at: float | None = None
        self._expires_at: float | None = None

    def next_deadline(self) -> float | None:
        running = [at for at in (self._timer_n_at, self._refresh_at, self._expires_at) if at is not None]
        return min(running, default=None)

    def handle(self, input: Input, now: float) -> list[Output]:
        out: list[Output] = []
        self._run_timers(now, out)
        match input:
            case Start(expires_s=expires_s):
                self._asked_s = expires_s
                self._step(T.START if expires_s else T.FETCH, now, out)
            case Stop():
                self._over = Over("unsubscribed", None)
                self._step(T.STOP, now, out)
            case Answered():
                self._answered(input, now, out)
            case Notified(state=state):
                self._notified(state, now, out)
            case Tick():
                pass
        return out

    def _run_timers(self, now: float, out: list[Output]) -> None:
        if self._timer_n_at is not None and now >= self._timer_n_at:
            self._step(T.TIMER_N, now, out)
        if self._expires_at is not None and now >= self._expires_at:
            self._step(T.EXPIRED, now, out)
        if self._refresh_at is not None and now >= self._refresh_at:
            self._refresh_at = None
            self._step(T.REFRESH, now, out)

    def _answered(self, answer: Answered, now: float, out: list[Output]) -> None:
        asks_for_s = answer.expires_s or 0
        if 200 <= answer.status < 300:
            self._lasts(self._asked_s if answer.expires_s is None else answer.expires_s, now)
            self._step(T.ACCEPTED, now, out)
        elif answer.status == 423 and self.state in _WANTED and self._asked_s < asks_for_s <= MAX_EXPIRES_S:
            self._asked_s = asks_for_s
            out.append(SendSubscribe(asks_for_s))
        elif answer.status in GONE or self.state not in (PENDING, ACTIVE):
            if self.state in _NOT_STOPPED:
                again_s = RETRY_S if answer.status in _PASSING else None
                self._over = Over(f"refused with {answer.status}", again_s)
            self._step(T.REFUSED, now, out)
        # Any other failure leaves the subscription as it was until it expires (4.1.2.2).

    def _notified(self, state: SubscriptionState, now: float, out: list[Output]) -> None:
        if state.state == "terminated":
            if self.state in _NOT_STOPPED:
                self._over = Over(state.reason or "terminated", self._again_s(state))
            self._step(T.NOTIFY_TERMINATED, now, out)
            return
        self._step(T.NOTIFY_PENDING if state.state == "pending" else T.NOTIFY_ACTIVE, now, out)
        if state.expires_s is not None:
            self._lasts(state.expires_s, now)
        elif self._expires_at is None:
            self._lasts(self._asked_s, now)

    def _again_s(self, state: SubscriptionState) -> int | None:
        if self.state is FETCHING:
            return None
        return _RETRY_S.get(state.reason, RETRY_S if state.retry_after_s is None else state.retry_after_s)

    def _lasts(self, expires_s: int, now: float) -> None:
        """Count the time from now, and refresh a minute or, if that is sooner, half of it before the end."""
        if self.state not in _WANTED:
            return
        expires_s = min(expires_s, MAX_EXPIRES_S)
        self._expires_at = now + expires_s
        self._refresh_at = now + max(expires_s - 60, expires_s / 2)

    def _step(self, trigger: Trigger, now: float, out: list[Output]) -> None:
        step = TABLE.get((self.state, trigger))
        if step is None:
            raise Misuse(f"{trigger.name} in {self.state.name}")
        self.state, effects = step
        if self.state in (LEAVING, ENDING, TERMINATED):
            self._refresh_at = self._expires_at = None
        if self.state is TERMINATED:
            self._timer_n_at = None
        for effect in effects:
            match effect:
                case Effect.SUBSCRIBE:
                    out.append(SendSubscribe(self._asked_s))
                case Effect.UNSUBSCRIBE:
                    out.append(SendSubscribe(0))
                case Effect.START_N:
                    self._timer_n_at = now + self._timer_n_s
                case Effect.STOP_N:
                    self._timer_n_at = None
                case Effect.TAKE:
                    out.append(AnswerNotify(200))
                case Effect.TURN_AWAY:
                    out.append(AnswerNotify(481))
                case Effect.REPORT:
                    out.append(self._over)
