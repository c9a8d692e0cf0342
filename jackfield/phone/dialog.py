"""A dialog as one end keeps it (RFC 3261 section 12): tags, sequence numbers, target, routes.

Serves calls and subscriptions alike, builds the fields that every request inside carries, and says
what is wrong with a request of the other side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from jackfield.phone.message import Message, Unreadable, read_addr, read_uri


@dataclass(slots=True)
class Dialog:
    """`local` and `remote` are From/To values without their tags."""

    call_id: str
    local: str
    remote: str
    local_tag: str
    remote_tag: str = ""
    target: str = ""
    routes: list[str] = field(default_factory=list)
    local_seq: int = 0
    remote_seq: int | None = None

    @classmethod
    def of_request(cls, request: Message, local_tag: str) -> Dialog:
        """The callee's end of the dialog that `request` opens (12.1.1)."""
        to, from_ = request.get("to"), request.get("from")
        contact = request.contact
        return cls(
            request.call_id,
            _without_tag(to),
            _without_tag(from_),
            local_tag,
            request.from_.tag,
            contact.uri if contact else request.from_.uri,
            request.all("record-route"),
            0,
            request.cseq.number,
        )

    def learn(self, response: Message) -> None:
        """What a response that opens or refreshes the dialog tells the caller's end (12.1.2)."""
        self.remote_tag = response.to.tag
        self.retarget(response)
        self.routes = list(reversed(response.all("record-route")))

    def retarget(self, message: Message) -> None:
        """A target refresh (12.2.1.2, 12.2.2): the route set stays."""
        if message.contact is not None:
            self.target = message.contact.uri

    def next_seq(self) -> int:
        self.local_seq += 1
        return self.local_seq

    def fields(self) -> list[tuple[str, str]]:
        """Route, From, To and Call-ID of a request inside the dialog (12.2.1.1)."""
        to = f"{self.remote};tag={self.remote_tag}" if self.remote_tag else self.remote
        routes = [("Route", route) for route in self.routes]
        return [
            *routes,
            ("From", f"{self.local};tag={self.local_tag}"),
            ("To", to),
            ("Call-ID", self.call_id),
        ]

    def owns(self, message: Message) -> bool:
        """Does this request of the other side belong to the dialog?"""
        return (
            message.call_id == self.call_id
            and message.to.tag == self.local_tag
            and (not self.remote_tag or message.from_.tag == self.remote_tag)
        )

    def take(self, request: Message, contact_uri: str) -> Iterator[str]:
        """Note a request's sequence number and say what is wrong with it (12.2.2)."""
        method, number = request.method, request.cseq.number
        if self.remote_seq is not None and number <= self.remote_seq:
            yield f"{method}: CSeq {number} after {self.remote_seq} (RFC 3261 12.2.1.1)"
        self.remote_seq = max(number, self.remote_seq or 0)
        yield from self.faults_of_addressing(request, contact_uri)

    def faults_of_addressing(self, request: Message, contact_uri: str) -> Iterator[str]:
        method = request.method
        try:
            aimed = read_uri(request.uri)
            if not aimed.same_as(read_uri(contact_uri)):
                yield f"{method}: sent to {request.uri}, our Contact is {contact_uri} (RFC 3261 12.2.1.1)"
            for route in request.all("route"):
                if not read_uri(read_addr(route).uri).same_as(read_uri(contact_uri)):
                    yield f"{method}: Route {route} was not used up on the way (RFC 3261 12.2.1.1, 16.4)"
        except Unreadable as fault:
            yield f"{method}: {fault}"
        for name, ours in (("to", self.local), ("from", self.remote)):
            if read_addr(request.get(name)).uri != read_addr(ours).uri:
                yield f"{method}: {name} was {ours} when the dialog began (RFC 3261 12.2.1.1)"


def _without_tag(value: str) -> str:
    address = read_addr(value)
    name = f'"{address.name}" ' if address.name else ""
    params = "".join(f";{k}" if v is None else f";{k}={v}" for k, v in address.params.items() if k != "tag")
    return f"{name}<{address.uri}>{params}"
