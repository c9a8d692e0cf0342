"""Garbage in cycles goes away while Python's own collector is off, the young often, all seldom."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Iterator

import pytest

from jackfield.litter import ALL, MIDDLE, YOUNG, Litter


@pytest.fixture(autouse=True)
def collector_off() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Cycle:
    def __init__(self) -> None:
        self.own = self


def swept(litter: Litter, steps: int) -> Counter[int]:
    """Take this many steps; gives how often each generation was collected."""
    generations = [litter.step() for _ in range(steps)]
    for generation in generations:
        gc.collect(generation)
    return Counter(generations)


def test_an_hour_of_steps() -> None:
    litter = Litter()
    assert Counter(litter.step() for _ in range(3600)) == {YOUNG: 3480, MIDDLE: 114, ALL: 6}


def test_what_lived_for_less_than_a_step_is_gone_at_the_next() -> None:
    gone = weakref.ref(Cycle())
    assert gone() is not None
    assert swept(Litter(), 1) == {YOUNG: 1}
    assert gone() is None


def test_what_lived_for_seconds_is_gone_within_half_a_minute() -> None:
    litter, alive = Litter(), Cycle()
    gone = weakref.ref(alive)
    swept(litter, 5)
    del alive
    swept(litter, 24)
    assert gone() is not None
    assert swept(litter, 1) == {MIDDLE: 1}
    assert gone() is None


def test_what_lived_for_minutes_is_gone_at_last() -> None:
    litter, alive = Litter(), Cycle()
    gone = weakref.ref(alive)
    swept(litter, 90)
    del alive
    swept(litter, 600)
    assert gone() is None
