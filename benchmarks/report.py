"""What was measured, as tables for people and as one JSON file for comparisons with later."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.relay import RelayStep
from benchmarks.sound import Sounded
from benchmarks.stages import Held, Ladder

RESULTS = Path(__file__).parent / "results"


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the figures depend on besides the server."""

    cpu: str
    cores: int
    memory_mib: int
    kernel: str
    python: str


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one target."""

    name: str
    version: str
    anchors_media: bool
    calls: Ladder
    registrations: Ladder | None = None
    held: Held | None = None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the benchmarks."""

    at: datetime.datetime
    quick: bool
    machine: Machine
    targets: tuple[Measured, ...]
    relay: tuple[RelayStep, ...] = ()
    """the media process beside a bare relay"""
    sound: tuple[Sounded, ...] = ()
    """calls whose sound is decoded, mixed, played or recorded, beside a bare relay"""


def this_machine() -> Machine:
    facts = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in facts if line.startswith("model name")), "unknown")
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    return Machine(
        cpu=cpu,
        cores=os.cpu_count() or 1,
        memory_mib=memory_kib // 1024,
        kernel=platform.release(),
        python=platform.python_version(),
    )


def save(run: Run, directory: Path = RESULTS) -> Path:
    """Write the run into a file named after its time."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{run.at:%Y%m%d-%H%M%S}{'-quick' if run.quick else ''}.json"
    file.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")
    return file


def show(run: Run, console: Console) -> None:
    machine = run.machine
    console.print(
        f"\n{machine.cpu}, {machine.cores} cores, {machine.memory_mib} MiB, Linux {machine.kernel}, "
        f"Python {machine.python}; server on CPU 1, load on CPU 0"
    )
    console.print(_ladders("Calls: INVITE to BYE, no media packets", "calls", run))
    console.print(_ladders("Registrations with digest: two requests each", "registrations", run))
    console.print(_summary(run))
    for target in run.targets:
        best = max(target.calls.steps, key=lambda step: step.rate if step.holds else 0, default=None)
        if best is not None and len(best.cpu_ms_by_process) > 1:
            shares = ", ".join(f"{name} {spent:.3f}" for name, spent in best.cpu_ms_by_process.items())
            console.print(f"{target.name} at {best.rate} calls/s, CPU ms per call: {shares}")


def _ladders(title: str, stage: str, run: Run) -> Table:
    table = Table(title=title)
    for column in (
        "server",
        "per s",
        "done",
        "failed",
        "resent",
        "CPU ms each",
        "CPU %",
        "p50 ms",
        "p99 ms",
        "SIPp %",
        "others %",
        "holds",
    ):
        table.add_column(column, justify="left" if column == "server" else "right")
    for target in run.targets:
        ladder: Ladder | None = getattr(target, stage)
        for step in ladder.steps if ladder else ():
            cells = (step.rate, step.done, step.failed, step.retransmissions, step.cpu_ms_each, step.cpu_pct)
            rest = (step.p50_ms, step.p99_ms, step.load_pct, step.others_pct, "yes" if step.holds else "no")
            table.add_row(target.name, *("-" if cell is None else str(cell) for cell in (*cells, *rest)))
    return table


def _summary(run: Run) -> Table:
    table = Table(title="Highest rates that hold, and what a held call keeps")
    for column in ("server", "calls/s", "registrations/s", "KiB/call", "files/call", "threads", "idle MiB"):
        table.add_column(column, justify="left" if column == "server" else "right")
    for target in run.targets:
        held, registered = target.held, target.registrations
        table.add_row(
            f"{target.name} {target.version}" if target.version else target.name,
            str(target.calls.highest_rate),
            "-" if registered is None else str(registered.highest_rate),
            *(
                ("-", "-", "-", "-")
                if held is None
                else (
                    str(held.kib_per_call),
                    str(held.files_per_call),
                    str(held.threads),
                    str(round(held.idle_kib / 1024)),
                )
            ),
        )
    return table
