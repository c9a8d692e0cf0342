"""The virtual clock itself: it jumps, it is exact, and it names what is stuck."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from tests.virtual_loop import START_S, Deadlock, OutOfTime, VirtualLoop, run_virtual, time_passes


async def test_an_hour_passes_at_once_and_exactly() -> None:
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    fired: list[float] = []
    for due in (START_S + 0.5, START_S + 3600.0, START_S + 1 / 3):
        loop.call_at(due, lambda: fired.append(loop.time()))
    await time_passes(3601)
    assert fired == [START_S + 1 / 3, START_S + 0.5, START_S + 3600.0]
    assert time.perf_counter() - began < 1


async def test_timeouts_live_in_virtual_time() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(120):
            await asyncio.get_running_loop().create_future()
    assert asyncio.get_running_loop().time() == START_S + 120


def test_a_deadlock_names_the_line_that_waits() -> None:
    async def waits_for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    async def story() -> None:
        await waits_for_ever()

    with pytest.raises(Deadlock, match=r"story, at .*test_phone_virtual_loop.py:\d+ in waits_for_ever"):
        run_virtual(story())


def test_circles_end_at_the_limit() -> None:
    async def circles() -> None:
        while True:
            await time_passes(1)

    with pytest.raises(OutOfTime):
        run_virtual(circles(), limit_s=60)


async def test_threads_are_waited_for_while_the_clock_stands_still() -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(5, lambda: None)
    await asyncio.to_thread(time.sleep, 0.02)  # noqa: TID251
    assert loop.time() == START_S


def test_a_real_socket_is_refused() -> None:
    loop = VirtualLoop()
    with socket.socket() as real, pytest.raises(RuntimeError, match="memory network"):
        loop.add_reader(real.fileno(), print)
    loop.close()
