"""One line of log for each turn of a call: who called whom, what became of it, and why."""

from __future__ import annotations

import re
from collections.abc import Callable

import structlog

from pbx import api

log = structlog.get_logger("call")

LONG_NUMBER = re.compile(r"(?<![\w.])(\+?\d{4})\d{3,}(?![\w.])")
"""what is no extension of ours; addresses and ports are left alone"""
POOR_MOS = 3.1
"""below it nearly all users are dissatisfied (ITU-T G.107 annex B): worth a warning"""


class CallLog:
    """A `CallObserver` that writes the story of each call as it happens."""

    def __init__(self, *, debug: bool) -> None:
        self._debug = debug

    def on_event(self, event: api.CallEvent) -> None:
        match event:
            case api.CallStarted(caller=caller, dialled=dialled, sip_call_id=call_id):
                _info("call started", event, caller=shown(caller), dialled=short(dialled), call_id=call_id)
            case api.Connected(first=first, second=second):
                _info("connected", event, legs=[first, second])
            case api.Held(by=by):
                _info("put on hold", event, by=by)
            case api.Resumed(by=by):
                _info("taken off hold", event, by=by)
            case api.Transferred(party=party, target=target):
                _info("transferred", event, by=shown(party), to=short(target))
            case api.CallEnded(cause=cause):
                _info("call ended", event, why=cause.value)
            case api.StreamReport(mos=mos) if 0 < mos < POOR_MOS:
                _tell_sound(event, log.warning)
            case _ if self._debug:
                _tell_detail(event)


def _info(what: str, event: api.CallEvent, **facts: object) -> None:
    log.info(what, call=event.call, **facts)


def _tell_sound(event: api.StreamReport, level: Callable[..., object]) -> None:
    level(
        "sound of a leg",
        call=event.call,
        leg=event.leg,
        codec=event.codec,
        received=event.received_packets,
        lost=event.lost_packets,
        jitter_ms=round(event.jitter_ms, 1),
        mos=round(event.mos, 2),
        lost_there=event.remote_lost_packets,
    )


def _tell_detail(event: api.CallEvent) -> None:
    match event:
        case api.LegDialed(leg=leg, party=party, target=target):
            log.debug("ringing", call=event.call, leg=leg, party=shown(party), target=short(target))
        case api.LegRang(leg=leg):
            log.debug("phone rings", call=event.call, leg=leg)
        case api.LegAnswered(leg=leg):
            log.debug("answered", call=event.call, leg=leg)
        case api.DigitPressed(leg=leg, duration_ms=duration_ms):
            log.debug("key pressed", call=event.call, leg=leg, duration_ms=duration_ms)
        case api.LegEnded(leg=leg, cause=cause, status=status):
            log.debug("leg ended", call=event.call, leg=leg, why=cause.value, status=status)
        case api.StreamReport():
            _tell_sound(event, log.debug)


def shown(party: api.Party) -> str:
    """A party as the log shows it: trunks by name, outside numbers shortened."""
    return f"{party.trunk}/{short(party.number)}" if party.trunk else short(party.number)


def short(text: str) -> str:
    """A number, or a URI with one, as the log may show it: of a long number the beginning only."""
    return LONG_NUMBER.sub(r"\1…", text)
