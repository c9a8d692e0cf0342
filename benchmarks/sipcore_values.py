"""What the pure parts of `sipcore` cost, in microseconds of CPU: `python benchmarks/sipcore_values.py`.

SDP of a desk phone with four codecs, digest with MD5 and SHA-256, a REGISTER refreshed. Each figure is the
best of seven rounds; what is measured is prepared outside the measured time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

from sipcore.digest import DigestCredentials, DigestServer, digest_response, ha1
from sipcore.flow import Flow, Transport
from sipcore.message import Request
from sipcore.parser import parse
from sipcore.registrar import Limits, register
from sipcore.sdp import LocalStream, Origin, parse_sdp, relayed

T = TypeVar("T")
ROUNDS = 7
TIMES = 5000
REALM = "pbx.example.com"
URI = f"sip:{REALM}"
SDP = (
    b"v=0\r\no=- 3948829 3948829 IN IP4 192.0.2.10\r\ns=call\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n"
    b"m=audio 49170 RTP/AVP 8 0 9 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"
    b"a=rtpmap:9 G722/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n"
    b"a=sendrecv\r\n"
)


class StoredSecret(msgspec.Struct, frozen=True):
    md5: str
    sha256: str
    sha512_256: str


SECRET = StoredSecret(*ha1("1001", REALM, "secret"))
HA1 = {"MD5": SECRET.md5, "SHA-256": SECRET.sha256}


def measure(name: str, work: Callable[[T], object], make: Callable[[], T]) -> None:
    """Print what `work` costs on things that `make` prepares."""
    best_s = float("inf")
    for _ in range(ROUNDS):
        things = [make() for _ in range(TIMES)]
        start_s = time.process_time()
        for thing in things:
            work(thing)
        best_s = min(best_s, time.process_time() - start_s)
    print(f"{name:32} {best_s / TIMES * 1e6:6.2f} us")


def authorization(server: DigestServer, algorithm: str) -> str:
    nonce = re.findall('nonce="([^"]*)"', server.challenge(REALM, 1.0)[0])[0]
    use = ("00000001", "0a4f113b9c7e", "auth")
    response = digest_response(algorithm, HA1[algorithm], nonce, use, "REGISTER", URI)
    return (
        f'Digest username="1001", realm="{REALM}", nonce="{nonce}", uri="{URI}", response="{response}", '
        f'algorithm={algorithm}, qop=auth, nc=00000001, cnonce="0a4f113b9c7e"'
    )


def registers() -> Iterator[bytes]:
    for cseq in range(1, 2**31):
        yield (
            f"REGISTER {URI} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK{cseq};rport\r\n"
            "Max-Forwards: 70\r\n"
            f"From: <sip:1001@{REALM}>;tag=a{cseq}\r\n"
            f"To: <sip:1001@{REALM}>\r\n"
            "Call-ID: 5f2c0e@192.0.2.7\r\n"
            f"CSeq: {cseq} REGISTER\r\n"
            "Contact: <sip:1001@192.0.2.7:5060;transport=udp>;expires=300\r\n"
            "User-Agent: Deskphone 7.4.1\r\n"
            "Content-Length: 0\r\n\r\n"
        ).encode()


def measure_sdp() -> None:
    sdp = parse_sdp(SDP)
    local, origin = [LocalStream("198.51.100.1", 20000)], Origin("jackfield", 1, 1, "198.51.100.1")
    measure("parse_sdp", parse_sdp, lambda: SDP)
    measure("parse_sdp, codecs", lambda body: parse_sdp(body).streams[0].codecs, lambda: SDP)
    measure("relayed", lambda each: relayed(each, local, origin), lambda: sdp)
    measure("relayed, to_bytes", lambda each: relayed(each, local, origin).to_bytes(), lambda: sdp)
    measure("to_bytes", lambda each: each.to_bytes(), lambda: sdp)


def measure_digest() -> None:
    server = DigestServer(b"k" * 32, now=0.0)
    measure("challenge", lambda realm: server.challenge(realm, 1.0), lambda: REALM)
    measure("read", lambda value: server.read([value], REALM), lambda: authorization(server, "MD5"))

    def claim(algorithm: str) -> DigestCredentials:
        credentials = server.read([authorization(server, algorithm)], REALM)
        assert credentials is not None
        return credentials

    for algorithm in HA1:
        measure(
            f"check {algorithm}",
            lambda each: server.check(each, "REGISTER", URI, REALM, SECRET, 1.0),
            lambda algorithm=algorithm: claim(algorithm),  # type: ignore[misc]
        )
    measure(
        "check, nobody of that name",
        lambda each: server.check(each, "REGISTER", URI, REALM, None, 1.0),
        lambda: claim("MD5"),
    )


def measure_registrar() -> None:
    flow = Flow(Transport.UDP, ("198.51.100.1", 5060), ("192.0.2.7", 5060))
    limits = Limits()
    coming = registers()

    def next_request() -> Request:
        request = parse(next(coming))
        assert isinstance(request, Request)
        return request

    first = register(next_request(), flow, (), limits, 1000.0).bindings
    measure("register, first", lambda each: register(each, flow, (), limits, 1000.0), next_request)
    measure("register, refresh", lambda each: register(each, flow, first, limits, 1100.0), next_request)


if __name__ == "__main__":
    measure_sdp()
    measure_digest()
    measure_registrar()
