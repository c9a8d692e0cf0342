"""Notice that some process may have changed the database: cheaply, soon, and without missing a change.

A nudge says "look", not what to see. SQLite keeps a counter that a commit of anyone else moves, and
asking for it is one look at shared memory; PostgreSQL tells by NOTIFY. After a lost connection there
is a nudge in any case, for what was missed.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from conf.database import away
from conf.faults import Unavailable
from conf.writer import CHANNEL

LOOK_EVERY_S = 0.05
RETRY_S = 1.0


async def nudges(
    engine: AsyncEngine, stop: asyncio.Event, trouble: Callable[[Unavailable], None]
) -> AsyncIterator[None]:
    """A nudge at the beginning, and one whenever there may be a new version, until `stop` is set.

    `trouble` is told when the database goes away; looking goes on, once a second.
    """
    watch = _sqlite_nudges if engine.dialect.name == "sqlite" else _postgresql_nudges
    while not stop.is_set():
        try:
            async for _ in watch(engine, stop):
                yield None
        except (DBAPIError, sqlite3.Error, OSError) as error:
            trouble(away(engine, error))
            await _wait(stop, RETRY_S)


async def _sqlite_nudges(engine: AsyncEngine, stop: asyncio.Event) -> AsyncIterator[None]:
    database = engine.url.database
    assert database is not None
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        seen = -1
        while not stop.is_set():
            found = connection.execute("PRAGMA data_version").fetchone()[0]
            if found != seen:
                seen = found
                yield None
            await _wait(stop, LOOK_EVERY_S)


async def _postgresql_nudges(engine: AsyncEngine, stop: asyncio.Event) -> AsyncIterator[None]:
    told = asyncio.Event()
    told.set()

    def tell(*_: object) -> None:
        told.set()

    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        driver: Any = (await connection.get_raw_connection()).driver_connection
        driver.add_termination_listener(tell)
        await driver.add_listener(CHANNEL, tell)
        try:
            while not stop.is_set():
                await _first(told, stop)
                if driver.is_closed():
                    raise ConnectionResetError("the connection was closed")
                told.clear()
                if not stop.is_set():
                    yield None
        finally:
            if not driver.is_closed():
                await driver.remove_listener(CHANNEL, tell)
                driver.remove_termination_listener(tell)


async def _wait(stop: asyncio.Event, for_s: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), for_s)
    except TimeoutError:
        return


async def _first(one: asyncio.Event, other: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(one.wait()), asyncio.ensure_future(other.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
