"""Where each extension's phones are now (RFC 3261 section 10): the live table behind REGISTER.

The rules are `sipcore/registrar.py`; this keeps the bindings, ends them when their time is up, and
hands each change to the store outside, so that they survive the process.
"""

from __future__ import annotations

from itertools import groupby

import msgspec

from conf.snapshot import TenantId
from pbx.board import SaveBindings, Target
from sipcore.flow import Flow
from sipcore.message import Request
from sipcore.registrar import Binding, Limits, Outcome, register

Key = tuple[TenantId, str]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[Binding, ...]).decode


class Registrations:
    """Bindings by extension. Times are wall-clock epoch seconds, because they outlive the process."""

    __slots__ = ("_bindings", "_limits")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
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
        if bindings:
            self._bindings[key] = bindings
        else:
            self._bindings.pop(key, None)

    def restore(self, key: Key, payload: bytes, wall_now: float) -> None:
        """Take back what was kept before a restart; what has expired since stays away."""
        self._put(key, tuple(each for each in _decode(payload) if each.expires_at > wall_now))

    def reach(self, key: Key, wall_now: float) -> list[list[Target]]:
        """Where to ring: contacts of one q together, best q first (RFC 3261 16.6)."""
        live = [each for each in self._bindings.get(key, ()) if each.expires_at > wall_now]
        if len(live) > 1:
            live.sort(key=lambda each: -each.q)
        return [[_target(each) for each in group] for _, group in groupby(live, key=lambda each: each.q)]

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
        """A connection is gone: phones behind it can only be reached once they come back."""
        changes = []
        for key, bindings in list(self._bindings.items()):
            live = tuple(each for each in bindings if each.flow != flow)
            if len(live) != len(bindings):
                self._put(key, live)
                changes.append(SaveBindings(key[0], key[1], _encode(live) if live else b""))
        return changes


def _target(binding: Binding) -> Target:
    return Target(binding.contact, binding.flow, binding.path)
