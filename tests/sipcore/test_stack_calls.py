"""Plain calls through the stack: set up, answered, refused, cancelled, hung up (RFC 3261 9, 13, 15)."""

from __future__ import annotations

import pytest
from stack_script import (
    ALICE,
    ALICE_TCP,
    BORIS,
    OTHER_SDP,
    SDP,
    Far,
    Scene,
    calls_out,
    is_answered,
    reaches,
    rings_in,
)

from sipcore.events import (
    Ack,
    Acked,
    Answer,
    Answered,
    Ask,
    Cancelled,
    Crashed,
    DialogId,
    Ended,
    Failed,
    HangUp,
    IncomingCall,
    Progress,
    Progressed,
    Reject,
)
from sipcore.faults import Misuse
from sipcore.flow import Flow, Transport

# ---------------------------------------------------------------- incoming


def test_an_incoming_call_rings_is_answered_and_hung_up_by_the_caller(scene: Scene, alice: Far) -> None:
    dialog = rings_in(scene, alice)
    assert scene.does(Progress(dialog=dialog, status=180)) == ["180"]
    assert scene.does(Answer(dialog=dialog, body=SDP)) == ["200"]
    answer = scene.sent("200")
    assert answer.body == SDP
    assert answer.contacts[0].uri == "sip:192.0.2.1:5060"
    assert answer.to.tag == scene.sent("180").to.tag != ""
    assert alice.acks() == ["Acked"]
    assert alice.sends("BYE") == ["200", "Ended PEER_BYE"]
    assert scene.event(Ended).request.method == "BYE"
    assert scene.leftovers() == {}


def test_an_incoming_call_is_hung_up_by_us(scene: Scene, alice: Far) -> None:
    dialog = is_answered(scene, alice)
    headers = (("Reason", "Q.850;cause=16"),)
    assert scene.does(HangUp(dialog=dialog, headers=headers)) == ["BYE", "Ended OUR_BYE"]
    bye = scene.sent("BYE")
    assert (bye.uri, bye.get("reason")) == ("sip:alice@192.0.2.10:5060", "Q.850;cause=16")
    assert (bye.from_.tag, bye.to.tag) == (alice.remote_tag, alice.tag)
    assert alice.answers(200, "BYE") == []
    assert scene.leftovers() == {}


def test_hang_ups_that_cross_are_both_right(scene: Scene, alice: Far) -> None:
    dialog = is_answered(scene, alice)
    scene.does(HangUp(dialog=dialog))
    assert alice.sends("BYE") == ["200"]
    assert alice.answers(200, "BYE") == []
    assert scene.leftovers() == {}


def test_a_bye_long_after_ours_finds_no_dialog(scene: Scene, alice: Far) -> None:
    dialog = is_answered(scene, alice)
    scene.does(HangUp(dialog=dialog))
    alice.answers(200, "BYE")
    scene.run(6)
    assert alice.sends("BYE")[0] == "481"


def test_a_refused_call_is_refused_until_the_ack(scene: Scene, alice: Far) -> None:
    dialog = rings_in(scene, alice)
    headers = (("Retry-After", "60"),)
    assert scene.does(Reject(dialog=dialog, status=486, headers=headers)) == ["486"]
    assert scene.sent("486").get("retry-after") == "60"
    assert scene.times(2, "486") == [0.5, 1.5]
    assert alice.acks_failure() == []
    assert scene.run(3) == []
    assert scene.leftovers() == {}


def test_our_200_is_resent_until_its_ack_even_over_tcp(scene: Scene) -> None:
    alice = Far(scene, "alice", ALICE_TCP)
    dialog = rings_in(scene, alice)
    scene.does(Answer(dialog=dialog, body=SDP))
    assert scene.times(9, "200") == [0.5, 1.5, 3.5, 7.5]
    assert alice.acks() == ["Acked"]
    assert scene.run(30) == []


def test_our_200_without_an_ack_ends_in_a_bye(scene: Scene, alice: Far) -> None:
    dialog = rings_in(scene, alice)
    scene.does(Answer(dialog=dialog, body=SDP, session_expires_s=0))
    log = scene.run(32)
    assert [when for when, what in log if what == "200"] == [
        0.5,
        1.5,
        3.5,
        7.5,
        11.5,
        15.5,
        19.5,
        23.5,
        27.5,
        31.5,
    ]
    assert log[-2:] == [(32.0, "BYE"), (32.0, "Ended NO_ACK")]
    assert scene.leftovers() == {}


def test_an_invite_that_comes_again_gets_the_last_response_again(scene: Scene, alice: Far) -> None:
    invite = alice.request("INVITE", body=SDP)
    assert alice.gives(invite) == ["100", "IncomingCall"]
    assert alice.gives(invite) == ["100"]
    dialog = scene.event(IncomingCall).dialog
    scene.does(Progress(dialog=dialog, status=183))
    assert alice.gives(invite) == ["183"]
    scene.does(Answer(dialog=dialog, body=SDP))
    assert alice.gives(invite) == []  # the dialog resends its 200 by itself


def test_an_ack_that_comes_again_is_told_once(scene: Scene, alice: Far) -> None:
    is_answered(scene, alice)
    assert alice.acks() == []


def test_a_late_offer_comes_with_the_ack(scene: Scene, alice: Far) -> None:
    dialog = rings_in(scene, alice, body=b"")
    scene.does(Answer(dialog=dialog, body=SDP))
    assert alice.acks(body=OTHER_SDP) == ["Acked"]
    assert scene.event(Acked).body == OTHER_SDP


def test_a_cancelled_call_is_over(scene: Scene, alice: Far) -> None:
    dialog = rings_in(scene, alice)
    assert alice.cancels() == ["200", "487", "Cancelled"]
    assert scene.event(Cancelled) == Cancelled(dialog, scene.event(Cancelled).request)
    assert scene.sent("200").to.tag == scene.sent("487").to.tag
    assert alice.acks_failure() == []
    assert scene.leftovers() == {}


def test_a_cancel_after_the_answer_changes_nothing(scene: Scene, alice: Far) -> None:
    dialog = rings_in(scene, alice)
    scene.does(Answer(dialog=dialog, body=SDP))
    assert alice.cancels() == ["200"]
    assert alice.acks() == ["Acked"]


def test_a_cancel_for_nothing_gets_481(alice: Far) -> None:
    assert alice.cancels() == ["481", "PeerBroke RFC 3261 9.2"]


def test_a_bye_before_the_answer_cancels(scene: Scene, alice: Far) -> None:
    dialog = rings_in(scene, alice)
    scene.does(Progress(dialog=dialog, status=180))
    assert alice.sends("BYE") == ["200", "487", "Cancelled"]
    alice.acks_failure()
    assert scene.leftovers() == {}


def test_hanging_up_before_the_ack_sends_the_bye_after_it(scene: Scene, alice: Far) -> None:
    dialog = rings_in(scene, alice)
    scene.does(Answer(dialog=dialog, body=SDP))
    assert scene.does(HangUp(dialog=dialog)) == ["Ended OUR_BYE"]
    assert scene.times(1, "200") == [0.5]
    assert alice.acks() == ["BYE"]
    alice.answers(200, "BYE")
    assert scene.leftovers() == {}


def test_a_bye_that_meets_our_waiting_bye_ends_it_silently(scene: Scene, alice: Far) -> None:
    dialog = rings_in(scene, alice)
    scene.does(Answer(dialog=dialog, body=SDP))
    scene.does(HangUp(dialog=dialog))
    assert alice.sends("BYE") == ["200"]
    assert scene.leftovers() == {}


# ---------------------------------------------------------------- outgoing


def test_an_outgoing_call_is_answered_and_hung_up_by_us(scene: Scene, boris: Far) -> None:
    dialog = reaches(scene, boris)
    invite, ack = scene.sent("INVITE"), scene.sent("ACK")
    assert invite.contacts[0].uri == "sip:192.0.2.1:5060"
    assert invite.get("user-agent") == "Jackfield"
    assert "100rel" in invite.supported
    assert (ack.uri, ack.cseq.number, ack.to.tag) == (
        "sip:boris@192.0.2.20:5060",
        invite.cseq.number,
        boris.tag,
    )
    assert ack.via.branch != invite.via.branch
    assert not scene.event(Answered).late_offer
    assert scene.does(HangUp(dialog=dialog)) == ["BYE", "Ended OUR_BYE"]
    assert scene.sent("BYE").cseq.number == 2
    boris.answers(200, "BYE")
    assert scene.leftovers() == {}


def test_an_outgoing_call_is_hung_up_by_the_callee(scene: Scene, boris: Far) -> None:
    reaches(scene, boris)
    assert boris.sends("BYE") == ["200", "Ended PEER_BYE"]
    assert scene.leftovers() == {}


def test_a_refused_invite_is_acknowledged_by_its_transaction(scene: Scene, boris: Far) -> None:
    calls_out(scene)
    refusal = None
    assert boris.answers(486) == ["ACK", "Failed 486"]
    invite, ack = scene.sent("INVITE"), scene.sent("ACK")
    assert (ack.via, ack.uri, ack.cseq.number) == (invite.via, invite.uri, invite.cseq.number)
    assert ack.to.tag == boris.tag
    refusal = scene.event(Failed)
    assert (refusal.status, refusal.response.status) == (486, 486)
    assert boris.answers(486) == ["ACK"]
    assert scene.leftovers() == {}


def test_an_invite_that_nobody_answers_fails_with_408(scene: Scene) -> None:
    calls_out(scene)
    log = scene.run(40)
    assert [when for when, what in log if what == "INVITE"] == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert log[-1] == (32.0, "Failed 408")
    assert scene.leftovers() == {}


def test_a_2xx_that_comes_again_is_acknowledged_again_with_the_same_ack(scene: Scene, boris: Far) -> None:
    reaches(scene, boris)
    first = scene.sent_raw("ACK")
    assert boris.answers(200, body=SDP) == ["ACK"]
    assert scene.sent_raw("ACK") == first


def test_a_2xx_that_comes_again_after_the_bye_is_still_acknowledged(scene: Scene, boris: Far) -> None:
    dialog = reaches(scene, boris)
    scene.does(HangUp(dialog=dialog))
    assert boris.answers(200, body=SDP) == ["ACK"]


def test_forks_report_progress_and_the_second_2xx_is_ended(scene: Scene, boris: Far) -> None:
    calls_out(scene)
    assert boris.answers(180, tag="fork1") == ["Progressed"]
    assert boris.answers(180, tag="fork2") == ["Progressed"]
    assert boris.answers(200, tag="fork2", body=SDP) == ["ACK", "Answered"]
    assert boris.answers(200, tag="fork1", body=SDP) == ["ACK", "BYE"]
    bye = scene.sent("BYE")
    assert (bye.to.tag, bye.from_.tag) == ("fork1", scene.sent("INVITE").from_.tag)
    assert boris.answers(200, tag="fork1", body=SDP) == ["ACK"]
    boris.tag = "fork2"
    assert boris.sends("BYE") == ["200", "Ended PEER_BYE"]


def test_a_late_offer_waits_for_the_answer_in_our_ack(scene: Scene, boris: Far) -> None:
    dialog = calls_out(scene, body=b"")
    assert "100rel" not in scene.sent("INVITE").supported
    assert boris.answers(200, body=SDP) == ["Answered"]
    assert scene.event(Answered).late_offer
    assert boris.answers(200, body=SDP) == []
    assert scene.does(Ack(dialog, OTHER_SDP)) == ["ACK"]
    assert (scene.sent("ACK").body, scene.sent("ACK").content_type) == (OTHER_SDP, "application/sdp")
    assert boris.answers(200, body=SDP) == ["ACK"]


def test_hanging_up_before_the_late_answer_acknowledges_and_ends(scene: Scene, boris: Far) -> None:
    dialog = calls_out(scene, body=b"")
    boris.answers(200, body=SDP)
    assert scene.does(HangUp(dialog=dialog)) == ["ACK", "BYE", "Ended OUR_BYE"]


# ---------------------------------------------------------------- cancelling


def test_a_cancel_waits_for_a_provisional_response(scene: Scene, boris: Far) -> None:
    dialog = calls_out(scene)
    assert scene.does(HangUp(dialog=dialog)) == []
    assert boris.answers(100) == ["CANCEL"]
    invite, cancel = scene.sent("INVITE"), scene.sent("CANCEL")
    assert (cancel.via, cancel.cseq.number, cancel.uri) == (invite.via, invite.cseq.number, invite.uri)
    assert boris.answers(200, "CANCEL") == []
    assert boris.answers(487) == ["ACK", "Failed 487"]
    assert scene.leftovers() == {}


def test_a_cancel_goes_at_once_after_a_provisional_response_and_only_once(scene: Scene, boris: Far) -> None:
    dialog = calls_out(scene)
    boris.answers(180)
    headers = (("Reason", 'SIP;cause=200;text="Call completed elsewhere"'),)
    assert scene.does(HangUp(dialog=dialog, headers=headers)) == ["CANCEL"]
    assert (scene.sent("CANCEL").get("reason") or "").startswith("SIP;cause=200")
    assert boris.answers(183) == []
    assert scene.does(HangUp(dialog=dialog)) == []


def test_a_2xx_that_crosses_the_cancel_is_acknowledged_and_ended(scene: Scene, boris: Far) -> None:
    dialog = calls_out(scene)
    boris.answers(180)
    scene.does(HangUp(dialog=dialog))
    assert boris.answers(200, body=SDP) == ["ACK", "BYE", "Failed 487"]
    assert boris.answers(200, body=SDP) == ["ACK"]
    boris.answers(200, "BYE")
    boris.answers(200, "CANCEL")
    assert scene.leftovers() == {}


def test_a_cancelled_invite_without_an_answer_is_given_up(scene: Scene, boris: Far) -> None:
    dialog = calls_out(scene)
    boris.answers(180)
    scene.does(HangUp(dialog=dialog))
    boris.answers(200, "CANCEL")
    assert scene.run(33) == [(32.0, "Failed 487")]
    assert scene.leftovers() == {}


def test_cancelling_what_nobody_answers_at_all_fails_when_timer_b_fires(scene: Scene) -> None:
    dialog = calls_out(scene)
    scene.does(HangUp(dialog=dialog))
    assert scene.run(40)[-1] == (32.0, "Failed 487")
    assert scene.leftovers() == {}


# ---------------------------------------------------------------- where messages go


def test_a_caller_behind_a_translator_is_reached_the_way_it_came(scene: Scene) -> None:
    alice = Far(scene, "alice", Flow(Transport.UDP, ALICE.local, ("203.0.113.9", 31999)))
    alice.contact = "<sip:alice@10.1.1.7:5060>"
    dialog = is_answered(scene, alice)
    assert scene.sent_raw("200").flow.remote == ("203.0.113.9", 31999)
    scene.does(HangUp(dialog=dialog))
    assert scene.sent_raw("BYE").flow.remote == ("203.0.113.9", 31999)
    assert scene.sent("BYE").uri == "sip:alice@10.1.1.7:5060"


def test_rport_and_received_are_filled_in(scene: Scene) -> None:
    alice = Far(scene, "alice", Flow(Transport.UDP, ALICE.local, ("192.0.2.10", 31999)))
    alice.invites()
    assert (scene.sent("100").via.received, scene.sent("100").via.rport) == ("192.0.2.10", 31999)


def test_without_rport_the_response_goes_to_the_port_of_sent_by(scene: Scene) -> None:
    alice = Far(scene, "alice", Flow(Transport.UDP, ALICE.local, ("192.0.2.10", 31999)))
    alice.gives(alice.request("INVITE", body=SDP).replace(b";rport", b""))
    assert scene.sent_raw("100").flow.remote == ("192.0.2.10", 5060)


def test_record_routes_become_the_route_set(scene: Scene, alice: Far) -> None:
    routes = "Record-Route: <sip:p2.example.com;lr>, <sip:192.0.2.77;lr>\r\n"
    dialog = rings_in(scene, alice, headers=f"{routes}Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx\r\n")
    scene.does(Answer(dialog=dialog, body=SDP))
    assert [route.uri for route in scene.sent("200").record_routes] == [
        "sip:p2.example.com;lr",
        "sip:192.0.2.77;lr",
    ]
    alice.acks()
    scene.does(HangUp(dialog=dialog))
    assert [route.uri for route in scene.sent("BYE").routes] == ["sip:p2.example.com;lr", "sip:192.0.2.77;lr"]


def test_an_answer_through_a_proxy_is_acknowledged_through_it(scene: Scene, boris: Far) -> None:
    calls_out(scene)
    routes = "Record-Route: <sip:192.0.2.88;lr>\r\nRecord-Route: <sip:192.0.2.77:5070;lr>\r\n"
    boris.answers(200, body=SDP, headers=routes)
    ack = scene.sent("ACK")
    assert [route.uri for route in ack.routes] == ["sip:192.0.2.77:5070;lr", "sip:192.0.2.88;lr"]
    assert scene.sent_raw("ACK").flow.remote == ("192.0.2.77", 5070)


def test_a_given_flow_keeps_all_requests_of_the_call(scene: Scene, boris: Far) -> None:
    boris.contact = "<sip:boris@10.9.9.9:5060>"
    dialog = reaches(scene, boris, flow=BORIS, uri="sip:boris@10.9.9.9")
    scene.does(HangUp(dialog=dialog))
    assert [scene.sent_raw(what).flow for what in ("INVITE", "ACK", "BYE")] == [BORIS] * 3


# ---------------------------------------------------------------- misuse, and commands that come late


def test_answering_twice_is_misuse(scene: Scene, alice: Far) -> None:
    dialog = is_answered(scene, alice)
    with pytest.raises(Misuse, match="no answer of ours is due"):
        scene.does(Answer(dialog=dialog, body=SDP))


def test_hanging_up_an_unanswered_incoming_call_is_misuse(scene: Scene, alice: Far) -> None:
    dialog = rings_in(scene, alice)
    with pytest.raises(Misuse, match="rejected"):
        scene.does(HangUp(dialog=dialog))


def test_a_command_to_a_dialog_that_never_was_is_misuse(scene: Scene) -> None:
    with pytest.raises(Misuse, match="no dialog 99"):
        scene.does(HangUp(dialog=99))


def test_a_line_break_in_a_header_is_misuse(scene: Scene, alice: Far) -> None:
    dialog = rings_in(scene, alice)
    with pytest.raises(Misuse, match="line break"):
        scene.does(Progress(dialog=dialog, status=180, headers=(("Subject", "a\r\nb"),)))


def test_commands_that_cross_the_end_of_a_dialog_do_nothing(scene: Scene, alice: Far) -> None:
    dialog = is_answered(scene, alice)
    request = scene.stack.new_id()
    alice.sends("BYE")
    assert scene.does(HangUp(dialog=dialog)) == []
    assert scene.does(Ask(dialog=dialog, request=request, method="INFO")) == ["Replied 481"]


LINE_BREAK = (("Subject", "a\r\nb"),)


def test_in_service_a_fault_of_ours_ends_that_dialog_and_no_other() -> None:
    scene = Scene(strict=False)
    alice, carol = Far(scene, "alice", ALICE), Far(scene, "carol", ALICE)
    first, second = is_answered(scene, alice), is_answered(scene, carol)
    assert scene.does(Answer(dialog=first)) == ["Crashed", "BYE", "Ended OUR_FAULT"]
    assert scene.event(Crashed).dialog == first
    assert "Misuse" in scene.event(Crashed).why
    assert scene.does(HangUp(dialog=second)) == ["BYE", "Ended OUR_BYE"]
    assert scene.leftovers() == {}


def test_in_service_a_fault_before_the_answer_refuses_the_call() -> None:
    scene = Scene(strict=False)
    alice = Far(scene, "alice", ALICE)
    dialog = rings_in(scene, alice)
    broken = Progress(dialog=dialog, status=180, headers=LINE_BREAK)
    assert scene.does(broken) == ["Crashed", "500", "Ended OUR_FAULT"]
    alice.acks_failure()
    assert scene.leftovers() == {}


def test_in_service_a_fault_in_an_outgoing_call_fails_it() -> None:
    scene = Scene(strict=False)
    dialog = calls_out(scene)
    assert scene.does(Answer(dialog=dialog)) == ["Crashed", "Failed 500"]
    assert scene.leftovers() == {}


def test_in_service_a_fault_in_a_call_that_is_leaving_is_its_silent_end() -> None:
    scene = Scene(strict=False)
    alice = Far(scene, "alice", ALICE)
    dialog = rings_in(scene, alice)
    scene.does(Answer(dialog=dialog, body=SDP))
    scene.does(HangUp(dialog=dialog, headers=LINE_BREAK))
    assert alice.acks() == ["Crashed", "BYE"]  # one that has no headers
    assert scene.leftovers() == {}


def test_in_service_a_fault_outside_any_dialog_is_told() -> None:
    scene = Scene(strict=False)
    assert scene.does(HangUp(dialog=DialogId(99))) == ["Crashed"]
    assert scene.event(Crashed).dialog is None


def test_progress_reaches_the_call_layer_whole(scene: Scene, boris: Far) -> None:
    calls_out(scene)
    boris.answers(183, body=SDP)
    assert (scene.event(Progressed).response.status, scene.event(Progressed).response.body) == (183, SDP)
