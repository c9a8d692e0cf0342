"""A fault of ours ends the one call that it happened in, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conf.snapshot import Snapshot, TenantId
from jackfield.phone import tone
from sipcore import events as sip
from tests.house import House, make_snapshot


class Trap(dict[tuple[TenantId, str], object]):
    """Configuration that breaks whoever looks up one number: a fault that no phone could cause."""

    def get(self, key: tuple[TenantId, str], default: object = None) -> object:
        if key[1] == "666":
            raise ZeroDivisionError
        return super().get(key, default)


def trapped() -> Snapshot:
    snapshot = make_snapshot()
    return make_snapshot(extensions=Trap(snapshot.extensions))


@pytest.fixture
def crashes(monkeypatch: pytest.MonkeyPatch) -> list[sip.Crashed]:
    told: list[sip.Crashed] = []
    record: Callable[[House, sip.Crashed], None] = lambda house, crash: told.append(crash)  # noqa: E731
    monkeypatch.setattr(House, "crashed", record)
    return told


async def test_a_crash_refuses_that_call_and_leaves_the_others(crashes: list[sip.Crashed]) -> None:
    async with House(strict=False) as house:
        anna, boris, clara = [await house.phone(number) for number in ("101", "102", "103")]
        boris.speaks(tone(1000))
        await anna.dials("102")
        await boris.answers()
        await anna.talks()
        house.reconfigure(trapped())
        await clara.dials("666")
        assert await clara.fails() == 500
        await anna.hears(tone(1000))
        await anna.hangs_up()
    assert "ZeroDivisionError" in crashes[0].why
