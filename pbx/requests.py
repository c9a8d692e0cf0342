"""Requests that are no call: REGISTER, OPTIONS, MESSAGE between extensions, and a clear no to the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.doorman import Challenge, Doorman, Known, Refused
from pbx.identity import said_as, wants_privacy
from sipcore import events as sip
from sipcore.faults import PeerFault
from sipcore.uri import parse_uri

if TYPE_CHECKING:
    from pbx.registrations import Registrations
    from pbx.switchboard import Switchboard

METHODS = (
    *("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER", "PRACK", "UPDATE", "INFO", "REFER", "NOTIFY"),
    "MESSAGE",
)
"""What the SIP stack lets through to us, and tells peers in Allow; a package of events adds SUBSCRIBE."""
ACCEPT = ("Accept", "application/sdp")
MAX_MESSAGES = 1000
"""MESSAGEs on their way at a time; beyond, 503"""


class Requests:
    """Keeps only which MESSAGE waits for whose answer."""

    __slots__ = ("_doorman", "_registrations", "_relayed")

    def __init__(self, doorman: Doorman, registrations: Registrations) -> None:
        self._doorman = doorman
        self._registrations = registrations
        self._relayed: dict[sip.RequestId, sip.RequestId] = {}

    @property
    def pending(self) -> int:
        return len(self._relayed)

    def incoming(self, board: Switchboard, event: sip.Incoming, now: float) -> None:
        """Answer, or pass on, one request outside any dialog."""
        try:
            match event.message.method:
                case "REGISTER":
                    self._register(board, event, now)
                case "OPTIONS":
                    board.send(sip.Reply(request=event.request, status=200, headers=(ACCEPT,)))
                case "MESSAGE":
                    self._message(board, event, now)
                case "REFER":
                    _say(board, event, 403, "Only Inside A Call")
                case _:  # a NOTIFY of what nobody subscribed to (RFC 6665 4.1.3)
                    _say(board, event, 481, "Subscription Does Not Exist")
        except PeerFault as fault:
            _say(board, event, fault.status, fault.reason)

    def _known(self, board: Switchboard, event: sip.Incoming, now: float) -> Known | None:
        """Who asks; None when the answer has been given already."""
        match self._doorman.who(board.snapshot, event.message, event.flow, now):
            case Known() as known:
                return known
            case Challenge(headers=headers):
                _say(board, event, 401, "Unauthorized", headers)
            case Refused(status=status, reason=reason):
                _say(board, event, status, reason)
        return None

    def _register(self, board: Switchboard, event: sip.Incoming, now: float) -> None:
        known = self._known(board, event, now)
        if known is None:
            return
        address_of_record = parse_uri(event.message.to.uri)
        if known.extension is None or address_of_record.user != known.extension.number:
            _say(board, event, 403, "Forbidden")
            return
        key = (known.tenant.id, known.extension.number)
        outcome, keep = self._registrations.register(
            key, event.message, event.flow, known.extension.max_contacts, now + board.wall_offset
        )
        if keep is not None:
            board.send(keep)
        _say(board, event, outcome.status, outcome.reason, outcome.headers)

    def _message(self, board: Switchboard, event: sip.Incoming, now: float) -> None:
        known = self._known(board, event, now)
        if known is None:
            return
        request = event.message
        number = request.request_uri.user
        key = (known.tenant.id, number)
        if key not in board.snapshot.extensions:
            _say(board, event, 404, "Not Found")
            return
        groups = board.reach(known.tenant.id, number, now)
        if not groups:
            _say(board, event, 480, "Temporarily Unavailable")
            return
        if len(self._relayed) >= MAX_MESSAGES:
            _say(board, event, 503, "Too Many Messages", (("Retry-After", "5"),))
            return
        target = groups[0][0]
        onward = sip.RequestId(board.new_id())
        self._relayed[onward] = event.request
        from_, identity = said_as(
            known.party, known.tenant.realm, private=wants_privacy(request), trusted=board.trusts(target)
        )
        board.send(
            sip.Send(
                request=onward,
                method="MESSAGE",
                uri=target.uri,
                from_=from_,
                to=f"<sip:{number}@{known.tenant.realm}>",
                flow=target.flow,
                route=target.route,
                headers=board.settings.passing.of(request) + identity,
                body=request.body,
                content_type=request.get("Content-Type") or "text/plain",
                max_forwards=70 if request.max_forwards is None else request.max_forwards - 1,
            )
        )

    def replied(self, board: Switchboard, event: sip.Replied) -> None:
        """The far end's answer to a MESSAGE goes back to its sender."""
        waiting = self._relayed.pop(event.request, None)
        if waiting is not None:
            board.send(sip.Reply(request=waiting, status=event.status if event.status != 401 else 500))


def _say(
    board: Switchboard, event: sip.Incoming, status: int, reason: str, headers: sip.Headers = ()
) -> None:
    board.send(sip.Reply(request=event.request, status=status, reason=reason, headers=headers))
