"""Make snapshots from the database: whole, or from the one before by reading only what changed.

A snapshot shares with its predecessor every value that stayed the same; the mapping of a hundred
thousand extensions is copied in a millisecond or two, never read again for one that changed. Rows come
in small portions, so that a thread that builds a snapshot never holds the interpreter for long.
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Iterable, Mapping
from types import MappingProxyType
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from conf.digests import unpack
from conf.plan import place
from conf.snapshot import Extension, Service, Snapshot, Srtp, Tenant, TenantId, Trunk
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

PORTION = 200
Numbered = tuple[TenantId, str]
Value = TypeVar("Value", Extension, Service)


async def read_version(connection: AsyncConnection) -> int:
    return int((await connection.execute(sa.select(config_version.c.version))).scalar_one())


async def read_all(connection: AsyncConnection, vault: Vault) -> Snapshot:
    """Read everything. Raises SettingsError when a secret does not open."""
    return await _with_tenants(
        connection,
        await read_version(connection),
        {
            (row.tenant_id, row.number): _extension(row, vault)
            async for row in _rows(connection, sa.select(extensions))
        },
        {(row.tenant_id, row.number): _service(row) async for row in _rows(connection, sa.select(services))},
    )


async def read_since(connection: AsyncConnection, vault: Vault, old: Snapshot) -> Snapshot:
    """What `old` has become; `old` itself when nothing changed. A database put back is read whole."""
    version = await read_version(connection)
    if version == old.version:
        return old
    if version < old.version:
        return await read_all(connection, vault)
    touched: dict[str, set[Numbered]] = {"extension": set(), "service": set()}
    log = sa.select(changes.c.kind, changes.c.tenant_id, changes.c.name).where(
        changes.c.version > old.version
    )
    async for row in _rows(connection, log):
        if row.kind in touched:
            touched[row.kind].add((row.tenant_id, row.name))
    fresh_extensions = {
        (row.tenant_id, row.number): _extension(row, vault)
        async for row in _named(connection, extensions, touched["extension"])
    }
    fresh_services = {
        (row.tenant_id, row.number): _service(row)
        async for row in _named(connection, services, touched["service"])
    }
    return await _with_tenants(
        connection,
        version,
        _replaced(old.extensions, touched["extension"], fresh_extensions),
        _replaced(old.services, touched["service"], fresh_services),
    )


async def _with_tenants(
    connection: AsyncConnection,
    version: int,
    all_extensions: Mapping[Numbered, Extension],
    all_services: Mapping[Numbered, Service],
) -> Snapshot:
    rows = (await connection.execute(sa.select(tenants))).all()
    further: dict[int, list[str]] = {row.id: [] for row in rows}
    for domain in await connection.execute(sa.select(domains).order_by(domains.c.name)):
        further[domain.tenant_id].append(domain.name)
    found = {
        TenantId(row.id): Tenant(TenantId(row.id), row.name, row.realm, tuple(further[row.id]), row.max_calls)
        for row in rows
    }
    by_domain = {name: tenant.id for tenant in found.values() for name in (tenant.realm, *tenant.domains)}
    return Snapshot(
        version=version,
        tenants=MappingProxyType(found),
        tenant_by_domain=MappingProxyType(by_domain),
        default_tenant=next((TenantId(row.id) for row in rows if row.is_default), None),
        extensions=_frozen(all_extensions),
        services=_frozen(all_services),
        trunks=await _trunks(connection),
    )


async def _trunks(connection: AsyncConnection) -> tuple[Trunk, ...]:
    networks: dict[int, list[ipaddress.IPv4Network | ipaddress.IPv6Network]] = {}
    for row in await connection.execute(sa.select(trunk_networks).order_by(trunk_networks.c.network)):
        networks.setdefault(row.trunk_id, []).append(ipaddress.ip_network(row.network))
    return tuple(
        Trunk(
            TenantId(row.tenant_id),
            row.name,
            tuple(networks.get(row.id, ())),
            row.trusted_identity,
            row.max_calls,
            Srtp(row.srtp),
        )
        for row in await connection.execute(sa.select(trunks).order_by(trunks.c.id))
    )


async def _rows(
    connection: AsyncConnection, query: sa.Select[*tuple[object, ...]]
) -> AsyncIterator[sa.Row[*tuple[object, ...]]]:
    async with connection.stream(query) as result:
        async for portion in result.partitions(PORTION):
            for row in portion:
                yield row


async def _named(
    connection: AsyncConnection, table: sa.Table, keys: Iterable[Numbered]
) -> AsyncIterator[sa.Row[*tuple[object, ...]]]:
    """The rows of `table` with these keys, as far as there still are any."""
    by_tenant: dict[TenantId, list[str]] = {}
    for tenant, number in keys:
        by_tenant.setdefault(tenant, []).append(number)
    for tenant, numbers in by_tenant.items():
        for start in range(0, len(numbers), PORTION):
            some = numbers[start : start + PORTION]
            query = sa.select(table).where(table.c.tenant_id == tenant, table.c.number.in_(some))
            for row in await connection.execute(query):
                yield row


def _replaced(
    old: Mapping[Numbered, Value], touched: set[Numbered], fresh: Mapping[Numbered, Value]
) -> Mapping[Numbered, Value]:
    if not touched:
        return old
    # `copy` of a mapping proxy is `dict.copy`, which takes the table over as it lies in memory.
    new: dict[Numbered, Value] = old.copy() if isinstance(old, MappingProxyType) else dict(old)
    for key in touched - fresh.keys():
        new.pop(key, None)
    new.update(fresh)
    return new


def _frozen(mapping: Mapping[Numbered, Value]) -> Mapping[Numbered, Value]:
    return mapping if isinstance(mapping, MappingProxyType) else MappingProxyType(mapping)


def _extension(row: sa.Row[*tuple[object, ...]], vault: Vault) -> Extension:
    return Extension(
        tenant=TenantId(row.tenant_id),
        number=row.number,
        name=row.name,
        secret=unpack(vault.open(row.secret, place(row.tenant_id, row.number))),
        enabled=row.enabled,
        max_calls=row.max_calls,
        max_contacts=row.max_contacts,
        ring_s=row.ring_s,
        contact=row.contact,
        srtp=Srtp(row.srtp),
    )


def _service(row: sa.Row[*tuple[object, ...]]) -> Service:
    return Service(TenantId(row.tenant_id), row.number, row.app, row.name)
