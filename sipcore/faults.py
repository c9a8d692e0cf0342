"""Whose fault it is: the two kinds of error that the SIP core raises."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sipcore.message import Request


class PeerFault(Exception):
    """The far side broke the protocol; answered with `status` where an answer is due, never a traceback.

    `rule` names what was broken, for the log and the counter: "RFC 3261 8.1.1.5".
    """

    def __init__(self, status: int, reason: str, rule: str) -> None:
        super().__init__(f"{status} {reason} ({rule})")
        self.status = status
        self.reason = reason
        self.rule = rule


class BrokenRequest(PeerFault):
    """A request that is refused, and that can be told so: `request.response(status, reason)` works.

    Its top Via is readable, it has a CSeq, and it is no ACK; nothing else of it should be relied on, so
    the answer goes out without a transaction.
    """

    def __init__(self, status: int, reason: str, rule: str, request: Request) -> None:
        super().__init__(status, reason, rule)
        self.request = request


class Misuse(Exception):
    """We asked for what the state forbids: our bug. Ends the one call that it happened in."""
