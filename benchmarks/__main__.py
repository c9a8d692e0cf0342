"""`python -m benchmarks`: Jackfield and, beside it, every peer that is installed (benchmarks/README.md)."""

from __future__ import annotations

import argparse
import datetime
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from benchmarks import relay, report, sound, stages
from benchmarks.processes import LOAD_CPU, SERVER_CPU
from benchmarks.targets import TARGETS, Nothing, Target, Unmeasurable

STAGES = ("calls", "registrations", "held", "relay", "sound")
RATES = (100, 200, 400, 800, 1600)
REGISTRATION_RATES = (100, 200, 400, 800)
WIDTH = 132
"""of tables that go into a file"""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what calls cost.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter steps: about three minutes")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES), metavar="STAGE")
    parser.add_argument("--rates", nargs="+", type=int, help="calls a second, rising")
    parser.add_argument("--seconds", type=float, help="how long each rate is offered")
    parser.add_argument("--only", help="measure this server alone")
    parser.add_argument("--no-save", action="store_true", help="write no file into benchmarks/results")
    return parser.parse_args()


def measure(target: Target, given: argparse.Namespace) -> report.Measured:
    """All stages that this target has."""
    quick: bool = given.quick
    rates = tuple(given.rates or ((100, 400, 800) if quick else RATES))
    seconds = given.seconds or (4 if quick else 10)
    halvings = 0 if quick else 3
    a_server = not isinstance(target, Nothing)
    try:
        return report.Measured(
            name=target.name,
            version=target.version(),
            anchors_media=target.anchors_media,
            calls=stages.calls(target, rates, seconds, halvings)
            if "calls" in given.stages
            else stages.Ladder(highest_rate=0, steps=()),
            registrations=stages.registrations(target, (400,) if quick else REGISTRATION_RATES)
            if target.registers and "registrations" in given.stages
            else None,
            held=stages.held(target, 400 if quick else 1000) if a_server and "held" in given.stages else None,
        )
    finally:
        target.stop()


def present(console: Console, only: str | None) -> Iterable[type[Target]]:
    """The servers that can be measured here; a line about each that cannot."""
    for kind in TARGETS:
        if only and not kind.name.startswith(only):
            continue
        if missing := kind.missing():
            console.print(f"{kind.name}: skipped, {missing}")
        else:
            yield kind


def main() -> None:
    given = arguments()
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    if shutil.which("sipp") is None:
        sys.exit("The load generator is SIPp: apt-get install sip-tester")
    if len(os.sched_getaffinity(0) & {LOAD_CPU, SERVER_CPU}) < 2:
        sys.exit("Two CPUs are needed: 0 for the load, 1 for the server")
    measured = []
    with tempfile.TemporaryDirectory() as scratch:
        kinds = (*present(console, given.only), *(() if given.only else (Nothing,)))
        for kind in kinds:
            place = Path(scratch) / kind.__name__.lower()
            place.mkdir()
            target = kind(place)
            console.print(f"{kind.name}: measuring ...")
            target.configure()
            try:
                measured.append(measure(target, given))
            except Unmeasurable as why:
                console.print(f"{kind.name}: left out, {why}", markup=False)
    relayed: tuple[relay.RelayStep, ...] = ()
    if "relay" in given.stages:
        console.print("\nRelayed RTP packets, PCMU, 50 a second each way and call")
        relayed = relay.relayed((200,), 3) if given.quick else relay.relayed((400, 1000), 8)
    sounded: tuple[sound.Sounded, ...] = ()
    if "sound" in given.stages:
        console.print("\nSound that is more than relayed")
        sounded = sound.sounded(50 if given.quick else 100, 3 if given.quick else 8, tell=console.print)
    run = report.Run(
        at=datetime.datetime.now(datetime.UTC),
        quick=given.quick,
        machine=report.this_machine(),
        targets=tuple(measured),
        relay=relayed,
        sound=sounded,
    )
    report.show(run, console)
    if not given.no_save:
        console.print(f"written to {report.save(run)}")


if __name__ == "__main__":
    main()
