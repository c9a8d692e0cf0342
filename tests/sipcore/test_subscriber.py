"""The subscriber: when it subscribes again, and when it is over (RFC 6665 section 4.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.events import Tick
from sipcore.faults import Misuse
from sipcore.headers import SubscriptionState
from sipcore.subscriber import (
    TABLE,
    Answered,
    AnswerNotify,
    Input,
    Notified,
    Over,
    SendSubscribe,
    Start,
    State,
    Stop,
    Subscriber,
    Trigger,
)

OK = AnswerNotify(200)


def notified(
    state: str, reason: str = "", expires_s: int | None = None, retry_s: int | None = None
) -> Notified:
    return Notified(SubscriptionState(state, reason, expires_s, retry_s))


def active() -> Subscriber:
    """Subscribed at 0 for 600 s."""
    subscriber = Subscriber()
    subscriber.handle(Start(600), 0.0)
    subscriber.handle(Answered(200, 600), 0.0)
    subscriber.handle(notified("active", expires_s=600), 0.0)
    return subscriber


def test_subscribing_waits_for_the_first_notify():
    subscriber = Subscriber()
    assert subscriber.handle(Start(600), 0.0) == [SendSubscribe(600)]
    assert subscriber.handle(Answered(200, 600), 0.1) == []
    assert subscriber.state is State.NOTIFY_WAIT
    assert subscriber.handle(notified("active", expires_s=600), 0.2) == [OK]
    assert subscriber.state is State.ACTIVE


def test_the_notify_may_come_before_the_answer():
    subscriber = Subscriber()
    subscriber.handle(Start(600), 0.0)
    assert subscriber.handle(notified("pending", expires_s=600), 0.1) == [OK]
    assert subscriber.handle(Answered(200, 600), 0.2) == []
    assert subscriber.state is State.PENDING
    assert subscriber.handle(notified("active", expires_s=500), 0.3) == [OK]
    assert subscriber.state is State.ACTIVE


def test_no_notify_within_timer_n_is_a_failure():
    subscriber = Subscriber()
    subscriber.handle(Start(600), 0.0)
    subscriber.handle(Answered(200, 600), 1.0)
    assert subscriber.next_deadline() == 32.0
    assert subscriber.handle(Tick(), 32.0) == [Over("timeout", 60)]
    assert subscriber.handle(notified("active"), 33.0) == [AnswerNotify(481)]


@pytest.mark.parametrize(("expires_s", "refresh_at"), [(600, 540.0), (100, 50.0), (3600, 3540.0)])
def test_it_is_refreshed_in_time(expires_s: int, refresh_at: float):
    subscriber = active()
    subscriber.handle(notified("active", expires_s=expires_s), 0.0)
    assert subscriber.next_deadline() == refresh_at
    assert subscriber.handle(Tick(), refresh_at) == [SendSubscribe(600)]
    assert subscriber.next_deadline() == expires_s
    subscriber.handle(Answered(200, 600), refresh_at)
    assert subscriber.next_deadline() == refresh_at + 540.0


def test_without_a_refresh_it_expires():
    subscriber = active()
    subscriber.handle(Tick(), 540.0)
    assert subscriber.handle(Answered(503), 541.0) == []
    assert subscriber.handle(Tick(), 600.0) == [Over("timeout", 60)]
    assert subscriber.next_deadline() is None


@pytest.mark.parametrize(("status", "retry_s"), [(481, 60), (408, 60), (489, None), (404, None)])
def test_some_refusals_of_a_refresh_end_it(status: int, retry_s: int | None):
    subscriber = active()
    subscriber.handle(Tick(), 540.0)
    assert subscriber.handle(Answered(status), 541.0) == [Over(f"refused with {status}", retry_s)]


@pytest.mark.parametrize(("status", "retry_s"), [(403, None), (489, None), (503, 60), (408, 60)])
def test_any_refusal_of_the_first_one_ends_it(status: int, retry_s: int | None):
    subscriber = Subscriber()
    subscriber.handle(Start(600), 0.0)
    assert subscriber.handle(Answered(status), 1.0) == [Over(f"refused with {status}", retry_s)]


def test_too_brief_is_asked_again_with_what_the_notifier_wants():
    subscriber = Subscriber()
    subscriber.handle(Start(60), 0.0)
    assert subscriber.handle(Answered(423, 300), 0.1) == [SendSubscribe(300)]
    assert subscriber.handle(Answered(423, 300), 0.2) == [Over("refused with 423", None)]


@pytest.mark.parametrize(
    ("state", "over"),
    [
        (notified("terminated", "deactivated"), Over("deactivated", 0)),
        (notified("terminated", "timeout"), Over("timeout", 0)),
        (notified("terminated", "rejected", retry_s=5), Over("rejected", None)),
        (notified("terminated", "noresource"), Over("noresource", None)),
        (notified("terminated", "probation", retry_s=300), Over("probation", 300)),
        (notified("terminated", "giveup"), Over("giveup", 60)),
        (notified("terminated"), Over("terminated", 60)),
    ],
)
def test_how_it_ended_says_whether_to_try_again(state: Notified, over: Over):
    assert active().handle(state, 10.0) == [OK, over]


def test_unsubscribing_waits_for_the_last_notify():
    subscriber = active()
    assert subscriber.handle(Stop(), 10.0) == [SendSubscribe(0)]
    assert subscriber.next_deadline() == 42.0
    assert subscriber.handle(Answered(200, 0), 10.1) == []
    assert subscriber.handle(notified("active", expires_s=500), 10.2) == [OK]
    assert subscriber.handle(notified("terminated", "timeout"), 10.3) == [OK, Over("unsubscribed", None)]
    assert subscriber.next_deadline() is None


def test_a_last_notify_that_never_comes_is_not_waited_for():
    subscriber = active()
    subscriber.handle(Stop(), 10.0)
    assert subscriber.handle(Tick(), 42.0) == [Over("unsubscribed", None)]


def test_unsubscribing_before_there_is_a_dialog_waits_for_it():
    subscriber = Subscriber()
    subscriber.handle(Start(600), 0.0)
    assert subscriber.handle(Stop(), 1.0) == []
    assert subscriber.handle(notified("active", expires_s=600), 2.0) == [OK, SendSubscribe(0)]
    assert subscriber.handle(notified("terminated"), 3.0) == [OK, Over("unsubscribed", None)]


def test_a_fetch_ends_with_its_notify():
    subscriber = Subscriber()
    assert subscriber.handle(Start(0), 0.0) == [SendSubscribe(0)]
    assert subscriber.handle(Answered(200, 0), 0.1) == []
    assert subscriber.handle(notified("terminated", "timeout"), 0.2) == [OK, Over("timeout", None)]


def test_a_fetch_whose_notifier_does_not_end_it_is_ended_by_timer_n():
    subscriber = Subscriber()
    subscriber.handle(Start(0), 0.0)
    assert subscriber.handle(notified("active", expires_s=3600), 0.2) == [OK]
    assert subscriber.handle(Tick(), 32.0) == [Over("timeout", 60)]


def test_starting_twice_is_our_mistake():
    with pytest.raises(Misuse):
        active().handle(Start(600), 1.0)


THEIRS = (
    Trigger.ACCEPTED,
    Trigger.REFUSED,
    Trigger.NOTIFY_PENDING,
    Trigger.NOTIFY_ACTIVE,
    Trigger.NOTIFY_TERMINATED,
)


def test_whatever_the_peer_does_is_listed_for_every_state_that_has_sent_something():
    sent = set(State) - {State.INIT}
    assert {(state, trigger) for state in sent for trigger in THEIRS} <= TABLE.keys()


inputs = st.one_of(
    st.just(Stop()),
    st.just(Tick()),
    st.builds(
        Answered, st.sampled_from([200, 202, 403, 408, 423, 481, 503]), st.sampled_from([None, 0, 10, 600])
    ),
    st.builds(
        notified,
        st.sampled_from(["active", "pending", "terminated", "odd"]),
        st.sampled_from(["", "timeout", "odd"]),
        st.sampled_from([None, 0, 10, 10**9]),
        st.sampled_from([None, 5]),
    ),
)


@given(st.sampled_from([0, 60, 600]), st.lists(st.tuples(inputs, st.floats(0, 700)), max_size=12))
def test_it_is_over_once_and_never_waits_for_nothing(expires_s: int, script: list[tuple[Input, float]]):
    subscriber = Subscriber()
    now, overs = 0.0, 0
    subscriber.handle(Start(expires_s), now)
    for input, pause_s in script:
        now += pause_s
        overs += sum(isinstance(each, Over) for each in subscriber.handle(input, now))
        over = subscriber.state is State.TERMINATED
        assert overs == over
        assert (subscriber.next_deadline() is None) == over
