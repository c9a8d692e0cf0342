"""Typed header values (RFC 3261 section 20, and the RFCs of the extensions that are named below).

Each `parse_...` takes one header value, unfolded, one list element where the header is a list, and
raises PeerFault(400) when it is broken. `str()` of a value writes it again. Which header holds which
value, and lists of them, are `sipcore/message.py`'s business.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NoReturn

import msgspec
from msgspec.structs import replace

from sipcore.faults import PeerFault
from sipcore.params import (
    Params,
    format_params,
    is_token,
    parse_auth_params,
    parse_params,
    quote,
    remembered,
    split_list,
    unquote,
)
from sipcore.uri import SipUri, is_uri_text, parse_hostport, parse_uri, unescape

__all__ = [
    "MAGIC_COOKIE",
    "CSeq",
    "EventType",
    "NameAddr",
    "Params",
    "RAck",
    "Reason",
    "Replaces",
    "SessionExpires",
    "SubscriptionState",
    "Via",
    "format_date",
    "format_params",
    "parse_auth_params",
    "parse_cseq",
    "parse_date",
    "parse_delta_s",
    "parse_event",
    "parse_name_addr",
    "parse_number",
    "parse_params",
    "parse_rack",
    "parse_reason",
    "parse_refer_to",
    "parse_replaces",
    "parse_retry_after",
    "parse_session_expires",
    "parse_subscription_state",
    "parse_via",
    "quote",
    "split_list",
    "unquote",
]

MAGIC_COOKIE = "z9hG4bK"
"""What the branch of a transaction id begins with (RFC 3261 8.1.1.7)."""

MAX_DELTA_S = 2**32 - 1
MAX_CSEQ = 2**31 - 1

_METHODS = """
ACK BYE CANCEL INFO INVITE MESSAGE NOTIFY OPTIONS PRACK PUBLISH REFER REGISTER SUBSCRIBE UPDATE
"""
METHODS = frozenset(_METHODS.split())
"""The methods of the RFCs; others are legal tokens all the same."""

_TRANSPORTS = {f"SIP/2.0/{transport}": transport for transport in ("UDP", "TCP", "TLS", "WS", "WSS")}

_via = re.compile(
    r"SIP\s*/\s*[0-9.]+\s*/\s*([A-Za-z0-9.!%*_+`'~-]+)\s+(\[[^\]]*\]|[^\s:]+)\s*(?::\s*([0-9]+))?",
    re.IGNORECASE,
).fullmatch
_quoted = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*")[ \t]*<', re.DOTALL).match
_usual_name_addr = re.compile(
    r'(?:"([^"\\]*)" ?)?<([!#-;=?-~]+)>(?:;tag=([A-Za-z0-9.!%*_+`\'~-]+))?'
).fullmatch
_bad_name = re.compile(r'[",;>\\]').search
_is_qvalue = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?").fullmatch
_is_digits = re.compile(r"[0-9]+").fullmatch
_date = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4})"
    r" ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
).fullmatch
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class CSeq(msgspec.Struct, frozen=True, gc=False):
    """RFC 3261 20.16. Methods compare case-sensitively."""

    number: int
    method: str

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


class NameAddr(msgspec.Struct, frozen=True, gc=False):
    """From, To, Contact, Route, Refer-To, ...: `"name" <uri>;params` (RFC 3261 20.10)."""

    uri: str
    """as text, "*" for the lone star of a Contact"""
    display_name: str = ""
    """what a person reads: quotes and escapes are gone"""
    params: Params = {}
    """of the header, never of the URI"""

    def __str__(self) -> str:
        if self.uri == "*":
            return "*"
        name = f"{quote(self.display_name)} " if self.display_name else ""
        return f"{name}<{self.uri}>{format_params(self.params)}"

    @property
    def tag(self) -> str:
        """ "" when absent. Tags compare case-sensitively (RFC 3261 19.3)."""
        return self.params.get("tag") or ""

    @property
    def sip_uri(self) -> SipUri:
        """The URI taken apart. Raises PeerFault(400), or 416 for a scheme other than sip, sips and tel."""
        return parse_uri(self.uri)

    @property
    def q(self) -> float:
        """The preference of a Contact, 0.0 to 1.0; 1.0 when absent or malformed (RFC 3261 10.2.1.2)."""
        value = self.params.get("q") or ""
        return float(value) if _is_qvalue(value) else 1.0

    @property
    def expires(self) -> int | None:
        """Seconds; None when absent or malformed: the default applies (RFC 3261 10.2.1.1)."""
        return parse_delta_s(self.params.get("expires") or "")

    def with_param(self, name: str, value: str | None = None) -> NameAddr:
        """With this header parameter set, replacing one of the same name."""
        return replace(self, params={**self.params, name.lower(): value})

    def with_tag(self, tag: str) -> NameAddr:
        return self.with_param("tag", tag)


class Via(msgspec.Struct, frozen=True, gc=False):
    """One hop (RFC 3261 20.42)."""

    transport: str
    """upper case: "UDP", "TCP", "TLS", "WS", "WSS", or what a stranger wrote"""
    host: str
    """lower case, IPv6 without brackets"""
    port: int | None
    params: Params

    def __str__(self) -> str:
        return f"SIP/2.0/{self.transport} {self.sent_by}{format_params(self.params)}"

    @property
    def branch(self) -> str:
        """ "" when absent. Compared case-sensitively by everyone, though RFC 3261 7.3.1 calls it a token."""
        return self.params.get("branch") or ""

    @property
    def has_transaction_id(self) -> bool:
        """True when the branch begins with the magic cookie and has something after it (RFC 3261 17.2.3)."""
        branch = self.branch
        return len(branch) > len(MAGIC_COOKIE) and branch[:7].lower() == "z9hg4bk"

    @property
    def sent_by(self) -> str:
        """`host`, `host:port` or `[v6]:port` in lower case: part of the transaction key (RFC 3261 17.2.3)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def received(self) -> str:
        """Where the request came from, without brackets, which some write (RFC 5118 4.5); "" when absent."""
        return (self.params.get("received") or "").strip("[]")

    @property
    def wants_rport(self) -> bool:
        """True when the sender asks for its source port (RFC 3581 section 3)."""
        return "rport" in self.params

    @property
    def rport(self) -> int | None:
        """The source port that a server filled in; None when absent, still empty, or no port."""
        value = self.params.get("rport") or ""
        return int(value) if len(value) <= 5 and _is_digits(value) and int(value) <= 65535 else None

    def seen_from(self, host: str, port: int) -> Via:
        """As a server writes it on a request from this address (RFC 3261 18.2.1, RFC 3581 section 4).

        `received` is added where the host differs or rport is asked for, and rport is filled in. What
        the sender claimed about either is overwritten.
        """
        params = dict(self.params)
        params.pop("received", None)
        if host != self.host or "rport" in params:
            params["received"] = host
        if "rport" in params:
            params["rport"] = str(port)
        return replace(self, params=params)


class RAck(msgspec.Struct, frozen=True, gc=False):
    """What a PRACK acknowledges (RFC 3262 7.2)."""

    rseq: int
    cseq: int
    method: str

    def __str__(self) -> str:
        return f"{self.rseq} {self.cseq} {self.method}"


class Reason(msgspec.Struct, frozen=True, gc=False):
    """Why a request was sent (RFC 3326): `SIP;cause=200;text="Call completed elsewhere"`."""

    protocol: str
    """"SIP", "Q.850", ... as written"""
    cause: int | None
    text: str = ""

    def __str__(self) -> str:
        cause = "" if self.cause is None else f";cause={self.cause}"
        return f"{self.protocol}{cause};text={quote(self.text)}" if self.text else f"{self.protocol}{cause}"


class Replaces(msgspec.Struct, frozen=True, gc=False):
    """The dialog that an INVITE takes over (RFC 3891 6.1)."""

    call_id: str
    to_tag: str
    from_tag: str
    early_only: bool = False

    def __str__(self) -> str:
        early = ";early-only" if self.early_only else ""
        return f"{self.call_id};to-tag={self.to_tag};from-tag={self.from_tag}{early}"


class SessionExpires(msgspec.Struct, frozen=True, gc=False):
    """RFC 4028 section 4."""

    interval_s: int
    refresher: str = ""
    """"uac", "uas" or "" """

    def __str__(self) -> str:
        return f"{self.interval_s};refresher={self.refresher}" if self.refresher else str(self.interval_s)


class EventType(msgspec.Struct, frozen=True, gc=False):
    """The Event header (RFC 6665 8.2.1). Two match when package and id do; other parameters do not count."""

    package: str
    """with its templates: "presence.winfo" """
    id: str = ""
    params: Params = {}

    def __str__(self) -> str:
        return f"{self.package}{format_params(self.params)}"


class SubscriptionState(msgspec.Struct, frozen=True, gc=False):
    """RFC 6665 8.2.3."""

    state: str
    """"active", "pending", "terminated", or an extension, in lower case"""
    reason: str = ""
    expires_s: int | None = None
    retry_after_s: int | None = None

    def __str__(self) -> str:
        reason = f";reason={self.reason}" if self.reason else ""
        expires = "" if self.expires_s is None else f";expires={self.expires_s}"
        retry = "" if self.retry_after_s is None else f";retry-after={self.retry_after_s}"
        return f"{self.state}{reason}{expires}{retry}"


@remembered
def parse_cseq(text: str) -> CSeq:
    """RFC 3261 20.16: the number is below 2**31, leading zeros do no harm."""
    number, _, method = text.partition(" ")
    if method not in METHODS:
        words = text.split()
        if len(words) != 2 or not is_token(words[1]):
            _broken("CSeq", "RFC 3261 20.16")
        number, method = words
    return CSeq(_number(number, MAX_CSEQ, "CSeq", "RFC 3261 8.1.1.5"), method)


def parse_via(text: str) -> Via:
    """RFC 3261 20.42. The version is not judged here: it is the start line's."""
    sent, semicolon, params = text.partition(";")
    protocol, _, sent_by = sent.partition(" ")
    transport = _TRANSPORTS.get(protocol)
    if transport is None or " " in sent_by:
        match = _via(sent.strip())
        if match is None:
            _broken("Via", "RFC 3261 20.42")
        transport, sent_by = match[1].upper(), match[2] + (f":{match[3]}" if match[3] else "")
    host, port = parse_hostport(sent_by)
    return Via(transport, host, port, parse_params(semicolon + params))


@remembered
def parse_name_addr(text: str) -> NameAddr:
    """`"name" <uri>;params`, `name <uri>;params`, or `uri;params` with parameters of the header (20.10)."""
    match = _usual_name_addr(text)
    if match is None:
        return _parse_name_addr_carefully(text)
    name, uri, tag = match.groups()
    return NameAddr(uri, name or "", {} if tag is None else {"tag": tag})


def parse_refer_to(text: str) -> tuple[NameAddr, dict[str, str]]:
    """A Refer-To as (address without embedded headers, those headers unescaped, names in lower case).

    RFC 3515 section 2.1; `headers["replaces"]` is ready for `parse_replaces` (RFC 3891, RFC 5589).
    """
    address = parse_name_addr(text)
    if "?" not in address.uri:
        return address, {}
    uri = address.sip_uri
    pairs = [pair.partition("=") for pair in uri.headers.split("&")]
    headers = {unescape(name).lower(): unescape(value) for name, _, value in pairs}
    if len(headers) < len(pairs) or "" in headers:
        _broken("Refer-To", "RFC 3261 19.1.1 headers")
    return replace(address, uri=str(replace(uri, headers=""))), headers


def parse_rack(text: str) -> RAck:
    """RFC 3262 7.2."""
    parts = text.split()
    if len(parts) != 3 or not is_token(parts[2]):
        _broken("RAck", "RFC 3262 7.2")
    rseq = _number(parts[0], MAX_DELTA_S, "RAck", "RFC 3262 7.2")
    return RAck(rseq, _number(parts[1], MAX_CSEQ, "RAck", "RFC 3262 7.2"), parts[2])


def parse_reason(text: str) -> Reason:
    """RFC 3326 section 2; a cause that is no number is left out."""
    protocol, params = _value_and_params(text, "Reason", "RFC 3326 section 2")
    cause = params.get("cause") or ""
    return Reason(
        protocol, int(cause) if len(cause) < 6 and _is_digits(cause) else None, params.get("text") or ""
    )


def parse_replaces(text: str) -> Replaces:
    """RFC 3891 6.1: exactly one to-tag and one from-tag; a to-tag may be 0 for an RFC 2543 peer."""
    call_id, semicolon, rest = text.partition(";")
    params = parse_params(semicolon + rest)
    to_tag, from_tag = params.get("to-tag") or "", params.get("from-tag") or ""
    if not to_tag or not from_tag or not call_id.strip():
        _broken("Replaces", "RFC 3891 6.1")
    return Replaces(call_id.strip(), to_tag, from_tag, "early-only" in params)


def parse_session_expires(text: str) -> SessionExpires:
    """Session-Expires and Min-SE (RFC 4028 sections 4 and 5); an unknown refresher counts as none."""
    interval, params = _value_and_params(text, "Session-Expires", "RFC 4028 section 4")
    refresher = (params.get("refresher") or "").lower()
    return SessionExpires(
        _number(interval, MAX_DELTA_S, "Session-Expires", "RFC 4028 section 4"),
        refresher if refresher in ("uac", "uas") else "",
    )


def parse_event(text: str) -> EventType:
    """RFC 6665 8.2.1."""
    package, params = _value_and_params(text, "Event", "RFC 6665 8.2.1")
    return EventType(package, params.get("id") or "", params)


def parse_subscription_state(text: str) -> SubscriptionState:
    """RFC 6665 8.2.3."""
    state, params = _value_and_params(text, "Subscription-State", "RFC 6665 8.2.3")
    return SubscriptionState(
        state.lower(),
        (params.get("reason") or "").lower(),
        parse_delta_s(params.get("expires") or ""),
        parse_delta_s(params.get("retry-after") or ""),
    )


def parse_retry_after(text: str) -> int:
    """Seconds (RFC 3261 20.33), comment and parameters left out; no more than 2**32-1."""
    seconds = re.split(r"[\s(;]", text, maxsplit=1)[0]
    delta_s = parse_delta_s(seconds)
    return _broken("Retry-After", "RFC 3261 20.33") if delta_s is None else delta_s


def parse_delta_s(text: str) -> int | None:
    """delta-seconds (RFC 3261 25.1): None for what is no number, 2**32-1 for what is larger."""
    if not _is_digits(text):
        return None
    return int(text) if len(text) <= 10 and int(text) <= MAX_DELTA_S else MAX_DELTA_S


def parse_number(text: str, name: str, rule: str) -> int:
    """A header that is one 32-bit number: RSeq, Min-Expires, ...; `name` and `rule` are for the fault."""
    return _number(text, MAX_DELTA_S, name, rule)


def parse_date(text: str) -> datetime:
    """RFC 3261 20.17, always GMT. A Date is never needed: a reader may go on without a broken one."""
    match = _date(text)
    if match is None:
        _broken("Date", "RFC 3261 20.17")
    day, month, year, hour, minute, second = match.groups()
    try:
        return datetime(
            int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second), tzinfo=UTC
        )
    except ValueError:
        _broken("Date", "RFC 3261 20.17")


def format_date(when: datetime) -> str:
    """`Sat, 13 Nov 2010 23:29:00 GMT`, whatever the locale; `when` is aware."""
    when = when.astimezone(UTC)
    return (
        f"{_DAYS[when.weekday()]}, {when.day:02} {_MONTHS[when.month - 1]} {when.year:04} {when:%H:%M:%S} GMT"
    )


def _parse_name_addr_carefully(text: str) -> NameAddr:
    start = text.find("<") + 1
    if text[:1] == '"':
        name, start = _quoted_name(text)
    elif start:
        name = text[: start - 1].rstrip()
        if name and _bad_name(name):
            _broken("Display name", "RFC 3261 25.1 display-name")
    else:
        return _parse_addr_spec(text)
    end = text.find(">", start)
    uri = text[start:end]
    # `< sip:...>` with a blank inside is not allowed (RFC 4475 3.1.2.14) and nothing we know writes it.
    if end < 0 or not is_uri_text(uri):
        _broken("Address", "RFC 3261 25.1 name-addr")
    return NameAddr(uri, name, parse_params(text[end + 1 :]))


def _quoted_name(text: str) -> tuple[str, int]:
    """The meaning of the quoted string that `text` begins with, and where the URI after its < begins."""
    match = _quoted(text)
    if match is None:
        _broken("Quoted display name", "RFC 3261 25.1 name-addr")
    return unquote(match[1]), match.end()


def _parse_addr_spec(text: str) -> NameAddr:
    if text == "*":
        return NameAddr("*")
    uri, semicolon, rest = text.partition(";")
    uri = uri.rstrip()
    # A URI with a question mark or a comma must stand in angle brackets (RFC 3261 20.10).
    if not is_uri_text(uri) or "?" in uri or "," in uri:
        _broken("Address", "RFC 3261 20.10")
    return NameAddr(uri, "", parse_params(semicolon + rest) if semicolon else {})


def _value_and_params(text: str, name: str, rule: str) -> tuple[str, dict[str, str | None]]:
    value, semicolon, rest = text.partition(";")
    value = value.strip()
    if not is_token(value):
        _broken(name, rule)
    return value, parse_params(semicolon + rest) if semicolon else {}


def _number(text: str, most: int, name: str, rule: str) -> int:
    # Twenty digits hold every legal number with some leading zeros; int() of megabytes would be slow.
    number = int(text) if len(text) <= 20 and _is_digits(text) else most + 1
    return number if number <= most else _broken(name, rule)


def _broken(name: str, rule: str) -> NoReturn:
    raise PeerFault(400, f"Malformed {name}", rule)
