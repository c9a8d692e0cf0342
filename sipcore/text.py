"""Our messages as text: requests from a draft, the head that all responses to one request share.

Writes bytes at once instead of building Message objects: half of what a call costs is writing. Decides
nothing; what it writes is handed to it. Text from the call layer is checked for line breaks.
"""

from __future__ import annotations

import contextlib
import re

import msgspec

from sipcore.events import Headers
from sipcore.faults import Misuse, PeerFault
from sipcore.flow import Flow
from sipcore.headers import Via, parse_name_addr
from sipcore.message import Request
from sipcore.phrases import PHRASES


class Draft(msgspec.Struct, gc=False):
    """A request without what depends on the flow: Via and Contact are written when that is known."""

    method: str
    uri: str
    from_: str
    """whole value, with tag"""
    to: str
    call_id: str
    cseq: int
    routes: str = ""
    """whole Route lines"""
    lines: str = ""
    """further whole lines, Content-Type among them"""
    body: bytes = b""
    max_forwards: int = 70
    credentials: str = ""
    """whole lines of Authorization and Proxy-Authorization"""
    hop: str = ""
    """the URI that decides where it goes"""
    secure: bool = False
    contact: bool = False
    """True where our Contact belongs in (8.1.1.8, 12.2.1.1)"""


def write_request(draft: Draft, via: str, contact: str, fixed: str) -> bytes:
    """The wire form. `via` is a whole value, `contact` a whole line or "", `fixed` lines of all requests."""
    method, body = draft.method, draft.body
    head = (
        f"{method} {draft.uri} SIP/2.0\r\n"
        f"Via: {via}\r\n"
        f"{draft.routes}"
        f"Max-Forwards: {draft.max_forwards}\r\n"
        f"From: {draft.from_}\r\n"
        f"To: {draft.to}\r\n"
        f"Call-ID: {draft.call_id}\r\n"
        f"CSeq: {draft.cseq} {method}\r\n"
        f"{contact}{fixed}{draft.credentials}{draft.lines}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return encode(head) + body


def write_response(head: str, status: int, reason: str, lines: str, body: bytes) -> bytes:
    """The wire form of a response; `head` is what `response_head` made."""
    if not reason:
        reason = PHRASES.get(status, "")
    return encode(f"SIP/2.0 {status} {reason}\r\n{head}{lines}Content-Length: {len(body)}\r\n\r\n") + body


def response_head(request: Request, via: Via, flow: Flow, to_tag: str) -> str:
    """Via, From, To, Call-ID and CSeq of all responses to `request` (RFC 3261 8.2.6.2).

    The top Via gets `received` and `rport` (18.2.1, RFC 3581 4). `to_tag` is added to To; "" where that
    has a tag already.
    """
    get = request.get
    vias = request.get_all("Via")
    vias[0] = _seen_from(vias[0], via, flow)
    return (
        f"Via: {_JOIN_VIAS.join(vias)}\r\n"
        f"From: {get('from')}\r\n"
        f"To: {get('to')}{';tag=' if to_tag else ''}{to_tag}\r\n"
        f"Call-ID: {get('call-id')}\r\n"
        f"CSeq: {get('cseq')}\r\n"
    )


def broken_head(request: Request, via: Via, flow: Flow, to_tag: str) -> str:
    """The same where only the top Via and CSeq could be read: what the request has is echoed as it came."""
    lines = [f"Via: {via.seen_from(*flow.remote)}"]
    with contextlib.suppress(PeerFault):  # who is to read Vias that nobody can read?
        lines += [f"Via: {value}" for value in request.get_all("Via")[1:]]
    for name in ("From", "To", "Call-ID", "CSeq"):
        value = request.get(name)
        if value is not None:
            tagged = name == "To" and ";tag=" not in value.lower()
            lines.append(f"{name}: {value};tag={to_tag}" if tagged else f"{name}: {value}")
    return "\r\n".join([*lines, ""])


def tag_of(value: str | None) -> str:
    """The tag of a From or To value, "" without one. Raises PeerFault(400) for what is no address.

    Taken from the usual form without parsing the rest: most messages are only looked up by their tags.
    """
    if value is None:
        raise PeerFault(400, "Missing From or To", "RFC 3261 8.1.1")
    at = value.rfind(">")
    if at == len(value) - 1 > 0:
        return ""
    match = _only_a_tag(value, at) if at > 0 else None
    return parse_name_addr(value).tag if match is None else match[1]


def header_lines(headers: Headers) -> str:
    """Header fields of the call layer as lines. Raises Misuse for a line break in one."""
    if not headers:
        return ""
    text = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if text.count("\n") != len(headers) or text.count("\r") != len(headers):
        raise Misuse("a header holds a line break")
    return text


def check_lines(*texts: str) -> None:
    """Raises Misuse for a line break in text of the call layer."""
    for text in texts:
        if "\n" in text or "\r" in text:
            raise Misuse("a line break in what goes into one line")


def content_line(content_type: str, body: bytes) -> str:
    """The Content-Type line, "" without a body."""
    return f"Content-Type: {content_type}\r\n" if body and content_type else ""


def encode(text: str) -> bytes:
    """Text that came in through `surrogateescape` goes out as the bytes that it was."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise Misuse("a header holds text that has no UTF-8 form") from error


_only_a_tag = re.compile(r">;tag=([A-Za-z0-9.!%*_+`'~-]+)").fullmatch
_JOIN_VIAS = "\r\nVia: "


def _seen_from(text: str, via: Via, flow: Flow) -> str:
    host, port = flow.remote
    params = via.params
    if "received" not in params:
        if "rport" not in params:
            return text if via.host == host else f"{text};received={host}"
        before, _, after = text.partition(";rport")
        if params["rport"] is None and after[:1] in ("", ";"):
            return f"{before};received={host};rport={port}{after}"
    return str(via.seen_from(host, port))
