"""Phone to phone, without a server, in virtual time: every kind of call, and no complaint about its like."""

from __future__ import annotations

import pytest

from jackfield.phone import Answers, Call, Redirects, Rejects, Rings, tone
from tests.phone.street import Street
from tests.virtual_loop import run_virtual, time_passes

PRACK_WISHES = ["off", "supported", "required"]


async def talking(street: Street, **options: object) -> tuple[Call, Call]:
    """Two phones in a call: the caller's and the callee's side of it."""
    alice, bob = street.phone("101", **options), street.phone("102", **options)
    alice.speaks(tone(440))
    bob.speaks(tone(880))
    out = await alice.dials(bob)
    back = await bob.answers()
    await out.talks()
    return out, back


# ---------------------------------------------------------------- set-up


async def test_a_call_is_answered_heard_and_hung_up(street: Street) -> None:
    out, back = await talking(street)
    assert await back.hears(tone(440)) == pytest.approx(-13, abs=0.5)
    await out.hears(tone(880))
    await out.hangs_up()
    assert await back.ends() == "the far side hung up"


async def test_the_callee_hangs_up(street: Street) -> None:
    out, back = await talking(street)
    await back.hangs_up()
    assert await out.ends() == "the far side hung up"


async def test_ringing_reaches_the_caller_before_the_answer(street: Street) -> None:
    alice, bob = street.phone("101"), street.phone("102")
    await alice.dials(bob)
    call = await bob.rings()
    ringing = await alice.progresses(180)
    assert ringing.sdp == b""
    await time_passes(100)
    await call.answers()
    await alice.talks()
    await alice.hangs_up()


@pytest.mark.parametrize("prack", PRACK_WISHES)
@pytest.mark.parametrize("reliable", [False, True])
async def test_early_media_is_heard_before_the_answer(street: Street, prack: str, reliable: bool) -> None:
    alice, bob = street.phone("101", prack=prack), street.phone("102")
    bob.when_called = Rings(183, early_media=True, reliable=reliable)
    bob.speaks(tone(880))
    await alice.dials(bob)
    progress = await alice.progresses(183)
    assert bool(progress.get("rseq")) == (prack == "required" or (prack == "supported" and reliable))
    await alice.hears(tone(880))
    assert not alice.call.confirmed
    await bob.answers()
    await alice.talks()
    await alice.hangs_up()


@pytest.mark.parametrize("prack", PRACK_WISHES)
async def test_a_late_offer_is_answered_in_the_ack_or_the_prack(street: Street, prack: str) -> None:
    alice, bob = street.phone("101", prack=prack), street.phone("102")
    bob.when_called = Rings(183, early_media=True, reliable=True)
    alice.speaks(tone(440))
    await alice.dials(bob, offers=False)
    await bob.answers()
    await alice.talks()
    await bob.hears(tone(440))
    await bob.hangs_up()


@pytest.mark.parametrize(
    ("reaction", "status"), [(Rejects(486), 486), (Rejects(603), 603), (Redirects("103"), 302)]
)
async def test_a_refusal_reaches_the_caller(
    street: Street, reaction: Rejects | Redirects, status: int
) -> None:
    alice, bob = street.phone("101"), street.phone("102")
    bob.when_called = reaction
    call = await alice.dials(bob)
    assert await alice.fails(status) == status
    assert call.response is not None
    assert bool(call.response.contact) == (status == 302)
    await time_passes(40)  # no ACK is missing


async def test_a_phone_that_answers_by_itself(street: Street) -> None:
    alice, bob = street.phone("101"), street.phone("102")
    bob.when_called = Answers(after_s=3)
    began = alice.now
    await alice.dials(bob)
    await alice.talks()
    assert alice.now - began == pytest.approx(3.03, abs=0.02)
    await bob.hangs_up()


# ---------------------------------------------------------------- giving up


async def test_a_caller_who_gives_up_cancels(street: Street) -> None:
    alice, bob = street.phone("101"), street.phone("102")
    await alice.dials(bob)
    await alice.progresses(180)
    await alice.hangs_up()
    assert await alice.fails() == 487
    assert await bob.ends() == "the caller gave up"


async def test_giving_up_before_any_answer_waits_for_the_first(street: Street) -> None:
    alice, bob = street.phone("101"), street.phone("102")
    await alice.dials(bob)
    await alice.hangs_up()
    assert await alice.fails() == 487
    assert await bob.ends() == "the caller gave up"


async def test_a_cancel_that_crosses_the_200_ends_in_a_bye(street: Street) -> None:
    alice, bob = street.phone("101"), street.phone("102", crosses_cancel=True)
    await alice.dials(bob)
    await alice.progresses(180)
    await alice.hangs_up()
    assert await alice.ends() == "we hung up while they answered"
    assert await bob.ends() == "the far side hung up"


async def test_an_answer_at_the_moment_of_the_cancel(street: Street) -> None:
    alice, bob = street.phone("101"), street.phone("102")
    await alice.dials(bob)
    await alice.progresses(180)
    ringing = await bob.rings()
    alice.loop.call_later(0.005, bob.loop.create_task, ringing.answers())
    await alice.hangs_up()
    assert await alice.ends() == "we hung up while they answered"
    await bob.ends()


async def test_nobody_there_fails_with_408_after_timer_b(street: Street) -> None:
    alice = street.phone("101")
    began = alice.now
    await alice.dials("sip:102@10.0.0.99")
    assert await alice.fails(within_s=60) == 408
    assert alice.now - began == 32.0
    assert [round(row.at - began, 3) for row in street.ladder.rows] == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]


# ---------------------------------------------------------------- while it stands


@pytest.mark.parametrize("how", ["sendonly", "inactive", "0.0.0.0"])
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
async def test_hold_is_silent_and_resume_brings_the_sound_back(street: Street, how: str, method: str) -> None:
    out, back = await talking(street)
    await back.hears(tone(440))
    await out.holds(how, method=method)
    await out.hears_nothing()
    await back.hears_nothing()
    was_held = back.is_held
    await out.resumes(method=method)
    assert (was_held, back.is_held) == (True, False)
    await back.hears(tone(440))
    await out.hears(tone(880))
    await out.hangs_up()


async def test_both_hold_and_resume_in_turn(street: Street) -> None:
    out, back = await talking(street)
    await out.holds()
    await back.holds()
    await out.resumes()
    await out.hears_nothing()
    await back.resumes()
    await out.hears(tone(880))
    await out.hangs_up()


async def test_an_offerless_reinvite_asks_the_other_side_to_offer(street: Street) -> None:
    out, back = await talking(street)
    await out.changes("sendrecv", offers=False)
    await back.hears(tone(440))
    await back.hangs_up()


async def test_two_reinvites_at_once_meet_491_and_are_tried_again(street: Street) -> None:
    out, back = await talking(street)
    second = back.phone.loop.create_task(back.holds())
    await out.holds()
    await second
    statuses = [row.data[8:11] for row in street.ladder.rows if row.data.startswith(b"SIP/2.0 491")]
    assert len(statuses) == 2
    await out.hangs_up()


async def test_requests_inside_the_call_reach_the_other_side(street: Street) -> None:
    out, back = await talking(street)
    for method in ("INFO", "MESSAGE", "OPTIONS"):
        response = await out.asks(method, (("Content-Type", "text/plain"),), b"hello")
        assert response.status == 200
    assert [request.method for request in back.received] == ["INFO", "MESSAGE", "OPTIONS"]
    assert back.received[1].body == b"hello"
    await out.hangs_up()


@pytest.mark.parametrize("refresher", ["uac", "uas"])
async def test_a_session_is_refreshed_by_who_has_to(street: Street, refresher: str) -> None:
    out, back = await talking(street, session_expires_s=90, refresher=refresher, sound=False)
    await time_passes(300)
    assert not out.is_over
    updates = {row.src[0] for row in street.ladder.rows if row.data.startswith(b"UPDATE")}
    assert updates == {{"uac": "10.0.0.1", "uas": "10.0.0.2"}[refresher]}
    await back.hangs_up()


async def test_a_session_that_nobody_refreshes_is_ended() -> None:
    street = Street()
    out, back = await talking(street, session_expires_s=90, refresher="uac", sound=False)
    out.leg.timer.stop()
    assert await back.ends(within_s=100) == "the session was not refreshed"
    assert back.phone.complaints == ["the session of 90 s was not refreshed (RFC 4028 10)"]
    assert await out.ends() == "the far side hung up"
    street.close()


async def test_an_interval_that_is_too_small_is_raised_and_tried_again(street: Street) -> None:
    alice, bob = street.phone("101", session_expires_s=90), street.phone("102", min_se_s=1800)
    await alice.dials(bob)
    await bob.answers()
    await alice.talks()
    assert alice.call.leg.timer.interval_s == 1800
    await alice.hangs_up()


# ---------------------------------------------------------------- transfer


async def test_a_blind_transfer_brings_the_two_others_together(street: Street) -> None:
    out, back = await talking(street)
    carol = street.phone("103")
    carol.when_called = Answers(1)
    assert await out.transfers_to(carol.contact) == "SIP/2.0 200 OK"
    assert await back.ends() == "the far side hung up"
    assert back.phone.call is not back
    await carol.hears(tone(880))
    assert "101" in (carol.call.invite.get("referred-by") if carol.call.invite else "")
    await carol.hangs_up()


async def test_a_blind_transfer_to_who_refuses_says_so_and_the_call_stays(street: Street) -> None:
    out, back = await talking(street)
    carol = street.phone("103")
    carol.when_called = Rejects(486)
    assert await out.transfers_to(carol.contact) == "SIP/2.0 486 Failed"
    assert not back.is_over
    await out.hangs_up()


async def test_an_attended_transfer_replaces_the_consultation(street: Street) -> None:
    out, back = await talking(street)
    alice, bob, carol = out.phone, back.phone, street.phone("103")
    carol.speaks(tone(1000))
    await out.holds()
    consultation = await alice.dials(carol)
    await carol.answers()
    await consultation.talks()
    assert (await alice.transfers_to(consultation)).startswith("SIP/2.0 200")
    await consultation.ends()
    assert carol.call.replaces is not None
    await bob.hears(tone(1000))
    await carol.hears(tone(880))
    await bob.hangs_up()


# ---------------------------------------------------------------- without a call


async def test_options_message_and_subscribe(street: Street) -> None:
    alice, bob = street.phone("101"), street.phone("102")
    assert (await alice.sends("OPTIONS", bob)).get("allow").startswith("INVITE")
    assert (await alice.sends("MESSAGE", bob, body=b"hello")).status == 200
    assert [message.method for message in bob.messages] == ["OPTIONS", "MESSAGE"]


# ---------------------------------------------------------------- the same seed, the same bytes


async def bytes_of_a_call(seed: int) -> list[bytes]:
    street = Street(seed)
    wire: list[bytes] = []
    street.network.taps.append(lambda passage: wire.append(passage.data))
    out, _ = await talking(street)
    await out.presses("5")
    await out.hangs_up()
    street.close()
    return wire


def test_the_same_seed_speaks_the_same_bytes() -> None:
    first, again, other = (run_virtual(bytes_of_a_call(seed)) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_the_phone_imports_nothing_of_the_server() -> None:
    import ast
    from pathlib import Path

    import jackfield.phone

    found: set[str] = set()
    for file in Path(jackfield.phone.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found |= {name.partition(".")[0] for name in names}
    assert not found & {"sipcore", "media", "pbx", "conf"}
    assert {name for name in found if name == "jackfield"} == {"jackfield"}


async def test_a_deaf_phone_is_rung_until_timer_b(street: Street) -> None:
    alice, bob = street.phone("101"), street.phone("102")
    bob.is_deaf = True
    await alice.dials(bob)
    assert await alice.fails(within_s=40) == 408
    assert bob.calls == []
