"""Puts the built-in phone on the network in memory."""

from __future__ import annotations

from collections.abc import Callable

from jackfield.phone.transport import Receive, ReceiveRtp
from tests.memory_network import Address, MemoryNetwork

FIRST_RTP_PORT = 20_000


class MemoryTransport:
    """One host of the network: SIP at `port`, RTP on even ports from 20000 up, never used twice."""

    kind = "UDP"

    def __init__(self, network: MemoryNetwork, host: str, port: int = 5060) -> None:
        self.local: Address = (host, port)
        self._network = network
        self._next_rtp = FIRST_RTP_PORT
        self._open: set[Address] = set()
        self._receive_rtp: ReceiveRtp | None = None

    def open(self, receive: Receive, receive_rtp: ReceiveRtp, broken: Callable[[Address, str], None]) -> None:
        self._receive_rtp = receive_rtp
        self._network.attach(self.local, lambda data, src, dst: receive(data, src))

    def close(self) -> None:
        self._network.detach(self.local)
        for local in list(self._open):
            self.close_rtp(local)

    def send(self, data: bytes, dst: Address) -> None:
        self._network.send(self.local, dst, data)

    def open_rtp(self) -> Address:
        local = (self.local[0], self._next_rtp)
        self._next_rtp += 2
        self._open.add(local)
        self._network.attach(local, self._hear)
        return local

    def close_rtp(self, local: Address) -> None:
        self._open.discard(local)
        self._network.detach(local)

    def send_rtp(self, local: Address, data: bytes, dst: Address) -> None:
        self._network.send(local, dst, data)

    def _hear(self, data: bytes, src: Address, dst: Address) -> None:
        if self._receive_rtp is not None:
            self._receive_rtp(dst, data, src)
