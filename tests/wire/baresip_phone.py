"""baresip as a softphone: a process with its own configuration, spoken to over its control connection."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from wire_ear import Ear
from wire_loopback import free_port
from wire_tones import write_speech
from wire_waiting import until

HOST = "127.0.0.1"
SPEAKS_S = 40


class Codec(NamedTuple):
    """What baresip calls it, and the sound card that suits it."""

    name: str
    rate: int
    channels: int
    module: str


PCMU = Codec("PCMU", 8000, 1, "g711.so")
PCMA = Codec("PCMA", 8000, 1, "g711.so")
G722 = Codec("G722", 16000, 1, "g722.so")
OPUS = Codec("opus", 48000, 2, "opus.so")

CONFIG = """
poll_method epoll
net_interface {host}
sip_listen {host}:{sip_port}
call_max_calls 4
audio_player alsa,ear
audio_source aufile,{speech}
audio_alert aufile,/dev/null
ausrc_srate {codec.rate}
auplay_srate 48000
ausrc_channels {codec.channels}
auplay_channels 2
audio_buffer 20-160
rtp_ports {rtp_port}-{last_rtp_port}
jitter_buffer_delay 1-5
ctrl_tcp_listen {host}:{control_port}
module_path /usr/lib/baresip/modules
module {codec.module}
module alsa.so
module aufile.so
{encryption}
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
"""
ALSA = 'pcm.ear {{ type file slave.pcm "nowhere" file "{fifo}" format "raw" }}\npcm.nowhere {{ type null }}\n'


class Baresip:
    """One baresip that speaks a sine and listens."""

    def __init__(
        self, directory: Path, account: str, *, tone_hz: int, codec: Codec = PCMU, mediaenc: str = ""
    ) -> None:
        """`account` is a line of baresip's accounts file, `{port}` in it becomes its own SIP port.

        `mediaenc`: "srtp" lets the other end choose, "srtp-mand" insists; "dtls_srtp".
        """
        directory.mkdir(parents=True)
        self.directory = directory
        self.tone_hz = tone_hz
        self.port = free_port(HOST)
        self._events: list[dict[str, Any]] = []
        self._unread = b""
        control_port, rtp_port = free_port(HOST), _free_rtp_range()
        speech = write_speech(
            directory / "speech.wav", tone_hz, SPEAKS_S, rate=codec.rate, channels=codec.channels
        )
        config = CONFIG.format(
            host=HOST,
            sip_port=self.port,
            directory=directory,
            speech=speech,
            codec=codec,
            rtp_port=rtp_port,
            last_rtp_port=rtp_port + 19,
            control_port=control_port,
            encryption=f"module {mediaenc.partition('-')[0]}.so" if mediaenc else "",
        )
        (directory / "config").write_text(config)
        options = f";audio_codecs={codec.name}" + (f";mediaenc={mediaenc}" if mediaenc else "")
        (directory / "accounts").write_text(f"{account.format(port=self.port)}{options}\n")
        (directory / "alsa.conf").write_text(ALSA.format(fifo=directory / "ear"))
        self.ear = Ear(directory / "ear")
        with (directory / "baresip.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["baresip", "-f", str(directory), "-s", "-v"],
                env={**os.environ, "ALSA_CONFIG_PATH": str(directory / "alsa.conf"), "HOME": str(directory)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._control = until(
            lambda: self._connect(control_port), 10, lambda: f"baresip takes commands\n{self.log}"
        )

    @property
    def log(self) -> str:
        return (self.directory / "baresip.log").read_text(errors="replace")

    def _connect(self, port: int) -> socket.socket | None:
        assert self._process.poll() is None, f"baresip ended at once:\n{self.log}"
        try:
            return socket.create_connection((HOST, port), timeout=5)
        except ConnectionRefusedError:
            return None

    # ------------------------------------------------------------ commands and events

    def command(self, name: str, parameters: str = "") -> None:
        """One of baresip's own commands: dial, hangup, hold, resume, transfer, ..."""
        text = json.dumps({"command": name, "params": parameters, "token": name}).encode()
        self._control.sendall(b"%d:%s," % (len(text), text))

    def sees(self, kind: str, within_s: float = 10.0, *, times: int = 1) -> dict[str, Any]:
        """Wait until an event of this kind ("REGISTER_OK", "CALL_ESTABLISHED", ...) has come `times`."""

        def found() -> list[dict[str, Any]]:
            self._read()
            matching = [event for event in self._events if event.get("type") == kind]
            return matching if len(matching) >= times else []

        def story() -> str:
            seen = [event.get("type") for event in self._events]
            return f"baresip sees {kind}; it has seen {seen}\n{self.log[-6000:]}"

        return until(found, within_s, story)[-1]

    def _read(self) -> None:
        while select.select([self._control], [], [], 0)[0]:
            data = self._control.recv(65536)
            assert data, f"baresip has gone:\n{self.log[-6000:]}"
            self._unread += data
        while b":" in self._unread:
            length, _, rest = self._unread.partition(b":")
            if len(rest) <= int(length):
                return
            event = json.loads(rest[: int(length)])
            self._unread = rest[int(length) + 1 :]
            if event.get("event"):
                self._events.append(event)

    def is_registered(self) -> Baresip:
        """Wait until it is; from its log, because this may come before the control connection."""
        until(lambda: " binding" in self.log, 10, lambda: f"baresip is registered\n{self.log[-6000:]}")
        return self

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(3)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._control.close()
        self.ear.close()


def _free_rtp_range() -> int:
    """The first of 20 ports, even, in a range that neither the server nor the kernel gives out."""
    global _next_rtp
    _next_rtp += 20
    return 10_000 + (os.getpid() * 400 + _next_rtp) % 4900 // 20 * 20


_next_rtp = 0
