"""Applications at the wheel of a call: their wishes go in as commands, what happens comes back as news.

`LiveCall` is the `CallControl` that an application holds; it lives outside the call layer, on the
loop, and knows the call only by its id. `obey` is the call layer's side of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from media import messages as media
from pbx.api import CallApp, CallerLeft, CallId, EndCause
from pbx.board import AppNews
from pbx.leg import Leg, LegState
from pbx.sound import LegSound, NoPortsLeft, narrowed
from sipcore.sdp import Sdp

if TYPE_CHECKING:
    from pbx.board import Board
    from pbx.call import Call


# ---------------------------------------------------------------- the application's side


class AppAnswer(msgspec.Struct, frozen=True, gc=False):
    """Answer the caller; `AppNews(ready=True)` follows, or `over`."""

    call: CallId


class AppEcho(msgspec.Struct, frozen=True, gc=False):
    """Let the caller hear itself, or no longer."""

    call: CallId
    on: bool


class AppTone(msgspec.Struct, frozen=True, gc=False):
    """Let the caller hear a sine; `frequency_hz` 0 ends it."""

    call: CallId
    frequency_hz: float
    level_dbov: float


class AppDone(msgspec.Struct, frozen=True, gc=False):
    """The application is through (or broke): hang up."""

    call: CallId


AppCommand = AppAnswer | AppEcho | AppTone | AppDone


class LiveCall:
    """The wheel of one call: implements `pbx.api.CallControl`."""

    def __init__(self, call: CallId, dialled: str, wish: Callable[[AppCommand], None]) -> None:
        self.id = call
        self.dialled = dialled
        self._wish = wish
        loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = loop.create_future()
        self._over: asyncio.Future[None] = loop.create_future()

    async def answer(self) -> None:
        self._wish(AppAnswer(self.id))
        await asyncio.wait((self._ready, self._over), return_when=asyncio.FIRST_COMPLETED)
        if self._over.done():
            raise CallerLeft

    async def ended(self) -> None:
        await asyncio.shield(self._over)
        raise CallerLeft

    @contextmanager
    def echo(self) -> Iterator[None]:
        self._wish(AppEcho(self.id, on=True))
        try:
            yield
        finally:
            self._wish(AppEcho(self.id, on=False))

    @contextmanager
    def tone(self, frequency_hz: float, level_dbov: float) -> Iterator[None]:
        self._wish(AppTone(self.id, frequency_hz, level_dbov))
        try:
            yield
        finally:
            self._wish(AppTone(self.id, 0.0, 0.0))

    def tell(self, news: AppNews) -> None:
        """From the call layer: what the application waits for has happened."""
        if news.ready and not self._ready.done():
            self._ready.set_result(None)
        if news.over and not self._over.done():
            self._over.set_result(None)


async def drive(app: CallApp, call: LiveCall, wish: Callable[[AppCommand], None]) -> None:
    """Run an application to its end, however it ends, and hang up. Its own errors go on to the task."""
    try:
        await app.run(call)
    except CallerLeft:
        pass
    finally:
        wish(AppDone(call.id))


# ---------------------------------------------------------------- the call's side


def obey(call: Call, board: Board, command: AppCommand, now: float) -> None:
    """Do what the application of this call wishes; once the caller has gone a wish does nothing."""
    caller = None if call.app_leg is None else call.legs.get(call.app_leg)
    if caller is None:
        return
    match command:
        case AppAnswer():
            _answer(call, board, caller, now)
        case AppEcho(on=on):
            echo = {(port, port) for port in caller.sound.ports if port} if on else set()
            call.redraw_edges(board, echo)
        case AppTone(frequency_hz=frequency_hz, level_dbov=level_dbov):
            _tone(call, board, caller, frequency_hz, level_dbov)
        case AppDone():
            call.hang_up_all(board, EndCause.CALLEE_HUNG_UP, now)


def _answer(call: Call, board: Board, caller: Leg, now: float) -> None:
    if caller.state is not LegState.INVITED:
        board.send(AppNews(call.id, ready=True))
        return
    try:
        offer = caller.sound.theirs
        if offer is None:
            body = caller.sound.offer_own(board, now)
        else:
            body = caller.sound.answer_with(board, acceptable(board, caller.sound, offer), now)
    except NoPortsLeft:
        call.refuse(board, caller, 503, "No Media Ports Left", EndCause.FAILED, now)
        return
    call.answer_leg(board, caller, body, now)
    if not caller.sound.awaits_answer:
        board.send(AppNews(call.id, ready=True))


def acceptable(board: Board, sound: LegSound, offer: Sdp) -> Sdp:
    """Our own answer: of each sound stream the codecs that we speak ourselves; other streams are refused."""
    ours = frozenset(codec.encoding for codec in board.settings.own_codecs)
    streams = tuple(
        narrowed(stream, ours) if stream.kind == "audio" else msgspec.structs.replace(stream, port=0)
        for stream in offer.streams
    )
    return Sdp(offer.origin, streams)


def _tone(call: Call, board: Board, caller: Leg, frequency_hz: float, level_dbov: float) -> None:
    call.close_tone(board)
    if not frequency_hz:
        return
    tone = call.tone = media.OpenTone(board.new_port_id(call.id), call.id, frequency_hz, level_dbov)
    board.send(tone)
    call.redraw_edges(board, {(port, tone.port) for port in caller.sound.ports if port})
