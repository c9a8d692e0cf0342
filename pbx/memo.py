"""The note that the engine leaves with media about each call: enough to take the call up again.

Plain data, versioned, written before the answer that it describes goes out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from pbx.api import CallId, LegId, Party

if TYPE_CHECKING:
    from pbx.call import Call

VERSION = 1


class LegMemo(msgspec.Struct, frozen=True, array_like=True):
    """One answered leg: its dialog as sipcore wrote it, its ports, and both sides' last SDP."""

    id: LegId
    party: Party
    dialog: bytes
    host: str
    session_id: int
    version: int
    ports: tuple[int, ...]
    numbers: tuple[int, ...]
    theirs: bytes
    sent: bytes


class CallMemo(msgspec.Struct, frozen=True, array_like=True):
    """One call that is up."""

    version: int
    id: CallId
    caller: Party
    dialled: str
    legs: tuple[LegMemo, ...]
    bridge: tuple[LegId, LegId] | None
    app: str | None


class Dialogs(Protocol):
    def memo(self, dialog: LegId) -> bytes: ...


_encode = msgspec.msgpack.Encoder().encode
read = msgspec.msgpack.Decoder(CallMemo).decode


def of(call: Call, dialogs: Dialogs) -> bytes:
    """The memo of a call as it stands now; only its answered legs are in it."""
    legs = tuple(
        LegMemo(
            leg.id,
            leg.party,
            dialogs.memo(leg.id),
            leg.sound.host,
            leg.sound.session_id,
            leg.sound.version,
            tuple(leg.sound.ports),
            tuple(leg.sound.numbers),
            b"" if leg.sound.theirs is None else leg.sound.theirs.to_bytes(),
            leg.sound.sent,
        )
        for leg in call.legs.values()
        if leg.answered
    )
    attempt = call.attempt
    return _encode(CallMemo(VERSION, call.id, attempt.caller, attempt.dialled, legs, call.bridge, call.app))
