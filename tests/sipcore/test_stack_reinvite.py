"""Requests inside dialogs: re-INVITE, UPDATE, glare, order (RFC 3261 12.2, 14; RFC 3311, 5057, 6337)."""

from __future__ import annotations

import pytest
from stack_script import ALICE, OTHER_SDP, SDP, Far, Scene, calls_out, is_answered, reaches, rings_in

from sipcore.events import Ack, Acked, Ask, Asked, Ended, HangUp, Progress, Replied, Reply, RequestId


def asks(scene: Scene, dialog: int, method: str, body: bytes = b"", **parts: object) -> list[str]:
    content = "application/sdp" if body else ""
    request = RequestId(scene.stack.new_id())
    return scene.does(
        Ask(dialog=dialog, request=request, method=method, body=body, content_type=content, **parts)
    )


def reply(scene: Scene, status: int, body: bytes = b"") -> list[str]:
    content = "application/sdp" if body else ""
    request = scene.event(Asked).request
    return scene.does(Reply(request=request, status=status, body=body, content_type=content))


# ---------------------------------------------------------------- theirs


def test_a_re_invite_goes_up_and_its_2xx_is_resent_until_the_ack(scene: Scene, alice: Far) -> None:
    is_answered(scene, alice)
    assert alice.invites(body=OTHER_SDP) == ["100", "Asked"]
    assert scene.event(Asked).message.body == OTHER_SDP
    assert reply(scene, 200, SDP) == ["200"]
    assert scene.sent("200").contacts
    assert scene.times(2, "200") == [0.5, 1.5]
    assert alice.acks() == []
    assert scene.run(40) == []


def test_a_re_invite_that_is_refused_leaves_the_dialog(scene: Scene, alice: Far) -> None:
    dialog = is_answered(scene, alice)
    alice.invites()
    assert reply(scene, 488) == ["488"]
    alice.acks_failure()
    assert scene.does(HangUp(dialog=dialog)) == ["BYE", "Ended OUR_BYE"]


def test_a_re_invite_without_an_ack_ends_the_dialog(scene: Scene, alice: Far) -> None:
    is_answered(scene, alice)
    alice.invites()
    reply(scene, 200, SDP)
    assert scene.run(32)[-2:] == [(32.0, "BYE"), (32.0, "Ended NO_ACK")]


def test_an_offerless_re_invite_brings_its_answer_with_the_ack(scene: Scene, alice: Far) -> None:
    is_answered(scene, alice)
    assert alice.invites(body=b"") == ["100", "Asked"]
    request = scene.event(Asked).request
    reply(scene, 200, SDP)
    assert alice.acks(body=OTHER_SDP) == ["Acked"]
    assert scene.event(Acked) == Acked(scene.event(Acked).dialog, OTHER_SDP, request)


def test_a_new_contact_moves_the_remote_target(scene: Scene, alice: Far) -> None:
    dialog = is_answered(scene, alice)
    alice.contact = "<sip:alice@192.0.2.11:5070>"
    alice.invites()
    reply(scene, 200, SDP)
    alice.acks()
    scene.does(HangUp(dialog=dialog))
    assert scene.sent("BYE").uri == "sip:alice@192.0.2.11:5070"


def test_a_second_re_invite_before_the_answer_is_told_to_wait(scene: Scene, alice: Far) -> None:
    is_answered(scene, alice)
    alice.invites()
    assert alice.invites() == ["500"]
    assert 0 <= int(scene.sent("500").get("retry-after") or "x") <= 10


def test_a_second_invite_before_the_first_answer_is_told_to_wait(scene: Scene, alice: Far) -> None:
    dialog = rings_in(scene, alice)
    scene.does(Progress(dialog=dialog, status=180))
    assert alice.invites() == ["500"]


def test_an_update_goes_up_with_an_offer_and_is_answered_inside_without(scene: Scene, alice: Far) -> None:
    is_answered(scene, alice)
    assert alice.sends("UPDATE", body=OTHER_SDP) == ["Asked"]
    assert reply(scene, 200, SDP) == ["200"]
    assert alice.sends("UPDATE") == ["200"]


def test_an_update_with_an_offer_before_ours_is_answered_gets_491_or_500(scene: Scene, alice: Far) -> None:
    dialog = rings_in(scene, alice)
    scene.does(Progress(dialog=dialog, status=183))
    assert alice.sends("UPDATE", body=OTHER_SDP) == ["500"]  # the offer of its INVITE is unanswered


def test_a_request_out_of_order_gets_500(scene: Scene, alice: Far) -> None:
    is_answered(scene, alice)
    assert alice.sends("INFO", cseq=9) == ["Asked"]
    assert alice.sends("INFO", cseq=8) == ["500"]
    assert alice.sends("BYE", cseq=10) == ["200", "487", "Ended PEER_BYE"]


def test_other_requests_go_up_and_are_answered(scene: Scene, alice: Far) -> None:
    is_answered(scene, alice)
    for method in ("INFO", "REFER", "NOTIFY", "MESSAGE", "OPTIONS", "SUBSCRIBE"):
        assert alice.sends(method) == ["Asked"]
        assert reply(scene, 202) == ["202"]


def test_what_is_unanswered_when_the_dialog_ends_gets_487_and_a_late_answer_is_dropped(
    scene: Scene, alice: Far
) -> None:
    is_answered(scene, alice)
    alice.sends("INFO")
    assert alice.sends("BYE") == ["200", "487", "Ended PEER_BYE"]
    assert reply(scene, 200) == []
    assert scene.leftovers() == {}


def test_a_peer_cannot_heap_up_questions(scene: Scene, alice: Far) -> None:
    is_answered(scene, alice)
    assert [alice.sends("INFO")[0] for _ in range(40)] == ["Asked"] * 32 + ["500"] * 8


def test_the_ack_of_an_answer_may_be_lost_when_the_peer_asks_anew(scene: Scene, alice: Far) -> None:
    is_answered(scene, alice)
    alice.invites()
    reply(scene, 200, SDP)
    assert alice.invites(body=OTHER_SDP) == ["100", "Asked"]
    assert scene.times(3, "200") == []


def test_a_phone_that_moved_is_reached_where_its_latest_request_came_from(scene: Scene) -> None:
    behind = ALICE.__class__(ALICE.transport, ALICE.local, ("203.0.113.9", 1111))
    moved = ALICE.__class__(ALICE.transport, ALICE.local, ("203.0.113.9", 2222))
    alice = Far(scene, "alice", behind)
    alice.contact = "<sip:alice@10.0.0.9>"
    dialog = is_answered(scene, alice)
    alice.flow = moved
    alice.sends("UPDATE")
    scene.does(HangUp(dialog=dialog))
    assert scene.sent_raw("BYE").flow == moved


# ---------------------------------------------------------------- ours


def test_our_re_invite_is_acknowledged_and_told(scene: Scene, boris: Far) -> None:
    dialog = reaches(scene, boris)
    assert asks(scene, dialog, "INVITE", OTHER_SDP) == ["INVITE"]
    assert boris.answers(100) == []
    assert boris.answers(200, body=SDP) == ["ACK", "Replied 200"]
    assert boris.answers(200, body=SDP) == ["ACK"]
    assert scene.sent("ACK").cseq.number == scene.sent("INVITE").cseq.number == 2


def test_our_offerless_re_invite_waits_for_the_answer(scene: Scene, boris: Far) -> None:
    dialog = reaches(scene, boris)
    asks(scene, dialog, "INVITE")
    assert boris.answers(200, body=SDP) == ["Replied 200"]
    assert scene.event(Replied).late_offer
    assert scene.does(Ack(dialog, OTHER_SDP)) == ["ACK"]


def test_our_requests_count_the_cseq_up(scene: Scene, boris: Far) -> None:
    dialog = reaches(scene, boris)
    for number, method in enumerate(("INFO", "UPDATE", "REFER"), 2):
        assert asks(scene, dialog, method) == [method]
        assert scene.sent(method).cseq.number == number
        assert boris.answers(202, method) == ["Replied 202"]


def test_our_re_invite_that_meets_491_is_tried_again_after_the_rfcs_wait(scene: Scene, boris: Far) -> None:
    dialog = reaches(scene, boris)
    asks(scene, dialog, "INVITE", OTHER_SDP)
    assert boris.answers(491) == ["ACK"]
    (waited,) = scene.times(5, "INVITE")[:1]
    assert 2.1 <= waited <= 4.0
    assert waited == pytest.approx(round(waited, 2))
    assert boris.answers(200, body=SDP) == ["ACK", "Replied 200"]


def test_who_does_not_own_the_call_id_waits_less(scene: Scene, alice: Far) -> None:
    dialog = is_answered(scene, alice)
    asks(scene, dialog, "INVITE", OTHER_SDP)
    assert alice.answers(491) == ["ACK"]
    assert 0.0 <= scene.times(5, "INVITE")[0] <= 2.0


def test_a_peer_that_always_meets_us_with_491_is_told_in_the_end(scene: Scene, boris: Far) -> None:
    dialog = reaches(scene, boris)
    asks(scene, dialog, "INVITE", OTHER_SDP)
    outputs = []
    for _ in range(11):
        outputs += boris.answers(491)
        scene.run(4.1)
    assert outputs.count("Replied 491") == 1


def test_a_re_invite_that_meets_ours_gets_491(scene: Scene, boris: Far) -> None:
    dialog = reaches(scene, boris)
    asks(scene, dialog, "INVITE", OTHER_SDP)
    assert boris.invites() == ["491"]
    assert boris.sends("UPDATE", body=SDP) == ["491"]
    assert boris.sends("UPDATE") == ["200"]


def test_our_re_invite_waits_for_theirs(scene: Scene, alice: Far) -> None:
    dialog = is_answered(scene, alice)
    alice.invites()
    assert asks(scene, dialog, "INVITE", OTHER_SDP) == []
    assert asks(scene, dialog, "INFO") == ["INFO"]
    reply(scene, 200, SDP)
    assert alice.acks() == ["INVITE"]


def test_our_re_invite_waits_for_a_refused_one_of_theirs(scene: Scene, alice: Far) -> None:
    dialog = is_answered(scene, alice)
    alice.invites()
    asks(scene, dialog, "INVITE", OTHER_SDP)
    assert reply(scene, 488) == ["488", "INVITE"]


def test_our_second_re_invite_waits_for_the_first(scene: Scene, boris: Far) -> None:
    dialog = reaches(scene, boris)
    asks(scene, dialog, "INVITE", OTHER_SDP)
    assert asks(scene, dialog, "INVITE", SDP) == []
    assert asks(scene, dialog, "UPDATE", SDP) == []
    assert boris.answers(200, body=SDP) == ["ACK", "Replied 200", "INVITE"]
    assert boris.answers(200, body=SDP) == ["ACK", "Replied 200", "UPDATE"]


def test_what_waits_is_told_when_the_dialog_ends(scene: Scene, boris: Far) -> None:
    dialog = reaches(scene, boris)
    asks(scene, dialog, "INVITE", OTHER_SDP)
    asks(scene, dialog, "INVITE", SDP)
    assert boris.sends("BYE") == ["200", "Replied 481", "Ended PEER_BYE"]
    assert boris.answers(487) == ["ACK", "Replied 487"]
    assert scene.leftovers() == {}


def test_a_2xx_to_a_re_invite_after_the_end_is_still_acknowledged(scene: Scene, boris: Far) -> None:
    dialog = reaches(scene, boris)
    asks(scene, dialog, "INVITE", OTHER_SDP)
    scene.does(HangUp(dialog=dialog))
    assert boris.answers(200, body=SDP) == ["ACK", "Replied 200"]


@pytest.mark.parametrize("status", [408, 481])
@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "INFO"])
def test_a_peer_that_lost_the_dialog_ends_it(scene: Scene, boris: Far, status: int, method: str) -> None:
    dialog = reaches(scene, boris)
    asks(scene, dialog, method)
    assert boris.answers(status, method)[-3:] == [f"Replied {status}", "BYE", "Ended PEER_LOST"]


def test_a_request_that_nobody_answers_ends_the_dialog(scene: Scene, boris: Far) -> None:
    dialog = reaches(scene, boris)
    asks(scene, dialog, "INFO")
    assert [what for _, what in scene.run(32)][-3:] == ["Replied 408", "BYE", "Ended PEER_LOST"]
    assert scene.event(Ended).dialog == dialog


@pytest.mark.parametrize("method", ["REFER", "NOTIFY"])
def test_a_lost_subscription_is_no_lost_call(scene: Scene, boris: Far, method: str) -> None:
    dialog = reaches(scene, boris)
    asks(scene, dialog, method)
    assert boris.answers(481, method) == ["Replied 481"]


def test_an_update_of_ours_in_an_early_dialog(scene: Scene, boris: Far) -> None:
    dialog = calls_out(scene)
    boris.answers(183, body=SDP)
    assert asks(scene, dialog, "UPDATE") == ["UPDATE"]
    assert boris.answers(200, "UPDATE") == ["Replied 200"]
    assert boris.answers(200, body=SDP) == ["ACK", "Answered"]
    scene.does(HangUp(dialog=dialog))
    assert scene.sent("BYE").cseq.number == 3


def test_an_update_of_theirs_in_an_early_dialog_moves_its_target(scene: Scene, boris: Far) -> None:
    calls_out(scene)
    boris.answers(183)
    boris.contact = "<sip:boris@192.0.2.21:5060>"
    assert boris.sends("UPDATE") == ["200"]
    assert boris.sends("UPDATE", body=SDP) == ["491"]  # our offer is unanswered
