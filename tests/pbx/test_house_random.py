"""Random stories in the house, seed by seed; what went wrong once has a name below."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.pbx.random_story import Story
from tests.virtual_loop import run_virtual

TELL = """
from tests.pbx.random_story import Story
from tests.virtual_loop import run_virtual
story = Story({seed})
run_virtual(story.plays())
print(story.house.ladder, story.house.events, sep="\\n")
"""


@pytest.mark.parametrize("seed", range(40))
async def test_any_story_ends_well(seed: int) -> None:
    await Story(seed).plays()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40, 500))
async def test_many_more_stories_end_well(seed: int) -> None:
    await Story(seed).plays()


@pytest.mark.parametrize("seed", range(20))
async def test_any_story_ends_even_if_the_engine_dies_now_and_then(seed: int) -> None:
    await Story(seed, restarts=True).plays()


@pytest.mark.parametrize(
    "seed",
    [
        110,  # transferred while a hold was on its way to the other end: it stayed on hold for ever
        319,  # an offer that had met a 491 was made again after later ones had been answered
        148,  # an offer that had met a 491 came after the one that followed it
    ],
)
async def test_a_story_that_once_ended_badly(seed: int) -> None:
    await Story(seed).plays()


@pytest.mark.parametrize("seed", [3, 17, 42, 99])
def test_the_same_seed_tells_the_same_story(seed: int) -> None:
    first, again = Story(seed), Story(seed)
    run_virtual(first.plays())
    run_virtual(again.plays())
    assert str(first.house.ladder) == str(again.house.ladder)
    assert first.house.events == again.house.events


def test_the_same_seed_tells_the_same_story_to_another_process() -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", TELL.format(seed=99)],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        ).stdout
        for hash_seed in ("0", "1")
    }
    assert len(told) == 1


def test_the_stories_are_about_something() -> None:
    """So that the invariants are not kept by doing nothing."""
    story = Story(5)
    run_virtual(story.plays())
    kinds = {type(event).__name__ for event in story.house.events}
    assert {"Connected", "Transferred", "CallEnded"} <= kinds
    assert story.times_heard > 0
