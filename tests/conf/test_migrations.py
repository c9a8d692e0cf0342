"""The steps of the tables, up and down, on both databases; and that they end where conf/tables.py is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncEngine

from conf.database import MIGRATIONS, downgrade, open_engine, reading, revision, upgrade, writing
from conf.faults import SettingsError, Unavailable
from conf.migrations import HEAD
from conf.settings import Settings
from conf.tables import metadata


@pytest_asyncio.fixture
async def engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    settings.paths.var.mkdir()
    engine = open_engine(settings.database_url)
    yield engine
    await engine.dispose()


async def tables(engine: AsyncEngine) -> set[str]:
    async with reading(engine) as connection:
        return set(await connection.run_sync(lambda plain: sa.inspect(plain).get_table_names()))


async def test_an_empty_database_is_brought_all_the_way_up(engine: AsyncEngine) -> None:
    assert await revision(engine) is None
    await upgrade(engine)
    assert await revision(engine) == HEAD
    assert set(metadata.tables) < await tables(engine)


async def test_upgrading_twice_changes_nothing(engine: AsyncEngine) -> None:
    await upgrade(engine)
    await upgrade(engine)
    assert await revision(engine) == HEAD


async def test_down_to_nothing_and_up_again(engine: AsyncEngine) -> None:
    await upgrade(engine)
    await downgrade(engine, "base")
    assert await tables(engine) == {"alembic_version"}
    await upgrade(engine)
    assert await revision(engine) == HEAD


async def test_the_steps_end_at_the_tables_that_the_code_knows(engine: AsyncEngine) -> None:
    await upgrade(engine)
    async with reading(engine) as connection:
        differences = await connection.run_sync(
            lambda plain: compare_metadata(MigrationContext.configure(plain), metadata)
        )
    assert differences == []


async def test_a_database_of_a_newer_jackfield_is_refused(engine: AsyncEngine) -> None:
    await upgrade(engine)
    async with writing(engine) as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SettingsError, match="newer Jackfield"):
        await upgrade(engine)


async def test_a_failed_transaction_leaves_nothing(engine: AsyncEngine) -> None:
    await upgrade(engine)

    async def fail() -> None:
        async with writing(engine) as connection:
            await connection.execute(sa.text("UPDATE config_version SET version = 77"))
            raise SettingsError("here", "it is wrong", "Mend it.")

    with pytest.raises(SettingsError):
        await fail()
    async with reading(engine) as connection:
        assert (await connection.execute(sa.text("SELECT version FROM config_version"))).scalar() == 0


def test_the_newest_step_is_the_one_that_the_server_looks_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


@pytest.mark.parametrize(
    "url", ["sqlite+aiosqlite:////nowhere/at/all.db", "postgresql+asyncpg://u:secret@127.0.0.1:1/x"]
)
async def test_a_database_that_is_away_is_told_without_its_password(url: str) -> None:
    engine = open_engine(url)
    with pytest.raises(Unavailable) as caught:
        await revision(engine)
    await engine.dispose()
    assert "secret" not in str(caught.value)


def test_a_url_of_an_unknown_database_is_a_fault_of_the_settings() -> None:
    with pytest.raises(SettingsError, match=r"database\.url"):
        open_engine("mysql+nothing://x")
