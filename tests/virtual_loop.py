"""An asyncio loop whose clock jumps: an hour's ringing takes milliseconds, and always the same ones.

Whenever nothing is ready to run, the clock is set to the next deadline; when there is no deadline
either, no task can ever go on, and `Deadlock` says which ones are stuck, and where. Callbacks run in
one order only, so that a seed replays a test.

Everything that uses `loop.time`, `loop.call_at`, `loop.call_later`, futures, tasks, `asyncio.timeout`
or `asyncio.sleep` lives in virtual time without knowing it. Sockets do not: bytes that are on their
way in the kernel have no place on a clock that jumps, so registering one is refused. Threads
(`run_in_executor`, `asyncio.to_thread`) are waited for in real time while the clock stands still.

In a test directory where every coroutine shall run like this, its `conftest.py` says

    def pytest_asyncio_loop_factories(config, item):
        return {"virtual": VirtualLoop}

and elsewhere `run_virtual(story())` runs one coroutine.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

START_S = 1000.0
"""Where the clock begins: as with a real clock, not at zero, where "never" is easily mistaken for "now"."""


class Deadlock(Exception):
    """Nothing is ready and no deadline is set: the tasks named here wait for something that cannot come."""


class OutOfTime(Exception):
    """The story went on past the loop's limit of virtual time: something waits in circles."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """A selector loop in virtual time.

    `limit_s` is the longest story in virtual seconds, a week unless told; past it the loop raises OutOfTime.
    """

    def __init__(self, *, limit_s: float = 7 * 86400.0) -> None:
        self._now = START_S
        self._end = START_S + limit_s
        self._threads = 0
        self._sealed = False
        super().__init__(_JumpingSelector(self))
        self._sealed = True

    def time(self) -> float:
        return self._now

    def jump(self) -> None:
        """Set the clock to the next deadline."""
        if not self._scheduled:  # type: ignore[attr-defined]
            raise Deadlock(_stuck(self))
        # the deadline itself, not now + (deadline - now): so that a test may compare times for equality
        self._now = max(self._now, self._scheduled[0].when())  # type: ignore[attr-defined]
        if self._now > self._end:
            raise OutOfTime(f"{self._now - START_S:.0f} virtual seconds have passed. {_stuck(self)}")

    @property
    def threads_at_work(self) -> bool:
        return self._threads > 0

    def run_in_executor(  # type: ignore[override]
        self, executor: concurrent.futures.Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._threads += 1
        future.add_done_callback(self._thread_is_done)
        return future

    def _thread_is_done(self, _: object) -> None:
        self._threads -= 1

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        self._threads += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self._threads -= 1

    def _add_reader(self, fd: Any, callback: Any, *args: Any) -> Any:
        self._refuse_sockets()
        return super()._add_reader(fd, callback, *args)  # type: ignore[misc]

    def _add_writer(self, fd: Any, callback: Any, *args: Any) -> Any:
        self._refuse_sockets()
        return super()._add_writer(fd, callback, *args)  # type: ignore[misc]

    def _refuse_sockets(self) -> None:
        if self._sealed:
            raise RuntimeError("a real socket in virtual time: attach to the memory network instead")


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of sleeping until the timeout, moves the clock there. Its one file is the loop's wake-up."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self._loop.threads_at_work:
            return super().select(None)
        self._loop.jump()
        return []


def run_virtual(story: Coroutine[Any, Any, T], *, limit_s: float = 7 * 86400.0) -> T:
    """Run one coroutine to its end in virtual time and return what it returns."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(limit_s=limit_s)) as runner:
        return runner.run(story)


async def time_passes(for_s: float) -> None:
    """Let virtual time pass; everything that is due meanwhile happens."""
    await asyncio.sleep(for_s)  # noqa: TID251


def _stuck(loop: asyncio.AbstractEventLoop) -> str:
    """Which tasks wait, and on which line each."""
    lines = [f"  {task.get_name()}: {_where(task)}" for task in asyncio.all_tasks(loop)]
    return "Waiting:\n" + "\n".join(sorted(lines)) if lines else "There is no task."


def _where(task: asyncio.Task[Any]) -> str:
    frames = task.get_stack(limit=1)
    name = getattr(task.get_coro(), "__qualname__", "?")
    if not frames:
        return name
    innermost: Any = task.get_coro()
    while getattr(innermost, "cr_await", None) is not None and hasattr(innermost.cr_await, "cr_frame"):
        innermost = innermost.cr_await
    frame = getattr(innermost, "cr_frame", None) or frames[-1]
    return f"{name}, at {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
