"""One leg of a call: who is at its end, where its dialog stands, and its side of the sound.

The dialog's protocol state lives in `sipcore`, the port's sound in `media`; a leg keeps their ids.
"""

from __future__ import annotations

import enum

from pbx.api import LegId, Party
from pbx.digits import Keypad
from pbx.sound import LegSound


class LegState(enum.Enum):
    INVITED = "the peer's INVITE waits for our answer"
    DIALING = "our INVITE is on its way"
    RINGING = "the peer's phone rings"
    ANSWERED = "answered"
    OVER = "over"


class Leg:
    """Mutable, owned by one Call at a time."""

    __slots__ = ("id", "keypad", "party", "private", "refers", "sound", "state")

    def __init__(self, leg_id: LegId, party: Party, state: LegState, sound: LegSound) -> None:
        self.id = leg_id
        self.party = party
        self.sound = sound
        self.state = state
        self.private = False
        """who is there does not want to be known to those it is connected with (RFC 3323)"""
        self.keypad = Keypad()
        self.refers = 0
        """how many REFERs came in this dialog (RFC 3515 2.4.6)"""

    @property
    def answered(self) -> bool:
        return self.state is LegState.ANSWERED
