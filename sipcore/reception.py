"""What comes in from the wire: parsed, matched, handed to the part that it concerns (RFC 3261 8.2, 17.2.3).

Refuses without a transaction what does not deserve one, so that rubbish costs no memory. What a request
means is for others: `incoming.py`, `asked.py`, `outside.py`; responses are for `requests.py`.
"""

from __future__ import annotations

from sipcore.asked import PeerRequests
from sipcore.asking import Asking
from sipcore.core import Core
from sipcore.events import Aliased, Received
from sipcore.faults import BrokenRequest, PeerFault
from sipcore.flow import Flow, Transport
from sipcore.headers import MAGIC_COOKIE, Via
from sipcore.hops import reply_flow, second_reply_port
from sipcore.incoming import Incoming
from sipcore.message import Request
from sipcore.outside import Outside
from sipcore.parser import check, parse, refusal
from sipcore.requests import Requests
from sipcore.screening import Refusal, Screening
from sipcore.text import broken_head, response_head, tag_of, write_response
from sipcore.transaction import Machine, Tell, Trigger

_INSIDE_ONLY = frozenset(("BYE", "PRACK", "UPDATE", "INFO"))
_NO_DIALOG = Refusal(481, "RFC 3261 12.2.2")
_NOTHING_TO_CANCEL = Refusal(481, "RFC 3261 9.2")
_MERGED = Refusal(482, "RFC 3261 8.2.2.2")


class Reception:
    """See the module. `shedding` is the share of new calls that are refused, see `Stack.shedding`."""

    def __init__(
        self,
        core: Core,
        requests: Requests,
        incoming: Incoming,
        peer_requests: PeerRequests,
        outside: Outside,
        asking: Asking,
    ) -> None:
        self.shedding = 0.0
        self._shed_debt = 0.0
        self._core = core
        self._requests = requests
        self._incoming = incoming
        self._peer_requests = peer_requests
        self._outside = outside
        self._asking = asking
        self._screening = Screening(core.settings.methods, core.settings.extensions)

    def received(self, event: Received) -> None:
        flow, message = event.flow, None
        try:
            message = parse(event.data)
            if isinstance(message, Request):
                self._request(message, flow)
            else:
                self._requests.response(message, flow)
        except PeerFault as fault:
            self._refuse_fault(fault if message is None else refusal(message, fault), flow)

    def _request(self, request: Request, flow: Flow) -> None:
        core, via, method = self._core, request.via, request.method
        if request.cseq.method != method:
            raise PeerFault(400, "CSeq method mismatch", "RFC 3261 8.1.1.5")
        key = server_key(request, via)
        known = core.transactions.servers.get(key)
        if known is not None:
            trigger = Trigger.ACK if method == "ACK" else Trigger.REQUEST_AGAIN
            if core.fire(known, trigger) is Tell.PASS_UP:
                self._ack(request, flow)
        elif method == "ACK":
            self._ack(request, flow)
        elif method == "CANCEL":
            self._cancel(request, via, flow)
        else:
            self._new_request(request, via, flow, key)

    def _new_request(self, request: Request, via: Via, flow: Flow, key: str) -> None:
        core, invite = self._core, request.method == "INVITE"
        to_tag, from_tag, call_id = tag_of(request.get("to")), tag_of(request.get("from")), request.call_id
        merge_key = "" if to_tag else f"{call_id} {from_tag} {request.cseq.number} {request.method}"
        refused = self._refusal(request, to_tag, merge_key)
        if refused is not None:
            self._refuse(request, via, flow, refused)
            return
        found = core.find(call_id, to_tag, from_tag) if to_tag else None
        if found is None and (to_tag or request.method in _INSIDE_ONLY):
            if request.method == "BYE" and core.left.get(to_tag, 0.0) > core.now:  # hang-ups that cross
                self._answer_alone(request, via, flow, 200)
            else:
                self._refuse(request, via, flow, _NO_DIALOG)
            return
        tag = "" if to_tag else core.ids.token()
        head = response_head(request, via, flow, tag)
        machine = Machine.INVITE_SERVER if invite else Machine.REQUEST_SERVER
        port = second_reply_port(via, flow.transport)
        tx = core.transactions.begin_server(machine, key, reply_flow(via, flow), merge_key, port)
        core.in_hand = tx, head
        if "alias" in via.params and flow.transport is Transport.TLS:
            core.out.append(Aliased(flow, port))
        if found is not None:
            core.subject = tx.user = found[0].id
            self._peer_requests.request(*found, request, tx, head, flow)
        elif invite:
            self._incoming.invite(request, tx, head, tag, flow)
        else:
            self._outside.request(request, tx, head, flow)

    def _ack(self, request: Request, flow: Flow) -> None:
        """The ACK of a 2xx (13.3.1.4). One for a refusal that was made without a transaction is expected."""
        to_tag = tag_of(request.get("to"))
        found = self._core.find(request.call_id, to_tag, tag_of(request.get("from")))
        if found is not None:
            usage = found[0]
            self._core.subject = usage.id
            self._incoming.ack(usage, request.cseq.number, request.body)
            if usage.waiting:
                self._asking.flush(usage)
        elif to_tag != self._core.ids.derived_tag(request.via.branch, request.call_id):
            self._core.broke(flow, 0, "RFC 3261 17.2.3: an ACK for nothing")

    def _cancel(self, request: Request, via: Via, flow: Flow) -> None:
        """Answered without a transaction of its own: a copy gets the same answer (9.2).

        The CANCEL of a re-INVITE changes nothing: the answer to that is on its way.
        """
        core = self._core
        invite = core.transactions.servers.get(server_key(request, via, "INVITE"))
        if invite is None:
            self._refuse(request, via, flow, _NOTHING_TO_CANCEL)
            return
        usage = core.usages.get(invite.user)
        tag = ""
        if not tag_of(request.get("to")):
            tag = core.ids.derived_tag(via.branch, request.call_id) if usage is None else usage.local_tag
        head = response_head(request, via, flow, tag)
        wire = write_response(head, 200, "", core.server_line, b"")
        core.transmit(reply_flow(via, flow), wire)
        if usage is not None:
            core.subject = usage.id
            self._incoming.cancel(usage, request)

    # ------------------------------------------------------------ refusals without a transaction

    def _refusal(self, request: Request, to_tag: str, merge_key: str) -> Refusal | None:
        core, settings = self._core, self._core.settings
        if request.method == "INVITE" and not to_tag:
            if self.shedding and self._is_shed():
                return Refusal(503, "our overload", core.retry_line)
            if len(core.usages) >= settings.max_dialogs:
                return Refusal(503, "our limit of dialogs", core.retry_line)
        if len(core.transactions.servers) >= settings.max_transactions:
            return Refusal(503, "our limit of transactions", core.retry_line)
        if merge_key in core.transactions.merge_keys:
            return _MERGED
        if not to_tag:
            check(request)
        return self._screening.refusal(request, outside=not to_tag)

    def _is_shed(self) -> bool:
        self._shed_debt += self.shedding
        if self._shed_debt < 1:
            return False
        self._shed_debt -= 1
        return True

    def _refuse(self, request: Request, via: Via, flow: Flow, refused: Refusal) -> None:
        self._answer_alone(request, via, flow, refused.status, refused.lines)
        self._core.broke(flow, refused.status, refused.rule)

    def _answer_alone(self, request: Request, via: Via, flow: Flow, status: int, lines: str = "") -> None:
        """Answer without a transaction: the same request again gets the same answer."""
        core = self._core
        tag = "" if tag_of(request.get("to")) else core.ids.derived_tag(via.branch, request.call_id)
        head = response_head(request, via, flow, tag)
        wire = write_response(head, status, "", f"{core.server_line}{lines}", b"")
        core.transmit(reply_flow(via, flow), wire)

    def _refuse_fault(self, fault: PeerFault, flow: Flow) -> None:
        """A request that could not be read as far as it had to be: answered where an answer is due."""
        core = self._core
        if core.in_hand is not None:
            tx, head = core.in_hand
            core.respond(tx, head, fault.status, fault.reason, core.server_line)
        elif isinstance(fault, BrokenRequest):
            via = fault.request.via
            tag = core.ids.derived_tag(via.branch, fault.request.get("call-id") or "")
            head = broken_head(fault.request, via, flow, tag)
            wire = write_response(head, fault.status, fault.reason, core.server_line, b"")
            core.transmit(reply_flow(via, flow), wire)
        core.broke(flow, fault.status, fault.rule)


def server_key(request: Request, via: Via, method: str = "") -> str:
    """What a server transaction is found by (17.2.3): branch, sent-by and method, an ACK with its INVITE.

    A peer of RFC 2543 has no such branch; it is told by everything that its copies have in common.
    """
    method = method or request.method
    if method == "ACK":
        method = "INVITE"
    branch = via.params.get("branch") or ""
    if branch[:7] == MAGIC_COOKIE and len(branch) > 7:
        return f"{branch}|{via.host}|{via.port}|{method}"
    return f"{request.uri}|{request.from_.tag}|{request.call_id}|{request.cseq.number}|{via}|{method}"
