"""How we look to a peer: the sent-by of our Vias and the URI of our Contacts (RFC 3261 18.1.1, 8.1.1.8).

A face follows from the flow: its own address when that is specific and the peer is near, the advertised
one for peers outside the local networks. Which flow is used is decided in `hops.py`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import msgspec

from sipcore.flow import Address, Flow, Transport
from sipcore.settings import Local, StackSettings

SourceFor = Callable[[Transport, Address], Address]
"""The local address (host and port) that a message to this peer leaves from: the routing table's answer."""

_MOST_REMEMBERED = 4096
_UNSPECIFIC = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound to


class Face(msgspec.Struct, frozen=True, gc=False):
    """The three texts that name us."""

    via: str
    """`SIP/2.0/UDP host:port`"""
    contact: str
    """`<sip:host:port>`"""
    secure_contact: str
    """the same with a sips URI, for dialogs that were begun with one (RFC 3261 12.1.1)"""


class Faces:
    """Face by flow, remembered for as many peers as fit."""

    def __init__(self, settings: StackSettings, source_for: SourceFor) -> None:
        self._settings = settings
        self._source_for = source_for
        self._by_peer: dict[tuple[Transport, Address, str], Face] = {}

    def of(self, flow: Flow) -> Face:
        key = (flow.transport, flow.local, flow.remote[0])
        face = self._by_peer.get(key)
        if face is None:
            if len(self._by_peer) >= _MOST_REMEMBERED:
                self._by_peer.clear()
            face = self._by_peer[key] = self._make(flow)
        return face

    def _make(self, flow: Flow) -> Face:
        local = self._listener(flow)
        host, port = flow.local
        if local is not None:
            host, port = local.host, local.port
            if host in _UNSPECIFIC:
                host = flow.local[0]
        if host in _UNSPECIFIC:
            host = self._source_for(flow.transport, flow.remote)[0]
        if local is not None and local.advertised_host and not self._is_near(flow.remote[0]):
            host, port = local.advertised_host, local.advertised_port or port
        return self._face(flow.transport, f"[{host}]" if ":" in host else host, port)

    def _face(self, transport: Transport, host: str, port: int) -> Face:
        user = f"{self._settings.contact_user}@" if self._settings.contact_user else ""
        parameter = "" if transport is Transport.UDP else f";transport={transport.lower()}"
        secure = "" if transport in (Transport.UDP, Transport.TLS) else parameter
        return Face(
            f"SIP/2.0/{transport} {host}:{port}",
            f"<sip:{user}{host}:{port}{parameter}>",
            f"<sips:{user}{host}:{port}{secure}>",
        )

    def _listener(self, flow: Flow) -> Local | None:
        mine = [local for local in self._settings.locals if local.transport is flow.transport]
        host, port = flow.local
        for local in mine:
            if local.port == port and local.host in (host, *_UNSPECIFIC):
                return local
        return next((local for local in mine if local.host in (host, *_UNSPECIFIC)), None)

    def _is_near(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._settings.local_networks)


def first_listener(settings: StackSettings) -> SourceFor:
    """A source for hosts with one address: the listener of that transport and address family."""

    def source_for(transport: Transport, remote: Address) -> Address:
        v6 = ":" in remote[0]
        for local in settings.locals:
            if local.transport is transport and (":" in local.host) == v6:
                return local.host, local.port
        return ("::" if v6 else "0.0.0.0"), 0  # noqa: S104

    return source_for
