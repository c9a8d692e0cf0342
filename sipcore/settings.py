"""What the operator decides about the SIP stack: listeners, names, timers, limits."""

from __future__ import annotations

import ipaddress

import msgspec

from sipcore.flow import Transport
from sipcore.timers import Timers

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

METHODS = (
    "INVITE",
    "ACK",
    "CANCEL",
    "BYE",
    "OPTIONS",
    "REGISTER",
    "PRACK",
    "UPDATE",
    "INFO",
    "REFER",
    "NOTIFY",
    "SUBSCRIBE",
    "MESSAGE",
    "PUBLISH",
)
EXTENSIONS = ("100rel", "timer", "replaces", "norefersub", "path", "outbound")


class Local(msgspec.Struct, frozen=True):
    """One listener, and what peers outside the local networks are told instead of its address.

    `host` may be "0.0.0.0" or "::"; then the Flow says which address a message came to, and
    `Stack`'s `source_for` which one a new message leaves from. 0 as advertised port: the same port.
    """

    transport: Transport
    host: str
    port: int
    advertised_host: str = ""
    advertised_port: int = 0


class StackSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the stack is told at its start; it does not change while it runs."""

    locals: tuple[Local, ...]
    local_networks: tuple[Network, ...] = ()
    """peers in these are told a listener's own address, all others the advertised one"""
    server_name: str = ""
    """in User-Agent and Server; "" is silent"""
    contact_user: str = ""
    """user part of our Contact"""
    timers: Timers = Timers()
    min_se_s: int = 90
    """the shortest session interval that we take (RFC 4028 section 5)"""
    extensions: tuple[str, ...] = EXTENSIONS
    methods: tuple[str, ...] = METHODS
    max_datagram_bytes: int = 1300
    """a longer request to a peer whose transport is open goes over TCP first (RFC 3261 18.1.1); 0: never"""
    max_transactions: int = 400_000
    max_dialogs: int = 100_000
    retry_after_s: int = 5
    """what a 503 of ours says"""
    strict: bool = False
    """True in tests: a fault of ours is raised. False: it ends the dialog that it happened in."""
