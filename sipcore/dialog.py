"""A dialog's own state and the requests that follow from it (RFC 3261 section 12).

Plain data that can be kept as a memo and restored. Who sends what and when is the business of the usage
that the dialog carries (`incoming.py`, `outgoing.py`, `inside.py`); where it goes is decided by `hops.py`.
"""

from __future__ import annotations

import enum

import msgspec

from sipcore.faults import PeerFault
from sipcore.flow import Flow
from sipcore.hops import is_loose, next_hop, way_back, way_on
from sipcore.message import Request, Response
from sipcore.text import Draft


class DialogState(enum.IntEnum):
    """RFC 3261 section 12."""

    EARLY = 1
    CONFIRMED = 2


class Dialog(msgspec.Struct, gc=False, array_like=True):
    """One dialog as RFC 3261 12 describes it, from our side."""

    call_id: str
    local_tag: str
    remote_tag: str
    """"" for a peer of RFC 2543"""
    local: str
    """our From in requests, whole, with tag"""
    remote: str
    """our To in requests, whole, with tag where there is one"""
    remote_target: str
    route_set: tuple[str, ...]
    local_cseq: int
    remote_cseq: int
    """-1 before the peer's first request"""
    initiator: bool
    """True for the owner of the Call-ID: who sent the first INVITE"""
    secure: bool
    flow: Flow | None
    """None: the next hop is a name that is resolved for each request"""
    follows: bool
    """the flow is that of the peer's latest request"""
    takes_update: bool = False
    """the peer's Allow names UPDATE (RFC 3311)"""
    state: DialogState = DialogState.EARLY

    def next_request(self, method: str, lines: str = "", body: bytes = b"") -> Draft:
        """The draft of our next request (12.2.1.1). Counts the CSeq up."""
        self.local_cseq += 1
        return self.request_of(method, self.local_cseq, lines, body)

    def request_of(self, method: str, cseq: int, lines: str = "", body: bytes = b"") -> Draft:
        """The same with a CSeq that is given: an ACK has that of its INVITE."""
        uri, routes = routed(self.remote_target, self.route_set)
        return Draft(
            method=method,
            uri=uri,
            from_=self.local,
            to=self.remote,
            call_id=self.call_id,
            cseq=cseq,
            routes=routes,
            lines=lines,
            body=body,
            hop=next_hop(self.route_set, self.remote_target),
            secure=self.secure,
            contact=method in TARGET_REFRESH,
        )

    def is_with(self, call_id: str, remote_tag: str) -> bool:
        """True when a message with our local tag is of this dialog."""
        return self.call_id == call_id and self.remote_tag == remote_tag

    def refresh(self, message: Request | Response) -> None:
        """Take the remote target of a target refresh request or its 2xx (12.2.1.2, 12.2.2)."""
        contact = contact_of(message)
        if contact:
            self.remote_target = contact
        if knows_update(message):
            self.takes_update = True

    def heard_on(self, flow: Flow) -> None:
        """A request of the peer came over `flow`: a phone behind a translator may have moved."""
        if self.follows and flow != self.flow:
            self.flow = flow


TARGET_REFRESH = frozenset(("INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"))


def routed(target: str, route_set: tuple[str, ...]) -> tuple[str, str]:
    """Request-URI and Route lines for a target and a route set (12.2.1.1); strict routers are humoured."""
    if not route_set:
        return target, ""
    if is_loose(route_set[0]):
        return target, "".join([f"Route: {route}\r\n" for route in route_set])
    strict = next_hop(route_set, target)
    return strict, "".join([f"Route: {route}\r\n" for route in (*route_set[1:], f"<{target}>")])


def contact_of(message: Request | Response) -> str:
    """The one URI of Contact, "" when there is none that can be used."""
    contacts = message.contacts
    return contacts[0].uri if contacts and contacts[0].uri != "*" else ""


def knows_update(message: Request | Response) -> bool:
    """True when Allow names UPDATE. A second Allow field, which nobody writes, is not looked at."""
    allow = message.get("allow")
    return allow is not None and "UPDATE" in allow


def dialog_of_request(request: Request, local_tag: str, remote_tag: str, flow: Flow) -> Dialog:
    """The early dialog that an incoming INVITE begins (12.1.1). Raises PeerFault(400) without a Contact."""
    contact = contact_of(request)
    if not contact:
        raise PeerFault(400, "Missing Contact", "RFC 3261 8.1.1.8")
    record_routes = request.record_routes
    route_set = tuple(map(str, record_routes)) if record_routes else ()
    way = way_back(request, route_set, contact, flow)
    return Dialog(
        call_id=request.call_id,
        local_tag=local_tag,
        remote_tag=remote_tag,
        local=f"{request.get('to')};tag={local_tag}",
        remote=request.get("from") or "",
        remote_target=contact,
        route_set=route_set,
        local_cseq=0,
        remote_cseq=request.cseq.number,
        initiator=False,
        secure=request.uri[:5].lower() == "sips:",
        flow=way.flow,
        follows=way.follows,
        takes_update=knows_update(request),
    )


def dialog_of_response(
    draft: Draft, local_tag: str, remote_tag: str, response: Response, flow: Flow, *, pinned: bool
) -> Dialog:
    """The dialog that a 101-299 to our INVITE begins (12.1.2).

    `pinned`: the INVITE went over a flow that the call layer knew, and the rest goes there too. A
    response without a Contact, though against the rule, is met by keeping to the URI of the INVITE.
    """
    contact = contact_of(response) or draft.uri
    record_routes = response.record_routes
    route_set = tuple(map(str, reversed(record_routes))) if record_routes else ()
    way = None if pinned else way_on(response, route_set, contact, flow, draft.hop)
    return Dialog(
        call_id=draft.call_id,
        local_tag=local_tag,
        remote_tag=remote_tag,
        local=draft.from_,
        remote=response.get("to") or "",
        remote_target=contact,
        route_set=route_set,
        local_cseq=draft.cseq,
        remote_cseq=-1,
        initiator=True,
        secure=draft.secure,
        flow=flow if way is None else way.flow,
        follows=way is None or way.follows,
        takes_update=knows_update(response),
    )
