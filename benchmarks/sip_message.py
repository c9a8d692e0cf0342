"""What reading and writing one SIP message costs, in microseconds (best of several rounds).

    python benchmarks/sip_message.py

The message is an INVITE with SDP as a desk phone sends it. "again" reads the same text over and over, as
the messages of one call repeat theirs; "new" reads thousands that differ in branch, tag, Call-ID and callee.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

from sipcore.framing import StreamFramer
from sipcore.message import Request
from sipcore.parser import check, parse

SDP = """v=0
o=- 20518 0 IN IP4 203.0.113.1
s=call
c=IN IP4 203.0.113.1
t=0 0
m=audio 54400 RTP/AVP 0 8 9 101
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:9 G722/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=ptime:20
a=sendrecv
a=rtcp:54401
"""
INVITE = """INVITE sip:+1{n:010}@sip.example.com:5060;transport=udp;user=phone SIP/2.0
Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK-524287-1---{n:016x};rport
Max-Forwards: 70
Contact: <sip:alice@203.0.113.1;transport=udp>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"
To: "Bob Babson" <sip:+1{n:010}@sip.example.com>
From: "Alice Liddell" <sip:alice@sip.example.com>;tag={n:08x}
Call-ID: {n:020x}@203.0.113.1
CSeq: 314159 INVITE
Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO, UPDATE, PRACK, MESSAGE
Supported: replaces, 100rel, timer, norefersub, outbound
Session-Expires: 1800;refresher=uac
Min-SE: 90
Accept: application/sdp
User-Agent: Example Phone T58W/1.4.1
X-Call-Path: branch-office-17;queue=support;priority=normal;language=en
P-Asserted-Identity: "Alice Liddell" <sip:alice@sip.example.com>
Content-Type: application/sdp
Content-Length: {length}

"""


def invite(number: int) -> bytes:
    body = SDP.replace("\n", "\r\n")
    return (INVITE.format(n=number, length=len(body)).replace("\n", "\r\n") + body).encode()


def routing(data: bytes) -> object:
    """What a stack reads of every request."""
    message = parse(data)
    assert isinstance(message, Request)
    return (
        message.via,
        message.from_,
        message.to,
        message.call_id,
        message.cseq,
        message.contacts,
        message.request_uri,
    )


def cost_us(work: Callable[[bytes], object], items: Sequence[bytes]) -> float:
    best = float("inf")
    for _ in range(7):
        gc.collect()
        gc.disable()
        start = time.perf_counter()
        for item in items:
            work(item)
        best = min(best, time.perf_counter() - start)
        gc.enable()
    return best / len(items) * 1e6


def main() -> None:
    again = [invite(1)] * 6000
    new = [invite(number * 7919) for number in range(6000)]
    request = parse(again[0])
    assert isinstance(request, Request)
    headers = [field for field in request.fields() if field[0] != "Content-Length"][:10]
    built = Request("INVITE", request.uri, headers, request.body)
    framer = StreamFramer()
    print(f"message of {len(again[0])} bytes, {len(request.fields())} header fields")
    for what, work, items in (
        ("parse", parse, again),
        ("parse and read what routes it, again", routing, again),
        ("parse and read what routes it, new", routing, new),
        ("parse and check, again", lambda data: check(parse(data)), again),
        ("cut out of a stream", framer.feed, again),
    ):
        print(f"{cost_us(work, items):7.2f} us  {what}")
    for what, make in (
        ("build a request with 10 headers", lambda _: Request("INVITE", "sip:bob@example.com", headers, b"")),
        ("write it", lambda _: built.to_bytes()),
        ("respond", lambda _: request.response(180, to_tag="abcdef")),
        (
            "respond with 4 more headers",
            lambda _: request.response(200, headers=headers[5:9], to_tag="abcdef"),
        ),
        ("respond and write", lambda _: request.response(180, to_tag="abcdef").to_bytes()),
    ):
        print(f"{cost_us(make, again):7.2f} us  {what}")


if __name__ == "__main__":
    main()
