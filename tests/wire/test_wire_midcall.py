"""What SIPps do besides calling and hanging up: hold, late offers, PRACK, UPDATE, INFO, transfer, timers."""

from __future__ import annotations

import re

import pytest
from sipp_ladder import Ladder, Phone
from wire_accounts import fresh_phone
from wire_exchange import Exchange
from wire_server import Server

pytestmark = pytest.mark.wire

PRACKED = ("Require: 100rel", "RSeq: 4711")


def _directions(body: str) -> list[str]:
    return re.findall(r"a=(sendrecv|sendonly|recvonly|inactive)", body)


@pytest.mark.parametrize(
    ("asked", "host", "seen", "answered"),
    [
        ("sendonly", "", "sendonly", "recvonly"),
        ("inactive", "", "inactive", "inactive"),
        ("sendrecv", "0.0.0.0", "", ""),
    ],
    ids=["sendonly", "inactive", "0.0.0.0"],
)
def test_hold_and_resume(
    server: Server, sipp: Exchange, asked: str, host: str, seen: str, answered: str
) -> None:
    alice, bob = fresh_phone(), fresh_phone()
    sipp.register(bob)
    callee = sipp.wait_for_call(
        Ladder(bob)
        .is_called()
        .answer()
        .receive("INVITE")
        .reply(200, "OK", sdp=bob.sdp(answered or "inactive", version=2))
        .receive("ACK")
        .receive("INVITE")
        .reply(200, "OK", sdp=bob.sdp(version=3))
        .receive("ACK")
        .hung_up()
    )
    caller = sipp.run(
        Ladder(alice)
        .invite(bob.number)
        .connected()
        .request("INVITE", sdp=alice.sdp(asked, version=2, host=host))
        .receive(200)
        .ack()
        .request("INVITE", sdp=alice.sdp(version=3))
        .receive(200)
        .ack()
        .bye()
    )
    _, held, resumed = callee.ends_well().received("INVITE")
    assert set(_directions(held.body)) & {seen or "inactive", seen or "sendonly"}
    assert _directions(resumed.body) in ([], ["sendrecv"])
    answers = [each.body for each in caller.answers("INVITE", 200)]
    assert all(f"c=IN IP4 {server.host}" in body for body in answers)
    assert set(_directions(answers[1])) & {answered or "inactive", answered or "recvonly"}
    assert _directions(answers[2]) in ([], ["sendrecv"])


def test_a_late_offer_travels_both_ways(server: Server, sipp: Exchange) -> None:
    """INVITE without SDP: the offer comes in the 200, the answer in the ACK (RFC 3261 13.2.1)."""
    alice, bob = fresh_phone(), fresh_phone()
    sipp.register(bob)
    callee = sipp.wait_for_call(Ladder(bob).is_called().answer().hung_up())
    caller = sipp.run(
        Ladder(alice)
        .invite(bob.number, sdp=None)
        .receive(180, optional=True)
        .receive(200)
        .ack(sdp=alice.sdp())
        .bye()
    )
    assert f"c=IN IP4 {server.host}" in caller.answers("INVITE", 200)[0].body
    heard = callee.ends_well()
    assert f"c=IN IP4 {server.host}" in heard.got("INVITE").body + heard.got("ACK").body


def test_reliable_ringing_is_acknowledged_on_both_legs(sipp: Exchange) -> None:
    alice, bob = fresh_phone(), fresh_phone()
    sipp.register(bob)
    callee = sipp.wait_for_call(
        Ladder(bob)
        .is_called()
        .reply(183, "Session Progress", sdp=bob.sdp(), headers=PRACKED)
        .receive("PRACK")
        .reply(200, "OK", to="PRACK")
        .answer()
        .hung_up()
    )
    caller = sipp.run(
        Ladder(alice)
        .invite(bob.number, headers=("Require: 100rel", "Supported: 100rel"))
        .receive_reliable(183)
        .prack()
        .receive(200, dialog=False)
        .receive(200)
        .ack()
        .bye()
    )
    assert callee.ends_well().got("PRACK").header("RAck") == "4711 1 INVITE"
    assert "100rel" in caller.got(183).header("Require")


def test_a_caller_without_100rel_gets_plain_ringing(sipp: Exchange) -> None:
    alice, bob = fresh_phone(), fresh_phone()
    sipp.register(bob)
    callee = sipp.wait_for_call(
        Ladder(bob)
        .is_called()
        .reply(183, "Session Progress", sdp=bob.sdp(), headers=PRACKED)
        .receive("PRACK")
        .reply(200, "OK", to="PRACK")
        .answer()
        .hung_up()
    )
    caller = sipp.run(Ladder(alice).invite(bob.number).receive(183).receive(200).ack().bye())
    callee.ends_well()
    assert caller.got(183).header("RSeq") == ""


def test_info_is_passed_to_the_other_end_and_its_answer_back(sipp: Exchange) -> None:
    alice, bob = fresh_phone(), fresh_phone()
    sipp.register(bob)
    callee = sipp.wait_for_call(
        Ladder(bob).is_called().answer().receive("INFO").reply(200, "OK", to="INFO").hung_up()
    )
    picture = "<media_control><vc_primitive/></media_control>\r\n"  # a digit would be said in RTP instead
    sipp.run(
        Ladder(alice)
        .invite(bob.number)
        .connected()
        .request("INFO", body=picture, content_type="application/media_control+xml")
        .receive(200, dialog=False)
        .bye()
    )
    info = callee.ends_well().got("INFO")
    assert info.header("Content-Type") == "application/media_control+xml"
    assert "<vc_primitive/>" in info.body


def test_an_update_with_an_offer_holds_the_call(sipp: Exchange) -> None:
    """The server may hand it on as UPDATE or as re-INVITE; the callee here has told no Allow: UPDATE."""
    alice, bob = fresh_phone(), fresh_phone()
    sipp.register(bob)
    callee = sipp.wait_for_call(
        Ladder(bob)
        .is_called()
        .answer()
        .receive("INVITE")
        .reply(200, "OK", sdp=bob.sdp("recvonly", version=2))
        .receive("ACK")
        .hung_up()
    )
    caller = sipp.run(
        Ladder(alice)
        .invite(bob.number)
        .connected()
        .request("UPDATE", sdp=alice.sdp("sendonly", version=2))
        .receive(200)
        .bye()
    )
    assert _directions(callee.ends_well().got("INVITE").body) == ["sendonly"]
    assert _directions(caller.answers("UPDATE", 200)[0].body) == ["recvonly"]


def test_a_session_timer_that_is_too_short_is_refused_with_the_least(sipp: Exchange) -> None:
    timer = ("Supported: timer", "Session-Expires: 30", "Min-SE: 30")
    caller = sipp.run(
        Ladder(fresh_phone()).invite("2100", headers=timer, challenged=False).receive(422).ack_failure()
    )
    assert caller.got(422).header("Min-SE") == "90"


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_caller_that_refreshes_its_session_is_told_so(sipp: Exchange, method: str) -> None:
    """Refreshes carry the same SDP, or none, and do not reach the callee (RFC 4028 section 7.4)."""
    alice, bob = fresh_phone(), fresh_phone()
    sipp.register(bob)
    callee = sipp.wait_for_call(Ladder(bob).is_called().answer().hung_up())
    timer = ("Supported: timer", "Session-Expires: 1800;refresher=uac")
    sdp = {"INVITE": alice.sdp(), "UPDATE": ""}[method]
    ladder = (
        Ladder(alice)
        .invite(bob.number, headers=timer)
        .connected()
        .request(method, sdp=sdp, headers=timer)
        .receive(200)
    )
    refreshed = {"INVITE": ladder.ack, "UPDATE": lambda: ladder}[method]()
    caller = sipp.run(refreshed.bye())
    callee.ends_well()
    for answer in caller.received(200)[:2]:
        assert answer.header("Session-Expires").replace(" ", "") == "1800;refresher=uac"
        assert "timer" in answer.header("Require")


def test_a_blind_transfer_connects_the_third_and_reports(sipp: Exchange) -> None:
    alice, bob, carol = fresh_phone(), fresh_phone(), fresh_phone()
    sipp.register(bob, carol)
    target = sipp.wait_for_call(Ladder(carol).is_called().ring().answer().pause(300).bye())
    refers = (f"Refer-To: <sip:{carol.number}@{carol.realm}>", f"Referred-By: <sip:{bob.number}@{bob.realm}>")
    transferor = sipp.wait_for_call(
        Ladder(bob)
        .is_called()
        .answer()
        .request("REFER", headers=refers)
        .receive(202, dialog=False)
        .hung_up(),
        "-aa",
    )
    transferee = sipp.start(Ladder(alice).invite(bob.number).connected().hung_up())
    target.ends_well()
    transferee.ends_well()
    told = [each.body.splitlines()[0] for each in transferor.ends_well().received("NOTIFY")]
    assert told[0].startswith("SIP/2.0 1")
    assert told[-1].startswith("SIP/2.0 200")
    assert f"sip:{alice.number}@" in target.trace.got("INVITE").header("From")


def test_a_message_reaches_the_other_phone(sipp: Exchange) -> None:
    alice, bob = fresh_phone(), fresh_phone()
    sipp.register(bob)
    reader = sipp.wait_for_call(Ladder(bob).is_called(keep="MESSAGE").reply(200, "OK", to="MESSAGE"))
    ladder = Ladder(alice).ask("MESSAGE", bob.number, body="Lunch?").receive(401, auth=True, dialog=False)
    ladder.auth_uri = f"{bob.number}@{bob.realm}"
    sipp.run(
        ladder.ask("MESSAGE", bob.number, body="Lunch?", headers=(alice.credentials,)).receive(
            200, dialog=False
        )
    )
    message = reader.ends_well().got("MESSAGE")
    assert message.body.strip() == "Lunch?"
    assert message.header("Content-Type") == "text/plain"


def test_options_is_answered_with_what_we_can_do(sipp: Exchange) -> None:
    alice: Phone = fresh_phone()
    answer = sipp.run(Ladder(alice).ask("OPTIONS", "2100").receive(200, dialog=False)).got(200)
    assert {"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS"} <= set(re.split(r",\s*", answer.header("Allow")))
    assert "application/sdp" in answer.header("Accept")


def test_an_attended_transfer_joins_the_two_far_ends(sipp: Exchange) -> None:
    """Bob talks to Alice and to Carol; his REFER on one call has Replaces for the other (RFC 3891)."""
    alice, bob, carol = fresh_phone(), fresh_phone(), fresh_phone()
    other_line = Phone(number=bob.number, password=bob.password, realm=bob.realm, host=bob.host, port=5062)
    sipp.register(bob, carol)
    target = sipp.wait_for_call(Ladder(carol).is_called().answer().hung_up(), "-aa")
    consultation = sipp.start(Ladder(other_line).invite(carol.number).connected().hung_up())
    target.sees("ACK")
    dialog = consultation.trace.answers("INVITE", 200)[0]
    local, remote = (re.search(r"tag=([^;\s]+)", dialog.header(name)) for name in ("From", "To"))
    assert local is not None
    assert remote is not None
    replaces = f"{dialog.header('Call-ID')}%3Bto-tag%3D{remote[1]}%3Bfrom-tag%3D{local[1]}".replace(
        "@", "%40"
    )
    refer_to = f"Refer-To: <sip:{carol.number}@{carol.realm}?Replaces={replaces}>"
    transferor = sipp.wait_for_call(
        Ladder(bob)
        .is_called()
        .answer()
        .request("REFER", headers=(refer_to,))
        .receive(202, dialog=False)
        .hung_up(),
        "-aa",
    )
    transferee = sipp.start(Ladder(alice).invite(bob.number).connected().pause(1500).bye())
    consultation.ends_well()
    transferor.ends_well()
    transferee.ends_well()
    target.ends_well()
    told = [each.body.splitlines()[0] for each in transferor.trace.received("NOTIFY")]
    assert told[-1].startswith("SIP/2.0 200")
