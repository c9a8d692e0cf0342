"""Fixtures of the stack's tests: a scene whose ladder is shown when a test fails, and its far ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stack_script import ALICE, BORIS, Far, Scene


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    print(made.ladder())


@pytest.fixture
def alice(scene: Scene) -> Far:
    return Far(scene, "alice", ALICE)


@pytest.fixture
def boris(scene: Scene) -> Far:
    return Far(scene, "boris", BORIS)
