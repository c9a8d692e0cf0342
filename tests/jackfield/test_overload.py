"""When new calls are refused: a controller in discrete steps, tried against a server that is too small."""

from __future__ import annotations

import pytest

from jackfield.overload import MOST_SHED, Overload

STEP_S = Overload.SAMPLE_S
BACKLOG = 512 << 10
BYTES_A_CALL = 4_600
"""an INVITE and its retransmission, as the kernel accounts for them"""


def overload(calls_per_s: int = 100_000) -> Overload:
    return Overload(0.1, BACKLOG, calls_per_s)


@pytest.mark.parametrize(("lag_s", "backlog"), [(0.0, 0), (0.09, 0), (0.0, BACKLOG)])
def test_a_server_that_keeps_up_refuses_nobody(lag_s: float, backlog: int) -> None:
    measured = overload()
    assert [measured.sample(lag_s, backlog, 20, STEP_S) for _ in range(100)] == [0.0] * 100


@pytest.mark.parametrize(("lag_s", "backlog"), [(0.2, 0), (0.0, 2 * BACKLOG), (9.0, 0)])
def test_either_sign_of_overload_sheds_within_half_a_second_and_never_everything(
    lag_s: float, backlog: int
) -> None:
    measured = overload()
    shares = [measured.sample(lag_s, backlog, 20, STEP_S) for _ in range(10)]
    assert shares == sorted(shares)
    assert 0.2 < shares[-1] <= MOST_SHED


def test_it_is_over_when_the_load_is() -> None:
    measured = overload()
    for _ in range(20):
        measured.sample(1.0, 0, 20, STEP_S)
    shares = [measured.sample(0.0, 0, 20, STEP_S) for _ in range(100)]
    assert shares[-1] == 0.0


def test_a_limit_of_calls_a_second() -> None:
    measured = overload(calls_per_s=100)
    shares = [measured.sample(0.0, 0, 10, STEP_S) for _ in range(200)]
    assert shares[-1] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("offered", [1.2, 2.0, 4.0])
def test_a_server_at_several_times_its_rate_stays_busy_and_its_queue_bounded(offered: float) -> None:
    """A call costs 1, a refusal 0.05, of what the server can do; what it cannot do waits in the socket."""
    measured, backlog, done, longest = overload(), 0.0, 0.0, 0.0
    capacity = 25.0  # calls a step
    for _ in range(1200):
        backlog += offered * capacity
        share = measured.sample(0.0, int(backlog * BYTES_A_CALL), int(offered * capacity), STEP_S)
        handled = min(backlog, capacity / (share * 0.05 + 1 - share))
        backlog -= handled
        done += handled * (1 - share)
        longest = max(longest, backlog)
    assert done > 0.6 * capacity * 1200
    assert longest < 40 * capacity
