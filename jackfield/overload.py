"""When to say no to new calls, so that the calls that are up stay well.

Two signs of too much: messages that wait in the sockets' buffers, and a loop that comes late to its
timers. The share of new calls that is refused with 503 follows the worse of the two, quickly up and
slowly down, and so settles where the server just keeps up. Knows no socket and no clock.
"""

from __future__ import annotations

GAIN = 0.3
"""share of calls to refuse for each time that the signs exceed their mark: so it settles"""
RISE = 0.5
FALL = 0.15
"""how far one sample moves towards the wanted share"""
MOST_SHED = 0.97
"""a few calls are always tried: they show when it is over"""
LEAST_SHED = 0.005


class Overload:
    """`sample` it every `SAMPLE_S`; what it returns is `Stack.shedding`."""

    SAMPLE_S = 0.05

    def __init__(self, most_lag_s: float, most_backlog_bytes: int, calls_per_s: int) -> None:
        self.shedding = 0.0
        self._most_lag_s = most_lag_s
        self._most_backlog_bytes = most_backlog_bytes
        self._calls_per_s = calls_per_s
        self._rate = 0.0

    def sample(self, lag_s: float, backlog_bytes: int, new_calls: int, since_s: float) -> float:
        """Take one look: how late the loop is, what waits unread, how many calls came in since the last look.

        Returns the share of new calls to refuse, 0 to 1.
        """
        excess = max(lag_s / self._most_lag_s, backlog_bytes / self._most_backlog_bytes)
        wanted = min(MOST_SHED, max(0.0, GAIN * (excess - 1.0)))
        self.shedding += (wanted - self.shedding) * (RISE if wanted > self.shedding else FALL)
        if self.shedding < LEAST_SHED:
            self.shedding = 0.0
        self._rate += (new_calls / since_s - self._rate) * min(1.0, since_s)
        over_rate = 0.0 if self._rate <= self._calls_per_s else 1.0 - self._calls_per_s / self._rate
        return max(self.shedding, over_rate)
