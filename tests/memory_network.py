"""A network in memory: addresses, datagrams, and weather (delay, loss, duplication, reordering) from a seed.

Nothing here knows what the datagrams say. Whoever has a socket in service attaches a callback
instead; who sends names both ends, so that one callback may serve many addresses:

    network = MemoryNetwork(loop, random.Random(7), Weather(delay_s=0.01, loss=0.05))
    network.attach(("10.0.0.1", 5060), server.receive)       # called as receive(data, src, dst)
    network.send(src=("10.0.0.2", 5060), dst=("10.0.0.1", 5060), data=b"...")

Deterministic: with the same seed, the same sends at the same times arrive at the same times in the
same order. Without `reorder`, two datagrams from one address to another never overtake each other.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable
from typing import NamedTuple

Address = tuple[str, int]
Receive = Callable[[bytes, Address, Address], None]
"""(data, src, dst)"""
Tap = Callable[["Passage"], None]


class Weather(NamedTuple):
    """What a datagram meets on its way: chances (0 to 1), the delay one way, its random extra `jitter_s`."""

    delay_s: float = 0.001
    jitter_s: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    reorder: float = 0.0
    """the chance that a datagram is held back by `reorder_s`, so that later ones overtake it"""
    reorder_s: float = 0.03


CALM = Weather()


class Passage(NamedTuple):
    """One datagram that was sent: `fate` is "sent", "lost" or "nobody" (no one is attached at `dst`)."""

    time_s: float
    src: Address
    dst: Address
    data: bytes
    fate: str


class MemoryNetwork:
    """Carries datagrams between attached addresses on the clock of `loop`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, rng: random.Random, weather: Weather = CALM) -> None:
        self.weather = weather
        self.taps: list[Tap] = []
        self.lost = 0
        self.unreachable = 0
        self._loop = loop
        self._rng = rng
        self._ports: dict[Address, tuple[Receive, Receive | None]] = {}
        self._between: dict[tuple[str, str], Weather] = {}
        self._last: dict[tuple[Address, Address], float] = {}
        self._under_way: list[tuple[float, int, Address, Address, bytes]] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def attach(self, address: Address, receive: Receive, unreachable: Receive | None = None) -> None:
        """Deliver what is sent to `address` to `receive(data, src, dst)`.

        `unreachable(data, src, dst)` hears of the datagrams that were sent from `address` and found nobody
        (an ICMP port unreachable). An address that is taken is refused with OSError, as by a kernel.
        """
        if address in self._ports:
            raise OSError(98, f"address already in use: {address}")
        self._ports[address] = (receive, unreachable)

    def detach(self, address: Address) -> None:
        """Free the address; what is still under way to it is dropped."""
        self._ports.pop(address, None)

    @property
    def attached(self) -> frozenset[Address]:
        return frozenset(self._ports)

    def between(self, host: str, other: str, weather: Weather) -> None:
        """Give the way between two hosts, in both directions, a weather of its own."""
        self._between[host, other] = self._between[other, host] = weather

    def send(self, src: Address, dst: Address, data: bytes) -> None:
        """Send one datagram; it arrives later, perhaps twice, or never, but never during this call."""
        weather = self._between.get((src[0], dst[0]), self.weather)
        if self._rng.random() < weather.loss:
            self.lost += 1
            self._tell(src, dst, data, "lost")
            return
        self._tell(src, dst, data, "sent")
        self._dispatch(weather, src, dst, data)
        if self._rng.random() < weather.duplication:
            self._dispatch(weather, src, dst, data)

    def _dispatch(self, weather: Weather, src: Address, dst: Address, data: bytes) -> None:
        due = self._loop.time() + weather.delay_s + weather.jitter_s * self._rng.random()
        if self._rng.random() < weather.reorder:
            due += weather.reorder_s
        else:
            due = self._last[src, dst] = max(due, self._last.get((src, dst), due))
        self._count += 1
        heapq.heappush(self._under_way, (due, self._count, src, dst, data))
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            if self._under_way and self._timer.when() <= self._under_way[0][0]:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(self._under_way[0][0], self._deliver) if self._under_way else None

    def _deliver(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._under_way and self._under_way[0][0] <= now:
            _, _, src, dst, data = heapq.heappop(self._under_way)
            self._hand_over(src, dst, data)
        self._arm()

    def _hand_over(self, src: Address, dst: Address, data: bytes) -> None:
        if dst in self._ports:
            self._ports[dst][0](data, src, dst)
            return
        self.unreachable += 1
        self._tell(src, dst, data, "nobody")
        _, unreachable = self._ports.get(src, (None, None))
        if unreachable is not None:
            unreachable(data, src, dst)

    def _tell(self, src: Address, dst: Address, data: bytes, fate: str) -> None:
        if self.taps:
            passage = Passage(self._loop.time(), src, dst, data, fate)
            for tap in self.taps:
                tap(passage)
