"""What the operator says about the network: addresses, certificates, limits; and why it cannot be had."""

from __future__ import annotations

import errno
import os

import msgspec

from sipcore.flow import Transport


class TlsSettings(msgspec.Struct, frozen=True):
    """How a TLS or WSS listener shows itself, and whether it asks the client for a certificate.

    Paths to PEM files. With `client_ca` a client may show a certificate, which must then be valid;
    with `client_required` it must show one. TLS 1.2 is the oldest version spoken (RFC 8996).
    """

    certificate: str
    key: str
    client_ca: str = ""
    client_required: bool = False


class TlsClientSettings(msgspec.Struct, frozen=True):
    """How we open TLS connections. Without `ca_file` the system's authorities are believed.

    `verify` False takes any certificate: for laboratories. `certificate` and `key` are shown to
    servers that ask for ours.
    """

    verify: bool = True
    ca_file: str = ""
    certificate: str = ""
    key: str = ""


class Listen(msgspec.Struct, frozen=True):
    """One address to listen on. `host` is a literal address; "0.0.0.0" and "::" mean all of that family.

    Port 0 takes any free port. TLS and WSS need `tls`. `origins` is the list of Origin values that a
    WebSocket client may have (RFC 6455 10.2); empty allows all.
    """

    transport: Transport
    host: str
    port: int
    tls: TlsSettings | None = None
    origins: tuple[str, ...] = ()


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one peer, and all of them together, may take. Sizes in bytes, times in seconds."""

    connections: int = 10_000
    connections_per_source: int = 1_000
    """an office behind one NAT has many phones"""
    connect_s: float = 4.0
    """until an outgoing connection stands, TLS included; then the next target is tried"""
    handshake_s: float = 10.0
    """for the TLS handshakes of those who connect to us"""
    first_message_s: float = 30.0
    """an accepted connection that has not brought one whole message by then is closed"""
    idle_s: float = 900.0
    """nothing received for this long, keep-alives included: closed"""
    ping_s: float = 110.0
    """double CRLF on connections that we opened (RFC 5626 4.4.1), at most this far apart; 0: none"""
    pong_s: float = 10.0
    """how long the answer to a ping may take (RFC 5626 4.4.1)"""
    pong_required: bool = False
    """False: only a peer that has answered a ping before is given up for not answering one. Several
    common servers do not know RFC 5626 and would lose a good connection at every ping"""
    websocket_ping_s: float = 30.0
    """WebSocket pings to browsers, whose proxies cut silent connections early; 0: none"""
    message_size: int = 65_535
    write_buffer: int = 1 << 20
    """what may wait for a reader that is slow; more closes the connection"""
    waiting_messages: int = 64
    """what may wait for one connection that is being opened"""


class ListenError(Exception):
    """An address cannot be listened on. Says where, what the problem is, and what to do about it."""

    def __init__(self, where: str, problem: str, remedy: str) -> None:
        super().__init__(f"{where}: {problem}. {remedy}")
        self.where = where
        self.problem = problem
        self.remedy = remedy


class PortInUse(ListenError):
    """Another process (or another listener of ours) has the port."""


def where_of(listen: Listen) -> str:
    """The listener as people write it: "UDP 192.0.2.1:5060", "TCP [::]:5060"."""
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    return f"{listen.transport} {host}:{listen.port}"


def listen_error(listen: Listen, error: OSError) -> ListenError:
    """Put what the system said about binding into an operator's words."""
    where = where_of(listen)
    match error.errno:
        case errno.EADDRINUSE:
            remedy = f"Find its owner with `ss -lpn sport = :{listen.port}`, stop it, or choose another port."
            return PortInUse(where, "another program has this port", remedy)
        case errno.EADDRNOTAVAIL:
            remedy = "Use an address that `ip address` lists, or 0.0.0.0 (or ::) for all of them."
            return ListenError(where, "this machine does not have this address", remedy)
        case errno.EACCES | errno.EPERM:
            remedy = "Use a port above 1023, or give the service the capability CAP_NET_BIND_SERVICE."
            return ListenError(where, "the system does not allow it", remedy)
        case errno.EAFNOSUPPORT:
            return ListenError(where, "the system has no IPv6", "Remove this listener, or enable IPv6.")
        case code:
            return ListenError(where, os.strerror(code or 0), "Correct the address in the settings.")
