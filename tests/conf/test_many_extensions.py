"""One change among a hundred thousand extensions reaches a watcher; how soon is shown, not judged."""

from __future__ import annotations

import asyncio
import statistics
from itertools import pairwise

import pytest

from conf.changes import AddExtension, AddTenant, Change, ChangeExtension, Password
from conf.settings import Settings
from conf.snapshot import Snapshot
from conf.store import ConfigStore

MANY = 100_000
TICK_S = 0.001


class Ticker:
    """Notes when the loop got round to it: the gaps between are what a call would have waited."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._at: list[float] = []
        self._tick()

    def worst_since(self, begin: float) -> float:
        seen = [begin, *(at for at in self._at if at > begin)]
        return max(later - earlier for earlier, later in pairwise(seen)) - TICK_S

    def stop(self) -> None:
        self._next.cancel()

    def _tick(self) -> None:
        self._at.append(self._loop.time())
        self._next = self._loop.call_later(TICK_S, self._tick)


@pytest.mark.slow
async def test_one_change_among_many_is_live_at_once(sqlite_settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    store, other = await ConfigStore.open(sqlite_settings), await ConfigStore.open(sqlite_settings)
    many: list[Change] = [
        AddExtension(tenant="acme", number=str(100_000 + number), password=Password("correct horse"))
        for number in range(MANY)
    ]
    await other.apply([AddTenant(name="acme", realm="acme.example"), *many], by="a test")
    assert len((await store.load_snapshot()).extensions) == MANY

    seen: asyncio.Queue[Snapshot] = asyncio.Queue()
    watch = store.watch(seen.put_nowait, lambda error: pytest.fail(str(error)))
    ticker = Ticker()
    live, stalls = [], []
    for ring_s in range(20, 30):
        await other.apply([ChangeExtension(tenant="acme", number="150000", ring_s=ring_s)], by="a test")
        changed = loop.time()
        snapshot = await asyncio.wait_for(seen.get(), 5)
        live.append(loop.time() - changed)
        stalls.append(ticker.worst_since(changed))
        assert snapshot.extensions[snapshot.tenant_by_domain["acme.example"], "150000"].ring_s == ring_s
    ticker.stop()
    await watch.close()
    await other.close()
    await store.close()
    # For the reader of `pytest -s`; how fast this machine is today is no matter of right and wrong.
    live_ms, stall_ms = statistics.median(live) * 1000, statistics.median(stalls) * 1000
    print(f"live after {live_ms:.0f} ms, stalls {stall_ms:.1f} ms")
