"""Two stacks on a wire that loses, repeats and delays, driven at random: whatever happens, both come to rest.

Every INVITE gets exactly one final answer, every dialog exactly one end, every request asked exactly one
reply, and when all timers have run out nothing is remembered on either side.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from sipcore.events import (
    Ack,
    Acked,
    Answer,
    Answered,
    Ask,
    Asked,
    Cancelled,
    DialogId,
    Ended,
    Failed,
    HangUp,
    IncomingCall,
    Input,
    Invite,
    Output,
    PeerBroke,
    Progress,
    Progressed,
    Received,
    Reject,
    Replied,
    Reply,
    RequestId,
    Tick,
    Transmit,
)
from sipcore.flow import Flow, Transport
from sipcore.settings import Local, StackSettings
from sipcore.stack import Stack

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n"
HOSTS = ("192.0.2.1", "192.0.2.2")
PARTIES = st.integers(0, 1)


class Party:
    """One stack and the simplest call layer: it knows which of its dialogs can take which command."""

    def __init__(self, host: str, seed: int) -> None:
        local = Local(Transport.UDP, host, 5060)
        self.host = host
        self.stack = Stack(StackSettings(locals=(local,), strict=True), random.Random(seed))
        self.ringing: list[DialogId] = []
        """incoming, unanswered"""
        self.up: list[DialogId] = []
        self.placed: list[DialogId] = []
        """outgoing, without a final answer"""
        self.hung_up: set[DialogId] = set()
        self.questions: list[RequestId] = []
        self.invited = Counter[DialogId]()
        self.finals = Counter[DialogId]()
        self.began = Counter[DialogId]()
        self.ends = Counter[DialogId]()
        self.asked = Counter[RequestId]()
        self.replied = Counter[RequestId]()
        self.dialog_of: dict[RequestId, DialogId] = {}

    def notes(self, output: Output) -> list[Input]:
        """Keep the books; returns commands that follow at once."""
        match output:
            case IncomingCall(dialog=dialog):
                self.ringing.append(dialog)
                self.began[dialog] += 1
            case Cancelled(dialog=dialog):
                self._forget(dialog)
                self.ends[dialog] += 1
            case Answered(dialog=dialog, late_offer=late):
                self.finals[dialog] += 1
                self.placed.remove(dialog)
                self.up.append(dialog)
                return [Ack(dialog, SDP)] if late else []
            case Failed(dialog=dialog):
                self.finals[dialog] += 1
                self.placed.remove(dialog)
            case Ended(dialog=dialog):
                self._forget(dialog)
                self.ends[dialog] += 1
            case Asked(request=request):
                self.questions.append(request)
            case Replied(request=request, late_offer=late):
                self.replied[request] += 1
                return [Ack(self.dialog_of[request], SDP)] if late else []
            case Progressed() | Acked() | PeerBroke():
                pass
            case _:
                raise AssertionError(f"not expected: {output}")
        return []

    def _forget(self, dialog: DialogId) -> None:
        for books in (self.ringing, self.up):
            books[:] = [other for other in books if other != dialog]


class Wire:
    """Two parties and what is on its way between them."""

    def __init__(self, seed: int, loss: float) -> None:
        self.chance = random.Random(seed)
        self.loss = loss
        self.now = 0.0
        self.parties = (Party(HOSTS[0], seed + 1), Party(HOSTS[1], seed + 2))
        self.flying: list[tuple[float, int, int, Received]] = []
        self.sent = 0

    def does(self, party: int, input: Input) -> None:
        """Hand an input in and carry its outputs where they belong."""
        waiting = [input]
        while waiting:
            for output in self.parties[party].stack.handle(waiting.pop(0), self.now):
                match output:
                    case Transmit(flow=flow, data=data):
                        self._fly(1 - party, flow, data)
                    case _:
                        waiting += self.parties[party].notes(output)

    def _fly(self, to: int, flow: Flow, data: bytes) -> None:
        arriving = 1 - self.loss
        copies = self.chance.choices((0, 1, 2), (self.loss, 0.8 * arriving, 0.2 * arriving))[0]
        back = Flow(flow.transport, flow.remote, flow.local)
        for _ in range(copies):
            self.sent += 1
            arrives = self.now + self.chance.uniform(0.001, 0.8 * self.loss + 0.01)
            heapq.heappush(self.flying, (arrives, self.sent, to, Received(data, back)))

    def run(self, for_s: float) -> None:
        """Let messages arrive and timers fire in the order of time."""
        end = self.now + for_s
        while True:
            times = [(self.flying[0][0], -1)] if self.flying else []
            for number, party in enumerate(self.parties):
                when = party.stack.next_deadline()
                times += [(when, number)] if when is not None else []
            if not times or min(times)[0] > end:
                break
            when, number = min(times)
            self.now = max(self.now, when)
            if number < 0:
                _, _, to, received = heapq.heappop(self.flying)
                self.does(to, received)
            else:
                self.does(number, Tick())
        self.now = end

    def answer_all(self, for_s: float) -> None:
        """Let time pass, and answer whatever rings, second by second."""
        for _ in range(round(for_s)):
            self.run(1)
            for number, party in enumerate(self.parties):
                ringing, party.ringing = party.ringing, []
                party.up += ringing
                for dialog in ringing:
                    self.does(number, Answer(dialog=dialog, body=SDP))

    def wind_down(self) -> None:
        """End all that is open, let all timers run out, and check the books."""
        self.loss = min(self.loss, 0.3)
        for _ in range(3):
            for number, party in enumerate(self.parties):
                for dialog in list(party.ringing):
                    self.does(number, Reject(dialog=dialog, status=480))
                    party._forget(dialog)
                    party.ends[dialog] += 1
                for dialog in [*party.up, *party.placed]:
                    self.does(number, HangUp(dialog=dialog))
                for request in party.questions:
                    self.does(number, Reply(request=request, status=200))
                party.questions.clear()
            self.run(150)
        for party in self.parties:
            assert party.finals == party.invited
            assert party.replied == party.asked
            assert all(count == 1 for count in party.ends.values()), party.ends
            assert set(party.began) <= set(party.ends)
            assert not any(party.stack.counts().values()), party.stack.counts()


class TwoStacks(RuleBasedStateMachine):
    """Commands at random times, whatever the wire does."""

    @initialize(seed=st.integers(0, 2**16), loss=st.sampled_from([0.0, 0.1, 0.3]))
    def begin(self, seed: int, loss: float) -> None:
        self.wire = Wire(seed, loss)

    @rule(party=PARTIES, late=st.booleans())
    def invites(self, party: int, late: bool) -> None:
        me = self.wire.parties[party]
        dialog = DialogId(me.stack.new_id())
        me.invited[dialog] += 1
        me.placed.append(dialog)
        uri = f"sip:x@{HOSTS[1 - party]}"
        invite = Invite(dialog=dialog, uri=uri, from_="<sip:a@b>", to="<sip:c@d>", body=b"" if late else SDP)
        self.wire.does(party, invite)

    @rule(party=PARTIES, pick=st.integers(0, 99), reliable=st.booleans(), sdp=st.booleans())
    def progress(self, party: int, pick: int, reliable: bool, sdp: bool) -> None:
        for dialog in _one(self.wire.parties[party].ringing, pick):
            body = SDP if sdp else b""
            self.wire.does(party, Progress(dialog=dialog, status=183, reliable=reliable, body=body))

    @rule(party=PARTIES, pick=st.integers(0, 99), session_s=st.sampled_from([0, 90, 1800]))
    def answers(self, party: int, pick: int, session_s: int) -> None:
        me = self.wire.parties[party]
        for dialog in _one(me.ringing, pick):
            me.ringing.remove(dialog)
            me.up.append(dialog)
            self.wire.does(party, Answer(dialog=dialog, body=SDP, session_expires_s=session_s))

    @rule(party=PARTIES, pick=st.integers(0, 99), status=st.sampled_from([302, 404, 486, 503, 603]))
    def rejects(self, party: int, pick: int, status: int) -> None:
        me = self.wire.parties[party]
        for dialog in _one(me.ringing, pick):
            me._forget(dialog)
            me.ends[dialog] += 1
            self.wire.does(party, Reject(dialog=dialog, status=status))

    @rule(party=PARTIES, pick=st.integers(0, 99))
    def hangs_up(self, party: int, pick: int) -> None:
        me = self.wire.parties[party]
        for dialog in _one([*me.up, *me.placed], pick):
            self.wire.does(party, HangUp(dialog=dialog))

    @rule(
        party=PARTIES,
        pick=st.integers(0, 99),
        method=st.sampled_from(["INVITE", "UPDATE", "INFO", "REFER"]),
        sdp=st.booleans(),
    )
    def asks(self, party: int, pick: int, method: str, sdp: bool) -> None:
        me = self.wire.parties[party]
        for dialog in _one(me.up, pick):
            request = RequestId(me.stack.new_id())
            me.asked[request] += 1
            me.dialog_of[request] = dialog
            body = SDP if sdp and method in ("INVITE", "UPDATE") else b""
            ask = Ask(
                dialog=dialog, request=request, method=method, body=body, content_type="application/sdp"
            )
            self.wire.does(party, ask)

    @rule(party=PARTIES, pick=st.integers(0, 99), status=st.sampled_from([200, 200, 488]))
    def replies(self, party: int, pick: int, status: int) -> None:
        me = self.wire.parties[party]
        for request in _one(me.questions, pick):
            me.questions.remove(request)
            body = SDP if status == 200 else b""
            reply = Reply(request=request, status=status, body=body, content_type="application/sdp")
            self.wire.does(party, reply)

    @rule(loss=st.sampled_from([0.0, 0.3, 0.6]))
    def weather_changes(self, loss: float) -> None:
        self.wire.loss = loss

    @rule()
    def nothing_arrives_for_a_while(self) -> None:
        before, self.wire.loss = self.wire.loss, 1.0
        self.wire.run(40)
        self.wire.loss = before

    @rule(for_s=st.sampled_from([0.01, 0.3, 2.0, 10.0, 45.0]))
    def time_passes(self, for_s: float) -> None:
        self.wire.run(for_s)

    def teardown(self) -> None:
        if hasattr(self, "wire"):
            self.wire.wind_down()


def _one(items: list, pick: int) -> list:
    return [items[pick % len(items)]] if items else []


TestTwoStacks = TwoStacks.TestCase
TestTwoStacks.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("loss", [0.0, 0.2, 0.4])
def test_calls_on_a_bad_wire_are_answered_once_and_leave_nothing(loss: float) -> None:
    wire = Wire(11, loss)
    for number in range(20):
        caller = number % 2
        me = wire.parties[caller]
        dialog = DialogId(me.stack.new_id())
        me.invited[dialog] += 1
        me.placed.append(dialog)
        uri = f"sip:x@{HOSTS[1 - caller]}"
        wire.does(caller, Invite(dialog=dialog, uri=uri, from_="<sip:a@b>", to="<sip:c@d>", body=SDP))
        wire.answer_all(3)
    wire.answer_all(60)
    assert [len(party.up) for party in wire.parties] == [20, 20]
    wire.wind_down()
