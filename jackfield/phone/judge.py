"""What the RFCs demand of a single message, and of a response to the request that it answers.

Pure functions that give back sentences, one per violation, each naming its rule. What needs memory of
a dialog is in `leg.py`, of a session description in `negotiation.py`, of a stream in `listening.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from jackfield.phone.message import Message, Unreadable, read_addr, read_uri, read_via

COOKIE = "z9hG4bK"
MAKES_A_DIALOG = ("INVITE", "SUBSCRIBE", "REFER")
NEEDS_CONTACT = ("INVITE", "SUBSCRIBE", "REFER", "UPDATE", "NOTIFY")


def faults_of_request(request: Message) -> Iterator[str]:
    """RFC 3261 8.1.1 and the methods' own rules."""
    method = request.method
    hops = request.get("max-forwards")
    if not hops:
        yield f"{method} without Max-Forwards (RFC 3261 8.1.1.6)"
    elif not hops.isdigit() or int(hops) > 255:
        yield f"{method} with Max-Forwards: {hops} (RFC 3261 20.22)"
    if request.cseq.method != method:
        yield f"{method} with CSeq method {request.cseq.method} (RFC 3261 8.1.1.5)"
    if request.cseq.number >= 2**31:
        yield f"{method} with CSeq {request.cseq.number}, 2**31 or more (RFC 3261 8.1.1.5)"
    if not request.via.branch.startswith(COOKIE):
        yield f"{method} whose Via branch does not begin with {COOKIE} (RFC 3261 8.1.1.7)"
    if not request.from_.tag:
        yield f"{method} without a From tag (RFC 3261 8.1.1.3)"
    if method in NEEDS_CONTACT:
        yield from _faults_of_contact(request, method)
    if method in ("ACK", "CANCEL") and (request.get("require") or request.get("proxy-require")):
        yield f"{method} with Require (RFC 3261 9.1, 8.2.2.3)"
    if method == "CANCEL" and len(request.all("via")) != 1:
        yield "CANCEL with more than one Via (RFC 3261 9.1)"
    if method == "NOTIFY":
        yield from _missing(request, "NOTIFY", "Event", "Subscription-State", rule="RFC 6665 8.2.1")
    if method == "PRACK":
        yield from _missing(request, "PRACK", "RAck", rule="RFC 3262 7.2")
    if method == "REFER" and len(request.all("refer-to")) != 1:
        yield "REFER without exactly one Refer-To (RFC 3515 2.4.1)"
    if method == "SUBSCRIBE":
        yield from _missing(request, "SUBSCRIBE", "Event", rule="RFC 6665 8.2.1")
    yield from _faults_of_uris(request)
    yield from _faults_of_body(request)


def faults_of_response(request: Message, response: Message) -> Iterator[str]:
    """Is this a fitting answer to what we sent (RFC 3261 8.2.6.2, RFC 3581, and per status)?"""
    what = f"{response.status} to {request.method}"
    for name in ("From", "Call-ID", "CSeq"):
        if response.get(name) != request.get(name):
            yield f"{what}: {name} is not the request's (RFC 3261 8.2.6.2)"
    sent, came = read_addr(request.get("to")), response.to
    if sent.uri != came.uri or (sent.tag and came.tag != sent.tag):
        yield f"{what}: To is not the request's (RFC 3261 8.2.6.2)"
    if response.status > 100 and not came.tag:
        yield f"{what} without a To tag (RFC 3261 8.2.6.2)"
    yield from _faults_of_vias(request, response, what)
    yield from _faults_of_status(request, response, what)
    yield from _faults_of_body(response)


def faults_of_refusal_ack(ack: Message, invite: Message, response: bytes) -> Iterator[str]:
    """The ACK of a 300-699 is made of the INVITE and that response (RFC 3261 17.1.1.3)."""
    if ack.uri != invite.uri:
        yield "the ACK of a refusal: Request-URI is not the INVITE's (RFC 3261 17.1.1.3)"
    if ack.cseq.number != invite.cseq.number:
        yield f"the ACK has CSeq {ack.cseq.number}, the INVITE {invite.cseq.number} (RFC 3261 17.1.1.3)"
    if ack.get("from") != invite.get("from") or ack.call_id != invite.call_id:
        yield "the ACK of a refusal: From or Call-ID is not the INVITE's (RFC 3261 17.1.1.3)"
    if not ack.to.tag or f"tag={ack.to.tag}".encode() not in response:
        yield "the ACK of a refusal: To is not the response's (RFC 3261 17.1.1.3)"
    if ack.all("route") != invite.all("route"):
        yield "the ACK of a refusal: Route is not the INVITE's (RFC 3261 17.1.1.3)"


def faults_of_cancel(cancel: Message, invite: Message) -> Iterator[str]:
    """A CANCEL repeats its INVITE (RFC 3261 9.1)."""
    for name in ("from", "to", "call-id"):
        if cancel.get(name) != invite.get(name):
            yield f"CANCEL: {name} is not the INVITE's (RFC 3261 9.1)"
    if cancel.uri != invite.uri or cancel.cseq.number != invite.cseq.number:
        yield "CANCEL: Request-URI or CSeq is not the INVITE's (RFC 3261 9.1)"


def _faults_of_vias(request: Message, response: Message, what: str) -> Iterator[str]:
    if len(response.all("via")) != 1:
        yield f"{what} with {len(response.all('via'))} Via values, one was sent (RFC 3261 8.2.6.2)"
        return
    sent, came = request.via, response.via
    if (sent.host, sent.port, sent.branch) != (came.host, came.port, came.branch):
        yield f"{what}: the Via was changed (RFC 3261 8.2.6.2)"
    if "rport" in sent.params and not (came.params.get("rport") or "").isdigit():
        yield f"{what}: rport was asked for and not filled in (RFC 3581 4)"
    elif "rport" in sent.params and "received" not in came.params:
        yield f"{what}: rport without received (RFC 3581 4)"


def _faults_of_status(request: Message, response: Message, what: str) -> Iterator[str]:
    method, status = request.method, response.status
    if method in MAKES_A_DIALOG and 200 <= status < 300:
        yield from _faults_of_contact(response, what)
    if method == "INVITE" and 101 <= status < 200 and response.to.tag:
        yield from _faults_of_contact(response, what)
    if method == "UPDATE" and 200 <= status < 300:
        yield from _faults_of_contact(response, what)
    needed = {405: "Allow", 420: "Unsupported", 421: "Require", 422: "Min-SE", 423: "Min-Expires"}.get(status)
    if needed:
        yield from _missing(response, what, needed, rule="RFC 3261 21, RFC 4028 6")
    if status == 489:
        yield from _missing(response, what, "Allow-Events", rule="RFC 6665 8.2.2")
    reliable = "100rel" in response.options("require")
    if reliable and not response.get("rseq"):
        yield f"{what} requires 100rel and has no RSeq (RFC 3262 3)"
    if response.get("rseq") and not reliable:
        yield f"{what} has RSeq and does not require 100rel (RFC 3262 3)"
    if reliable and not 100 < status < 200:
        yield f"{what} requires 100rel (RFC 3262 3)"
    if reliable and "100rel" not in request.options("supported") | request.options("require"):
        yield f"{what} is reliable, which we do not support (RFC 3262 3)"
    if response.get("session-expires") and 200 <= status < 300:
        supports = "timer" in request.options("supported")
        if supports and "refresher" not in response.get("session-expires"):
            yield f"{what}: Session-Expires without refresher (RFC 4028 9)"
        if "refresher=uac" in response.get("session-expires") and "timer" not in response.options("require"):
            yield f"{what}: refresher=uac without Require: timer (RFC 4028 9)"
    if status == 200 and method == "REGISTER":
        yield from _faults_of_registration(request, response)


def _faults_of_registration(request: Message, response: Message) -> Iterator[str]:
    granted = {read_addr(value).uri: read_addr(value).params for value in response.all("contact")}
    asked = [read_addr(value) for value in request.all("contact") if value != "*"]
    for contact in asked:
        if contact.params.get("expires", request.get("expires")) == "0":
            if contact.uri in granted:
                yield f"200 to REGISTER still lists {contact.uri}, which was removed (RFC 3261 10.3)"
        elif contact.uri not in granted:
            yield f"200 to REGISTER does not list {contact.uri} (RFC 3261 10.3 step 8)"
        elif not (granted[contact.uri].get("expires") or "").isdigit():
            yield "200 to REGISTER: Contact without expires (RFC 3261 10.3 step 8)"


def _faults_of_contact(message: Message, what: str) -> Iterator[str]:
    contacts = message.all("contact")
    if len(contacts) != 1:
        yield f"{what} with {len(contacts)} Contact values, one is needed (RFC 3261 8.1.1.8, 12.1.1)"
        return
    try:
        read_uri(read_addr(contacts[0]).uri)
    except Unreadable as fault:
        yield f"{what}: Contact: {fault} (RFC 3261 8.1.1.8)"


def _faults_of_uris(request: Message) -> Iterator[str]:
    try:
        uri = read_uri(request.uri)
        if uri.headers:
            yield f"{request.method}: headers in the Request-URI (RFC 3261 19.1.1)"
        for via in request.all("via"):
            read_via(via)
        for route in request.all("route") + request.all("record-route"):
            if "lr" not in read_uri(read_addr(route).uri).params:
                yield f"{request.method}: a route without lr: {route} (RFC 3261 16.6)"
    except Unreadable as fault:
        yield f"{request.method}: {fault} (RFC 3261 25.1)"


def _faults_of_body(message: Message) -> Iterator[str]:
    yield from (f"{message.first_line}: {fault}" for fault in message.faults)
    if message.body and not message.content_type:
        yield f"{message.first_line}: a body without Content-Type (RFC 3261 20.15)"
    if not message.body and message.content_type:
        yield f"{message.first_line}: Content-Type without a body (RFC 3261 20.15)"


def _missing(message: Message, what: str, *names: str, rule: str) -> Iterator[str]:
    yield from (f"{what} without {name} ({rule})" for name in names if not message.get(name))
