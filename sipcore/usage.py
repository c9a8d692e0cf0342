"""The state of one INVITE usage: what the stack remembers under a DialogId (RFC 3261 13 to 15, RFC 5057).

Data only. `incoming.py` and `outgoing.py` bring a usage to its answer, `asked.py` and `asking.py` carry the
requests inside it. Nothing in here refers back to what holds it, so that it is freed at once.
"""

from __future__ import annotations

import enum

import msgspec

from sipcore.dialog import Dialog
from sipcore.events import Ask, Credentials, DialogId, Headers
from sipcore.flow import Flow
from sipcore.reliable import Unpracked
from sipcore.sending import Sending
from sipcore.session_timer import Session, Wanted
from sipcore.transaction_store import Transaction


class Phase(enum.IntEnum):
    """Where a usage stands."""

    INVITED = 1
    """incoming: no final answer of ours yet"""
    ANSWERED = 2
    """incoming: our 2xx waits for its ACK"""
    LEAVING = 3
    """incoming: hung up before that ACK, which the BYE has to wait for (section 15)"""
    CALLING = 4
    """outgoing: no final answer yet"""
    CANCELLED = 5
    """outgoing: hung up, the final answer is still to come"""
    CONFIRMED = 6
    OVER = 7


class Offer(enum.IntEnum):
    """Whose SDP offer is unanswered (RFC 3264, RFC 3311 5.1): at most one can be."""

    NONE = 0
    OURS = 1
    THEIRS = 2


class DialogTimer(enum.IntEnum):
    """The deadlines of a usage."""

    RESEND_2XX = 1
    RESEND_1XX = 2
    GIVE_UP_CANCEL = 3
    REFRESH = 4
    EXPIRE = 5
    RETRY = 6


class Invited(msgspec.Struct, gc=False):
    """The incoming INVITE while it waits for a final answer."""

    transaction: Transaction
    head: str
    """what all its responses begin with"""
    cseq: int
    has_offer: bool
    takes_reliable: bool
    needs_reliable: bool
    lines: str
    """the Record-Routes and our Contact, for responses that make a dialog"""
    wanted: Wanted
    reliable: Unpracked | None = None


class Calling(msgspec.Struct, gc=False):
    """Our INVITE while it waits for a final answer."""

    sending: Sending
    session_lines: str
    """what it says about session timers; a 422 makes it say something else"""
    provisional: bool = False
    """a response came, so a CANCEL may go (9.1)"""
    late_offer: bool = False
    pinned: bool = False
    body: bytes = b""
    cancel_headers: Headers = ()
    cancel_sent: bool = False
    least_s: int = 0
    """the Min-SE of a 422; 0 before there was one"""
    early: dict[str, Dialog] = {}
    """early dialogs by remote tag; there can be several forks"""
    rseqs: dict[str, int] = {}
    """the last RSeq acknowledged, by remote tag"""


class Unacked(msgspec.Struct, gc=False):
    """Our 2xx to an INVITE or re-INVITE until its ACK is here (13.3.1.4)."""

    cseq: int
    wire: bytes
    flow: Flow
    interval_s: float
    give_up_at: float
    request: int = 0
    """the RequestId of a re-INVITE; 0 for the first INVITE"""
    tell: bool = True
    """False where nobody waits for what the ACK says"""


class LateAck(msgspec.Struct, gc=False):
    """A 2xx of the peer that carried an offer: its ACK waits for our answer."""

    cseq: int
    sent_as: str
    credentials: str


class Usage(msgspec.Struct, gc=False):
    """One INVITE usage."""

    id: DialogId
    local_tag: str
    phase: Phase
    dialog: Dialog | None = None
    """the confirmed dialog; for an incoming call also the early one"""
    invited: Invited | None = None
    calling: Calling | None = None
    unacked: Unacked | None = None
    late_ack: LateAck | None = None
    session: Session | None = None
    session_expires_s: int = 0
    """the longest interval that we grant or ask for; 0: no session timers"""
    offer: Offer = Offer.NONE
    our_invite: bool = False
    """an INVITE of ours is unanswered"""
    their_invite: int = 0
    """the RequestId of a re-INVITE that waits for our final answer"""
    leaving: bool = False
    """its end was told already"""
    leave_headers: Headers = ()
    pending: tuple[int, ...] = ()
    """requests of the peer that wait for an answer of the call layer"""
    waiting: tuple[Ask, ...] = ()
    """asked for while an offer or a re-INVITE was under way"""
    retry: Ask | None = None
    """what met 491 and is tried again when DialogTimer.RETRY comes"""
    retries: int = 0
    """how often in a row"""
    credentials: Credentials | None = None
    timers: tuple[DialogTimer, ...] = ()
    """those that were started at some time"""
