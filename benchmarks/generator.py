"""SIPp as load: callers, a callee, registering phones, pinned to a CPU of their own; what they counted."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path
from typing import Self

import msgspec

from benchmarks.processes import LOAD_CPU, until

SCENARIOS = Path(__file__).parent / "scenarios"
CALLER, CALLEE, PHONES = ("127.0.0.10", 5070), ("127.0.0.20", 5080), ("127.0.0.30", 5090)
LONGER_S = 40
"""how long SIPp may go on after the load should be over: timer B and a little"""


class Counted(msgspec.Struct, frozen=True):
    """What one SIPp counted up to its end."""

    done: int
    failed: int
    retransmissions: int


class Sipp:
    """One SIPp process."""

    def __init__(
        self, scenario: str, local: tuple[str, int], remote: str, directory: Path, *options: object
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        command = [
            *("taskset", "-c", LOAD_CPU, "sipp", remote, "-sf", SCENARIOS / f"{scenario}.xml"),
            *(
                "-i",
                local[0],
                "-p",
                local[1],
                "-bind_local",
                "-nostdin",
                "-l",
                200000,
                "-deadcall_wait",
                1000,
            ),
            *("-trace_stat", "-stf", "stat.csv", "-fd", "1", "-trace_err", "-error_file", "errors.log"),
            *options,
        ]
        with (directory / "screen.log").open("wb") as screen:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=screen,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def listening(self, local: tuple[str, int]) -> Self:
        """Wait for its socket."""
        number = "".join(f"{int(part):02X}" for part in reversed(local[0].split(".")))
        entry = f"{number}:{local[1]:04X}"
        until(lambda: entry in Path("/proc/net/udp").read_text(), 5, f"SIPp listens on {local[0]}:{local[1]}")
        return self

    def ended(self, within_s: float) -> Counted:
        """Wait for its end; what is unfinished then has failed."""
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return self.counted()

    def stopped(self) -> Counted:
        """Tell it to finish its calls and end."""
        self._process.terminate()
        return self.ended(10)

    def counted(self) -> Counted:
        row = self._last_row()
        return Counted(
            int(row.get("SuccessfulCall(C)", 0)),
            int(row.get("FailedCall(C)", 0)),
            int(row.get("Retransmissions(C)", 0)),
        )

    @property
    def calls_now(self) -> int:
        return int(self._last_row().get("CurrentCall", 0))

    def _last_row(self) -> dict[str, str]:
        file = self._directory / "stat.csv"
        if not file.exists():
            return {}
        with file.open() as lines:
            rows = [row for row in csv.DictReader(lines, delimiter=";") if row.get("Retransmissions(C)")]
        return rows[-1] if rows else {}


def answer_times_ms(log: Path, method: str) -> list[float]:
    """From the first `method` sent to its 200, per call, ascending: from SIPp's log of short messages."""
    begun: dict[str, float] = {}
    times: list[float] = []
    asked = f"{method} "
    with log.open(errors="replace") as lines:
        for line in lines:
            fields = line.rstrip("\n").split("\t")
            if len(fields) < 7 or method not in fields[5]:
                continue
            at, way, call, text = float(fields[2]), fields[3], fields[4], fields[6]
            if way == "S" and text.startswith(asked):
                begun.setdefault(call, at)
            elif way == "R" and text.startswith("SIP/2.0 200") and call in begun:
                times.append(1000 * (at - begun.pop(call)))
    return sorted(times)


def quantile(ascending: list[float], part: float) -> float | None:
    """The value below which `part` of them lie; None when there are none."""
    if not ascending:
        return None
    return round(ascending[min(len(ascending) - 1, int(part * len(ascending)))], 2)
