"""Which UDP ports calls use (`pbx/ports.py`)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.ports import PortNumbers


@pytest.mark.parametrize(
    ("first", "last", "numbers"),
    [
        (20000, 20003, [20000, 20002]),
        (20001, 20004, [20002]),
        (20000, 20000, []),
        (20001, 20006, [20002, 20004]),
    ],
)
def test_even_numbers_whose_rtcp_port_is_in_the_range_too(first: int, last: int, numbers: list[int]) -> None:
    ports = PortNumbers(first, last)
    assert [ports.take(0.0) for _ in numbers] == numbers
    assert ports.take(0.0) is None


def test_a_number_rests_before_it_is_used_again() -> None:
    ports = PortNumbers(20000, 20001, rest_s=5.0)
    assert ports.take(0.0) == 20000
    ports.give_back(20000, 10.0)
    assert ports.take(14.999) is None
    assert ports.take(15.0) == 20000


def test_the_number_that_has_rested_longest_comes_first() -> None:
    ports = PortNumbers(20000, 20005, rest_s=1.0)
    taken = [ports.take(0.0) for _ in range(3)]
    for number in (20004, 20000, 20002):
        ports.give_back(number, 0.0)
    assert taken == [20000, 20002, 20004]
    assert [ports.take(2.0) for _ in range(3)] == [20004, 20000, 20002]


def test_numbers_of_calls_that_were_there_before() -> None:
    ports = PortNumbers(20000, 20007)
    ports.claim([20000, 20004])
    assert ports.in_use == 2
    assert [ports.take(0.0) for _ in range(3)] == [20002, 20006, None]
    ports.give_back(20004, 0.0)
    assert ports.take(10.0) == 20004


def test_a_number_outside_the_range_is_never_handed_out() -> None:
    ports = PortNumbers(20000, 20001)
    ports.claim([40000])
    ports.give_back(40000, 0.0)
    assert ports.in_use == 0
    assert [ports.take(100.0), ports.take(100.0)] == [20000, None]


@given(st.lists(st.booleans(), max_size=60))
def test_no_number_is_ever_used_twice_at_a_time(takes: list[bool]) -> None:
    ports, used = PortNumbers(20000, 20009, rest_s=2.0), list[int]()

    def take(now: float) -> None:
        number = ports.take(now)
        assert number not in used
        used.extend([] if number is None else [number])

    def give_back(now: float) -> None:
        for number in used[:1]:
            ports.give_back(used.pop(0), now)
            assert number not in used

    for now, wish in enumerate(takes):
        {True: take, False: give_back}[wish](now)
        assert ports.in_use == len(used) <= 5
