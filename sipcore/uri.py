"""SIP, SIPS and tel URIs (RFC 3261 section 19.1, RFC 3966)."""
# INTERFACE SKETCH: replaced by the implementation, which keeps these names.

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class SipUri(msgspec.Struct, frozen=True):
    scheme: str
    """"sip", "sips" or "tel" """
    user: str
    """unescaped; "" when absent; for tel the number"""
    host: str
    """lower case; IPv6 without brackets; "" for tel"""
    port: int | None = None
    password: str = ""
    params: Mapping[str, str | None] = {}
    """uri-parameters, names in lower case; None for a flag such as lr"""
    headers: str = ""
    """what follows the question mark, as text"""


def parse_uri(text: str) -> SipUri:
    """Raises PeerFault(400), or PeerFault(416) for another scheme."""
    raise NotImplementedError
