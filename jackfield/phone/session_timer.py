"""Session timers (RFC 4028): who refreshes, when, and what happens when nobody does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackfield.phone.events import Change
from jackfield.phone.message import Message, read_params

if TYPE_CHECKING:
    from jackfield.phone.leg import Leg

NO_ASK = 0
"""The `ask` of a refresh: nobody waits for its outcome."""


class SessionTimer:
    """The timer of one leg; does nothing until a 2xx has settled an interval."""

    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self.interval_s = 0
        self.we_refresh = False
        self._refresh_at: float | None = None
        self._ends_at: float | None = None

    @property
    def deadline(self) -> float | None:
        times = [time for time in (self._refresh_at, self._ends_at) if time is not None]
        return min(times, default=None)

    def fields_of_invite(self, least_s: int = 0) -> list[tuple[str, str]]:
        """What the first INVITE asks for; `least_s` is the Min-SE of a 422."""
        account = self._leg.agent.account
        if not account.session_expires_s:
            return []
        who = f";refresher={account.refresher}" if account.refresher else ""
        wish = max(account.session_expires_s, least_s)
        return [("Session-Expires", f"{wish}{who}"), ("Min-SE", str(max(account.min_se_s, least_s)))]

    def fields_of_refresh(self, method: str) -> list[tuple[str, str]]:
        if not self.interval_s:
            return []
        # in a refresh uac is who sends it (7.4), so the roles stay as they are only when written down
        who = "uac" if self.we_refresh else "uas"
        return [("Session-Expires", f"{self.interval_s};refresher={who}")]

    def refuses(self, request: Message) -> int:
        """The Min-SE to refuse a request with (422), or 0."""
        asked = request.number("session-expires")
        least = self._leg.agent.account.min_se_s
        return least if asked is not None and asked < least else 0

    def answer(self, request: Message) -> list[tuple[str, str]]:
        """Settle the timer as the one who answers `request`, and give the fields for the 2xx (9)."""
        asked = request.number("session-expires")
        theirs = "timer" in request.options("supported")
        if asked is None or not theirs:
            wish = self._leg.agent.account.session_expires_s
            if not wish:
                self._settle(0, False)
                return []
            asked = wish
        wanted = read_params(";" + request.get("session-expires").partition(";")[2]).get("refresher")
        peer_refreshes = theirs and wanted != "uas"
        self._settle(asked, not peer_refreshes)
        fields = [("Session-Expires", f"{asked};refresher={'uac' if peer_refreshes else 'uas'}")]
        return [*fields, ("Require", "timer")] if peer_refreshes else fields

    def settle(self, response: Message, *, we_asked: bool) -> None:
        """Take what a 2xx to our request says."""
        interval = response.number("session-expires")
        params = read_params(";" + response.get("session-expires").partition(";")[2])
        if interval is not None:
            self._settle(interval, params.get("refresher") == "uac")
        elif self.interval_s and we_asked:
            self._settle(self.interval_s, True)

    def stop(self) -> None:
        self._refresh_at = self._ends_at = None

    def tick(self) -> None:
        agent, leg = self._leg.agent, self._leg
        if self._refresh_at is not None and agent.now >= self._refresh_at:
            self._refresh_at = None
            self._refresh()
        if self._ends_at is not None and agent.now >= self._ends_at:
            self.stop()
            if not self.we_refresh:
                agent.complain(f"the session of {self.interval_s} s was not refreshed (RFC 4028 10)")
            leg.bye()
            leg.end("the session was not refreshed")

    def _refresh(self) -> None:
        """By UPDATE without an offer where the other side takes it, else by a re-INVITE as before (7.4)."""
        leg = self._leg
        negotiation = leg.negotiation
        update = "update" in leg.peer_allows
        leg.changing.offer(
            Change(
                leg.id,
                NO_ASK,
                negotiation.direction,
                negotiation.zero_address,
                "UPDATE" if update else "INVITE",
                offers=not update,
            )
        )

    def _settle(self, interval_s: int, we_refresh: bool) -> None:
        self.interval_s, self.we_refresh = interval_s, we_refresh
        if not interval_s:
            self.stop()
            return
        now = self._leg.agent.now
        self._refresh_at = now + interval_s / 2 if we_refresh else None
        self._ends_at = now + interval_s - min(32.0, interval_s / 3)
