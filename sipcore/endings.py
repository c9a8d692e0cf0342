"""How a usage ends: BYE, what is still unanswered, the one event about it (RFC 3261 section 15, RFC 5057)."""

from __future__ import annotations

from sipcore.core import Core
from sipcore.dialog import Dialog
from sipcore.events import Ended, EndedBy, Headers, Replied, RequestId
from sipcore.message import Request, Response
from sipcore.requests import Requests
from sipcore.sending import Purpose, Sending
from sipcore.text import header_lines
from sipcore.usage import DialogTimer, Phase, Usage


class Endings:
    """Ends usages that got as far as a 2xx."""

    def __init__(self, core: Core, requests: Requests) -> None:
        self._core = core
        self._requests = requests
        requests.on_final[Purpose.BYE] = _ignore
        requests.on_final[Purpose.CANCEL] = _ignore

    def bye(self, usage: Usage, dialog: Dialog, headers: Headers = ()) -> None:
        """Send a BYE. Nobody is told what becomes of it: the session is over as it leaves (15.1.1)."""
        self._core.note_left(usage.local_tag)
        draft = dialog.next_request("BYE", header_lines(headers))
        sending = Sending(draft, Purpose.BYE, usage.id, credentials=usage.credentials)
        self._requests.send(sending, dialog.flow)

    def end(self, usage: Usage, by: EndedBy, *, bye: bool, request: Request | None = None) -> None:
        """The confirmed usage is over: a BYE where it is ours to send, then the event."""
        dialog = usage.dialog
        if bye and dialog is not None:
            self.bye(usage, dialog, usage.leave_headers)
        self.settle(usage)
        if not usage.leaving:
            self._core.tell(Ended(usage.id, by, request))

    def leave(self, usage: Usage) -> None:
        """Hung up while our 2xx waits for its ACK: over for the call layer; the BYE follows the ACK (15)."""
        usage.phase, usage.leaving = Phase.LEAVING, True
        for timer in (DialogTimer.REFRESH, DialogTimer.EXPIRE, DialogTimer.RETRY):
            self._core.stop(timer, usage)
        self._core.tell(Ended(usage.id, EndedBy.OUR_BYE))

    def settle(self, usage: Usage) -> None:
        """Forget the usage; what its peer still asks gets 487 (15.1.2), what we wanted to ask is told 481."""
        core = self._core
        for number in usage.pending:
            unanswered = core.unanswered.pop(number, None)
            if unanswered is not None:
                core.respond(unanswered.transaction, unanswered.head, 487, lines=core.server_line)
        for ask in usage.waiting if usage.retry is None else (*usage.waiting, usage.retry):
            core.tell(Replied(RequestId(ask.request), 481, None))
        core.remove(usage)


def _ignore(sending: Sending, response: Response | None, status: int) -> None:
    """The answer changes nothing."""
