"""The configuration on both databases: changes, snapshots, watching across processes."""

from __future__ import annotations

import asyncio
import ipaddress
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from postgresql import Server

from conf.changes import (
    AddExtension,
    AddService,
    AddTenant,
    AddTrunk,
    Change,
    ChangeExtension,
    ChangeTenant,
    ChangeTrunk,
    Password,
    RemoveExtension,
    RemoveService,
    RemoveTenant,
    RemoveTrunk,
)
from conf.database import open_engine, writing
from conf.digests import make_secret
from conf.faults import SettingsError, Unavailable
from conf.settings import Database, Paths, Settings
from conf.snapshot import Snapshot, Srtp, TenantId
from conf.store import ConfigStore

ACME = AddTenant(name="acme", realm="sip.acme.example", domains=("acme.example",), default=True)
BOSS = AddExtension(tenant="acme", number="201", name="The boss", password=Password("correct horse"))
ECHO = AddService(tenant="acme", number="*43", app="echo", name="Echo")
TRUNK = AddTrunk(tenant="acme", name="carrier", networks=("192.0.2.7", "198.51.100.0/24"), max_calls=30)


@asynccontextmanager
async def watched(store: ConfigStore) -> AsyncIterator[asyncio.Queue[Snapshot]]:
    """The snapshots that a watcher of `store` is handed."""
    seen: asyncio.Queue[Snapshot] = asyncio.Queue()
    watch = store.watch(seen.put_nowait, lambda error: pytest.fail(str(error)))
    yield seen
    await watch.close()


async def next_of(seen: asyncio.Queue[Snapshot]) -> Snapshot:
    async with asyncio.timeout(5):
        return await seen.get()


async def test_what_was_added_is_in_the_snapshot(store: ConfigStore) -> None:
    version = await store.apply([ACME, BOSS, ECHO, TRUNK], by="a test")
    snapshot = await store.load_snapshot()
    acme = snapshot.tenant_of("ACME.example")
    assert snapshot.version == version == 1
    assert acme is not None
    assert (acme.name, acme.realm, acme.domains) == ("acme", "sip.acme.example", ("acme.example",))
    boss = snapshot.extensions[acme.id, "201"]
    assert (boss.name, boss.enabled, boss.ring_s, boss.contact) == ("The boss", True, 60, "")
    assert boss.secret == make_secret("201", "sip.acme.example", "correct horse")
    assert snapshot.services[acme.id, "*43"].app == "echo"
    assert snapshot.trunks[0].max_calls == 30
    assert ipaddress.ip_network("198.51.100.0/24") in snapshot.trunks[0].networks


async def test_encrypted_sound_is_a_wish_of_each_extension_and_trunk(store: ConfigStore) -> None:
    await store.apply([ACME, BOSS, TRUNK], by="a test")
    before = await store.load_snapshot()
    [key] = before.extensions
    assert (before.extensions[key].srtp, before.trunks[0].srtp) == (Srtp.OFF, Srtp.OFF)
    wishes = [
        ChangeExtension(tenant="acme", number="201", srtp="best-effort"),
        ChangeTrunk(tenant="acme", name="carrier", srtp="required", trusted_identity=False),
    ]
    await store.apply(wishes, by="a test")
    after = await store.load_snapshot()
    assert after.extensions[key].srtp is Srtp.BEST_EFFORT
    trunk = after.trunks[0]
    assert (trunk.srtp, trunk.trusted_identity, trunk.max_calls) == (Srtp.REQUIRED, False, 30)


async def test_a_host_that_is_no_domain_means_the_default_tenant(store: ConfigStore) -> None:
    await store.apply([AddTenant(name="first", realm="first.example"), ACME], by="a test")
    snapshot = await store.load_snapshot()
    assert snapshot.tenant_of("192.0.2.1") == snapshot.tenant_of("sip.acme.example")


async def test_only_one_tenant_is_the_default(store: ConfigStore) -> None:
    await store.apply([ACME, AddTenant(name="next", realm="next.example", default=True)], by="a test")
    snapshot = await store.load_snapshot()
    assert snapshot.default_tenant == snapshot.tenant_by_domain["next.example"]


async def test_one_number_in_two_tenants_is_two_extensions(store: ConfigStore) -> None:
    other = AddExtension(tenant="other", number="201", name="Another", password=Password("battery staple"))
    await store.apply([ACME, BOSS, AddTenant(name="other", realm="other.example"), other], by="a test")
    snapshot = await store.load_snapshot()
    assert {extension.name for extension in snapshot.extensions.values()} == {"The boss", "Another"}


async def test_a_change_leaves_the_rest_as_it_was(store: ConfigStore) -> None:
    await store.apply([ACME, BOSS], by="a test")
    before = await store.load_snapshot()
    await store.apply([ChangeExtension(tenant="acme", number="201", ring_s=20, enabled=False)], by="a test")
    after = (await store.load_snapshot()).extensions
    key = next(iter(before.extensions))
    assert (after[key].ring_s, after[key].enabled) == (20, False)
    assert (after[key].name, after[key].secret) == ("The boss", before.extensions[key].secret)


async def test_a_tenant_changes_its_domains(store: ConfigStore) -> None:
    await store.apply([ACME], by="a test")
    await store.apply([ChangeTenant(name="acme", domains=("new.example",), max_calls=5)], by="a test")
    snapshot = await store.load_snapshot()
    assert set(snapshot.tenant_by_domain) == {"sip.acme.example", "new.example"}
    await store.apply([ChangeTenant(name="acme", default=False)], by="a test")
    assert (await store.load_snapshot()).default_tenant is None


async def test_what_was_removed_is_gone(store: ConfigStore) -> None:
    await store.apply([ACME, BOSS, ECHO, TRUNK], by="a test")
    await store.apply(
        [
            RemoveExtension(tenant="acme", number="201"),
            RemoveService(tenant="acme", number="*43"),
            RemoveTrunk(tenant="acme", name="carrier"),
            RemoveTenant(name="acme"),
        ],
        by="a test",
    )
    snapshot = await store.load_snapshot()
    assert (snapshot.tenants, snapshot.extensions, snapshot.services, snapshot.trunks) == ({}, {}, {}, ())


async def test_the_id_of_a_removed_tenant_is_never_used_again(store: ConfigStore) -> None:
    """Registrations are kept by tenant id: they must not fall to a stranger."""
    await store.apply([ACME], by="a test")
    first = (await store.load_snapshot()).default_tenant
    await store.apply([RemoveTenant(name="acme"), ACME], by="a test")
    assert (await store.load_snapshot()).default_tenant != first


async def test_a_bundle_is_carried_out_whole_or_not_at_all(store: ConfigStore) -> None:
    with pytest.raises(SettingsError, match="extension 999 of tenant acme"):
        await store.apply([ACME, BOSS, RemoveExtension(tenant="acme", number="999")], by="a test")
    snapshot = await store.load_snapshot()
    assert (snapshot.version, len(snapshot.tenants)) == (0, 0)


async def test_the_database_holds_no_password(store: ConfigStore, settings: Settings) -> None:
    await store.apply([ACME, BOSS], by="a test")
    engine = open_engine(settings.database_url)
    async with writing(engine) as connection:
        row = (await connection.execute(sa.text("SELECT * FROM extensions"))).one()
    await engine.dispose()
    secret = make_secret("201", "sip.acme.example", "correct horse")
    assert b"correct horse" not in bytes(row.secret)
    assert bytes.fromhex(secret.md5) not in bytes(row.secret)


async def test_the_change_log_tells_who_did_what(store: ConfigStore) -> None:
    await store.apply([ACME, BOSS], by="eve")
    await store.apply([RemoveExtension(tenant="acme", number="201")], by="mallory")
    told = [(line.version, line.by, line.action, line.kind, line.name) for line in await store.history()]
    assert told == [
        (2, "mallory", "remove", "extension", "201"),
        (1, "eve", "add", "extension", "201"),
        (1, "eve", "add", "tenant", "acme"),
    ]
    assert (await store.history())[0].at.utcoffset() is not None


async def test_a_check_names_each_bad_change_and_changes_nothing(store: ConfigStore) -> None:
    await store.apply([ACME, BOSS], by="a test")
    bad = [
        BOSS,
        AddExtension(tenant="acme", number="202", password=Password("correct horse")),
        AddExtension(tenant="acme", number="203", password=Password("short")),
        AddExtension(tenant="acme", number="202", password=Password("correct horse")),
    ]
    assert [position for position, _ in await store.check(bad)] == [0, 2, 3]
    assert (await store.load_snapshot()).version == 1


async def test_a_watcher_sees_what_another_process_changed(store: ConfigStore, settings: Settings) -> None:
    await store.apply([ACME, BOSS, ECHO, TRUNK], by="a test")
    before = await store.load_snapshot()
    other = await ConfigStore.open(settings)
    async with watched(store) as seen:
        await other.apply([ChangeExtension(tenant="acme", number="201", name="New boss")], by="another")
        after = await next_of(seen)
    await other.close()
    key = (TenantId(1), "201")
    assert (before.extensions[key].name, after.extensions[key].name) == ("The boss", "New boss")
    assert after.version == before.version + 1
    assert after.services is before.services


async def test_a_watcher_follows_additions_and_removals(store: ConfigStore) -> None:
    await store.apply([ACME, BOSS], by="a test")
    await store.load_snapshot()
    async with watched(store) as seen:
        added = AddExtension(tenant="acme", number="202", password=Password("correct horse"))
        await store.apply([added, ECHO], by="a test")
        assert sorted(number for _, number in (await next_of(seen)).extensions) == ["201", "202"]
        await store.apply([RemoveExtension(tenant="acme", number="201"), TRUNK], by="a test")
        last = await next_of(seen)
    assert [number for _, number in last.extensions] == ["202"]
    assert [service.app for service in last.services.values()] == ["echo"]
    assert [trunk.name for trunk in last.trunks] == ["carrier"]


async def test_step_by_step_and_whole_come_to_the_same(store: ConfigStore) -> None:
    many: list[Change] = [
        AddExtension(tenant="acme", number=str(300 + number), password=Password("correct horse"))
        for number in range(1200)
    ]
    await store.apply([ACME, BOSS], by="a test")
    await store.load_snapshot()
    async with watched(store) as seen:
        await store.apply([*many, ECHO], by="a test")
        followed = await next_of(seen)
    assert followed == await store.load_snapshot()


async def test_a_change_made_before_the_watch_is_told_at_once(store: ConfigStore) -> None:
    await store.load_snapshot()
    await store.apply([ACME], by="a test")
    async with watched(store) as seen:
        assert (await next_of(seen)).version == 1


async def test_a_closed_watch_is_silent(store: ConfigStore) -> None:
    async with watched(store) as seen:
        await next_of(seen)
    await store.apply([ACME], by="a test")
    await store.load_snapshot()
    assert seen.empty()


async def test_after_a_new_key_running_servers_go_on(store: ConfigStore, settings: Settings) -> None:
    await store.apply([ACME, BOSS], by="a test")
    before = await store.load_snapshot()
    other = await ConfigStore.open(settings)
    assert await other.rotate_key() == 1
    await other.close()
    assert (await store.load_snapshot()).extensions == before.extensions


async def test_without_its_key_the_database_does_not_open(store: ConfigStore, settings: Settings) -> None:
    await store.apply([ACME, BOSS], by="a test")
    settings.key_file.rename(settings.paths.var / "elsewhere")
    with pytest.raises(SettingsError, match=r"secret\.key.*is missing"):
        await ConfigStore.open(settings)


async def test_the_first_start_makes_var_and_key_for_the_owner_alone(sqlite_settings: Settings) -> None:
    store = await ConfigStore.open(sqlite_settings)
    await store.close()
    assert stat.S_IMODE(sqlite_settings.paths.var.stat().st_mode) == 0o700
    assert stat.S_IMODE(sqlite_settings.key_file.stat().st_mode) == 0o600


@pytest.mark.wire
async def test_a_watcher_outlives_the_death_of_postgresql(postgresql: Server, tmp_path: Path) -> None:
    """What changed while nobody listened is told when the database is back."""
    settings = Settings(paths=Paths(var=tmp_path), database=Database(url=postgresql.database()))
    store = await ConfigStore.open(settings)
    seen: asyncio.Queue[Snapshot] = asyncio.Queue()
    troubles: asyncio.Queue[Unavailable | SettingsError] = asyncio.Queue()
    watch = store.watch(seen.put_nowait, troubles.put_nowait)
    await next_of(seen)
    postgresql.stop()
    async with asyncio.timeout(5):
        assert "unavailable" in str(await troubles.get())
    with pytest.raises(Unavailable):
        await store.load_snapshot()
    postgresql.start()
    other = await ConfigStore.open(settings)
    await other.apply([ACME], by="another")
    await other.close()
    assert (await next_of(seen)).version == 1
    await watch.close()
    await store.close()


def adding(number: str, password: str = "correct horse", **values: Any) -> AddExtension:
    return AddExtension(tenant="acme", number=number, password=Password(password), **values)


@pytest.mark.parametrize(
    ("change", "where", "problem"),
    [
        (AddTenant(name="Acme!", realm="x.example"), "tenant Acme!", "cannot be a name"),
        (AddTenant(name="acme", realm="x.example"), "tenant acme", "with this name already"),
        (AddTenant(name="x", realm="no realm"), "tenant x", "not a host name"),
        (AddTenant(name="x", realm="acme.example"), "tenant x", "acme.example belongs to tenant acme"),
        (AddTenant(name="x", realm="x.example", domains=("sip.acme.example",)), "tenant x", "belongs to"),
        (ChangeTenant(name="x"), "tenant x", "there is none"),
        (RemoveTenant(name="acme"), "tenant acme", "it has 1 extensions, 1 services, 1 trunks"),
        (BOSS, "extension 201 of tenant acme", "201 is taken by an extension"),
        (AddService(tenant="acme", number="201", app="echo"), "service 201", "taken by an extension"),
        (AddService(tenant="acme", number="*43", app="echo"), "service *43", "taken by a service"),
        (AddService(tenant="acme", number="*44", app="juggle"), "service *44", 'no application "juggle"'),
        (AddService(tenant="acme", number="", app="echo"), "service ", "cannot be dialled"),
        (RemoveTenant(name="x"), "tenant x", "there is none"),
        (adding("*1"), "*1", "cannot be an extension"),
        (adding("202", "short"), "202", "8 to 128"),
        (adding("202", "tab\tin the middle"), "202", "printable"),
        (adding("202", ring_s=1), "202", "ring_s 1"),
        (adding("202", contact="bob@x"), "202", "not a SIP URI"),
        (ChangeExtension(tenant="acme", number="999"), "extension 999", "there is none"),
        (ChangeExtension(tenant="acme", number="201", max_contacts=0), "extension 201", "max_contacts 0"),
        (ChangeExtension(tenant="acme", number="201", name="a\nb"), "extension 201", "unprintable"),
        (ChangeExtension(tenant="acme", number="201", password=Password("x")), "extension 201", "8 to 128"),
        (RemoveExtension(tenant="acme", number="999"), "extension 999", "there is none"),
        (RemoveService(tenant="acme", number="999"), "service 999", "there is none"),
        (AddTrunk(tenant="acme", name="two", networks=()), "trunk two", "without a network"),
        (AddTrunk(tenant="acme", name="two", networks=("example.com",)), "trunk two", "is not an IP address"),
        (
            AddTrunk(tenant="acme", name="two", networks=("192.0.2.7/32",)),
            "trunk two",
            "belongs to trunk carrier",
        ),
        (AddTrunk(tenant="acme", name="carrier", networks=("10.0.0.1",)), "trunk carrier", "already"),
        (RemoveTrunk(tenant="acme", name="two"), "trunk two", "there is none"),
        (ChangeTrunk(tenant="acme", name="two"), "trunk two", "there is none"),
        (ChangeTrunk(tenant="acme", name="carrier", max_calls=-1), "trunk carrier", "max_calls -1"),
        (ChangeTrunk(tenant="acme", name="carrier", srtp="on"), "trunk carrier", 'srtp cannot be "on"'),
        (ChangeExtension(tenant="acme", number="201", srtp=""), "extension 201", 'srtp cannot be ""'),
        (adding("202", srtp="maybe"), "202", 'srtp cannot be "maybe"'),
    ],
)
async def test_a_change_that_cannot_be_is_refused_with_its_place(
    sqlite_settings: Settings, change: Change, where: str, problem: str
) -> None:
    store = await ConfigStore.open(sqlite_settings)
    await store.apply([ACME, BOSS, ECHO, TRUNK], by="a test")
    [(_, error)] = await store.check([change])
    await store.close()
    assert where in error.where
    assert problem in error.problem
    assert error.remedy
