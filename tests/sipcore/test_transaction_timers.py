"""The queues that keep deadlines, and the delays that the RFC gives to each letter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.timers import Deadlines, Lane, Letter, Timers


@pytest.mark.parametrize(
    ("letter", "udp_s", "tcp_s"),
    [  # RFC 3261 table 4, RFC 6026 7.1 and 7.2; None: does not run
        (Letter.A, 0.5, None),
        (Letter.B, 32.0, 32.0),
        (Letter.D, 32.0, 0.0),
        (Letter.E, 0.5, None),
        (Letter.F, 32.0, 32.0),
        (Letter.G, 0.5, None),
        (Letter.H, 32.0, 32.0),
        (Letter.I, 5.0, 0.0),
        (Letter.J, 32.0, 0.0),
        (Letter.K, 5.0, 0.0),
        (Letter.L, 32.0, 32.0),
        (Letter.M, 32.0, 32.0),
    ],
)
def test_a_letter_has_the_delay_of_the_rfc(letter: Letter, udp_s: float | None, tcp_s: float | None) -> None:
    assert Timers().delays(reliable=False).get(letter) == udp_s
    assert Timers().delays(reliable=True).get(letter) == tcp_s


def test_every_letter_has_a_delay_on_some_transport() -> None:
    assert set(Timers().delays(reliable=False)) == set(Letter)


def test_delays_follow_t1_and_t4() -> None:
    delays = Timers(t1=1.0, t4=7.0).delays(reliable=False)
    assert (delays[Letter.A], delays[Letter.B], delays[Letter.D], delays[Letter.K]) == (1.0, 64.0, 64.0, 7.0)


def test_timer_d_is_never_shorter_than_32_seconds() -> None:
    assert Timers(t1=0.1).delays(reliable=False)[Letter.D] == 32.0


def test_deadlines_come_in_order_and_equal_ones_in_order_of_starting() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for key, when in [("late", 3.0), ("first", 1.0), ("second", 1.0), ("never", 2.0)]:
        deadlines.start(key, when)
    deadlines.stop("never")
    assert deadlines.next() == 1.0
    assert [deadlines.pop(5.0) for _ in range(4)] == ["first", "second", "late", None]
    assert deadlines.next() is None


def test_a_deadline_started_again_has_only_the_later_time() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.start("a", 1.0)
    deadlines.start("a", 2.0)
    assert deadlines.pop(1.5) is None
    assert (deadlines.pop(2.0), len(deadlines)) == ("a", 0)


def test_stopped_deadlines_do_not_pile_up() -> None:
    deadlines: Deadlines[int] = Deadlines()
    deadlines.start(-1, 1e9)
    for key in range(10_000):
        deadlines.start(key, 1000.0 + key)
        deadlines.stop(key)
    assert len(deadlines) == 1
    assert len(deadlines._heap) < 200


def test_a_deadline_started_again_and_again_does_not_pile_up() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for when in range(10_000):
        deadlines.start("session", 1000.0 + when)
    assert len(deadlines._heap) < 200


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.one_of(st.none(), st.integers(0, 9)), st.integers(0, 9)))
)
def test_deadlines_do_what_a_plain_dictionary_does(steps: list[tuple[str, int | None, int]]) -> None:
    deadlines: Deadlines[str] = Deadlines()
    model: dict[str, float] = {}
    for key, when, now in steps:
        match when:
            case None:
                deadlines.stop(key)
                model.pop(key, None)
            case _:
                deadlines.start(key, when)
                model[key] = when
        assert deadlines.next() == min(model.values(), default=None)
        earliest = min(model.values(), default=None)
        popped = deadlines.pop(now)
        assert (popped is not None) == (earliest is not None and earliest <= now)
        assert popped is None or model[popped] == earliest
        model.pop(popped or "", None)
        assert len(deadlines) == len(model)


def test_a_lane_gives_back_what_is_due_in_order() -> None:
    lane: Lane[str] = Lane()
    lane.start("a", 1.0)
    lane.start("b", 2.0)
    assert (lane.next(), lane.pop(0.9), lane.pop(1.0), lane.pop(1.0), len(lane)) == (1.0, None, "a", None, 1)
