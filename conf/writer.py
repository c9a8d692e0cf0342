"""Write changes into the database: one bundle, one transaction, one new version.

What a change means is decided in `conf/plan.py`; here is the SQL around it. The version's row is
taken first, so that writers come one after the other and what was checked stays true to the end.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from conf.changes import Change, RemoveTenant
from conf.faults import SettingsError
from conf.plan import Book, KnownTenant, Planner, Write, place
from conf.tables import (
    changes,
    config_version,
    domains,
    extensions,
    services,
    tenants,
    trunk_networks,
    trunks,
)
from conf.vault import Vault

CHANNEL = "jackfield_config"
"""PostgreSQL's NOTIFY channel: a word on it means that there may be a new version."""
FEW = 500


async def write(
    connection: AsyncConnection,
    vault: Vault,
    wanted: Sequence[Change],
    by: str,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> int:
    """Carry out `wanted` and give the new version. Raises SettingsError at the first that cannot be."""
    version = await _next_version(connection)
    planner = await _planner(connection, vault, wanted, by)
    for done, change in enumerate(wanted):
        planner.plan(change)
        if done % FEW == 0:
            progress(done, 2 * len(wanted))
    written = 0
    for statement, rows in _grouped(planner.writes):
        for start in range(0, len(rows), FEW):
            await connection.execute(statement, rows[start : start + FEW])
            written += len(rows[start : start + FEW])
            progress(len(wanted) + written * len(wanted) // len(planner.writes), 2 * len(wanted))
    log = [
        {
            "version": version,
            "position": position,
            "kind": touched.kind,
            "action": touched.action,
            "tenant_id": touched.tenant_id,
            "name": touched.name,
            "at": planner.at,
            "by": by,
        }
        for position, touched in enumerate(planner.touched)
    ]
    if log:
        await connection.execute(changes.insert(), log)
    await connection.execute(config_version.update().values(next_id=planner.book.next_id))
    if connection.dialect.name == "postgresql":
        await connection.execute(sa.text(f"NOTIFY {CHANNEL}"))
    return version


async def check(
    connection: AsyncConnection, vault: Vault, wanted: Sequence[Change], by: str
) -> list[tuple[int, SettingsError]]:
    """What would go wrong with `wanted`: (position, error) of each that cannot be. Writes nothing."""
    planner = await _planner(connection, vault, wanted, by)
    found = []
    for position, change in enumerate(wanted):
        try:
            planner.plan(change)
        except SettingsError as error:
            found.append((position, error))
    return found


async def reseal(connection: AsyncConnection, vault: Vault) -> int:
    """Encrypt anew every secret that is not under the newest key; gives how many there were."""
    rows = (
        await connection.execute(sa.select(extensions.c.tenant_id, extensions.c.number, extensions.c.secret))
    ).all()
    fresh = [
        {
            "key_tenant_id": row.tenant_id,
            "key_number": row.number,
            "secret": vault.reseal(row.secret, place(row.tenant_id, row.number)),
        }
        for row in rows
        if not row.secret.startswith(vault.newest)
    ]
    if fresh:
        await connection.execute(
            _statement("change", extensions, ("tenant_id", "number"), ("secret",)), fresh
        )
    return len(fresh)


async def _next_version(connection: AsyncConnection) -> int:
    await connection.execute(config_version.update().values(version=config_version.c.version + 1))
    return int((await connection.execute(sa.select(config_version.c.version))).scalar_one())


async def _planner(connection: AsyncConnection, vault: Vault, wanted: Sequence[Change], by: str) -> Planner:
    return Planner(await _read_book(connection, wanted), vault, dt.datetime.now(dt.UTC), by)


async def _read_book(connection: AsyncConnection, wanted: Sequence[Change]) -> Book:
    next_id = (await connection.execute(sa.select(config_version.c.next_id))).scalar_one()
    known: dict[str, KnownTenant] = {}
    by_id: dict[int, KnownTenant] = {}
    for row in await connection.execute(sa.select(tenants)):
        by_id[row.id] = known[row.name] = KnownTenant(row.id, row.realm, row.is_default, ())
    for row in await connection.execute(sa.select(domains).order_by(domains.c.name)):
        by_id[row.tenant_id].domains += (row.name,)
    named = sa.select(trunks.c.tenant_id, trunks.c.id, trunks.c.name, tenants.c.name.label("tenant"))
    trunk_rows = (await connection.execute(named.join(tenants))).all()
    owner = {row.id: f"trunk {row.name} of tenant {row.tenant}" for row in trunk_rows}
    return Book(
        next_id=next_id,
        tenants=known,
        extensions=await _numbers(connection, extensions, wanted, known),
        services=await _numbers(connection, services, wanted, known),
        trunks={(row.tenant_id, row.name): row.id for row in trunk_rows},
        networks={
            row.network: owner[row.trunk_id] for row in await connection.execute(sa.select(trunk_networks))
        },
    )


async def _numbers(
    connection: AsyncConnection, table: sa.Table, wanted: Sequence[Change], known: dict[str, KnownTenant]
) -> set[tuple[int, str]]:
    """Which of the numbers that `wanted` names are there; of tenants that are to go, all."""
    numbers = {number for change in wanted if (number := getattr(change, "number", None)) is not None}
    owners = {
        known[change.name].id
        for change in wanted
        if isinstance(change, RemoveTenant) and change.name in known
    }
    query = sa.select(table.c.tenant_id, table.c.number)
    if len(numbers) <= FEW:
        query = query.where(table.c.number.in_(numbers) | table.c.tenant_id.in_(owners))
    return {(row.tenant_id, row.number) for row in await connection.execute(query)}


def _grouped(writes: Iterable[Write]) -> Iterable[tuple[sa.Executable, list[dict[str, Any]]]]:
    """Runs of the same statement, so that ten thousand rows are one round trip and order is kept."""

    def shape(write: Write) -> tuple[str, sa.Table, tuple[str, ...], tuple[str, ...]]:
        return write.action, write.table, tuple(write.key), tuple(write.values)

    for (action, table, key, columns), run in itertools.groupby(writes, shape):
        rows = [{**_key_values(action, write), **write.values} for write in run]
        yield _statement(action, table, key, columns), rows


def _key_values(action: str, write: Write) -> dict[str, Any]:
    return {name if action == "add" else f"key_{name}": value for name, value in write.key.items()}


def _statement(action: str, table: sa.Table, key: tuple[str, ...], columns: tuple[str, ...]) -> sa.Executable:
    if action == "add":
        return table.insert()
    found = sa.and_(*(table.c[name] == sa.bindparam(f"key_{name}") for name in key))
    if action == "remove":
        return table.delete().where(found)
    return table.update().where(found).values({name: sa.bindparam(name) for name in columns})
