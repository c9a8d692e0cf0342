"""One real timer for the earliest deadline."""

import asyncio
from time import monotonic

import pytest
from aio_peers import soon

from sipcore.aio import EarliestTimer


class CountingLoop:
    """Notes what is asked of the loop, and fires by hand."""

    def __init__(self):
        self.armed = []
        self.cancelled = 0

    def call_later(self, delay_s, callback):
        self.armed.append((delay_s, callback))
        return self

    def cancel(self):
        self.cancelled += 1


async def test_it_calls_at_the_deadline_and_never_before():
    called = asyncio.Event()
    timer = EarliestTimer(asyncio.get_running_loop(), called.set)
    deadline = monotonic() + 0.02
    timer.arm(deadline)
    await soon(called.wait())
    assert deadline <= monotonic() < deadline + 1.0


async def test_the_earlier_of_two_deadlines_counts_and_the_callback_may_arm_again():
    calls = asyncio.Queue()
    timer = EarliestTimer(asyncio.get_running_loop(), lambda: calls.put_nowait(monotonic()))
    start = monotonic()
    timer.arm(start + 100.0)
    timer.arm(start + 0.01)
    assert await soon(calls.get()) >= start + 0.01
    timer.arm(start + 0.02)
    assert await soon(calls.get()) >= start + 0.02


async def test_a_deadline_that_is_past_calls_at_once():
    called = asyncio.Event()
    EarliestTimer(asyncio.get_running_loop(), called.set).arm(monotonic() - 5.0)
    await soon(called.wait())


@pytest.mark.parametrize("later", [None, 10.0, 20.0, 9.9995])
def test_what_does_not_come_earlier_costs_no_timer(later):
    loop = CountingLoop()
    timer = EarliestTimer(loop, print)
    timer.arm(10.0)
    timer.arm(later)
    assert len(loop.armed) == 1


def test_an_earlier_deadline_replaces_the_timer():
    loop = CountingLoop()
    timer = EarliestTimer(loop, print)
    timer.arm(10.0)
    timer.arm(9.0)
    assert (len(loop.armed), loop.cancelled) == (2, 1)


def test_after_cancel_any_deadline_arms():
    loop = CountingLoop()
    timer = EarliestTimer(loop, print)
    timer.arm(10.0)
    timer.cancel()
    timer.arm(20.0)
    assert (len(loop.armed), loop.cancelled) == (2, 1)


def test_after_firing_any_deadline_arms():
    loop = CountingLoop()
    fired = []
    timer = EarliestTimer(loop, lambda: fired.append(1))
    timer.arm(10.0)
    loop.armed[0][1]()
    timer.arm(20.0)
    assert (fired, len(loop.armed), loop.cancelled) == ([1], 2, 0)
