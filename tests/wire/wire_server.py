"""`jackfield run` in a directory of its own: started, probed, killed in part, ended in order."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psutil
from wire_loopback import free_port
from wire_waiting import until

ROOT = Path(__file__).parents[2]
JACKFIELD = (str(Path(sys.executable).with_name("jackfield")),)
START_S = 20.0
ENDS_WITHIN_S = 5.0
REALM = "pbx.example"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One extension that the server shall know."""

    number: str
    password: str
    tenant: str = "house"
    realm: str = REALM
    ring_s: int = 20
    max_calls: int = 0
    max_contacts: int = 10
    contact: str = ""
    srtp: str = "off"


class Server:
    """One Jackfield with its own settings, database and ports."""

    def __init__(self, directory: Path, host: str, *, settings: Sequence[tuple[str, str]] = ()) -> None:
        """`settings` are further lines as (section, line)."""
        self.directory = directory
        self.host = host
        self.port = free_port(host)
        self.tls_port = free_port(host)
        self.ws_port = free_port(host)
        self.port6 = free_port("::1")
        self._config = directory / "jackfield.toml"
        self._log = directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self._config.write_text(self._toml(settings))

    @property
    def hostport(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def _toml(self, settings: Sequence[tuple[str, str]]) -> str:
        sections: dict[str, list[str]] = {
            "paths": [f'var = "{self.directory / "var"}"'],
            "sip": [
                f'listen = ["udp:{self.host}:{self.port}", "tcp:{self.host}:{self.port}",'
                f' "tls:{self.host}:{self.tls_port}", "ws:{self.host}:{self.ws_port}",'
                f' "udp:[::1]:{self.port6}", "tcp:[::1]:{self.port6}"]',
                "nat_ping_s = 0",
            ],
            "database": ["demo = false"],
            "log": ['format = "json"'],
        }
        for section, line in settings:
            sections.setdefault(section, []).append(line)
        return "\n".join(f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in sections.items())

    # ------------------------------------------------------------ configuration

    def command(self, *arguments: str) -> str:
        """What the command line says; it must end well."""
        done = subprocess.run(
            [*JACKFIELD, "--config", str(self._config), *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"jackfield {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def add_tenant(self, name: str, realm: str, *options: str) -> None:
        self.command("tenant", "add", name, realm, *options)

    def add_accounts(self, tenant: str, accounts: Sequence[Account]) -> None:
        columns = ("number", "password", "contact", "ring_s", "max_calls", "max_contacts", "srtp")
        lines = [",".join(columns)]
        lines += [",".join(str(getattr(account, column)) for column in columns) for account in accounts]
        file = self.directory / f"{tenant}.csv"
        file.write_text("\n".join(lines) + "\n")
        self.command("extension", "import", str(file), "--tenant", tenant)

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*JACKFIELD, "--config", str(self._config), "run"],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_until_it_answers()

    def wait_until_it_answers(self, within_s: float = START_S) -> None:
        until(self._answers, within_s, lambda: f"{self.hostport} answers OPTIONS\n{self.log[-4000:]}")

    def _answers(self) -> bool:
        assert self._process is None or self._process.poll() is None, f"the server ended:\n{self.log[-4000:]}"
        return options_status(self.host, self.port) == 200

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def processes(self) -> list[psutil.Process]:
        """The supervisor first, then all that it started."""
        supervisor = psutil.Process(self.pid)
        return [supervisor, *supervisor.children(recursive=True)]

    def part(self, module: str) -> psutil.Process:
        """The process that runs `python -m module`."""
        found = [each for each in self.processes() if module in each.cmdline()]
        assert len(found) == 1, f"{len(found)} processes run {module}"
        return found[0]

    def stop(self) -> None:
        """End it in order: exit code 0 in time, and no traceback was ever written."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        try:
            code = process.wait(ENDS_WITHIN_S + 10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise AssertionError(f"SIGTERM did not end it:\n{self.log[-4000:]}") from None
        took_s = time.monotonic() - begin
        assert "Traceback" not in self.log, self.log[-8000:]
        assert code == 0, f"exit code {code}\n{self.log[-4000:]}"
        assert took_s < ENDS_WITHIN_S, f"it took {took_s:.1f} s to end\n{self.log[-4000:]}"

    def kill_all(self) -> None:
        """SIGKILL to every process, the supervisor first, as a power failure would."""
        assert self._process is not None
        doomed = self.processes()
        for process in doomed:
            process.kill()
        self._process.wait()
        psutil.wait_procs(doomed, timeout=5)
        self._process = None


def options_status(host: str, port: int, within_s: float = 0.3) -> int:
    """The status that an OPTIONS over UDP is answered with; 0 when nothing comes."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        # Not the server's host: while it is down its port is free, and might be given to this socket.
        probe.bind(("::1" if ":" in host else "127.0.0.1", 0))
        probe.settimeout(within_s)
        own, unique = f"{host}:{probe.getsockname()[1]}", time.time_ns()
        probe.connect((host, port))
        lines = (
            f"OPTIONS sip:{host}:{port} SIP/2.0",
            f"Via: SIP/2.0/UDP {own};branch=z9hG4bK{unique};rport",
            "Max-Forwards: 70",
            f"From: <sip:probe@{own}>;tag=1",
            f"To: <sip:{host}>",
            f"Call-ID: {unique}",
            "CSeq: 1 OPTIONS",
            "Content-Length: 0",
        )
        try:
            probe.send("\r\n".join((*lines, "", "")).encode())
            return int(probe.recv(65535).split(b" ")[1])
        except (TimeoutError, ConnectionRefusedError):
            return 0
