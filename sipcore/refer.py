"""What REFER adds to subscriptions: sipfrag bodies, the implicit subscription and how to do without it.

RFC 3515, RFC 3420, RFC 4488. Who is called because of a REFER is the call layer's.
"""

from __future__ import annotations

import re

from sipcore.faults import PeerFault
from sipcore.message import Request
from sipcore.phrases import PHRASES
from sipcore.subscription import End, Publish

SIPFRAG = "message/sipfrag;version=2.0"
"""The Content-Type of what is told (RFC 3515 2.4.5)."""
REFER_S = 60
"""How long the implicit subscription lasts; said anew with each NOTIFY that does not end it."""
NO_SUBSCRIPTION = ("Refer-Sub", "false")
"""On the 2xx to a REFER, where no NOTIFY will follow."""

_status_line = re.compile(r"SIP/2\.0 ([1-6][0-9]{2})(?: ([^\r\n]*))?(?:\r\n|\r|\n|$)").match


def refer_event(cseq: int, first: bool) -> str:
    """The Event of the NOTIFYs; the first REFER of a dialog needs no id (RFC 3515 2.4.6)."""
    return "refer" if first else f"refer;id={cseq}"


def sipfrag(status: int, reason: str = "") -> bytes:
    """The body that tells how far the referred request has come: its status line (RFC 3515 2.4.5)."""
    return f"SIP/2.0 {status} {reason or PHRASES.get(status, '')}\r\n".encode("utf-8", "surrogateescape")


def refer_notify(status: int, reason: str = "") -> Publish | End:
    """What a `Notifier` is given for a response to the referred request: a final one ends it."""
    body = sipfrag(status, reason)
    return Publish(body) if status < 200 else End("noresource", body)


def read_sipfrag(body: bytes) -> tuple[int, str]:
    """(status, reason) of a NOTIFY about our own REFER. Raises PeerFault(400) for what has no status line."""
    match = _status_line(body[:1024].decode("utf-8", "surrogateescape"))
    if match is None:
        raise PeerFault(400, "Malformed sipfrag", "RFC 3515 2.4.5")
    return int(match[1]), match[2] or ""


def wants_subscription(request: Request) -> bool:
    """False for a REFER with Refer-Sub: false (RFC 4488 section 4): then NO_SUBSCRIPTION goes on its 2xx."""
    value = request.get("Refer-Sub") or ""
    return value.partition(";")[0].strip().lower() != "false"
