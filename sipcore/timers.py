"""The timers of SIP (RFC 3261 section 17, table 4; RFC 6026) and the queues that keep deadlines.

Knows letters and seconds. What happens when a timer fires is said by whoever started it.
"""

from __future__ import annotations

import enum
import heapq
from collections import deque
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

import msgspec

Key = TypeVar("Key", bound=Hashable)
NEVER = float("inf")
_SLACK = 64
"""Stopped deadlines that are not worth tidying up."""


class Letter(enum.IntEnum):
    """The timers of a transaction, by the names that the RFCs give them. C is a proxy's and not here."""

    A = 1
    """INVITE request resent"""
    B = 2
    """INVITE given up"""
    D = 4
    """responses to our INVITE still absorbed after its failure"""
    E = 5
    """non-INVITE request resent"""
    F = 6
    """non-INVITE request given up"""
    G = 7
    """300-699 to an INVITE resent"""
    H = 8
    """waiting for ACK given up"""
    I = 9  # noqa: E741 - the RFC's own name
    """ACKs still absorbed"""
    J = 10
    """non-INVITE requests still absorbed"""
    K = 11
    """non-INVITE responses still absorbed"""
    L = 12
    """INVITEs still absorbed after our 2xx (RFC 6026)"""
    M = 13
    """2xx still passed up after the first (RFC 6026)"""


class Timers(msgspec.Struct, frozen=True):
    """The three values that all timers follow from, in seconds (RFC 3261 17.1.1.1 and 17.1.2.2)."""

    t1: float = 0.5
    """round trip estimate: first interval of resending"""
    t2: float = 4.0
    """longest interval of resending"""
    t4: float = 5.0
    """how long a message can stay in the network"""

    @property
    def give_up_s(self) -> float:
        """64*T1: how long an answer, or an ACK, is waited for."""
        return 64 * self.t1

    def delays(self, *, reliable: bool) -> Mapping[Letter, float]:
        """Seconds by letter for one kind of transport; a timer that is missing does not run on it.

        Zero means that what the timer would end is over at once (table 4: D, I, J and K over TCP).
        """
        long = self.give_up_s
        both = {Letter.B: long, Letter.F: long, Letter.H: long, Letter.L: long, Letter.M: long}
        if reliable:
            return both | {Letter.D: 0.0, Letter.I: 0.0, Letter.J: 0.0, Letter.K: 0.0}
        return both | {
            Letter.A: self.t1,
            Letter.E: self.t1,
            Letter.G: self.t1,
            Letter.D: max(32.0, long),
            Letter.I: self.t4,
            Letter.J: long,
            Letter.K: self.t4,
        }


class Deadlines(Generic[Key]):
    """Deadlines by key, of which many are stopped before they come: a heap with lazy removal.

    Starting and stopping cost a dictionary entry and a heap push. A stopped entry stays in the heap
    until it surfaces or until stopped ones are the majority; then the heap is built anew, so its size
    stays within twice the live deadlines.
    """

    __slots__ = ("_heap", "_live", "_serial", "earliest")

    earliest: float
    """never later than the earliest deadline, so that asking whether any is due costs one comparison"""

    def __init__(self) -> None:
        self.earliest = NEVER
        self._heap: list[tuple[float, int, Key]] = []
        self._live: dict[Key, int] = {}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, key: Key) -> bool:
        return key in self._live

    def start(self, key: Key, when: float) -> None:
        """Let `key` come due at `when`; a deadline that it had before is replaced."""
        self._serial = serial = self._serial + 1
        live, heap = self._live, self._heap
        live[key] = serial
        heapq.heappush(heap, (when, serial, key))
        if when < self.earliest:
            self.earliest = when
        if len(heap) > 2 * len(live) + _SLACK:
            self._rebuild()

    def stop(self, key: Key) -> None:
        """Forget the deadline of `key`; it may have none."""
        live = self._live
        if live.pop(key, None) is not None and len(self._heap) > 2 * len(live) + _SLACK:
            self._rebuild()

    def _rebuild(self) -> None:
        self._heap = [entry for entry in self._heap if self._live.get(entry[2]) == entry[1]]
        heapq.heapify(self._heap)

    def next(self) -> float | None:
        """When the earliest deadline is, or None."""
        heap = self._heap
        while heap and self._live.get(heap[0][2]) != heap[0][1]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop(self, now: float) -> Key | None:
        """Take out the earliest key that is due at `now`, or None. Equal deadlines come in order of starting.

        One at a time, because what is done about one may stop the next.
        """
        if now < self.earliest:
            return None
        heap = self._heap
        while heap and heap[0][0] <= now:
            _, serial, key = heapq.heappop(heap)
            if self._live.get(key) == serial:
                del self._live[key]
                return key
        self.earliest = heap[0][0] if heap else NEVER
        return None


class Lane(Generic[Key]):
    """Deadlines that all lie the same time ahead and are never stopped: a queue, at a tenth of a heap's cost.

    Made for what lingers after a transaction's final response, by far the most numerous timers.
    """

    __slots__ = ("_queue",)

    def __init__(self) -> None:
        self._queue: deque[tuple[float, Key]] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def start(self, key: Key, when: float) -> None:
        """`when` is never earlier than that of the key before."""
        self._queue.append((when, key))

    def next(self) -> float | None:
        """When the earliest deadline is, or None."""
        return self._queue[0][0] if self._queue else None

    def pop(self, now: float) -> Key | None:
        """Take out the earliest key that is due at `now`, or None."""
        if self._queue and self._queue[0][0] <= now:
            return self._queue.popleft()[1]
        return None
