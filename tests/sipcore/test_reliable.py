"""Reliable provisional responses, both roles (RFC 3262)."""

from __future__ import annotations

import pytest
from stack_script import OTHER_SDP, SDP, Far, Scene, calls_out, rings_in

from sipcore.events import Answer, Asked, HangUp, Progress, Progressed, Reply
from sipcore.reliable import Order, order_of


def rings_reliably(scene: Scene, alice: Far, body: bytes = b"") -> int:
    dialog = rings_in(scene, alice)
    assert scene.does(Progress(dialog=dialog, status=183, body=body, reliable=True)) == ["183"]
    return dialog


def pracks(scene: Scene, alice: Far, status: str = "183", body: bytes = b"") -> list[str]:
    response = scene.sent(status)
    return alice.sends("PRACK", headers=f"RAck: {response.get('rseq')} 1 INVITE\r\n", body=body)


# ---------------------------------------------------------------- we are called


def test_a_reliable_response_is_resent_with_doubling_intervals_until_the_prack(
    scene: Scene, alice: Far
) -> None:
    rings_reliably(scene, alice)
    response = scene.sent("183")
    assert response.require == {"100rel"}
    assert 0 < int(response.get("rseq") or 0) < 2**31
    assert scene.times(16, "183") == [0.5, 1.5, 3.5, 7.5, 15.5]
    assert pracks(scene, alice) == ["200"]
    assert scene.times(40, "183") == []


def test_a_reliable_response_that_is_never_acknowledged_ends_the_call(scene: Scene, alice: Far) -> None:
    rings_reliably(scene, alice)
    assert scene.run(32)[-2:] == [(32.0, "504"), (32.0, "Ended NO_ACK")]
    alice.acks_failure()
    assert scene.leftovers() == {}


def test_the_next_response_waits_for_the_prack_and_has_the_next_number(scene: Scene, alice: Far) -> None:
    dialog = rings_reliably(scene, alice)
    first = int(scene.sent("183").get("rseq") or 0)
    assert scene.does(Progress(dialog=dialog, status=180, reliable=True)) == []
    assert pracks(scene, alice) == ["200", "180"]
    assert int(scene.sent("180").get("rseq") or 0) == first + 1


def test_the_answer_waits_while_a_description_is_unacknowledged(scene: Scene, alice: Far) -> None:
    dialog = rings_reliably(scene, alice, SDP)
    assert scene.does(Answer(dialog=dialog)) == []
    assert pracks(scene, alice) == ["200", "200"]
    assert alice.acks() == ["Acked"]


def test_the_answer_does_not_wait_for_a_response_without_a_description(scene: Scene, alice: Far) -> None:
    dialog = rings_reliably(scene, alice)
    assert scene.does(Answer(dialog=dialog, body=SDP)) == ["200"]
    assert scene.times(1, "183") == []


@pytest.mark.parametrize("rack", ["1 1 INVITE", "{rseq} 9 INVITE", "{rseq} 1 OPTIONS"])
def test_a_prack_for_something_else_gets_481(scene: Scene, alice: Far, rack: str) -> None:
    rings_reliably(scene, alice)
    rseq = scene.sent("183").get("rseq")
    assert alice.sends("PRACK", headers=f"RAck: {rack.format(rseq=rseq)}\r\n") == ["481"]
    assert scene.times(1, "183") == [0.5]


def test_a_broken_prack_gets_400(scene: Scene, alice: Far) -> None:
    rings_reliably(scene, alice)
    assert alice.sends("PRACK", headers="RAck: x\r\n")[0] == "400"


def test_a_prack_that_comes_again_is_answered_by_its_transaction(scene: Scene, alice: Far) -> None:
    rings_reliably(scene, alice)
    rack = f"RAck: {scene.sent('183').get('rseq')} 1 INVITE\r\n"
    prack = alice.request("PRACK", headers=rack)
    assert (alice.gives(prack), alice.gives(prack)) == (["200"], ["200"])
    assert alice.sends("PRACK", headers=rack) == ["481"]


def test_a_prack_with_an_offer_goes_up(scene: Scene, alice: Far) -> None:
    dialog = rings_reliably(scene, alice, SDP)
    assert pracks(scene, alice, body=OTHER_SDP) == ["Asked"]
    asked = scene.event(Asked)
    assert asked.message.body == OTHER_SDP
    answer = Reply(request=asked.request, status=200, body=SDP, content_type="application/sdp")
    assert scene.does(answer) == ["200"]
    assert scene.does(Answer(dialog=dialog)) == ["200"]


def test_who_requires_reliable_responses_gets_them(scene: Scene, alice: Far) -> None:
    dialog = rings_in(scene, alice, headers="Require: 100rel\r\n")
    scene.does(Progress(dialog=dialog, status=180))
    assert scene.sent("180").require == {"100rel"}


def test_who_does_not_know_reliable_responses_gets_plain_ones(scene: Scene, alice: Far) -> None:
    alice.headers = ""
    dialog = rings_in(scene, alice)
    scene.does(Progress(dialog=dialog, status=180, reliable=True))
    assert scene.sent("180").require == frozenset()
    assert scene.times(3, "180") == []


def test_an_offer_of_the_caller_is_settled_by_a_reliable_answer(scene: Scene, alice: Far) -> None:
    rings_reliably(scene, alice, SDP)
    assert pracks(scene, alice) == ["200"]
    assert alice.sends("UPDATE", body=OTHER_SDP) == ["Asked"]


def test_hanging_up_an_answer_that_waits_refuses_the_call(scene: Scene, alice: Far) -> None:
    dialog = rings_reliably(scene, alice, SDP)
    scene.does(Answer(dialog=dialog))
    assert scene.does(HangUp(dialog=dialog)) == ["480", "Ended OUR_BYE"]
    alice.acks_failure()
    assert scene.leftovers() == {}


# ---------------------------------------------------------------- we call


def says(boris: Far, rseq: int, status: int = 183, **parts: object) -> list[str]:
    return boris.answers(status, headers=f"Require: 100rel\r\nRSeq: {rseq}\r\n", **parts)


def test_we_acknowledge_reliable_responses_by_ourselves(scene: Scene, boris: Far) -> None:
    calls_out(scene)
    assert says(boris, 7) == ["PRACK", "Progressed"]
    prack = scene.sent("PRACK")
    assert (prack.get("rack"), prack.cseq.number, prack.to.tag) == ("7 1 INVITE", 2, boris.tag)
    assert boris.answers(200, "PRACK") == []
    assert boris.answers(200, body=SDP) == ["ACK", "Answered"]
    assert scene.sent("ACK").cseq.number == 1


def test_a_copy_is_not_acknowledged_twice_and_one_too_early_is_not_heard(scene: Scene, boris: Far) -> None:
    calls_out(scene)
    says(boris, 7)
    assert says(boris, 7) == []
    assert says(boris, 9, 180) == []
    assert says(boris, 8, 180) == ["PRACK", "Progressed"]
    assert says(boris, 9, 181) == ["PRACK", "Progressed"]
    assert scene.event(Progressed).response.status == 181


def test_each_fork_counts_for_itself(scene: Scene, boris: Far) -> None:
    calls_out(scene)
    assert says(boris, 7, tag="fork1") == ["PRACK", "Progressed"]
    assert says(boris, 90, tag="fork2") == ["PRACK", "Progressed"]
    assert says(boris, 8, tag="fork1") == ["PRACK", "Progressed"]


def test_a_prack_that_fails_leaves_the_call(scene: Scene, boris: Far) -> None:
    calls_out(scene)
    says(boris, 7)
    assert boris.answers(481, "PRACK") == []
    assert boris.answers(200, body=SDP) == ["ACK", "Answered"]


@pytest.mark.parametrize(
    ("rseq", "last", "order"),
    [
        (5, None, Order.NEXT),
        (6, 5, Order.NEXT),
        (5, 5, Order.AGAIN),
        (4, 5, Order.AGAIN),
        (7, 5, Order.EARLY),
    ],
)
def test_the_order_of_numbers(rseq: int, last: int | None, order: Order) -> None:
    assert order_of(rseq, last) is order
