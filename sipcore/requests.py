"""Our requests on their way: target, attempt after attempt, challenge, final answer (RFC 3261 8.1, RFC 3263).

Every request of ours goes through here, for whatever purpose; what an answer means is told to the part that
has that purpose. A target that fails is followed by the next one, a challenge is answered once, and once
more when only its nonce was too old.
"""

from __future__ import annotations

from collections.abc import Callable

from sipcore.core import Core
from sipcore.dialog import TARGET_REFRESH
from sipcore.digest_client import answers
from sipcore.events import Resolve, Resolved, TargetFailed, Transmit
from sipcore.faults import PeerFault
from sipcore.flow import Flow, Transport
from sipcore.headers import parse_retry_after
from sipcore.hops import literal_flow, may_use_tcp
from sipcore.message import Response
from sipcore.sending import Purpose, Sending
from sipcore.text import Draft, tag_of, write_request
from sipcore.transaction import Machine, Tell, Trigger
from sipcore.transaction_store import Transaction
from sipcore.uri import parse_uri

NO_ANSWER = 408
NO_FLOW = 503
MAX_ATTEMPTS = 8
"""Targets tried for one request: a name with a hundred addresses is not walked to its end."""


_INSIDE = frozenset((Purpose.ASK, Purpose.PRACK, Purpose.BYE))
Provisional = Callable[[Sending, Response], None]
Final = Callable[[Sending, Response | None, int], None]
Again = Callable[[Transaction, Response, Flow], None]


class Requests:
    """All requests of ours that have no final answer yet."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.under_way: dict[str, Sending] = {}
        """by transaction key"""
        self.resolving: dict[int, Sending] = {}
        self.on_provisional: dict[Purpose, Provisional] = {}
        self.on_final: dict[Purpose, Final] = {}
        self.on_2xx_again: Again | None = None
        self._may_tcp = any(local.transport is Transport.TCP for local in core.settings.locals)

    # ------------------------------------------------------------ sending

    def send(self, sending: Sending, flow: Flow | None = None) -> None:
        """Begin. Without a flow the draft's `hop` says where it goes; a name is asked for with Resolve."""
        if flow is not None:
            sending.pinned = True
            self._attempt(sending, flow)
            return
        try:
            literal = literal_flow(parse_uri(sending.draft.hop), self._core.source_for)
        except PeerFault:
            self._fail(sending, NO_FLOW)
            return
        if literal is not None:
            self._attempt_best(sending, literal)
            return
        query = self._core.new_id()
        self.resolving[query] = sending
        self._core.ask(Resolve(query, sending.draft.hop))

    def resolved(self, answer: Resolved) -> None:
        """Where a name leads is known now."""
        sending = self.resolving.pop(answer.query, None)
        if sending is None:
            return  # given up meanwhile
        if not answer.flows:
            self._fail(sending, NO_FLOW)
            return
        sending.more = answer.flows[1:MAX_ATTEMPTS]
        sending.named = True
        self._attempt_best(sending, answer.flows[0])

    def give_up(self, sending: Sending) -> None:
        """Nobody waits for this request any longer; its purpose is told nothing."""
        tx = self._core.transactions.clients.get(sending.sent_as)
        if self.under_way.pop(sending.sent_as, None) is not None and tx is not None:
            self._core.fire(tx, Trigger.ABANDON)

    def give_up_resolving(self, dialog: int) -> None:
        """The same for requests of a dialog whose target is still asked for."""
        for query in [query for query, sending in self.resolving.items() if sending.dialog == dialog]:
            del self.resolving[query]

    def cancel(self, sending: Sending, lines: str) -> None:
        """Send the CANCEL of an INVITE that got a provisional response (9.1): same branch, same flow."""
        draft, flow = sending.draft, sending.flow
        assert flow is not None  # it was sent
        cancel = Draft(
            method="CANCEL",
            uri=draft.uri,
            from_=draft.from_,
            to=draft.to,
            call_id=draft.call_id,
            cseq=draft.cseq,
            routes=draft.routes,
            lines=lines,
        )
        branch = _branch_of(sending.sent_as)
        self._begin(Sending(cancel, Purpose.CANCEL, sending.dialog), flow, branch)

    def write(self, draft: Draft, flow: Flow, branch: str) -> bytes:
        face = self._core.faces.of(flow)
        contact = ""
        if draft.contact:
            contact = f"Contact: {face.secure_contact if draft.secure else face.contact}\r\n"
        return write_request(draft, f"{face.via};branch={branch};rport", contact, self._core.agent_line)

    def _attempt_best(self, sending: Sending, flow: Flow) -> None:
        """Attempt on a flow of our choice: a request too long for a datagram tries TCP first (18.1.1)."""
        if self._is_too_long(sending.draft, flow):
            remote = flow.remote
            sending.more = (flow, *sending.more)
            flow = Flow(Transport.TCP, self._core.source_for(Transport.TCP, remote), remote)
        self._attempt(sending, flow)

    def _is_too_long(self, draft: Draft, flow: Flow) -> bool:
        limit = self._core.settings.max_datagram_bytes
        if not limit or not self._may_tcp or flow.transport is not Transport.UDP:
            return False
        guess = 300 + len(draft.body) + len(draft.lines) + len(draft.routes) + len(draft.credentials)
        if guess + len(draft.uri) * 2 + len(draft.from_) + len(draft.to) <= limit:
            return False
        return may_use_tcp(parse_uri(draft.hop)) and len(self.write(draft, flow, "z" * 23)) > limit

    def _attempt(self, sending: Sending, flow: Flow) -> None:
        sending.attempts += 1
        if sending.purpose is Purpose.ACK:
            self._send_ack(sending, flow)
        else:
            self._begin(sending, flow, self._core.ids.branch())

    def _begin(self, sending: Sending, flow: Flow, branch: str) -> None:
        core, method = self._core, sending.draft.method
        wire = self.write(sending.draft, flow, branch)
        sending.flow = flow
        sending.sent_as = key = f"{branch}|{method}"
        self.under_way[key] = sending
        machine = Machine.INVITE_CLIENT if method == "INVITE" else Machine.REQUEST_CLIENT
        core.transactions.begin_client(machine, key, flow, sending.dialog, wire, core.now, core.out)

    def _send_ack(self, sending: Sending, flow: Flow) -> None:
        """The ACK of a 2xx; kept with its INVITE's transaction for when the 2xx comes again (13.2.2.4)."""
        core, draft = self._core, sending.draft
        ack = Transmit(flow, self.write(draft, flow, core.ids.branch()))
        core.out.append(ack)
        tx = core.transactions.clients.get(sending.sent_as)
        if tx is not None:
            tx.acks = (*tx.acks, (sending.tag, ack))

    # ------------------------------------------------------------ answers

    def response(self, response: Response, flow: Flow) -> None:
        """A response came in. Raises PeerFault for one that cannot be read; it then counts as not come."""
        core, status, method = self._core, response.status, response.cseq.method
        key = f"{_branch_in(response)}|{method}"
        tx = core.transactions.clients.get(key)
        if tx is None:
            key = f"{response.via.branch}|{method}"
            tx = core.transactions.clients.get(key)
        if tx is None:
            core.broke(flow, status, "RFC 3261 17.1.3: no such transaction")
            return
        core.subject = tx.user
        sending = self.under_way.get(key)
        if 100 < status < 300 and method in TARGET_REFRESH:
            tag = _checked_tag(response)
            if sending is not None:
                sending.tag = tag
        ack = b""
        if status >= 300 and sending is not None and tx.machine is Machine.INVITE_CLIENT:
            ack = self._ack_of_failure(sending, response)
        if core.fire(tx, _trigger(status), ack) is not Tell.PASS_UP:
            return
        if sending is None:
            if self.on_2xx_again is not None:
                self.on_2xx_again(tx, response, flow)
        elif status < 200:
            told = self.on_provisional.get(sending.purpose)
            if told is not None:
                told(sending, response)
        else:
            del self.under_way[key]
            self._final(sending, response, status)

    def _final(self, sending: Sending, response: Response, status: int) -> None:
        if status in (401, 407) and self._answer_challenge(sending, response):
            return
        if status == 503:
            self._note_failed(sending, _retry_after_s(response))
            if self._attempt_next(sending):
                return
        self.on_final[sending.purpose](sending, response, status)

    def told(self, tx: Transaction, tell: Tell) -> None:
        """A client transaction timed out or lost its flow."""
        sending = self.under_way.pop(tx.key, None)
        if sending is None:
            return
        if tell is Tell.TIMEOUT:
            self._note_failed(sending)
        if self._attempt_next(sending):
            return
        if tell is Tell.FLOW_FAILED and sending.purpose in _INSIDE and not sending.rerouted:
            sending.rerouted = True  # its connection is gone: to where the dialog says (12.2.1.1)
            self.send(sending)
            return
        self._fail(sending, NO_ANSWER if tell is Tell.TIMEOUT else NO_FLOW)

    def again(self, sending: Sending) -> None:
        """Send a request that was answered once more, changed, the way that it went."""
        assert sending.flow is not None  # it was answered
        self._attempt(sending, sending.flow)

    def _note_failed(self, sending: Sending, for_s: int = 0) -> None:
        """Tell who resolves names; of a flow that failed the transports tell."""
        if sending.named and sending.flow is not None:
            self._core.out.append(TargetFailed(sending.flow, for_s))

    def _attempt_next(self, sending: Sending) -> bool:
        """Try the next target (RFC 3263 4.3): a new transaction with a new branch."""
        if sending.purpose is Purpose.CANCEL or not sending.more or sending.attempts >= MAX_ATTEMPTS:
            return False
        flow, *rest = sending.more
        sending.more = tuple(rest)
        self._attempt(sending, flow)
        return True

    def _fail(self, sending: Sending, status: int) -> None:
        if sending.purpose is not Purpose.ACK:
            self.on_final[sending.purpose](sending, None, status)

    def _answer_challenge(self, sending: Sending, response: Response) -> bool:
        """Send the request again with credentials (22.2): a new CSeq, Call-ID and From as they were."""
        draft, flow = sending.draft, sending.flow
        most = 2 if _is_stale(response) else 1
        if sending.credentials is None or sending.challenged >= most or flow is None:
            return False
        fields = answers(
            response, sending.credentials, draft.method, draft.uri, draft.body, 1, self._core.ids.token()
        )
        if not fields:
            return False
        sending.challenged += 1
        draft.credentials = "".join([f"{name}: {value}\r\n" for name, value in fields])
        self.renumber(sending)
        self._attempt(sending, flow)
        return True

    def renumber(self, sending: Sending) -> None:
        """Count the CSeq up for the same request sent anew (8.1.3.5)."""
        draft = sending.draft
        found = self._core.find(draft.call_id, tag_of(draft.from_), tag_of(draft.to))
        if found is None:
            draft.cseq += 1
            return
        dialog = found[1]
        dialog.local_cseq = draft.cseq = max(dialog.local_cseq, draft.cseq) + 1

    def _ack_of_failure(self, sending: Sending, response: Response) -> bytes:
        """The ACK that the transaction itself sends (17.1.1.3): the INVITE's branch, the response's To."""
        draft, flow = sending.draft, sending.flow
        assert flow is not None  # it was sent
        ack = Draft(
            method="ACK",
            uri=draft.uri,
            from_=draft.from_,
            to=response.get("to") or draft.to,
            call_id=draft.call_id,
            cseq=draft.cseq,
            routes=draft.routes,
        )
        return self.write(ack, flow, _branch_of(sending.sent_as))


def _branch_of(key: str) -> str:
    return key.partition("|")[0]


def _branch_in(response: Response) -> str:
    """The top Via's branch where our own spelling was kept; who changes it has their Via parsed."""
    return (response.get("via") or "").partition(";branch=")[2].partition(";")[0]


def _checked_tag(response: Response) -> str:
    """The tag of To. Raises PeerFault now for what would be broken later, when half of the work is done."""
    _ = response.contacts, response.record_routes
    if response.get("require") is not None:
        _ = response.require
    return tag_of(response.get("to"))


def _trigger(status: int) -> Trigger:
    if status < 200:
        return Trigger.GET_1XX
    return Trigger.GET_2XX if status < 300 else Trigger.GET_300_UP


def _retry_after_s(response: Response) -> int:
    """How long a 503 says to stay away; 0 when it does not say, or nonsense (RFC 3261 21.5.4)."""
    try:
        return parse_retry_after(response.get("Retry-After") or "0")
    except PeerFault:
        return 0


def _is_stale(response: Response) -> bool:
    asked = f"{response.get('www-authenticate') or ''}{response.get('proxy-authenticate') or ''}".lower()
    return "stale=true" in asked or 'stale="true"' in asked
