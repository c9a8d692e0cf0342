"""The frozen, versioned configuration that calls are decided on.

The engine holds one Snapshot at a time and replaces it whole; a call keeps the one that it started
with. Nothing here touches the database: `conf/store.py` makes snapshots from it.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Mapping
from typing import NewType

import msgspec

TenantId = NewType("TenantId", int)


class Secret(msgspec.Struct, frozen=True, gc=False):
    """The stored form of a SIP password: HA1 per algorithm (RFC 7616 3.4.2), in hexadecimal, decrypted.

    HA1 is H(username:realm:password); `username` is the extension's number, `realm` the tenant's.
    """

    md5: str
    sha256: str
    sha512_256: str

    def __repr__(self) -> str:
        return "Secret(...)"


class Srtp(enum.StrEnum):
    """Whether the sound between us and a peer is encrypted (SRTP), as far as SDP has to say it.

    A browser has no choice in it (RFC 8827): its sound is encrypted whatever is set here.
    """

    OFF = "off"
    """never: what offers nothing else is refused"""
    BEST_EFFORT = "best-effort"
    """where the peer can"""
    REQUIRED = "required"
    """or there is no call"""


class Extension(msgspec.Struct, frozen=True, gc=False):
    """One account that phones register as, and the number that reaches it."""

    tenant: TenantId
    number: str
    name: str
    secret: Secret
    enabled: bool = True
    max_calls: int = 0
    """calls at a time, both directions; 0: no limit"""
    max_contacts: int = 10
    ring_s: int = 60
    contact: str = ""
    """a SIP URI where calls go instead of to registrations; "" when phones register"""
    srtp: Srtp = Srtp.OFF


class Service(msgspec.Struct, frozen=True, gc=False):
    """A number that an application answers: the echo test, the tone test."""

    tenant: TenantId
    number: str
    app: str
    """"echo" or "tone" """
    name: str = ""


class Trunk(msgspec.Struct, frozen=True):
    """A peer that is known by its address and sends calls for a tenant without being challenged."""

    tenant: TenantId
    name: str
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
    trusted_identity: bool = True
    """its P-Asserted-Identity is believed and sent on (RFC 3325)"""
    max_calls: int = 0
    srtp: Srtp = Srtp.OFF


class Tenant(msgspec.Struct, frozen=True, gc=False):
    """One customer's own world: extension numbers of two tenants never meet."""

    id: TenantId
    name: str
    realm: str
    """the digest realm, and the SIP domain that phones of this tenant put into their URIs"""
    domains: tuple[str, ...] = ()
    """further host names that mean this tenant"""
    max_calls: int = 0


class Snapshot(msgspec.Struct, frozen=True):
    """All that deciding a call needs. `default_tenant` takes calls whose host is an address of ours."""

    version: int
    tenants: Mapping[TenantId, Tenant]
    tenant_by_domain: Mapping[str, TenantId]
    """lower-case host name -> tenant; realms are in it too"""
    default_tenant: TenantId | None
    extensions: Mapping[tuple[TenantId, str], Extension]
    services: Mapping[tuple[TenantId, str], Service]
    trunks: tuple[Trunk, ...] = ()

    def tenant_of(self, host: str) -> Tenant | None:
        """The tenant that a URI host means: by domain, else the default one when there is one."""
        found = self.tenant_by_domain.get(host.lower(), self.default_tenant)
        return None if found is None else self.tenants[found]
