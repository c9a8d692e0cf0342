"""DNS records by name and type: asked once, kept for their TTL, shared by all who wait (RFC 1035, RFC 2308).

What the records mean is `sipcore/locate.py`'s work. The packets are `dnspython`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.message
import dns.nameserver
import dns.resolver
import msgspec

from sipcore.aio.watched import WatchedFile
from sipcore.flow import Address
from sipcore.locate import Naptr, Question, Record, Srv

Records = tuple[Record, ...]

KEPT = 4_096
UNDER_WAY = 256
RECORDS = 64
"""of one answer that are kept"""
LONGEST_S = 3_600.0
LONGEST_NEGATIVE_S = 300.0
"""that there is no such name is believed this long at most"""
FAILURE_S = 5.0
"""no server answered: not asked again for a while, lest each call wait in vain"""
STALE_S = 86_400.0
"""when no server answers, old records still serve (RFC 8767): calls outlive a name server"""
_NO_SOA_S = 10.0
_HOT_AT_LEAST_S = 20.0
_TRY_S = 0.8
_LIFETIME_S = 4.0


class Kept(msgspec.Struct, frozen=True, gc=False):
    """Records that were answered: good until `fresh_until`, better than nothing until `stale_until`."""

    records: Records
    fresh_until: float
    refresh_from: float
    stale_until: float


class Lookups:
    """Asks the given name servers, or those of /etc/resolv.conf. `clock` gives monotonic seconds."""

    def __init__(
        self,
        nameservers: Sequence[Address],
        clock: Callable[[], float],
        resolv_conf: str = "/etc/resolv.conf",
    ) -> None:
        self._clock = clock
        self._kept: dict[Question, Kept] = {}
        self._under_way: dict[Question, asyncio.Task[Records]] = {}
        self._fixed = _resolver_for(nameservers) if nameservers else None
        self._system = WatchedFile(resolv_conf, _system_resolver, None, clock)
        self.queries = 0
        """that went to a name server"""

    def known(self, question: Question) -> Records | None:
        """What is known without asking. What is asked for often is looked up anew before it runs out."""
        kept = self._kept.get(question)
        now = self._clock()
        if kept is None or now >= kept.fresh_until:
            return None
        if now >= kept.refresh_from:
            self.ask(question)
        return kept.records

    def ask(self, question: Question) -> asyncio.Task[Records] | None:
        """The look-up of `question`, which many may share: shield it. Ends with no records rather than raise.

        None when too many look-ups are under way.
        """
        task = self._under_way.get(question)
        if task is None and len(self._under_way) < UNDER_WAY:
            task = self._under_way[question] = asyncio.get_running_loop().create_task(self._look_up(question))
            task.add_done_callback(lambda _: self._under_way.pop(question, None))
        return task

    async def close(self) -> None:
        """Break off what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_up(self, question: Question) -> Records:
        resolver = self._fixed or self._system.get()
        try:
            if resolver is None:
                raise dns.resolver.NoResolverConfiguration
            self.queries += 1
            records, ttl_s = await _query(resolver, question)
        except (dns.exception.DNSException, OSError):
            return self._fall_back(question)
        self._keep(question, records, ttl_s)
        return records

    def _fall_back(self, question: Question) -> Records:
        """No server answered: the old records, if any; and not asked again at once."""
        now = self._clock()
        kept = self._kept.get(question)
        records = kept.records if kept is not None and now < kept.stale_until else ()
        stale_until = kept.stale_until if kept is not None else now
        self._put(question, Kept(records, now + FAILURE_S, now + FAILURE_S, stale_until))
        return records

    def _keep(self, question: Question, records: Records, ttl_s: float) -> None:
        ttl_s = min(ttl_s, LONGEST_S if records else LONGEST_NEGATIVE_S)
        now = self._clock()
        refresh_from = now + (0.9 * ttl_s if ttl_s >= _HOT_AT_LEAST_S else ttl_s)
        stale_until = now + ttl_s + (STALE_S if records else 0.0)
        self._put(question, Kept(records, now + ttl_s, refresh_from, stale_until))

    def _put(self, question: Question, kept: Kept) -> None:
        self._kept.pop(question, None)
        while len(self._kept) >= KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[question] = kept


async def _query(resolver: dns.asyncresolver.Resolver, question: Question) -> tuple[Records, float]:
    """Ask, following CNAMEs as far as dnspython does (16). Returns the records and their TTL in seconds."""
    search = question.name.count(".") < (resolver.ndots or 1)
    try:
        answer = await resolver.resolve(
            question.name,
            question.rtype,
            raise_on_no_answer=False,
            lifetime=_LIFETIME_S,
            search=search,
        )
    except dns.resolver.NXDOMAIN as error:
        responses: dict[Any, dns.message.QueryMessage] = error.responses()  # type: ignore[no-untyped-call]
        chains = [response.resolve_chaining() for response in responses.values()]
        return (), min((_negative_ttl(chain) for chain in chains), default=_NO_SOA_S)
    if answer.rrset is None:
        return (), _negative_ttl(answer.chaining_result)
    records = tuple(_record(question.rtype, rdata) for rdata in list(answer.rrset)[:RECORDS])
    return records, float(answer.chaining_result.minimum_ttl)


def _negative_ttl(chain: Any) -> float:
    """From the SOA (RFC 2308 section 5); without one a short while."""
    return float(chain.minimum_ttl) if chain.minimum_ttl <= 0x7FFFFFFF else _NO_SOA_S


def _record(rtype: str, rdata: Any) -> Record:
    match rtype:
        case "SRV":
            return Srv(rdata.priority, rdata.weight, rdata.port, _name(rdata.target))
        case "NAPTR":
            flags, service, regexp = _text(rdata.flags), _text(rdata.service), _text(rdata.regexp)
            return Naptr(rdata.order, rdata.preference, flags, service, regexp, _name(rdata.replacement))
        case _:
            return str(rdata.address)


def _name(name: Any) -> str:
    return str(name.to_text(omit_final_dot=True)).lower()


def _text(octets: bytes) -> str:
    return octets.decode("ascii", "replace")


def _resolver_for(nameservers: Sequence[Address]) -> dns.asyncresolver.Resolver:
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [dns.nameserver.Do53Nameserver(host, port) for host, port in nameservers]
    return _tuned(resolver)


def _system_resolver(path: str) -> dns.asyncresolver.Resolver | None:
    try:
        return _tuned(dns.asyncresolver.Resolver(filename=path))
    except dns.resolver.NoResolverConfiguration:
        return None


def _tuned(resolver: dns.asyncresolver.Resolver) -> dns.asyncresolver.Resolver:
    resolver.timeout = _TRY_S
    resolver.use_edns(0, 0, 1232)
    return resolver
