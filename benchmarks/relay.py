"""What relaying an RTP packet costs, and how late it comes out: `python benchmarks/relay.py --calls 400`.

Media runs on CPU 1, the load on CPU 0: PCMU, 20 ms, both ways. CPU is user + system time of the media
process, background work included; a packet counts once, received and sent on. One-way time is from before
the sender's system call to the kernel's receive time stamp. `bare` is a relay of nothing but recvfrom and
sendto, measured in the same run: the floor of this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from media._core import load_peer
from media.client import MediaClient
from media.messages import Event, Hear, Negotiated, OpenPort, Payload

HOST = "127.0.0.1"
MEDIA_PORT = 20000
BARE_PORT = 10000
PCMU = (Payload(0, "pcmu", 8000),)
PRIORITY: list[str] = []
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """How packets came through one relay."""

    cpu_us_per_packet: float
    cpu_pct: float
    """of one core"""
    one_way_p50_us: float
    one_way_p99_us: float
    one_way_p999_us: float
    lost_pct: float
    load_late_ms: float
    """the load's own worst delay: above a few milliseconds the one-way times mean little"""

    def __str__(self) -> str:
        return (
            f"{self.cpu_us_per_packet:5.2f} us per packet, {self.cpu_pct:5.1f} % of a core, "
            f"one way p50 {self.one_way_p50_us:.0f} us, p99 {self.one_way_p99_us:.0f} us, "
            f"p99.9 {self.one_way_p999_us:.0f} us, loss {self.lost_pct:.3f} %, "
            f"load late {self.load_late_ms:.1f} ms"
        )


class RelayStep(msgspec.Struct, frozen=True, kw_only=True):
    """One number of calls: the media process, and in turn with it the bare relay."""

    calls: int
    kib_per_call: float
    media: Passage
    bare: Passage
    media_to_bare: float
    """CPU per packet: median over the runs"""


def cpu_s(pid: int) -> float:
    """User + system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def anonymous_kib(pid: int) -> int:
    """Memory that is the process's own."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1])
    return 0


def use_realtime_priority() -> None:
    """For all processes that are started from now on."""
    PRIORITY.extend(["chrt", "-f", "10"])


def pinned(cpu: int, *command: str) -> list[str]:
    return [*PRIORITY, "taskset", "-c", str(cpu), sys.executable, *command]


@contextlib.asynccontextmanager
async def media_server(ports: int) -> AsyncIterator[tuple[int, MediaClient, list[Event]]]:
    """A media process with room for `ports`: its pid, a client, and what the client is told."""
    events: list[Event] = []
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/media.sock"
        last = MEDIA_PORT + 2 * ports
        process = subprocess.Popen(
            pinned(1, "-m", "media", "--socket", path, "--ports", f"{MEDIA_PORT}-{last}", "--workers", "1")
        )
        client = MediaClient(path, events.extend, lambda _: None)
        try:
            await client.connect()
            yield process.pid, client, events
        finally:
            await client.close()
            process.send_signal(signal.SIGTERM)
            process.wait()


@contextlib.asynccontextmanager
async def media_process(ports: int) -> AsyncIterator[tuple[int, float]]:
    """A media process with `ports` open and joined in pairs: its pid, and its KiB per call."""
    async with media_server(ports) as (pid, client, events):
        idle_kib = anonymous_kib(pid)
        for n in range(ports):
            host, port = load_peer(n)
            client.send(OpenPort(n, n // 2, HOST, MEDIA_PORT + 2 * n))
            client.send(Negotiated(n, host, port, port + 1, True, True, PCMU, PCMU))
        for n in range(ports):
            client.send(Hear(n, n ^ 1))
        await pause(0.5)
        if events:
            raise SystemExit(f"media refused: {events[0]}")
        yield pid, round((anonymous_kib(pid) - idle_kib) / (ports / 2), 1)


@contextlib.asynccontextmanager
async def bare_process(ports: int) -> AsyncIterator[int]:
    process = subprocess.Popen(
        pinned(1, "-c", f"from media._core import bare_relay; bare_relay({BARE_PORT}, {ports})")
    )
    try:
        await pause(0.5)
        yield process.pid
    finally:
        process.kill()
        process.wait()


async def pause(seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), seconds)


async def measure(pid: int, first_port: int, ports: int, seconds: float) -> Passage:
    load = f"from media._core import rtp_load; print(*rtp_load({first_port}, {ports}, {seconds}))"
    before = cpu_s(pid)
    process = await asyncio.create_subprocess_exec(*pinned(0, "-c", load), stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    used = cpu_s(pid) - before
    _, received, counted, counted_received, p50, p99, p999, late = map(float, output.split())
    return Passage(
        cpu_us_per_packet=round(used * 1e6 / max(received, 1), 2),
        cpu_pct=round(100 * used / (seconds + 1), 1),
        one_way_p50_us=p50,
        one_way_p99_us=p99,
        one_way_p999_us=p999,
        lost_pct=round(100 * (counted - counted_received) / counted, 3),
        load_late_ms=round(late, 1),
    )


async def compare(calls: int, seconds: float, runs: int) -> RelayStep:
    """Measure both in turn, so that what others do to the machine meanwhile meets both; the best of each."""
    ports = 2 * calls
    print(f"{calls} calls, {100 * calls} packets/s, best of {runs}")
    async with media_process(ports) as (media, kib_per_call), bare_process(ports) as bare:
        results: list[tuple[Passage, Passage]] = []
        for _ in range(runs):
            of_media = await measure(media, MEDIA_PORT, ports, seconds)
            results.append((of_media, await measure(bare, BARE_PORT, ports, seconds)))
    step = RelayStep(
        calls=calls,
        kib_per_call=kib_per_call,
        media=min((of_media for of_media, _ in results), key=_cost),
        bare=min((of_bare for _, of_bare in results), key=_cost),
        media_to_bare=round(statistics.median(_cost(media) / _cost(bare) for media, bare in results), 2),
    )
    print(f"    {kib_per_call} KiB per call\n  media {step.media}\n  bare  {step.bare}")
    print(f"  media to bare: {step.media_to_bare:.2f} (median of {runs})", flush=True)
    return step


def _cost(passage: Passage) -> float:
    return passage.cpu_us_per_packet


def relayed(calls: Sequence[int], seconds: float, runs: int = 1) -> tuple[RelayStep, ...]:
    return tuple(asyncio.run(compare(number, seconds, runs)) for number in calls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, nargs="+", default=[400, 1000])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument(
        "--realtime", action="store_true", help="real-time priority, where others use the machine"
    )
    given = parser.parse_args()
    if given.realtime:
        use_realtime_priority()
    relayed(given.calls, given.seconds, given.runs)


if __name__ == "__main__":
    main()
