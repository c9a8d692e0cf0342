"""One line of log for each turn of a call: who called whom, what became of it, and why."""

from __future__ import annotations

from typing import assert_never

import structlog

from pbx import api

log = structlog.get_logger("call")


class CallLog:
    """A `CallObserver` that writes the story of each call as it happens."""

    def on_event(self, event: api.CallEvent) -> None:
        bound = log.bind(call=event.call)
        match event:
            case api.CallStarted(caller=caller, dialled=dialled, sip_call_id=call_id):
                bound.info("call started", caller=shown(caller), dialled=dialled, call_id=call_id)
            case api.LegDialed(leg=leg, party=party, target=target):
                bound.debug("ringing", leg=leg, party=shown(party), target=target)
            case api.LegRang(leg=leg):
                bound.debug("phone rings", leg=leg)
            case api.LegAnswered(leg=leg):
                bound.debug("answered", leg=leg)
            case api.Connected(first=first, second=second):
                bound.info("connected", legs=[first, second])
            case api.Held(by=by):
                bound.info("put on hold", by=by)
            case api.Resumed(by=by):
                bound.info("taken off hold", by=by)
            case api.DigitPressed(leg=leg, duration_ms=duration_ms):
                bound.debug("key pressed", leg=leg, duration_ms=duration_ms)
            case api.Transferred(party=party, target=target):
                bound.info("transferred", by=shown(party), to=target)
            case api.LegEnded(leg=leg, cause=cause, status=status):
                bound.debug("leg ended", leg=leg, why=cause.value, status=status)
            case api.CallEnded(cause=cause):
                bound.info("call ended", why=cause.value)
            case _:
                assert_never(event)


def shown(party: api.Party) -> str:
    """A party as the log shows it: trunks by name, outside numbers shortened."""
    return f"{party.trunk}/{party.number[:4]}…" if party.trunk else party.number
