"""The small grammar that header values are made of: tokens, quoted strings, parameters, comma lists.

RFC 3261 section 25.1, read a little more widely than written where phones in the field need it and
nothing becomes ambiguous. Leaves the meaning of each header to `sipcore/headers.py`. Every function
is linear in the length of its text.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from sipcore.faults import PeerFault

Params = Mapping[str, str | None]
"""Names in lower case, quoted values unescaped; None for a parameter without a value, such as `lr`."""

_T = TypeVar("_T")
_REMEMBERED = 2048
_REMEMBERED_CHARS = 256

is_token = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+").fullmatch
_QUOTED = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_element = re.compile(rf'(?:[^,"<]+|{_QUOTED}|<[^>]*>)*', re.DOTALL).match
_param = re.compile(
    rf"[ \t]*;[ \t]*([A-Za-z0-9.!%*_+`'~-]+)[ \t]*(=[ \t]*({_QUOTED}|[^ \t\",<>;\\]*)[ \t]*)?", re.DOTALL
).match
_auth_param = re.compile(rf'\s*([^\s=,"]+)\s*=\s*({_QUOTED}|[^\s,"]*)\s*(?:,|$)', re.DOTALL).match
_escaped = re.compile(r"\\(.)", re.DOTALL)
_must_escape = re.compile(r'["\\\x00-\x08\x0b\x0c\x0e-\x1f\x7f]')
_needs_quotes = re.compile(r"[^A-Za-z0-9.!%*_+`'~:\[\]-]").search

_COMMON_NAMES = """
alias branch cause comp early-only expires from-tag keep lr maddr methods ob outbound q received refresher
reg-id retry-after rport tag text to-tag transport ttl user +sip.instance +sip.rendering
"""
_LOWER = {name: name for name in _COMMON_NAMES.split()}
"""Parameter names that need no looking at."""


def remembered(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """Keep the last results of a parse function, for texts that are not long.

    The messages of one call bring the same From, To, Contact and CSeq again and again. What is kept
    must be immutable; faults are not kept.
    """
    recent = functools.lru_cache(_REMEMBERED)(parse)

    @functools.wraps(parse)
    def parse_or_remember(text: str) -> _T:
        return recent(text) if len(text) <= _REMEMBERED_CHARS else parse(text)

    return parse_or_remember


def quote(text: str) -> str:
    """A quoted-string that means `text`; a line break, which no escape can carry, becomes a space."""
    text = text.replace("\r", " ").replace("\n", " ")
    return f'"{_must_escape.sub(_with_backslash, text)}"'


def unquote(text: str) -> str:
    """What a quoted-string means; any other text is returned as it is."""
    if text[:1] != '"' or len(text) < 2:
        return text
    inner = text[1:-1]
    return _escaped.sub(r"\1", inner) if "\\" in inner else inner


def split_list(text: str) -> list[str]:
    """The elements of a comma-separated list, stripped; commas in quotes and in angle brackets do not split.

    Empty elements are kept, for the caller to judge. Raises PeerFault(400) for a quote or a bracket
    that is never closed.
    """
    if "," not in text:
        return [text.strip()]
    if '"' not in text and "<" not in text:
        return [element.strip() for element in text.split(",")]
    elements = []
    at = 0
    while True:
        match = _element(text, at)
        assert match is not None  # it matches the empty string everywhere
        elements.append(match[0].strip())
        at = match.end()
        if at == len(text):
            return elements
        if text[at] != ",":
            raise PeerFault(400, "Unclosed quote or bracket", "RFC 3261 25.1 quoted-string")
        at += 1


def parse_params(text: str) -> dict[str, str | None]:
    """`;name=value;flag` as a dict; "" gives an empty one.

    Raises PeerFault(400) for text between the parameters, an empty one, or a name that comes twice:
    two readers could pick different ones.
    """
    params: dict[str, str | None] = {}
    if (
        '"' in text
        or " " in text
        or "," in text
        or "<" in text
        or ">" in text
        or "\\" in text
        or "\t" in text
    ):
        return _parse_params_carefully(text)
    pieces = text.split(";")
    try:
        for piece in pieces[1:]:
            name, equals, value = piece.partition("=")
            params[_LOWER[name]] = value if equals else None
    except KeyError:
        return _parse_params_carefully(text)
    if pieces[0] or len(params) != len(pieces) - 1:
        raise _malformed_params()
    return params


def format_params(params: Params) -> str:
    """`;name=value;flag`, values quoted where they must be."""
    return "".join(
        [f";{name}" if value is None else f";{name}={_as_value(value)}" for name, value in params.items()]
    )


def parse_auth_params(text: str) -> tuple[str, dict[str, str]]:
    """One challenge or one set of credentials as (scheme in lower case, parameters), RFC 3261 25.1.

    Parameter names are in lower case, quoted values unescaped. Raises PeerFault(400) for anything that
    is not `scheme name=value, name=value`, and for a name that comes twice.
    """
    scheme, _, rest = text.strip().partition(" ")
    params: dict[str, str] = {}
    rest = rest.strip()
    at = 0
    while at < len(rest):
        match = _auth_param(rest, at)
        name = match[1].lower() if match else ""
        if match is None or name in params:
            raise PeerFault(400, "Malformed credentials", "RFC 3261 25.1 auth-param")
        params[name] = unquote(match[2])
        at = match.end()
    if not is_token(scheme) or not params:
        raise PeerFault(400, "Malformed credentials", "RFC 3261 25.1 challenge")
    return scheme.lower(), params


def _parse_params_carefully(text: str) -> dict[str, str | None]:
    params: dict[str, str | None] = {}
    at = 0
    while at < len(text):
        match = _param(text, at)
        if match is None:
            raise _malformed_params()
        name, equals, value = match.groups()
        name = name.lower()
        if name in params:
            raise _malformed_params()
        params[name] = unquote(value) if equals else None
        at = match.end()
    return params


def _malformed_params() -> PeerFault:
    return PeerFault(400, "Malformed parameters", "RFC 3261 25.1 generic-param")


def _as_value(value: str) -> str:
    return quote(value) if not value or _needs_quotes(value) else value


def _with_backslash(match: re.Match[str]) -> str:
    return "\\" + match[0]
