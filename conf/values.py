"""The small values that settings are written in: listening addresses, port ranges, networks, lists.

Each is read from the text that an operator writes, in the file or in the environment, and written
back the same way. A text that makes no sense raises ValueError with a sentence for the operator.
"""

from __future__ import annotations

import ipaddress

import msgspec

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

DEFAULT_PORTS = {"udp": 5060, "tcp": 5060, "tls": 5071, "ws": 8088, "wss": 8089}
"""TLS keeps clear of 5061, its registered port, which is meant for the direct door of trusted peers."""


EVERY_IPV4 = str(ipaddress.IPv4Address(0))
EVERY_IPV6 = str(ipaddress.IPv6Address(0))


class Listener(msgspec.Struct, frozen=True):
    """One socket to listen on. `optional`: do without it when the machine has no such address family."""

    transport: str
    """"UDP", "TCP", "TLS", "WS" or "WSS" """
    host: str
    port: int
    optional: bool = False


class Listen(msgspec.Struct, frozen=True):
    """An entry of `sip.listen`: "udp:*:5060", "tls:192.0.2.1", "tcp:[2001:db8::1]:5060".

    `host` is an address without brackets, or "*" for every address of the machine.
    """

    transport: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Listen:
        """Read "transport:host[:port]"; a port left out is the transport's own in DEFAULT_PORTS."""
        transport, _, rest = text.strip().partition(":")
        transport = transport.lower()
        if transport not in DEFAULT_PORTS:
            raise ValueError(
                f'"{text}" must begin with one of {", ".join(DEFAULT_PORTS)}, as in "udp:*:5060"'
            )
        host, port = _split_host(rest or "*")
        return cls(transport, _literal(host, text), _port(port, text) if port else DEFAULT_PORTS[transport])

    def listeners(self) -> tuple[Listener, ...]:
        """The sockets that this means; for "*" one of IPv4, and one of IPv6 where the machine has it."""
        transport = self.transport.upper()
        if self.host == "*":
            return (
                Listener(transport, EVERY_IPV4, self.port),
                Listener(transport, EVERY_IPV6, self.port, optional=True),
            )
        return (Listener(transport, self.host, self.port),)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}:{host}:{self.port}"


class PortRange(msgspec.Struct, frozen=True):
    """UDP ports from `first` to `last`, both included: RTP on the even ones, RTCP on the odd."""

    first: int
    last: int

    @classmethod
    def parse(cls, text: str) -> PortRange:
        """Read "20000-29999"."""
        first, dash, last = text.replace(" ", "").partition("-")
        if not (dash and first.isdecimal() and last.isdecimal()):
            raise ValueError(f'"{text}" is not a range of ports such as "20000-29999"')
        found = cls(int(first), int(last))
        if not 1024 <= found.first < found.last <= 65535:
            raise ValueError(f"{text} is not a rising range between 1024 and 65535")
        return found

    @property
    def streams(self) -> int:
        """How many RTP streams fit: one pair of ports each, the first of a pair even."""
        return (self.last + 1) // 2 - (self.first + 1) // 2

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def parse_network(text: str) -> Network:
    """Read "192.0.2.0/24", "2001:db8::/32" or one address; host bits may be set."""
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValueError(f'"{text}" is not an IP address or network such as "192.0.2.0/24"') from None


def words(value: object) -> object:
    """Split the text of an environment variable at its commas; what is a list already stays as it is."""
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    return value


def spell(value: object) -> str:
    """Write a value as an operator would in the environment: lists with commas, switches in lower case."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):  # not any iterable: a network is one of its addresses
        return ",".join(spell(item) for item in value)
    return str(value)


def _split_host(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = text.partition(":")
    return host, port


def _literal(host: str, text: str) -> str:
    if host == "*":
        return host
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise ValueError(f'"{text}": "{host}" is neither "*" nor an IP address (IPv6 in brackets)') from None


def _port(port: str, text: str) -> int:
    if not port.isdecimal() or int(port) > 65535:
        raise ValueError(f'"{text}": "{port}" is not a port between 1 and 65535 (or 0, any free one)')
    return int(port)
