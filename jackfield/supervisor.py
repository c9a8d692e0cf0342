"""`jackfield run`: starts media and the engine as processes of their own and keeps both alive.

Each can die and come back while the other goes on. Ctrl-C or SIGTERM ends the engine first, so that
calls get their BYE while the sound still runs; a second one ends everything at once. When the
supervisor itself is killed, the kernel tells its children. One supervisor at a time has `paths.var`:
a second one would take the sound of the first one's calls.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from conf.faults import SettingsError, Unavailable
from conf.settings import Settings
from jackfield.first_start import open_configuration
from jackfield.logs import configure_logs

log = structlog.get_logger("supervisor")

GRACE_S = 3.5
"""how long an ordered end of all may take, before what is left is killed"""
MEDIA_GRACE_S = 1.0
"""what of it media has at least"""
RESTART_S = (0.1, 0.5, 2.0, 5.0)
"""waits before a child that died is started again; the last one repeats"""
STEADY_S = 30.0
"""a child that ran this long has earned a quick restart again"""
SETTINGS_FAULT = 2
"""exit code of a child that cannot start before the operator mends something: no restart"""
PR_SET_PDEATHSIG = 1


class Child:
    """One process that is kept running."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self.command = command
        self.process: asyncio.subprocess.Process | None = None
        self.failures = 0

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Supervisor:
    """Runs until it is told to stop, or a child says that the settings must be mended."""

    def __init__(self, settings: Settings, config: Path | None) -> None:
        self._stop = asyncio.Event()
        self._kill = asyncio.Event()
        self._code = 0
        socket = settings.paths.var / "media.sock"
        ports = settings.media.ports
        self.media = Child(
            "media",
            [
                *(sys.executable, "-m", "media"),
                *("--socket", str(socket)),
                *("--ports", f"{ports.first}-{ports.last}"),
                *("--workers", str(settings.media.workers)),
                *("--silence", str(settings.media.silence_s)),
            ],
        )
        self.engine = Child(
            "engine",
            [
                sys.executable,
                "-m",
                "jackfield.engine_process",
                *(("--config", str(config)) if config else ()),
                "--greet",
            ],
        )

    async def run(self) -> int:
        """The exit code: 0 after an ordered end, 2 when the settings must be mended first."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._told_to_stop)
        children = (self.media, self.engine)
        keepers = [asyncio.create_task(self._keep(child)) for child in children]
        await self._stop.wait()
        began = loop.time()
        await self._end(self.engine, GRACE_S - MEDIA_GRACE_S)
        await self._end(self.media, began + GRACE_S - loop.time())
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        return self._code

    def _told_to_stop(self) -> None:
        if self._stop.is_set():
            self._kill.set()
        self._stop.set()

    async def _keep(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            await child.start()
            assert child.process is not None
            started = loop.time()
            child.command = [part for part in child.command if part != "--greet"]
            code = await child.process.wait()
            if self._stop.is_set():
                return
            if code == SETTINGS_FAULT:
                self._code = SETTINGS_FAULT
                self._stop.set()
                return
            if loop.time() - started > STEADY_S:
                child.failures = 0
            wait_s = RESTART_S[min(child.failures, len(RESTART_S) - 1)]
            child.failures += 1
            log.error("process died and is started again", process=child.name, exit=code, in_s=wait_s)
            await _first(asyncio.Event().wait(), self._stop.wait(), within_s=wait_s)

    async def _end(self, child: Child, within_s: float) -> None:
        if child.process is None or child.process.returncode is not None:
            return
        child.signal(signal.SIGTERM)
        await _first(child.process.wait(), self._kill.wait(), within_s=within_s)
        if child.process.returncode is None:
            child.signal(signal.SIGKILL)
            await child.process.wait()


async def _first(*waits: object, within_s: float) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]  # type: ignore[call-overload]
    await asyncio.wait(tasks, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def supervise(settings: Settings, config: Path | None) -> int:
    """Run until the end; returns the exit code. Faults of settings or disk are one line on standard error."""
    configure_logs(settings.log.level, settings.log.format)
    try:
        lock = claim(settings.paths.var)
    except SettingsError as problem:
        return _must_be_mended(problem)
    try:
        asyncio.run(_prepare(settings))
        return asyncio.run(Supervisor(settings, config).run())
    except (SettingsError, Unavailable) as problem:
        return _must_be_mended(problem)
    finally:
        os.close(lock)


def claim(var: Path) -> int:
    """Take `var` for this process until the descriptor is closed. Raises SettingsError when another has it.

    The kernel lets go of it when the process dies, however it dies.
    """
    try:
        var.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(var / "running", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SettingsError(
            "paths.var", f"{var} cannot be written to ({error.strerror})", "Name a directory of your own."
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise SettingsError(
            "paths.var", f"another Jackfield is running in {var}", "Stop it, or set paths.var for this one."
        ) from None
    return lock


def _must_be_mended(problem: Exception) -> int:
    print(f"jackfield: {problem}", file=sys.stderr)  # noqa: T201  one clear line for a person
    return SETTINGS_FAULT


async def _prepare(settings: Settings) -> None:
    """Make what is missing before any process starts, so that what is wrong is said once."""
    store, _ = await open_configuration(settings)
    await store.close()
