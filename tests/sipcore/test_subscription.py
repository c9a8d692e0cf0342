"""The notifier: what it answers, when it tells, how it ends (RFC 6665 section 4.2), and REFER's use of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.events import Tick
from sipcore.faults import Misuse, PeerFault
from sipcore.message import Request
from sipcore.refer import read_sipfrag, refer_event, refer_notify, sipfrag, wants_subscription
from sipcore.subscription import (
    TABLE,
    Approve,
    End,
    Input,
    Limits,
    Notifier,
    Notify,
    NotifyAnswered,
    Output,
    Over,
    Publish,
    Respond,
    State,
    Subscribe,
    Trigger,
    granted_s,
)


def told(output: Output) -> tuple[str, bytes]:
    assert isinstance(output, Notify)
    return str(output.state), output.body


def active(body: bytes = b"idle") -> Notifier:
    """A notifier whose first NOTIFY was answered at 0."""
    notifier = Notifier(body=body)
    notifier.handle(Subscribe(600), 0.0)
    notifier.handle(NotifyAnswered(200), 0.0)
    return notifier


@pytest.mark.parametrize(
    ("asked_s", "granted"),
    [(None, 3600), (0, 0), (1, None), (59, None), (60, 60), (900, 900), (99999, 7200)],
)
def test_how_long_is_granted(asked_s: int | None, granted: int | None):
    assert granted_s(asked_s, Limits()) == granted


def test_an_hour_is_never_too_brief():
    assert granted_s(3600, Limits(min_expires_s=7200)) == 3600


def test_a_subscriber_is_told_at_once_and_when_there_is_news():
    notifier = Notifier(body=b"idle")
    response, notify = notifier.handle(Subscribe(600), 10.0)
    assert response == Respond(200, 600)
    assert told(notify) == ("active;expires=600", b"idle")
    assert notifier.handle(NotifyAnswered(200), 10.1) == []
    (notify,) = notifier.handle(Publish(b"ringing"), 70.0)
    assert told(notify) == ("active;expires=540", b"ringing")


def test_news_wait_for_the_answer_and_only_the_latest_are_told():
    notifier = Notifier(body=b"1")
    notifier.handle(Subscribe(600), 0.0)
    assert notifier.handle(Publish(b"2"), 1.0) == []
    assert notifier.handle(Publish(b"3"), 2.0) == []
    (notify,) = notifier.handle(NotifyAnswered(200), 3.0)
    assert told(notify) == ("active;expires=597", b"3")
    assert notifier.handle(NotifyAnswered(200), 4.0) == []


def test_who_may_not_know_yet_is_told_nothing_but_that():
    notifier = Notifier(allowed=False, body=b"secret")
    response, notify = notifier.handle(Subscribe(600), 0.0)
    assert (response, told(notify)) == (Respond(200, 600), ("pending;expires=600", b""))
    notifier.handle(NotifyAnswered(200), 0.1)
    assert notifier.handle(Publish(b"more"), 1.0) == []
    (notify,) = notifier.handle(Approve(), 2.0)
    assert told(notify) == ("active;expires=598", b"more")


@pytest.mark.parametrize(
    ("ending", "state"),
    [
        (End("rejected"), "terminated;reason=rejected"),
        (Subscribe(0), "terminated;reason=timeout"),
    ],
)
def test_who_was_never_allowed_learns_nothing_at_the_end(ending: Input, state: str):
    notifier = Notifier(allowed=False, body=b"secret")
    notifier.handle(Subscribe(600), 0.0)
    notifier.handle(NotifyAnswered(200), 0.1)
    assert told(notifier.handle(ending, 1.0)[-1]) == (state, b"")


def test_a_refresh_starts_the_time_anew_and_is_told_all():
    notifier = active()
    response, notify = notifier.handle(Subscribe(300), 100.0)
    assert (response, told(notify)) == (Respond(200, 300), ("active;expires=300", b"idle"))
    assert notifier.next_deadline() == 400.0


def test_unsubscribing_ends_with_a_last_notify():
    notifier = active()
    response, notify = notifier.handle(Subscribe(0), 100.0)
    assert (response, told(notify)) == (Respond(200, 0), ("terminated;reason=timeout", b"idle"))
    assert notifier.next_deadline() is None
    assert notifier.handle(NotifyAnswered(200), 101.0) == [Over()]
    assert notifier.handle(Subscribe(600), 102.0) == [Respond(481)]


def test_a_fetch_is_told_once():
    notifier = Notifier(body=b"idle")
    response, notify = notifier.handle(Subscribe(0), 0.0)
    assert (response, told(notify)) == (Respond(200, 0), ("terminated;reason=timeout", b"idle"))
    assert notifier.handle(NotifyAnswered(200), 1.0) == [Over()]


def test_a_fetch_by_who_may_not_know_brings_nothing():
    notifier = Notifier(allowed=False, body=b"secret")
    assert told(notifier.handle(Subscribe(0), 0.0)[1]) == ("terminated;reason=timeout", b"")


def test_what_is_not_refreshed_expires():
    notifier = active()
    assert notifier.next_deadline() == 600.0
    assert notifier.handle(Tick(), 599.9) == []
    (notify,) = notifier.handle(Tick(), 600.0)
    assert told(notify) == ("terminated;reason=timeout", b"idle")
    assert notifier.handle(NotifyAnswered(200), 600.1) == [Over()]


def test_a_refresh_that_comes_too_late_finds_nothing():
    notify, response = reversed(active().handle(Subscribe(600), 600.0))
    assert response == Respond(481)
    assert told(notify)[0] == "terminated;reason=timeout"


@pytest.mark.parametrize("status", [408, 481, 489, 404, 604])
def test_a_subscriber_that_is_gone_ends_it(status: int):
    notifier = Notifier()
    notifier.handle(Subscribe(600), 0.0)
    notifier.handle(Publish(b"news"), 0.1)
    assert notifier.handle(NotifyAnswered(status), 1.0) == [Over()]
    assert notifier.next_deadline() is None


@pytest.mark.parametrize("status", [200, 202, 500, 503])
def test_a_notify_that_merely_failed_does_not(status: int):
    notifier = Notifier()
    notifier.handle(Subscribe(600), 0.0)
    assert notifier.handle(NotifyAnswered(status), 1.0) == []
    assert notifier.state is State.ACTIVE


def test_an_end_while_a_notify_is_under_way_is_told_afterwards():
    notifier = Notifier(body=b"1")
    notifier.handle(Subscribe(600), 0.0)
    assert notifier.handle(End("probation", b"last", retry_after_s=30), 0.5) == []
    (notify,) = notifier.handle(NotifyAnswered(200), 1.0)
    assert told(notify) == ("terminated;reason=probation;retry-after=30", b"last")
    assert notifier.handle(End("noresource"), 1.5) == []
    assert notifier.handle(NotifyAnswered(200), 2.0) == [Over()]


def test_an_answer_to_no_notify_is_our_mistake():
    with pytest.raises(Misuse):
        active().handle(NotifyAnswered(200), 1.0)


def test_every_trigger_of_the_peer_is_listed_for_every_state():
    peers = [Trigger.SUBSCRIBE, Trigger.UNSUBSCRIBE]
    assert {(state, trigger) for state in State for trigger in peers} <= TABLE.keys()


steps = st.one_of(
    st.builds(Subscribe, st.sampled_from([0, 60, 600])),
    st.just(Approve()),
    st.builds(Publish, st.binary(max_size=2)),
    st.just(Tick()),
    st.none(),
)


@given(st.booleans(), st.lists(st.tuples(steps, st.floats(0, 400)), max_size=20))
def test_one_notify_at_a_time_and_one_end(allowed: bool, script: list[tuple[Input | None, float]]):
    """A step of None answers the NOTIFY that is under way."""
    notifier = Notifier(allowed=allowed)
    now, under_way, overs = 0.0, 0, 0
    outputs = notifier.handle(Subscribe(600), now)
    for step, pause_s in script:
        under_way += sum(isinstance(each, Notify) for each in outputs)
        overs += outputs.count(Over())
        assert under_way <= 1
        assert overs == (notifier.state is State.OVER)
        now += pause_s
        input = step or (Tick(), NotifyAnswered(200))[under_way]
        under_way -= isinstance(input, NotifyAnswered)
        outputs = notifier.handle(input, now)


# ---------------------------------------------------------------- REFER


def test_a_refer_is_told_of_until_the_final_response():
    notifier = Notifier(body=sipfrag(100))
    (notify,) = notifier.handle(Subscribe(60, implicit=True), 0.0)
    assert told(notify) == ("active;expires=60", b"SIP/2.0 100 Trying\r\n")
    notifier.handle(NotifyAnswered(200), 0.1)
    (notify,) = notifier.handle(refer_notify(180), 1.0)
    assert told(notify) == ("active;expires=59", b"SIP/2.0 180 Ringing\r\n")
    notifier.handle(NotifyAnswered(200), 1.1)
    (notify,) = notifier.handle(refer_notify(486, "Busy"), 5.0)
    assert told(notify) == ("terminated;reason=noresource", b"SIP/2.0 486 Busy\r\n")


def test_sipfrags_are_read():
    assert read_sipfrag(sipfrag(180)) == (180, "Ringing")
    assert read_sipfrag(b"SIP/2.0 200") == (200, "")
    assert read_sipfrag(b"SIP/2.0 603 Decline\r\nTo: x\r\n") == (603, "Decline")


@pytest.mark.parametrize(
    "body", [b"", b"INVITE sip:x SIP/2.0\r\n", b"SIP/2.0 99 x", b"SIP/2.0 2000 x", b"\xff"]
)
def test_what_is_no_sipfrag_is_the_peers_fault(body: bytes):
    with pytest.raises(PeerFault):
        read_sipfrag(body)


@pytest.mark.parametrize(
    ("value", "wanted"), [(None, True), ("true", True), ("false", False), ("False ;x", False), ("", True)]
)
def test_a_refer_may_ask_for_no_subscription(value: str | None, wanted: bool):
    headers = [("Refer-Sub", each) for each in (value,) if each is not None]
    assert wants_subscription(Request("REFER", "sip:x", headers)) is wanted


def test_later_refers_of_a_dialog_are_told_apart():
    assert (refer_event(7, first=True), refer_event(8, first=False)) == ("refer", "refer;id=8")
