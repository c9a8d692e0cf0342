"""The engine without I/O: the SIP stack and the switchboard, each fed with what the other says.

One input is carried to its end before the next: events go up, commands go down, until nothing is left
to do. What must leave the process is collected on the way and handed out in the order that keeps a
crash harmless: first the commands to media with the memos that describe the new state, then the
records to keep, then the messages to peers.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, Protocol

from media import messages as media
from pbx.board import AppNews, SaveBindings, StartApp
from pbx.switchboard import Switchboard
from sipcore import events as sip
from sipcore.stack import Stack


class Outside(Protocol):
    """What the engine cannot do itself. None of these may block or raise for a peer's fault."""

    def transmit(self, message: sip.Transmit) -> None: ...

    def resolve(self, question: sip.Resolve) -> None:
        """Answer later with `Engine.handle(Resolved(...))`."""

    def to_media(self, commands: list[media.Command]) -> None:
        """One frame of commands, in this order."""

    def keep(self, bindings: SaveBindings) -> None: ...

    def start_app(self, start: StartApp) -> None: ...

    def tell_app(self, news: AppNews) -> None: ...

    def alias(self, alias: sip.Aliased) -> None:
        """A peer offers its connection for requests to it; take it where it has proved who it is."""

    def target_failed(self, target: sip.TargetFailed) -> None:
        """Where names lead: this target after all others, for a while."""

    def peer_broke(self, fault: sip.PeerBroke) -> None: ...

    def crashed(self, crash: sip.Crashed) -> None:
        """A fault of ours, for the log; the dialog that it happened in was ended."""


TO_STACK = (
    sip.Invite,
    sip.Progress,
    sip.Answer,
    sip.Reject,
    sip.Ack,
    sip.HangUp,
    sip.Ask,
    sip.Send,
    sip.Reply,
    sip.Received,
    sip.FlowFailed,
    sip.Resolved,
    sip.Tick,
)


class Engine:
    """Stack and switchboard as one core: `handle(input, now)`, `next_deadline()`."""

    def __init__(
        self, stack: Stack, switchboard: Switchboard, outside: Outside, *, strict: bool = False
    ) -> None:
        self._strict = strict
        self.stack = stack
        self.switchboard = switchboard
        self.outside = outside
        self._media: list[media.Command] = []
        self._transmits: list[sip.Transmit] = []
        self._tick = sip.Tick()
        self._sinks: dict[type, Callable[[Any], None]] = {
            sip.Transmit: self._transmits.append,
            sip.Resolve: outside.resolve,
            sip.Aliased: outside.alias,
            sip.TargetFailed: outside.target_failed,
            sip.PeerBroke: outside.peer_broke,
            sip.Crashed: outside.crashed,
            StartApp: outside.start_app,
            AppNews: outside.tell_app,
            SaveBindings: outside.keep,
        }
        for command in media.Command.__args__:
            self._sinks[command] = self._media.append
        self._for_stack = frozenset(TO_STACK)

    def handle(self, what: Any, now: float) -> None:
        """Carry one input to its end: a message, an event of media, an application's wish, a new snapshot."""
        sinks, for_stack, ask_stack = self._sinks, self._for_stack, self.stack.handle
        todo = [what]
        for item in todo:  # what an item leads to is appended, and so comes after all that was there
            kind = type(item)
            sink = sinks.get(kind)
            if sink is not None:
                sink(item)
            elif kind in for_stack:
                todo += ask_stack(item, now)
            else:
                todo += self._up(item, now)
        if self._media or self._transmits or self.switchboard.has_memos:
            self._let_out()

    def _up(self, event: Any, now: float) -> list[Any]:
        """Hand an event to the call layer. A fault of ours in there ends the one call that it happened in."""
        try:
            return self.switchboard.handle(event, now)
        except Exception:
            if self._strict:
                raise
            self.outside.crashed(sip.Crashed(getattr(event, "dialog", None), traceback.format_exc()))
            return self.switchboard.abandon(event, now)

    def tick(self, now: float) -> None:
        """A deadline is here."""
        deadline = self.stack.next_deadline()
        if deadline is not None and deadline <= now:
            self.handle(self._tick, now)
        for due in self.switchboard.due(now):
            self.handle(due, now)

    def restore(self, memos: media.Memos, now: float) -> None:
        """Take up the calls that an engine before this one left with media, before the first message."""
        self._carry_out(self.switchboard.restore(memos, now), now)

    def shut_down(self, now: float) -> None:
        """End every call; the messages that do it are on their way when this returns."""
        self._carry_out(self.switchboard.shut_down(now), now)

    def _carry_out(self, outputs: list[Any], now: float) -> None:
        for output in outputs:
            self.handle(output, now)

    def _let_out(self) -> None:
        board = self.switchboard
        if board.has_memos:
            self._media.extend(board.memos())
        if self._media:
            commands, self._media[:] = self._media[:], ()
            self.outside.to_media(commands)
        if self._transmits:
            transmits, self._transmits[:] = self._transmits[:], ()
            for message in transmits:
                self.outside.transmit(message)

    def next_deadline(self) -> float | None:
        mine, boards = self.stack.next_deadline(), self.switchboard.next_deadline()
        if mine is None or boards is None:
            return mine if boards is None else boards
        return min(mine, boards)
