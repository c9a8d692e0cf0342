"""Keeps sessions alive and notices those that are not (RFC 4028 sections 7.4 and 10).

Two deadlines for each dialog with a session timer: the refresh, where it is ours, and the BYE when no
refresh came. What is agreed is worked out in `session_timer.py`; a refresh is sent by `asking.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from sipcore.core import Core
from sipcore.endings import Endings
from sipcore.events import Ask, EndedBy, RequestId
from sipcore.session_timer import Session
from sipcore.usage import DialogTimer, Usage

REFRESH = RequestId(0)
"""The request id of a refresh: no one of the call layer waits for its answer."""


class Sessions:
    """The session timers of all usages."""

    def __init__(self, core: Core, endings: Endings) -> None:
        self._core = core
        self._endings = endings
        self.ask: Callable[[Usage, Ask], None] | None = None
        """sends a refresh; set when the stack is put together"""

    def agreed(self, usage: Usage, session: Session | None, sdp: bytes = b"") -> None:
        """A 2xx to an INVITE or UPDATE set the terms anew (None: no timer). `sdp`: ours from now on."""
        core, dialog, before = self._core, usage.dialog, usage.session
        usage.session = session
        if session is None:
            if before is not None:
                core.stop(DialogTimer.REFRESH, usage)
                core.stop(DialogTimer.EXPIRE, usage)
            return
        if dialog is not None and not dialog.takes_update:
            session.sdp = sdp or (before.sdp if before is not None else b"")
        core.start(DialogTimer.EXPIRE, usage, core.now + session.give_up_after_s)
        if session.we_refresh:
            core.start(DialogTimer.REFRESH, usage, core.now + session.refresh_after_s)
        else:
            core.stop(DialogTimer.REFRESH, usage)

    def refresh(self, usage: Usage) -> None:
        """DialogTimer.REFRESH: an UPDATE without an offer, or a re-INVITE that repeats our last SDP."""
        session, dialog = usage.session, usage.dialog
        if session is None or dialog is None or self.ask is None:
            return
        if dialog.takes_update:
            self.ask(usage, Ask(dialog=usage.id, request=REFRESH, method="UPDATE"))
        elif session.sdp:
            self.ask(
                usage,
                Ask(
                    dialog=usage.id,
                    request=REFRESH,
                    method="INVITE",
                    body=session.sdp,
                    content_type="application/sdp",
                ),
            )

    def expire(self, usage: Usage) -> None:
        """DialogTimer.EXPIRE: nobody refreshed."""
        self._endings.end(usage, EndedBy.SESSION_EXPIRED, bye=True)
