"""What goes into and comes out of the SIP stack: frozen values, one per hop.

The stack (`sipcore/stack.py`) takes inputs from the wire and commands from the call layer, and gives
back transmissions for the wire and events for the call layer. Nothing here has behaviour.

Two names run through all of it. A *DialogId* is one INVITE usage, from its INVITE to its end: for an
outgoing call it covers the early dialogs of every fork, of which at most one is ever confirmed. A
*RequestId* is one request other than that first INVITE whose answer is awaited, in either direction.
Both are small integers that the stack's counter gives out (`Stack.new_id()`); they are never reused.
"""

from __future__ import annotations

import enum
from typing import NewType

import msgspec

from sipcore.flow import Flow
from sipcore.message import Request, Response

DialogId = NewType("DialogId", int)
RequestId = NewType("RequestId", int)
Headers = tuple[tuple[str, str], ...]
"""Extra header fields (name, value), written after the ones that the stack itself owns."""


# ---------------------------------------------------------------- wire -> stack


class Received(msgspec.Struct, frozen=True, gc=False):
    """One datagram, or one whole message framed from a stream, as it arrived on `flow`."""

    data: bytes
    flow: Flow


class FlowFailed(msgspec.Struct, frozen=True):
    """What was sent on `flow` did not get away: refused, unreachable, no connection, TLS failure."""

    flow: Flow
    why: str


class Resolved(msgspec.Struct, frozen=True):
    """The answer to `Resolve`: the flows to try, best first (RFC 3263). Empty: the name leads nowhere."""

    query: int
    flows: tuple[Flow, ...]


class Tick(msgspec.Struct, frozen=True, gc=False):
    """Nothing came in: `next_deadline()` is here. Every other input runs the timers that are due as well."""


# ---------------------------------------------------------------- stack -> wire


class Transmit(msgspec.Struct, frozen=True, gc=False):
    """Send `data` on `flow`. A reliable flow that fails is told back as FlowFailed."""

    flow: Flow
    data: bytes


class Resolve(msgspec.Struct, frozen=True):
    """Find out where `uri` leads (RFC 3263) and come back with `Resolved(query, ...)`.

    Asked only when the host of `uri` is a name; literal addresses need no answer from outside.
    """

    query: int
    uri: str


# ---------------------------------------------------------------- call layer -> stack


class Credentials(msgspec.Struct, frozen=True):
    """What answers a 401 or 407 on our behalf (RFC 3261 22.2, RFC 8760). The stack never logs it."""

    username: str
    password: str


class Invite(msgspec.Struct, frozen=True, kw_only=True):
    """Place a call: `dialog` is a fresh id from `Stack.new_id()`.

    `from_` and `to` are whole header values without a tag. `flow` is where the request goes when it
    must use a known flow (a registered phone); without one the first `route`, else `uri`, is resolved.
    An empty `body` means late offer: the 2xx then brings the offer and waits for `Ack`.
    `session_expires_s` 0 switches session timers off for this leg.
    """

    dialog: DialogId
    uri: str
    from_: str
    to: str
    flow: Flow | None = None
    route: tuple[str, ...] = ()
    headers: Headers = ()
    body: bytes = b""
    content_type: str = "application/sdp"
    credentials: Credentials | None = None
    max_forwards: int = 70
    session_expires_s: int = 1800


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Answer an incoming INVITE with a 101-199.

    Sent reliably (RFC 3262) when the caller requires 100rel, or supports it and `reliable` is set.
    """

    dialog: DialogId
    status: int
    reason: str = ""
    headers: Headers = ()
    body: bytes = b""
    content_type: str = "application/sdp"
    reliable: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer an incoming INVITE with 200. The stack resends it until the ACK or 64*T1."""

    dialog: DialogId
    headers: Headers = ()
    body: bytes = b""
    content_type: str = "application/sdp"
    session_expires_s: int = 1800


class Reject(msgspec.Struct, frozen=True, kw_only=True):
    """Answer an incoming INVITE with a 300-699; the dialog is over."""

    dialog: DialogId
    status: int
    reason: str = ""
    headers: Headers = ()
    body: bytes = b""
    content_type: str = ""


class Ack(msgspec.Struct, frozen=True):
    """Acknowledge a 2xx that carried an offer, with the SDP answer. All other ACKs the stack sends itself."""

    dialog: DialogId
    body: bytes


class HangUp(msgspec.Struct, frozen=True, kw_only=True):
    """End a dialog whatever its state: CANCEL while unanswered, BYE afterwards, and mop up crossing 2xx.

    `headers` go on the CANCEL or BYE (a Reason, RFC 3326). Exactly one `Ended` or `Failed` still
    follows for an outgoing dialog that had none; for an incoming unanswered one use `Reject`.
    """

    dialog: DialogId
    headers: Headers = ()


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """Send a request inside a confirmed (or, for UPDATE, early) dialog: INVITE, UPDATE, INFO, REFER, ...

    The outcome comes back as `Replied` with the same `request` id. A re-INVITE that meets 491 is
    tried again by the stack (RFC 3261 14.1); its ACK is sent by the stack, with `Ack` only for late offers.
    """

    dialog: DialogId
    request: RequestId
    method: str
    headers: Headers = ()
    body: bytes = b""
    content_type: str = ""


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """Send a request outside any dialog (OPTIONS, MESSAGE, REGISTER, ...); answered by `Replied`."""

    request: RequestId
    method: str
    uri: str
    from_: str
    to: str
    flow: Flow | None = None
    route: tuple[str, ...] = ()
    headers: Headers = ()
    body: bytes = b""
    content_type: str = ""
    credentials: Credentials | None = None
    call_id: str = ""
    cseq: int = 1
    max_forwards: int = 70


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """Answer a request that came up as `Asked` or `Incoming`; provisional ones may come before the final."""

    request: RequestId
    status: int
    reason: str = ""
    headers: Headers = ()
    body: bytes = b""
    content_type: str = ""


# ---------------------------------------------------------------- stack -> call layer


class IncomingCall(msgspec.Struct, frozen=True):
    """A new INVITE outside any dialog, once. 100 Trying has been sent. Answer with Progress/Answer/Reject."""

    dialog: DialogId
    request: Request
    flow: Flow


class Cancelled(msgspec.Struct, frozen=True):
    """The caller sent CANCEL before our final response; the stack has answered both (487). It is over.

    `request` is the CANCEL: its Reason header says why (RFC 3326).
    """

    dialog: DialogId
    request: Request


class Acked(msgspec.Struct, frozen=True):
    """The ACK of our 2xx to the first INVITE. `body` is the SDP answer when our 2xx had carried the offer.

    With a `request` it is the ACK of our 2xx to that re-INVITE; told only where that 2xx had carried
    an offer.
    """

    dialog: DialogId
    body: bytes
    request: RequestId | None = None


class Progressed(msgspec.Struct, frozen=True):
    """A 101-199 to our INVITE. Forks downstream differ in the To tag. PRACKs are the stack's work."""

    dialog: DialogId
    response: Response


class Answered(msgspec.Struct, frozen=True):
    """The first 2xx to our INVITE, once. `late_offer`: its body is an offer and `Ack` must follow.

    Later 2xx from other forks are acknowledged and ended by the stack.
    """

    dialog: DialogId
    response: Response
    late_offer: bool


class Failed(msgspec.Struct, frozen=True):
    """Our INVITE ended without a call. `response` is None when no one answered: then `status` is 408
    (timer B), 503 (no flow took it) or 487 (cancelled by us and never answered)."""

    dialog: DialogId
    status: int
    reason: str
    response: Response | None


class EndedBy(enum.Enum):
    """Why a confirmed dialog is over."""

    PEER_BYE = "the far side hung up"
    OUR_BYE = "we hung up"
    NO_ACK = "the far side never acknowledged our answer"
    SESSION_EXPIRED = "the session was not refreshed (RFC 4028)"
    PEER_LOST = "the far side no longer knows the dialog (481 or 408)"
    OUR_FAULT = "a fault of ours (see Crashed)"


class Ended(msgspec.Struct, frozen=True):
    """A confirmed dialog is over, once. `request` is the peer's BYE where there was one (already answered).

    Told also, with NO_ACK, for an incoming call whose reliable provisional response was never acknowledged.
    """

    dialog: DialogId
    by: EndedBy
    request: Request | None = None


class Asked(msgspec.Struct, frozen=True):
    """A request inside a dialog that needs the call layer: re-INVITE, UPDATE, INFO, REFER, NOTIFY, ...

    Must be answered with `Reply`. Glare (491), CSeq order (500) and refreshes of session timers without
    an offer are settled by the stack and do not come up.
    """

    dialog: DialogId
    request: RequestId
    message: Request


class Incoming(msgspec.Struct, frozen=True):
    """A request outside any dialog other than INVITE. Must be answered with `Reply`."""

    request: RequestId
    message: Request
    flow: Flow


class Replied(msgspec.Struct, frozen=True):
    """What became of an `Ask` or `Send`. `response` is None when no answer came: `status` 408 or 503.

    Provisional responses are not reported. `late_offer`: a 2xx to an offerless re-INVITE waits for `Ack`.
    """

    request: RequestId
    status: int
    response: Response | None
    late_offer: bool = False


class PeerBroke(msgspec.Struct, frozen=True):
    """What a stranger sent was refused or dropped: for counters and the log, never for the call layer."""

    flow: Flow
    status: int
    rule: str


class Aliased(msgspec.Struct, frozen=True, gc=False):
    """The peer put `alias` into its Via: requests to `port` there may take this connection (RFC 5923).

    For whoever knows what the peer has proved to be; without a proof it must not be believed.
    """

    flow: Flow
    port: int


class TargetFailed(msgspec.Struct, frozen=True, gc=False):
    """A target of a name that was asked for did not answer, or said 503 (RFC 3263 4.3).

    For whoever answers `Resolve`: others come first for `for_s`, or as long as usual when that is 0.
    """

    flow: Flow
    for_s: int = 0


class Crashed(msgspec.Struct, frozen=True):
    """A fault of ours, for the log: `why` has the traceback. The dialog that it happened in was ended.

    Never in tests: there the stack is strict and raises.
    """

    dialog: DialogId | None
    why: str


Input = (
    Received
    | FlowFailed
    | Resolved
    | Tick
    | Invite
    | Progress
    | Answer
    | Reject
    | Ack
    | HangUp
    | Ask
    | Send
    | Reply
)
Event = IncomingCall | Cancelled | Acked | Progressed | Answered | Failed | Ended | Asked | Incoming | Replied
Output = Transmit | Resolve | Aliased | TargetFailed | PeerBroke | Crashed | Event
