"""When to ping a connection, and when it is given up (RFC 5626 sections 4.4.1 and 5.4, RFC 6455 5.5.2).

A core without clock and socket: it is told what came in and asked from time to time.
"""

from __future__ import annotations

import enum

from sipcore.aio.listen import Limits


class Origin(enum.Enum):
    """Who opened the connection, and how it is pinged."""

    ACCEPTED = "accepted: the far side keeps it alive"
    OPENED = "opened by us: pinged with double CRLF"
    WEBSOCKET = "accepted from a browser: pinged with WebSocket pings, whose pongs are a must"


class Due(enum.Enum):
    """What `Liveness.due` asks for."""

    PING = enum.auto()


class Liveness:
    """The life of one connection. Times are monotonic seconds.

    `jitter` in [0, 1) spreads the pings over 80 to 100 % of their interval, so that thousands of
    connections opened at once do not ping at once (RFC 5626 4.4.1).
    """

    __slots__ = (
        "_answers_pings",
        "_heard_at",
        "_limits",
        "_made_at",
        "_ping_at",
        "_ping_s",
        "_pinged_at",
        "_proven",
    )

    def __init__(self, limits: Limits, origin: Origin, now: float, jitter: float) -> None:
        self._limits = limits
        self._made_at = now
        self._heard_at = now
        self._proven = origin is Origin.OPENED
        self._answers_pings = limits.pong_required or origin is Origin.WEBSOCKET
        longest = {
            Origin.ACCEPTED: 0.0,
            Origin.OPENED: limits.ping_s,
            Origin.WEBSOCKET: limits.websocket_ping_s,
        }[origin]
        self._ping_s = longest * (0.8 + 0.2 * jitter)
        self._ping_at = now + self._ping_s if longest else float("inf")
        self._pinged_at: float | None = None

    def heard(self, now: float) -> None:
        """Anything at all came in: the far side is alive."""
        self._heard_at = now
        self._pinged_at = None

    def ponged(self) -> None:
        """The far side answered a ping; from now on it is expected to."""
        self._answers_pings = True

    def proven(self) -> None:
        """A whole message came in: this is no stranger who only holds the line."""
        self._proven = True

    def due(self, now: float) -> Due | str | None:
        """PING when one is to be sent, a reason when the connection is to be closed, mostly None."""
        limits = self._limits
        if not self._proven and now - self._made_at >= limits.first_message_s:
            return f"no message in {limits.first_message_s:g} s"
        if now - self._heard_at >= limits.idle_s:
            return f"nothing heard for {limits.idle_s:g} s"
        if self._pinged_at is not None and now - self._pinged_at >= limits.pong_s:
            if self._answers_pings:
                return f"no answer to a keep-alive in {limits.pong_s:g} s"
            self._pinged_at = None
        if now >= self._ping_at and self._pinged_at is None:
            self._ping_at = now + self._ping_s
            self._pinged_at = now
            return Due.PING
        return None
