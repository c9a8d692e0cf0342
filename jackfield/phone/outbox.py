"""Whatever leaves the phone: requests with their branch, CSeq and credentials; responses; ACK and CANCEL.

Every message is written here (RFC 3261 8.1.1, 8.2.6, 9.1, 13.2.2.4, 18.2.2). Keeps the client
transactions and the challenges that were answered, and what the other side did wrong, in `complaints`.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable

from jackfield.phone.digest import Challenge, authorize, read_challenges
from jackfield.phone.errand import Errand
from jackfield.phone.events import Account, Address, Event, Output, Transmit
from jackfield.phone.message import REASONS, Message, Unreadable, read_addr, read_uri
from jackfield.phone.transaction import ClientTransaction, ServerTransaction, Timers


class Outbox:
    def __init__(
        self, account: Account, local: Address, rng: random.Random, transport: str, timers: Timers
    ) -> None:
        self.account = account
        self.local = local
        self.rng = rng
        self.transport = transport
        self.timers = timers
        self.now = 0.0
        self.complaints: list[str] = []
        self._out: list[Output] = []
        self._heard_last: Address | None = None
        self._clients: dict[tuple[str, str], tuple[ClientTransaction, Errand]] = {}
        self._challenges: dict[str, Challenge] = {}

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
        assert errand.transaction is not None
        errand.transaction.cancelled(self.now)
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

    def answers_challenge(self, errand: Errand, response: Message) -> bool:
        """A 401 or 407: is the request on its way again with credentials?"""
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

    @property
    def _via(self) -> str:
        host = f"[{self.local[0]}]" if ":" in self.local[0] else self.local[0]
        return f"SIP/2.0/{self.transport} {host}:{self.local[1]}"

    def _received(self, via: str, request: Message, src: Address) -> str:
        if "rport" in request.via.params:
            via = via.replace(";rport", f";rport={src[1]}", 1)
            return f"{via};received={src[0]}"
        return via if request.via.host.strip("[]") == src[0] else f"{via};received={src[0]}"


def _family(method: str) -> str:
    return "REGISTER" if method == "REGISTER" else "calls"
