"""Where a call goes: a pure decision on the frozen configuration."""

from __future__ import annotations

import msgspec

from conf.snapshot import Snapshot, TenantId
from pbx.api import EndCause, Party
from pbx.plan import Plan, Refuse, RingExtension, RingUri, RunApp


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """What is known of a call before anyone is rung."""

    tenant: TenantId
    caller: Party
    dialled: str


def decide(snapshot: Snapshot, attempt: Attempt) -> Plan:
    """The plan for an attempt inside one tenant. Nothing is changed, nothing is asked outside."""
    key = (attempt.tenant, attempt.dialled)
    extension = snapshot.extensions.get(key)
    if extension is not None:
        if not extension.enabled:
            return Refuse(480, "Temporarily Unavailable", EndCause.NOT_ALLOWED)
        if extension.contact:
            return RingUri(extension.number, extension.contact, extension.ring_s)
        return RingExtension(extension.number, extension.ring_s)
    service = snapshot.services.get(key)
    if service is not None:
        return RunApp(service.app, attempt.dialled)
    return Refuse(404, "Not Found", EndCause.NO_SUCH_NUMBER)
