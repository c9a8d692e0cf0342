"""Reads everything that the SIP core can read in a message: for tests that look for a fault, or for none."""

from __future__ import annotations

import contextlib

from sipcore.faults import BrokenRequest, PeerFault
from sipcore.message import Message, Request, Response
from sipcore.parser import check, parse, refusal

_TYPED = """
via vias from_ to call_id cseq contacts routes record_routes max_forwards expires content_type supported
require allow
"""
TYPED = _TYPED.split()
TYPED_OF_REQUEST = [*TYPED, "request_uri"]


def typed_names(message: Message) -> list[str]:
    return TYPED_OF_REQUEST if isinstance(message, Request) else TYPED


def read_everything(data: bytes) -> Request | Response:
    """Parse, check, and read every typed property. Raises what the first fault becomes."""
    message = parse(data)
    check(message)
    try:
        for name in typed_names(message):
            getattr(message, name)
        for name, _ in message.fields():
            message.get(name)
            message.get_all(name)
    except PeerFault as fault:
        raise refusal(message, fault) from None
    return message


def read_or_refuse(data: bytes) -> None:
    """All that a stack does with bytes; what is refused and can be told must give a response."""
    try:
        message = parse(data)
    except BrokenRequest as fault:
        fault.request.response(fault.status, fault.reason, to_tag="t").to_bytes()
        return
    except PeerFault:
        return
    for name in typed_names(message):
        _touch(message, name)
    for name, _ in message.fields():
        message.get(name)
        _touch_all(message, name)
    message.to_bytes()
    repr(message)
    _answer(message)


def _touch(message: Message, name: str) -> None:
    with contextlib.suppress(PeerFault):
        str(getattr(message, name))


def _touch_all(message: Message, name: str) -> None:
    with contextlib.suppress(PeerFault):
        message.get_all(name)


def _answer(message: Request | Response) -> None:
    match message:
        case Request():
            message.response(200, to_tag="t", headers=message.fields()).to_bytes()
            message.with_top(("Via", "SIP/2.0/UDP h")).without("To").replace("From", "x").to_bytes()
        case Response():
            message.with_added(*message.fields()).to_bytes()
