"""One stream listener: takes connections from its socket, TLS handshake included (RFC 3261 section 18.2.1).

Accepts by itself instead of through an asyncio server, so that a source with too many connections is
turned away before it costs a TLS handshake, and so that failed handshakes are counted, not logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl

from sipcore.aio.connection import Connection
from sipcore.aio.connections import Connections
from sipcore.aio.counters import Counters
from sipcore.aio.listen import Limits, Listen, listen_error
from sipcore.aio.opening import watch_peer
from sipcore.aio.tls import server_context
from sipcore.flow import Address, Transport

CONNECTIONS_A_WAKE = 32
_BACKLOG = 1_024
_PAUSE_S = 0.5
"""after the system had no socket left for us"""
_OUT_OF_SOCKETS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class StreamListener:
    """Listens until `close`. Raises ListenError when the address or the certificate cannot be used."""

    def __init__(self, listen: Listen, connections: Connections, counters: Counters, limits: Limits) -> None:
        self._listen = listen
        self._connections = connections
        self._counters = counters
        self._handshake_s = limits.handshake_s
        self._loop = asyncio.get_running_loop()
        encrypted = listen.transport in (Transport.TLS, Transport.WSS)
        self._context: ssl.SSLContext | None = server_context(listen) if encrypted else None
        self._greetings: set[asyncio.Task[None]] = set()
        self._resume: asyncio.TimerHandle | None = None
        self._socket = _listening(listen)
        bound = self._socket.getsockname()
        self.local: Address = (bound[0], bound[1])
        self._loop.add_reader(self._socket, self._accept)

    def reload_certificate(self) -> None:
        """Read the certificate files again, for handshakes to come. Raises ListenError: the old one stays."""
        if self._context is not None:
            self._context = server_context(self._listen)

    async def close(self) -> None:
        """Stop listening and break off the handshakes that are under way."""
        self._loop.remove_reader(self._socket)
        if self._resume is not None:
            self._resume.cancel()
        self._socket.close()
        for greeting in self._greetings:
            greeting.cancel()
        await asyncio.gather(*self._greetings, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(CONNECTIONS_A_WAKE):
            try:
                accepted, remote = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._counters.accept_failures += 1
                if error.errno in _OUT_OF_SOCKETS:
                    self._pause()
                    return
                continue  # that one peer is gone already: accept(2) tells its network error here
            self._greet(accepted, (remote[0], remote[1]))

    def _pause(self) -> None:
        """Leave who knocks waiting: trying at once again would only burn the processor."""
        self._loop.remove_reader(self._socket)
        self._resume = self._loop.call_later(_PAUSE_S, self._loop.add_reader, self._socket, self._accept)

    def _greet(self, accepted: socket.socket, remote: Address) -> None:
        local = accepted.getsockname()
        connection = self._connections.admit(self._listen, (local[0], local[1]), remote)
        if connection is None:
            accepted.close()
            return
        greeting = self._loop.create_task(self._shake_hands(connection, accepted))
        self._greetings.add(greeting)
        greeting.add_done_callback(lambda _: self._greeted(greeting, connection, accepted))

    async def _shake_hands(self, connection: Connection, accepted: socket.socket) -> None:
        with contextlib.suppress(OSError):  # SSLError and the handshake's timeout are OSErrors
            accepted.setblocking(False)
            watch_peer(accepted)
            await self._loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=self._handshake_s if self._context is not None else None,
            )

    def _greeted(self, greeting: asyncio.Task[None], connection: Connection, accepted: socket.socket) -> None:
        self._greetings.discard(greeting)
        if not connection.stood:
            self._connections.turned_away(connection)
            accepted.close()


def _listening(listen: Listen) -> socket.socket:
    v6 = ":" in listen.host
    try:
        made = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise listen_error(listen, error) from error
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past connections linger in TIME_WAIT
        if v6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((listen.host, listen.port))
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        raise listen_error(listen, error) from error
    return made
