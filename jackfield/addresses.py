"""Which of our addresses a peer can send its sound to: the routing table's answer, and the operator's."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import lru_cache

from sipcore.flow import Address, Flow, Transport, is_address
from sipcore.settings import Network
from sipcore.uri import parse_uri

LocalFor = Callable[[Transport, str], Address | None]
"""The address of ours that packets to a host leave from."""

UNSPECIFIC = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  compared with, not bound to
SOMEWHERE = "192.0.2.1"
"""A documentation address (RFC 5737): stands for a peer whose name is not resolved yet."""


class MediaHosts:
    """The answers to `pbx`'s two questions about sound: what SDP says, and what media binds."""

    def __init__(
        self, local_for: LocalFor, bind_host: str, advertised_host: str, local_networks: tuple[Network, ...]
    ) -> None:
        self._local_for = local_for
        self._bind_host = bind_host
        self._advertised_host = advertised_host
        self._local_networks = local_networks

    def media_host(self, flow: Flow | None, uri: str) -> str:
        """What SDP says to a peer on this flow, or, before there is one, at this URI."""
        remote = _host_of(uri) if flow is None else flow.remote[0]
        if self._advertised_host and not _in_networks(remote, self._local_networks):
            return self._advertised_host
        if self._bind_host:
            return self._bind_host
        if flow is not None and flow.local[0] not in UNSPECIFIC:
            return flow.local[0]
        local = self._local_for(Transport.UDP, remote)
        return "127.0.0.1" if local is None else local[0]

    def bind_host(self, host: str) -> str:
        """The address to bind for a host that SDP names: behind NAT, any that the operator chose."""
        if host != self._advertised_host:
            return host
        return self._bind_host or ("::" if ":" in host else "0.0.0.0")  # noqa: S104


def _host_of(uri: str) -> str:
    host = parse_uri(uri).host
    return host if is_address(host) else SOMEWHERE


@lru_cache(maxsize=4096)
def _in_networks(host: str, networks: tuple[Network, ...]) -> bool:
    address = ipaddress.ip_address(host)
    return any(address.version == network.version and address in network for network in networks)
