"""The phone's SIP core: bytes, commands and deadlines in, bytes and events out (RFC 3261 section 8).

Routes messages to transactions, and what they pass up to the leg or the registration that it is for.
What leaves is written in `outbox.py`; calls are in `leg.py`, registering in `registration.py`, requests
that stand alone in `standalone.py`.
"""

from __future__ import annotations

import random

from jackfield.phone.errand import ALLOW, EXTENSIONS, METHODS
from jackfield.phone.events import (
    Account,
    Address,
    Broken,
    Dial,
    Input,
    Output,
    Received,
    Register,
    Send,
)
from jackfield.phone.judge import (
    faults_of_cancel,
    faults_of_refusal_ack,
    faults_of_request,
    faults_of_response,
)
from jackfield.phone.leg import Leg
from jackfield.phone.message import Message, Unreadable, parse
from jackfield.phone.outbox import Outbox
from jackfield.phone.registration import Registration
from jackfield.phone.standalone import Standalone
from jackfield.phone.transaction import ServerTransaction, Timers

REMEMBERED_BRANCHES = 10_000


class Agent(Outbox):
    """One phone's signalling. `handle` at every input and at `next_deadline()`; nothing else moves it."""

    def __init__(
        self,
        account: Account,
        local: Address,
        rng: random.Random,
        transport: str = "UDP",
        timers: Timers | None = None,
    ) -> None:
        super().__init__(account, local, rng, transport, timers or Timers())
        self.legs: dict[int, Leg] = {}
        self.registration = Registration(self)
        self.standalone = Standalone(self)
        self._leg_ids = 0
        self._servers: dict[tuple[str, str, str], ServerTransaction] = {}
        self._branches: dict[str, str] = {}

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

    def busy_with(self, leg: Leg) -> bool:
        """Does a request of this leg still wait for its final answer?"""
        waiting = (tx.request for tx, _ in self._clients.values() if tx.final is None and not tx.over)
        return any(request.call_id == leg.dialog.call_id for request in waiting)

    def new_leg_id(self) -> int:
        self._leg_ids += 1
        return self._leg_ids

    # ------------------------------------------------------------ what comes in

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
        elif not self.answers_challenge(errand, response):
            errand.on_reply(response)

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
            self.complain(*faults_of_refusal_ack(ack, transaction.request, transaction.last))
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
        self.complain(*faults_of_cancel(cancel, invite.request))
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
