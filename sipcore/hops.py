"""Where a message goes next: responses by Via (RFC 3261 18.2.2, RFC 3581), requests by route or URI (8.1.2).

Literal addresses lead to flows here. Names are asked for with `Resolve`, which is `requests.py`'s work.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

import msgspec

from sipcore.faces import SourceFor
from sipcore.faults import PeerFault
from sipcore.flow import Flow, Transport, is_address
from sipcore.headers import NameAddr, Via, parse_name_addr
from sipcore.message import Request, Response
from sipcore.uri import SipUri, parse_uri

_DEFAULT_PORT = {Transport.TLS: 5061, Transport.WS: 80, Transport.WSS: 443}
_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "127.0.0.0/8",
        "fc00::/7",
        "fe80::/10",
        "::1/128",
    )
)
_TRANSPORTS = {transport.lower(): transport for transport in Transport}


class Way(msgspec.Struct, frozen=True, gc=False):
    """How requests inside a dialog travel.

    `flow` None: the next hop is a name that has yet to be resolved. `follows`: the peer is behind a
    translator or on a connection, so the flow is the one that its latest request came over.
    """

    flow: Flow | None
    follows: bool = False


def reply_flow(via: Via, flow: Flow) -> Flow:
    """The flow for responses to a request with this top Via that came over `flow` (RFC 3261 18.2.2).

    A connection is answered on itself. A datagram goes back to its source address: to the source port
    when the sender asked with rport, else to the port of sent-by. maddr is not honoured: it lets a
    stranger point our responses at others.
    """
    if flow.transport is not Transport.UDP or "rport" in via.params:
        return flow
    host, port = flow.remote
    named = via.port or 5060
    return flow if named == port else Flow(flow.transport, flow.local, (host, named))


def second_reply_port(via: Via, transport: Transport) -> int:
    """The port where a connection to the sender is opened when that of its request broke (18.2.2)."""
    return via.port or _DEFAULT_PORT.get(transport, 5060)


def next_hop(route_set: tuple[str, ...], target: str) -> str:
    """The URI that decides where a request goes: the first route, or the target (8.1.2, 12.2.1.1)."""
    return parse_name_addr(route_set[0]).uri if route_set else target


def literal_flow(uri: SipUri, source_for: SourceFor) -> Flow | None:
    """The flow to a URI whose host (or maddr) is an address, or None where DNS has to say (RFC 3263 4)."""
    host = uri.params.get("maddr") or uri.host
    if not is_address(host):
        return None
    transport = _transport_of(uri)
    remote = (host, uri.port or _DEFAULT_PORT.get(transport, 5060))
    return Flow(transport, source_for(transport, remote), remote)


def may_use_tcp(uri: SipUri) -> bool:
    """True where a request too long for a datagram may go over TCP: the URI leaves the transport open."""
    return uri.scheme == "sip" and not uri.transport


def way_back(request: Request, route_set: tuple[str, ...], contact: str, flow: Flow) -> Way:
    """How to reach the sender of an INVITE that came over `flow`.

    By the RFC it is the first route or the Contact. That is followed where it is an address and nothing
    speaks against it; a sender that is seen from elsewhere than its Via says is behind a translator
    and only reached the way it came.
    """
    if not route_set and _is_at(contact, flow):
        return Way(flow)
    hop = _address_of(route_set, contact)
    if hop is None or flow.connection or (hop.remote[0] == flow.remote[0] and hop.transport.reliable):
        return Way(flow, follows=True)
    if hop.remote == flow.remote and hop.transport is flow.transport:
        return Way(flow)
    via = request.via
    # With a second Via a proxy stands between, which shows its own address, not the sender's.
    translated = via.host != flow.remote[0] and len(request.get_all("Via")) == 1
    if not route_set and (translated or not _is_reachable(hop, flow)):
        return Way(flow, follows=True)
    return Way(_on(flow, hop))


def way_on(response: Response, route_set: tuple[str, ...], contact: str, flow: Flow, asked: str) -> Way:
    """How to reach who answered an INVITE that we sent over `flow` after asking for the host of `asked`."""
    if not route_set and _is_at(contact, flow):
        return Way(flow)
    hop = _address_of(route_set, contact)
    if hop is None:
        same = _host(next_hop(route_set, contact)) in (_host(asked), "") or flow.connection
        return Way(flow if same else None)
    if hop.remote == flow.remote and hop.transport is flow.transport:
        return Way(flow)
    if flow.connection or not _is_reachable(hop, flow):
        return Way(flow, follows=True)
    return Way(_on(flow, hop))


def _is_at(contact: str, flow: Flow) -> bool:
    """True for the most usual case, found without parsing: a URI that ends with the address that is seen."""
    host, port = flow.remote
    if flow.transport is not Transport.UDP:
        return False
    return contact.endswith(f"@{host}:{port}") or (port == 5060 and contact.endswith(f"@{host}"))


def _on(flow: Flow, hop: Flow) -> Flow:
    """`hop` from the address that `flow` uses, when the transport is the same."""
    local = flow.local if hop.transport is flow.transport else (flow.local[0], 0)
    return Flow(hop.transport, local, hop.remote, server_name=hop.server_name)


def _address_of(route_set: tuple[str, ...], contact: str) -> Flow | None:
    """The next hop when it is an address; its local end is left open."""
    try:
        uri = parse_uri(next_hop(route_set, contact))
    except PeerFault:
        return None
    return literal_flow(uri, lambda transport, remote: ("", 0))


def _is_reachable(hop: Flow, flow: Flow) -> bool:
    """False for a private address named by a peer that is seen at a public one."""
    return not _is_private(hop.remote[0]) or _is_private(flow.remote[0])


@lru_cache(maxsize=4096)
def _is_private(host: str) -> bool:
    """True where no public peer can be. `ipaddress.is_private` says so of documentation networks too."""
    if not is_address(host):
        return False
    address = ipaddress.ip_address(host)
    return any(address in network for network in _PRIVATE)


def _host(uri: str) -> str:
    try:
        return parse_uri(uri).host
    except PeerFault:
        return ""


def _transport_of(uri: SipUri) -> Transport:
    named = _TRANSPORTS.get(uri.transport)
    if uri.scheme == "sips":
        return Transport.WSS if named in (Transport.WS, Transport.WSS) else Transport.TLS
    return named or Transport.UDP


def is_loose(route: str) -> bool:
    """True for a route whose proxy knows loose routing (RFC 3261 12.2.1.1)."""
    address: NameAddr = parse_name_addr(route)
    return "lr" in address.uri.lower() and parse_uri(address.uri).is_loose_router
