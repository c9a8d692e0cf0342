"""Keep registrations on disk, so that they survive the death of the engine. Knows bytes, not SIP.

One SQLite file with one writer thread. `save` and `delete` only note what is to be written; the thread
writes all that has gathered in one transaction, at most every `gather_s`. What SIGKILL can cost is thus
the registrations that were answered within the last few hundredths of a second.

`synchronous=NORMAL`: a commit reaches the kernel, the disk itself is waited for at checkpoints only. The
death of the process loses nothing that was committed; a power cut may lose the last seconds, never the
file. FULL would cost a disk flush per transaction to keep what every phone sends again by itself.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from conf.faults import Unavailable

Key = tuple[int, str]
"""A tenant and the number of its extension."""

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS registrations (
    tenant INTEGER NOT NULL,
    number TEXT NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (tenant, number)
) WITHOUT ROWID
"""
WRITE = "INSERT OR REPLACE INTO registrations (tenant, number, payload) VALUES (?, ?, ?)"
ERASE = "DELETE FROM registrations WHERE tenant = ? AND number = ?"
BATCH = 5000
RETRY_S = 1.0


class BindingsStore:
    """What is registered, by key; the last `save` or `delete` of a key holds.

    Open it, `load_all` once, then `save` and `delete` from one thread. `trouble` is told, on the writer
    thread, when writing begins to fail; the store goes on trying, and forgets nothing meanwhile.
    """

    def __init__(
        self,
        path: Path,
        *,
        gather_s: float = 0.01,
        limit: int = 1_000_000,
        trouble: Callable[[Unavailable], None] = lambda _: None,
    ) -> None:
        self._path = path
        self._gather_s = gather_s
        self._limit = limit
        self._trouble = trouble
        self._pending: dict[Key, bytes | None] = {}
        self._awake = threading.Event()
        self._written = threading.Condition()
        self._rounds = 0
        self._closing = threading.Event()
        self._connection = _open(path)
        self._thread = threading.Thread(target=self._write_until_closed, name="registrations", daemon=True)
        self._thread.start()

    def save(self, key: Key, payload: bytes) -> None:
        """Keep `payload` for `key`. Raises Unavailable when a dead disk has let too many of them gather."""
        self._note(key, payload)

    def delete(self, key: Key) -> None:
        """Forget `key`; forgetting what is not there changes nothing. Raises Unavailable like `save`."""
        self._note(key, None)

    def load_all(self) -> dict[Key, bytes]:
        """Everything that was kept by those before us: to be asked before the first `save`."""
        with closing(_open(self._path)) as connection:
            rows = connection.execute("SELECT tenant, number, payload FROM registrations").fetchall()
        return {(tenant, number): payload for tenant, number, payload in rows}

    def flush(self, timeout_s: float = 5.0) -> None:
        """Wait until all that was noted before is committed. Raises Unavailable after `timeout_s`."""
        with self._written:
            # A round that is under way may have missed the last note; the one after it cannot have.
            wanted = self._rounds + 2
            while self._rounds < wanted:
                self._awake.set()
                if not self._written.wait(timeout_s):
                    raise Unavailable(str(self._path), f"nothing could be written for {timeout_s} s")

    def close(self) -> None:
        """Write what is left, and end the thread. Closing twice changes nothing."""
        self._closing.set()
        self._awake.set()
        self._thread.join()

    def _note(self, key: Key, payload: bytes | None) -> None:
        # One assignment and one popitem, each atomic under the interpreter's lock, are all that the
        # two threads share: the caller never waits.
        pending = self._pending
        if len(pending) >= self._limit and key not in pending:
            raise Unavailable(str(self._path), f"{self._limit} registrations wait to be written")
        pending[key] = payload
        if not self._awake.is_set():
            self._awake.set()

    def _write_until_closed(self) -> None:
        with closing(self._connection):
            while not self._closing.is_set():
                self._awake.wait()
                self._closing.wait(self._gather_s)
                self._round()
            self._round()

    def _round(self) -> None:
        """Commit what has gathered; on a failure keep it, wait, and let the next round try again."""
        self._awake.clear()
        batch = self._take()
        while batch:
            try:
                self._commit(batch)
            except sqlite3.Error as error:
                self._put_back(batch)
                self._trouble(Unavailable(str(self._path), str(error)))
                self._closing.wait(RETRY_S)
                return
            batch = self._take()
        with self._written:
            self._rounds += 1
            self._written.notify_all()

    def _take(self) -> dict[Key, bytes | None]:
        batch: dict[Key, bytes | None] = {}
        while self._pending and len(batch) < BATCH:
            key, payload = self._pending.popitem()
            batch[key] = payload
        return batch

    def _put_back(self, batch: dict[Key, bytes | None]) -> None:
        for key, payload in batch.items():
            self._pending.setdefault(key, payload)
        self._awake.set()

    def _commit(self, batch: dict[Key, bytes | None]) -> None:
        connection = self._connection
        with connection:
            connection.executemany(
                WRITE, [(key[0], key[1], payload) for key, payload in batch.items() if payload is not None]
            )
            connection.executemany(ERASE, [key for key, payload in batch.items() if payload is None])


def _open(path: Path) -> sqlite3.Connection:
    """Open the file; one that is damaged is put aside, since phones will bring its content again."""
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) or not path.exists():
            raise Unavailable(str(path), str(error)) from error
        path.replace(path.with_suffix(".damaged"))
        for companion in ("-wal", "-shm"):
            path.with_name(path.name + companion).unlink(missing_ok=True)
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, timeout=5)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(SCHEMA)
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
