"""Where a SIP URI leads: transport, addresses and ports to try, best first (RFC 3263 section 4, RFC 2782).

Asks no name server: `locate` is a generator that says what it wants to know, is sent the answers, and
returns the targets. `sipcore/aio/dns.py` does the asking.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Generator, Mapping, Sequence
from random import Random

import msgspec

from sipcore.flow import Transport
from sipcore.uri import SipUri

MAX_TARGETS = 16
_MAX_RECORDS = 32
"""of one answer that are looked at: a hostile zone may be large"""
_MAX_SERVICES = 4

DEFAULT_PORT = {Transport.UDP: 5060, Transport.TCP: 5060, Transport.TLS: 5061}
_SRV_PREFIX = {Transport.UDP: "_sip._udp.", Transport.TCP: "_sip._tcp.", Transport.TLS: "_sips._tcp."}
_NAPTR_SERVICES = {"SIP+D2U": Transport.UDP, "SIP+D2T": Transport.TCP, "SIPS+D2T": Transport.TLS}
_NAMED = {"udp": Transport.UDP, "tcp": Transport.TCP, "tls": Transport.TLS}


class Question(msgspec.Struct, frozen=True, gc=False):
    """Ask for the records of this type ("NAPTR", "SRV", "A", "AAAA") at this name."""

    name: str
    rtype: str


class Naptr(msgspec.Struct, frozen=True, gc=False):
    """RFC 3403 section 4.1."""

    order: int
    preference: int
    flags: str
    service: str
    regexp: str
    replacement: str


class Srv(msgspec.Struct, frozen=True, gc=False):
    """RFC 2782. `target` has no final dot, except "." itself: the service is not offered."""

    priority: int
    weight: int
    port: int
    target: str


Record = Naptr | Srv | str
"""an address record is the address as text"""
Answers = Mapping[Question, Sequence[Record]]
"""A question that has no answer, for whatever reason, has none here, or an empty one."""


class Target(msgspec.Struct, frozen=True, gc=False):
    """One place to try. `server_name` is what a TLS certificate there must be valid for (RFC 5922 4)."""

    transport: Transport
    host: str
    port: int
    server_name: str = ""


Able = Mapping[Transport, Sequence[str]]
"""The transports that we can open, the preferred one first, each with the address types that it can reach."""

Search = Generator[tuple[Question, ...], Answers, tuple[Target, ...]]

_Service = tuple[Transport, str]
"""a transport, and the name whose SRV records offer it"""
_Endpoint = tuple[Transport, str, int]
"""a transport, a host name, a port"""


def locate(uri: SipUri, able: Able, random: Random) -> Search:
    """Find the targets of `uri` (RFC 3263 4.1 and 4.2), at most MAX_TARGETS, none when it leads nowhere.

    `random` decides among SRV records of one priority, by weight, and among the addresses of one name.
    A domain found through NAPTR or SRV is offered with every transport that both sides have, in the
    order that the domain wishes, or else in the order of `able`.
    """
    host = uri.params.get("maddr") or uri.host
    transports = _allowed(uri, able)
    if not host or not transports:
        return ()
    default = _default(transports)
    address = _literal(host)
    if address:
        rtype = "AAAA" if ":" in address else "A"
        port = uri.port or DEFAULT_PORT[default]
        return (Target(default, address, port),) if rtype in able[default] else ()
    if uri.port is not None:
        endpoints: list[_Endpoint] = [(default, host, uri.port)]
    else:
        endpoints = yield from _endpoints(host, transports, "transport" in uri.params, random)
    return (yield from _targets(endpoints, host, able, random))


def by_weight(records: Sequence[Srv], random: Random) -> list[Srv]:
    """SRV records in the order to try them (RFC 2782): by priority, within one by chance, as weights say."""
    ordered: list[Srv] = []
    left = list(records)
    random.shuffle(left)  # records without weight would otherwise always come in the same order
    left.sort(key=lambda record: (record.priority, record.weight > 0))
    del left[_MAX_RECORDS:]
    while left:
        group = [record for record in left if record.priority == left[0].priority]
        chosen = _draw(group, random)
        ordered.append(chosen)
        left.remove(chosen)
    return ordered


def _draw(group: Sequence[Srv], random: Random) -> Srv:
    mark = random.randint(0, sum(record.weight for record in group))
    for record in group:
        mark -= record.weight
        if mark <= 0:
            break
    return record


def _allowed(uri: SipUri, able: Able) -> list[Transport]:
    """The transports that the URI leaves open, in the order of `able` (RFC 3263 4.1)."""
    named = (uri.params.get("transport") or "").lower()
    if uri.scheme not in ("sip", "sips"):
        return []
    if uri.scheme == "sips":
        wanted = [Transport.TLS] if named in ("", "tcp", "tls") else []
    else:
        wanted = [_NAMED[named]] if named in _NAMED else [] if named else list(_SRV_PREFIX)
    return [transport for transport in able if transport in wanted]


def _default(transports: Sequence[Transport]) -> Transport:
    """What is used where nothing says which: UDP, unless we or the URI exclude it (RFC 3263 4.1)."""
    return min(transports, key=list(DEFAULT_PORT).index)


def _endpoints(
    host: str, transports: Sequence[Transport], named: bool, random: Random
) -> Generator[tuple[Question, ...], Answers, list[_Endpoint]]:
    """The endpoints of a domain: what NAPTR and SRV say, else the host itself at the default port."""
    services: list[_Service] = []
    if not named:
        question = Question(host, "NAPTR")
        answers = yield (question,)
        services = _services(answers.get(question, ()), transports)
    if not services:
        services = [(transport, _SRV_PREFIX[transport] + host) for transport in transports]
    asked = {service: Question(service[1], "SRV") for service in services}
    answers = yield tuple(dict.fromkeys(asked.values()))
    endpoints: list[_Endpoint] = []
    offered = False
    for (transport, _), question in asked.items():
        records = [record for record in answers.get(question, ()) if isinstance(record, Srv)]
        offered = offered or bool(records)
        for record in by_weight(records, random):
            if record.target not in (".", "") and record.port:
                endpoints.append((transport, record.target, record.port))
    if offered:
        return endpoints[:MAX_TARGETS]
    default = _default(transports)
    return [(default, host, DEFAULT_PORT[default])]


def _services(records: Sequence[Record], transports: Sequence[Transport]) -> list[_Service]:
    """What a domain offers by NAPTR and we can do, in its order of preference (RFC 3263 4.1)."""
    usable = [
        record
        for record in records[:_MAX_RECORDS]
        if isinstance(record, Naptr)
        and record.flags.lower() == "s"
        and not record.regexp
        and _NAPTR_SERVICES.get(record.service.upper()) in transports
    ]
    usable.sort(key=lambda record: (record.order, record.preference))
    return [
        (_NAPTR_SERVICES[record.service.upper()], record.replacement) for record in usable[:_MAX_SERVICES]
    ]


def _targets(
    endpoints: Sequence[_Endpoint], domain: str, able: Able, random: Random
) -> Generator[tuple[Question, ...], Answers, tuple[Target, ...]]:
    """The addresses of all endpoints, in their order; `domain` is who a TLS server there must be."""
    questions = dict.fromkeys(
        Question(host, rtype)
        for transport, host, _ in endpoints
        if not _literal(host)
        for rtype in able[transport]
    )
    answers: Answers = {}
    if questions:
        answers = yield tuple(questions)
    found: dict[Target, None] = {}
    for transport, host, port in endpoints:
        name = domain if transport is Transport.TLS else ""
        for rtype in able[transport]:
            addresses = [text for text in answers.get(Question(host, rtype), ()) if isinstance(text, str)]
            random.shuffle(addresses)
            for address in addresses[:_MAX_RECORDS]:
                found[Target(transport, address, port, name)] = None
    return tuple(found)[:MAX_TARGETS]


def _literal(host: str) -> str:
    """The address that `host` is, without brackets; "" for a name."""
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return ""
