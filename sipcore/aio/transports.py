"""The network side of the SIP stack: all listeners behind one `send` (RFC 3261 section 18, RFC 7118).

Bytes and flows, nothing else: what a message says is `sipcore/stack.py`'s work, where a name leads is
`sipcore/aio/dns.py`'s.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence

from sipcore.aio.accepting import StreamListener
from sipcore.aio.connections import Connections
from sipcore.aio.counters import Counters
from sipcore.aio.listen import Limits, Listen, ListenError, TlsClientSettings, where_of
from sipcore.aio.routes import Routes
from sipcore.aio.udp import OnFailed, OnReceived, UdpSocket
from sipcore.faults import Misuse
from sipcore.flow import Address, Flow, Transport

_LOCALS_KEPT = 1_024
_ENCRYPTED = (Transport.TLS, Transport.WSS)


class Transports:
    """Opened by `start`, from a list of listeners.

    `on_received(data, flow)` gets each datagram and each whole message of a stream; keep-alives are
    answered here. `on_failed(flow, why)` is told when what was sent on `flow` did not get away, and
    when a connection is lost, under its own flow and under each flow of connection 0 that was sent on
    it. Both are called from the event loop and must not raise; `on_failed` never from inside `send`.

    The flow of a connection has, as `local`, the address at which the listener of that transport can
    be reached, also when we opened the connection and its own port is another.
    """

    def __init__(
        self,
        listens: Sequence[Listen],
        on_received: OnReceived,
        on_failed: OnFailed,
        *,
        limits: Limits | None = None,
        tls: TlsClientSettings | None = None,
    ) -> None:
        self._listens = tuple(listens)
        self._on_received = on_received
        self._tell_failed = on_failed
        self._limits = limits or Limits()
        self._tls = tls or TlsClientSettings()
        self.counters = Counters()
        self._connections: Connections | None = None
        self._udp: list[UdpSocket] = []
        self._udp_by_local: dict[Address, UdpSocket] = {}
        self._streams: list[StreamListener] = []
        self._bound: list[tuple[Transport, Address]] = []
        self._routes = Routes()
        self._closed = False

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Bind all listeners. Raises ListenError (PortInUse where that is why); then none is bound."""
        self._connections = Connections(
            self._on_received, self._failed, self.counters, self._limits, self._tls
        )
        try:
            for listen in self._listens:
                self._start(listen)
        except ListenError:
            await self.close()
            raise

    async def close(self) -> None:
        """Close listeners and connections; nothing is told to the callbacks from now on."""
        self._closed = True
        for udp in self._udp:
            udp.close()
        await asyncio.gather(*(listener.close() for listener in self._streams))
        if self._connections is not None:
            await self._connections.close()
        self._udp.clear()
        self._udp_by_local.clear()
        self._streams.clear()

    def reload_certificates(self) -> None:
        """Read the certificate files again, for the handshakes to come. Raises ListenError."""
        for listener in self._streams:
            listener.reload_certificate()

    def local_addresses(self) -> tuple[tuple[Transport, Address], ...]:
        """What is bound, in the order of the listeners, with the port that the system chose for port 0."""
        return tuple(self._bound)

    @property
    def open_connections(self) -> int:
        """Stream connections that stand, are being opened, or shake hands."""
        return 0 if self._connections is None else len(self._connections)

    # ------------------------------------------------------------ sending

    def send(self, flow: Flow, data: bytes) -> None:
        """Send one message on `flow`. Never blocks, never raises for the network's sake: see `on_failed`."""
        if flow.transport is Transport.UDP:
            udp = self._udp_by_local.get(flow.local) or self._udp_at(flow.local)
            if udp is not None:
                udp.send(flow, data)
                return
        elif self._connections is not None and not self._closed:
            self._connections.send(flow, data)
            return
        asyncio.get_running_loop().call_soon(self._failed, flow, "we do not listen there any more")

    def backlog_bytes(self) -> int:
        """Datagrams that have arrived and wait to be read, all listeners together: a measure of overload."""
        return sum([udp.backlog_bytes() for udp in self._udp])

    def local_for(self, transport: Transport, remote_host: str) -> Address | None:
        """The address that we send from, and can be reached at, when we talk to `remote_host`.

        A listener bound to a wildcard stands for the address that the system's routes give; of several
        listeners, the one that these routes lead through, else the first. None when no listener of
        that transport can reach the address, or `remote_host` is no literal address.
        """
        return self._routes.local_for(self._bound, transport, remote_host)

    # ------------------------------------------------------------ connections

    def peer_names(self, flow: Flow) -> tuple[str, ...]:
        """Who the peer of a TLS or WSS connection proved to be by its certificate (RFC 5922 7.1)."""
        return self._table().peer_names(flow)

    def alias(self, flow: Flow, port: int) -> bool:
        """The peer of `flow` put `alias` into its Via, with this port: see Connections.alias (RFC 5923)."""
        return self._table().alias(flow, port)

    def disconnect(self, flow: Flow, why: str) -> None:
        """Close the connection of `flow`, for a peer that is not wanted; nothing for UDP."""
        self._table().disconnect(flow, why)

    # ------------------------------------------------------------ within

    def _start(self, listen: Listen) -> None:
        _check(listen)
        if listen.transport is Transport.UDP:
            loop = asyncio.get_running_loop()
            udp = UdpSocket(listen, self._on_received, self._failed, self.counters, loop)
            self._udp.append(udp)
            self._bound.append((Transport.UDP, udp.local))
            return
        listener = StreamListener(listen, self._table(), self.counters, self._limits)
        self._streams.append(listener)
        self._bound.append((listen.transport, listener.local))

    def _udp_at(self, local: Address) -> UdpSocket | None:
        """The socket that sends from `local`: the one bound to it, or to its port and the wildcard."""
        wildcard = "::" if ":" in local[0] else "0.0.0.0"  # noqa: S104
        for bound in (local, (wildcard, local[1])):
            for udp in self._udp:
                if udp.local == bound:
                    if len(self._udp_by_local) >= _LOCALS_KEPT:
                        self._udp_by_local.clear()
                    self._udp_by_local[local] = udp
                    return udp
        return None

    def _failed(self, flow: Flow, why: str) -> None:
        if not self._closed:
            self._tell_failed(flow, why)

    def _table(self) -> Connections:
        if self._connections is None:
            raise Misuse("the transports have not been started")
        return self._connections


def _check(listen: Listen) -> None:
    """Raises ListenError for what no system call would explain well."""
    where = where_of(listen)
    try:
        ipaddress.ip_address(listen.host)
    except ValueError as error:
        remedy = "Give an address of this machine, or 0.0.0.0 (or ::) for all of them."
        raise ListenError(where, f"{listen.host!r} is no IP address", remedy) from error
    if not 0 <= listen.port <= 65_535:
        raise ListenError(where, "there is no such port", "Give a port from 1 to 65535.")
    if (listen.tls is not None) != (listen.transport in _ENCRYPTED):
        remedy = "TLS and WSS listeners need a certificate and a key, the others have none."
        raise ListenError(where, "the certificate does not fit the transport", remedy)
