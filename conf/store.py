"""The configuration: opened, read as snapshots, watched, changed.

All of it runs on a thread of its own; the loop that calls run on only receives finished snapshots. The
engine, the web process and the command line each open one ConfigStore on the same database.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from conf import reader, tables, writer
from conf.changes import Change
from conf.database import open_engine, reading, upgrade, writing
from conf.faults import SettingsError, Unavailable
from conf.nudges import nudges
from conf.offloop import LoopThread
from conf.settings import Settings
from conf.snapshot import Snapshot
from conf.vault import UnknownKey, Vault, add_key, open_vault


class LoggedChange(msgspec.Struct, frozen=True):
    """One line of the change log: who did what to which thing, and when (UTC)."""

    version: int
    kind: str
    action: str
    tenant_id: int
    name: str
    at: dt.datetime
    by: str


class ConfigStore:
    """The configuration database. Open with `await ConfigStore.open(settings)`, end with `await close()`.

    Methods raise Unavailable when the database is away, and SettingsError for what an operator has to mend.
    """

    def __init__(self, thread: LoopThread, engine: AsyncEngine, vault: Vault, key_file: Path) -> None:
        self._thread = thread
        self._engine = engine
        self._vault = vault
        self._key_file = key_file
        self._latest: Snapshot | None = None
        self._watches: list[Watch] = []

    @classmethod
    async def open(cls, settings: Settings) -> ConfigStore:
        """Open the database, with its tables up to date, and the secret key; the first time, make both."""
        _make_private_directory(settings.paths.var)
        thread = LoopThread("configuration")
        try:
            engine, vault = await thread.run(_prepare(settings.database_url, settings.key_file))
        except BaseException:
            thread.close()
            raise
        return cls(thread, engine, vault, settings.key_file)

    async def load_snapshot(self) -> Snapshot:
        """The configuration as it is now."""
        self._latest = await self._thread.run(self._read(None))
        return self._latest

    def watch(
        self, callback: Callable[[Snapshot], None], trouble: Callable[[Unavailable | SettingsError], None]
    ) -> Watch:
        """Call `callback`, in this loop, with each new snapshot, soon after a change by any process.

        `trouble` is told, in this loop, why new versions cannot be read; the last snapshot stays good
        and watching goes on. Changes since the last `load_snapshot` are told at once.
        """
        watch = Watch(self, self._latest, callback, trouble)
        self._watches.append(watch)
        return watch

    async def apply(
        self, changes: Sequence[Change], by: str, progress: Callable[[int, int], None] = lambda done, of: None
    ) -> int:
        """Carry out `changes` as one, all or nothing, in the name of `by`; gives the new version.

        `progress` is told (steps done, steps in all) now and then, on another thread.
        """
        return await self._thread.run(self._apply(changes, by, progress))

    async def check(self, changes: Sequence[Change]) -> list[tuple[int, SettingsError]]:
        """What `apply` would refuse: (position, error) for each; changes nothing."""
        return await self._thread.run(self._check(changes))

    async def history(self, limit: int = 100) -> list[LoggedChange]:
        """The latest lines of the change log, newest first."""
        return await self._thread.run(self._history(limit))

    async def rotate_key(self) -> int:
        """Encrypt all secrets under a new key; gives how many. Old keys stay in the key file."""
        return await self._thread.run(self._rotate_key())

    async def close(self) -> None:
        """End all watches and close the database."""
        for watch in list(self._watches):
            await watch.close()
        await self._thread.run(self._engine.dispose())
        self._thread.close()

    # ---------------------------------------------------------------- on the other thread

    async def _read(self, old: Snapshot | None) -> Snapshot:
        try:
            return await self._read_with_keys(old)
        except UnknownKey:  # another process may have added one since
            self._vault = open_vault(self._key_file, may_make=False)
            return await self._read_with_keys(old)

    async def _read_with_keys(self, old: Snapshot | None) -> Snapshot:
        async with reading(self._engine) as connection:
            if old is None:
                return await reader.read_all(connection, self._vault)
            return await reader.read_since(connection, self._vault, old)

    async def _apply(self, changes: Sequence[Change], by: str, progress: Callable[[int, int], None]) -> int:
        async with writing(self._engine) as connection:
            return await writer.write(connection, self._vault, changes, by, progress)

    async def _check(self, changes: Sequence[Change]) -> list[tuple[int, SettingsError]]:
        async with reading(self._engine) as connection:
            return await writer.check(connection, self._vault, changes, by="")

    async def _history(self, limit: int) -> list[LoggedChange]:
        log = tables.changes
        query = sa.select(log).order_by(log.c.version.desc(), log.c.position.desc()).limit(limit)
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query)).all()
        return [
            LoggedChange(row.version, row.kind, row.action, row.tenant_id, row.name, _aware(row.at), row.by)
            for row in rows
        ]

    async def _rotate_key(self) -> int:
        async with writing(self._engine) as connection:
            self._vault = add_key(self._key_file)
            return await writer.reseal(connection, self._vault)


class Watch:
    """One watcher of a ConfigStore; hands over every new snapshot until it is closed."""

    def __init__(
        self,
        store: ConfigStore,
        latest: Snapshot | None,
        callback: Callable[[Snapshot], None],
        trouble: Callable[[Unavailable | SettingsError], None],
    ) -> None:
        self._store = store
        self._latest = latest
        self._callback = callback
        self._trouble = trouble
        self._home = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._task: Future[None] = asyncio.run_coroutine_threadsafe(self._run(), store._thread.loop)
        self._task.add_done_callback(self._tell_bug)

    async def close(self) -> None:
        """Stop watching; no callback comes after this."""
        if self in self._store._watches:
            self._store._watches.remove(self)
            self._store._thread.loop.call_soon_threadsafe(self._stop.set)
            await asyncio.wrap_future(self._task)

    async def _run(self) -> None:
        async for _ in nudges(self._store._engine, self._stop, self._tell_trouble):
            try:
                found = await self._store._read(self._latest)
            except (Unavailable, SettingsError) as error:
                self._tell_trouble(error)
                continue
            if found is not self._latest:
                self._latest = found
                self._home.call_soon_threadsafe(self._hand_over, found)

    def _tell_trouble(self, error: Unavailable | SettingsError) -> None:
        self._home.call_soon_threadsafe(self._trouble, error)

    def _tell_bug(self, task: Future[None]) -> None:
        """A watch that ends by itself would leave calls on an old configuration: that must be heard."""
        if not task.cancelled() and (bug := task.exception()) is not None:
            context = {"message": "watching the configuration ended", "exception": bug}
            self._home.call_soon_threadsafe(self._home.call_exception_handler, context)

    def _hand_over(self, snapshot: Snapshot) -> None:
        if self in self._store._watches:
            self._callback(snapshot)


def _aware(at: dt.datetime) -> dt.datetime:
    """SQLite gives UTC back without saying that it is."""
    return at if at.tzinfo else at.replace(tzinfo=dt.UTC)


async def _prepare(url: str, key_file: Path) -> tuple[AsyncEngine, Vault]:
    engine = open_engine(url)
    try:
        await upgrade(engine)
        return engine, open_vault(key_file, may_make=not await _has_secrets(engine))
    except BaseException:
        await engine.dispose()
        raise


async def _has_secrets(engine: AsyncEngine) -> bool:
    async with reading(engine) as connection:
        return (await connection.execute(sa.select(tables.extensions.c.number).limit(1))).first() is not None


def _make_private_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            "paths.var",
            f"the directory {path} cannot be made ({error.strerror})",
            "Name a directory of your own.",
        ) from None
