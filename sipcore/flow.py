"""Where a message came from and where it goes: transports, addresses, flows (RFC 3261 section 18, RFC 5626).

Knows no socket. A Flow is plain data, so that a dialog that travels over it can be kept and restored.
"""

from __future__ import annotations

import enum
import ipaddress
from functools import lru_cache

import msgspec

Address = tuple[str, int]
"""A literal IPv4 or IPv6 address (no brackets, no zone) and a port."""


class Transport(enum.StrEnum):
    """The transports of a Via (RFC 3261 section 18, RFC 7118)."""

    UDP = "UDP"
    TCP = "TCP"
    TLS = "TLS"
    WS = "WS"
    WSS = "WSS"

    @property
    def reliable(self) -> bool:
        """True where the transport itself resends: timers A, E and G do not run."""
        return self is not Transport.UDP


class Flow(msgspec.Struct, frozen=True, gc=False):
    """One way to reach one peer: from `local` to `remote` over `transport`.

    `connection` names one accepted or opened connection; 0 means datagrams, or, on a
    connection-oriented transport, "reuse a connection to `remote` or open one". `server_name` is
    what a TLS certificate of the peer must be valid for when the connection has yet to be opened.
    """

    transport: Transport
    local: Address
    remote: Address
    connection: int = 0
    server_name: str = ""


@lru_cache(maxsize=4096)
def is_address(host: str) -> bool:
    """True for a literal IPv4 or IPv6 address (no brackets): what needs no name to be resolved."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
