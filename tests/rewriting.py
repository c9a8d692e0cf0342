"""A phone on the network in memory whose messages are changed on their way out, and back on their way in."""

from __future__ import annotations

from collections.abc import Callable

from jackfield.phone.transport import Receive, ReceiveRtp
from tests.house import House
from tests.memory_network import Address
from tests.memory_phone import MemoryTransport

Rewrite = Callable[[bytes], bytes]


class RewritingTransport(MemoryTransport):
    """One host; `out` changes what the phone sends, `back` undoes that in what comes,
    so that the phone sees its own.
    """

    def __init__(self, house: House, host: str, out: Rewrite, back: Rewrite = bytes) -> None:
        super().__init__(house.network, host)
        self._out, self._back = out, back

    def open(self, receive: Receive, receive_rtp: ReceiveRtp, broken: Callable[[Address, str], None]) -> None:
        super().open(lambda data, src: receive(self._back(data), src), receive_rtp, broken)

    def send(self, data: bytes, dst: Address) -> None:
        super().send(self._out(data), dst)


def replacing(old: bytes, new: bytes, *, only: bytes = b"") -> Rewrite:
    """Replace text in messages that begin with `only`."""
    return lambda data: data.replace(old, new) if data.startswith(only) else data
