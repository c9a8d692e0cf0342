"""Which of our addresses a peer is talked to from: listeners say what there is, routes decide."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from time import monotonic

from sipcore.flow import Address, Transport

_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104
_KEPT = 4_096
_BELIEVED_S = 30.0
"""routes change: a VPN comes up, an interface goes down"""


class Routes:
    """Remembers what the system said about each remote host, for half a minute, bounded."""

    def __init__(self) -> None:
        self._known: dict[tuple[Transport, str], tuple[float, Address | None]] = {}

    def local_for(
        self, bound: Sequence[tuple[Transport, Address]], transport: Transport, remote_host: str
    ) -> Address | None:
        """The listening address of `bound` to use towards `remote_host`; None when there is none.

        A wildcard stands for the address that the system would send from. Of several listeners it is
        the one that the system's route leaves through, else the first of the right family.
        """
        now = monotonic()
        known = self._known.get((transport, remote_host))
        if known is not None and known[0] > now:
            return known[1]
        if len(self._known) >= _KEPT:
            self._known.clear()
        found = _choose(bound, transport, remote_host)
        self._known[transport, remote_host] = (now + _BELIEVED_S, found)
        return found


def _choose(
    bound: Sequence[tuple[Transport, Address]], transport: Transport, remote_host: str
) -> Address | None:
    v6 = ":" in remote_host
    able = [local for kind, local in bound if kind is transport and (":" in local[0]) == v6]
    if not able:
        return None
    source = _source_towards(remote_host, v6)
    if source is None:
        return None
    for local in able:
        if local[0] == source:
            return local
        if local[0] in _WILDCARDS:
            return source, local[1]
    return able[0]


def _source_towards(remote_host: str, v6: bool) -> str | None:
    """Connecting a UDP socket sends nothing, and shows the route's source address."""
    family = socket.AF_INET6 if v6 else socket.AF_INET
    try:
        socket.inet_pton(family, remote_host.partition("%")[0])  # a name would block
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((remote_host, 5060))
            return str(probe.getsockname()[0])
    except OSError:
        return None
