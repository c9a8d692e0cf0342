"""Opening connections: from the right address, TCP, and TLS with the name checked (RFC 3261 18.1, RFC 5922).

When one is opened, and what waits for it, is the table's business (`connections.py`).
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from collections.abc import Callable

from sipcore.aio.connection import Connection
from sipcore.aio.listen import ListenError, TlsClientSettings
from sipcore.aio.tls import client_context
from sipcore.flow import Address, Flow, Transport

_USER_TIMEOUT_MS = 32_000
"""what TCP has sent and not seen acknowledged for 64*T1 has failed"""
_IP_BIND_ADDRESS_NO_PORT = 24


_is_name = re.compile(r"[A-Za-z0-9_:-][A-Za-z0-9_.:-]{0,252}").fullmatch


class NotOpened(Exception):
    """The connection could not be opened; the text says why."""


class Opener:
    """Opens connections, all with the same settings."""

    def __init__(self, tls: TlsClientSettings, connect_s: float) -> None:
        self._tls = tls
        self._connect_s = connect_s
        self._context: ssl.SSLContext | None = None

    async def open(self, flow: Flow, make: Callable[[Address], Connection]) -> Connection:
        """Connect to `flow.remote` from the host of `flow.local`; `make(socket_name)` gives the connection.

        For TLS the certificate must be valid for `flow.server_name`, or for the remote address when
        that is empty. Raises NotOpened; a connection that had come to stand is aborted.
        """
        made: list[Connection] = []

        def remember(local: Address) -> Connection:
            made.append(make(local))
            return made[0]

        try:
            async with asyncio.timeout(self._connect_s):
                await self._connect(flow, remember)
        except TimeoutError:
            why = f"no connection in {self._connect_s:g} s"
        except (OSError, ListenError) as error:  # SSLError is an OSError
            why = _words(error)
        else:
            return made[0]
        for connection in made:
            connection.abort(why)
        raise NotOpened(why)

    async def _connect(self, flow: Flow, make: Callable[[Address], Connection]) -> None:
        loop = asyncio.get_running_loop()
        context, name = None, None
        if flow.transport is Transport.TLS:
            name = _server_name(flow)
            context = self._context or await asyncio.to_thread(client_context, self._tls)  # reads many files
            self._context = context
        made = _bound(flow)
        try:
            await loop.sock_connect(made, flow.remote)
            connection = make(made.getsockname()[:2])
            await loop.create_connection(lambda: connection, sock=made, ssl=context, server_hostname=name)
        except BaseException:
            made.close()
            raise


def _server_name(flow: Flow) -> str:
    """The name that the certificate must have. asyncio would trip over a bad one in mid-handshake."""
    name = (flow.server_name or flow.remote[0]).removesuffix(".")
    try:
        name.encode("idna")
    except UnicodeError as error:
        raise NotOpened(f"{name!r} is no host name") from error
    if not _is_name(name):
        raise NotOpened(f"{name!r} is no host name")
    return name


def watch_peer(made: socket.socket) -> None:
    """Have TCP notice that the far side is gone, also while nothing is sent; send small messages at once."""
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 120)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 20)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)


def _bound(flow: Flow) -> socket.socket:
    """A socket that connects from `flow.local`'s address, from any port."""
    family = socket.AF_INET6 if ":" in flow.remote[0] else socket.AF_INET
    socket.inet_pton(family, flow.remote[0])  # a name would block in the system's resolver
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        watch_peer(made)
        made.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        made.bind((flow.local[0], 0))
    except OSError:
        made.close()
        raise
    return made


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError) or not isinstance(error, OSError) or error.errno is None:
        return str(error)
    return os.strerror(error.errno)
