"""Requests outside any dialog, in both directions: REGISTER, OPTIONS, MESSAGE, ... (RFC 3261 8.1, 8.2).

What they mean is the call layer's; here they only come and go.
"""

from __future__ import annotations

from sipcore.core import Core, Unanswered
from sipcore.dialog import routed
from sipcore.events import Incoming, Replied, Reply, RequestId, Send
from sipcore.faults import Misuse
from sipcore.flow import Flow
from sipcore.hops import next_hop
from sipcore.message import Request, Response
from sipcore.requests import Requests
from sipcore.sending import Purpose, Sending
from sipcore.text import Draft, check_lines, content_line, header_lines
from sipcore.transaction_store import Transaction

_DIALOG_FORMING = frozenset(("SUBSCRIBE", "REFER", "NOTIFY"))
_SENT_ELSEWHERE = frozenset(("INVITE", "ACK", "CANCEL", "BYE", "PRACK"))


class Outside:
    """See the module."""

    def __init__(self, core: Core, requests: Requests) -> None:
        self._core = core
        self._requests = requests
        requests.on_final[Purpose.SEND] = self._final

    def request(self, request: Request, tx: Transaction, head: str, flow: Flow) -> None:
        """A new request other than INVITE goes up."""
        unanswered = Unanswered(tx, head, request.method, 0, request.cseq.number)
        self._core.tell(Incoming(self._core.put_up(unanswered), request, flow))

    def reply(self, unanswered: Unanswered, event: Reply) -> None:
        """Send the final answer to a request that went up."""
        shown = unanswered.method == "OPTIONS" and event.status < 300
        lines = self._core.able_lines if shown else self._core.server_line
        lines += f"{header_lines(event.headers)}{content_line(event.content_type, event.body)}"
        self._core.respond(
            unanswered.transaction, unanswered.head, event.status, event.reason, lines, event.body
        )

    def send(self, event: Send) -> None:
        """Send a request of our own. Raises Misuse for one that belongs to a call."""
        if event.method in _SENT_ELSEWHERE:
            raise Misuse(f"{event.method} is sent by other means")
        check_lines(
            event.uri, event.from_, event.to, event.call_id, event.method, event.content_type, *event.route
        )
        core = self._core
        uri, routes = routed(event.uri, event.route)
        draft = Draft(
            method=event.method,
            uri=uri,
            from_=f"{event.from_};tag={core.ids.token()}",
            to=event.to,
            call_id=event.call_id or core.ids.call_id(),
            cseq=event.cseq,
            routes=routes,
            lines=f"{header_lines(event.headers)}{content_line(event.content_type, event.body)}",
            body=event.body,
            max_forwards=event.max_forwards,
            hop=next_hop(event.route, event.uri),
            secure=uri[:5].lower() == "sips:",
            contact=event.method in _DIALOG_FORMING,
        )
        sending = Sending(draft, Purpose.SEND, 0, event.request, event.credentials)
        self._requests.send(sending, event.flow)

    def _final(self, sending: Sending, response: Response | None, status: int) -> None:
        self._core.tell(Replied(RequestId(sending.request), status, response))
