"""Which UDP ports the sound of a call uses: numbers picked from media's range, without asking it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class PortNumbers:
    """Hands out even RTP ports (RTCP is the next one) and rests each for `rest_s` after its use.

    The rest keeps late packets of an old call out of a new one that would get the same number.
    """

    __slots__ = ("_free", "_range", "_resting", "in_use", "rest_s")

    def __init__(self, first: int, last: int, rest_s: float = 5.0) -> None:
        first += first % 2
        self._range = range(first, last, 2)
        self._free: deque[int] = deque(self._range)
        self._resting: deque[tuple[float, int]] = deque()
        self.rest_s = rest_s
        self.in_use = 0

    def take(self, now: float) -> int | None:
        """The number that has rested longest, or None when all are in use or resting."""
        while self._resting and self._resting[0][0] <= now:
            self._free.append(self._resting.popleft()[1])
        if not self._free:
            return None
        self.in_use += 1
        return self._free.popleft()

    def give_back(self, number: int, now: float) -> None:
        self.in_use -= 1
        if number in self._range:
            self._resting.append((now + self.rest_s, number))

    def claim(self, numbers: Iterable[int]) -> None:
        """Mark numbers as used by calls that were there before this engine started.

        They may lie outside the range, where the operator has changed that meanwhile.
        """
        taken = frozenset(numbers)
        self._free = deque(number for number in self._free if number not in taken)
        self.in_use += len(taken)
