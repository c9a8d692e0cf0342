"""Bytes of one message -> Request or Response (RFC 3261 sections 7 and 18.3).

One quick pass takes a message that is written as everyone writes it; what is folded, oddly spaced or
broken goes through a tolerant second one. Typed values are read later, by the message itself; framing
a stream is `sipcore/framing.py`. Cost is linear in the size, and every size is bounded.

A fault is a `BrokenRequest` when the sender can be told (a request with a readable Via and some CSeq
that is no ACK), else a plain PeerFault: the message is dropped in silence.
"""

from __future__ import annotations

import re

from sipcore.faults import BrokenRequest, PeerFault
from sipcore.fieldnames import KEYS, SINGLE, NotAName, key_of
from sipcore.headers import METHODS
from sipcore.message import Field, Message, Request, Response
from sipcore.params import is_token
from sipcore.uri import MAX_URI_CHARS, is_uri_text

MAX_HEAD_BYTES = 64 * 1024
MAX_FIELDS = 256
_MAX_LINES = 4 * MAX_FIELDS
MAX_VALUE_CHARS = 16 * 1024

_MANDATORY = frozenset(("via", "from", "to", "call-id", "cseq"))
_ends_head = re.compile(rb"\r?\n\r?\n").search
_line_end = re.compile(r"\r?\n")
_has_bare_nul = re.compile(r"(?<!\\)\0").search
_is_version = re.compile(r"SIP/[0-9]+\.[0-9]+", re.IGNORECASE).fullmatch
_is_status = re.compile(r"[1-6][0-9]{2}").fullmatch
_is_length = re.compile(r"[0-9]{1,10}").fullmatch


def parse(data: bytes) -> Request | Response:
    """Parse one datagram, or one message that was framed from a stream.

    Line ends before the start line are skipped (RFC 3261 7.5), bytes after Content-Length are dropped,
    without a Content-Length the body is the rest of the datagram (18.3). Raises BrokenRequest or PeerFault.
    """
    if data[:1] in (b"\r", b"\n"):
        data = data.lstrip(b"\r\n")
    end = data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
    if end > 0:
        lines = data[:end].decode("utf-8", "surrogateescape").split("\r\n")
        text = "".join(lines)
        if len(lines) <= MAX_FIELDS and not ("\r" in text or "\n" in text or "\0" in text):
            start_line = lines.pop(0)
            fields = [line.partition(": ") for line in lines]
            # A line without ": " has an empty separator, and "" is no name: the tolerant way judges it.
            try:
                first = {KEYS[colon and name]: value for name, colon, value in reversed(fields)}
            except KeyError:
                try:
                    first = {key_of(colon and name): value for name, colon, value in reversed(fields)}
                except NotAName:
                    return _parse_tolerantly(data)
            return _assemble(start_line, fields, first, data, end + 4)
    return _parse_tolerantly(data)


def check(message: Message) -> None:
    """Read what every element needs: top Via, Call-ID, From, To, CSeq and its method, Max-Forwards.

    Raises like `parse`: BrokenRequest when the sender can be told, else PeerFault.
    """
    try:
        _ = message.via, message.call_id, message.from_, message.to
        method = message.cseq.method
        if isinstance(message, Request):
            _ = message.max_forwards
            if method != message.method:
                raise PeerFault(400, "CSeq method mismatch", "RFC 3261 8.1.1.5")
    except PeerFault as fault:
        raise refusal(message, fault) from None


def refusal(message: Message, fault: PeerFault) -> PeerFault:
    """The fault as what becomes of it: a BrokenRequest when `message` is a request that can be answered."""
    if not isinstance(message, Request) or message.method == "ACK" or message.get("cseq") is None:
        return fault
    try:
        _ = message.via
    except PeerFault:
        return fault
    return BrokenRequest(fault.status, fault.reason, fault.rule, message)


def _parse_tolerantly(data: bytes) -> Request | Response:
    """The slow way: folded lines, blanks around the colon, a bare LF as line end, junk.

    A bare LF ends a line here because hand-made and some embedded senders write it, and a datagram ends
    where it ends. On a stream it could make two readers see two different messages; `framing.py` refuses it.
    """
    fault = None
    match = _ends_head(data, 0, MAX_HEAD_BYTES)
    if match is not None:
        head_end, body_at = match.span()
    elif len(data) > MAX_HEAD_BYTES:
        raise PeerFault(513, "Message Too Large", "header fields without end")
    else:
        head_end = body_at = len(data)
        fault = PeerFault(400, "No end of header fields", "RFC 3261 7")
    text = data[:head_end].decode("utf-8", "surrogateescape").rstrip("\r\n")
    lines = _line_end.split(text, _MAX_LINES)
    if len(lines) > _MAX_LINES:
        fault = PeerFault(400, "Too many lines", "our limit")
        del lines[_MAX_LINES:]
    fields: list[Field] = []
    for line in _unfolded(lines[1:]):
        if "\r" in line or ("\0" in line and _has_bare_nul(line)):
            fault = PeerFault(400, "Control character", "RFC 3261 25.1")
            line = line.replace("\r", " ").replace("\0", " ")
        name, colon, value = line.partition(":")
        name = name.rstrip(" \t")
        if colon and is_token(name):
            fields.append((name, ": ", value.strip(" \t")))
        else:
            fault = PeerFault(400, "Malformed header field", "RFC 3261 7.3.1")
    first = {key_of(name): value for name, _, value in reversed(fields)}
    return _assemble(lines[0], fields, first, data, body_at, fault)


def _unfolded(lines: list[str]) -> list[str]:
    """Header lines, each continuation joined to its line with one space (RFC 3261 7.3.1)."""
    joined: list[list[str]] = []
    for line in lines:
        if line[:1] in (" ", "\t") and joined:
            joined[-1].append(line.strip(" \t"))
        else:
            joined.append([line])
    return [" ".join(parts) for parts in joined]


def _assemble(
    start_line: str,
    fields: list[Field],
    first: dict[str, str],
    data: bytes,
    body_at: int,
    fault: PeerFault | None = None,
) -> Request | Response:
    length, length_fault = len(data) - body_at, None
    declared = first.get("content-length")
    if declared is not None and declared != str(length):
        length, length_fault = _length(declared, length)
    body = data[body_at : body_at + length]
    message: Request | Response
    if start_line[:4].upper() == "SIP/":
        message = Response.received(*_status_line(start_line), fields, first, body)
        line_fault = None
    else:
        method, uri, line_fault = _request_line(start_line)
        message = Request.received(method, uri, fields, first, body)
    fault = fault or line_fault or _structural_fault(fields, first, body_at) or length_fault
    if fault is not None:
        raise refusal(message, fault)
    return message


def _request_line(line: str) -> tuple[str, str, PeerFault | None]:
    """Method, Request-URI, and what is wrong with the line when it is one at all (RFC 3261 7.1)."""
    parts = line.split(" ")
    if (
        len(parts) == 3
        and parts[2] == "SIP/2.0"
        and (parts[0] in METHODS or is_token(parts[0]))
        and is_uri_text(parts[1])
    ):
        fault = None
        if len(parts[1]) > MAX_URI_CHARS:
            fault = PeerFault(414, "Request-URI Too Long", "RFC 3261 21.4.12")
        return parts[0], parts[1], fault
    words = line.split()
    if len(words) < 2 or not is_token(words[0]) or not _is_version(words[-1]):
        raise PeerFault(400, "Not a SIP message", "RFC 3261 7.1")
    method, uri, version = words[0], words[1], words[-1].upper()
    if version != "SIP/2.0":
        return method, uri, PeerFault(505, "Version Not Supported", "RFC 3261 7.1")
    if parts == words and len(parts) == 3 and is_uri_text(uri):
        return method, uri, None  # "sip/2.0": the version compares case-insensitively
    return method, uri, PeerFault(400, "Malformed request line", "RFC 3261 7.1")


def _status_line(line: str) -> tuple[int, str]:
    version, _, rest = line.partition(" ")
    status, _, reason = rest.partition(" ")
    if version.upper() != "SIP/2.0":
        raise PeerFault(505, "Version Not Supported", "RFC 3261 7.2")
    if not _is_status(status):
        raise PeerFault(400, "Malformed status line", "RFC 3261 7.2")
    return int(status), reason


def _length(text: str, available: int) -> tuple[int, PeerFault | None]:
    """The length of the body, and what is wrong with Content-Length (RFC 3261 18.3, 20.14)."""
    text = text.strip(" \t")
    if not _is_length(text):
        return 0, PeerFault(400, "Malformed Content-Length", "RFC 3261 20.14")
    if int(text) > available:
        return available, PeerFault(400, "Content-Length exceeds the message", "RFC 3261 18.3")
    return int(text), None


def _structural_fault(fields: list[Field], first: dict[str, str], head_chars: int) -> PeerFault | None:
    if not first.keys() >= _MANDATORY:
        missing = ", ".join(sorted(_MANDATORY - first.keys()))
        return PeerFault(400, f"Missing {missing}", "RFC 3261 8.1.1")
    if len(fields) > MAX_FIELDS:
        return PeerFault(400, "Too many header fields", "our limit")
    if head_chars > MAX_VALUE_CHARS and any(len(value) > MAX_VALUE_CHARS for _, _, value in fields):
        return PeerFault(400, "Header field too long", "our limit")
    if len(first) != len(fields):
        for name, _, value in fields:
            key = key_of(name)
            if key in SINGLE and first[key].strip() != value.strip():
                return PeerFault(400, f"Contradicting {name}", "RFC 3261 7.3.1")
    return None
