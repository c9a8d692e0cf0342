"""Sockets and the real clock for the SIP core: the only place in `sipcore` that has them.

`Transports` moves bytes, `Resolver` finds out where a name leads, `EarliestTimer` wakes the stack up.
What a message means is for the rest of `sipcore` to say.
"""

from sipcore.aio.counters import Counters
from sipcore.aio.dns import Resolver
from sipcore.aio.listen import (
    Limits,
    Listen,
    ListenError,
    PortInUse,
    TlsClientSettings,
    TlsSettings,
)
from sipcore.aio.timer import EarliestTimer
from sipcore.aio.transports import Transports

__all__ = [
    "Counters",
    "EarliestTimer",
    "Limits",
    "Listen",
    "ListenError",
    "PortInUse",
    "Resolver",
    "TlsClientSettings",
    "TlsSettings",
    "Transports",
]
