"""SIP messages: a start line, header fields in order, a body (RFC 3261 section 7).

Header values stay the text that came in until someone asks for their typed form, which is parsed
once and kept. Text is the bytes decoded as UTF-8 with `surrogateescape`, so that what we do not
understand goes out byte for byte as it came. Messages are values: nobody changes one that others
hold; `replace`, `without`, `with_top`, `with_added` and `with_body` give a changed copy. Parsing
bytes is `sipcore/parser.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

from sipcore.faults import Misuse, PeerFault
from sipcore.fieldnames import KEYS, LISTS
from sipcore.headers import CSeq, NameAddr, Via, parse_cseq, parse_delta_s, parse_name_addr, parse_via
from sipcore.params import split_list
from sipcore.phrases import PHRASES
from sipcore.uri import SipUri, parse_uri

Headers = Iterable[tuple[str, str]]
Field = tuple[str, str, str]
"""name, ": ", value: what str.partition gives and "".join takes, which makes both directions cheap."""

MAX_VIAS = 100

_has_bare_nul = re.compile(r"(?<!\\)\0").search
_is_word = re.compile(r"[^\s\x00-\x1f\x7f]+").fullmatch
_is_max_forwards = re.compile(r"[0-9]{1,9}").fullmatch


class Message:
    """What requests and responses share.

    The typed properties are read on first use and kept; they raise PeerFault(400) when the text is
    broken or when a header that every message must have is missing.
    """

    __slots__ = (
        "_declares_length",
        "_fields",
        "_first",
        "allow",
        "body",
        "call_id",
        "contacts",
        "content_type",
        "cseq",
        "expires",
        "from_",
        "max_forwards",
        "record_routes",
        "require",
        "routes",
        "supported",
        "to",
        "via",
        "vias",
    )

    _fields: list[Field]
    _first: dict[str, str]
    """key of a header (see `fieldnames.py`) -> its first value"""
    _declares_length: bool
    """True when a Content-Length is among the fields, as it came in"""

    body: bytes

    via: Via
    """the topmost"""
    vias: tuple[Via, ...]
    from_: NameAddr
    to: NameAddr
    call_id: str
    cseq: CSeq
    contacts: tuple[NameAddr, ...]
    """empty when absent; a lone `*` is the one NameAddr whose uri is "*" """
    routes: tuple[NameAddr, ...]
    record_routes: tuple[NameAddr, ...]
    max_forwards: int | None
    """0 to 255; None when absent"""
    expires: int | None
    """seconds; None when absent or malformed: the default applies (RFC 3261 10.2.1.1)"""
    content_type: str
    """lower case, without parameters; "" when absent"""
    supported: frozenset[str]
    """option tags in lower case"""
    require: frozenset[str]
    """option tags in lower case"""
    allow: frozenset[str]
    """methods as written: they compare case-sensitively"""

    def __init__(self, headers: Headers, body: bytes) -> None:
        self._fields = _checked(headers)
        self._declares_length = False
        self.body = body

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Called only while the slot is empty: read the typed value and fill the slot."""
            read = _READERS.get(name)
            if read is None:
                raise AttributeError(f"{type(self).__name__} has no {name}")
            value = read(self)
            setattr(self, name, value)
            return value

    @property
    def start_line(self) -> str:
        raise NotImplementedError

    def get(self, name: str) -> str | None:
        """The first field of this name (any case, compact form known), unfolded and stripped, or None."""
        value = self._first.get(KEYS[name])
        return None if value is None else value.strip(" \t")

    def get_all(self, name: str) -> list[str]:
        """Every value of this name, in order; those of list headers are split at commas (RFC 3261 7.3.1).

        Raises PeerFault(400) when a quote or a bracket in a list is never closed.
        """
        key = KEYS[name]
        values = _values(self, key)
        if key not in LISTS:
            return values
        return [element for value in values for element in split_list(value)]

    def fields(self) -> list[tuple[str, str]]:
        """All header fields as they came (name as written, value unfolded), in order."""
        return [(name, value) for name, _, value in self._fields]

    def replace(self, name: str, value: str) -> Self:
        """A copy with one field of this name: where the first one was, or at the end."""
        key = KEYS[name]
        field = _checked([(name, value)])
        before: list[Field] = []
        after: list[Field] = []
        found = False
        for old in self._fields:
            same = KEYS[old[0]] == key
            found = found or same
            if not same:
                (after if found else before).append(old)
        return self._copy(before + field + after)

    def without(self, *names: str) -> Self:
        """A copy with no field of these names."""
        keys = {KEYS[name] for name in names}
        return self._copy([field for field in self._fields if KEYS[field[0]] not in keys])

    def with_top(self, *fields: tuple[str, str]) -> Self:
        """A copy with these fields before all others: a Via, a Route, a Record-Route."""
        return self._copy(_checked(fields) + self._fields)

    def with_added(self, *fields: tuple[str, str]) -> Self:
        """A copy with these fields after all others."""
        return self._copy(self._fields + _checked(fields))

    def with_body(self, body: bytes, content_type: str) -> Self:
        """A copy with another body; an empty one leaves no Content-Type behind."""
        bare = self.without("Content-Length", "Content-Type")
        changed = bare.with_added(("Content-Type", content_type)) if body else bare
        changed.body = body
        changed._declares_length = False
        return changed

    def to_bytes(self) -> bytes:
        """The wire form, with a Content-Length that is true."""
        fields = self._fields
        if self._declares_length:
            fields = [field for field in fields if KEYS[field[0]] != "content-length"]
        body = self.body
        head = "\r\n".join([self.start_line, *map("".join, fields), f"Content-Length: {len(body)}", "", ""])
        try:
            return head.encode("utf-8", "surrogateescape") + body
        except UnicodeEncodeError as error:
            raise Misuse("a header holds text that has no UTF-8 form") from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return (
            self.start_line == other.start_line and self._fields == other._fields and self.body == other.body
        )

    __hash__ = None  # type: ignore[assignment]

    def _copy(self, fields: list[Field]) -> Self:
        raise NotImplementedError


class Request(Message):
    """A request, received or ours; a line break or a bare NUL in our own header text raises Misuse."""

    __slots__ = ("method", "request_uri", "uri")

    method: str
    uri: str
    """the Request-URI as text"""
    request_uri: SipUri
    """PeerFault(416) for a scheme that is not sip, sips or tel"""

    def __init__(self, method: str, uri: str, headers: Headers, body: bytes = b"") -> None:
        super().__init__(headers, body)
        if not _is_word(uri) or not _is_word(method):
            raise Misuse(f"a request line cannot hold {method!r} {uri!r}")
        self.method = method
        self.uri = uri

    @classmethod
    def received(
        cls, method: str, uri: str, fields: list[Field], first: dict[str, str], body: bytes
    ) -> Request:
        """For the parser: what came in, taken as it is."""
        request = cls.__new__(cls)
        request.method = method
        request.uri = uri
        request.body = body
        request._fields = fields
        request._first = first
        request._declares_length = "content-length" in first
        return request

    @property
    def start_line(self) -> str:
        return f"{self.method} {self.uri} SIP/2.0"

    def with_uri(self, uri: str) -> Request:
        """A copy with another Request-URI."""
        changed = Request(self.method, uri, (), self.body)
        changed._fields = self._fields
        changed._declares_length = self._declares_length
        return changed

    def response(
        self,
        status: int,
        reason: str = "",
        headers: Headers = (),
        body: bytes = b"",
        *,
        to_tag: str = "",
    ) -> Response:
        """A response (RFC 3261 8.2.6): all Vias, From, To, Call-ID, CSeq, and the Timestamp in a 100.

        They are copied as text; `to_tag` is added when To has no tag. Without a `reason` the phrase of
        the status is used. Never raises PeerFault: what is missing or broken in the request is left so.
        """
        fields = [("Via", ": ", via) for via in _values(self, "via")]
        first = self._first
        for name, key in _ECHOED if status > 100 else _ECHOED_IN_TRYING:
            value = first.get(key)
            if value is not None:
                if key == "to" and to_tag and not _has_tag(self):
                    value = f"{value};tag={to_tag}"
                fields.append((name, ": ", value))
        response = Response.__new__(Response)
        response.status = status
        response.reason = _checked_reason(reason) if reason else PHRASES.get(status, "")
        response.body = body
        response._declares_length = False
        response._fields = fields + _checked(headers) if headers else fields
        return response

    def _copy(self, fields: list[Field]) -> Request:
        copy = Request.__new__(Request)
        copy.method = self.method
        copy.uri = self.uri
        copy.body = self.body
        copy._fields = fields
        copy._declares_length = self._declares_length
        return copy

    def __repr__(self) -> str:
        return f"<{self.method} {self.uri} call-id={self.get('call-id')} cseq={self.get('cseq')}>"


class Response(Message):
    """A response, received or ours; ours is mostly made by `Request.response`."""

    __slots__ = ("reason", "status")

    status: int
    reason: str

    def __init__(self, status: int, reason: str, headers: Headers, body: bytes = b"") -> None:
        super().__init__(headers, body)
        self.status = status
        self.reason = _checked_reason(reason)

    @classmethod
    def received(
        cls, status: int, reason: str, fields: list[Field], first: dict[str, str], body: bytes
    ) -> Response:
        """For the parser: what came in, taken as it is."""
        response = cls.__new__(cls)
        response.status = status
        response.reason = reason
        response.body = body
        response._fields = fields
        response._first = first
        response._declares_length = "content-length" in first
        return response

    @property
    def start_line(self) -> str:
        return f"SIP/2.0 {self.status} {self.reason}"

    def _copy(self, fields: list[Field]) -> Response:
        copy = Response.__new__(Response)
        copy.status = self.status
        copy.reason = self.reason
        copy.body = self.body
        copy._fields = fields
        copy._declares_length = self._declares_length
        return copy

    def __repr__(self) -> str:
        return f"<{self.status} {self.reason} call-id={self.get('call-id')} cseq={self.get('cseq')}>"


_ECHOED = (("From", "from"), ("To", "to"), ("Call-ID", "call-id"), ("CSeq", "cseq"))
_ECHOED_IN_TRYING = (*_ECHOED, ("Timestamp", "timestamp"))


def _checked(headers: Headers) -> list[Field]:
    """Our own header fields, ready for the wire; `to_bytes` writes Content-Length, so it is left out."""
    fields = [(name, ": ", value) for name, value in headers if KEYS[name] != "content-length"]
    _check_text(" ".join([value for _, _, value in fields]))
    return fields


def _checked_reason(reason: str) -> str:
    _check_text(reason)
    return reason


def _check_text(text: str) -> None:
    # A NUL may follow a backslash (RFC 3261 25.1 quoted-pair): the parser lets it in, so it may go out again.
    if "\n" in text or "\r" in text or ("\0" in text and _has_bare_nul(text)):
        raise Misuse("a header cannot hold a line break or a NUL: text from outside must be checked first")


def _values(message: Message, key: str) -> list[str]:
    """Every value of the header, as fields came, stripped but not split."""
    first = message._first
    if len(first) == len(message._fields):
        return [first[key].strip(" \t")] if key in first else []
    return [value.strip(" \t") for name, _, value in message._fields if KEYS[name] == key]


def _has_tag(request: Request) -> bool:
    """True when To has a tag, and for a To that cannot be read, which is echoed untouched."""
    if "tag" not in request._first["to"].lower():
        return False
    try:
        return bool(request.to.tag)
    except PeerFault:
        return True


# ---------------------------------------------------------------- readers of the typed properties


def _index(message: Message) -> dict[str, str]:
    return {KEYS[name]: value for name, _, value in reversed(message._fields)}


def _one(message: Message, name: str) -> str:
    value = message._first.get(KEYS[name])
    if value is None:
        raise PeerFault(400, f"Missing {name}", "RFC 3261 8.1.1")
    return value.strip(" \t")


def _read_via(message: Message) -> Via:
    value = _one(message, "Via")
    return parse_via(split_list(value)[0] if "," in value else value)


def _read_vias(message: Message) -> tuple[Via, ...]:
    values = message.get_all("via")
    if len(values) > MAX_VIAS:
        raise PeerFault(400, "Too many Vias", "RFC 3261 16.3")
    return tuple([parse_via(value) for value in values])


def _read_call_id(message: Message) -> str:
    value = _one(message, "Call-ID")
    if not _is_word(value):
        raise PeerFault(400, "Malformed Call-ID", "RFC 3261 20.8")
    return value


def _read_max_forwards(message: Message) -> int | None:
    value = message.get("max-forwards")
    if value is None:
        return None
    if not _is_max_forwards(value) or int(value) > 255:
        raise PeerFault(400, "Malformed Max-Forwards", "RFC 3261 20.22")
    return int(value)


def _read_contacts(message: Message) -> tuple[NameAddr, ...]:
    contacts = _addresses(message, "contact")
    if len(contacts) > 1 and any(contact.uri == "*" for contact in contacts):
        raise PeerFault(400, "Malformed Contact", "RFC 3261 10.3")
    return contacts


def _addresses(message: Message, key: str) -> tuple[NameAddr, ...]:
    if key not in message._first:
        return ()
    return tuple([parse_name_addr(value) for value in message.get_all(key)])


def _option_tags(message: Message, key: str) -> frozenset[str]:
    return frozenset([tag.lower() for tag in message.get_all(key) if tag])


_READERS: dict[str, Callable[[Any], Any]] = {
    "_first": _index,
    "via": _read_via,
    "vias": _read_vias,
    "from_": lambda message: parse_name_addr(_one(message, "From")),
    "to": lambda message: parse_name_addr(_one(message, "To")),
    "call_id": _read_call_id,
    "cseq": lambda message: parse_cseq(_one(message, "CSeq")),
    "contacts": _read_contacts,
    "routes": lambda message: _addresses(message, "route"),
    "record_routes": lambda message: _addresses(message, "record-route"),
    "max_forwards": _read_max_forwards,
    "expires": lambda message: parse_delta_s(message.get("expires") or ""),
    "content_type": lambda message: (message.get("content-type") or "").partition(";")[0].strip().lower(),
    "supported": lambda message: _option_tags(message, "supported"),
    "require": lambda message: _option_tags(message, "require"),
    "allow": lambda message: frozenset(filter(None, message.get_all("allow"))),
    "request_uri": lambda message: parse_uri(message.uri),
}
