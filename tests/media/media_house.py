"""A media process of its own with real sockets on loopback, and an engine's end of its control socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TypeVar

from media.client import FrameReader, pack
from media.messages import (
    VERSION,
    AskReport,
    Command,
    Event,
    Hear,
    Hello,
    Negotiated,
    OpenPort,
    Payload,
    Report,
    Welcome,
)

HOST = "127.0.0.1"
PCMU = (Payload(0, "pcmu", 8000),)
PATIENCE_S = 10.0

E = TypeVar("E")


class MediaProcess:
    """`python -m media`, from its start to its end."""

    def __init__(self, directory: Path, first_port: int, workers: int = 1, silence_s: float = 15.0) -> None:
        self.path = str(directory / "media.sock")
        self.first_port = first_port
        ports = f"{first_port}-{first_port + 999}"
        options = ["--ports", ports, "--workers", str(workers), "--silence", str(silence_s)]
        command = [sys.executable, "-m", "media", "--socket", self.path, *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE)
        self._sockets: list[socket.socket] = []

    def udp(self, port: int = 0) -> socket.socket:
        """A datagram socket on loopback that is closed with the process."""
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sockets.append(datagrams)
        datagrams.settimeout(PATIENCE_S)
        datagrams.bind((HOST, port))
        return datagrams

    def connect(self) -> socket.socket:
        """Connect to the control socket, which the process opens when it has started."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sockets.append(connection)
        connection.settimeout(PATIENCE_S)
        pause = self.udp()
        pause.settimeout(0.01)
        for _ in range(1000):
            try:
                connection.connect(self.path)
            except (FileNotFoundError, ConnectionRefusedError):
                assert self.process.poll() is None, "the media process ended"
                receive(pause)
                continue
            break
        return connection

    @property
    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """Its exit status, once it has ended; then everything here is closed."""
        for each in self._sockets:
            each.close()
        try:
            self.process.communicate(timeout=PATIENCE_S)
        finally:
            self.process.kill()
        return self.process.returncode


class Engine:
    """One connection to the control socket, blocking."""

    def __init__(self, media: MediaProcess, orphan_s: float = 60.0) -> None:
        self.media = media
        self.socket = media.connect()
        self.reader = FrameReader()
        self.unread: list[Event] = []
        self.tell(Hello(VERSION, orphan_s))
        self.welcome = self.hears(Welcome)

    def tell(self, *commands: Command) -> None:
        self.socket.sendall(pack(commands))

    def hears(self, kind: type[E]) -> E:
        """The next event of this kind; others before it are passed over."""
        while True:
            while self.unread:
                event = self.unread.pop(0)
                if isinstance(event, kind):
                    return event
            data = self.socket.recv(65536)
            assert data, "media hung up"
            self.unread += self.reader.feed(data)

    def settle(self, port: int) -> Report:
        """Wait until all that was told has been done on the worker of `port`."""
        self.tell(AskReport(port))
        return self.hears(Report)

    def opens(self, port: int, call: int = 1) -> Phone:
        """A phone with a port of its own."""
        phone = Phone(self.media, self.media.first_port + 2 * port)
        self.tell(OpenPort(port, call, HOST, phone.local_port))
        self.negotiates(port, phone)
        return phone

    def negotiates(self, port: int, phone: Phone) -> None:
        host, number = phone.address
        self.tell(Negotiated(port, host, number, number + 1, True, True, PCMU, PCMU))

    def joins(self, one: int, other: int) -> None:
        self.tell(Hear(one, other), Hear(other, one))

    def hang_up(self) -> None:
        self.socket.close()


def receive(from_socket: socket.socket) -> bytes | None:
    """One datagram, or None when none came within the socket's timeout."""
    try:
        return from_socket.recv(2048)
    except TimeoutError:
        return None


class Phone:
    """A peer on a socket of its own."""

    def __init__(self, media: MediaProcess, local_port: int) -> None:
        self.local_port = local_port
        self.socket = media.udp()
        self.ssrc = local_port
        self.sequence = 0

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.socket.getsockname()
        return host, port

    def says(self, payload: bytes, source: socket.socket | None = None) -> None:
        self.sequence += 1
        head = bytes([0x80, 0]) + self.sequence.to_bytes(2, "big")
        head += (self.sequence * 160).to_bytes(4, "big") + self.ssrc.to_bytes(4, "big")
        (source or self.socket).sendto(head + payload, (HOST, self.local_port))

    def hears(self) -> bytes:
        return self.socket.recv(2048)[12:]

    def hears_nothing(self, for_s: float = 0.1) -> bool:
        self.socket.settimeout(for_s)
        heard = receive(self.socket)
        self.socket.settimeout(PATIENCE_S)
        return heard is None
