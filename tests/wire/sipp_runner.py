"""SIPp as a phone: one process per ladder, and the trace of what it sent and received."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import msgspec
import psutil
from sipp_ladder import Ladder, Phone
from wire_waiting import until

PATIENCE_S = 20.0
_BANNER = re.compile(
    r"^-{40,} (\S+) (\d+):(\d+):(\d+\.\d+)\n(?:UDP|TCP) message (sent|received)[^\n]*:\n\n", re.MULTILINE
)


class SipText(msgspec.Struct, frozen=True):
    """One message of a trace."""

    sent: bool
    at_s: float
    """seconds since midnight"""
    text: str

    @property
    def start_line(self) -> str:
        return self.text.partition("\n")[0].strip()

    @property
    def what(self) -> int | str:
        """The status of a response, the method of a request."""
        first, second = self.start_line.split(" ")[:2]
        return int(second) if first.startswith("SIP/") else first

    def headers(self, name: str) -> list[str]:
        head = self.text.replace("\r", "").partition("\n\n")[0]
        pairs = [line.partition(":") for line in head.splitlines()[1:]]
        return [value.strip() for key, _, value in pairs if key.strip().lower() == name.lower()]

    def header(self, name: str) -> str:
        """Its first value; "" when there is none."""
        return next(iter(self.headers(name)), "")

    @property
    def body(self) -> str:
        return self.text.replace("\r", "").partition("\n\n")[2]


class Trace(list[SipText]):
    """All messages of one SIPp, in order."""

    @classmethod
    def read(cls, file: Path) -> Trace:
        parts = _BANNER.split(file.read_text(errors="replace")) if file.exists() else [""]
        rows = zip(*(parts[first::6] for first in range(2, 7)), strict=True)
        return cls(
            SipText(way == "sent", int(hours) * 3600 + int(minutes) * 60 + float(seconds), text)
            for hours, minutes, seconds, way, text in rows
        )

    def received(self, what: int | str) -> list[SipText]:
        return [message for message in self if not message.sent and message.what == what]

    def sent(self, what: int | str) -> list[SipText]:
        return [message for message in self if message.sent and message.what == what]

    def answers(self, method: str, status: int) -> list[SipText]:
        """The responses of this status to requests of this method."""
        return [each for each in self.received(status) if each.header("CSeq").endswith(method)]

    def got(self, what: int | str) -> SipText:
        """The last such message that came in."""
        found = self.received(what)
        assert found, f"no {what} came in:\n{self.ladder()}"
        return found[-1]

    def ladder(self, last: int = 100) -> str:
        """One line a message, the `last` of them."""
        return "\n".join(
            f"{message.at_s:9.3f} {'-->' if message.sent else '<--'} {message.start_line}  "
            f"({message.header('CSeq')})"
            for message in self[-last:]
        )


class Sipp:
    """One running SIPp."""

    def __init__(self, ladder: Ladder, server: str, directory: Path, *options: str) -> None:
        """`server` is host:port. `options` go to SIPp as they are (`-m`, `-r`, `-lost`, ...)."""
        self.me: Phone = ladder.me
        self._directory = directory
        directory.mkdir(parents=True)
        (directory / "ladder.xml").write_text(ladder.xml())
        command = [
            *(
                "sipp",
                server,
                "-sf",
                "ladder.xml",
                "-i",
                self.me.host,
                "-p",
                str(self.me.port),
                "-bind_local",
            ),
            *("-t", {"UDP": "u1", "TCP": "t1"}[self.me.transport], "-nostdin"),
            *("-trace_msg", "-message_file", "messages.log", "-trace_err", "-error_file", "errors.log"),
            *(("-auth_uri", ladder.auth_uri) if ladder.auth_uri else ()),
            *(() if "-m" in options else ("-m", "1")),
            *("-recv_timeout", "15000", "-timeout", "60s", "-timeout_error", *options),
        ]
        with (directory / "screen.log").open("wb") as screen:
            self._process = subprocess.Popen(
                command, cwd=directory, stdin=subprocess.DEVNULL, stdout=screen, stderr=screen
            )

    @property
    def trace(self) -> Trace:
        return Trace.read(self._directory / "messages.log")

    def listening(self) -> Sipp:
        """Wait until its socket is there."""
        until(self._is_bound, 5.0, lambda: f"SIPp of {self.me.number} listens\n{self._screen()}")
        return self

    def _is_bound(self) -> bool:
        assert self._process.poll() is None, f"SIPp ended at once:\n{self._screen()}"
        connections = psutil.Process(self._process.pid).net_connections("inet")
        return any(tuple(each.laddr) == (self.me.host, self.me.port) for each in connections)

    def sees(self, what: int | str, within_s: float = 10.0) -> SipText:
        """Wait until this message has come in."""
        until(
            lambda: self.trace.received(what),
            within_s,
            lambda: f"{self.me.number} gets {what}\n{self.story()}",
        )
        return self.trace.got(what)

    def ends_well(self, within_s: float = PATIENCE_S) -> Trace:
        """Wait for the end; fails, with the trace, when the ladder was not climbed to its top."""
        code = self.ends(within_s)
        assert code == 0, f"SIPp of {self.me.number} ended with {code}\n{self.story()}"
        return self.trace

    def ends(self, within_s: float = PATIENCE_S) -> int:
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"SIPp of {self.me.number} is still waiting\n{self.story()}") from None

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def story(self) -> str:
        """What a failed test shows: its own errors and the ladder that was climbed."""
        errors = self._directory / "errors.log"
        told = errors.read_text(errors="replace")[:3000] if errors.exists() else ""
        return f"{self.trace.ladder()}\n{told}{self._screen() if not told else ''}"

    def _screen(self) -> str:
        return (self._directory / "screen.log").read_text(errors="replace")[-1500:]
