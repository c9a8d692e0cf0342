"""A stack under virtual time, and far ends that write their messages by hand: for scripting stack tests.

    scene = Scene()
    alice = Far(scene, "alice", ALICE)
    assert alice.sends("INVITE", body=SDP) == ["100", "IncomingCall"]
    assert scene.does(Answer(dialog=scene.dialog(), body=SDP)) == ["200"]

Every step answers with its outputs in brief: a status or a method for what is transmitted, the name of
the event, with what matters about it, for the rest. `scene.ladder()` shows all of it with times.
"""

from __future__ import annotations

import random
from typing import Any

from sipcore.events import (
    Answer,
    DialogId,
    Ended,
    Failed,
    FlowFailed,
    IncomingCall,
    Input,
    Invite,
    Output,
    PeerBroke,
    Received,
    Replied,
    Resolve,
    Tick,
    Transmit,
)
from sipcore.flow import Flow, Transport
from sipcore.message import Request, Response
from sipcore.parser import parse
from sipcore.settings import Local, StackSettings
from sipcore.stack import Stack

HERE = ("192.0.2.1", 5060)
ALICE = Flow(Transport.UDP, HERE, ("192.0.2.10", 5060))
BORIS = Flow(Transport.UDP, HERE, ("192.0.2.20", 5060))
ALICE_TCP = Flow(Transport.TCP, HERE, ("192.0.2.10", 40123), connection=7)
SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"
OTHER_SDP = SDP.replace(b"1 1 IN", b"1 2 IN")
LOCALS = tuple(Local(transport, *HERE) for transport in (Transport.UDP, Transport.TCP))


def brief(output: Output) -> str:
    """One output in a word or two."""
    match output:
        case Transmit(data=data):
            first, second, _ = data.split(b" ", 2)
            return (second if first == b"SIP/2.0" else first).decode()
        case Failed(status=status) | Replied(status=status):
            return f"{type(output).__name__} {status}"
        case Ended(by=by):
            return f"Ended {by.name}"
        case PeerBroke(rule=rule):
            return f"PeerBroke {rule}"
        case Resolve(uri=uri):
            return f"Resolve {uri}"
    return type(output).__name__


class Scene:
    """One stack and its clock."""

    def __init__(self, seed: int = 1, **settings: Any) -> None:
        settings = {"locals": LOCALS, "strict": True, "server_name": "Jackfield"} | settings
        self.stack = Stack(StackSettings(**settings), random.Random(seed))
        self.now = 100.0
        self.log: list[tuple[float, str, Output | Input]] = []
        self.last: list[Output] = []

    def does(self, input: Input) -> list[str]:
        """Hand in one input now; returns its outputs in brief."""
        self.log.append((self.now, "->", input))
        self.last = self.stack.handle(input, self.now)
        self.log += [(self.now, "<-", output) for output in self.last]
        return [brief(output) for output in self.last]

    def fails(self, flow: Flow) -> list[str]:
        return self.does(FlowFailed(flow, "refused"))

    def run(self, for_s: float) -> list[tuple[float, str]]:
        """Let time pass, deadline by deadline; returns (seconds since now, output in brief)."""
        began, end = self.now, self.now + for_s
        happened: list[tuple[float, str]] = []
        while (when := self.stack.next_deadline()) is not None and when <= end:
            self.now = max(when, self.now)
            for output in self.does(Tick()):
                happened.append((round(self.now - began, 3), output))
        self.now = end
        return happened

    def times(self, for_s: float, what: str) -> list[float]:
        """When `what` comes out while time passes."""
        return [when for when, output in self.run(for_s) if output == what]

    def sent(self, what: str) -> Request | Response:
        """The latest message of this status or method that was transmitted, parsed."""
        return parse(self.sent_raw(what).data)

    def sent_raw(self, what: str) -> Transmit:
        return next(
            output
            for _, _, output in reversed(self.log)
            if isinstance(output, Transmit) and brief(output) == what
        )

    def event(self, kind: type[Any]) -> Any:
        """The latest event of this kind."""
        return next(output for _, _, output in reversed(self.log) if isinstance(output, kind))

    def leftovers(self, after_s: float = 70) -> dict[str, int]:
        """What is still remembered when all timers had time to run out."""
        self.run(after_s)
        return {name: count for name, count in self.stack.counts().items() if count}

    def ladder(self) -> str:
        """All that came in and went out."""
        lines = [f"{when - 100:9.3f} {way} {_shown(what)}" for when, way, what in self.log]
        return "\n".join(lines)


def _shown(what: Output | Input) -> str:
    match what:
        case Transmit(flow=flow, data=data) | Received(flow=flow, data=data):
            first = data.split(b"\r\n", 1)[0].decode(errors="replace")
            return f"{flow.transport} {flow.remote[0]}:{flow.remote[1]}  {first}"
    return str(what)[:150]


class Far:
    """A far end with one dialog: it knows its own side and learns ours from what it was sent."""

    def __init__(self, scene: Scene, name: str, flow: Flow, call_id: str = "") -> None:
        self.scene = scene
        self.name = name
        self.flow = flow
        self.call_id = call_id or f"call-of-{name}"
        self.tag = f"tag-{name}"
        self.remote_tag = ""
        self.cseq = 0
        self.branches = 0
        self.local = f"<sip:{name}@example.com>"
        self.remote = "<sip:server@example.com>"
        self.contact = f"<sip:{name}@{flow.remote[0]}:5060>"
        self.uri = "sip:server@192.0.2.1:5060"
        self.headers = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO\r\nSupported: timer, 100rel\r\n"
        self.invite_branch, self.invite_cseq = "", 1
        self._read = 0

    def request(
        self,
        method: str,
        *,
        body: bytes = b"",
        headers: str = "",
        cseq: int | None = None,
        branch: str = "",
        to_tag: str | None = None,
        uri: str = "",
        without: str = "",
    ) -> bytes:
        """A request as text. CANCEL and ACK take that of the last INVITE unless `cseq` says otherwise."""
        self._learn()
        if cseq is None:
            self.cseq += method not in ("ACK", "CANCEL")
            cseq = self.invite_cseq if method in ("ACK", "CANCEL") else self.cseq
        self.branches += 1
        branch = branch or f"z9hG4bK{self.name}{self.branches}"
        if method == "INVITE":
            self.invite_branch, self.invite_cseq = branch, cseq
        tag = self.remote_tag if to_tag is None else to_tag
        lines = [
            f"{method} {uri or self.uri} SIP/2.0",
            f"Via: SIP/2.0/{self.flow.transport} {self.flow.remote[0]}:5060;branch={branch};rport",
            "Max-Forwards: 70",
            f"From: {self.local};tag={self.tag}",
            f"To: {self.remote};tag={tag}" if tag else f"To: {self.remote}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: {self.contact}",
        ]
        kept = [line for line in lines if not without or not line.startswith(f"{without}:")]
        content = "Content-Type: application/sdp\r\n" if body else ""
        head = "\r\n".join(kept) + f"\r\n{self.headers}{headers}{content}Content-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def sends(self, method: str, **parts: Any) -> list[str]:
        """Send a request; returns what the stack makes of it."""
        return self.gives(self.request(method, **parts))

    def gives(self, data: bytes) -> list[str]:
        """Bytes arrive from here."""
        return self.scene.does(Received(data, self.flow))

    def invites(self, **parts: Any) -> list[str]:
        parts = {"body": SDP} | parts
        return self.sends("INVITE", **parts)

    def cancels(self) -> list[str]:
        return self.sends("CANCEL", branch=self.invite_branch, to_tag="")

    def acks(self, body: bytes = b"", cseq: int | None = None) -> list[str]:
        """The ACK of a 2xx."""
        return self.sends("ACK", body=body, cseq=cseq)

    def acks_failure(self) -> list[str]:
        return self.sends("ACK", branch=self.invite_branch)

    def answers(
        self,
        status: int,
        to: str = "INVITE",
        *,
        body: bytes = b"",
        headers: str = "",
        tag: str | None = None,
        contact: str | None = None,
    ) -> list[str]:
        """Respond to the latest request of this method that the stack sent."""
        return self.gives(self.response(status, to, body=body, headers=headers, tag=tag, contact=contact))

    def response(
        self,
        status: int,
        to: str = "INVITE",
        *,
        body: bytes = b"",
        headers: str = "",
        tag: str | None = None,
        contact: str | None = None,
    ) -> bytes:
        request = self.scene.sent(to)
        assert isinstance(request, Request)
        self.remote_tag = request.from_.tag
        self.call_id = request.call_id
        self.local, self.remote = request.get("to") or "", (request.get("from") or "").partition(";tag=")[0]
        self.local = self.local.partition(";tag=")[0]
        chosen = self.tag if tag is None else tag
        fields = [("Contact", self.contact if contact is None else contact)]
        if status == 100 or not fields[0][1]:
            fields, chosen = [], "" if status == 100 else chosen
        made = request.response(status, "", fields, body, to_tag=chosen).to_bytes()
        extra = self.headers + headers + ("Content-Type: application/sdp\r\n" if body else "")
        return made.replace(b"Content-Length:", extra.encode() + b"Content-Length:", 1)

    def _learn(self) -> None:
        for _, _, output in self.scene.log[self._read :]:
            if isinstance(output, Transmit) and output.data.startswith(b"SIP/2.0"):
                response = parse(output.data)
                if response.call_id == self.call_id and response.status > 100:
                    self.remote_tag = response.to.tag
        self._read = len(self.scene.log)


def rings_in(scene: Scene, alice: Far, **parts: Any) -> DialogId:
    """A call from alice that nobody has answered yet."""
    assert alice.invites(**parts) == ["100", "IncomingCall"]
    dialog: DialogId = scene.event(IncomingCall).dialog
    return dialog


def is_answered(scene: Scene, alice: Far, session_expires_s: int = 0, **parts: Any) -> DialogId:
    """A call from alice that is up."""
    dialog = rings_in(scene, alice, **parts)
    assert scene.does(Answer(dialog=dialog, body=SDP, session_expires_s=session_expires_s)) == ["200"]
    assert alice.acks() == ["Acked"]
    return dialog


def calls_out(scene: Scene, **parts: Any) -> DialogId:
    """A call to boris that was just placed."""
    dialog = DialogId(scene.stack.new_id())
    wanted: dict[str, Any] = {
        "uri": "sip:boris@192.0.2.20:5060",
        "from_": '"Anna" <sip:anna@example.com>',
        "to": "<sip:boris@example.com>",
        "body": SDP,
    }
    assert scene.does(Invite(dialog=dialog, **(wanted | parts))) == ["INVITE"]
    return dialog


def reaches(scene: Scene, boris: Far, **parts: Any) -> DialogId:
    """A call to boris that is up."""
    dialog = calls_out(scene, **parts)
    assert boris.answers(100) == []
    assert boris.answers(180) == ["Progressed"]
    assert boris.answers(200, body=SDP) == ["ACK", "Answered"]
    return dialog
