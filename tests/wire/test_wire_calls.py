"""Calls between two SIPps through the server: how they begin and how they end (RFC 3261)."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from sipp_ladder import Ladder, Phone
from sipp_runner import Trace
from wire_accounts import IMPATIENT, ONE_CALL, fresh_phone, phone_of
from wire_exchange import Exchange
from wire_server import Server

pytestmark = pytest.mark.wire


def test_a_call_is_set_up_and_both_ends_see_only_the_server(server: Server, sipp: Exchange) -> None:
    alice, bob = fresh_phone(), fresh_phone()
    sipp.register(bob)
    callee = sipp.wait_for_call(Ladder(bob).is_called().ring().answer().hung_up())
    caller = sipp.run(Ladder(alice).invite(bob.number).rings().connected().bye())
    offer, answer = callee.ends_well().got("INVITE"), caller.got(200)
    assert f"c=IN IP4 {server.host}" in offer.body
    invited = caller.answers("INVITE", 200)[0]
    assert f"c=IN IP4 {server.host}" in invited.body
    assert f"<sip:{alice.number}@" in offer.header("From")
    assert alice.host not in offer.text
    assert bob.host not in invited.text + answer.text


def test_the_callee_hangs_up(sipp: Exchange) -> None:
    alice, bob = fresh_phone(), fresh_phone()
    sipp.register(bob)
    callee = sipp.wait_for_call(Ladder(bob).is_called().answer().pause(100).bye())
    sipp.run(Ladder(alice).invite(bob.number).connected().hung_up())
    callee.ends_well()


def test_a_caller_cancels_and_the_phone_is_told_why(sipp: Exchange) -> None:
    alice, bob = fresh_phone(), fresh_phone()
    sipp.register(bob)
    callee = sipp.wait_for_call(
        Ladder(bob).is_called().ring().receive("CANCEL").reply(200, to="CANCEL").reply(487).receive("ACK")
    )
    sipp.run(
        Ladder(alice)
        .invite(bob.number)
        .rings()
        .cancel('Reason: SIP;cause=487;text="Changed my mind"')
        .receive(200, dialog=False)
        .receive(487)
        .ack_failure()
    )
    assert callee.ends_well().got("CANCEL").headers("Reason") == ['SIP;cause=487;text="Changed my mind"']


@pytest.mark.parametrize(
    ("said", "heard"),
    [(486, 486), (603, 603), (480, 480), (500, 500), (503, 500), (404, 404)],
)
def test_a_refusal_reaches_the_caller(  # 503 speaks of one hop alone: RFC 3261 16.7
    sipp: Exchange, said: int, heard: int
) -> None:
    alice, bob = fresh_phone(), fresh_phone()
    sipp.register(bob)
    callee = sipp.wait_for_call(Ladder(bob).is_called().ring().reply(said).receive("ACK"))
    sipp.run(Ladder(alice).invite(bob.number).rings().receive(heard).ack_failure())
    callee.ends_well()


def test_codecs_that_are_refused_are_offered_once_more_with_ours_beside_them(sipp: Exchange) -> None:
    alice, bob = fresh_phone(), fresh_phone()
    sipp.register(bob)
    callee = sipp.wait_for_call(Ladder(bob).is_called().reply(488).receive("ACK"), "-m", "2")
    sipp.run(Ladder(alice).invite(bob.number).receive(488).ack_failure())
    first, second = callee.ends_well().received("INVITE")
    assert "opus" not in first.body
    assert "opus" in second.body


def test_a_phone_that_nobody_picks_up_stops_ringing(sipp: Exchange) -> None:
    alice, bob = fresh_phone(), phone_of(IMPATIENT[0])
    sipp.register(bob)
    callee = sipp.wait_for_call(
        Ladder(bob).is_called().ring().receive("CANCEL").reply(200, to="CANCEL").reply(487).receive("ACK")
    )
    caller = sipp.run(Ladder(alice).invite(bob.number).rings().receive(480).ack_failure())
    callee.ends_well()
    rang_s = caller.got(480).at_s - caller.got(180).at_s
    assert 4.9 < rang_s < 5.6


def test_a_registered_phone_that_is_gone_ends_in_480(sipp: Exchange) -> None:
    """Its host answers with ICMP port unreachable, which must not take timer B's 32 s."""
    alice, bob = fresh_phone(), fresh_phone()
    sipp.register(bob)
    caller = sipp.run(Ladder(alice).invite(bob.number).receive(480).ack_failure())
    assert caller.got(480).at_s - caller[0].at_s < 2


def test_nobody_registered_is_480_and_a_wrong_number_404(sipp: Exchange) -> None:
    sipp.run(Ladder(fresh_phone()).invite(fresh_phone().number).receive(480).ack_failure())
    sipp.run(Ladder(fresh_phone()).invite("9999").receive(404).ack_failure())


def _secretless(text: str) -> str:
    """The message without what differs in every message."""
    return re.sub(r"(;tag=|branch=|nonce=\"|rport=|received=|Call-ID: |:)[^\s;\"]*", r"\1", text)


def test_a_stranger_cannot_tell_a_wrong_password_from_an_unknown_user(sipp: Exchange) -> None:
    known = fresh_phone()
    guess = Phone(number=known.number, password="guess", realm=known.realm, host=known.host, port=known.port)
    nobody = Phone(number="8888", password="guess", realm=known.realm, host=known.host, port=known.port)

    def answers_to(stranger: Phone) -> list[str]:
        called: Trace = sipp.run(Ladder(stranger).invite("2100").receive(403).ack_failure())
        registered: Trace = sipp.run(Ladder(stranger).register(60).receive(403))
        answers = [message.text for message in (*called, *registered) if not message.sent]
        return [_secretless(text).replace(stranger.number, "N") for text in answers]

    assert answers_to(guess) == answers_to(nobody)


def test_the_first_phone_that_answers_ends_the_ringing_of_the_other(sipp: Exchange) -> None:
    alice, desk = fresh_phone(), fresh_phone()
    mobile = Phone(
        number=desk.number, password=desk.password, realm=desk.realm, host=fresh_phone().host, port=5062
    )
    sipp.register(desk, mobile)
    slow = sipp.wait_for_call(
        Ladder(desk).is_called().ring().receive("CANCEL").reply(200, to="CANCEL").reply(487).receive("ACK")
    )
    quick = sipp.wait_for_call(Ladder(mobile).is_called().ring().pause(200).answer().hung_up())
    sipp.run(Ladder(alice).invite(desk.number).rings().connected().pause(100).bye())
    quick.ends_well()
    assert slow.ends_well().got("CANCEL").header("Reason") == 'SIP;cause=200;text="Call completed elsewhere"'


def test_an_answer_that_crosses_the_cancel_is_hung_up(sipp: Exchange) -> None:
    alice, bob = fresh_phone(), fresh_phone()
    sipp.register(bob)
    callee = sipp.wait_for_call(
        Ladder(bob)
        .is_called()
        .ring()
        .receive("CANCEL")
        .reply(200, to="CANCEL")
        .reply(200, "OK", sdp=bob.sdp())
        .receive("ACK")
        .hung_up()
    )
    sipp.run(
        Ladder(alice)
        .invite(bob.number)
        .rings()
        .cancel()
        .receive(200, dialog=False)
        .receive(487)
        .ack_failure()
    )
    callee.ends_well()


def test_both_hang_up_at_once(sipp: Exchange) -> None:
    """The callee's BYE leaves before it has seen the caller's: each BYE gets its answer."""
    alice, bob = fresh_phone(), fresh_phone()
    sipp.register(bob)
    callee = sipp.wait_for_call(
        Ladder(bob)
        .is_called()
        .answer()
        .receive("BYE")
        .request("BYE")
        .receive(200, dialog=False)
        .reply(200, to="BYE")
    )
    sipp.run(Ladder(alice).invite(bob.number).connected().bye())
    callee.ends_well()


def test_an_extension_with_one_line_is_busy(sipp: Exchange) -> None:
    alice, carol, bob = fresh_phone(), fresh_phone(), phone_of(ONE_CALL[0])
    sipp.register(bob)
    callee = sipp.wait_for_call(Ladder(bob).is_called().answer().hung_up())
    first = sipp.start(Ladder(alice).invite(bob.number).connected().pause(1500).bye())
    callee.sees("ACK")
    sipp.run(Ladder(carol).invite(bob.number).receive(486).ack_failure())
    first.ends_well()
    callee.ends_well()


def test_twenty_calls_survive_a_network_that_loses_every_tenth_message(sipp: Exchange) -> None:
    """The calls last 3.6 s so that a 200 whose ACK was lost three times is answered before the BYE."""
    alice, bob = fresh_phone(), fresh_phone()
    sipp.register(bob)
    many = ("-m", "20", "-r", "20")
    callee = sipp.wait_for_call(Ladder(bob, loses_pct=10).is_called().ring().answer().hung_up(), *many)
    ladder = (
        Ladder(alice, loses_pct=10)
        .invite(bob.number)
        .receive(180, optional=True)
        .receive(200)
        .ack()
        .pause(3600)
        .bye()
    )
    caller = sipp.start(ladder, *many)
    trace = caller.ends_well(within_s=40)
    callee.ends_well(within_s=40)
    messages_of_a_call = Counter(message.header("Call-ID") for message in trace)
    assert len(messages_of_a_call) == 20
    assert len(set(messages_of_a_call.values())) > 1, "nothing was lost: every call went alike"
