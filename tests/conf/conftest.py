"""What the tests of the configuration share: a database of each kind, settings on it, an open store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from postgresql import Server, running

from conf.settings import Database, Paths, Settings
from conf.store import ConfigStore

BOTH = [pytest.param("sqlite"), pytest.param("postgresql", marks=pytest.mark.wire)]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """The URL of an empty database of a kind."""
    kinds: dict[str, Callable[[], str]] = {
        "sqlite": lambda: f"sqlite:///{tmp_path / 'jackfield.db'}",
        "postgresql": lambda: request.getfixturevalue("postgresql").database(),
    }
    return lambda kind: kinds[kind]()


@pytest.fixture(params=BOTH)
def settings(request: pytest.FixtureRequest, fresh_url: Callable[[str], str], tmp_path: Path) -> Settings:
    """Settings on an empty database, once per kind."""
    return Settings(paths=Paths(var=tmp_path / "var"), database=Database(url=fresh_url(request.param)))


@pytest.fixture
def sqlite_settings(tmp_path: Path) -> Settings:
    return Settings(paths=Paths(var=tmp_path / "var"))


@pytest_asyncio.fixture
async def store(settings: Settings) -> AsyncIterator[ConfigStore]:
    store = await ConfigStore.open(settings)
    yield store
    await store.close()


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JACKFIELD_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
