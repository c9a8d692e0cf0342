"""SIP, SIPS and tel URIs (RFC 3261 section 19.1, RFC 3966).

Reads a little more than the grammar allows in the user part (phones dial `#` unescaped) and writes
only what it allows. Resolving a URI to addresses is `sipcore/locate.py`'s work.
"""

from __future__ import annotations

import functools
import re
import socket
from collections.abc import Mapping
from urllib.parse import quote, unquote

import msgspec
from msgspec.structs import replace

from sipcore.faults import PeerFault

MAX_URI_CHARS = 2048
"""Longer ones are refused with 414."""

_LONGEST_HOSTPORT = 255 + len(":65535")
_UNRESERVED = "-_.!~*'()"
_USER_SAFE = _UNRESERVED + "&=+$,;?/"
_PASSWORD_SAFE = _UNRESERVED + "&=+$,"
_PARAM_SAFE = _UNRESERVED + "[]/:&+$"

_has_scheme = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:").match
_usual_sip = re.compile(
    r"(sips?):(?:([A-Za-z0-9_.!~*'()&=+$,-]+)@)?([A-Za-z0-9.:-]+)((?:;[a-z0-9.-]+(?:=[A-Za-z0-9_.-]+)?)*)"
).fullmatch
_is_host = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_.])?").fullmatch
_is_numeric = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?").fullmatch
_is_port = re.compile(r"[0-9]{1,5}").fullmatch
_is_text = re.compile(r'[^\s\x00-\x1f\x7f"<>@\\]*').fullmatch
_three_colons = re.compile(r":::(?=[0-9]+\.[0-9.]+$)")
_has_control = re.compile(r"[\s\x00-\x1f\x7f]").search
_bad_escape = re.compile(r"%(?![0-9A-Fa-f]{2})").search
_visual_separators = str.maketrans("", "", "-.()")
_is_number = re.compile(r"\+[0-9]+|[0-9A-Fa-f*#]+").fullmatch


class SipUri(msgspec.Struct, frozen=True, gc=False):
    """One URI, taken apart. `str()` writes it again in its escaped form.

    Two that differ in spelling may mean the same: `equivalent()` compares, `==` does not.
    """

    scheme: str
    """"sip", "sips" or "tel" """
    user: str
    """unescaped; "" when absent; for tel the number without visual separators"""
    host: str
    """lower case; IPv6 without brackets, in its canonical form; "" for tel"""
    port: int | None = None
    password: str = ""
    params: Mapping[str, str | None] = {}
    """uri-parameters, names in lower case, values unescaped; None for a flag such as lr"""
    headers: str = ""
    """what follows the question mark, as text"""

    def __str__(self) -> str:
        if self.scheme == "tel":
            return f"tel:{self.user}{self._params_text()}"
        user = _escape(self.user, _USER_SAFE)
        if self.password:
            user = f"{user}:{_escape(self.password, _PASSWORD_SAFE)}"
        text = f"{self.scheme}:{user}@{self.hostport}" if user else f"{self.scheme}:{self.hostport}"
        text += self._params_text()
        return f"{text}?{self.headers}" if self.headers else text

    @property
    def hostport(self) -> str:
        """`host`, `host:port` or `[v6]:port`, as a URI or a Via writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def transport(self) -> str:
        """The transport parameter in lower case, "" when absent."""
        return (self.params.get("transport") or "").lower()

    @property
    def is_loose_router(self) -> bool:
        """True with an lr parameter (RFC 3261 19.1.1); `lr=on`, which some proxies write, counts."""
        return "lr" in self.params

    def with_user(self, user: str) -> SipUri:
        """The same URI for another user, without the password."""
        return replace(self, user=user, password="")

    def with_host(self, host: str, port: int | None = None) -> SipUri:
        """The same user elsewhere; `host` is a name or a literal address without brackets."""
        return replace(self, host=host.lower(), port=port)

    def with_param(self, name: str, value: str | None = None) -> SipUri:
        """With this parameter set, replacing one of the same name."""
        return replace(self, params={**self.params, name.lower(): value})

    def without(self, *names: str) -> SipUri:
        """Without these parameters (lower-case names), and without headers."""
        return replace(self, params={k: v for k, v in self.params.items() if k not in names}, headers="")

    def _params_text(self) -> str:
        parts = []
        for name, value in self.params.items():
            parts.append(";" + _escape(name, _PARAM_SAFE))
            if value is not None:
                parts.append("=" + _escape(value, _PARAM_SAFE))
        return "".join(parts)


def sip_uri(user: str, host: str, port: int | None = None, **params: str | None) -> SipUri:
    """A sip: URI from plain parts: nothing in them needs escaping, IPv6 has no brackets."""
    return SipUri("sip", user, host.lower(), port, params=params)


@functools.lru_cache(maxsize=2048)
def parse_uri(text: str) -> SipUri:
    """Take a URI apart. Raises PeerFault(400), 414 for one that is too long, or 416 for another scheme.

    The last 2048 texts are remembered: a call says the same URI many times.
    """
    match = _usual_sip(text)
    if match is not None and len(text) <= MAX_URI_CHARS:
        scheme, user, hostport, params = match.groups()
        host, port = parse_hostport(hostport)
        return SipUri(scheme, user or "", host, port, "", _params(params.split(";")[1:]) if params else {})
    return _parse_uri_carefully(text)


def equivalent(a: SipUri | str, b: SipUri | str) -> bool:
    """True when two URIs mean the same resource (RFC 3261 19.1.4; RFC 3966 section 4 for tel).

    Not transitive, as the RFC says. Reserved characters and their escapes are taken as the same in the
    user part, one step wider than the RFC. Raises PeerFault for text that is no URI.
    """
    a = parse_uri(a) if isinstance(a, str) else a
    b = parse_uri(b) if isinstance(b, str) else b
    return (
        a.scheme == b.scheme
        and a.user == b.user
        and a.password == b.password
        and a.host == b.host
        and a.port == b.port
        and _same_params(a.params, b.params)
        and _headers_of(a.headers) == _headers_of(b.headers)
    )


@functools.lru_cache(maxsize=1024)
def parse_hostport(text: str) -> tuple[str, int | None]:
    """`host`, `host:port` or `[v6]:port` as (lower-case host, port). Raises PeerFault(400)."""
    if len(text) > _LONGEST_HOSTPORT:
        raise _malformed("RFC 1035 2.3.4")
    if text[:1] == "[":
        inside, bracket, after = text[1:].partition("]")
        if not bracket or (after and after[0] != ":"):
            raise _malformed("RFC 3261 25.1 IPv6reference")
        return _ipv6(inside), _port(after[1:]) if after else None
    name, colon, port = text.partition(":")
    name = name.lower()
    if not _is_host(name):
        raise _malformed("RFC 3261 25.1 host")
    if _is_numeric(name):
        _check_ipv4(name)
    return name, _port(port) if colon else None


def is_uri_text(text: str) -> bool:
    """True when `text` could be a URI: one word that keeps inside its angle brackets."""
    if not text or " " in text or "<" in text or ">" in text or '"' in text:
        return False
    return text.isprintable() or not _has_control(text)


def unescape(text: str) -> str:
    """What a text with %HH escapes means. Raises PeerFault(400) for a % that begins none."""
    if "%" not in text:
        return text
    if _bad_escape(text):
        raise _malformed("RFC 3261 25.1 escaped")
    return unquote(text, errors="surrogateescape")


_MUST_BE_IN_BOTH = ("user", "ttl", "method", "maddr", "transport")
"""19.1.4 leaves transport out of its rules but not out of its examples ("can resolve to different ..")."""


def _same_params(a: Mapping[str, str | None], b: Mapping[str, str | None]) -> bool:
    if any((name in a) != (name in b) for name in _MUST_BE_IN_BOTH):
        return False
    return all((a[name] or "").lower() == (b[name] or "").lower() for name in a.keys() & b.keys())


def _headers_of(text: str) -> list[tuple[str, str]]:
    pairs = [pair.partition("=") for pair in text.split("&")] if text else []
    return sorted((unquote(name).lower(), unquote(value)) for name, _, value in pairs)


def _parse_uri_carefully(text: str) -> SipUri:
    if len(text) > MAX_URI_CHARS:
        raise PeerFault(414, "Request-URI Too Long", "RFC 3261 21.4.12")
    scheme, _, rest = text.partition(":")
    scheme = scheme.lower()
    if scheme in ("sip", "sips"):
        return _parse_sip(scheme, rest)
    if scheme == "tel":
        return _parse_tel(rest)
    if _has_scheme(text):
        raise PeerFault(416, "Unsupported URI Scheme", "RFC 3261 8.2.2.1")
    raise _malformed("RFC 3261 25.1 SIP-URI")


def _parse_sip(scheme: str, rest: str) -> SipUri:
    # The user part may hold ; and ? itself, so the @ is looked for first (RFC 3261 25.1 user-unreserved).
    userinfo, at, after = rest.partition("@")
    if not at:
        userinfo, after = "", rest
    elif not userinfo:
        raise _malformed("RFC 3261 25.1 userinfo")
    user, _, password = userinfo.partition(":")
    address, _, headers = after.partition("?")
    hostport, *params = address.split(";")
    host, port = parse_hostport(hostport)
    # An @ in headers is not allowed but met in Refer-To: <sip:b@h?Replaces=id@host...>; it cannot mislead.
    if not _is_text(userinfo) or not _is_text(address) or not _is_text(headers.replace("@", "")):
        raise _malformed("RFC 3261 25.1 SIP-URI")
    return SipUri(scheme, unescape(user), host, port, unescape(password), _params(params), headers)


def _parse_tel(rest: str) -> SipUri:
    number, *params = rest.split(";")
    number = number.translate(_visual_separators)
    if not _is_number(number) or not _is_text(rest):
        raise _malformed("RFC 3966 section 3")
    return SipUri("tel", number, "", params=_params(params))


def _params(pieces: list[str]) -> dict[str, str | None]:
    params: dict[str, str | None] = {}
    for piece in pieces:
        name, equals, value = piece.partition("=")
        name = unescape(name).lower()
        if not name or name in params:
            raise _malformed("RFC 3261 19.1.1")
        params[name] = unescape(value) if equals else None
    return params


def _port(text: str) -> int:
    port = int(text) if _is_port(text) else 65536
    if port > 65535:
        raise _malformed("RFC 3261 25.1 port")
    return port


def _ipv6(text: str) -> str:
    # The grammar of RFC 3261 let three colons stand before an embedded IPv4 address (RFC 5118 4.10).
    text = _three_colons.sub("::", text)
    try:
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, text))
    except (OSError, ValueError):
        raise _malformed("RFC 3261 25.1 IPv6address") from None


def _check_ipv4(text: str) -> None:
    """Numeric hosts must be plain dotted quads: resolvers read `010.1` or `0x7f.1` in their own way."""
    try:
        socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        raise _malformed("RFC 3261 25.1 IPv4address") from None


def _escape(text: str, safe: str) -> str:
    return text if text.isalnum() and text.isascii() else quote(text, safe, errors="surrogateescape")


def _malformed(rule: str) -> PeerFault:
    return PeerFault(400, "Malformed URI", rule)
