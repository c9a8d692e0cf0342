"""Decide what a change means: checked against what is there, turned into rows to write. Pure, no SQL.

The Book is what the database says about the things that the changes name; planning a change writes it
into the book too, so that one bundle can add a tenant and at once its extensions.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Literal, assert_never

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from conf import rules, tables
from conf.changes import (
    AddExtension,
    AddService,
    AddTenant,
    AddTrunk,
    Change,
    ChangeExtension,
    ChangeTenant,
    ChangeTrunk,
    RemoveExtension,
    RemoveService,
    RemoveTenant,
    RemoveTrunk,
)
from conf.digests import make_secret, pack
from conf.faults import SettingsError
from conf.vault import Vault

Action = Literal["add", "change", "remove"]
Kind = Literal["tenant", "extension", "service", "trunk"]


class KnownTenant(msgspec.Struct):
    id: int
    realm: str
    default: bool
    domains: tuple[str, ...]


class Book(msgspec.Struct):
    """What is there: all tenants, and of the rest at least what the changes name."""

    next_id: int
    tenants: dict[str, KnownTenant]
    extensions: set[tuple[int, str]]
    services: set[tuple[int, str]]
    trunks: dict[tuple[int, str], int]
    networks: dict[str, str]
    """network -> the trunk that has it"""


class Write(msgspec.Struct, frozen=True):
    """One row to insert, update or delete; `key` finds it, `values` are its columns."""

    action: Action
    table: sa.Table
    key: Mapping[str, Any]
    values: Mapping[str, Any]


class Touched(msgspec.Struct, frozen=True):
    """One line of the change log."""

    kind: Kind
    action: Action
    tenant_id: int
    name: str


class Planner:
    """Plans one change after the other; `writes` and `touched` gather what becomes of them."""

    def __init__(self, book: Book, vault: Vault, at: dt.datetime, by: str) -> None:
        self.book = book
        self.at = at
        self.writes: list[Write] = []
        self.touched: list[Touched] = []
        self._vault = vault
        self._changed = {"changed_at": at, "changed_by": by}
        self._created = {"created_at": at, "created_by": by, **self._changed}

    def plan(self, change: Change) -> None:
        """Check `change` and note its rows. Raises SettingsError, and then nothing of it is noted."""
        match change:
            case AddTenant():
                self._add_tenant(change)
            case ChangeTenant():
                self._change_tenant(change)
            case RemoveTenant():
                self._remove_tenant(change)
            case AddExtension():
                self._add_extension(change)
            case ChangeExtension():
                self._change_extension(change)
            case RemoveExtension():
                self._remove_numbered(tables.extensions, self.book.extensions, "extension", change)
            case AddService():
                self._add_service(change)
            case RemoveService():
                self._remove_numbered(tables.services, self.book.services, "service", change)
            case AddTrunk():
                self._add_trunk(change)
            case ChangeTrunk():
                self._change_trunk(change)
            case RemoveTrunk():
                self._remove_trunk(change)
            case _:
                assert_never(change)

    # ---------------------------------------------------------------- tenants

    def _add_tenant(self, change: AddTenant) -> None:
        where = f"tenant {change.name}"
        rules.check_name(change.name, where)
        if change.name in self.book.tenants:
            raise SettingsError(
                where, "there is one with this name already", "Choose another name, or change that one."
            )
        realm = rules.check_host(change.realm, where)
        domains = self._free_domains((realm, *change.domains), None, where)[1:]
        rules.check_range(change.max_calls, "max_calls", 0, 1_000_000, where)
        tenant = KnownTenant(self._take_id(), realm, False, domains)
        self.book.tenants[change.name] = tenant
        values = {
            "name": change.name,
            "realm": realm,
            "is_default": False,
            "max_calls": change.max_calls,
            **self._created,
        }
        self._write("add", tables.tenants, {"id": tenant.id}, values)
        self._write_domains(tenant, (), domains)
        self._touch("tenant", "add", tenant.id, change.name)
        if change.default:
            self._make_default(tenant)

    def _change_tenant(self, change: ChangeTenant) -> None:
        where = f"tenant {change.name}"
        tenant = self._tenant(change.name)
        values: dict[str, Any] = dict(self._changed)
        domains = tenant.domains
        if change.domains is not UNSET:
            domains = self._free_domains(change.domains, tenant, where)
        if change.max_calls is not UNSET:
            rules.check_range(change.max_calls, "max_calls", 0, 1_000_000, where)
            values["max_calls"] = change.max_calls
        self._write_domains(tenant, tenant.domains, domains)
        tenant.domains = domains
        self._write("change", tables.tenants, {"id": tenant.id}, values)
        self._touch("tenant", "change", tenant.id, change.name)
        if change.default is True:
            self._make_default(tenant)
        elif change.default is False and tenant.default:
            tenant.default = False
            self._write("change", tables.tenants, {"id": tenant.id}, {"is_default": False})

    def _remove_tenant(self, change: RemoveTenant) -> None:
        tenant = self._tenant(change.name)
        extensions = [number for owner, number in self.book.extensions if owner == tenant.id]
        services = [number for owner, number in self.book.services if owner == tenant.id]
        trunks = [name for owner, name in self.book.trunks if owner == tenant.id]
        if (extensions or services or trunks) and not change.with_content:
            raise SettingsError(
                f"tenant {change.name}",
                f"it has {len(extensions)} extensions, {len(services)} services, {len(trunks)} trunks",
                "Remove them first, or say --with-content.",
            )
        for number in extensions:
            self._remove_numbered(
                tables.extensions,
                self.book.extensions,
                "extension",
                RemoveExtension(tenant=change.name, number=number),
            )
        for number in services:
            self._remove_numbered(
                tables.services,
                self.book.services,
                "service",
                RemoveService(tenant=change.name, number=number),
            )
        for name in trunks:
            self._remove_trunk(RemoveTrunk(tenant=change.name, name=name))
        self._write_domains(tenant, tenant.domains, ())
        del self.book.tenants[change.name]
        self._write("remove", tables.tenants, {"id": tenant.id})
        self._touch("tenant", "remove", tenant.id, change.name)

    def _make_default(self, tenant: KnownTenant) -> None:
        for other in self.book.tenants.values():
            if other.default and other is not tenant:
                other.default = False
                self._write("change", tables.tenants, {"id": other.id}, {"is_default": False})
        tenant.default = True
        self._write("change", tables.tenants, {"id": tenant.id}, {"is_default": True})

    def _free_domains(self, names: Iterable[str], own: KnownTenant | None, where: str) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(rules.check_host(name, where) for name in names))
        for name, tenant in self.book.tenants.items():
            taken = {tenant.realm, *(() if tenant is own else tenant.domains)} & set(found)
            if taken:
                raise SettingsError(
                    where, f"{taken.pop()} belongs to tenant {name}", "A domain means one tenant."
                )
        return found

    def _write_domains(self, tenant: KnownTenant, old: tuple[str, ...], new: tuple[str, ...]) -> None:
        for name in old:
            if name not in new:
                self._write("remove", tables.domains, {"name": name})
        for name in new:
            if name not in old:
                self._write("add", tables.domains, {"name": name}, {"tenant_id": tenant.id})

    # ---------------------------------------------------------------- extensions and services

    def _add_extension(self, change: AddExtension) -> None:
        where = f"extension {change.number} of tenant {change.tenant}"
        tenant = self._tenant(change.tenant)
        rules.check_extension(change.number, where)
        self._must_be_free(tenant, change.number, where)
        rules.check_password(change.password, where)
        values = {name: getattr(change, name) for name in EXTENSION_COLUMNS}
        _check_extension_values(values, where)
        secret = self._sealed(tenant, change.number, change.password)
        self.book.extensions.add((tenant.id, change.number))
        key = {"tenant_id": tenant.id, "number": change.number}
        self._write("add", tables.extensions, key, {**values, "secret": secret, **self._created})
        self._touch("extension", "add", tenant.id, change.number)

    def _change_extension(self, change: ChangeExtension) -> None:
        where = f"extension {change.number} of tenant {change.tenant}"
        tenant = self._tenant(change.tenant)
        self._must_be_there(self.book.extensions, tenant, change.number, where)
        values = {name: getattr(change, name) for name in EXTENSION_COLUMNS}
        values = {name: value for name, value in values.items() if value is not UNSET}
        _check_extension_values(values, where)
        if change.password is not UNSET:
            rules.check_password(change.password, where)
            values["secret"] = self._sealed(tenant, change.number, change.password)
        key = {"tenant_id": tenant.id, "number": change.number}
        self._write("change", tables.extensions, key, {**values, **self._changed})
        self._touch("extension", "change", tenant.id, change.number)

    def _add_service(self, change: AddService) -> None:
        where = f"service {change.number} of tenant {change.tenant}"
        tenant = self._tenant(change.tenant)
        rules.check_service(change.number, where)
        self._must_be_free(tenant, change.number, where)
        rules.check_app(change.app, where)
        rules.check_text(change.name, "the name", where)
        self.book.services.add((tenant.id, change.number))
        key = {"tenant_id": tenant.id, "number": change.number}
        self._write("add", tables.services, key, {"app": change.app, "name": change.name, **self._created})
        self._touch("service", "add", tenant.id, change.number)

    def _remove_numbered(
        self,
        table: sa.Table,
        known: set[tuple[int, str]],
        kind: Kind,
        change: RemoveExtension | RemoveService,
    ) -> None:
        where = f"{kind} {change.number} of tenant {change.tenant}"
        tenant = self._tenant(change.tenant)
        self._must_be_there(known, tenant, change.number, where)
        known.remove((tenant.id, change.number))
        self._write("remove", table, {"tenant_id": tenant.id, "number": change.number})
        self._touch(kind, "remove", tenant.id, change.number)

    def _must_be_free(self, tenant: KnownTenant, number: str, where: str) -> None:
        for kind, known in (("an extension", self.book.extensions), ("a service", self.book.services)):
            if (tenant.id, number) in known:
                raise SettingsError(
                    where, f"{number} is taken by {kind}", "Choose another number, or remove that one."
                )

    def _must_be_there(
        self, known: set[tuple[int, str]], tenant: KnownTenant, number: str, where: str
    ) -> None:
        if (tenant.id, number) not in known:
            raise SettingsError(where, "there is none", "The list commands show what there is.")

    def _sealed(self, tenant: KnownTenant, number: str, password: str) -> bytes:
        return self._vault.seal(pack(make_secret(number, tenant.realm, password)), place(tenant.id, number))

    # ---------------------------------------------------------------- trunks

    def _add_trunk(self, change: AddTrunk) -> None:
        where = f"trunk {change.name} of tenant {change.tenant}"
        tenant = self._tenant(change.tenant)
        rules.check_name(change.name, where)
        if (tenant.id, change.name) in self.book.trunks:
            raise SettingsError(where, "there is one with this name already", "Choose another name.")
        networks = rules.check_networks(change.networks, where)
        for network in networks:
            if network in self.book.networks:
                raise SettingsError(
                    where, f"{network} belongs to {self.book.networks[network]}", "A network means one trunk."
                )
        rules.check_range(change.max_calls, "max_calls", 0, 1_000_000, where)
        rules.check_srtp(change.srtp, where)
        trunk_id = self._take_id()
        self.book.trunks[tenant.id, change.name] = trunk_id
        values = {
            "tenant_id": tenant.id,
            "name": change.name,
            "trusted_identity": change.trusted_identity,
            "max_calls": change.max_calls,
            "srtp": change.srtp,
            **self._created,
        }
        self._write("add", tables.trunks, {"id": trunk_id}, values)
        for network in networks:
            self.book.networks[network] = where
            self._write("add", tables.trunk_networks, {"trunk_id": trunk_id, "network": network})
        self._touch("trunk", "add", tenant.id, change.name)

    def _change_trunk(self, change: ChangeTrunk) -> None:
        where = f"trunk {change.name} of tenant {change.tenant}"
        tenant = self._tenant(change.tenant)
        trunk_id = self.book.trunks.get((tenant.id, change.name))
        if trunk_id is None:
            raise SettingsError(where, "there is none", "`jackfield trunk list` shows what there is.")
        values = {name: getattr(change, name) for name in ("trusted_identity", "max_calls", "srtp")}
        values = {name: value for name, value in values.items() if value is not UNSET}
        if "max_calls" in values:
            rules.check_range(values["max_calls"], "max_calls", 0, 1_000_000, where)
        if "srtp" in values:
            rules.check_srtp(values["srtp"], where)
        self._write("change", tables.trunks, {"id": trunk_id}, {**values, **self._changed})
        self._touch("trunk", "change", tenant.id, change.name)

    def _remove_trunk(self, change: RemoveTrunk) -> None:
        where = f"trunk {change.name} of tenant {change.tenant}"
        tenant = self._tenant(change.tenant)
        trunk_id = self.book.trunks.pop((tenant.id, change.name), None)
        if trunk_id is None:
            raise SettingsError(where, "there is none", "`jackfield trunk list` shows what there is.")
        self.book.networks = {net: owner for net, owner in self.book.networks.items() if owner != where}
        self._write("remove", tables.trunks, {"id": trunk_id})
        self._touch("trunk", "remove", tenant.id, change.name)

    # ---------------------------------------------------------------- notes

    def _tenant(self, name: str) -> KnownTenant:
        tenant = self.book.tenants.get(name)
        if tenant is None:
            raise SettingsError(
                f"tenant {name}", "there is none", "`jackfield tenant list` shows what there is."
            )
        return tenant

    def _take_id(self) -> int:
        taken, self.book.next_id = self.book.next_id, self.book.next_id + 1
        return taken

    def _write(
        self, action: Action, table: sa.Table, key: Mapping[str, Any], values: Mapping[str, Any] | None = None
    ) -> None:
        self.writes.append(Write(action, table, key, values or {}))

    def _touch(self, kind: Kind, action: Action, tenant_id: int, name: str) -> None:
        self.touched.append(Touched(kind, action, tenant_id, name))


EXTENSION_COLUMNS = ("name", "enabled", "max_calls", "max_contacts", "ring_s", "contact", "srtp")


def place(tenant_id: int, number: str) -> str:
    """What a sealed secret is bound to."""
    return f"extension {number} of tenant {tenant_id}"


def _check_extension_values(values: Mapping[str, Any], where: str) -> None:
    if "name" in values:
        rules.check_text(values["name"], "the name", where)
    if "contact" in values:
        rules.check_contact(values["contact"], where)
    if "srtp" in values:
        rules.check_srtp(values["srtp"], where)
    for name, least, most in (("max_calls", 0, 10_000), ("max_contacts", 1, 100), ("ring_s", 5, 600)):
        if name in values:
            rules.check_range(values[name], name, least, most, where)
