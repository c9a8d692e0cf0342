"""Where a URI leads, with real name servers and our own addresses: `Resolve` in, flows out (RFC 3263).

The rules are `sipcore/locate.py`'s, records and their keeping `lookup.py`'s. Here they meet: who is
asked in which order, how long a call waits for it, and which targets have failed lately.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random, SystemRandom
from time import monotonic
from typing import Protocol

from sipcore.aio.lookup import Lookups, Records
from sipcore.aio.watched import WatchedFile, read_hosts
from sipcore.faults import PeerFault
from sipcore.flow import Address, Flow, Transport
from sipcore.locate import Answers, Question, Search, Target, locate
from sipcore.uri import parse_uri

_OPENABLE = (Transport.UDP, Transport.TCP, Transport.TLS)
_FAILED_KEPT = 1_024
_LONGEST_FAILED_S = 3_600.0
_STEP_S = 1.6
"""for NAPTR and for SRV: a firewall that swallows them shall leave time to ask for the address"""
_WHOLE_S = 5.0


class Locals(Protocol):
    """What the resolver must know of the transports."""

    def local_addresses(self) -> Sequence[tuple[Transport, Address]]: ...

    def local_for(self, transport: Transport, remote_host: str) -> Address | None: ...


class Resolver:
    """Finds the flows for a URI; the order of the listeners is our order of preference.

    `nameservers` are literal addresses with a port; none means those of the system. `failed_s` is how
    long a target that failed is tried last.
    """

    def __init__(
        self,
        locals_: Locals,
        nameservers: Sequence[Address] = (),
        *,
        clock: Callable[[], float] = monotonic,
        random: Random | None = None,
        hosts: str = "/etc/hosts",
        failed_s: float = 30.0,
    ) -> None:
        self._locals = locals_
        self._clock = clock
        self._random = random or SystemRandom()
        self._failed_s = failed_s
        self._hosts: WatchedFile[dict[str, tuple[str, ...]]] = WatchedFile(hosts, read_hosts, {}, clock)
        self._lookups = Lookups(nameservers, clock)
        self._failed_until: dict[tuple[Transport, Address], float] = {}

    @property
    def queries(self) -> int:
        """How many questions went to a name server."""
        return self._lookups.queries

    async def resolve(self, uri: str) -> tuple[Flow, ...]:
        """The flows to try for `uri`, best first; none when it leads nowhere, or nobody knew within 5 s."""
        try:
            parsed = parse_uri(uri)
        except PeerFault:
            return ()
        search = locate(parsed, self._able(), self._random)
        give_up_at = asyncio.get_running_loop().time() + _WHOLE_S
        targets = await self._drive(search, parsed.params.get("maddr") or parsed.host, give_up_at)
        return self._flows(targets)

    def failed(self, flow: Flow, for_s: float = 0.0) -> None:
        """What was sent on `flow` did not arrive, or met 503: for a while its target comes after all others.

        `for_s` is what the target asks for, an hour at most; 0: as long as usual.
        """
        while len(self._failed_until) >= _FAILED_KEPT:
            del self._failed_until[next(iter(self._failed_until))]
        wait_s = min(for_s, _LONGEST_FAILED_S) or self._failed_s
        self._failed_until[flow.transport, flow.remote] = self._clock() + wait_s

    async def close(self) -> None:
        """Break off what is under way; who waits for it gets no flows."""
        await self._lookups.close()

    async def _drive(self, search: Search, host: str, give_up_at: float) -> tuple[Target, ...]:
        """Answer the questions of `search` until it has its result."""
        try:
            questions = next(search)
            while True:
                questions = search.send(await self._answers(questions, host, give_up_at))
        except StopIteration as end:
            targets: tuple[Target, ...] = end.value
            return targets

    async def _answers(self, questions: Sequence[Question], host: str, give_up_at: float) -> Answers:
        hosts = self._hosts.get()
        answers: dict[Question, Records] = {}
        asked: dict[Question, asyncio.Task[Records]] = {}
        for question in questions:
            known = _from_hosts(hosts, question, host)
            if known is None:
                known = self._lookups.known(question)
            if known is not None:
                answers[question] = known
            elif task := self._lookups.ask(question):
                asked[question] = task
        if asked:
            left_s = max(0.0, give_up_at - asyncio.get_running_loop().time())
            last = questions[0].rtype in ("A", "AAAA")
            # Look-ups go on when the wait is over, and serve the next call. `wait` cancels none.
            await asyncio.wait(asked.values(), timeout=left_s if last else min(_STEP_S, left_s))
            for question, task in asked.items():
                if task.done() and not task.cancelled():
                    answers[question] = task.result()
        return answers

    def _able(self) -> dict[Transport, tuple[str, ...]]:
        able: dict[Transport, tuple[str, ...]] = {}
        for transport, local in self._locals.local_addresses():
            if transport in _OPENABLE:
                rtype = "AAAA" if ":" in local[0] else "A"
                able[transport] = tuple(dict.fromkeys((*able.get(transport, ()), rtype)))
        return able

    def _flows(self, targets: Sequence[Target]) -> tuple[Flow, ...]:
        flows: list[Flow] = []
        for target in targets:
            local = self._locals.local_for(target.transport, target.host)
            if local is not None:
                remote = (target.host, target.port)
                flows.append(Flow(target.transport, local, remote, 0, target.server_name))
        now = self._clock()
        flows.sort(key=lambda flow: self._failed_until.get((flow.transport, flow.remote), 0.0) > now)
        return tuple(flows)


def _from_hosts(hosts: dict[str, tuple[str, ...]], question: Question, host: str) -> Records | None:
    """What the hosts file says. A host in it has no other records, so that no name server is needed."""
    if question.rtype in ("A", "AAAA"):
        addresses = hosts.get(question.name.rstrip("."))
        if addresses is None:
            return None
        v6 = question.rtype == "AAAA"
        return tuple(address for address in addresses if (":" in address) == v6)
    return () if host.rstrip(".") in hosts else None
