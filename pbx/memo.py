"""The note that the engine leaves with media about each call: enough to take the call up again.

Plain data, versioned, written before the answer that it describes goes out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from conf.snapshot import Srtp
from pbx.api import CallId, LegId, Party
from pbx.leg import Leg, LegState
from pbx.securing import Manner
from pbx.sound import LegSound
from sipcore.sdp import parse_sdp

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
    we_answered: bool
    private: bool
    refers: int
    srtp: Srtp = Srtp.OFF
    browser: bool = False


class CallMemo(msgspec.Struct, frozen=True, array_like=True):
    """One call that is up."""

    version: int
    id: CallId
    caller: Party
    dialled: str
    legs: tuple[LegMemo, ...]
    bridge: tuple[LegId, LegId] | None
    app: str | None
    app_leg: LegId | None


class Dialogs(Protocol):
    def memo(self, dialog: LegId) -> bytes: ...


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(CallMemo).decode


def of(call: Call, dialogs: Dialogs) -> bytes:
    """The memo of a call as it stands now; only its answered legs are in it."""
    legs = tuple([_leg_memo(leg, dialogs) for leg in call.legs.values() if leg.answered])
    attempt = call.attempt
    return _encode(
        CallMemo(VERSION, call.id, attempt.caller, attempt.dialled, legs, call.bridge, call.app, call.app_leg)
    )


def _leg_memo(leg: Leg, dialogs: Dialogs) -> LegMemo:
    sound = leg.sound
    return LegMemo(
        leg.id,
        leg.party,
        dialogs.memo(leg.id),
        sound.host,
        sound.session_id,
        sound.version,
        tuple(sound.ports),
        tuple(sound.numbers),
        b"" if sound.theirs is None else sound.theirs.to_bytes(),
        sound.sent,
        sound.agreed is not sound.theirs,
        leg.private,
        leg.refers,
        sound.manner.srtp,
        sound.manner.browser,
    )


def read(note: bytes) -> CallMemo | None:
    """A memo that an engine before this one left; None when this version cannot read it."""
    try:
        memo = _decode(note)
    except msgspec.DecodeError:
        return None
    return memo if memo.version == VERSION else None


def leg_from(memo: LegMemo, leg_id: LegId, call: CallId) -> Leg:
    """The leg as it was, under the dialog id that it has now."""
    sound = LegSound(call, memo.host, memo.session_id, Manner(memo.srtp, memo.browser))
    sound.version = memo.version
    sound.ports, sound.numbers = list(memo.ports), list(memo.numbers)
    sound.sent = memo.sent
    sound.theirs = parse_sdp(memo.theirs) if memo.theirs else None
    sound.shown = sound.said = parse_sdp(memo.sent) if memo.sent else None
    sound.met = sound.theirs
    sound.agreed = sound.shown if memo.we_answered else sound.theirs
    leg = Leg(leg_id, memo.party, LegState.ANSWERED, sound)
    leg.private, leg.refers = memo.private, memo.refers
    return leg
