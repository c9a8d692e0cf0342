"""One request on its way to its final answer, and what the phone can do, said in Allow and Supported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from jackfield.phone.digest import Challenge
from jackfield.phone.message import Message
from jackfield.phone.transaction import ClientTransaction

Address = tuple[str, int]
ALLOW = "INVITE, ACK, BYE, CANCEL, OPTIONS, PRACK, UPDATE, INFO, MESSAGE, NOTIFY, REFER"
METHODS = frozenset(ALLOW.split(", "))
EXTENSIONS = frozenset({"100rel", "timer", "replaces", "norefersub"})

OnReply = Callable[[Message | None], None]
"""Called with each final response (a 2xx to INVITE may come again), or None when nobody answered."""


@dataclass(slots=True)
class Errand:
    """One request on its way, through challenges, to its final answer."""

    method: str
    uri: str
    dst: Address
    fields: list[tuple[str, str]]
    """all but Via, Max-Forwards, CSeq and what answers a challenge"""
    next_seq: Callable[[], int]
    on_reply: OnReply
    on_provisional: Callable[[Message], None] | None = None
    body: bytes = b""
    challenge: Challenge | None = None
    sent: Message | None = None
    transaction: ClientTransaction | None = None
    tried: set[str] = field(default_factory=set)
    given_up: bool = False
    """nobody wants it any more: a challenge that still comes is not answered"""

    @property
    def under_way(self) -> bool:
        return self.transaction is not None and self.transaction.final is None and not self.transaction.over
