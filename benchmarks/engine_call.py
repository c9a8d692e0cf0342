"""What one call costs in the whole engine, without sockets: stack, switchboard, SDP, media commands, memo.

The same 14 messages as `stack_call.py`, from a trunk that is known by its address to an extension with a
fixed contact. What the peers say is written outside the measured time.

    python benchmarks/engine_call.py [--calls 5000] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import ipaddress
import pstats
import random
import time
from types import MappingProxyType

from benchmarks.stack_call import CALLEE, CALLER, SDP, callee_response, caller_request, tag_of
from conf.settings import Settings
from conf.snapshot import Extension, Secret, Snapshot, Tenant, TenantId, Trunk
from jackfield.engine import Engine
from jackfield.wiring import build_engine
from media.client import pack
from sipcore.events import Received

NOBODY = Secret("", "", "")
TENANT = Tenant(TenantId(1), "bench", "192.0.2.1")
SNAPSHOT = Snapshot(
    1,
    MappingProxyType({TENANT.id: TENANT}),
    {"192.0.2.1": TENANT.id},
    TENANT.id,
    {(TENANT.id, "200"): Extension(TENANT.id, "200", "Bob", NOBODY, contact="sip:200@192.0.2.20:5060")},
    {},
    (Trunk(TENANT.id, "load", (ipaddress.ip_network("192.0.2.10/32"),)),),
)


class Hosts:
    def media_host(self, flow, uri):
        return "192.0.2.1"

    def bind_host(self, host):
        return host


class Edge:
    """Takes what leaves the engine: packs media's frames, as the real edge does, and keeps the messages."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.media_bytes = 0

    def transmit(self, message) -> None:
        self.sent.append(message.data)

    def to_media(self, commands) -> None:
        self.media_bytes += len(pack(commands))

    def refuse(self, what) -> None:
        raise AssertionError(what)

    resolve = keep = start_app = tell_app = alias = target_failed = peer_broke = crashed = refuse

    def take(self, beginning: bytes) -> bytes:
        sent, self.sent = self.sent, []
        return next(data for data in sent if data.startswith(beginning))


class Clocked:
    """Adds up the CPU time of the engine alone."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.spent_ns = 0

    def hears(self, data: bytes, flow, now: float) -> None:
        began = time.thread_time_ns()
        self.engine.handle(Received(data, flow), now)
        self.spent_ns += time.thread_time_ns() - began


def call_through(clocked: Clocked, edge: Edge, call: int, now: float) -> None:
    """One whole call."""
    clocked.hears(caller_request("INVITE", call, 1, "", "i", SDP), CALLER, now)
    invite = edge.take(b"INVITE")
    clocked.hears(callee_response(invite, "100 Trying", ""), CALLEE, now)
    clocked.hears(callee_response(invite, "180 Ringing", f"b{call}"), CALLEE, now)
    clocked.hears(callee_response(invite, "200 OK", f"b{call}", SDP), CALLEE, now)
    tag = tag_of(edge.take(b"SIP/2.0 200"))
    clocked.hears(caller_request("ACK", call, 1, f";tag={tag}", "k"), CALLER, now)
    clocked.hears(caller_request("BYE", call, 2, f";tag={tag}", "b"), CALLER, now)
    clocked.hears(callee_response(edge.take(b"BYE"), "200 OK", ""), CALLEE, now)


def new_engine(edge: Edge) -> Engine:
    return build_engine(
        Settings(),
        SNAPSHOT,
        edge,
        random=random.Random(1),
        source_for=lambda transport, remote: ("192.0.2.1", 5060),
        hosts=Hosts(),
        nonce_key=b"sixteen bytes at least",
        now=0.0,
        wall_offset=1e9,
        strict=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    edge = Edge()
    clocked = Clocked(new_engine(edge))
    for call in range(200):
        call_through(clocked, edge, -call - 1, 0.0)
    clocked.spent_ns = 0
    gc.collect()
    gc.freeze()
    gc.disable()
    profile = cProfile.Profile()
    now = 1.0
    if asked.profile:
        profile.enable()
    for call in range(asked.calls):
        now += 0.005
        call_through(clocked, edge, call, now)
    profile.disable()
    garbage = gc.collect()
    engine = clocked.engine
    print(f"{clocked.spent_ns / asked.calls / 1000:.1f} us per call (14 messages), {asked.calls} calls")
    print(f"media: {edge.media_bytes / (asked.calls + 200):.0f} bytes of commands per call")
    engine.tick(now + 100)
    counts = {**engine.stack.counts(), **engine.switchboard.counts()}
    left = {name: n for name, n in counts.items() if n and name != "reports"}  # media is not here to report
    print(f"left after the timers: {left}; objects in cycles: {garbage}")
    if asked.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(60)


if __name__ == "__main__":
    main()
