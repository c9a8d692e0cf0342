"""Who is calling (`pbx/doorman.py`)."""

from __future__ import annotations

import ipaddress

import msgspec
import pytest

from conf.digests import make_secret
from conf.snapshot import Extension, Snapshot, Tenant, TenantId, Trunk
from pbx.api import Party
from pbx.doorman import FORBIDDEN, Challenge, Doorman, Known, Refused, trunk_at
from sipcore.digest import DigestServer, digest_response
from sipcore.faults import PeerFault
from sipcore.flow import Flow, Transport
from sipcore.message import Request

FIRST, SECOND = TenantId(1), TenantId(2)
REALMS = {FIRST: "first.example", SECOND: "second.example"}
NOW = 1000.0


def make_snapshot(**changes: object) -> Snapshot:
    tenants = {number: Tenant(number, realm, realm) for number, realm in REALMS.items()}
    extensions = {
        (tenant, "101"): Extension(tenant, "101", "Anna", make_secret("101", realm, f"secret of {realm}"))
        for tenant, realm in REALMS.items()
    }
    domains = {realm: tenant for tenant, realm in REALMS.items()}
    facts: dict[str, object] = {
        "version": 1,
        "tenants": tenants,
        "tenant_by_domain": domains,
        "default_tenant": FIRST,
        "extensions": extensions,
        "services": {},
    }
    return Snapshot(**{**facts, **changes})  # type: ignore[arg-type]


SNAPSHOT = make_snapshot()


def flow(host: str = "192.0.2.7") -> Flow:
    return Flow(Transport.UDP, ("198.51.100.1", 5060), (host, 5060))


def invite(
    from_: str = "<sip:101@first.example>", *fields: tuple[str, str], to: str = "sip:102@first.example"
) -> Request:
    head = [("From", f"{from_};tag=1"), ("To", f"<{to}>"), ("Call-ID", "call"), ("CSeq", "1 INVITE")]
    return Request("INVITE", to, [*head, *fields])


def make_doorman() -> Doorman:
    return Doorman(DigestServer(b"sixteen bytes of", now=NOW))


def authorized(
    doorman: Doorman, *, user: str = "101", realm: str = "first.example", password: str = "", count: int = 1
) -> tuple[Request, str]:
    """An INVITE with credentials for a nonce that the doorman has just given out; and that nonce."""
    from_ = f"<sip:{user}@{realm}>"
    verdict = doorman.who(SNAPSHOT, invite(from_), flow(), NOW)
    assert isinstance(verdict, Challenge)
    nonce = verdict.headers[0][1].partition('nonce="')[2].partition('"')[0]
    return signed(nonce, user, realm, password or f"secret of {realm}", count), nonce


def signed(nonce: str, user: str, realm: str, password: str, count: int, from_: str = "") -> Request:
    uri, nc = "sip:102@first.example", f"{count:08x}"
    secret = make_secret(user, realm, password)
    response = digest_response("SHA-256", secret.sha256, nonce, (nc, "c", "auth"), "INVITE", uri)
    value = (
        f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{response}", '
        f'algorithm=SHA-256, qop=auth, nc={nc}, cnonce="c"'
    )
    return invite(from_ or f"<sip:{user}@{realm}>", ("Authorization", value), to=uri)


# ---------------------------------------------------------------- extensions


def test_who_brings_no_credentials_is_asked_for_them_in_the_realm_of_its_tenant() -> None:
    verdict = make_doorman().who(SNAPSHOT, invite("<sip:101@second.example>"), flow(), NOW)
    assert isinstance(verdict, Challenge)
    assert {name for name, _ in verdict.headers} == {"WWW-Authenticate"}
    assert all('realm="second.example"' in value for _, value in verdict.headers)


@pytest.mark.parametrize(("tenant", "realm"), REALMS.items())
def test_the_right_password_makes_known(tenant: TenantId, realm: str) -> None:
    doorman = make_doorman()
    request, _ = authorized(doorman, realm=realm)
    verdict = doorman.who(SNAPSHOT, request, flow(), NOW)
    assert isinstance(verdict, Known)
    assert verdict.party == Party(tenant, "101", "Anna")
    assert (verdict.tenant.id, verdict.trunk) == (tenant, None)


def test_a_wrong_password_and_nobody_get_the_same_answer() -> None:
    doorman = make_doorman()
    wrong, _ = authorized(doorman, password="guess")
    nobody, _ = authorized(doorman, user="999", password="guess")
    assert (
        doorman.who(SNAPSHOT, wrong, flow(), NOW) == doorman.who(SNAPSHOT, nobody, flow(), NOW) == FORBIDDEN
    )


def test_an_extension_that_is_switched_off_is_nobody() -> None:
    key = (FIRST, "101")
    off = msgspec.structs.replace(SNAPSHOT.extensions[key], enabled=False)
    doorman = make_doorman()
    request, _ = authorized(doorman)
    assert doorman.who(make_snapshot(extensions={key: off}), request, flow(), NOW) == FORBIDDEN


def test_credentials_of_another_tenant_do_not_count() -> None:
    doorman = make_doorman()
    _, nonce = authorized(doorman)
    request = signed(nonce, "101", "first.example", "secret of first.example", 1, "<sip:101@second.example>")
    assert isinstance(doorman.who(SNAPSHOT, request, flow(), NOW), Challenge)


def test_an_old_nonce_is_stale() -> None:
    doorman = make_doorman()
    request, _ = authorized(doorman)
    verdict = doorman.who(SNAPSHOT, request, flow(), NOW + 301.0)
    assert isinstance(verdict, Challenge)
    assert all("stale=true" in value for _, value in verdict.headers)


def test_a_nonce_count_is_good_once() -> None:
    doorman = make_doorman()
    request, nonce = authorized(doorman)
    assert isinstance(doorman.who(SNAPSHOT, request, flow(), NOW), Known)
    assert isinstance(doorman.who(SNAPSHOT, request, flow(), NOW), Challenge)
    again = signed(nonce, "101", "first.example", "secret of first.example", 2)
    assert isinstance(doorman.who(SNAPSHOT, again, flow(), NOW), Known)


def test_credentials_that_make_no_sense_are_refused() -> None:
    value = 'Digest username="101", realm="first.example", nonce="x", uri="sip:a", response="y"'
    verdict = make_doorman().who(
        SNAPSHOT, invite("<sip:101@first.example>", ("Authorization", value)), flow(), NOW
    )
    assert verdict == Refused(400, "Bad Credentials")


@pytest.mark.parametrize("host", ["192.0.2.9", "unknown.example", "FIRST.example"])
def test_a_host_that_names_no_tenant_means_the_default_one(host: str) -> None:
    verdict = make_doorman().who(SNAPSHOT, invite(f"<sip:101@{host}>"), flow(), NOW)
    assert isinstance(verdict, Challenge)
    assert 'realm="first.example"' in verdict.headers[0][1]


def test_a_host_that_names_no_tenant_means_nobody_where_there_is_no_default() -> None:
    snapshot = make_snapshot(default_tenant=None)
    assert make_doorman().who(snapshot, invite("<sip:101@192.0.2.9>"), flow(), NOW) == FORBIDDEN


def test_an_anonymous_caller_is_asked_in_the_realm_of_whom_it_calls() -> None:
    request = invite("<sip:anonymous@anonymous.invalid>", to="sip:102@second.example")
    verdict = make_doorman().who(SNAPSHOT, request, flow(), NOW)
    assert isinstance(verdict, Challenge)
    assert 'realm="second.example"' in verdict.headers[0][1]


def test_a_from_that_cannot_be_read_is_the_peers_fault() -> None:
    with pytest.raises(PeerFault):
        make_doorman().who(SNAPSHOT, invite("<mailto:anna@example.org>"), flow(), NOW)


# ---------------------------------------------------------------- trunks


def with_trunk(*networks: str, trusted: bool = True) -> Snapshot:
    found = tuple(ipaddress.ip_network(network) for network in networks)
    return make_snapshot(trunks=(Trunk(SECOND, "carrier", found, trusted_identity=trusted),))


@pytest.mark.parametrize(
    ("network", "host", "known"),
    [
        ("192.0.2.0/24", "192.0.2.255", True),
        ("192.0.2.0/24", "192.0.3.0", False),
        ("192.0.2.0/24", "2001:db8::1", False),
        ("192.0.2.0/24", "::ffff:192.0.2.9", True),
        ("2001:db8::/32", "2001:db8::1", True),
        ("2001:db8::/32", "192.0.2.9", False),
    ],
)
def test_a_trunk_is_known_by_its_address(network: str, host: str, known: bool) -> None:
    assert (trunk_at(with_trunk(network), host) is not None) is known


def test_a_trunk_needs_no_password() -> None:
    snapshot = with_trunk("192.0.2.0/24")
    verdict = make_doorman().who(snapshot, invite('"Home" <sip:+4930123@carrier.example>'), flow(), NOW)
    assert isinstance(verdict, Known)
    assert verdict.party == Party(SECOND, "+4930123", "Home", "carrier")
    assert verdict.extension is None


@pytest.mark.parametrize(("trusted", "number"), [(True, "+4930999"), (False, "+4930123")])
def test_what_a_trunk_asserts_counts_when_it_is_trusted(trusted: bool, number: str) -> None:
    snapshot = with_trunk("192.0.2.0/24", trusted=trusted)
    asserted = ("P-Asserted-Identity", "<tel:+4930999>, <sip:+4930999@carrier.example>")
    verdict = make_doorman().who(snapshot, invite("<sip:+4930123@carrier.example>", asserted), flow(), NOW)
    assert isinstance(verdict, Known)
    assert verdict.party.number == number


def test_a_trunks_caller_of_a_strange_kind_has_no_number() -> None:
    snapshot = with_trunk("192.0.2.0/24")
    verdict = make_doorman().who(snapshot, invite("<mailto:anna@example.org>"), flow(), NOW)
    assert isinstance(verdict, Known)
    assert verdict.party.number == ""
