"""Addresses of this machine's loopback: each run of the tests has a street of its own."""

from __future__ import annotations

import itertools
import os
import socket

_houses = itertools.count(2)
_STREET = f"127.{64 + os.getpid() // 250 % 128}.{1 + os.getpid() % 250}"

SERVER_HOST = f"{_STREET}.1"


def next_host() -> str:
    """An IPv4 loopback address for one phone: no two of the next 250 phones share one."""
    return f"{_STREET}.{2 + next(_houses) % 250}"


def free_port(host: str) -> int:
    """A port that is free for both UDP and TCP at this moment."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(50):
        with (
            socket.socket(family, socket.SOCK_DGRAM) as udp,
            socket.socket(family, socket.SOCK_STREAM) as tcp,
        ):
            udp.bind((host, 0))
            port: int = udp.getsockname()[1]
            try:
                tcp.bind((host, port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no port is free on {host}")
