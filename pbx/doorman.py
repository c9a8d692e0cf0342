"""Who is calling: trunks are known by their address, extensions by digest (RFC 3261 section 22, RFC 8760).

Says who it is, how to ask, or no. An unknown user costs the same work and gets the same answer as a
wrong password, so that nobody can list our extensions.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

import msgspec

from conf.snapshot import Extension, Snapshot, Tenant, Trunk
from pbx.api import Party
from sipcore.digest import DigestServer, Verdict
from sipcore.faults import PeerFault
from sipcore.flow import Flow
from sipcore.headers import parse_name_addr
from sipcore.message import Request
from sipcore.uri import parse_uri


class Known(msgspec.Struct, frozen=True):
    """The peer is who it says."""

    tenant: Tenant
    party: Party
    extension: Extension | None
    trunk: Trunk | None


class Challenge(msgspec.Struct, frozen=True):
    """Ask for credentials: these WWW-Authenticate fields on a 401."""

    headers: tuple[tuple[str, str], ...]


class Refused(msgspec.Struct, frozen=True, gc=False):
    """No."""

    status: int
    reason: str


Verdicts = Known | Challenge | Refused
FORBIDDEN = Refused(403, "Forbidden")


class Doorman:
    """Keeps only the digest server's replay window; who exists is the snapshot's."""

    __slots__ = ("_digest",)

    def __init__(self, digest: DigestServer) -> None:
        self._digest = digest

    def who(self, snapshot: Snapshot, request: Request, flow: Flow, now: float) -> Verdicts:
        """Who sent this request. Raises PeerFault(400) for a From that cannot be read."""
        trunk = trunk_at(snapshot, flow.remote[0]) if snapshot.trunks else None
        if trunk is not None:
            return _known_trunk(snapshot, trunk, request)
        tenant = _tenant_meant(snapshot, request)
        if tenant is None:
            return FORBIDDEN
        return self._known_extension(snapshot, tenant, request, now)

    def _known_extension(self, snapshot: Snapshot, tenant: Tenant, request: Request, now: float) -> Verdicts:
        credentials = self._digest.read(request.get_all("Authorization"), tenant.realm)
        if credentials is None:
            return self._challenge(tenant, now, stale=False)
        extension = snapshot.extensions.get((tenant.id, credentials.username))
        secret = None if extension is None else extension.secret
        verdict = self._digest.check(credentials, request.method, request.uri, tenant.realm, secret, now)
        match verdict:
            case Verdict.OK if extension is not None and extension.enabled:
                party = Party(tenant.id, extension.number, extension.name)
                return Known(tenant, party, extension, None)
            case Verdict.STALE | Verdict.REPLAYED:
                return self._challenge(tenant, now, stale=True)
            case Verdict.BROKEN:
                return Refused(400, "Bad Credentials")
            case _:
                return FORBIDDEN

    def _challenge(self, tenant: Tenant, now: float, *, stale: bool) -> Challenge:
        values = self._digest.challenge(tenant.realm, now, stale=stale)
        return Challenge(tuple(("WWW-Authenticate", value) for value in values))


def _tenant_meant(snapshot: Snapshot, request: Request) -> Tenant | None:
    """The tenant of From; where that is anonymous (RFC 3323 4.1.1.3), of the Request-URI."""
    host = parse_uri(request.from_.uri).host
    return snapshot.tenant_of(request.request_uri.host if host.endswith(".invalid") else host)


def _known_trunk(snapshot: Snapshot, trunk: Trunk, request: Request) -> Verdicts:
    tenant = snapshot.tenants[trunk.tenant]
    asserted = request.get_all("P-Asserted-Identity") if trunk.trusted_identity else []
    caller = parse_name_addr(asserted[0]) if asserted else request.from_
    try:
        number = parse_uri(caller.uri).user
    except PeerFault:
        number = ""
    return Known(tenant, Party(tenant.id, number, caller.display_name, trunk.name), None, trunk)


def trunk_at(snapshot: Snapshot, host: str) -> Trunk | None:
    """The trunk that this address (a literal one) belongs to."""
    address = address_of(host)
    for trunk in snapshot.trunks:
        for network in trunk.networks:
            if address.version == network.version and address in network:
                return trunk
    return None


@lru_cache(maxsize=4096)
def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped  # an IPv4 peer of a socket that takes both
