"""A registrar and proxy of a hundred lines, so that phones can be tried with something between them.

Digest by every algorithm of RFC 8760, stateless forwarding (RFC 3261 16.11) and nothing else.
`faults` makes it misbehave on purpose.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from jackfield.phone.message import Message, parse, read_addr, read_uri

Address = tuple[str, int]
HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}


class CornerExchange:
    """`send(data, dst)` is its way out; give what arrives to `receive`."""

    def __init__(
        self, local: Address, send: Callable[[bytes, Address], None], passwords: dict[str, str]
    ) -> None:
        self.algorithms = ["SHA-256", "MD5"]
        self.granted_s = 120
        self.answers: dict[str, int] = {}
        """a method -> the status to answer it with, instead of forwarding"""
        self.requests: list[Message] = []
        self.bindings: dict[str, tuple[str, Address]] = {}
        self.nonce = "n1"
        self.min_expires_s = 0
        self._local = local
        self._send = send
        self._passwords = passwords

    def receive(self, data: bytes, src: Address) -> None:
        message = parse(data)
        if message.is_request:
            self.requests.append(message)
            self._request(message, src)
        else:
            self._forward_response(message)

    def _request(self, request: Message, src: Address) -> None:
        if request.method in self.answers:
            if request.method != "ACK":
                self._answer(request, src, self.answers[request.method])
        elif request.method == "REGISTER":
            self._register(request, src)
        else:
            self._forward(request, src)

    def _register(self, request: Message, src: Address) -> None:
        number = read_uri(request.to.uri).user
        if not request.get("authorization"):
            self._answer(request, src, 401, self._challenges())
        elif not self._is_right(request, number):
            self._answer(request, src, 403)
        elif 0 < int(request.get("expires")) < self.min_expires_s:
            self._answer(request, src, 423, [("Min-Expires", str(self.min_expires_s))])
        else:
            self._bind(request, src, number)

    def _bind(self, request: Message, src: Address, number: str) -> None:
        contacts = [read_addr(value).uri for value in request.all("contact") if value != "*"]
        if request.get("expires") == "0":
            self.bindings.pop(number, None)
            contacts = []
        else:
            self.bindings[number] = (contacts[0], src)
        listed = [("Contact", f"<{uri}>;expires={self.granted_s}") for uri in contacts]
        self._answer(request, src, 200, listed)

    def _challenges(self) -> list[tuple[str, str]]:
        value = 'Digest realm="corner", nonce="{}", qop="auth", algorithm={}'
        return [("WWW-Authenticate", value.format(self.nonce, name)) for name in self.algorithms]

    def _is_right(self, request: Message, number: str) -> bool:
        told = dict(re.findall(r'(\w+)="?([^",]+)', request.get("authorization").removeprefix("Digest ")))

        def h(text: str) -> str:
            return hashlib.new(HASHES[told["algorithm"]], text.encode()).hexdigest()

        ha1 = h(f"{number}:corner:{self._passwords.get(number)}")
        ha2 = h(f"REGISTER:{told['uri']}")
        wanted = h(f"{ha1}:{self.nonce}:{told['nc']}:{told['cnonce']}:auth:{ha2}")
        return bool(told["response"] == wanted) and told["nonce"] == self.nonce

    def _forward(self, request: Message, src: Address) -> None:
        binding = self.bindings.get(read_uri(request.uri).user)
        if binding is None:
            self._answer(request, src, 404)
            return
        branch = hashlib.md5(request.via.branch.encode()).hexdigest()
        own = f"SIP/2.0/UDP {self._local[0]}:{self._local[1]};branch=z9hG4bK{branch}"
        fields = [
            ("Via", _filled(value, src) if n == 0 else value) for n, value in enumerate(request.all("via"))
        ]
        rest = [(name, value) for name, value in request.fields if name.lower() != "via"]
        forwarded = Message(method=request.method, uri=binding[0], body=request.body)
        forwarded.fields = [("Via", own), *fields, *rest]
        self._send(forwarded.to_bytes(), binding[1])

    def _forward_response(self, response: Message) -> None:
        vias = response.all("via")[1:]
        rest = [(name, value) for name, value in response.fields if name.lower() != "via"]
        back = Message(status=response.status, reason=response.reason, body=response.body)
        back.fields = [*(("Via", via) for via in vias), *rest]
        via = back.via
        self._send(back.to_bytes(), (via.params["received"] or "", int(via.params["rport"] or 0)))

    def _answer(
        self, request: Message, src: Address, status: int, fields: list[tuple[str, str]] | None = None
    ) -> None:
        response = Message(status=status, reason="As You Wish")
        response.fields = [("Via", _filled(request.all("via")[0], src)), ("From", request.get("from"))]
        response.fields += [("To", f"{request.get('to')};tag=corner"), ("Call-ID", request.call_id)]
        response.fields += [("CSeq", request.get("cseq")), *(fields or [])]
        self._send(response.to_bytes(), src)


def _filled(via: str, src: Address) -> str:
    return via.replace(";rport", f";rport={src[1]};received={src[0]}")
