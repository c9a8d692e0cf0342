"""What an operator can change, as values: one struct per change, handed to `ConfigStore.apply`.

Tenants are named, extensions and services numbered. A field left UNSET in a Change... stays as it is.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType


class Password(str):
    """A SIP password on its way in; does not show itself in traces and logs."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Password(...)"


class AddTenant(msgspec.Struct, frozen=True, kw_only=True):
    """`realm` cannot change later: the stored form of every password depends on it."""

    name: str
    realm: str
    domains: tuple[str, ...] = ()
    default: bool = False
    max_calls: int = 0


class ChangeTenant(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    domains: tuple[str, ...] | UnsetType = UNSET
    default: bool | UnsetType = UNSET
    max_calls: int | UnsetType = UNSET


class RemoveTenant(msgspec.Struct, frozen=True, kw_only=True):
    """`with_content`: its extensions, services and trunks go too; without it they forbid the removal."""

    name: str
    with_content: bool = False


class AddExtension(msgspec.Struct, frozen=True, kw_only=True):
    tenant: str
    number: str
    password: Password
    name: str = ""
    enabled: bool = True
    max_calls: int = 0
    max_contacts: int = 10
    ring_s: int = 60
    contact: str = ""
    srtp: str = "off"


class ChangeExtension(msgspec.Struct, frozen=True, kw_only=True):
    tenant: str
    number: str
    password: Password | UnsetType = UNSET
    name: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    max_calls: int | UnsetType = UNSET
    max_contacts: int | UnsetType = UNSET
    ring_s: int | UnsetType = UNSET
    contact: str | UnsetType = UNSET
    srtp: str | UnsetType = UNSET


class RemoveExtension(msgspec.Struct, frozen=True, kw_only=True):
    tenant: str
    number: str


class AddService(msgspec.Struct, frozen=True, kw_only=True):
    tenant: str
    number: str
    app: str
    name: str = ""


class RemoveService(msgspec.Struct, frozen=True, kw_only=True):
    tenant: str
    number: str


class AddTrunk(msgspec.Struct, frozen=True, kw_only=True):
    """`networks` are addresses or CIDR networks as text."""

    tenant: str
    name: str
    networks: tuple[str, ...]
    trusted_identity: bool = True
    max_calls: int = 0
    srtp: str = "off"


class ChangeTrunk(msgspec.Struct, frozen=True, kw_only=True):
    tenant: str
    name: str
    trusted_identity: bool | UnsetType = UNSET
    max_calls: int | UnsetType = UNSET
    srtp: str | UnsetType = UNSET


class RemoveTrunk(msgspec.Struct, frozen=True, kw_only=True):
    tenant: str
    name: str


Change = (
    AddTenant
    | ChangeTenant
    | RemoveTenant
    | AddExtension
    | ChangeExtension
    | RemoveExtension
    | AddService
    | RemoveService
    | AddTrunk
    | ChangeTrunk
    | RemoveTrunk
)
