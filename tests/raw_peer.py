"""A far end whose every message a test writes by hand: gateways, forking proxies, broken phones.

    fax = RawPeer(house, "10.0.9.9")
    invite = await fax.gets("INVITE")
    fax.answers(invite, 200, body=SDP)
    await fax.gets("ACK")

It does nothing by itself: no 100, no resending, no ACK.
"""

from __future__ import annotations

from collections.abc import Iterable

from jackfield.phone.message import Message, parse
from jackfield.phone.waiting import NotAsTold, Waits
from tests.house import SERVER_SIP, House
from tests.memory_network import Address

Fields = Iterable[tuple[str, str]]


class RawPeer:
    """At `host`, port 5060. Messages that came wait in `inbox` until `gets` takes them."""

    def __init__(self, house: House, host: str, tag: str = "raw") -> None:
        self.house = house
        self.address: Address = (host, 5060)
        self.tag = tag
        self.inbox: list[Message] = []
        self._waits = Waits()
        self._branches = 0
        house.network.attach(self.address, self._receive)
        house.ladder.name(self.address, f"raw {host}", ours=True)

    def _receive(self, data: bytes, src: Address, dst: Address) -> None:
        self.house.ladder.arrived(self.house.loop.time(), src, dst, data)
        self.inbox.append(parse(data))
        self._waits.look()

    async def gets(self, what: str | int, within_s: float = 5.0) -> Message:
        """The oldest message that came with this method, or this status; copies of it are dropped."""

        def found() -> Message | None:
            return next((m for m in self.inbox if what in (m.method, m.status)), None)

        message = await self._waits.until(found, within_s)
        if message is None:
            got = ", ".join(m.first_line for m in self.inbox) or "nothing"
            raise NotAsTold(f"waited {within_s:g} s for {what}, got {got}\n{self.house.ladder}")
        self.inbox = [each for each in self.inbox if each.raw != message.raw]
        return message

    def sends(self, message: Message) -> Message:
        """Send it; give it back."""
        data = message.to_bytes()
        self.house.ladder.sent(self.house.loop.time(), self.address, SERVER_SIP, data)
        self.house.network.send(self.address, SERVER_SIP, data)
        return message

    def answers(
        self, request: Message, status: int, fields: Fields = (), body: bytes = b"", tag: str = ""
    ) -> Message:
        """Send a response; provisional and final ones alike."""
        response = Message(status=status, reason="As Told", body=body)
        to = request.get("to") if request.to.tag else f"{request.get('to')};tag={tag or self.tag}"
        response.fields = [
            *(("Via", via) for via in request.all("via")),
            ("From", request.get("from")),
            ("To", to),
            ("Call-ID", request.call_id),
            ("CSeq", request.get("cseq")),
            ("Contact", f"<sip:{tag or self.tag}@{self.address[0]}>"),
            *fields,
        ]
        response.fields += [("Content-Type", "application/sdp")] if body else []
        return self.sends(response)

    def asks(
        self,
        method: str,
        uri: str,
        from_: str,
        to: str,
        call_id: str,
        cseq: int,
        fields: Fields = (),
        body: bytes = b"",
    ) -> Message:
        """Send a request with a branch of its own."""
        self._branches += 1
        request = Message(method=method, uri=uri, body=body)
        host = self.address[0]
        request.fields = [
            ("Via", f"SIP/2.0/UDP {host};branch=z9hG4bK{self.tag}{self._branches}"),
            ("Max-Forwards", "70"),
            ("From", from_),
            ("To", to),
            ("Call-ID", call_id),
            ("CSeq", f"{cseq} {method}"),
            ("Contact", f"<sip:{self.tag}@{host}>"),
            *fields,
        ]
        request.fields += [("Content-Type", "application/sdp")] if body else []
        return self.sends(request)

    def asks_in_dialog(
        self, invite: Message, method: str, cseq: int, fields: Fields = (), body: bytes = b"", tag: str = ""
    ) -> Message:
        """A request in the dialog that the server's INVITE began."""
        assert invite.contact is not None
        return self.asks(
            method,
            invite.contact.uri,
            f"{invite.get('to')};tag={tag or self.tag}",
            invite.get("from"),
            invite.call_id,
            cseq,
            fields,
            body,
        )

    def acks(self, response: Message, cseq: int) -> Message:
        """The ACK of a 2xx to an INVITE of ours."""
        assert response.contact is not None
        uri, from_, to = response.contact.uri, response.get("from"), response.get("to")
        return self.asks("ACK", uri, from_, to, response.call_id, cseq)


def sdp(host: str, media: str = "audio 30000 RTP/AVP 0 8 101", *lines: str, version: int = 1) -> bytes:
    """A session description with one m-line, or several that are given whole."""
    head = ("v=0", f"o=raw 7 {version} IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0", f"m={media}")
    return "".join(f"{line}\r\n" for line in (*head, *lines)).encode()
