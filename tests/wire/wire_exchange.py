"""Starts SIPps against one server, and ends them all."""

from __future__ import annotations

from pathlib import Path

from sipp_ladder import Ladder, Phone
from sipp_runner import Sipp, Trace


class Exchange:
    """Starts SIPps against one server, and ends them all."""

    def __init__(self, server: str, directory: Path) -> None:
        self.server = server
        self._directory = directory
        self._running: list[Sipp] = []

    def start(self, ladder: Ladder, *options: str, at: str = "") -> Sipp:
        """A SIPp that begins to climb now; `at` is another server than the usual one."""
        place = self._directory / f"{len(self._running):02}-{ladder.me.number}"
        sipp = Sipp(ladder, at or self.server, place, *options)
        self._running.append(sipp)
        return sipp

    def wait_for_call(self, ladder: Ladder, *options: str, at: str = "") -> Sipp:
        """A SIPp that can be called from now on."""
        return self.start(ladder, *options, at=at).listening()

    def run(self, ladder: Ladder, *options: str, at: str = "") -> Trace:
        """Climb the ladder to its top."""
        return self.start(ladder, *options, at=at).ends_well()

    def register(self, *phones: Phone, at: str = "") -> None:
        """Every phone registers, with digest, for five minutes."""
        registering = [self.start(Ladder(phone).register(300).receive(200), at=at) for phone in phones]
        for sipp in registering:
            sipp.ends_well()

    def close(self) -> None:
        for sipp in self._running:
            sipp.stop()
            print(f"---- {sipp.me.number} at {sipp.me.hostport}\n{sipp.trace.ladder(last=40)}")
