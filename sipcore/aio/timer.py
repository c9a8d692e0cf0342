"""One real timer for the earliest of many deadlines."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from time import monotonic

_CLOSE_ENOUGH_S = 0.001
_NEVER = float("inf")


class EarliestTimer:
    """Calls `callback()` from the event loop when the earliest deadline is here, once per arming.

    It may call when nothing is due: deadlines that were taken back or moved later are not followed,
    since looking once too often costs less than moving a timer after each message. `callback` then
    handles what is due, and arms again with what comes next.
    """

    __slots__ = ("_armed_for", "_callback", "_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._armed_for = _NEVER
        self._handle: asyncio.TimerHandle | None = None

    def arm(self, deadline: float | None) -> None:
        """Have the callback come at `deadline` (monotonic seconds), 1 or 2 ms late; None: nothing to do."""
        if deadline is None or deadline > self._armed_for - _CLOSE_ENOUGH_S:
            return
        if self._handle is not None:
            self._handle.cancel()
        self._armed_for = deadline
        # uvloop counts whole milliseconds, from a clock that it has cut to whole ones: rounded up and with
        # one more it is never early, which would find nothing due and be armed again for the rest.
        wait_ms = math.ceil(max(0.0, deadline - monotonic()) * 1000.0) + 1
        self._handle = self._loop.call_later(wait_ms / 1000.0, self._fire)

    def cancel(self) -> None:
        """No call any more until it is armed again."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = None
        self._armed_for = _NEVER

    def _fire(self) -> None:
        self._handle = None
        self._armed_for = _NEVER
        self._callback()
