"""What a call needs from the switchboard around it, as an interface, and what leaves the call layer."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from conf.snapshot import Snapshot, TenantId
from conf.values import Network
from media import messages as media
from pbx.api import CallEvent, CallId, LegId, PlayEnd
from pbx.headers import Passing
from pbx.ports import PortNumbers
from sipcore import events as sip
from sipcore.flow import Flow
from sipcore.sdp import Codec

if TYPE_CHECKING:
    from pbx.call import Call
    from pbx.leg import Leg


class Target(msgspec.Struct, frozen=True):
    """One place to send an INVITE to: a registered phone over its flow, or a URI to be resolved."""

    uri: str
    flow: Flow | None = None
    route: tuple[str, ...] = ()
    spare: tuple[Target, ...] = ()
    """other ways to the same phone, for when this one leads nowhere (RFC 5626)"""


class StartApp(msgspec.Struct, frozen=True, gc=False):
    """Ask the shell to run an application on this call."""

    call: CallId
    app: str
    dialled: str


class AppNews(msgspec.Struct, frozen=True, gc=False):
    """Tell the application of this call what it waits for: the answer stands, a key, the end of a clip."""

    call: CallId
    ready: bool = False
    over: bool = False
    played: int = 0
    """the number of what was played, which ended so:"""
    end: PlayEnd | None = None
    digit: str = ""
    """a key that the caller pressed"""


class CallDue(msgspec.Struct, frozen=True, gc=False):
    """A deadline of this call is here."""

    call: CallId


class MediaRestarted(msgspec.Struct, frozen=True, gc=False):
    """Media died and is back, empty: every port of every call has to be opened again."""


class NewSnapshot(msgspec.Struct, frozen=True):
    """The configuration was changed; calls that are up keep the one they started with."""

    snapshot: Snapshot


class SaveBindings(msgspec.Struct, frozen=True):
    """Keep the registrations of one extension where a crash does not reach them; empty: forget them."""

    tenant: TenantId
    number: str
    payload: bytes


SipCommand = (
    sip.Invite
    | sip.Progress
    | sip.Answer
    | sip.Reject
    | sip.Ack
    | sip.HangUp
    | sip.Ask
    | sip.Send
    | sip.Reply
)
Output = SipCommand | media.Command | StartApp | AppNews | SaveBindings


OWN_CODECS = (
    Codec(9, "g722", 8000),
    Codec(8, "pcma", 8000),
    Codec(0, "pcmu", 8000),
    Codec(111, "opus", 48000, 2, "useinbandfec=1"),
    Codec(101, "telephone-event", 8000, fmtp="0-16"),
)


class CallSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator set for all calls."""

    passing: Passing = Passing(("Subject", "Priority", "Alert-Info", "Call-Info", "User-to-User"))
    """header fields that cross from leg to leg unchanged"""
    session_expires_s: int = 1800
    own_codecs: tuple[Codec, ...] = OWN_CODECS
    """what we offer when the caller made no offer"""
    max_calls: int = 0
    trusted_networks: tuple[Network, ...] = ()
    """peers that may be told who an anonymous caller is, besides trunks (RFC 3325)"""
    pass_bodies: tuple[str, ...] = ("application/dtmf-relay", "application/dtmf", "text/plain")
    """content types, other than SDP, that cross from leg to leg in INFO and MESSAGE"""
    longest_s: float = 43200.0
    """any call is ended then"""
    silence_s: float = 60.0
    """a call whose ends are both silent this long, and unheld, is ended"""
    pass_hold: bool = False
    """True: the far side is told of a hold by re-INVITE; False: it only hears it"""


class Board(Protocol):
    """The switchboard as a call sees it."""

    settings: CallSettings
    numbers: PortNumbers
    snapshot: Snapshot
    new_session_id: Callable[[], int]
    """the number of an o= line"""
    new_secret: Callable[[int], bytes]
    """so many bytes that nobody can guess: keys"""
    media_fingerprint: str
    """of the certificate that media shows in DTLS; "" when it has none"""

    def send(self, output: Output) -> None:
        """Hand a command to sipcore or media, or news to an application; outputs leave in this order."""

    def tell(self, event: CallEvent) -> None: ...

    def changed(self, call: Call) -> None:
        """What a restart would need to know of this call is different now."""

    def settle(self, call: Call, now: float) -> None:
        """Another call than the one at work was changed: see to its deadline, or its end."""

    def new_leg_id(self, call: Call) -> LegId: ...

    def new_request_id(self, call: Call) -> sip.RequestId: ...

    def new_port_id(self, call: CallId) -> int: ...

    def leg_joins(self, leg: Leg, call: Call) -> None: ...

    def request_joins(self, request: sip.RequestId, call: Call) -> None:
        """The answer to a request of ours is for this call from now on."""

    def leg_over(self, leg: LegId) -> None: ...

    def port_over(self, port: int) -> None: ...

    def awaits_report(self, port: int, call: CallId, leg: LegId) -> None:
        """This port of an answered leg is about to be closed: media will say how its stream was."""

    def take_place(self, call: Call, key: Hashable, most: int) -> bool:
        """One more place for a call that is up; False when `most` are taken. At its end it is free again."""

    def give_place(self, call: Call, key: Hashable) -> None:
        """The party that had this place has left the call, which goes on. Without such a place: nothing."""

    def move_place(self, key: Hashable, from_call: Call, to_call: Call) -> None:
        """A party goes to another call and takes its place with it."""

    def trusts(self, target: Target) -> bool:
        """True when what is sent there may say who an anonymous caller is (RFC 3325)."""

    def reach(self, tenant: TenantId, number: str, now: float) -> Sequence[Sequence[Target]]:
        """Where an extension's phones are now: groups of equal preference, best first."""

    def means(self, host: str, tenant: TenantId) -> bool:
        """True when a URI with this host means a number of this tenant."""

    def find_leg(self, call_id: str, local_tag: str, remote_tag: str) -> tuple[Call, Leg] | None:
        """The leg whose dialog has these names, seen from our side."""

    def media_host(self, flow: Flow | None, uri: str = "") -> str:
        """The address of ours that a peer on this flow, or at this URI, can send its sound to."""

    def bind_host(self, host: str) -> str:
        """The address that media binds for a `media_host`: another one behind NAT."""
