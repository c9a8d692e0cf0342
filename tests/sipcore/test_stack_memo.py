"""Dialogs that survive the process: a memo restored into a fresh stack goes on where it stood."""

from __future__ import annotations

import gc
import random

import pytest
from stack_script import ALICE, BORIS, SDP, Far, Scene, calls_out, is_answered, reaches, rings_in

from sipcore.dialog import DialogState
from sipcore.events import Answer, DialogId, HangUp, Progress, Transmit
from sipcore.faults import Misuse
from sipcore.identifiers import Identifiers
from sipcore.parser import parse


def reborn(scene: Scene, dialog: DialogId, far: Far, seed: int = 2) -> DialogId:
    """The same far end before a new process that has only the memo."""
    memo = scene.stack.memo(dialog)
    scene.stack = Scene(seed).stack
    taken = DialogId(scene.stack.new_id())
    scene.stack.restore(taken, memo, scene.now)
    assert (scene.stack.find_dialog(far.call_id, far.remote_tag, far.tag)) == taken
    return taken


def test_a_restored_dialog_is_hung_up_by_the_peer(scene: Scene, alice: Far) -> None:
    reborn(scene, is_answered(scene, alice), alice)
    assert alice.sends("BYE") == ["200", "Ended PEER_BYE"]
    assert scene.leftovers() == {}


def test_a_restored_dialog_is_hung_up_by_us_with_a_higher_cseq(scene: Scene, boris: Far) -> None:
    dialog = reborn(scene, reaches(scene, boris), boris)
    assert scene.does(HangUp(dialog=dialog)) == ["BYE", "Ended OUR_BYE"]
    bye = scene.sent("BYE")
    assert (bye.call_id, bye.from_.tag, bye.to.tag) == (boris.call_id, boris.remote_tag, boris.tag)
    assert bye.cseq.number > 2
    assert scene.sent_raw("BYE").flow.remote == BORIS.remote


def test_an_answer_can_be_remembered_before_its_ack(scene: Scene, alice: Far) -> None:
    dialog = rings_in(scene, alice)
    scene.does(Answer(dialog=dialog, body=SDP))
    alice.request("OPTIONS")
    reborn(scene, dialog, alice)
    assert alice.acks() == []
    assert alice.sends("INFO") == ["Asked"]


def test_a_restored_session_is_refreshed_soon_and_expires(scene: Scene, alice: Far) -> None:
    session = "Session-Expires: 600;refresher=uas\r\n"
    reborn(scene, is_answered(scene, alice, 1800, headers=session), alice)
    wait_s = (scene.stack.next_deadline() or 0) - scene.now
    assert 1.0 <= wait_s <= 150.0
    assert scene.run(wait_s) == [(round(wait_s, 3), "UPDATE")]
    assert alice.answers(200, "UPDATE", headers="Session-Expires: 600;refresher=uac\r\n") == []


def test_restored_dialogs_do_not_refresh_all_at_once(scene: Scene) -> None:
    stack, session = scene.stack, "Session-Expires: 600;refresher=uas\r\n"
    memos = []
    for number in range(20):
        far = Far(scene, f"caller{number}", ALICE)
        memos.append(stack.memo(is_answered(scene, far, 1800, headers=session)))
    scene.stack = Scene(3).stack
    for memo in memos:
        scene.stack.restore(DialogId(scene.stack.new_id()), memo, scene.now)
    scene.log.clear()
    scene.run(75)  # half of the longest wait
    sent = [parse(output.data) for _, _, output in scene.log if isinstance(output, Transmit)]
    assert 3 < len({message.call_id for message in sent}) < 17


def test_a_memo_is_small(scene: Scene, alice: Far) -> None:
    assert len(scene.stack.memo(is_answered(scene, alice))) < 500


def test_only_a_confirmed_dialog_can_be_remembered(scene: Scene, alice: Far) -> None:
    dialog = rings_in(scene, alice)
    with pytest.raises(Misuse, match="nothing to remember"):
        scene.stack.memo(dialog)
    with pytest.raises(Misuse, match="nothing to remember"):
        scene.stack.memo(calls_out(scene))
    with pytest.raises(Misuse, match="no dialog"):
        scene.stack.memo(DialogId(99))


@pytest.mark.parametrize("memo", [b"", b"\x90", b"rubbish", b"\xff" * 40])
def test_what_is_no_memo_is_misuse(scene: Scene, memo: bytes) -> None:
    with pytest.raises(Misuse, match="memo"):
        scene.stack.restore(DialogId(scene.stack.new_id()), memo, scene.now)


def test_a_memo_cannot_be_restored_twice(scene: Scene, alice: Far) -> None:
    memo = scene.stack.memo(is_answered(scene, alice))
    with pytest.raises(Misuse, match="exists"):
        scene.stack.restore(DialogId(scene.stack.new_id()), memo, scene.now)


# ---------------------------------------------------------------- facts


def test_the_facts_of_a_dialog(scene: Scene, alice: Far, boris: Far) -> None:
    incoming, outgoing = rings_in(scene, alice), calls_out(scene)
    scene.does(Progress(dialog=incoming, status=180))
    early = scene.stack.dialog(incoming)
    assert early is not None
    assert (early.state, early.initiator, early.remote_tag, early.flow) == (
        DialogState.EARLY,
        False,
        alice.tag,
        ALICE,
    )
    assert scene.stack.dialog(outgoing) is None
    boris.answers(180)
    assert scene.stack.dialog(outgoing).state is DialogState.EARLY
    boris.answers(200, body=SDP)
    facts = scene.stack.dialog(outgoing)
    assert (facts.state, facts.remote_target) == (DialogState.CONFIRMED, "sip:boris@192.0.2.20:5060")
    assert scene.stack.find_dialog(facts.call_id, facts.local_tag, facts.remote_tag) == outgoing
    assert scene.stack.find_dialog(facts.call_id, facts.local_tag, "other") is None
    assert scene.stack.find_dialog("other", facts.local_tag, facts.remote_tag) is None
    assert scene.stack.find_dialog(facts.call_id, "other", facts.remote_tag) is None


# ---------------------------------------------------------------- chance and garbage


def play(seed: int) -> list[str]:
    scene = Scene(seed)
    alice, boris = Far(scene, "alice", ALICE), Far(scene, "boris", BORIS)
    is_answered(scene, alice)
    scene.does(HangUp(dialog=reaches(scene, boris)))
    scene.run(70)
    return [str(entry) for entry in scene.log]


def test_one_seed_is_one_course_of_events() -> None:
    assert play(5) == play(5)
    assert play(5) != play(6)


def test_tokens_do_not_repeat() -> None:
    ids = Identifiers(random.Random(1))
    assert len({ids.token() for _ in range(10_000)}) == 10_000


def test_calls_leave_no_cyclic_garbage() -> None:
    scene = Scene()
    gc.collect()
    gc.disable()
    try:
        for number in range(20):
            alice = Far(scene, f"alice{number}", ALICE)
            boris = Far(scene, f"boris{number}", BORIS)
            is_answered(scene, alice, 1800)
            alice.sends("UPDATE")
            dialog = reaches(scene, boris)
            scene.does(HangUp(dialog=dialog))
            boris.answers(200, "BYE")
            alice.sends("BYE")
        scene.run(70)
        scene.log.clear()
        assert gc.collect() == 0
    finally:
        gc.enable()
