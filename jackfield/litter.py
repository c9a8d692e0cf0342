"""When to look for garbage in cycles: often among the young, seldom among all (Python's `gc`).

Calls make no cycles, and Python's own schedule would stop the engine in the middle of a message. But
exceptions with their tracebacks make some, those of look-ups that fail above all, and would add up for
as long as the server runs. So it is done here, between messages, and in steps that are short: what is
young is what the last second made. Some 60 objects of a held call are looked at with all others.
"""

from __future__ import annotations

YOUNG, MIDDLE, ALL = 0, 1, 2
MIDDLE_EVERY = 30
ALL_EVERY = 600


class Litter:
    """Says what to collect, step by step; one step each `STEP_S`."""

    STEP_S = 1.0

    def __init__(self) -> None:
        self._steps = 0

    def step(self) -> int:
        """The generation for `gc.collect` now."""
        self._steps += 1
        if self._steps % ALL_EVERY == 0:
            return ALL
        return YOUNG if self._steps % MIDDLE_EVERY else MIDDLE
