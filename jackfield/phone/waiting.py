"""Waiting for something to become true, on the loop's own clock, with an end to patience."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class NotAsTold(AssertionError):
    """What a story said would happen did not: the text says what was waited for, and shows the ladder."""


class Waits:
    """Conditions that someone waits for; `look` after every change, and each that holds wakes its waiter."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []

    async def until(self, holds: Callable[[], T | None], within_s: float) -> T | None:
        """The first true value of `holds()`, or None after `within_s`."""
        value = holds()
        if value:
            return value
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        entry = (holds, future)
        self._waiting.append(entry)
        timer = loop.call_later(within_s, _give_up, future)
        try:
            found: T | None = await future
            return found
        finally:
            timer.cancel()
            if entry in self._waiting:
                self._waiting.remove(entry)

    def look(self) -> None:
        for entry in list(self._waiting):
            holds, future = entry
            value = None if future.done() else holds()
            if value:
                self._waiting.remove(entry)
                future.set_result(value)


def _give_up(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(None)
