"""SIP messages: a start line, header fields in order, a body (RFC 3261 section 7).

Header values stay the text that came in until someone asks for their typed form, which is parsed
once and kept. Text is the bytes decoded as UTF-8 with `surrogateescape`, so that what we do not
understand goes out byte for byte as it came. Messages are values: nobody changes one that others
hold; `replace`, `without`, `with_top`, `with_added` and `with_body` give a changed copy. Parsing
bytes is `sipcore/parser.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, KeysView
from typing import Self

from sipcore.faults import Misuse, PeerFault
from sipcore.fieldnames import KEYS, LISTS, key_of
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
        "_allow",
        "_call_id",
        "_contacts",
        "_cseq",
        "_declares_length",
        "_fields",
        "_first",
        "_from",
        "_record_routes",
        "_require",
        "_routes",
        "_supported",
        "_to",
        "_via",
        "_vias",
        "body",
    )

    body: bytes

    _fields: list[Field]
    _declares_length: bool
    """True when a Content-Length is among the fields, as it came in"""
    _first: dict[str, str] | None
    """key of a header (see `fieldnames.py`) -> its first value; None until it is needed"""

    # None: not read yet.
    _via: Via | None
    _vias: tuple[Via, ...] | None
    _from: NameAddr | None
    _to: NameAddr | None
    _call_id: str | None
    _cseq: CSeq | None
    _contacts: tuple[NameAddr, ...] | None
    _routes: tuple[NameAddr, ...] | None
    _record_routes: tuple[NameAddr, ...] | None
    _supported: frozenset[str] | None
    _require: frozenset[str] | None
    _allow: frozenset[str] | None

    def __init__(self, headers: Headers, body: bytes) -> None:
        self._start_unread(_checked(headers), None, body)

    def _start_unread(self, fields: list[Field], first: dict[str, str] | None, body: bytes) -> None:
        """What every way to a message ends with: nothing typed has been read yet."""
        self._fields = fields
        self._first = first
        self._declares_length = first is not None and "content-length" in first
        self.body = body
        self._via = self._vias = self._from = self._to = self._call_id = self._cseq = self._contacts = None
        self._routes = self._record_routes = self._supported = self._require = self._allow = None

    @property
    def start_line(self) -> str:
        raise NotImplementedError

    @property
    def via(self) -> Via:
        """The topmost."""
        if self._via is None:
            value = self._one("via")
            self._via = parse_via(split_list(value)[0] if "," in value else value)
        return self._via

    @property
    def vias(self) -> tuple[Via, ...]:
        if self._vias is None:
            values = self.get_all("via")
            if len(values) > MAX_VIAS:
                raise PeerFault(400, "Too many Vias", "RFC 3261 16.3")
            self._vias = tuple([parse_via(value) for value in values])
        return self._vias

    @property
    def from_(self) -> NameAddr:
        if self._from is None:
            self._from = parse_name_addr(self._one("from"))
        return self._from

    @property
    def to(self) -> NameAddr:
        if self._to is None:
            self._to = parse_name_addr(self._one("to"))
        return self._to

    @property
    def call_id(self) -> str:
        if self._call_id is None:
            call_id = self._one("call-id")
            if not _is_word(call_id):
                raise PeerFault(400, "Malformed Call-ID", "RFC 3261 20.8")
            self._call_id = call_id
        return self._call_id

    @property
    def cseq(self) -> CSeq:
        if self._cseq is None:
            self._cseq = parse_cseq(self._one("cseq"))
        return self._cseq

    @property
    def contacts(self) -> tuple[NameAddr, ...]:
        """Empty when absent; a lone `*` is the one NameAddr whose uri is "*"."""
        if self._contacts is None:
            contacts = self._addresses("contact")
            if len(contacts) > 1 and any(contact.uri == "*" for contact in contacts):
                raise PeerFault(400, "Malformed Contact", "RFC 3261 10.3")
            self._contacts = contacts
        return self._contacts

    @property
    def routes(self) -> tuple[NameAddr, ...]:
        if self._routes is None:
            self._routes = self._addresses("route")
        return self._routes

    @property
    def record_routes(self) -> tuple[NameAddr, ...]:
        if self._record_routes is None:
            self._record_routes = self._addresses("record-route")
        return self._record_routes

    @property
    def max_forwards(self) -> int | None:
        """0 to 255; None when absent."""
        value = self.get("max-forwards")
        if value is None:
            return None
        if not _is_max_forwards(value) or int(value) > 255:
            raise PeerFault(400, "Malformed Max-Forwards", "RFC 3261 20.22")
        return int(value)

    @property
    def expires(self) -> int | None:
        """Seconds; None when absent or malformed: the default applies (RFC 3261 10.2.1.1)."""
        return parse_delta_s(self.get("expires") or "")

    @property
    def content_type(self) -> str:
        """Lower case, without parameters; "" when absent."""
        return (self.get("content-type") or "").partition(";")[0].strip().lower()

    @property
    def supported(self) -> frozenset[str]:
        """Option tags in lower case."""
        if self._supported is None:
            self._supported = self._option_tags("supported")
        return self._supported

    @property
    def require(self) -> frozenset[str]:
        """Option tags in lower case."""
        if self._require is None:
            self._require = self._option_tags("require")
        return self._require

    @property
    def allow(self) -> frozenset[str]:
        """Methods as written: they compare case-sensitively."""
        if self._allow is None:
            self._allow = frozenset(filter(None, self.get_all("allow")))
        return self._allow

    def get(self, name: str) -> str | None:
        """The first field of this name (any case, compact form known), unfolded and stripped, or None."""
        first = self._index() if self._first is None else self._first
        value = first.get(key_of(name))
        return None if value is None else value.strip(" \t")

    def get_all(self, name: str) -> list[str]:
        """Every value of this name, in order; those of list headers are split at commas (RFC 3261 7.3.1).

        Raises PeerFault(400) when a quote or a bracket in a list is never closed.
        """
        key = key_of(name)
        values = self._values(key)
        if key not in LISTS:
            return values
        return [element for value in values for element in split_list(value)]

    def keys(self) -> KeysView[str]:
        """The names of the fields that are there: lower case, compact forms written out."""
        return (self._index() if self._first is None else self._first).keys()

    def fields(self) -> list[tuple[str, str]]:
        """All header fields as they came (name as written, value unfolded), in order."""
        return [(name, value) for name, _, value in self._fields]

    def replace(self, name: str, value: str) -> Self:
        """A copy with one field of this name: where the first one was, or at the end."""
        key = key_of(name)
        field = _checked([(name, value)])
        before: list[Field] = []
        after: list[Field] = []
        found = False
        for old in self._fields:
            same = key_of(old[0]) == key
            found = found or same
            if not same:
                (after if found else before).append(old)
        return self._copy(before + field + after)

    def without(self, *names: str) -> Self:
        """A copy with no field of these names."""
        keys = {key_of(name) for name in names}
        return self._copy([field for field in self._fields if key_of(field[0]) not in keys])

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
            fields = [field for field in fields if key_of(field[0]) != "content-length"]
        body = self.body
        head = "\r\n".join([self.start_line, *map("".join, fields), f"Content-Length: {len(body)}", "", ""])
        try:
            return head.encode("utf-8", "surrogateescape") + body
        except UnicodeEncodeError as error:
            raise Misuse("a header holds text that has no UTF-8 form") from error

    def _index(self) -> dict[str, str]:
        """Key of a header (see `fieldnames.py`) -> its first value."""
        if self._first is None:
            self._first = {key_of(name): value for name, _, value in reversed(self._fields)}
        return self._first

    def _one(self, key: str) -> str:
        """The first value of a header that must be there."""
        first = self._first
        value = self._index().get(key) if first is None else first.get(key)
        if value is None:
            raise PeerFault(400, f"Missing {key}", "RFC 3261 8.1.1")
        return value.strip(" \t")

    def _values(self, key: str) -> list[str]:
        """Every value of a header as the fields came, not split."""
        first = self._index()
        if len(first) == len(self._fields):
            return [first[key].strip(" \t")] if key in first else []
        return [value.strip(" \t") for name, _, value in self._fields if key_of(name) == key]

    def _addresses(self, key: str) -> tuple[NameAddr, ...]:
        values = self._values(key)
        if len(values) == 1 and "," not in values[0]:
            return (parse_name_addr(values[0]),)
        return tuple([parse_name_addr(element) for value in values for element in split_list(value)])

    def _option_tags(self, key: str) -> frozenset[str]:
        return frozenset([tag.lower() for tag in self.get_all(key) if tag])

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

    __slots__ = ("method", "uri")

    method: str
    uri: str
    """the Request-URI as text"""

    def __init__(self, method: str, uri: str, headers: Headers, body: bytes = b"") -> None:
        super().__init__(headers, body)
        self.method = method
        self.uri = _checked_words(method, uri)

    @classmethod
    def received(
        cls, method: str, uri: str, fields: list[Field], first: dict[str, str], body: bytes
    ) -> Request:
        """For the parser: what came in, taken as it is."""
        request = cls.__new__(cls)
        request._start_unread(fields, first, body)
        request.method = method
        request.uri = uri
        return request

    @property
    def start_line(self) -> str:
        return f"{self.method} {self.uri} SIP/2.0"

    @property
    def request_uri(self) -> SipUri:
        """Raises PeerFault: 416 for a scheme other than sip, sips and tel, 400 for a broken one."""
        uri = parse_uri(self.uri)
        if uri.headers:
            raise PeerFault(400, "Headers in the Request-URI", "RFC 3261 19.1.1")
        return uri

    def with_uri(self, uri: str) -> Request:
        """A copy with another Request-URI."""
        changed = self._copy(self._fields)
        changed.uri = _checked_words(self.method, uri)
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
        fields = [("Via", ": ", via) for via in self._values("via")]
        first = self._index()
        for name, key in _ECHOED if status > 100 else _ECHOED_IN_TRYING:
            value = first.get(key)
            if value is not None:
                if key == "to" and to_tag and not _has_tag(self):
                    value = f"{value};tag={to_tag}"
                fields.append((name, ": ", value))
        if headers:
            fields += _checked(headers)
        reason = _checked_reason(reason) if reason else PHRASES.get(status, "")
        return Response.received(status, reason, fields, None, body)

    def _copy(self, fields: list[Field]) -> Request:
        copy = Request.__new__(Request)
        copy._start_unread(fields, None, self.body)
        copy._declares_length = self._declares_length
        copy.method = self.method
        copy.uri = self.uri
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
        cls, status: int, reason: str, fields: list[Field], first: dict[str, str] | None, body: bytes
    ) -> Response:
        """For the parser: what came in, taken as it is."""
        response = cls.__new__(cls)
        response._start_unread(fields, first, body)
        response.status = status
        response.reason = reason
        return response

    @property
    def start_line(self) -> str:
        return f"SIP/2.0 {self.status} {self.reason}"

    def _copy(self, fields: list[Field]) -> Response:
        copy = Response.received(self.status, self.reason, fields, None, self.body)
        copy._declares_length = self._declares_length
        return copy

    def __repr__(self) -> str:
        return f"<{self.status} {self.reason} call-id={self.get('call-id')} cseq={self.get('cseq')}>"


_ECHOED = (("From", "from"), ("To", "to"), ("Call-ID", "call-id"), ("CSeq", "cseq"))
_ECHOED_IN_TRYING = (*_ECHOED, ("Timestamp", "timestamp"))


def _checked(headers: Headers) -> list[Field]:
    """Our own header fields, ready for the wire; `to_bytes` writes Content-Length, so it is left out."""
    headers = list(headers)
    try:
        fields = [(name, ": ", value) for name, value in headers if KEYS[name] != "content-length"]
    except KeyError:
        fields = [(name, ": ", value) for name, value in headers if key_of(name) != "content-length"]
    _check_text(" ".join([value for _, _, value in fields]))
    return fields


def _checked_words(method: str, uri: str) -> str:
    if not _is_word(uri) or not _is_word(method):
        raise Misuse(f"a request line cannot hold {method!r} {uri!r}")
    return uri


def _checked_reason(reason: str) -> str:
    _check_text(reason)
    return reason


def _check_text(text: str) -> None:
    # A NUL may follow a backslash (RFC 3261 25.1 quoted-pair): the parser lets it in, so it may go out again.
    if "\n" in text or "\r" in text or ("\0" in text and _has_bare_nul(text)):
        raise Misuse("a header cannot hold a line break or a NUL: text from outside must be checked first")


def _has_tag(request: Request) -> bool:
    """True when To has a tag, and for a To that cannot be read, which is echoed untouched."""
    if "tag" not in request._index()["to"].lower():
        return False
    try:
        return bool(request.to.tag)
    except PeerFault:
        return True
