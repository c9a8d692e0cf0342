"""Open the configuration database, SQLite or PostgreSQL, and bring its tables up to date.

Leaves what is in the tables to `conf/reader.py` and `conf/writer.py`. An engine belongs to the event
loop that made it, and must be disposed of there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Literal

import sqlalchemy as sa
from asyncpg import PostgresError  # type: ignore[import-untyped]
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from conf.faults import SettingsError, Unavailable
from conf.migrations import HEAD

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_S = 10
IsolationLevel = Literal["REPEATABLE READ", "READ COMMITTED"]
UPGRADE_LOCK = 0x6A61636B  # "jack": PostgreSQL's advisory lock, so that two processes do not migrate at once


def open_engine(url: str) -> AsyncEngine:
    """An engine for `url`. Raises SettingsError when the URL names no database that Jackfield speaks to."""
    try:
        parsed = make_url(url)
        engine = create_async_engine(parsed, pool_pre_ping=parsed.get_backend_name() != "sqlite")
    except (ArgumentError, ImportError) as error:
        raise SettingsError(
            "database.url", f"cannot be used ({error})", "Write postgresql://user:password@host/name."
        ) from None
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine.sync_engine, "do_connect", _try_sqlite)
        sa.event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        sa.event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def shown(engine: AsyncEngine) -> str:
    """The database's address for people, without its password."""
    return engine.url.render_as_string(hide_password=True)


async def revision(engine: AsyncEngine) -> str | None:
    """The step that the tables are at; None in an empty database. Raises Unavailable."""
    async with reading(engine) as connection:
        return await connection.run_sync(_revision)


async def upgrade(engine: AsyncEngine, to: str = "head") -> None:
    """Bring the tables up to `to`, in one transaction: all the way or not at all.

    Raises SettingsError when a newer Jackfield made them, Unavailable when the database is away.
    """
    if to == "head" and await revision(engine) == HEAD:
        return
    await _migrate(engine, to, down=False)


async def downgrade(engine: AsyncEngine, to: str) -> None:
    """Take the tables back to step `to` ("base": to nothing, which loses all that is in them)."""
    await _migrate(engine, to, down=True)


def reading(engine: AsyncEngine) -> AbstractAsyncContextManager[AsyncConnection]:
    """`async with reading(engine) as connection`: a transaction that sees one moment of the database.

    Raises Unavailable in place of the drivers' many errors.
    """
    return _transaction(engine, "REPEATABLE READ", write=False)


def writing(engine: AsyncEngine) -> AbstractAsyncContextManager[AsyncConnection]:
    """The same for a transaction that writes: one at a time, and it waits for its turn at the beginning."""
    return _transaction(engine, "READ COMMITTED", write=True)


@asynccontextmanager
async def _transaction(
    engine: AsyncEngine, isolation: IsolationLevel, *, write: bool
) -> AsyncIterator[AsyncConnection]:
    try:
        async with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                await connection.execution_options(isolation_level=isolation)
            await connection.execution_options(jackfield_write=write)
            async with connection.begin():
                yield connection
    except (IntegrityError, ProgrammingError, DataError):
        raise  # our own bug, not the database's absence
    except (DBAPIError, PostgresError, OSError) as error:
        raise away(engine, error) from error


def away(engine: AsyncEngine, error: Exception) -> Unavailable:
    why = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    return Unavailable(
        f"the database {shown(engine)}", why.strip().splitlines()[0] if why.strip() else repr(error)
    )


async def _migrate(engine: AsyncEngine, to: str, *, down: bool) -> None:
    async with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            await connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({UPGRADE_LOCK})"))
        await connection.run_sync(_run_alembic, to, down)


def _run_alembic(connection: sa.Connection, to: str, down: bool) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        (command.downgrade if down else command.upgrade)(config, to)
    except CommandError as error:
        raise SettingsError(
            connection.engine.url.render_as_string(hide_password=True),
            f"the tables cannot be brought to {to} ({error})",
            "When a newer Jackfield made them, run that version, or let it downgrade them first.",
        ) from None


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _try_sqlite(_dialect: object, _record: object, arguments: list[str], _options: object) -> None:
    # What cannot be opened fails here, at once: aiosqlite would leave a thread behind that reports to a
    # loop which may be closed by then.
    sqlite3.connect(arguments[0]).close()


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    # The driver's own habit of opening transactions late, and not at all for CREATE TABLE, is
    # switched off; `_begin_sqlite` opens them.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute(f"PRAGMA busy_timeout={BUSY_S * 1000}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("jackfield_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
