"""Applications at the wheel of a call: their wishes go in as commands, what happens comes back as news.

`LiveCall` is the `CallControl` that an application holds; it lives outside the call layer, on the
loop, and knows the call only by its id. `obey` is the call layer's side of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, assert_never

import msgspec

from media import messages as media
from pbx.api import CallApp, CallerLeft, CallId, Clip, EndCause, PlayEnd, Recorded, Tone
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


class AppPlay(msgspec.Struct, frozen=True):
    """Let the caller hear these clips, and nothing that was played before; none of them ends it.

    `AppNews(played=play, end=...)` follows.
    """

    call: CallId
    play: int
    clips: tuple[Clip, ...] = ()
    times: int = 1
    ended_by: str = ""


class AppDone(msgspec.Struct, frozen=True, gc=False):
    """The application is through (or broke): hang up."""

    call: CallId


AppCommand = AppAnswer | AppEcho | AppPlay | AppDone


MOST_DIGITS = 64
"""pressed ahead of being asked for"""


class LiveCall:
    """The wheel of one call: implements `pbx.api.CallControl`."""

    def __init__(self, call: CallId, dialled: str, wish: Callable[[AppCommand], None]) -> None:
        self.id = call
        self.dialled = dialled
        self._wish = wish
        loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = loop.create_future()
        self._over: asyncio.Future[None] = loop.create_future()
        self._played: asyncio.Future[PlayEnd] = loop.create_future()
        self._play = 0
        self._pressed: deque[str] = deque(maxlen=MOST_DIGITS)
        self._digit: asyncio.Future[None] = loop.create_future()

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
    def playing(self, *clips: Clip, times: int = 0) -> Iterator[None]:
        play = self._begin_play(clips, times, "")
        try:
            yield
        finally:
            if play == self._play:
                self._begin_play((), 1, "")

    async def play(self, *clips: Clip, ended_by: str = "") -> PlayEnd:
        if not clips:
            return PlayEnd.DONE
        play = self._begin_play(clips, 1, ended_by)
        played = self._played
        try:
            await asyncio.wait((played, self._over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not played.done() and play == self._play:
                self._begin_play((), 1, "")
        if self._over.done():
            raise CallerLeft
        return played.result()

    async def digit(self, within_s: float | None = None) -> str | None:
        if not self._pressed:
            self._digit = asyncio.get_running_loop().create_future()
            waits = (self._digit, self._over)
            await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        if self._over.done():
            raise CallerLeft
        return self._pressed.popleft() if self._pressed else None

    def _begin_play(self, clips: tuple[Clip, ...], times: int, ended_by: str) -> int:
        self._play += 1
        if not self._played.done():
            self._played.set_result(PlayEnd.STOPPED)
        self._played = asyncio.get_running_loop().create_future()
        self._wish(AppPlay(self.id, self._play, clips, times, ended_by))
        return self._play

    def tell(self, news: AppNews) -> None:
        """From the call layer: what the application waits for has happened."""
        if news.ready and not self._ready.done():
            self._ready.set_result(None)
        if news.digit:
            self._pressed.append(news.digit)
            if not self._digit.done():
                self._digit.set_result(None)
        if news.end is not None and news.played == self._play and not self._played.done():
            self._played.set_result(news.end)
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
        case AppPlay():
            _play(call, board, caller, command)
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
    port = caller.sound.audio_port()
    if port is not None and caller.sound.events_port() is None:
        board.send(media.DetectTones(port, True))
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


def _play(call: Call, board: Board, caller: Leg, command: AppPlay) -> None:
    if not command.clips:
        call.close_player(board)
        return
    clips = tuple(_clip(clip) for clip in command.clips)
    if call.player is None:
        call.player = media.OpenPlayer(board.new_port_id(call.id), call.id)
        board.send(call.player)
        call.redraw_edges(board, {(port, call.player.port) for port in caller.sound.ports if port})
    call.playing = media.Play(call.player.port, command.play, clips, command.times, command.ended_by)
    board.send(call.playing)


def _clip(clip: Clip) -> media.PlayTone | media.PlayFile:
    match clip:
        case Tone(frequencies_hz=frequencies_hz, level_dbov=level_dbov, duration_ms=duration_ms):
            return media.PlayTone(frequencies_hz, level_dbov, duration_ms)
        case Recorded(path=path, start_ms=start_ms):
            return media.PlayFile(path, start_ms)
        case _:
            assert_never(clip)


def played(call: Call, board: Board, event: media.Played) -> None:
    """Media has come to the end of what the application plays."""
    if call.playing is not None and call.playing.play == event.play:
        call.playing = None
    board.send(AppNews(call.id, played=event.play, end=PlayEnd(event.why)))
