"""Session timers: what is agreed between two ends, and when it makes them act (RFC 4028), both roles.

Pure: reads headers, writes lines, does sums. Sending refreshes and BYEs is `asking.py`'s work.
"""

from __future__ import annotations

import msgspec

from sipcore.faults import PeerFault
from sipcore.headers import SessionExpires, parse_session_expires
from sipcore.message import Request, Response

FLOOR_S = 90
"""No one may ask for shorter sessions than this (section 5)."""
MOST_S = 86_400
"""Longer intervals count as a day: a peer cannot make a dialog immortal."""


class Session(msgspec.Struct, gc=False, array_like=True):
    """What holds for a dialog until it is agreed anew."""

    interval_s: int
    we_refresh: bool
    sdp: bytes = b""
    """our last SDP, which a re-INVITE repeats where the peer knows no UPDATE; "" where it does"""
    min_se_s: int = 0
    """what a 422 of the peer asked for; 0: nothing"""

    @property
    def refresh_after_s(self) -> float:
        """Half the interval (section 10)."""
        return self.interval_s / 2

    @property
    def give_up_after_s(self) -> float:
        """When a BYE is due without a refresh: a third of the interval, or 32 s, before its end (10)."""
        return self.interval_s - min(32.0, self.interval_s / 3)


def request_lines(interval_s: int, min_se_s: int, refresher: str = "") -> str:
    """Session-Expires, and Min-SE where it says more than the default, for an INVITE or UPDATE of ours."""
    if not interval_s:
        return ""
    interval_s = max(interval_s, min_se_s, FLOOR_S)
    least = f"Min-SE: {min_se_s}\r\n" if min_se_s > FLOOR_S else ""
    if refresher:
        return f"Session-Expires: {interval_s};refresher={refresher}\r\n{least}"
    return f"Session-Expires: {interval_s}\r\n{least}"


def refresh_lines(session: Session) -> str:
    """The same for a request inside the dialog: who refreshes stays as it is (section 7.4)."""
    return request_lines(session.interval_s, session.min_se_s, "uac" if session.we_refresh else "uas")


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """What a request of the peer says about session timers."""

    interval_s: int
    """0: nothing"""
    refresher: str
    least_s: int
    knows_timer: bool

    def is_too_short(self, min_se_s: int) -> bool:
        """True for a request to be refused with 422 (section 9): its sender understands that answer."""
        return self.knows_timer and 0 < self.interval_s < min_se_s


def wanted_by(request: Request) -> Wanted:
    """Raises PeerFault(400) for broken headers."""
    asked_text, least_text = request.get("session-expires"), request.get("min-se")
    knows_timer = "timer" in request.supported
    if asked_text is None and least_text is None:
        return _NOTHING_WANTED if knows_timer else _TIMER_UNKNOWN
    asked = parse_session_expires(asked_text) if asked_text is not None else SessionExpires(0)
    least_s = parse_session_expires(least_text).interval_s if least_text is not None else FLOOR_S
    return Wanted(asked.interval_s, asked.refresher, least_s, knows_timer)


_NOTHING_WANTED = Wanted(0, "", FLOOR_S, True)
_TIMER_UNKNOWN = Wanted(0, "", FLOOR_S, False)


def grant(wanted: Wanted, wish_s: int, min_se_s: int) -> Session | None:
    """What our 2xx grants (section 9); None where no timer is kept. `wish_s` 0 switches timers off.

    Where the peer leaves it open who refreshes, it does: then a phone that is gone is noticed by its
    silence. For one that knows no timers we refresh ourselves.
    """
    if not wish_s:
        return None
    interval_s = min(wanted.interval_s or wish_s, wish_s)
    interval_s = min(max(interval_s, wanted.least_s, min_se_s, FLOOR_S), MOST_S)
    return Session(interval_s, not wanted.knows_timer or wanted.refresher == "uas")


def response_lines(session: Session | None) -> str:
    """Session-Expires for our 2xx, with Require where the peer has to act (section 9)."""
    if session is None:
        return ""
    if session.we_refresh:
        return f"Session-Expires: {session.interval_s};refresher=uas\r\n"
    return f"Require: timer\r\nSession-Expires: {session.interval_s};refresher=uac\r\n"


def terms_of_response(response: Response, min_se_s: int = 0) -> Session | None:
    """What a 2xx to our request grants (section 7.2); None: the session does not expire."""
    granted_text = response.get("session-expires")
    if granted_text is None:
        return None
    try:
        granted = parse_session_expires(granted_text)
    except PeerFault:
        return None
    interval_s = min(max(granted.interval_s, FLOOR_S), MOST_S)
    return Session(interval_s, granted.refresher != "uas", min_se_s=min_se_s)


def least_of(response: Response) -> int:
    """The Min-SE of a 422; 0 when it has none that could help."""
    try:
        text = response.get("min-se")
        least_s = parse_session_expires(text).interval_s if text is not None else 0
    except PeerFault:
        return 0
    return least_s if least_s <= MOST_S else 0
