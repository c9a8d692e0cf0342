"""Reads everything that the SIP core can read in a message: for tests that look for a fault, or for none."""

from __future__ import annotations

from sipcore.faults import PeerFault
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
