"""SIP text as the phone reads and writes it (RFC 3261 sections 7, 19.1, 20, 25).

Written apart from the server's parser on purpose, so that the two do not share a blind spot. It reads
strictly: what it cannot read raises `Unreadable`, what it can read although the RFC forbids it is
listed in `Message.faults`. What a message means in a dialog is judged elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote, unquote

Fields = Iterable[tuple[str, str]]
COMPACT = {
    "a": "accept-contact", "b": "referred-by", "c": "content-type", "e": "content-encoding",
    "f": "from", "i": "call-id", "k": "supported", "l": "content-length", "m": "contact",
    "o": "event", "r": "refer-to", "s": "subject", "t": "to", "u": "allow-events", "v": "via",
    "x": "session-expires",
}  # fmt: skip
SEVERAL_ON_A_LINE = frozenset(
    [
        "via",
        "contact",
        "route",
        "record-route",
        "allow",
        "supported",
        "require",
        "proxy-require",
        "unsupported",
        "allow-events",
    ]
)
ONLY_ONCE = frozenset(
    ["from", "to", "call-id", "cseq", "max-forwards", "content-length", "content-type", "expires", "event"]
)
USER_SAFE = "-_.!~*'()&=+$,;?/"
HEADER_SAFE = "-_.!~*'()"
TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+\Z")
REQUEST_LINE = re.compile(r"([A-Za-z0-9\-.!%*_+`'~]+) (\S+) SIP/2\.0\Z")
STATUS_LINE = re.compile(r"SIP/2\.0 ([1-6]\d\d) ?(.*)\Z")
REASONS = {
    100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 183: "Session Progress", 200: "OK",
    202: "Accepted", 302: "Moved Temporarily", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 415: "Unsupported Media Type",
    420: "Bad Extension", 422: "Session Interval Too Small", 423: "Interval Too Brief",
    480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 486: "Busy Here",
    487: "Request Terminated", 488: "Not Acceptable Here", 489: "Bad Event", 491: "Request Pending",
    500: "Server Internal Error",
    501: "Not Implemented", 503: "Service Unavailable", 600: "Busy Everywhere", 603: "Decline",
}  # fmt: skip


class Unreadable(Exception):
    """These bytes are no SIP message; the text says why."""


class Uri(NamedTuple):
    """A sip: or sips: URI; `params` in lower case, None for a flag."""

    scheme: str
    user: str
    host: str
    port: int | None
    params: dict[str, str | None]
    headers: dict[str, str]

    def __str__(self) -> str:
        user = quote(self.user, safe=USER_SAFE) + "@" if self.user else ""
        port = f":{self.port}" if self.port is not None else ""
        params = "".join(f";{k}" if v is None else f";{k}={v}" for k, v in self.params.items())
        headers = "&".join(f"{k}={quote(v, safe=HEADER_SAFE)}" for k, v in self.headers.items())
        return f"{self.scheme}:{user}{self.host}{port}{params}{'?' + headers if headers else ''}"

    def same_as(self, other: Uri) -> bool:
        """Equal as far as a dialog's target goes: scheme, user, host, port."""
        return (self.scheme, self.user, self.host.lower(), self.port) == (
            other.scheme,
            other.user,
            other.host.lower(),
            other.port,
        )


class Addr(NamedTuple):
    """A From, To, Contact, Route...: `"name" <uri>;params`."""

    uri: str
    name: str
    params: dict[str, str | None]

    @property
    def tag(self) -> str:
        return self.params.get("tag") or ""


class Via(NamedTuple):
    transport: str
    host: str
    port: int | None
    params: dict[str, str | None]

    @property
    def branch(self) -> str:
        return self.params.get("branch") or ""


class CSeq(NamedTuple):
    number: int
    method: str


@dataclass(slots=True)
class Message:
    """A request (`method`, `uri`) or a response (`status`, `reason`) with its fields in order."""

    method: str = ""
    uri: str = ""
    status: int = 0
    reason: str = ""
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    faults: list[str] = field(default_factory=list)
    raw: bytes = b""

    @property
    def is_request(self) -> bool:
        return self.status == 0

    @property
    def first_line(self) -> str:
        return (
            f"{self.method} {self.uri} SIP/2.0" if self.is_request else f"SIP/2.0 {self.status} {self.reason}"
        )

    def get(self, name: str) -> str:
        """The first field of this name, or ""."""
        wanted = name.lower()
        return next((value for key, value in self.fields if canonical(key) == wanted), "")

    def all(self, name: str) -> list[str]:
        """Every value of this name, in order, lists taken apart."""
        wanted = name.lower()
        values = [value for key, value in self.fields if canonical(key) == wanted]
        if wanted not in SEVERAL_ON_A_LINE:
            return values
        return [part for value in values for part in split_list(value)]

    def options(self, name: str) -> frozenset[str]:
        return frozenset(option.lower() for option in self.all(name))

    @property
    def via(self) -> Via:
        return read_via(self.all("via")[0])

    @property
    def from_(self) -> Addr:
        return read_addr(self.get("from"))

    @property
    def to(self) -> Addr:
        return read_addr(self.get("to"))

    @property
    def call_id(self) -> str:
        return self.get("call-id")

    @property
    def cseq(self) -> CSeq:
        number, _, method = self.get("cseq").partition(" ")
        return CSeq(int(number), method.strip())

    @property
    def contact(self) -> Addr | None:
        values = self.all("contact")
        return read_addr(values[0]) if values and values[0] != "*" else None

    @property
    def content_type(self) -> str:
        return self.get("content-type").partition(";")[0].strip().lower()

    @property
    def sdp(self) -> bytes:
        """The session description in the body, or b""."""
        return self.body if self.content_type == "application/sdp" else b""

    def number(self, name: str) -> int | None:
        value = self.get(name).partition(";")[0].strip()
        return int(value) if value.isdigit() else None

    def to_bytes(self) -> bytes:
        lines = [self.first_line, *(f"{name}: {value}" for name, value in self.fields)]
        lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


def canonical(name: str) -> str:
    lower = name.lower()
    return COMPACT.get(lower, lower)


def split_list(value: str) -> list[str]:
    """Take a comma-separated value apart, leaving commas in quotes and angle brackets alone."""
    parts, start, quoted, depth, skip = [], 0, False, 0, False
    for at, char in enumerate(value):
        if skip:
            skip = False
        elif quoted:
            quoted, skip = char != '"', char == "\\"
        elif char == '"':
            quoted = True
        elif char in "<>":
            depth += 1 if char == "<" else -1
        elif char == "," and depth <= 0:
            parts.append(value[start:at].strip())
            start = at + 1
    return [part for part in [*parts, value[start:].strip()] if part]


def read_params(text: str) -> dict[str, str | None]:
    """`;a=b;c="d;e";f` -> {"a": "b", "c": "d;e", "f": None}."""
    params: dict[str, str | None] = {}
    for match in re.finditer(r';\s*([^\s;=]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^\s;"]+))?', text):
        value = match[2]
        params[match[1].lower()] = value.strip('"') if value is not None else None
    return params


def read_addr(value: str) -> Addr:
    """Raises Unreadable."""
    bracketed = re.match(r'\s*("(?:[^"\\]|\\.)*"|[^<"]*)\s*<([^<>\s]+)>(.*)\Z', value, re.DOTALL)
    if bracketed:
        return Addr(bracketed[2], bracketed[1].strip().strip('"'), read_params(bracketed[3]))
    plain, semicolon, params = value.strip().partition(";")
    if not plain or any(c in plain for c in '<>" '):
        raise Unreadable(f"not an address: {value!r}")
    return Addr(plain, "", read_params(semicolon + params))


def read_uri(text: str) -> Uri:
    """Raises Unreadable for what is no sip: or sips: URI."""
    match = re.match(
        r"(sips?):(?:([^@<>\s]*)@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.\-_]+)(?::(\d+))?([;?].*)?\Z", text
    )
    if not match:
        raise Unreadable(f"not a SIP URI: {text!r}")
    tail, _, headers = (match[5] or "").partition("?")
    pairs = (pair.partition("=") for pair in headers.split("&") if pair)
    return Uri(
        match[1],
        unquote(match[2] or "").partition(":")[0],
        match[3],
        int(match[4]) if match[4] else None,
        read_params(tail),
        {unquote(name): unquote(value) for name, _, value in pairs},
    )


def read_via(value: str) -> Via:
    """Raises Unreadable."""
    match = re.match(
        r"SIP\s*/\s*2\.0\s*/\s*(\w+)\s+(\[[0-9A-Fa-f:.]+\]|[^\s:;]+)(?:\s*:\s*(\d+))?\s*(;.*)?\Z", value
    )
    if not match:
        raise Unreadable(f"not a Via: {value!r}")
    return Via(match[1].upper(), match[2], int(match[3]) if match[3] else None, read_params(match[4] or ""))


def parse(data: bytes, *, stream: bool = False) -> Message:
    """Read one whole message. Raises Unreadable; lesser faults are listed in `faults`.

    `stream`: it came over TCP or TLS, where a Content-Length must be there (RFC 3261 18.3).
    """
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        raise Unreadable("no empty line after the header fields")
    try:
        lines = head.decode().split("\r\n")
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8: {error}") from None
    message = _start(lines[0])
    message.raw = data
    _read_fields(message, lines[1:])
    _read_body(message, body, stream)
    _check_keys(message)
    return message


def _start(line: str) -> Message:
    if request := REQUEST_LINE.match(line):
        return Message(method=request[1], uri=request[2])
    if response := STATUS_LINE.match(line):
        return Message(status=int(response[1]), reason=response[2])
    raise Unreadable(f"neither a request line nor a status line: {line[:80]!r}")


def _read_fields(message: Message, lines: list[str]) -> None:
    seen: set[str] = set()
    for line in lines:
        if line[:1] in " \t" and message.fields:
            name, value = message.fields[-1]
            message.fields[-1] = (name, f"{value} {line.strip()}")
            continue
        name, colon, value = line.partition(":")
        if not colon or not TOKEN.match(name.rstrip()):
            raise Unreadable(f"not a header field: {line[:80]!r}")
        if "\n" in line or "\r" in line:
            message.faults.append(f"a line of the head does not end in CRLF: {line[:60]!r} (RFC 3261 7)")
        key = canonical(name.strip())
        if key in ONLY_ONCE and key in seen:
            message.faults.append(f"two {name} fields (RFC 3261 20)")
        seen.add(key)
        message.fields.append((name.strip(), value.strip()))


def _read_body(message: Message, body: bytes, stream: bool) -> None:
    told = message.get("content-length")
    if not told:
        if stream:
            message.faults.append("no Content-Length on a stream (RFC 3261 18.3)")
        elif body:
            message.faults.append("a body without Content-Length (RFC 3261 20.14)")
    elif not told.isdigit():
        raise Unreadable(f"Content-Length is {told!r}")
    elif int(told) != len(body):
        message.faults.append(f"Content-Length says {told}, the body has {len(body)} bytes (RFC 3261 20.14)")
        body = body[: int(told)]
    message.body = body
    message.fields = [pair for pair in message.fields if canonical(pair[0]) != "content-length"]


def _check_keys(message: Message) -> None:
    """What no message can be matched without (RFC 3261 8.1.1)."""
    for name in ("Via", "From", "To", "Call-ID", "CSeq"):
        if not message.get(name):
            raise Unreadable(f"no {name} (RFC 3261 8.1.1)")
    try:
        _ = message.cseq, message.via, message.from_, message.to
    except ValueError:
        raise Unreadable(f"CSeq is {message.get('cseq')!r}") from None
