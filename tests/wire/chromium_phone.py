"""Headless Chromium with JsSIP as a phone: it speaks a sine, answers every call, and tells what it hears."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from wire_waiting import until

PAGE = Path(__file__).with_name("browser")
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # as root in a container there is none
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
)


@cache
def bundle() -> bytes:
    """The phone and JsSIP as one script; what package-lock.json names is fetched once."""
    esbuild = PAGE / "node_modules" / ".bin" / "esbuild"
    if not esbuild.exists():
        subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=PAGE, check=True, timeout=300
        )
    bundled = subprocess.run(
        [esbuild, "phone.js", "--bundle", "--format=esm"],
        cwd=PAGE,
        check=True,
        timeout=60,
        stdout=subprocess.PIPE,
    )
    return bundled.stdout


class ChromiumPhone:
    """One browser with one page."""

    def __init__(
        self,
        directory: Path,
        *,
        ws: str,
        uri: str,
        password: str,
        tone_hz: int,
        listens_to_hz: tuple[int, ...],
    ) -> None:
        directory.mkdir(parents=True)
        self.tone_hz = tone_hz
        self._directory = directory
        self._report: dict[str, Any] = {"states": [], "levels": {}, "error": ""}
        self._commands: list[list[str]] = []
        self._site = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._site.serve_forever, daemon=True).start()
        account = {
            "ws": ws,
            "uri": uri,
            "password": password,
            "tone": tone_hz,
            "listen": ",".join(map(str, listens_to_hz)),
        }
        url = f"http://127.0.0.1:{self._site.server_port}/?{urlencode(account)}"
        with (directory / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "chromium",
                    *FLAGS,
                    f"--user-data-dir={directory / 'profile'}",
                    "--enable-logging=stderr",
                    url,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"HOME": str(directory), "PATH": "/usr/bin:/bin"},
            )

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        phone = self

        class Site(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.startswith("/bundle.js"):
                    self._says("text/javascript", bundle())
                else:
                    self._says("text/html", (PAGE / "page.html").read_bytes())

            def do_POST(self) -> None:
                phone._report = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                commands, phone._commands = phone._commands, []
                self._says("application/json", json.dumps(commands).encode())

            def _says(self, kind: str, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Ten lines a second are of no use."""

        return Site

    @property
    def states(self) -> list[str]:
        return list(self._report["states"])

    def command(self, *words: str) -> None:
        """dial (and whom), hold, unhold, hangup."""
        self._commands.append(list(words))

    def comes_to(self, state: str, within_s: float = 30.0) -> None:
        """Wait until it has been "registered", "confirmed", "ended: ..."."""
        until(
            lambda: any(each.startswith(state) for each in self.states),
            within_s,
            lambda: f"the browser is {state}: {self._report}\n{self.log[-4000:]}",
        )

    def level_db(self, tone_hz: int) -> float:
        """Of the last third of a second, below a full-scale sine."""
        return float(self._report["levels"].get(str(tone_hz), -120.0))

    @property
    def log(self) -> str:
        return (self._directory / "chromium.log").read_text(errors="replace")

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._site.shutdown()
        self._site.server_close()
        shutil.rmtree(self._directory / "profile", ignore_errors=True)
