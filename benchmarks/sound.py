"""What sound costs that is more than a relayed packet: `python -m benchmarks.sound --scenes conference`.

Each scene has its ports on one media process on CPU 1 and its peers on CPU 0 (PCMU, 20 ms, all of them send
all the time). CPU is user + system time of the media process while the load lasts, background work included,
per 100 calls, conferences or listeners. Beside it, in turn, a relay of nothing but recvfrom and sendto gets
as many packets: the floor. One-way time is from before the system call that sends the first loud packet of
somebody who begins to talk to the kernel's time stamp of the first loud packet at somebody who hears it; from
packets' own stamps where they are relayed; from the tick of the clock that media plays on for music.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import struct
import subprocess
import tempfile
import wave
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from benchmarks.relay import (
    BARE_PORT,
    HOST,
    MEDIA_PORT,
    PCMU,
    bare_process,
    cpu_s,
    media_server,
    pause,
    pinned,
    use_realtime_priority,
)
from media._core import load_peer
from media.client import MediaClient
from media.messages import (
    Hear,
    Negotiated,
    OpenPlayer,
    OpenPort,
    OpenRecorder,
    Payload,
    Play,
    PlayFile,
)

OPUS = (Payload(107, "opus", 48000, 2, "useinbandfec=1"),)
SETTLED_S = 2.5
"""until a load is at work and jitter buffers have seen it"""
EXTRA = 50_000
"""ports that are no RTP streams have numbers from here on"""


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one kind: how many ports each has, who hears whom in it, and what else there is."""

    name: str
    ports: int
    """of one call"""
    edges: tuple[tuple[int, int], ...]
    """(listener, speaker) among them"""
    watch: str = "turns"
    """see `media._core.rtp_load`"""
    opus: bool = False
    """every second peer speaks Opus"""
    recorded: bool = False
    music: bool = False


def everybody(count: int) -> tuple[tuple[int, int], ...]:
    return tuple((one, other) for one in range(count) for other in range(count) if one != other)


SCENES = (
    Scene(name="relayed", ports=2, edges=everybody(2), watch="stamps"),
    Scene(name="recorded", ports=2, edges=everybody(2), watch="stamps", recorded=True),
    Scene(name="transcoded", ports=2, edges=everybody(2), opus=True),
    Scene(name="conference", ports=3, edges=everybody(3)),
    # The caller, the member who answers, and the coach who hears both and is heard by the member.
    Scene(name="whisper", ports=3, edges=(*everybody(2), (2, 0), (2, 1), (1, 2))),
    Scene(name="music", ports=1, edges=(), watch="ticks", music=True),
)


class Sounded(msgspec.Struct, frozen=True, kw_only=True):
    """One scene, and the bare relay with as many packets in the same minute."""

    scene: str
    calls: int
    cpu_pct_per_100: float
    bare_pct_per_100: float
    to_bare: float
    one_way_p50_ms: float
    one_way_p99_ms: float
    bare_p50_ms: float
    bare_p99_ms: float
    sent_to_received: float
    """packets that came out, of those that went in"""
    load_late_ms: float
    """the load's own worst delay: above a few milliseconds the one-way times mean little"""
    opus_alone_pct_per_100: float | None = None
    """what libopus alone costs for as many packets decoded and encoded"""

    def __str__(self) -> str:
        alone = self.opus_alone_pct_per_100
        return (
            f"{self.scene:10} {self.calls:4} of them: {self.cpu_pct_per_100:6.2f} % per 100, "
            f"bare {self.bare_pct_per_100:5.2f} (ratio {self.to_bare:.2f}), "
            f"one way p50 {self.one_way_p50_ms:.2f} ms, p99 {self.one_way_p99_ms:.2f} ms, "
            f"out/in {self.sent_to_received:.3f}, load late {self.load_late_ms:.1f} ms"
            + (f", libopus alone {alone:.2f}" if alone is not None else "")
        )


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What one run of the load found, and what the process under it used of a core."""

    cpu_pct: float
    p50_ms: float
    p99_ms: float
    out_to_in: float
    late_ms: float


async def under_load(pid: int, first_port: int, ports: int, seconds: float, scene: Scene | None) -> Load:
    watch = ("stamps", 2, False) if scene is None else (scene.watch, scene.ports, scene.opus)
    arguments = (first_port, ports, seconds + SETTLED_S, *watch)
    code = f"from media._core import rtp_load; print(*rtp_load{arguments!r})"
    process = await asyncio.create_subprocess_exec(*pinned(0, "-c", code), stdout=subprocess.PIPE)
    await pause(SETTLED_S)
    loop = asyncio.get_running_loop()
    before, begin = cpu_s(pid), loop.time()
    await pause(seconds)
    used_pct = 100 * (cpu_s(pid) - before) / (loop.time() - begin)
    output, _ = await process.communicate()
    _, _, counted, received, p50, p99, _, late = map(float, output.split())
    return Load(
        cpu_pct=used_pct,
        p50_ms=p50 / 1000,
        p99_ms=p99 / 1000,
        out_to_in=received / max(counted, 1),
        late_ms=late,
    )


def set_up(client: MediaClient, scene: Scene, calls: int, directory: Path) -> None:
    """Open the ports of `calls` calls and draw who hears whom."""
    if scene.music:
        client.send(OpenPlayer(EXTRA, 0))
        client.send(Play(EXTRA, 1, (PlayFile(str(melody(directory))),), times=0))
    for call in range(calls):
        first = call * scene.ports
        for port in range(first, first + scene.ports):
            spoken = OPUS if scene.opus and port % 2 else PCMU
            host, remote = load_peer(port)
            client.send(OpenPort(port, call + 1, HOST, MEDIA_PORT + 2 * port))
            client.send(Negotiated(port, host, remote, remote + 1, True, True, spoken, spoken))
        for listener, speaker in scene.edges:
            client.send(Hear(first + listener, first + speaker))
        if scene.music:
            client.send(Hear(first, EXTRA))
        if scene.recorded:
            path = directory / f"{call}.wav"
            client.send(OpenRecorder(EXTRA + call, call + 1, str(path), "a-law", 8000, 2))
            client.send(Hear(EXTRA + call, first, side="left"))
            client.send(Hear(EXTRA + call, first + 1, side="right"))


def melody(directory: Path) -> Path:
    """Ten seconds to hold by, 16 bits at 8 kHz."""
    path = directory / "melody.wav"
    notes = [220 * 2 ** (step / 12) for step in (0, 4, 7, 12, 7, 4, 0, 5, 9, 12)]
    samples = (round(8000 * math.sin(2 * math.pi * notes[n // 8000] * n / 8000)) for n in range(80_000))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return path


def opus_alone_pct() -> float:
    """Of one core, for 100 calls: each decodes and encodes 50 packets a second."""
    code = "from media._core import opus_us; print(opus_us(40))"
    output = subprocess.run(pinned(1, "-c", code), stdout=subprocess.PIPE, check=True).stdout
    return float(output) * 50 * 100 / 1e6 * 100


async def measure(scene: Scene, calls: int, seconds: float) -> Sounded:
    ports = scene.ports * calls
    # The bare relay works on pairs of ports.
    bare_ports = ports + ports % 2
    alone = await asyncio.to_thread(opus_alone_pct) if scene.opus else None
    with tempfile.TemporaryDirectory() as directory:
        async with media_server(ports) as (media, client, events), bare_process(bare_ports) as bare:
            set_up(client, scene, calls, Path(directory))
            await pause(1)
            if events:
                raise SystemExit(f"media refused: {events[0]}")
            of_media = await under_load(media, MEDIA_PORT, ports, seconds, scene)
            of_bare = await under_load(bare, BARE_PORT, bare_ports, seconds, None)
    return Sounded(
        scene=scene.name,
        calls=calls,
        cpu_pct_per_100=round(of_media.cpu_pct * 100 / calls, 2),
        bare_pct_per_100=round(of_bare.cpu_pct * 100 / calls, 2),
        to_bare=round(of_media.cpu_pct / of_bare.cpu_pct, 2),
        one_way_p50_ms=round(of_media.p50_ms, 3),
        one_way_p99_ms=round(of_media.p99_ms, 3),
        bare_p50_ms=round(of_bare.p50_ms, 3),
        bare_p99_ms=round(of_bare.p99_ms, 3),
        sent_to_received=round(of_media.out_to_in, 3),
        load_late_ms=round(of_media.late_ms, 1),
        opus_alone_pct_per_100=None if alone is None else round(alone, 2),
    )


def sounded(
    calls: int,
    seconds: float,
    names: Sequence[str] = (),
    runs: int = 1,
    tell: Callable[[Sounded], None] = lambda one: print(one, flush=True),
) -> tuple[Sounded, ...]:
    """Measure each scene with `calls` calls (music: ten times as many listeners); the cheapest of `runs`."""
    results: list[Sounded] = []
    for scene in SCENES:
        if names and scene.name not in names:
            continue
        number = 10 * calls if scene.music else calls
        attempts = [asyncio.run(measure(scene, number, seconds)) for _ in range(runs)]
        results.append(min(attempts, key=lambda one: one.to_bare))
        tell(results[-1])
    return tuple(results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--runs", type=int, default=1)
    names = [scene.name for scene in SCENES]
    parser.add_argument("--scenes", nargs="+", choices=names, default=names, metavar="SCENE")
    parser.add_argument(
        "--realtime", action="store_true", help="real-time priority, where others use the machine"
    )
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        if given.realtime:
            use_realtime_priority()
        sounded(given.calls, given.seconds, given.scenes, given.runs)


if __name__ == "__main__":
    main()
