"""Transfers in the house: blind, attended, semi-attended, and into an application."""

from __future__ import annotations

import pytest

from jackfield.phone import EVENTS, PCMA, PCMU, Answers, Call, Phone, Rejects, tone
from pbx import api
from pbx.api import EndCause
from tests.house import House

ANNA, BORIS, CLARA = tone(440), tone(1000), tone(1500)


async def three(house: House) -> tuple[Phone, Phone, Phone]:
    """Anna, Boris and Clara, each with a tone of their own."""
    return (
        await house.phone("101", voice=ANNA),
        await house.phone("102", voice=BORIS),
        await house.phone("103", voice=CLARA),
    )


async def talk(caller: Phone, callee: Phone) -> tuple[Call, Call]:
    """A call that stands, as both ends see it."""
    call = await caller.dials(callee.number)
    answered = await callee.answers()
    return await call.talks(), answered


def transfers(house: House) -> list[tuple[str, str]]:
    """(who transferred, where to), as the observers were told."""
    return [
        (event.party.number, event.target) for event in house.events if isinstance(event, api.Transferred)
    ]


def legs_ended(house: House, cause: EndCause) -> int:
    return [type(e) is api.LegEnded and e.cause is cause for e in house.events].count(True)


def invites_to(house: House, phone: Phone) -> int:
    return [call.incoming for call in phone.calls].count(True)


# ---------------------------------------------------------------- blind


async def test_the_stream_of_the_transferred_party_goes_on() -> None:
    async with House() as house:
        anna, boris, clara = await three(house)
        clara.when_called = Answers(after_s=2.0)
        _, boris_call = await talk(anna, boris)
        await boris.hears(ANNA)
        assert await anna.transfers_to("103") == "SIP/2.0 200 OK"
        await boris.hears(CLARA)
        await clara.hears(BORIS)
        await anna.ends()
        assert anna.calls[0].notified == ["SIP/2.0 100 Trying", "SIP/2.0 180 Ringing", "SIP/2.0 200 OK"]
        assert boris_call.heard.longest_gap_ms <= 100
        assert boris_call.received == []
        assert transfers(house) == [("101", "103")]
        await boris.hangs_up()
        await clara.ends()


async def test_the_callee_transfers_the_caller() -> None:
    async with House() as house:
        anna, boris, clara = await three(house)
        clara.when_called = Answers()
        anna_call, _ = await talk(anna, boris)
        await boris.holds()
        assert await boris.transfers_to("103") == "SIP/2.0 200 OK"
        await anna.hears(CLARA)
        await clara.hears(ANNA)
        await clara.hangs_up()
        await anna_call.ends()


@pytest.mark.parametrize("hold", ["local", "pass"])
@pytest.mark.parametrize("how", ["sendonly", "inactive", "0.0.0.0"])
async def test_a_party_that_was_on_hold_is_not_when_it_has_been_transferred(how: str, hold: str) -> None:
    async with House(calls={"hold": hold}) as house:
        anna, boris, clara = await three(house)
        clara.when_called = Answers()
        await talk(anna, boris)
        await anna.holds(how)
        assert await anna.transfers_to("103") == "SIP/2.0 200 OK"
        await boris.hears(CLARA)
        await clara.hears(BORIS)
        await boris.hangs_up()


@pytest.mark.parametrize("status", [486, 603, 480, 404, 500])
async def test_a_target_that_refuses_leaves_the_call_as_it_was(status: int) -> None:
    async with House() as house:
        anna, boris, clara = await three(house)
        clara.when_called = Rejects(status)
        await talk(anna, boris)
        assert (await anna.transfers_to("103")).split()[1] == str(status)
        await anna.hears(BORIS)
        await boris.hears(ANNA)
        assert transfers(house) == []
        await anna.hangs_up()
        await boris.ends()


async def test_a_target_that_does_not_answer_leaves_the_call_as_it_was() -> None:
    async with House() as house:
        anna, boris, clara = await three(house)
        await talk(anna, boris)
        assert (await anna.transfers_to("103", within_s=31)).split()[1] == "480"
        await clara.ends()
        await anna.hears(BORIS)
        await anna.hangs_up()


@pytest.mark.parametrize(
    ("target", "status"),
    [("999", "404"), ("104", "480"), ("sip:103@elsewhere.example", "404"), ("sip:103@other.example", "404")],
)
async def test_a_target_that_is_not_there_leaves_the_call_as_it_was(target: str, status: str) -> None:
    async with House() as house:
        anna, boris, _ = await three(house)
        await talk(anna, boris)
        assert (await anna.transfers_to(target)).split()[1] == status
        await boris.hears(ANNA)
        await boris.hangs_up()


async def test_a_second_try_after_a_failed_transfer() -> None:
    async with House() as house:
        anna, boris, clara = await three(house)
        clara.when_called = Answers()
        call, _ = await talk(anna, boris)
        await anna.transfers_to("999")
        call.notified.clear()
        assert await anna.transfers_to("103") == "SIP/2.0 200 OK"
        assert [notify.get("event") for notify in call.received][-1].startswith("refer;id=")
        await boris.hears(CLARA)
        await boris.hangs_up()


async def test_a_transfer_goes_on_when_the_transferor_hangs_up() -> None:
    async with House() as house:
        anna, boris, clara = await three(house)
        call, _ = await talk(anna, boris)
        await call.asks("REFER", (("Refer-To", "<sip:103@jackfield.local>"),))
        await clara.rings()
        await anna.hangs_up()
        await boris.hears_nothing()
        await clara.answers()
        await boris.hears(CLARA)
        await clara.hears(BORIS)
        await clara.hangs_up()
        await boris.ends()


async def test_a_transfer_that_fails_after_the_transferor_has_gone_ends_the_call() -> None:
    async with House() as house:
        anna, boris, clara = await three(house)
        call, boris_call = await talk(anna, boris)
        await call.asks("REFER", (("Refer-To", "<sip:103@jackfield.local>"),))
        await clara.rings()
        await anna.hangs_up()
        await clara.rejects(486)
        await boris.ends()
        assert boris_call.end_request is not None
        assert boris_call.end_request.get("reason") == 'SIP;cause=486;text="Transfer failed"'


async def test_the_transferred_party_hangs_up_while_the_target_rings() -> None:
    async with House() as house:
        anna, boris, clara = await three(house)
        call, _ = await talk(anna, boris)
        await call.asks("REFER", (("Refer-To", "<sip:103@jackfield.local>"),))
        await clara.rings()
        await boris.hangs_up()
        await anna.ends()
        await clara.ends()


async def test_the_transferred_party_transfers_on() -> None:
    async with House() as house:
        anna, boris, clara = await three(house)
        david = await house.phone("104", voice=tone(2000))
        clara.when_called = david.when_called = Answers()
        await talk(anna, boris)
        await anna.transfers_to("103")
        await boris.hears(CLARA)
        assert await boris.transfers_to("104") == "SIP/2.0 200 OK"
        await clara.hears(tone(2000))
        await david.hears(CLARA)
        assert transfers(house) == [("101", "103"), ("102", "104")]
        await clara.hangs_up()


async def test_a_transfer_into_an_application() -> None:
    async with House() as house:
        anna, boris, _ = await three(house)
        await talk(anna, boris)
        assert await anna.transfers_to("*41") == "SIP/2.0 200 OK"
        await anna.ends()
        await boris.hears(tone(440, -16))
        await boris.hangs_up()


async def test_a_transfer_without_subscription() -> None:
    async with House() as house:
        anna, boris, clara = await three(house)
        clara.when_called = Answers()
        call, _ = await talk(anna, boris)
        fields = (("Refer-To", "<sip:103@jackfield.local>"), ("Refer-Sub", "false"))
        response = await call.asks("REFER", fields)
        assert (response.status, response.get("refer-sub")) == (202, "false")
        await anna.ends()
        await boris.hears(CLARA)
        assert call.received == []
        await boris.hangs_up()


async def test_a_transferor_that_knows_nothing_of_its_notify_is_let_go() -> None:
    async with House() as house:
        anna, boris, clara = await three(house)
        call, _ = await talk(anna, boris)
        await call.asks("REFER", (("Refer-To", "<sip:103@jackfield.local>"),))
        anna.close()
        await clara.answers()
        await boris.hears(CLARA)
        await boris.hangs_up()
        await clara.ends()


@pytest.mark.parametrize(
    ("refer_to", "status"),
    [
        ((), 400),
        ((("Refer-To", "<sip:103@jackfield.local>"), ("Refer-To", "<sip:104@jackfield.local>")), 400),
        ((("Refer-To", "<mailto:clara@example.org>"),), 416),
        ((("Refer-To", "<sip:103@jackfield.local"),), 400),
        ((("Refer-To", "nonsense"),), 400),
        ((("Refer-To", "<sip:103@jackfield.local?Replaces=gibberish>"),), 400),
        ((("Refer-To", "<sip:103@jackfield.local;method=SUBSCRIBE>"),), 501),
    ],
)
async def test_a_refer_that_makes_no_sense_changes_nothing(
    refer_to: tuple[tuple[str, str], ...], status: int
) -> None:
    async with House() as house:
        anna, boris, _ = await three(house)
        house.forgiven += ["REFER without exactly one Refer-To"]
        call, _ = await talk(anna, boris)
        assert (await call.asks("REFER", refer_to)).status == status
        await boris.hears(ANNA)
        await anna.hangs_up()


async def test_a_refer_while_another_one_is_at_work() -> None:
    async with House() as house:
        anna, boris, clara = await three(house)
        call, boris_call = await talk(anna, boris)
        await call.asks("REFER", (("Refer-To", "<sip:103@jackfield.local>"),))
        await clara.rings()
        assert (await call.asks("REFER", (("Refer-To", "<sip:104@jackfield.local>"),))).status == 491
        assert (await boris_call.asks("REFER", (("Refer-To", "<sip:104@jackfield.local>"),))).status == 491
        await boris.hangs_up()


async def test_nobody_to_transfer() -> None:
    async with House() as house:
        anna = await house.phone("101")
        await anna.dials("*43")
        call = await anna.talks()
        assert (await call.asks("REFER", (("Refer-To", "<sip:103@jackfield.local>"),))).status == 403
        await anna.hangs_up()


async def test_a_refer_outside_a_call() -> None:
    async with House() as house:
        anna = await house.phone("101")
        response = await anna.sends("REFER", "102", (("Refer-To", "<sip:103@jackfield.local>"),))
        assert response.status == 403


async def test_a_refer_in_a_call_that_is_over() -> None:
    async with House() as house:
        anna, boris, _ = await three(house)
        call, _ = await talk(anna, boris)
        await boris.hangs_up()
        await call.ends()
        assert (await call.asks("REFER", (("Refer-To", "<sip:103@jackfield.local>"),))).status == 481


# ---------------------------------------------------------------- attended


async def attended(house: House) -> tuple[Phone, Phone, Phone, Call, Call]:
    """Anna talks with Clara, while Boris, whom she has on hold, waits."""
    anna, boris, clara = await three(house)
    first, _ = await talk(anna, boris)
    await anna.holds()
    second, _ = await talk(anna, clara)
    await anna.hears(CLARA)
    return anna, boris, clara, first, second


@pytest.mark.parametrize("hold", ["local", "pass"])
async def test_an_attended_transfer(hold: str) -> None:
    async with House(calls={"hold": hold}) as house:
        _, boris, clara, first, second = await attended(house)
        await second.holds()
        assert await first.transfers_to(second) == "SIP/2.0 200 OK"
        await boris.hears(CLARA)
        await clara.hears(BORIS)
        await second.ends()
        assert transfers(house) == [("101", "103")]
        assert (invites_to(house, boris), invites_to(house, clara)) == (1, 1)
        await boris.hangs_up()
        await clara.ends()


async def test_an_attended_transfer_of_the_consulted_to_the_first() -> None:
    async with House() as house:
        _, boris, clara, first, second = await attended(house)
        assert await second.transfers_to(first) == "SIP/2.0 200 OK"
        await boris.hears(CLARA)
        await clara.hears(BORIS)
        await first.ends()
        await clara.hangs_up()
        await boris.ends()


async def test_an_attended_transfer_by_one_who_was_called_twice() -> None:
    async with House() as house:
        anna, boris, clara = await three(house)
        _, first = await talk(boris, anna)
        await first.holds()
        await clara.dials("101")
        second = await anna.answers()
        assert await first.transfers_to(second) == "SIP/2.0 200 OK"
        await boris.hears(CLARA)
        await clara.hears(BORIS)
        await clara.hangs_up()
        await boris.ends()


@pytest.mark.parametrize(
    ("boris_speaks", "clara_speaks", "rounds"),
    [
        ((PCMU, PCMA, EVENTS), (PCMU, PCMA, EVENTS), (0, 0)),
        ((PCMA, EVENTS), (PCMU, PCMA, EVENTS), (0, 1)),
        ((PCMU, PCMA, EVENTS), (PCMA, EVENTS), (1, 0)),
    ],
)
async def test_codecs_of_two_calls_are_aligned(
    boris_speaks: tuple[object, ...], clara_speaks: tuple[object, ...], rounds: tuple[int, int]
) -> None:
    async with House() as house:
        anna = await house.phone("101", voice=ANNA)
        boris = await house.phone("102", voice=BORIS, codecs=boris_speaks)
        clara = await house.phone("103", voice=CLARA, codecs=clara_speaks)
        first, boris_call = await talk(anna, boris)
        second, clara_call = await talk(anna, clara)
        before = len(boris_call.media_changes), len(clara_call.media_changes)
        assert await first.transfers_to(second) == "SIP/2.0 200 OK"
        await boris.hears(CLARA)
        await clara.hears(BORIS)
        after = len(boris_call.media_changes), len(clara_call.media_changes)
        assert (after[0] - before[0], after[1] - before[1]) == rounds
        await boris.hangs_up()


async def test_two_calls_without_a_common_codec_become_one_by_translation() -> None:
    async with House() as house:
        house.forgiven.append("no audio codec in common")
        anna = await house.phone("101")
        boris = await house.phone("102", codecs=(PCMA, EVENTS), voice=BORIS)
        clara = await house.phone("103", codecs=(PCMU, EVENTS), voice=CLARA)
        first, _ = await talk(anna, boris)
        second, _ = await talk(anna, clara)
        await first.transfers_to(second)
        await boris.hears(CLARA)
        await clara.hears(BORIS)
        await boris.hangs_up()
        await clara.ends()


async def test_a_replaces_that_names_no_call_of_the_transferor() -> None:
    async with House() as house:
        anna, boris, clara = await three(house)
        david = await house.phone("104")
        first, _ = await talk(anna, boris)
        foreign, _ = await talk(clara, david)
        assert (await first.transfers_to(foreign)).split()[1] == "481"
        assert (await first.transfers_to(first)).split()[1] == "481"
        await boris.hears(ANNA)
        await david.hears(CLARA)
        await anna.hangs_up()
        await clara.hangs_up()


async def test_the_target_has_gone_before_the_transfer() -> None:
    async with House() as house:
        _, boris, clara, first, second = await attended(house)
        await clara.hangs_up()
        assert (await first.transfers_to(second)).split()[1] == "481"
        await first.resumes()
        await boris.hears(ANNA)
        await boris.hangs_up()


# ---------------------------------------------------------------- semi-attended


async def test_a_target_that_rings_for_the_transferor_rings_on_for_the_transferred() -> None:
    async with House() as house:
        anna, boris, clara = await three(house)
        first, _ = await talk(anna, boris)
        await first.holds()
        second = await anna.dials("103")
        await second.progresses(180)
        response = await first.asks("REFER", (("Refer-To", first._refer_to(second)),))
        assert response.status == 202
        assert await second.fails() == 487
        await house.rest(2.0)
        await clara.answers()
        await boris.hears(CLARA)
        await clara.hears(BORIS)
        assert first.notified == ["SIP/2.0 100 Trying", "SIP/2.0 180 Ringing", "SIP/2.0 200 OK"]
        assert invites_to(house, clara) == 1
        await first.ends()
        await boris.hangs_up()


async def test_a_target_that_rang_for_the_transferor_refuses_the_transferred() -> None:
    async with House() as house:
        anna, boris, clara = await three(house)
        first, _ = await talk(anna, boris)
        second = await anna.dials("103")
        await second.progresses(180)
        await first.asks("REFER", (("Refer-To", first._refer_to(second)),))
        await clara.rejects(486)
        await second.ends()
        await house.rest(1.0)
        assert first.notified[-1] == "SIP/2.0 486 Busy Here"
        await boris.hears(ANNA)
        await boris.hangs_up()


async def test_the_transferor_cancels_at_the_instant_of_a_semi_attended_transfer() -> None:
    async with House() as house:
        anna, boris, clara = await three(house)
        first, _ = await talk(anna, boris)
        second = await anna.dials("103")
        await second.progresses(180)
        refer_to = first._refer_to(second)
        house.forgiven.append("CANCEL")
        await first.asks("REFER", (("Refer-To", refer_to),))
        await second.hangs_up()
        await first.hangs_up()
        await clara.answers()
        await boris.hears(CLARA)
        await clara.hangs_up()
