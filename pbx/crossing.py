"""Digits that cross a call: told once, and passed to the other leg in a way that it understands.

Telephone-events between two phones that both know them are media's own work and need nothing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from media import messages as media
from pbx import api, digits
from pbx.board import AppNews
from pbx.digits import Way
from sipcore import events as sip

if TYPE_CHECKING:
    from pbx.board import Board
    from pbx.call import Call
    from pbx.leg import Leg

_TONE_DBOV = -13.0
_PAUSE_MS = 60
_SHORTEST_MS = 60


def heard(call: Call, board: Board, event: media.Digit, now: float) -> None:
    """Media heard a digit begin or end, in one of its two ways."""
    leg = next((leg for leg in call.legs.values() if event.port in leg.sound.ports), None)
    if leg is None:
        return
    way = Way(event.kind)
    if not event.ended:
        leg.keypad.begins(event.digit, way, now)
    elif leg.keypad.is_told_by(event.digit, way):
        _tell(call, board, leg, event.digit, event.duration_ms, now)
        if way is Way.EVENT:
            _cross(call, board, leg, event.digit, event.duration_ms)


def asked(call: Call, board: Board, event: sip.Asked, now: float) -> bool:
    """An INFO came. True: it was a digit and is dealt with; the caller of this answers 200."""
    leg = call.legs[event.dialog]
    pressed = digits.read_info(event.message.content_type, event.message.body)
    if pressed is None:
        return False
    if not leg.keypad.begins(pressed.digit, Way.INFO, now):
        return True
    _tell(call, board, leg, pressed.digit, pressed.duration_ms, now)
    other = call.peer_of(leg)
    if other is None:
        return True
    port = other.sound.events_port()
    if port is None:
        return False  # what it came as is as good as anything
    board.send(media.SendDigits(port, ((pressed.digit, pressed.duration_ms),)))
    return True


def _tell(call: Call, board: Board, leg: Leg, digit: str, duration_ms: int, now: float) -> None:
    board.tell(api.DigitPressed(call.id, now, leg.id, digit, duration_ms))
    if leg.id == call.app_leg:
        board.send(AppNews(call.id, digit=digit))


def _cross(call: Call, board: Board, leg: Leg, digit: str, duration_ms: int) -> None:
    """Say a telephone-event to a phone that does not know them, as tones."""
    other = call.peer_of(leg)
    if other is None or other.sound.events_port() is not None:
        return
    listener = other.sound.audio_port()
    tones = digits.tones(digit)
    if listener is None or tones is None:
        return
    port = board.new_port_id(call.id)
    clips = (
        media.PlayTone(tones, _TONE_DBOV, max(duration_ms, _SHORTEST_MS)),
        media.PlayTone((), 0.0, _PAUSE_MS),
    )
    call.sounding[port] = listener
    board.send(media.OpenPlayer(port, call.id))
    board.send(media.Play(port, 1, clips))
    board.send(media.Hear(listener, port))


def played(call: Call, board: Board, event: media.Played) -> bool:
    """True when what ended were the tones of a digit: their player goes."""
    if event.port not in call.sounding:
        return False
    close(call, board, event.port)
    return True


def close(call: Call, board: Board, port: int) -> None:
    del call.sounding[port]
    board.send(media.ClosePort(port))
    board.port_over(port)


def close_all(call: Call, board: Board, ports: list[int]) -> None:
    """A leg with these ports goes: what is being said to it ends."""
    for port in [port for port, listener in call.sounding.items() if listener in ports]:
        close(call, board, port)
