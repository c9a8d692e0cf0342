"""What goes into and comes out of the phone's core: frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field

from jackfield.phone.message import Message
from jackfield.phone.negotiation import Media
from jackfield.phone.sdp import Codec

Address = tuple[str, int]
Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Account:
    """Who the phone is, and how it behaves at the signalling level.

    Without a `server` it calls other phones directly. `prack` is "off", "supported" or "required"
    (RFC 3262); `session_expires_s` 0 means no session timer (RFC 4028); `crosses_cancel`: a CANCEL is
    answered as if our 200 had already been on its way.
    """

    number: str
    password: str = ""
    server: Address | None = None
    domain: str = ""
    name: str = ""
    prack: str = "supported"
    session_expires_s: int = 0
    min_se_s: int = 90
    refresher: str = ""
    crosses_cancel: bool = False
    forks_allowed: bool = False
    user_agent: str = "Jackfield built-in phone"


# ---------------------------------------------------------------- in


@dataclass(frozen=True, slots=True)
class Received:
    data: bytes
    src: Address


@dataclass(frozen=True, slots=True)
class Broken:
    """What was sent to `dst` did not get away (refused, no connection)."""

    dst: Address
    why: str


@dataclass(frozen=True, slots=True)
class Register:
    """Register `contacts` (our own when empty) for `expires_s`; 0 removes them, "*" all there are."""

    expires_s: int = 3600
    contacts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dial:
    """Call `target` (a number or a SIP URI). Without `offers` the other side has to (late offer)."""

    leg: int
    target: str
    rtp: Address
    codecs: tuple[Codec, ...] = ()
    offers: bool = True
    fields: Fields = ()


@dataclass(frozen=True, slots=True)
class UseRtp:
    """Where this incoming leg will hear, and which codecs it speaks; comes before Progress and Accept."""

    leg: int
    rtp: Address
    codecs: tuple[Codec, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    leg: int
    status: int = 180
    with_sdp: bool = False
    reliable: bool = False


@dataclass(frozen=True, slots=True)
class Accept:
    leg: int


@dataclass(frozen=True, slots=True)
class Refuse:
    leg: int
    status: int
    reason: str = ""
    fields: Fields = ()


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the leg whatever its state: CANCEL, BYE or a 480."""

    leg: int
    fields: Fields = ()


@dataclass(frozen=True, slots=True)
class Change:
    """Offer another direction (`zero_address`: hold with c=0.0.0.0), by INVITE or UPDATE."""

    leg: int
    ask: int
    direction: str = "sendrecv"
    zero_address: bool = False
    method: str = "INVITE"
    offers: bool = True


@dataclass(frozen=True, slots=True)
class Ask:
    """Send any request inside a leg's dialog; its outcome is `Replied(ask, ...)`."""

    leg: int
    ask: int
    method: str
    fields: Fields = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Send:
    """Send any request outside of a dialog; a SUBSCRIBE keeps one for its NOTIFYs."""

    ask: int
    method: str
    target: str
    fields: Fields = ()
    body: bytes = b""


Command = Register | Dial | UseRtp | Progress | Accept | Refuse | HangUp | Change | Ask | Send
Input = Received | Broken | Command | None
"""None: a deadline is here."""


# ---------------------------------------------------------------- out


@dataclass(frozen=True, slots=True)
class Transmit:
    data: bytes
    dst: Address


@dataclass(frozen=True, slots=True)
class Registered:
    """The server's answer to a REGISTER: granted seconds (0: removed), or why not."""

    status: int
    expires_s: int
    response: Message | None


@dataclass(frozen=True, slots=True)
class Invited:
    """Somebody calls. `replaces` is the leg whose place the call takes (RFC 3891)."""

    leg: int
    request: Message
    replaces: int | None = None


@dataclass(frozen=True, slots=True)
class Progressed:
    leg: int
    response: Message


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The call stands: our ACK is sent, or theirs is here."""

    leg: int
    response: Message | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """Our call was not answered; `response` None: nobody said anything."""

    leg: int
    status: int
    response: Message | None


@dataclass(frozen=True, slots=True)
class Ended:
    """A call is over; `why` is a sentence, `request` the BYE or CANCEL."""

    leg: int
    why: str
    request: Message | None = None


@dataclass(frozen=True, slots=True)
class MediaChanged:
    leg: int
    media: Media


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came and was answered: INFO, MESSAGE, NOTIFY, REFER, ... `leg` None: outside."""

    leg: int | None
    request: Message


@dataclass(frozen=True, slots=True)
class Replied:
    ask: int
    status: int
    response: Message | None = field(default=None)


Event = Registered | Invited | Progressed | Confirmed | Failed | Ended | MediaChanged | Asked | Replied
Output = Transmit | Event
