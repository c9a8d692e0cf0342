"""The phone's SIP core: bytes, commands and deadlines in, bytes and events out (RFC 3261 section 8).

Routes messages to transactions, and what they pass up to the leg or the registration that it is for;
answers challenges; keeps what the other side did wrong in `complaints`. Calls are in `leg.py`,
registering in `registration.py`, requests that stand alone in `standalone.py`.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable

from jackfield.phone.digest import Challenge, authorize, read_challenges
from jackfield.phone.errand import ALLOW, EXTENSIONS, METHODS, Errand
from jackfield.phone.events import (
    Account,
    Address,
    Broken,
    Dial,
    Event,
    Input,
    Output,
    Received,
    Register,
    Send,
    Transmit,
)
from jackfield.phone.judge import faults_of_request, faults_of_response
from jackfield.phone.leg import Leg
from jackfield.phone.message import REASONS, Message, Unreadable, parse, read_addr, read_uri
from jackfield.phone.registration import Registration
from jackfield.phone.standalone import Standalone
from jackfield.phone.transaction import ClientTransaction, ServerTransaction, Timers

REMEMBERED_BRANCHES = 10_000


class Agent:
    """One phone's signalling. `handle` at every input and at `next_deadline()`; nothing else moves it."""

    def __init__(
        self,
        account: Account,
        local: Address,
        rng: random.Random,
        transport: str = "UDP",
        timers: Timers | None = None,
    ) -> None:
        self.account = account
        self.local = local
        self.rng = rng
        self.transport = transport
        self.timers = timers or Timers()
        self.now = 0.0
        self.complaints: list[str] = []
        self.legs: dict[int, Leg] = {}
        self.registration = Registration(self)
        self.standalone = Standalone(self)
        self._out: list[Output] = []
        self._heard_last: Address | None = None
        self._leg_ids = 0
        self._clients: dict[tuple[str, str], tuple[ClientTransaction, Errand]] = {}
        self._servers: dict[tuple[str, str, str], ServerTransaction] = {}
        self._branches: dict[str, str] = {}
        self._challenges: dict[str, Challenge] = {}

    # ------------------------------------------------------------ the two doors

    def handle(self, input: Input, now: float) -> list[Output]:
        """Take one input (None: a deadline is here) and give what is to be sent and told."""
        self.now = now
        match input:
            case Received(data, src):
                self._receive(data, src)
            case Broken(dst):
                self._flow_broke(dst)
            case Register():
                self.registration.start(input)
            case Send():
                self.standalone.send(input)
            case Dial():
                self.legs[input.leg] = leg = Leg(self, input.leg)
                leg.dial(input)
            case None:
                pass
            case _:
                self.legs[input.leg].command(input)
        self._tick()
        out, self._out = self._out, []
        return out

    def next_deadline(self) -> float | None:
        deadlines = [tx.deadline for tx, _ in self._clients.values()]
        deadlines += [tx.deadline for tx in self._servers.values()]
        deadlines += [leg.deadline for leg in self.legs.values()]
        deadlines.append(self.registration.deadline)
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    # ------------------------------------------------------------ what the parts use

    @property
    def reliable(self) -> bool:
        return self.transport != "UDP"

    @property
    def contact_uri(self) -> str:
        host = f"[{self.local[0]}]" if ":" in self.local[0] else self.local[0]
        transport = "" if self.transport == "UDP" else f";transport={self.transport.lower()}"
        return f"sip:{self.account.number}@{host}:{self.local[1]}{transport}"

    @property
    def domain(self) -> str:
        return self.account.domain or (self.account.server or self.local)[0]

    @property
    def address_of_record(self) -> str:
        name = f'"{self.account.name}" ' if self.account.name else ""
        return f"{name}<sip:{self.account.number}@{self.domain}>"

    def busy_with(self, leg: Leg) -> bool:
        """Does a request of this leg still wait for its final answer?"""
        waiting = (tx.request for tx, _ in self._clients.values() if tx.final is None and not tx.over)
        return any(request.call_id == leg.dialog.call_id for request in waiting)

    def new_leg_id(self) -> int:
        self._leg_ids += 1
        return self._leg_ids

    def token(self, bits: int = 48) -> str:
        return f"{self.rng.getrandbits(bits):0{bits // 4}x}"

    def emit(self, event: Event) -> None:
        self._out.append(event)

    def transmit(self, data: bytes, dst: Address) -> None:
        if data:
            self._out.append(Transmit(data, dst))

    def complain(self, *faults: str) -> None:
        self.complaints.extend(faults)

    def uri_of(self, target: str) -> str:
        return target if target.startswith(("sip:", "sips:")) else f"sip:{target}@{self.domain}"

    def where(self, uri: str, routes: Iterable[str] = ()) -> Address:
        """Where a request goes: its first route, else its target.

        What is no address (a name, garbage from the other side) leads to the server, or back to who
        was heard last; ValueError when there is neither.
        """
        try:
            first = next(iter(routes), "")
            aimed = read_uri(read_addr(first).uri if first else uri)
            host = aimed.host.strip("[]")
            ipaddress.ip_address(host)
        except (ValueError, Unreadable):
            instead = self.account.server or self._heard_last
            if instead is None:
                raise ValueError(f"{uri} is no address, and there is no server to ask") from None
            return instead
        return host, aimed.port or (5061 if self.transport == "TLS" else 5060)

    def launch(self, errand: Errand) -> Message:
        """Send an errand's request, in a new transaction with the next CSeq."""
        branch = f"z9hG4bK{self.token()}"
        request = Message(method=errand.method, uri=errand.uri, body=errand.body)
        request.fields = [("Via", f"{self._via};branch={branch};rport"), ("Max-Forwards", "70")]
        request.fields += errand.fields
        cseq = ("CSeq", f"{errand.next_seq()} {errand.method}")
        request.fields.insert([name for name, _ in request.fields].index("Call-ID") + 1, cseq)
        challenge = errand.challenge or self._challenges.get(_family(errand.method))
        if challenge:
            who = self.account
            request.fields.append(
                authorize(challenge, errand.method, errand.uri, who.number, who.password, self.rng)
            )
            errand.tried.add(challenge.nonce)
        request.fields.append(("User-Agent", self.account.user_agent))
        transaction = ClientTransaction(request, errand.dst, self.timers, self.reliable, self.now)
        errand.sent, errand.transaction = request, transaction
        self._clients[branch, errand.method] = (transaction, errand)
        self.transmit(transaction.data, errand.dst)
        return request

    def cancel(self, errand: Errand, fields: Iterable[tuple[str, str]] = ()) -> None:
        """CANCEL a request that has had a provisional answer (RFC 3261 9.1)."""
        sent = errand.sent
        assert sent is not None
        same = [("Via", sent.all("via")[0]), ("Max-Forwards", "70")]
        same += [(name, sent.get(name)) for name in ("From", "To", "Call-ID")]
        same += [("CSeq", f"{sent.cseq.number} CANCEL"), *(("Route", r) for r in sent.all("route")), *fields]
        request = Message(method="CANCEL", uri=sent.uri, fields=same)
        transaction = ClientTransaction(request, errand.dst, self.timers, self.reliable, self.now)
        silent = Errand("CANCEL", sent.uri, errand.dst, [], int, lambda response: None)
        silent.sent, silent.transaction = request, transaction
        self._clients[sent.via.branch, "CANCEL"] = (transaction, silent)
        self.transmit(transaction.data, errand.dst)

    def send_ack(self, uri: str, dst: Address, fields: list[tuple[str, str]], seq: int, body: bytes) -> bytes:
        """The ACK of a 2xx: a request with a branch of its own and without a transaction (13.2.2.4)."""
        head = [("Via", f"{self._via};branch=z9hG4bK{self.token()};rport"), ("Max-Forwards", "70")]
        kind = [("Content-Type", "application/sdp")] if body else []
        ack = Message(method="ACK", uri=uri, body=body)
        ack.fields = [*head, *fields, ("CSeq", f"{seq} ACK"), *kind]
        data = ack.to_bytes()
        self.transmit(data, dst)
        return data

    def respond(
        self,
        transaction: ServerTransaction,
        status: int,
        *,
        tag: str = "",
        reason: str = "",
        fields: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> bytes:
        """Answer a request (8.2.6); `tag` is ours for the To field, a fresh one when there is none."""
        request = transaction.request
        response = Message(status=status, reason=reason or REASONS.get(status, "Unknown"), body=body)
        vias = request.all("via")
        response.fields = [("Via", self._received(vias[0], request, transaction.src))]
        response.fields += [("Via", via) for via in vias[1:]]
        to = request.get("to")
        if not request.to.tag and status > 100:
            to += f";tag={tag or self.token()}"
        response.fields += [("From", request.get("from")), ("To", to), ("Call-ID", request.call_id)]
        response.fields += [("CSeq", request.get("cseq")), *fields]
        response.fields += [("Record-Route", r) for r in request.all("record-route") if 100 < status < 300]
        if body and not any(name == "Content-Type" for name, _ in response.fields):
            response.fields.append(("Content-Type", "application/sdp"))
        data = transaction.answer(response, self.now)
        self.transmit(data, self.back(transaction))
        return data

    def back(self, transaction: ServerTransaction) -> Address:
        """Where responses go (RFC 3261 18.2.2, RFC 3581 4)."""
        via = transaction.request.via
        if self.reliable or "rport" in via.params:
            return transaction.src
        return transaction.src[0], via.port or 5060

    # ------------------------------------------------------------ what comes in

    @property
    def _via(self) -> str:
        host = f"[{self.local[0]}]" if ":" in self.local[0] else self.local[0]
        return f"SIP/2.0/{self.transport} {host}:{self.local[1]}"

    def _received(self, via: str, request: Message, src: Address) -> str:
        if "rport" in request.via.params:
            via = via.replace(";rport", f";rport={src[1]}", 1)
            return f"{via};received={src[0]}"
        return via if request.via.host.strip("[]") == src[0] else f"{via};received={src[0]}"

    def _receive(self, data: bytes, src: Address) -> None:
        if not data.strip(b"\r\n\0 "):
            return  # a keep-alive (RFC 5626 3.5.1)
        try:
            message = parse(data, stream=self.reliable)
            self._heard_last = src
            if message.is_request:
                self._take_request(message, src)
            else:
                self._take_response(message)
        except Unreadable as fault:
            self.complain(f"unreadable message from {src[0]}:{src[1]}: {fault}")

    def _take_response(self, response: Message) -> None:
        found = self._clients.get((response.via.branch, response.cseq.method))
        if found is None:
            self.complain(
                f"{response.status} to {response.cseq.method} that answers nothing we sent (RFC 3261 17.1.3)"
            )
            return
        transaction, errand = found
        self.complain(*faults_of_response(transaction.request, response))
        pass_up, data = transaction.take(response, self.now)
        self.transmit(data, errand.dst)
        if not pass_up:
            return
        if response.status < 200:
            if errand.on_provisional:
                errand.on_provisional(response)
        elif not self._answers_challenge(errand, response):
            errand.on_reply(response)

    def _answers_challenge(self, errand: Errand, response: Message) -> bool:
        if response.status not in (401, 407) or errand.given_up:
            return False
        challenges, faults = read_challenges(response)
        self.complain(*faults)
        if not challenges or not self.account.password:
            return False
        first = challenges[0]
        if errand.tried and not first.stale:
            self._challenges.pop(_family(errand.method), None)
            refused = errand.challenge is not None
            if refused:
                return False  # the same password would be refused again
        if first.nonce in errand.tried:
            self.complain(f"{response.status} offers the nonce again that it refused (RFC 7616 3.3)")
            return False
        errand.challenge = self._challenges[_family(errand.method)] = first
        self.launch(errand)
        return True

    def _take_request(self, request: Message, src: Address) -> None:
        self.complain(*faults_of_request(request))
        via, method = request.via, request.method
        key = (via.branch, f"{via.host}:{via.port}", "INVITE" if method == "ACK" else method)
        transaction = self._servers.get(key)
        if method == "ACK":
            self._take_ack(request, transaction)
        elif transaction is not None:
            again, same = transaction.again(request)
            if not same:
                self.complain(
                    f"{method}: another message with the branch of an earlier one (RFC 3261 8.1.1.7)"
                )
            self.transmit(again, self.back(transaction))
        else:
            self._check_branch(via.branch, method)
            transaction = ServerTransaction(request, src, self.timers, self.reliable)
            self._servers[key] = transaction
            self._dispatch(request, transaction)

    def _check_branch(self, branch: str, method: str) -> None:
        used_by = self._branches.setdefault(branch, method)
        if used_by != method and "CANCEL" not in (used_by, method):
            self.complain(f"{method} uses the branch of an earlier {used_by} (RFC 3261 8.1.1.7)")
        if len(self._branches) > REMEMBERED_BRANCHES:
            self._branches.pop(next(iter(self._branches)))

    def _take_ack(self, ack: Message, transaction: ServerTransaction | None) -> None:
        if transaction is not None and transaction.status >= 300:
            self.complain(*_faults_of_refusal_ack(ack, transaction))
            transaction.ack(self.now)
            return
        if transaction is not None:
            self.complain("the ACK of a 2xx has the INVITE's branch (RFC 3261 13.2.2.4)")
        leg = self._leg_of(ack)
        if leg is None:
            self.complain("ACK for nothing (RFC 3261 13.2.2.4)")
        else:
            leg.take_ack(ack)

    def _dispatch(self, request: Message, transaction: ServerTransaction) -> None:
        """A new request: refuse what we cannot do, else give it to whom it is for (8.2)."""
        unknown = request.options("require") - EXTENSIONS
        if request.method not in METHODS:
            self.respond(transaction, 501, fields=[("Allow", ALLOW)])
        elif unknown and request.method != "CANCEL":
            self.respond(transaction, 420, fields=[("Unsupported", ", ".join(sorted(unknown)))])
        elif request.method == "CANCEL":
            self._take_cancel(request, transaction)
        elif leg := self._leg_of(request):
            leg.take_request(request, transaction)
        elif self.standalone.takes(request, transaction):
            pass
        elif request.to.tag:
            self.complain(
                f"{request.method} inside a dialog that is not ours: {request.to.tag} (RFC 3261 12.2.2)"
            )
            self.respond(transaction, 481)
        elif request.method == "INVITE":
            self._invited(request, transaction)
        else:
            self.standalone.answer(request, transaction)

    def _invited(self, request: Message, transaction: ServerTransaction) -> None:
        leg = Leg(self, self.new_leg_id())
        self.legs[leg.id] = leg
        leg.invited(request, transaction)

    def _take_cancel(self, cancel: Message, transaction: ServerTransaction) -> None:
        via = cancel.via
        invite = self._servers.get((via.branch, f"{via.host}:{via.port}", "INVITE"))
        if invite is None:
            self.complain("CANCEL for nothing: no INVITE has this branch (RFC 3261 9.1)")
            self.respond(transaction, 481)
            return
        for name in ("from", "to", "call-id"):
            if cancel.get(name) != invite.request.get(name):
                self.complain(f"CANCEL: {name} is not the INVITE's (RFC 3261 9.1)")
        if cancel.uri != invite.request.uri or cancel.cseq.number != invite.request.cseq.number:
            self.complain("CANCEL: Request-URI or CSeq is not the INVITE's (RFC 3261 9.1)")
        leg = next((leg for leg in self.legs.values() if leg.invite_transaction is invite), None)
        if leg is not None:
            leg.cancelled(cancel, transaction)
        else:
            self.respond(transaction, 200)

    def _leg_of(self, request: Message) -> Leg | None:
        return next((leg for leg in self.legs.values() if leg.dialog.owns(request)), None)

    def _flow_broke(self, dst: Address) -> None:
        for key, (transaction, errand) in list(self._clients.items()):
            if errand.dst == dst and transaction.final is None:
                del self._clients[key]
                transaction.over = True
                errand.on_reply(None)

    # ------------------------------------------------------------ time

    def _tick(self) -> None:
        for key, (client, errand) in list(self._clients.items()):
            self.transmit(client.tick(self.now), client.dst)
            if client.over:
                self._clients.pop(key, None)
                if client.timed_out:
                    errand.on_reply(None)
        for server_key, server in list(self._servers.items()):
            self.transmit(server.tick(self.now), self.back(server))
            if server.never_acked:
                self.complain(f"our {server.status} to INVITE was never acknowledged (RFC 3261 17.2.1)")
            if server.over:
                del self._servers[server_key]
        for leg in list(self.legs.values()):
            leg.tick()
            if leg.forgotten:
                del self.legs[leg.id]
        self.registration.tick()


def _family(method: str) -> str:
    return "REGISTER" if method == "REGISTER" else "calls"


def _faults_of_refusal_ack(ack: Message, transaction: ServerTransaction) -> list[str]:
    invite = transaction.request
    faults = []
    if ack.uri != invite.uri:
        faults.append("the ACK of a refusal: Request-URI is not the INVITE's (RFC 3261 17.1.1.3)")
    if ack.cseq.number != invite.cseq.number:
        faults.append(
            f"the ACK has CSeq {ack.cseq.number}, the INVITE {invite.cseq.number} (RFC 3261 17.1.1.3)"
        )
    if ack.get("from") != invite.get("from") or ack.call_id != invite.call_id:
        faults.append("the ACK of a refusal: From or Call-ID is not the INVITE's (RFC 3261 17.1.1.3)")
    if not ack.to.tag or f"tag={ack.to.tag}".encode() not in transaction.last:
        faults.append("the ACK of a refusal: To is not the response's (RFC 3261 17.1.1.3)")
    if ack.all("route") != invite.all("route"):
        faults.append("the ACK of a refusal: Route is not the INVITE's (RFC 3261 17.1.1.3)")
    return faults
