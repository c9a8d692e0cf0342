"""What features and observers of calls may know and do: the only door into `pbx` for the other rooms.

A call is told as one ordered stream of `CallEvent`s; call records, bills and wallboards are readings
of it. An application (`CallApp`) takes the wheel of one call at a time through `CallControl`.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable
from contextlib import AbstractContextManager
from typing import NewType, Protocol

import msgspec

from conf.snapshot import TenantId
from sipcore.events import DialogId

CallId = NewType("CallId", int)
LegId = DialogId
"""A leg is named by the dialog that it speaks in."""


class EndCause(enum.Enum):
    """Why a leg or a call is over; the value is the sentence for people."""

    CALLER_HUNG_UP = "the caller hung up"
    CALLEE_HUNG_UP = "the callee hung up"
    CANCELLED = "the caller gave up before the answer"
    ELSEWHERE = "another phone answered"
    BUSY = "busy"
    REJECTED = "the callee refused"
    NO_ANSWER = "nobody answered in time"
    NOT_REGISTERED = "no phone is registered"
    NO_SUCH_NUMBER = "the number leads nowhere"
    NOT_ALLOWED = "not allowed"
    TOO_MANY_CALLS = "a limit of simultaneous calls is reached"
    NO_COMMON_CODEC = "the two ends share no codec"
    TRANSFERRED = "transferred to another party"
    REPLACED = "another leg took its place (RFC 3891)"
    PEER_LOST = "the far side stopped answering"
    SESSION_EXPIRED = "the session was not refreshed"
    NO_ACK = "the answer was never acknowledged"
    TOO_LONG = "the longest time of a call was over"
    SILENT = "both ends were silent for too long"
    FAILED = "the call failed"
    SHUTDOWN = "the server is shutting down"


class Party(msgspec.Struct, frozen=True, gc=False):
    """Who is at the end of a leg."""

    tenant: TenantId
    number: str
    name: str = ""
    trunk: str = ""
    """the trunk's name when the party is outside; "" for an extension or an application"""


class Hears(msgspec.Struct, frozen=True, gc=False):
    """One edge of who hears whom: (listener, speaker), both legs."""

    listener: LegId
    speaker: LegId


# ---------------------------------------------------------------- the stream of call events


class CallStarted(msgspec.Struct, frozen=True, gc=False):
    call: CallId
    now: float
    caller: Party
    dialled: str
    sip_call_id: str


class LegDialed(msgspec.Struct, frozen=True, gc=False):
    call: CallId
    now: float
    leg: LegId
    party: Party
    target: str


class LegRang(msgspec.Struct, frozen=True, gc=False):
    call: CallId
    now: float
    leg: LegId


class LegAnswered(msgspec.Struct, frozen=True, gc=False):
    call: CallId
    now: float
    leg: LegId


class LegEnded(msgspec.Struct, frozen=True, gc=False):
    call: CallId
    now: float
    leg: LegId
    cause: EndCause
    status: int
    """the SIP status that ended it; 0 for a BYE"""


class Connected(msgspec.Struct, frozen=True, gc=False):
    """Two answered legs hear each other from now on."""

    call: CallId
    now: float
    first: LegId
    second: LegId


class Held(msgspec.Struct, frozen=True, gc=False):
    call: CallId
    now: float
    by: LegId


class Resumed(msgspec.Struct, frozen=True, gc=False):
    call: CallId
    now: float
    by: LegId


class DigitPressed(msgspec.Struct, frozen=True, gc=False):
    """One key, told at its end with how long it was held."""

    call: CallId
    now: float
    leg: LegId
    digit: str
    duration_ms: int


class Transferred(msgspec.Struct, frozen=True, gc=False):
    call: CallId
    now: float
    by: LegId
    party: Party
    target: str


class CallEnded(msgspec.Struct, frozen=True, gc=False):
    call: CallId
    now: float
    cause: EndCause


class StreamReport(msgspec.Struct, frozen=True, gc=False):
    """How a stream of an answered leg was: told once, after its LegEnded and perhaps after CallEnded.

    `received_*` and `lost_packets`: what came from the peer; `remote_*`: how it received us, by its RTCP.
    """

    call: CallId
    now: float
    leg: LegId
    codec: str
    received_packets: int
    sent_packets: int
    lost_packets: int
    jitter_ms: float
    mos: float
    """estimate (ITU-T G.107), 1.0 to 4.5; 0 when nothing came"""
    round_trip_ms: float
    remote_lost_packets: int
    remote_jitter_ms: float
    refused_packets: int
    """foreign, malformed, or of a codec that nobody accepts"""


CallEvent = (
    CallStarted
    | LegDialed
    | LegRang
    | LegAnswered
    | LegEnded
    | Connected
    | Held
    | Resumed
    | DigitPressed
    | Transferred
    | CallEnded
    | StreamReport
)


class CallObserver(Protocol):
    def on_event(self, event: CallEvent) -> None:
        """Be quick; an observer cannot change the call."""


# ---------------------------------------------------------------- applications


class CallerLeft(Exception):
    """Raised out of every wait of an application when its call is over."""


class Done(msgspec.Struct, frozen=True):
    """The application is through: hang up."""


Outcome = Done


class Tone(msgspec.Struct, frozen=True):
    """Sines at once, each at `level_dbov` (0: it just reaches full scale); none of them is silence."""

    frequencies_hz: tuple[float, ...]
    level_dbov: float = -16.0
    duration_ms: int = 0
    """0: without end"""


class Recorded(msgspec.Struct, frozen=True):
    """A sound file (WAV or Ogg/Opus), from `start_ms` on."""

    path: str
    start_ms: int = 0


Clip = Tone | Recorded


class PlayEnd(enum.Enum):
    """Why playing came to its end."""

    DONE = "done"
    STOPPED = "stopped"
    DIGIT = "digit"
    FAILED = "failed"
    """a file that cannot be played: the log says which one and why"""


class CallControl(Protocol):
    """The wheel of one call, held by one application at a time."""

    @property
    def id(self) -> CallId: ...

    @property
    def dialled(self) -> str: ...

    def answer(self) -> Awaitable[None]:
        """Answer the caller and wait until the sound runs. Raises CallerLeft."""

    def ended(self) -> Awaitable[None]:
        """Wait until the caller leaves: always raises CallerLeft."""

    def echo(self) -> AbstractContextManager[None]:
        """While in this block the caller hears itself."""

    def playing(self, *clips: Clip, times: int = 0) -> AbstractContextManager[None]:
        """While in this block the caller hears the clips one after the other, `times` times (0: for ever)."""

    def play(self, *clips: Clip, ended_by: str = "") -> Awaitable[PlayEnd]:
        """Play the clips to the caller and wait for their end, or for a digit among `ended_by`.

        What else is played ends. Raises CallerLeft.
        """

    def digit(self, within_s: float | None = None) -> Awaitable[str | None]:
        """The next key that the caller presses, or pressed and nobody asked for; None: none in time.

        Raises CallerLeft.
        """


class CallApp(Protocol):
    async def run(self, call: CallControl) -> Outcome:
        """Drive the call to its end. CallerLeft may unwind it at any await."""
