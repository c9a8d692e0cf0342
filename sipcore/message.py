"""SIP messages: a start line, header fields in order, a body (RFC 3261 section 7).

Header values stay the text that came in until someone asks for their typed form, which is parsed
once and kept. Text is the bytes decoded as UTF-8 with `surrogateescape`, so that what we do not
understand goes out byte for byte as it came. Parsing bytes is `sipcore/parser.py`.
"""
# INTERFACE SKETCH: replaced by the implementation, which keeps these names.

from __future__ import annotations

from collections.abc import Iterable

from sipcore.headers import CSeq, NameAddr, Via
from sipcore.uri import SipUri

Headers = Iterable[tuple[str, str]]


class Message:
    """What requests and responses share. Typed properties raise PeerFault(400) when the text is broken."""

    body: bytes

    def get(self, name: str) -> str | None:
        """The first header field of this name (any case, compact form known), unfolded and stripped, or None."""
        raise NotImplementedError

    def get_all(self, name: str) -> list[str]:
        """Every field of this name, in order; comma-separated values of list headers are split (RFC 3261 7.3.1)."""
        raise NotImplementedError

    def fields(self) -> list[tuple[str, str]]:
        """All header fields as they came (name as written, value unfolded), in order."""
        raise NotImplementedError

    # typed, lazily parsed and cached
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
    expires: int | None
    content_type: str
    """lower case, without parameters; "" when absent"""
    supported: frozenset[str]
    require: frozenset[str]
    allow: frozenset[str]

    def to_bytes(self) -> bytes:
        """The wire form, with a Content-Length that is true."""
        raise NotImplementedError


class Request(Message):
    method: str
    uri: str
    """the Request-URI as text"""
    request_uri: SipUri
    """parsed lazily; PeerFault(416) for a scheme that is not sip, sips or tel"""

    def __init__(self, method: str, uri: str, headers: Headers, body: bytes = b"") -> None:
        raise NotImplementedError

    def response(
        self,
        status: int,
        reason: str = "",
        headers: Headers = (),
        body: bytes = b"",
        *,
        to_tag: str = "",
    ) -> Response:
        """A response to this request (RFC 3261 8.2.6): all Vias, From, To (tag added when it has none), Call-ID, CSeq."""
        raise NotImplementedError


class Response(Message):
    status: int
    reason: str

    def __init__(self, status: int, reason: str, headers: Headers, body: bytes = b"") -> None:
        raise NotImplementedError
