"""The demonstration: made once, kept over starts, shown only while it is true."""

from __future__ import annotations

import stat

import pytest

from conf.changes import ChangeExtension, Password, RemoveTenant
from conf.demo import LETTERS, PASSWORD_LENGTH, ensure_demo
from conf.digests import make_secret
from conf.faults import SettingsError
from conf.settings import Database, Settings
from conf.store import ConfigStore


async def test_the_first_start_makes_four_phones(store: ConfigStore, settings: Settings) -> None:
    phones = await ensure_demo(store, settings)
    snapshot = await store.load_snapshot()
    tenant = snapshot.tenant_of("192.0.2.1")
    assert tenant is not None
    assert [phone.number for phone in phones] == ["101", "102", "103", "104"]
    for phone in phones:
        expected = make_secret(phone.number, tenant.realm, phone.password)
        assert snapshot.extensions[tenant.id, phone.number].secret == expected
    assert {number: service.app for (_, number), service in snapshot.services.items()} == {
        "*43": "echo",
        "*41": "tone",
    }


async def test_the_second_start_shows_the_same(store: ConfigStore, settings: Settings) -> None:
    first = await ensure_demo(store, settings)
    version = (await store.load_snapshot()).version
    assert await ensure_demo(store, settings) == first
    assert (await store.load_snapshot()).version == version


async def test_passwords_are_strong_and_free_of_look_alikes(store: ConfigStore, settings: Settings) -> None:
    passwords = {phone.password for phone in await ensure_demo(store, settings)}
    assert len(passwords) == 4
    assert {len(password) for password in passwords} == {PASSWORD_LENGTH}
    assert not set("0O1lIi5S8B") & set(LETTERS)


async def test_their_file_is_for_the_owner_alone(store: ConfigStore, settings: Settings) -> None:
    await ensure_demo(store, settings)
    assert stat.S_IMODE(settings.demo_passwords_file.stat().st_mode) == 0o600


async def test_a_password_that_was_changed_is_no_longer_shown(store: ConfigStore, settings: Settings) -> None:
    await ensure_demo(store, settings)
    mine = ChangeExtension(tenant="demo", number="102", password=Password("my own password"))
    await store.apply([mine], by="a test")
    assert [phone.number for phone in await ensure_demo(store, settings)] == ["101", "103", "104"]


async def test_a_removed_demonstration_does_not_come_back(store: ConfigStore, settings: Settings) -> None:
    await ensure_demo(store, settings)
    await store.apply([RemoveTenant(name="demo", with_content=True)], by="a test")
    assert await ensure_demo(store, settings) == ()
    assert (await store.load_snapshot()).tenants == {}


async def test_without_their_file_no_passwords_are_shown(store: ConfigStore, settings: Settings) -> None:
    await ensure_demo(store, settings)
    settings.demo_passwords_file.unlink()
    assert await ensure_demo(store, settings) == ()


async def test_an_operator_can_do_without(sqlite_settings: Settings) -> None:
    settings = sqlite_settings.model_copy(update={"database": Database(demo=False)})
    store = await ConfigStore.open(settings)
    assert await ensure_demo(store, settings) == ()
    assert (await store.load_snapshot()).version == 0
    await store.close()


@pytest.mark.parametrize("text", ["passwords = [", "\udcff"])
async def test_a_damaged_file_of_passwords_is_told(text: str, store: ConfigStore, settings: Settings) -> None:
    await ensure_demo(store, settings)
    settings.demo_passwords_file.write_text(text, errors="surrogateescape")
    with pytest.raises(SettingsError, match=r"demo-passwords\.toml: cannot be read"):
        await ensure_demo(store, settings)
