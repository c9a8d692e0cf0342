"""Where each extension's phones are now (RFC 3261 section 10): the live table behind REGISTER.

The rules are `sipcore/registrar.py`; this keeps the bindings, ends them when their time is up, and
hands each change to the store outside, so that they survive the process.
"""

from __future__ import annotations

from itertools import groupby

import msgspec

from conf.snapshot import TenantId
from pbx.board import SaveBindings, Target
from sipcore.flow import Flow, Transport
from sipcore.message import Request
from sipcore.registrar import Binding, Limits, Outcome, register

Key = tuple[TenantId, str]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[Binding, ...]).decode


class Registrations:
    """Bindings by extension. Times are wall-clock epoch seconds, because they outlive the process."""

    __slots__ = ("_bindings", "_by_connection", "_follow_flow", "_limits")

    def __init__(self, limits: Limits, *, follow_flow: bool = True) -> None:
        """`follow_flow`: reach phones where their packets come from; False: where their Contact says."""
        self._limits = limits
        self._follow_flow = follow_flow
        self._by_connection: dict[int, tuple[Key, ...]] = {}
        """whose phones a connection leads to: one may carry several lines"""
        self._bindings: dict[Key, tuple[Binding, ...]] = {}

    def __len__(self) -> int:
        return len(self._bindings)

    def register(
        self, key: Key, request: Request, flow: Flow, max_contacts: int, wall_now: float
    ) -> tuple[Outcome, SaveBindings | None]:
        """Apply a REGISTER of an authenticated extension; the second value is what to keep, if it changed."""
        before = self._bindings.get(key, ())
        limits = self._limits
        if max_contacts != limits.max_contacts:
            limits = msgspec.structs.replace(limits, max_contacts=max_contacts)
        outcome = register(request, flow, before, limits, wall_now)
        if outcome.bindings == before:
            return outcome, None
        self._put(key, outcome.bindings)
        return outcome, SaveBindings(key[0], key[1], _encode(outcome.bindings) if outcome.bindings else b"")

    def _put(self, key: Key, bindings: tuple[Binding, ...]) -> None:
        before = _connections(self._bindings.get(key, ()))
        after = _connections(bindings)
        for connection in before - after:
            others = tuple([each for each in self._by_connection[connection] if each != key])
            if others:
                self._by_connection[connection] = others
            else:
                del self._by_connection[connection]
        for connection in after - before:
            self._by_connection[connection] = (*self._by_connection.get(connection, ()), key)
        if bindings:
            self._bindings[key] = bindings
        else:
            self._bindings.pop(key, None)

    def restore(self, key: Key, payload: bytes, wall_now: float) -> None:
        """Take back what was kept before a restart; what has expired since stays away.

        Connections did not survive it: phones that had one are called at their Contact. What another
        version kept and this one cannot read is left: the phones will register again.
        """
        try:
            kept = _decode(payload)
        except msgspec.DecodeError:
            return
        self._put(key, tuple(_unconnected(each) for each in kept if each.expires_at > wall_now))

    def reach(self, key: Key, wall_now: float) -> list[list[Target]]:
        """Where to ring: contacts of one q together, best q first (RFC 3261 16.6).

        A phone with several flows is there once: at its newest flow, with the others in reserve (RFC 5626 7).
        """
        live = [each for each in self._bindings.get(key, ()) if each.expires_at > wall_now]
        if len(live) < 2:
            return [[self._target(each)] for each in live]
        ways: dict[object, list[Binding]] = {}
        for binding in live:
            ways.setdefault(binding.instance if binding.reg_id else id(binding), []).append(binding)
        for flows in ways.values():
            flows.sort(key=lambda each: -each.received_at)
        phones = sorted(ways.values(), key=lambda flows: -flows[0].q)
        by_q = groupby(phones, key=lambda flows: flows[0].q)
        return [[self._target(*flows) for flows in group] for _, group in by_q]

    def of(self, key: Key) -> tuple[Binding, ...]:
        return self._bindings.get(key, ())

    def sweep(self, wall_now: float) -> list[SaveBindings]:
        """Forget what has expired; called now and then, not for each call."""
        changes = []
        for key, bindings in list(self._bindings.items()):
            live = tuple(each for each in bindings if each.expires_at > wall_now)
            if len(live) != len(bindings):
                self._put(key, live)
                changes.append(SaveBindings(key[0], key[1], _encode(live) if live else b""))
        return changes

    def flow_lost(self, flow: Flow) -> list[SaveBindings]:
        """A connection is gone: the phone behind it can only be reached once it comes back."""
        keys = self._by_connection.get(flow.connection, ()) if flow.connection else ()
        changes = []
        for key in keys:
            live = tuple(each for each in self._bindings[key] if each.flow.connection != flow.connection)
            self._put(key, live)
            changes.append(SaveBindings(key[0], key[1], _encode(live) if live else b""))
        return changes

    def behind_nat(self, wall_now: float) -> list[Flow]:
        """The UDP flows that a NAT forgets unless something passes now and then (RFC 5626 4.4)."""
        return [
            each.flow
            for bindings in self._bindings.values()
            for each in bindings
            if each.behind_nat and each.flow.transport is Transport.UDP and each.expires_at > wall_now
        ]

    def _target(self, binding: Binding, *others: Binding) -> Target:
        flow = binding.flow
        connected = bool(flow.connection) if flow.transport.reliable else self._follow_flow
        spare = tuple([self._target(each) for each in others])
        return Target(binding.contact, flow if connected else None, binding.path, spare)


def _connections(bindings: tuple[Binding, ...]) -> set[int]:
    return {each.flow.connection for each in bindings if each.flow.connection}


def _unconnected(binding: Binding) -> Binding:
    if not binding.flow.connection:
        return binding
    return msgspec.structs.replace(binding, flow=msgspec.structs.replace(binding.flow, connection=0))
