"""What the phone holds against the other side: one flaw at a time in otherwise good messages."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from jackfield.phone import events
from jackfield.phone.agent import Agent
from jackfield.phone.message import Message, parse
from jackfield.phone.sdp import EVENTS, PCMA, PCMU

US, THEM = ("10.0.0.1", 5060), ("10.0.0.2", 5060)
RTP = ("10.0.0.1", 20000)
CODECS = (PCMU, PCMA, EVENTS)
Flaw = Callable[[str], str]

SDP = (
    "v=0\r\no=srv 7 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\n"
    "m=audio 30000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
    "a=sendrecv\r\n"
)


def message(head: str, body: str = "") -> str:
    kind = "Content-Type: application/sdp\r\n" if body else ""
    return head.replace("\n", "\r\n") + kind + f"Content-Length: {len(body)}\r\n\r\n" + body


INVITE = message(
    """\
INVITE sip:101@10.0.0.1:5060 SIP/2.0
Via: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bKinvite;rport
Max-Forwards: 70
From: <sip:102@10.0.0.2>;tag=them
To: <sip:101@10.0.0.1>
Call-ID: one@10.0.0.2
CSeq: 10 INVITE
Contact: <sip:102@10.0.0.2:5060>
""",
    SDP,
)


def inside(method: str, seq: int, tag: str, body: str = "", branch: str = "") -> str:
    contact = "Contact: <sip:102@10.0.0.2:5060>\n" if method in ("INVITE", "UPDATE") else ""
    return message(
        f"{method} sip:101@10.0.0.1:5060 SIP/2.0\n"
        f"Via: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK{branch or method + str(seq)};rport\n"
        "Max-Forwards: 70\nFrom: <sip:102@10.0.0.2>;tag=them\n"
        f"To: <sip:101@10.0.0.1>;tag={tag}\nCall-ID: one@10.0.0.2\nCSeq: {seq} {method}\n{contact}",
        body,
    )


class Bench:
    """One phone's core, and a hand that feeds it."""

    def __init__(self, **account: object) -> None:
        self.agent = Agent(events.Account("101", **account), US, random.Random(1))  # type: ignore[arg-type]
        self.now = 100.0
        self.sent: list[Message] = []
        self.told: list[events.Event] = []

    def give(self, input: events.Input) -> None:
        for output in self.agent.handle(input, self.now):
            if isinstance(output, events.Transmit):
                self.sent.append(parse(output.data))
            else:
                self.told.append(output)

    def hear(self, text: str) -> None:
        self.give(events.Received(text.encode(), THEM))

    def wait(self, for_s: float) -> None:
        """Let time pass, one deadline after the other."""
        end = self.now + for_s
        while (due := self.agent.next_deadline()) is not None and due <= end:
            self.now = due
            self.give(None)
        self.now = end

    @property
    def complaints(self) -> list[str]:
        return self.agent.complaints

    def statuses(self) -> list[int]:
        return [sent.status for sent in self.sent if not sent.is_request]

    def called(self) -> str:
        """An INVITE came and was accepted; gives back our tag."""
        self.hear(INVITE)
        self.give(events.UseRtp(1, RTP, CODECS))
        self.give(events.Accept(1))
        return self.sent[-1].to.tag

    def in_a_call(self) -> str:
        tag = self.called()
        self.hear(inside("ACK", 10, tag))
        assert self.complaints == []
        return tag

    def calling(self) -> Message:
        self.give(events.Dial(1, "sip:102@10.0.0.2", RTP, CODECS))
        return self.sent[0]

    def answer(
        self, request: Message, status: int, extra: str = "", body: str = SDP, tag: str = "them"
    ) -> str:
        via = request.get("via").replace(";rport", ";rport=5060;received=10.0.0.1")
        return message(
            f"SIP/2.0 {status} Whatever\nVia: {via}\nFrom: {request.get('from')}\n"
            f"To: {request.get('to')};tag={tag}\nCall-ID: {request.call_id}\nCSeq: {request.get('cseq')}\n"
            f"Contact: <sip:102@10.0.0.2:5060>\n{extra}",
            body,
        )


def without(name: str) -> Flaw:
    return lambda text: "\r\n".join(line for line in text.split("\r\n") if not line.startswith(name + ":"))


def swap(old: str, new: str) -> Flaw:
    def flawed(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return flawed


def sdp(old: str, new: str) -> Flaw:
    """A flaw in the body, under a Content-Length that is true."""

    def flawed(text: str) -> str:
        head, _, body = text.partition("\r\n\r\n")
        assert old in body
        worse = body.replace(old, new, 1)
        return f"{head}\r\n\r\n{worse}".replace(
            f"Content-Length: {len(body)}", f"Content-Length: {len(worse)}"
        )

    return flawed


def one_complaint(bench: Bench, wanted: str) -> None:
    assert len(bench.complaints) >= 1, "nothing was noted"
    assert any(wanted in complaint for complaint in bench.complaints), bench.complaints


# ---------------------------------------------------------------- an INVITE comes


def test_a_good_call_is_not_complained_about() -> None:
    bench = Bench()
    tag = bench.in_a_call()
    bench.hear(inside("INVITE", 11, tag, SDP.replace("srv 7 1", "srv 7 2").replace("sendrecv", "sendonly")))
    bench.hear(inside("ACK", 11, tag))
    bench.hear(inside("BYE", 12, tag))
    bench.wait(100)
    assert bench.complaints == []
    assert bench.statuses() == [100, 200, 200, 200]


@pytest.mark.parametrize(
    ("flaw", "complaint"),
    [
        (without("Max-Forwards"), "INVITE without Max-Forwards"),
        (swap("Max-Forwards: 70", "Max-Forwards: many"), "INVITE with Max-Forwards: many"),
        (without("Contact"), "INVITE with 0 Contact values"),
        (swap("Contact: <sip:102@10.0.0.2:5060>", "Contact: <tel:102>"), "INVITE: Contact: not a SIP URI"),
        (swap("10 INVITE", "10 BYE"), "CSeq method BYE"),
        (swap("10 INVITE", f"{2**31} INVITE"), "2**31 or more"),
        (swap("z9hG4bKinvite", "oldstyle"), "does not begin with z9hG4bK"),
        (swap(";tag=them", ""), "without a From tag"),
        (without("Content-Type"), "a body without Content-Type"),
        (without("Content-Length"), "a body without Content-Length"),
        (swap(f"Content-Length: {len(SDP)}", "Content-Length: 9999"), "Content-Length says 9999"),
        (swap("CSeq:", "Max-Forwards: 9\r\nCSeq:"), "two Max-Forwards fields"),
        (swap("CSeq:", "Record-Route: <sip:10.0.0.9>\r\nCSeq:"), "a route without lr"),
        (swap("Max-Forwards", "Subject: x\nMax-Forwards"), "does not end in CRLF"),
        (swap("Call-ID:", "No-Call-ID:"), "no Call-ID"),
        (swap("sip:101@10.0.0.1:5060", "sip:101@10.0.0.1:5060?Subject=x"), "headers in the Request-URI"),
        (swap("INVITE sip", "INVITE  sip"), "neither a request line nor a status line"),
        (swap("10 INVITE", "ten INVITE"), "CSeq is 'ten INVITE'"),
        (sdp("m=audio 30000 RTP/AVP 0 101", "m=audio"), "m=audio"),
        (sdp(" 0 101", " 0 101 102"), "payload type 102 without a=rtpmap"),
        (sdp(" 0 101", " 0 0 101"), "a payload type twice"),
        (sdp("s=-\r\n", ""), "SDP without s="),
        (sdp("c=IN IP4 10.0.0.2\r\n", ""), "SDP without c="),
        (sdp("s=-\r\nc=IN IP4 10.0.0.2\r\n", "c=IN IP4 10.0.0.2\r\ns=-\r\n"), "out of order"),
        (sdp("srv 7 1", "srv seven 1"), "o=srv seven 1"),
        (sdp("v=0\r\n", ""), "does not begin with v="),
        (sdp("RTP/AVP 0 101", "RTP/AVP 18 101"), "no audio codec in common"),
    ],
)
def test_a_flawed_invite_is_noted(flaw: Flaw, complaint: str) -> None:
    bench = Bench()
    bench.hear(flaw(INVITE))
    for leg in list(bench.agent.legs):
        bench.give(events.UseRtp(leg, RTP, CODECS))
        bench.give(events.Accept(leg))
    one_complaint(bench, complaint)


@pytest.mark.parametrize(
    ("flaw", "complaint"),
    [
        (swap("CSeq: 10", "CSeq: 11"), "the ACK has CSeq 11, the INVITE 10"),
        (swap("ACK sip:101@10.0.0.1:5060", "ACK sip:101@10.0.0.77"), "ACK: sent to sip:101@10.0.0.77"),
        (swap("branch=z9hG4bKACK10", "branch=z9hG4bKinvite"), "the ACK of a 2xx has the INVITE's branch"),
        (swap("tag=them", "tag=others"), "ACK for nothing"),
        (swap("Max-Forwards", "Require: x\r\nMax-Forwards"), "ACK with Require"),
    ],
)
def test_a_flawed_ack_is_noted(flaw: Flaw, complaint: str) -> None:
    bench = Bench()
    tag = bench.called()
    bench.hear(flaw(inside("ACK", 10, tag)))
    one_complaint(bench, complaint)


def test_a_2xx_is_resent_until_64_t1_and_its_missing_ack_is_noted() -> None:
    bench = Bench()
    bench.called()
    bench.wait(40)
    assert bench.statuses().count(200) == 11
    assert bench.complaints == ["our 200 to INVITE was never acknowledged (RFC 3261 13.3.1.4)"]
    assert any(sent.method == "BYE" for sent in bench.sent)


def test_the_missing_ack_of_a_refusal_is_noted() -> None:
    bench = Bench()
    bench.hear(INVITE)
    bench.give(events.Refuse(1, 486))
    bench.wait(40)
    assert bench.statuses().count(486) == 11
    assert bench.complaints == ["our 486 to INVITE was never acknowledged (RFC 3261 17.2.1)"]


@pytest.mark.parametrize(
    ("flaw", "complaint"),
    [
        (swap("CSeq: 11", "CSeq: 9"), "INVITE: CSeq 9 after 10"),
        (swap("CSeq: 11", "CSeq: 10"), "INVITE: CSeq 10 after 10"),
        (swap("From: <sip:102@10.0.0.2>", "From: <sip:other@10.0.0.2>"), "INVITE: from was"),
        (sdp("srv 7 2", "srv 8 2"), "names another session"),
        (sdp("srv 7 2", "srv 7 1"), "the SDP changed and its version did not"),
        (sdp("srv 7 2", "srv 7 5"), "the version went from 1 to 5"),
        (
            sdp("0 101\r\na=rtpmap:0 PCMU", "0 101\r\na=rtpmap:0 PCMA"),
            "payload type 0 was PCMU/8000, is PCMA/8000",
        ),
        (sdp(SDP[SDP.index("m=") :].replace("sendrecv", "sendonly"), ""), "1 m-lines became 0"),
        (swap("branch=z9hG4bKINVITE11", "branch=z9hG4bKinvite"), "another message with the branch"),
        (swap("CSeq:", "Route: <sip:10.0.0.9;lr>\r\nCSeq:"), "was not used up on the way"),
        (swap("sip:101@10.0.0.1:5060", "sip:101@10.0.0.1:9"), "our Contact is sip:101@10.0.0.1:5060"),
    ],
)
def test_a_flawed_reinvite_is_noted(flaw: Flaw, complaint: str) -> None:
    bench = Bench()
    tag = bench.in_a_call()
    body = SDP.replace("srv 7 1", "srv 7 2").replace("sendrecv", "sendonly")
    bench.hear(flaw(inside("INVITE", 11, tag, body)))
    one_complaint(bench, complaint)


def test_a_branch_that_is_used_again_is_noted() -> None:
    bench = Bench()
    tag = bench.in_a_call()
    bench.hear(inside("INFO", 11, tag, branch="once"))
    bench.hear(inside("BYE", 12, tag, branch="once"))
    assert bench.complaints == ["BYE uses the branch of an earlier INFO (RFC 3261 8.1.1.7)"]


def test_a_request_for_a_call_that_is_not_there_is_refused_and_noted() -> None:
    bench = Bench()
    bench.hear(inside("BYE", 5, "nowhere"))
    assert bench.statuses() == [481]
    one_complaint(bench, "BYE inside a dialog that is not ours")


def test_an_unknown_extension_is_refused() -> None:
    bench = Bench()
    bench.hear(swap("CSeq:", "Require: teleport\r\nCSeq:")(INVITE))
    assert bench.statuses() == [420]
    assert bench.sent[0].get("unsupported") == "teleport"


def cancel(text: str) -> str:
    head = text.partition("Contact")[0].replace("INVITE", "CANCEL")
    return head + "Content-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("flaw", "complaint"),
    [
        (swap("CSeq: 10", "CSeq: 11"), "CANCEL: Request-URI or CSeq"),
        (swap("To: <sip:101@10.0.0.1>", "To: <sip:101@10.0.0.1>;tag=x"), "CANCEL: to is not the INVITE's"),
        (swap("z9hG4bKinvite", "z9hG4bKother"), "CANCEL for nothing"),
        (swap("Max-Forwards", "Require: 100rel\r\nMax-Forwards"), "CANCEL with Require"),
    ],
)
def test_a_flawed_cancel_is_noted(flaw: Flaw, complaint: str) -> None:
    bench = Bench()
    bench.hear(INVITE)
    bench.hear(flaw(cancel(INVITE)))
    one_complaint(bench, complaint)


# ---------------------------------------------------------------- an answer comes


def test_a_good_answer_is_not_complained_about() -> None:
    bench = Bench()
    request = bench.calling()
    bench.hear(bench.answer(request, 180, body=""))
    bench.hear(bench.answer(request, 200))
    bench.hear(bench.answer(request, 200))
    assert bench.complaints == []
    acks = [sent.raw for sent in bench.sent if sent.method == "ACK"]
    assert len(acks) == 2
    assert acks[0] == acks[1]


@pytest.mark.parametrize(
    ("flaw", "complaint"),
    [
        (without("Contact"), "200 to INVITE with 0 Contact values"),
        (swap("CSeq: 1 ", "CSeq: 2 "), "CSeq is not the request's"),
        (swap(";received=10.0.0.1", ""), "rport without received"),
        (swap(";rport=5060", ""), "rport was asked for and not filled in"),
        (swap("From: <sip:101@", "From: <sip:1010@"), "From is not the request's"),
        (swap("To: <sip:102@10.0.0.2>", "To: <sip:103@10.0.0.2>"), "To is not the request's"),
        (swap(";tag=them", ""), "200 to INVITE without a To tag"),
        (swap("z9hG4bK", "z9hG4bKx"), "answers nothing we sent"),
        (swap("From:", "Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\r\nFrom:"), "2 Via values"),
        (swap("CSeq:", "RSeq: 1\r\nCSeq:"), "RSeq and does not require 100rel"),
        (swap("CSeq:", "Require: 100rel\r\nRSeq: 1\r\nCSeq:"), "200 to INVITE requires 100rel"),
        (swap("CSeq:", "Session-Expires: 90\r\nCSeq:"), "Session-Expires without refresher"),
        (sdp("RTP/AVP 0 101", "RTP/AVP 18 101"), "no audio that was offered"),
        (sdp("RTP/AVP", "RTP/SAVP"), "RTP/SAVP for audio RTP/AVP"),
        (sdp("t=0 0\r\n", "t=0 0\r\nm=audio 0 RTP/AVP 0\r\n"), "the answer has 2 m-lines, the offer 1"),
        (lambda text: text.replace(SDP, "").replace(str(len(SDP)), "0"), "200 to INVITE without SDP"),
    ],
)
def test_a_flawed_200_is_noted(flaw: Flaw, complaint: str) -> None:
    bench = Bench()
    bench.hear(flaw(bench.answer(bench.calling(), 200)))
    one_complaint(bench, complaint)


def test_a_to_tag_that_changes_is_noted() -> None:
    bench = Bench()
    request = bench.calling()
    bench.hear(bench.answer(request, 180, body="", tag="first"))
    bench.hear(bench.answer(request, 200, tag="second"))
    assert bench.complaints == ["the To tag first became second with 200 (RFC 3261 12.1)"]


def test_a_second_fork_is_acknowledged_and_ended() -> None:
    bench = Bench(forks_allowed=True)
    request = bench.calling()
    bench.hear(bench.answer(request, 200, tag="first"))
    bench.hear(bench.answer(request, 200, tag="second"))
    ended = [sent for sent in bench.sent if sent.method == "BYE"]
    assert [sent.to.tag for sent in ended] == ["second"]
    assert bench.complaints == []


def test_a_2xx_that_is_resent_with_other_content_is_noted() -> None:
    bench = Bench()
    request = bench.calling()
    bench.hear(bench.answer(request, 200))
    bench.hear(bench.answer(request, 200, body=SDP.replace("30000", "30002")))
    assert bench.complaints == ["a 2xx was resent with other content (RFC 3261 13.3.1.4)"]


def test_an_answer_that_changes_between_183_and_200_is_noted() -> None:
    bench = Bench()
    request = bench.calling()
    bench.hear(bench.answer(request, 183))
    bench.hear(bench.answer(request, 200, body=SDP.replace("30000", "30002")))
    one_complaint(bench, "the SDP of the 2xx is not that of the provisional")


def test_an_answer_that_gives_the_wrong_direction_is_noted() -> None:
    bench = Bench()
    tag = bench.in_a_call()
    bench.give(events.Change(1, 1, "inactive"))
    reinvite = bench.sent[-1]
    reply = bench.answer(reinvite, 200, body=SDP.replace("srv 7 1", "srv 7 2").replace("a=ptime:20\r\n", ""))
    bench.hear(reply.replace(f"{reinvite.get('to')};tag=them", reinvite.get("to")))
    assert tag
    one_complaint(bench, "the answer is sendrecv to an offer of inactive")


def test_a_cancel_that_nobody_heeds_is_over_after_64_t1() -> None:
    bench = Bench()
    bench.hear(bench.answer(bench.calling(), 180, body=""))
    bench.give(events.HangUp(1))
    bench.wait(31.9)
    assert not any(isinstance(event, events.Failed) for event in bench.told)
    bench.wait(0.2)
    assert isinstance(bench.told[-1], events.Failed)
    assert bench.told[-1].status == 408


def test_rseq_out_of_order_is_noted() -> None:
    bench = Bench()
    request = bench.calling()
    for rseq in (5, 6, 9):
        bench.hear(bench.answer(request, 180, f"Require: 100rel\nRSeq: {rseq}\n", body=""))
    assert bench.complaints == ["RSeq went from 6 to 9 (RFC 3262 3)"]
    pracks = [sent.get("rack") for sent in bench.sent if sent.method == "PRACK"]
    assert pracks == ["5 1 INVITE", "6 1 INVITE"]


@pytest.mark.parametrize(
    ("status", "missing"),
    [
        (401, "WWW-Authenticate"),
        (407, "Proxy-Authenticate"),
        (405, "Allow"),
        (420, "Unsupported"),
        (423, "Min-Expires"),
    ],
)
def test_a_refusal_without_what_it_needs_is_noted(status: int, missing: str) -> None:
    bench = Bench(password="x")
    bench.hear(bench.answer(bench.calling(), status, body=""))
    one_complaint(bench, f"without {missing}")


# ---------------------------------------------------------------- subscriptions


def notify(subscribe: Message, state: str, seq: int) -> str:
    return message(
        f"NOTIFY sip:101@10.0.0.1:5060 SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bKn{seq};rport\n"
        f"Max-Forwards: 70\nFrom: {subscribe.get('to')};tag=them\nTo: {subscribe.get('from')}\n"
        f"Call-ID: {subscribe.call_id}\nCSeq: {seq} NOTIFY\nContact: <sip:102@10.0.0.2:5060>\n"
        f"Event: presence\nSubscription-State: {state}\n"
    )


def test_a_subscription_is_told_by_notify_until_it_ends() -> None:
    bench = Bench()
    fields = (("Event", "presence"), ("Expires", "60"))
    bench.give(events.Send(1, "SUBSCRIBE", "sip:102@10.0.0.2", fields))
    subscribe = bench.sent[0]
    bench.hear(bench.answer(subscribe, 200, body=""))
    bench.hear(notify(subscribe, "active;expires=60", 1))
    bench.hear(notify(subscribe, "terminated;reason=timeout", 2))
    assert bench.complaints == []
    bench.hear(notify(subscribe, "active", 3))
    assert bench.statuses() == [200, 200, 481]
    heard = [
        event.request.get("subscription-state") for event in bench.told if isinstance(event, events.Asked)
    ]
    assert heard == ["active;expires=60", "terminated;reason=timeout"]


def test_a_notify_without_state_is_noted() -> None:
    bench = Bench()
    bench.give(events.Send(1, "SUBSCRIBE", "sip:102@10.0.0.2", (("Event", "presence"),)))
    bench.hear(without("Subscription-State")(notify(bench.sent[0], "active", 1)))
    one_complaint(bench, "NOTIFY without Subscription-State")


# ---------------------------------------------------------------- garbage


@pytest.mark.parametrize("seed", range(20))
def test_no_bytes_make_the_phone_fall_over(seed: int) -> None:
    rng = random.Random(seed)
    bench = Bench()
    tag = bench.in_a_call()
    good = [INVITE, inside("INVITE", 11, tag, SDP), inside("BYE", 12, tag), inside("REFER", 13, tag)]
    for text in good * 20:
        data = bytearray(text.encode())
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] = rng.choice(b'\r\n:;<>@="\x00\xff 19aZ')
        bench.give(events.Received(bytes(data), THEM))
    bench.wait(100)


@pytest.mark.parametrize("seed", range(10))
def test_no_answer_makes_the_phone_fall_over(seed: int) -> None:
    rng = random.Random(seed)
    for status in (100, 183, 200, 302, 401, 422, 486) * 5:
        bench = Bench(password="x")
        data = bytearray(bench.answer(bench.calling(), status, "Require: 100rel\nRSeq: 4\n").encode())
        for _ in range(rng.randint(0, 5)):
            data[rng.randrange(len(data))] = rng.choice(b'\r\n:;<>@="\x00\xff 19aZ')
        bench.give(events.Received(bytes(data), THEM))
        bench.give(events.HangUp(1))
        bench.wait(100)
        assert bench.agent.next_deadline() is None
