"""Waiting for other processes without guessing: ask until the answer is yes, or the deadline is here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE_S = 0.02


def until(answer: Callable[[], T | None], within_s: float, what: str | Callable[[], str]) -> T:
    """The first true answer. Raises AssertionError about `what`, asked only then, when none came in time."""
    deadline = time.monotonic() + within_s
    while True:
        found = answer()
        if found:
            return found
        assert time.monotonic() < deadline, (
            f"not within {within_s} s: {what if isinstance(what, str) else what()}"
        )
        pause(PAUSE_S)


def pause(for_s: float) -> None:
    """Let real time pass: what is measured here (sound, silence) takes it."""
    threading.Event().wait(for_s)
