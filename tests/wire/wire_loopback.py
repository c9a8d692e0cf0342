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


_FIRST, _LAST = 15_000, 19_990
_places = itertools.count(os.getpid() * 10)


def free_port(host: str) -> int:
    """A port that, like the one after it, is free for both UDP and TCP at this moment.

    It lies below those that the kernel gives out by itself (and the server for sound), so that nobody takes
    it meanwhile; baresip listens for TLS on the port after its own.
    """
    for _ in range(200):
        port = _FIRST + 10 * next(_places) % (_LAST - _FIRST)
        if all(_is_free(host, each) for each in (port, port + 1)):
            return port
    raise AssertionError(f"no port is free on {host}")


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.socket(family, socket.SOCK_DGRAM) as udp,
        socket.socket(family, socket.SOCK_STREAM) as tcp,
    ):
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            udp.bind((host, port))
            tcp.bind((host, port))
        except OSError:
            return False
        return True
