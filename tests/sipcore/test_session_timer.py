"""Session timers, both roles (RFC 4028)."""

from __future__ import annotations

import pytest
from stack_script import OTHER_SDP, SDP, Far, Scene, calls_out, reaches, rings_in

from sipcore import session_timer
from sipcore.events import Answer, Asked, Failed, Reply
from sipcore.session_timer import Session, Wanted, grant, response_lines

NO_UPDATE = "Allow: INVITE, ACK, BYE\r\nSupported: timer\r\n"
NO_TIMER = "Allow: INVITE, ACK, BYE, UPDATE\r\nSupported: 100rel\r\n"


@pytest.mark.parametrize(
    ("wanted", "wish_s", "granted"),
    [  # RFC 4028 table 2 and section 9
        (Wanted(1800, "", 90, True), 1800, (1800, False)),
        (Wanted(1800, "uac", 90, True), 600, (600, False)),
        (Wanted(1800, "uas", 90, True), 1800, (1800, True)),
        (Wanted(600, "", 90, True), 1800, (600, False)),
        (Wanted(1800, "", 1200, True), 600, (1200, False)),
        (Wanted(0, "", 90, True), 1800, (1800, False)),
        (Wanted(0, "", 90, False), 1800, (1800, True)),
        (Wanted(1800, "uac", 90, False), 1800, (1800, True)),
        (Wanted(10**9, "", 90, True), 10**9, (86400, False)),
        (Wanted(0, "", 10**9, True), 1800, (86400, False)),
    ],
)
def test_what_is_granted(wanted: Wanted, wish_s: int, granted: tuple[int, bool]) -> None:
    session = grant(wanted, wish_s, 90)
    assert session is not None
    assert (session.interval_s, session.we_refresh) == granted


def test_no_wish_grants_nothing() -> None:
    assert grant(Wanted(1800, "", 90, True), 0, 90) is None
    assert response_lines(None) == session_timer.request_lines(0, 90) == ""


def test_the_bye_is_due_32_seconds_or_a_third_before_the_end() -> None:
    assert (Session(1800, True).give_up_after_s, Session(90, True).give_up_after_s) == (1768.0, 60.0)


def answered(scene: Scene, alice: Far, headers: str = "", known: str = "", wish_s: int = 1800) -> None:
    alice.headers = known or alice.headers
    dialog = rings_in(scene, alice, headers=headers)
    scene.does(Answer(dialog=dialog, body=SDP, session_expires_s=wish_s))
    alice.acks()


def connected(scene: Scene, boris: Far, headers: str, known: str = "") -> None:
    calls_out(scene)
    boris.headers = known or boris.headers
    assert boris.answers(200, body=SDP, headers=headers) == ["ACK", "Answered"]


# ---------------------------------------------------------------- we are called


def test_a_caller_that_refreshes_keeps_the_call(scene: Scene, alice: Far) -> None:
    answered(scene, alice, "Session-Expires: 600\r\n")
    response = scene.sent("200")
    assert (response.get("session-expires"), response.require) == ("600;refresher=uac", {"timer"})
    scene.run(300)
    assert alice.sends("UPDATE", headers="Session-Expires: 600;refresher=uac\r\n") == ["200"]
    assert scene.sent("200").get("session-expires") == "600;refresher=uac"
    assert scene.run(567) == []
    assert scene.run(1) == [(1.0, "BYE"), (1.0, "Ended SESSION_EXPIRED")]


def test_a_caller_that_does_not_refresh_loses_the_call(scene: Scene, alice: Far) -> None:
    answered(scene, alice, "Session-Expires: 600\r\n")
    assert scene.run(600)[:2] == [(568.0, "BYE"), (568.0, "Ended SESSION_EXPIRED")]
    assert scene.leftovers() == {}


def test_too_short_a_session_is_refused_with_422(scene: Scene, alice: Far) -> None:
    assert alice.invites(headers="Session-Expires: 60\r\n") == ["100", "422"]
    assert scene.sent("422").get("min-se") == "90"
    alice.acks_failure()
    assert scene.leftovers() == {}


def test_too_short_a_session_of_a_caller_who_knows_no_422_is_lengthened(scene: Scene, alice: Far) -> None:
    answered(scene, alice, "Session-Expires: 60\r\n", known=NO_TIMER)
    assert scene.sent("200").get("session-expires") == "90;refresher=uas"


def test_for_a_caller_without_timers_we_refresh_with_update(scene: Scene, alice: Far) -> None:
    answered(scene, alice, known=NO_TIMER)
    assert scene.sent("200").get("session-expires") == "1800;refresher=uas"
    assert scene.times(900, "UPDATE") == [900.0]
    update = scene.sent("UPDATE")
    assert (update.get("session-expires"), update.body) == ("1800;refresher=uac", b"")
    assert alice.answers(200, "UPDATE", headers="Session-Expires: 1800;refresher=uac\r\n") == []
    assert scene.times(900, "UPDATE") == [900.0]


def test_without_update_we_refresh_with_a_re_invite_that_repeats_our_sdp(scene: Scene, alice: Far) -> None:
    answered(scene, alice, "Session-Expires: 600;refresher=uas\r\n", known=NO_UPDATE)
    assert scene.times(300, "INVITE") == [300.0]
    assert scene.sent("INVITE").body == SDP
    refreshed = "Session-Expires: 600;refresher=uac\r\n"
    assert alice.answers(200, body=OTHER_SDP, headers=refreshed) == ["ACK"]
    assert scene.times(300, "INVITE") == [300.0]


def test_a_refresh_repeats_the_latest_sdp(scene: Scene, alice: Far) -> None:
    answered(scene, alice, "Session-Expires: 600;refresher=uas\r\n", known=NO_UPDATE)
    alice.invites(headers="Session-Expires: 600;refresher=uas\r\n")
    request = scene.event(Asked).request
    scene.does(Reply(request=request, status=200, body=OTHER_SDP, content_type="application/sdp"))
    alice.acks()
    assert scene.times(300, "INVITE") == [300.0]
    assert scene.sent("INVITE").body == OTHER_SDP


def test_a_refresh_that_is_refused_is_no_end_but_the_expiry_is(scene: Scene, alice: Far) -> None:
    answered(scene, alice, "Session-Expires: 600;refresher=uas\r\n")
    scene.run(300)
    assert alice.answers(500, "UPDATE") == []
    assert scene.run(300)[:2] == [(268.0, "BYE"), (268.0, "Ended SESSION_EXPIRED")]


def test_a_refresh_that_nobody_answers_ends_the_call(scene: Scene, alice: Far) -> None:
    answered(scene, alice, "Session-Expires: 600;refresher=uas\r\n")
    scene.run(300)
    assert [what for _, what in scene.run(32)][-2:] == ["BYE", "Ended PEER_LOST"]


def test_switched_off_means_off(scene: Scene, alice: Far) -> None:
    answered(scene, alice, "Session-Expires: 600\r\n", wish_s=0)
    assert scene.sent("200").get("session-expires") is None
    assert scene.run(4000) == []


# ---------------------------------------------------------------- we call


def test_we_ask_for_a_session_timer_and_refresh_when_told(scene: Scene, boris: Far) -> None:
    connected(scene, boris, "Session-Expires: 600;refresher=uac\r\nRequire: timer\r\n")
    assert scene.sent("INVITE").get("session-expires") == "1800"
    assert scene.times(300, "UPDATE") == [300.0]
    assert boris.answers(200, "UPDATE", headers="Session-Expires: 600;refresher=uac\r\n") == []


def test_a_callee_that_refreshes_is_answered_and_one_that_stops_is_hung_up(scene: Scene, boris: Far) -> None:
    connected(scene, boris, "Session-Expires: 600;refresher=uas\r\n")
    scene.run(300)
    assert boris.sends("UPDATE", headers="Session-Expires: 600;refresher=uac\r\n") == ["200"]
    assert scene.run(600)[:2] == [(568.0, "BYE"), (568.0, "Ended SESSION_EXPIRED")]


def test_a_callee_without_timers_is_left_alone(scene: Scene, boris: Far) -> None:
    connected(scene, boris, "")
    assert scene.run(4000) == []


def test_a_422_is_answered_with_a_longer_session(scene: Scene, boris: Far) -> None:
    calls_out(scene, session_expires_s=600)
    assert boris.answers(422, headers="Min-SE: 1200\r\n") == ["ACK", "INVITE"]
    invite = scene.sent("INVITE")
    assert (invite.get("session-expires"), invite.get("min-se"), invite.cseq.number) == ("1200", "1200", 2)
    assert boris.answers(200, body=SDP, headers="Session-Expires: 1200;refresher=uac\r\n") == [
        "ACK",
        "Answered",
    ]


@pytest.mark.parametrize("headers", ["", "Min-SE: 60\r\n", "Min-SE: never\r\n", "Min-SE: 999999999\r\n"])
def test_a_422_that_asks_for_nothing_better_fails(scene: Scene, boris: Far, headers: str) -> None:
    calls_out(scene)
    assert boris.answers(422, headers=headers) == ["ACK", "Failed 422"]


def test_a_422_that_always_wants_more_fails_in_the_end(scene: Scene, boris: Far) -> None:
    calls_out(scene, session_expires_s=600)
    boris.answers(422, headers="Min-SE: 1200\r\n")
    assert boris.answers(422, headers="Min-SE: 1200\r\n") == ["ACK", "Failed 422"]
    assert scene.event(Failed).status == 422


def test_without_session_timers_we_do_not_even_support_them(scene: Scene, boris: Far) -> None:
    reaches(scene, boris, session_expires_s=0)
    assert "timer" not in scene.sent("INVITE").supported
    assert scene.sent("INVITE").get("session-expires") is None


def test_a_refresh_meeting_422_is_tried_again_with_a_longer_session(scene: Scene, boris: Far) -> None:
    connected(scene, boris, "Session-Expires: 600;refresher=uac\r\n")
    scene.run(300)
    assert boris.answers(422, "UPDATE", headers="Min-SE: 1000\r\n") == ["UPDATE"]
    assert scene.sent("UPDATE").get("session-expires") == "1000;refresher=uac"
