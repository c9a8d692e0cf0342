"""The four states of a call, as one phone sees it."""

from __future__ import annotations

import enum


class State(enum.Enum):
    CALLING = "our INVITE is out"
    RINGING = "their INVITE is here"
    CONFIRMED = "the call stands"
    ENDED = "the call is over"
