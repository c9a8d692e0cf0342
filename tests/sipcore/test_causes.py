"""Statuses, Q.850 causes, Reasons, and which failure the caller hears."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.causes import (
    ANSWERED_ELSEWHERE,
    best,
    between_legs,
    cause_of_status,
    q850_cause_of,
    q850_reason,
    reasons_of,
    sip_reason,
    status_of_cause,
)
from sipcore.faults import Misuse
from sipcore.headers import Reason
from sipcore.message import Response

failures = st.integers(300, 699)


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (400, 41),
        (404, 1),
        (403, 21),
        (408, 102),
        (410, 22),
        (480, 18),
        (484, 28),
        (486, 17),
        (487, 16),
        (488, 65),
        (499, 41),
        (302, 127),
        (503, 41),
        (504, 102),
        (599, 41),
        (600, 17),
        (603, 21),
        (699, 21),
    ],
)
def test_a_status_has_a_cause(status: int, cause: int):
    assert cause_of_status(status) == cause


@pytest.mark.parametrize(
    ("cause", "status"),
    [
        (1, 404),
        (16, 480),
        (17, 486),
        (18, 408),
        (19, 480),
        (21, 403),
        (22, 410),
        (27, 502),
        (28, 484),
        (31, 480),
        (34, 503),
        (38, 503),
        (65, 488),
        (79, 501),
        (102, 504),
        (127, 500),
        (14, 480),
        (44, 503),
        (63, 503),
        (69, 501),
        (99, 500),
        (128, 500),
        (-1, 500),
    ],
)
def test_a_cause_has_a_status(cause: int, status: int):
    assert status_of_cause(cause) == status


@given(st.integers())
def test_every_cause_becomes_a_failure(cause: int):
    assert 400 <= status_of_cause(cause) <= 699


@given(failures)
def test_every_failure_has_a_cause_within_q850(status: int):
    assert 1 <= cause_of_status(status) <= 127


@pytest.mark.parametrize("status", [100, 180, 200, 299, 700])
def test_what_is_no_failure_has_neither_cause_nor_translation(status: int):
    with pytest.raises(Misuse):
        cause_of_status(status)
    with pytest.raises(Misuse):
        between_legs(status)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, 500),
        (407, 500),
        (420, 500),
        (422, 500),
        (481, 500),
        (491, 500),
        (503, 500),
        (505, 500),
        (302, 480),
        (487, 480),
        (415, 488),
        (404, 404),
        (408, 408),
        (480, 480),
        (486, 486),
        (488, 488),
        (502, 502),
        (504, 504),
        (600, 600),
        (603, 603),
        (607, 607),
    ],
)
def test_what_the_caller_hears_of_the_callees_failure(status: int, told: int):
    assert between_legs(status) == told


@given(failures)
def test_the_caller_never_sees_what_is_between_us_and_the_callee(status: int):
    told = between_legs(status)
    assert 400 <= told <= 699
    assert told not in {401, 407, 420, 421, 422, 423, 481, 487, 491, 503}
    assert between_legs(told) == told


@pytest.mark.parametrize(
    ("statuses", "chosen"),
    [
        ([], 408),
        ([404], 404),
        ([408, 486], 486),
        ([404, 480], 480),
        ([486, 603], 603),
        ([500, 404], 404),
        ([503, 408], 408),
        ([401, 404], 404),
        ([407, 504], 504),
        ([302, 500], 302),
        ([488, 486, 408], 486),
    ],
)
def test_the_best_of_several_failures(statuses: list[int], chosen: int):
    assert best(statuses) == chosen
    assert best(reversed(statuses)) == chosen


@given(st.lists(failures, min_size=1))
def test_the_best_is_one_of_them_and_a_6xx_wins(statuses: list[int]):
    chosen = best(statuses)
    assert chosen in statuses
    assert (chosen >= 600) == any(status >= 600 for status in statuses)


def test_reasons_are_written_and_read():
    message = Response(
        480,
        "Temporarily Unavailable",
        [sip_reason(486), q850_reason(17, "User busy"), ANSWERED_ELSEWHERE],
    )
    assert reasons_of(message) == (
        Reason("SIP", 486, "Busy Here"),
        Reason("Q.850", 17, "User busy"),
        Reason("SIP", 200, "Call completed elsewhere"),
    )
    assert q850_cause_of(message) == 17


@pytest.mark.parametrize("value", ["SIP;cause=486", "Q.850", "Q.850;cause=999", "Q.850;cause=x", ";;", '"'])
def test_a_message_without_a_cause_that_makes_sense_tells_none(value: str):
    assert q850_cause_of(Response(480, "", [("Reason", value)])) is None
