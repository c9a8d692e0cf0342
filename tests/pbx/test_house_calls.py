"""Extension to extension, in the house: every way that a plain call can go."""

from __future__ import annotations

import msgspec
import pytest

from conf.snapshot import TenantId
from jackfield.phone import OPUS, PCMA, PCMU, Answers, Codec, NotAsTold, Rejects, Rings, tone
from pbx import api
from pbx.api import EndCause
from tests.house import House, make_snapshot
from tests.memory_network import CALM, Weather

DTMF = (("Content-Type", "application/dtmf-relay"),)


def causes(house: House) -> list[EndCause]:
    return [event.cause for event in house.events if isinstance(event, api.CallEnded)]


async def test_two_phones_talk_and_hang_up() -> None:
    async with House() as house:
        anna, boris = await house.phone("101", voice=tone(440)), await house.phone("102", voice=tone(1000))
        await anna.dials("102")
        await boris.answers()
        await anna.talks()
        await anna.hears(tone(1000))
        await boris.hears(tone(440))
        await anna.hangs_up()
        await boris.ends()
        assert causes(house) == [EndCause.CALLER_HUNG_UP]


async def test_after_a_call_it_is_told_how_each_stream_was() -> None:
    async with House() as house:
        anna, boris = await house.phone("101", voice=tone(440)), await house.phone("102", voice=tone(1000))
        await anna.dials("102")
        await boris.answers()
        await anna.talks()
        await house.rest(4.0)
        house.network.weather = Weather(loss=0.1)
        await house.rest(4.0)
        house.network.weather = CALM
        await anna.hangs_up()
        await boris.ends()
        reports = [event for event in house.events if isinstance(event, api.StreamReport)]
        ended = [event for event in house.events if isinstance(event, api.LegEnded)]
        assert sorted(report.leg for report in reports) == sorted(event.leg for event in ended)
        for report in reports:
            assert report.codec == "pcmu"
            assert 350 <= report.received_packets + report.lost_packets <= 420
            assert 8 <= report.lost_packets <= 40
            assert 1.0 < report.mos < 4.2


async def test_no_stream_is_told_of_a_call_that_nobody_answered() -> None:
    async with House() as house:
        anna = await house.phone("101")
        await house.phone("102")
        await anna.dials("102")
        await house.rest(1.0)
        await anna.hangs_up()
        await house.rest(1.0)
        assert [event for event in house.events if isinstance(event, api.StreamReport)] == []


async def test_the_callee_hangs_up() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        await anna.dials("102")
        await boris.answers()
        await anna.talks()
        await boris.hangs_up()
        await anna.ends()
        assert causes(house) == [EndCause.CALLEE_HUNG_UP]


async def test_both_hang_up_at_once() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        anna_call = await anna.dials("102")
        boris_call = await boris.answers()
        await anna.talks()
        await anna_call.hangs_up()
        await boris_call.hangs_up()
        await anna.ends()
        await boris.ends()


@pytest.mark.parametrize(
    ("said", "told"), [(486, 486), (603, 603), (480, 480), (404, 404), (600, 600), (401, 500), (500, 500)]
)
async def test_a_refusal_reaches_the_caller(said: int, told: int) -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        boris.when_called = Rejects(said)
        await anna.dials("102")
        assert await anna.fails() == told


async def test_nobody_answers_in_time() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        await anna.dials("102")
        await boris.rings()
        assert await anna.fails(within_s=31) == 480
        await boris.ends()
        assert causes(house) == [EndCause.NO_ANSWER]


async def test_the_caller_gives_up_while_it_rings() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        await anna.dials("102")
        await boris.rings()
        await anna.hangs_up()
        await boris.ends()
        assert causes(house) == [EndCause.CANCELLED]


async def test_the_caller_gives_up_before_anyone_rings() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        boris.when_called = Rings(0)
        await anna.dials("102")
        await anna.hangs_up()
        await anna.ends()


@pytest.mark.parametrize(("number", "status"), [("999", 404), ("103", 480), ("", 404)])
async def test_a_number_that_reaches_nobody(number: str, status: int) -> None:
    async with House() as house:
        anna = await house.phone("101")
        await anna.dials(f"sip:{number}@10.0.0.1" if number else "sip:10.0.0.1")
        assert await anna.fails() == status


async def test_a_foreign_domain_is_no_way_into_the_house() -> None:
    async with House() as house:
        anna, _ = await house.phone("101"), await house.phone("102")
        await anna.dials("sip:102@example.org")
        assert await anna.fails() == 404


@pytest.mark.parametrize("number", ["101", "777"])
async def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(number: str) -> None:
    async with House() as house:
        stranger = await house.phone(number, registers=False, password="guess")
        assert await stranger.tries_to_register() == 403


async def test_the_first_phone_that_answers_wins_and_the_others_are_told_so() -> None:
    async with House() as house:
        anna = await house.phone("101")
        desk, mobile = await house.phone("102"), await house.phone("102")
        await anna.dials("102")
        await desk.rings()
        await mobile.rings()
        await desk.answers()
        await anna.talks()
        await mobile.ends()
        await anna.hangs_up()


async def test_phones_answer_at_the_same_instant() -> None:
    async with House() as house:
        anna = await house.phone("101")
        desk, mobile = await house.phone("102"), await house.phone("102")
        desk.when_called = mobile.when_called = Answers(after_s=1.0)
        await anna.dials("102")
        await anna.talks()
        await house.rest(3.0)
        assert [phone.call.is_over for phone in (desk, mobile)].count(True) == 1
        await anna.hangs_up()


async def test_groups_of_less_preference_ring_only_when_the_better_ones_fail() -> None:
    async with House() as house:
        anna = await house.phone("101")
        first = await house.phone("102", registers=False)
        second = await house.phone("102", registers=False)
        await first.registers(contacts=(f"<{first.contact}>;q=1.0",))
        await second.registers(contacts=(f"<{second.contact}>;q=0.5",))
        first.when_called = Rejects(486)
        await anna.dials("102")
        await second.answers()
        await anna.talks()
        assert len(first.calls) == 1
        await anna.hangs_up()


async def test_a_hold_is_silent_and_a_resume_brings_the_sound_back() -> None:
    async with House() as house:
        anna, boris = await house.phone("101", voice=tone(440)), await house.phone("102", voice=tone(1000))
        await anna.dials("102")
        await boris.answers()
        await anna.talks()
        await anna.hears(tone(1000))
        await anna.holds("inactive")
        await anna.hears_nothing()
        await boris.hears_nothing()
        await anna.resumes()
        await anna.hears(tone(1000))
        await boris.hears(tone(440))
        kinds = [type(event) for event in house.events if isinstance(event, api.Held | api.Resumed)]
        assert kinds == [api.Held, api.Resumed]
        await anna.hangs_up()


@pytest.mark.parametrize("how", ["sendonly", "inactive", "0.0.0.0"])
@pytest.mark.parametrize("pass_hold", ["pass", "local"])
@pytest.mark.parametrize("holder", ["caller", "callee"])
async def test_hold_by_every_kind_of_phone(how: str, pass_hold: str, holder: str) -> None:
    async with House(calls={"hold": pass_hold}) as house:
        anna, boris = await house.phone("101", voice=tone(440)), await house.phone("102", voice=tone(1000))
        await anna.dials("102")
        await boris.answers()
        await anna.talks()
        holds, other, heard = {"caller": (anna, boris, 1000), "callee": (boris, anna, 440)}[holder]
        await holds.hears(tone(heard))
        await holds.holds(how)
        await holds.hears_nothing()
        await holds.resumes()
        await holds.hears(tone(heard))
        await other.hangs_up()


async def test_digits_cross_and_are_told_once() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        await anna.dials("102")
        await boris.answers()
        await anna.talks()
        await anna.presses("15#")
        await boris.hears_digits("15#")
        pressed = [event.digit for event in house.events if isinstance(event, api.DigitPressed)]
        assert pressed == ["1", "5", "#"]
        await anna.hangs_up()


async def test_a_late_offer() -> None:
    async with House() as house:
        anna, boris = await house.phone("101", voice=tone(440)), await house.phone("102", voice=tone(1000))
        await anna.dials("102", offers=False)
        await boris.answers()
        await anna.talks()
        await anna.hears(tone(1000))
        await boris.hears(tone(440))
        await anna.hangs_up()


async def test_early_media_is_heard_before_the_answer() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102", voice=tone(1000))
        boris.when_called = Rings(183, early_media=True)
        await anna.dials("102")
        await anna.hears(tone(1000))
        await boris.answers()
        await anna.talks()
        await anna.hears(tone(1000))
        await anna.hangs_up()


async def test_codecs_that_nobody_here_understands_pass() -> None:
    async with House() as house:
        anna = await house.phone("101", codecs=(OPUS,))
        boris = await house.phone("102", codecs=(OPUS, PCMU))
        await anna.dials("102")
        await boris.answers()
        await anna.talks()
        await house.rest(1.0)
        assert anna.heard.packets > 40
        assert boris.heard.packets > 40
        await anna.hangs_up()


async def test_no_common_codec() -> None:
    async with House() as house:
        anna = await house.phone("101", codecs=(PCMA,))
        house.forgiven.append("no audio codec in common")
        boris = await house.phone("102", codecs=(Codec("AMR", 97),))
        boris.when_called = Answers()
        await anna.dials("102")
        assert await anna.fails() == 488
        assert len(boris.calls) == 2, "the second offer had our codecs too"


async def test_the_echo_test_sends_back_what_is_said() -> None:
    async with House() as house:
        anna = await house.phone("101", voice=tone(440))
        await anna.dials("*43")
        await anna.talks()
        await anna.hears(tone(440))
        await anna.hangs_up()


async def test_the_tone_test_is_a_tone() -> None:
    async with House() as house:
        anna = await house.phone("101")
        await anna.dials("*41")
        await anna.talks()
        await anna.hears(tone(440, -16))
        await anna.hangs_up()


async def test_two_tenants_with_the_same_numbers_never_meet() -> None:
    async with House() as house:
        anna = await house.phone("101")
        other = await house.phone("102", domain="other.example")
        await anna.dials("102")
        assert await anna.fails() == 480
        await anna.dials("sip:102@other.example")
        assert await anna.fails() == 404
        assert other.calls == []


async def test_a_limit_of_calls_for_an_extension() -> None:
    snapshot = make_snapshot()
    key = (TenantId(1), "102")
    limited = msgspec.structs.replace(snapshot.extensions[key], max_calls=1)
    async with House() as house:
        house.reconfigure(make_snapshot(extensions={**snapshot.extensions, key: limited}))
        anna, boris, clara = [await house.phone(number) for number in ("101", "102", "103")]
        await anna.dials("102")
        await boris.answers()
        await anna.talks()
        await clara.dials("102")
        assert await clara.fails() == 486
        await anna.hangs_up()
        await anna.ends()
        await clara.dials("102")
        await boris.answers()
        await clara.talks()
        await clara.hangs_up()


async def test_a_limit_of_calls_for_a_tenant() -> None:
    snapshot = make_snapshot()
    tenants = {key: msgspec.structs.replace(tenant, max_calls=1) for key, tenant in snapshot.tenants.items()}
    async with House() as house:
        house.reconfigure(make_snapshot(tenants=tenants))
        anna, boris, clara = [await house.phone(number) for number in ("101", "102", "103")]
        await anna.dials("102")
        await boris.answers()
        await anna.talks()
        await clara.dials("*43")
        assert await clara.fails() == 486
        await anna.hangs_up()


async def test_a_server_that_is_full_says_when_to_try_again() -> None:
    async with House(limits={"max_calls": 1, "retry_after_s": 7}) as house:
        anna, boris, clara = [await house.phone(number) for number in ("101", "102", "103")]
        await anna.dials("102")
        await boris.answers()
        await anna.talks()
        refused = await clara.dials("102")
        assert await refused.fails() == 503
        assert [row for row in house.ladder.rows if b"\r\nRetry-After: 7\r\n" in row.data]
        await anna.hangs_up()


async def test_a_change_of_configuration_leaves_calls_alone() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102", voice=tone(1000))
        await anna.dials("102")
        await boris.answers()
        await anna.talks()
        house.reconfigure(make_snapshot(extensions={}))
        await anna.hears(tone(1000))
        await anna.hangs_up()
        await boris.ends()


async def test_a_message_is_passed_on() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        reply = await anna.sends("MESSAGE", "102", body=b"lunch?")
        assert reply.status == 200
        assert boris.messages[0].body == b"lunch?"


async def test_an_info_is_passed_on() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        await anna.dials("102")
        await boris.answers()
        call = await anna.talks()
        assert (await call.asks("INFO", fields=DTMF, body=b"Signal=5\r\nDuration=160\r\n")).status == 200
        await anna.hangs_up()


async def test_shutting_down_ends_calls_with_bye() -> None:
    async with House() as house:
        anna, boris, clara = [await house.phone(number) for number in ("101", "102", "103")]
        await anna.dials("102")
        await boris.answers()
        await anna.talks()
        await clara.dials("104")
        house.engine.shut_down(house.loop.time())
        await anna.ends()
        await boris.ends()
        await clara.dials("101")
        assert await clara.fails() == 503
        assert EndCause.SHUTDOWN in causes(house)


async def test_a_phone_that_is_gone_is_not_waited_for_for_ever() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        boris.close()
        await anna.dials("102")
        with pytest.raises(NotAsTold):
            await anna.fails(within_s=20)
        assert await anna.fails(within_s=20) in (408, 480, 500, 503)


async def test_a_call_ends_after_the_longest_time() -> None:
    async with House(calls={"longest_s": 60}) as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        await anna.dials("102")
        await boris.answers()
        await anna.talks()
        await house.rest(55)
        assert not anna.call.is_over
        await anna.ends(within_s=6)
        await boris.ends()
        assert causes(house) == [EndCause.TOO_LONG]


async def test_a_body_that_may_not_pass_is_refused_with_what_may() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        await anna.dials("102")
        await boris.answers()
        call = await anna.talks()
        answer = await call.asks("INFO", fields=(("Content-Type", "application/x-virus"),), body=b"MZ")
        assert answer.status == 415
        await anna.hangs_up()


async def test_a_call_without_any_sound_is_ended_but_not_one_that_is_held() -> None:
    async with House(media={"silence_s": 20}) as house:
        anna, boris = await house.phone("101", sound=False), await house.phone("102", sound=False)
        await anna.dials("102")
        await boris.answers()
        await anna.talks()
        await anna.holds("inactive")
        await house.rest(60)
        assert not anna.call.is_over
        await anna.resumes()
        await anna.ends(within_s=45)
        await boris.ends()
        assert causes(house) == [EndCause.SILENT]


async def test_one_who_only_listens_is_no_dead_call() -> None:
    async with House(media={"silence_s": 20}) as house:
        anna, boris = await house.phone("101", sound=False), await house.phone("102", voice=tone(440))
        await anna.dials("102")
        await boris.answers()
        await anna.talks()
        await house.rest(60)
        await anna.hears(tone(440))
        await anna.hangs_up()
