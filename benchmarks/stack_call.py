"""What one call through a B2BUA costs in the SIP stack: microseconds of CPU and where they go.

A caller calls in, a second leg is placed to a callee, who rings and answers; the caller hangs up. That is
14 messages: INVITE, 100, 180, 200, ACK, BYE and 200 on either side. What the peers say
is written outside the measured time.

    python benchmarks/stack_call.py [--calls 5000] [--linger] [--profile]

`--linger` leaves every transaction of earlier calls alive, as under steady load.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import random
import time

from sipcore.events import Answer, Answered, HangUp, IncomingCall, Invite, Progress, Received, Tick, Transmit
from sipcore.flow import Flow, Transport
from sipcore.settings import Local, StackSettings
from sipcore.stack import Stack

BATCH = 20
CALLER = Flow(Transport.UDP, ("192.0.2.1", 5060), ("192.0.2.10", 5060))
CALLEE = Flow(Transport.UDP, ("192.0.2.1", 5060), ("192.0.2.20", 5060))
SDP = b"\r\n".join(
    [
        b"v=0",
        b"o=- 3948829 3948829 IN IP4 192.0.2.10",
        b"s=call",
        b"c=IN IP4 192.0.2.10",
        b"t=0 0",
        b"m=audio 49170 RTP/AVP 8 0 9 101",
        b"a=rtpmap:8 PCMA/8000",
        b"a=rtpmap:0 PCMU/8000",
        b"a=rtpmap:9 G722/8000",
        b"a=rtpmap:101 telephone-event/8000",
        b"a=fmtp:101 0-16",
        b"a=ptime:20",
        b"a=sendrecv",
        b"",
    ]
)
ABLE = (
    "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK, INFO, REFER, NOTIFY\r\n"
    "Supported: timer, 100rel, replaces\r\n"
    "User-Agent: Deskphone 7.4.1 0004f2abcdef\r\n"
)


class Clocked:
    """Adds up the CPU time of `handle` alone."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.spent_ns = 0

    def handle(self, what, now):
        began = time.perf_counter_ns()
        out = self.stack.handle(what, now)
        self.spent_ns += time.perf_counter_ns() - began
        return out


def caller_request(method: str, call: int, cseq: int, to: str, branch: str, body: bytes = b"") -> bytes:
    content = "Content-Type: application/sdp\r\n" if body else ""
    head = (
        f"{method} sip:200@192.0.2.1 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK{branch}{call};rport\r\n"
        f"Max-Forwards: 70\r\n"
        f'From: "Alice" <sip:100@example.com>;tag=a{call}\r\n'
        f"To: <sip:200@example.com>{to}\r\n"
        f"Call-ID: {call}-0f3a2@192.0.2.10\r\n"
        f"CSeq: {cseq} {method}\r\n"
        f"Contact: <sip:100@192.0.2.10:5060>\r\n"
        f"{ABLE}{content}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def callee_response(request: bytes, status: str, tag: str, body: bytes = b"") -> bytes:
    """What a phone answers to our request: its Via, From, To, Call-ID and CSeq echoed."""
    lines = request.split(b"\r\n\r\n", 1)[0].decode().split("\r\n")[1:]
    kept = [line for line in lines if line.split(":")[0] in ("Via", "From", "To", "Call-ID", "CSeq")]
    kept = [line if not line.startswith("To:") or "tag=" in line else f"{line};tag={tag}" for line in kept]
    content = "Content-Type: application/sdp\r\n" if body else ""
    head = "\r\n".join([f"SIP/2.0 {status}", *kept])
    head += f"\r\nContact: <sip:200@192.0.2.20:5060>\r\n{ABLE}{content}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def sent(out: list[object], beginning: bytes) -> bytes:
    return next(o.data for o in out if isinstance(o, Transmit) and o.data.startswith(beginning))


def tag_of(message: bytes) -> str:
    to = next(line for line in message.decode().split("\r\n") if line.startswith("To:"))
    return to.partition(";tag=")[2]


def call_through(clocked: Clocked, call: int, now: float) -> None:
    """One whole call."""
    handle, stack = clocked.handle, clocked.stack
    out = handle(Received(caller_request("INVITE", call, 1, "", "i", SDP), CALLER), now)
    incoming = next(o for o in out if isinstance(o, IncomingCall)).dialog
    outgoing = stack.new_id()
    out = handle(
        Invite(
            dialog=outgoing,
            uri="sip:200@192.0.2.20:5060",
            from_='"Alice" <sip:100@example.com>',
            to="<sip:200@example.com>",
            flow=CALLEE,
            body=SDP,
        ),
        now,
    )
    invite = sent(out, b"INVITE")
    handle(Received(callee_response(invite, "100 Trying", ""), CALLEE), now)
    handle(Received(callee_response(invite, "180 Ringing", f"b{call}"), CALLEE), now)
    handle(Progress(dialog=incoming, status=180), now)
    out = handle(Received(callee_response(invite, "200 OK", f"b{call}", SDP), CALLEE), now)
    assert any(isinstance(o, Answered) for o in out)
    out = handle(Answer(dialog=incoming, body=SDP), now)
    tag = tag_of(sent(out, b"SIP/2.0 200"))
    handle(Received(caller_request("ACK", call, 1, f";tag={tag}", "k"), CALLER), now)
    handle(Received(caller_request("BYE", call, 2, f";tag={tag}", "b"), CALLER), now)
    bye = sent(handle(HangUp(dialog=outgoing), now), b"BYE")
    handle(Received(callee_response(bye, "200 OK", ""), CALLEE), now)


def new_stack() -> Stack:
    settings = StackSettings(
        locals=(Local(Transport.UDP, "192.0.2.1", 5060),), strict=True, server_name="Jackfield"
    )
    return Stack(settings, random.Random(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--linger", action="store_true")
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    clocked = Clocked(new_stack())
    for call in range(200):
        call_through(clocked, -call - 1, 0.0)
    clocked.spent_ns = 0
    gc.collect()
    gc.disable()
    profile = cProfile.Profile()
    step_s = 0.0002 if asked.linger else 0.1
    now = 1.0
    if asked.profile:
        profile.enable()
    batches: list[float] = []
    for call in range(asked.calls):
        now += step_s
        call_through(clocked, call, now)
        if call % BATCH == BATCH - 1:
            batches.append(clocked.spent_ns / BATCH / 1000)
            clocked.spent_ns = 0
    profile.disable()
    garbage = gc.collect()
    batches.sort()
    print(f"us per call (14 messages): best {batches[0]:.1f}, median {batches[len(batches) // 2]:.1f}")
    print(f"({asked.calls} calls in batches of {BATCH}; the best is what an undisturbed machine gives)")
    print(f"left: {clocked.stack.counts()}")
    clocked.handle(Tick(), now + 100)
    print(f"after the timers: {clocked.stack.counts()}; objects in cycles: {garbage}")
    if asked.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)


if __name__ == "__main__":
    main()
