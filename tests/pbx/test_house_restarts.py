"""The engine dies and comes back, media dies and comes back, in the house: calls go on."""

from __future__ import annotations

import msgspec
import pytest

from conf.snapshot import TenantId
from jackfield.phone import EVENTS, PCMA, PCMU, Answers, Call, Phone, tone
from media.messages import KeepMemo
from pbx import api
from tests.house import House, make_snapshot

ANNA, BORIS, CLARA = tone(440), tone(1000), tone(1500)


async def talking(house: House, **anna_has: object) -> tuple[Phone, Phone, Call, Call]:
    anna = await house.phone("101", voice=ANNA, **anna_has)
    boris = await house.phone("102", voice=BORIS)
    call = await anna.dials("102")
    answered = await boris.answers()
    await call.talks()
    await anna.hears(BORIS)
    return anna, boris, call, answered


# ---------------------------------------------------------------- the engine


@pytest.mark.parametrize("ends", ["caller", "callee"])
async def test_a_call_outlives_the_engine_and_ends_as_usual(ends: str) -> None:
    async with House() as house:
        anna, boris, call, answered = await talking(house)
        house.restart_engine()
        await anna.hears(BORIS)
        await boris.hears(ANNA)
        assert answered.heard.longest_gap_ms <= 40
        one, other = {"caller": (call, answered), "callee": (answered, call)}[ends]
        await one.hangs_up()
        await other.ends()
        assert house.left_over().get("media ports", 0) == 0


async def test_a_call_outlives_several_engines() -> None:
    async with House() as house:
        anna, boris, *_ = await talking(house)
        for _ in range(5):
            house.restart_engine()
            await house.rest(1.0)
        await anna.hears(BORIS)
        await boris.hangs_up()
        await anna.ends()


async def test_hold_goes_on_over_a_restart() -> None:
    async with House(calls={"hold": "local"}) as house:
        anna, boris, *_ = await talking(house)
        await anna.holds()
        house.restart_engine()
        await boris.hears_nothing()
        await anna.resumes()
        await anna.hears(BORIS)
        await boris.hears(ANNA)
        await anna.hangs_up()


async def test_digits_are_told_after_a_restart() -> None:
    async with House() as house:
        anna, boris, *_ = await talking(house)
        house.restart_engine()
        await anna.presses("7")
        await boris.hears_digits("7")
        assert [event.digit for event in house.events if isinstance(event, api.DigitPressed)] == ["7"]
        await anna.hangs_up()


async def test_a_transfer_after_a_restart() -> None:
    async with House() as house:
        _, boris, call, _ = await talking(house)
        clara = await house.phone("103", voice=CLARA)
        clara.when_called = Answers()
        house.restart_engine()
        assert await call.transfers_to("103") == "SIP/2.0 200 OK"
        await boris.hears(CLARA)
        await clara.hears(BORIS)
        await boris.hangs_up()


async def test_a_transferred_call_outlives_the_engine() -> None:
    async with House() as house:
        _, boris, call, _ = await talking(house)
        clara = await house.phone("103", voice=CLARA)
        clara.when_called = Answers()
        await call.transfers_to("103")
        house.restart_engine()
        await boris.hears(CLARA)
        await clara.hears(BORIS)
        await clara.hangs_up()
        await boris.ends()


async def test_codecs_change_after_a_restart() -> None:
    async with House() as house:
        anna, boris, call, _ = await talking(house, codecs=(PCMU, PCMA, EVENTS))
        house.restart_engine()
        call.leg.negotiation.codecs = (PCMA, EVENTS)
        await call.changes("sendrecv")
        await anna.hears(BORIS)
        await boris.hears(ANNA)
        await boris.hangs_up()


@pytest.mark.parametrize("refresher", ["uac", "uas"])
async def test_session_timers_go_on_after_a_restart(refresher: str) -> None:
    patient = {"silence_s": 86_400.0}
    async with House(calls={"session_expires_s": 120}, media=patient) as house:
        how = {"session_expires_s": 120, "refresher": refresher, "sound": False}
        anna, boris = await house.phone("101", **how), await house.phone("102", sound=False)
        boris.when_called = Answers()
        await anna.dials("102")
        await anna.talks()
        await house.rest(50.0)
        house.restart_engine()
        await house.rest(400.0)
        boris.close()
        await anna.ends(within_s=120)
        boris.calls.clear()


@pytest.mark.parametrize(("number", "heard"), [("*43", ANNA), ("*41", tone(440, -16))])
async def test_an_application_begins_anew(number: str, heard: object) -> None:
    async with House() as house:
        anna = await house.phone("101", voice=ANNA)
        await anna.dials(number)
        await anna.talks()
        await anna.hears(heard)  # type: ignore[arg-type]
        house.restart_engine()
        await house.rest(0.5)
        await anna.hears(heard)  # type: ignore[arg-type]
        await anna.hangs_up()


async def test_a_call_that_rang_when_the_engine_died_is_over() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        call = await anna.dials("102")
        ringing = await boris.rings()
        house.restart_engine()
        house.forgiven += ["never acknowledged", "answers nothing"]
        await call.hangs_up(within_s=40)
        ringing.rejects(480)
        await house.rest(40.0)
        assert house.left_over() == {}


async def test_limits_are_counted_over_a_restart() -> None:
    extensions = make_snapshot().extensions
    boris_key = (TenantId(1), "102")
    limited = msgspec.structs.replace(extensions[boris_key], max_calls=1)
    async with House() as house:
        house.reconfigure(make_snapshot(extensions={**extensions, boris_key: limited}))
        anna, *_ = await talking(house)
        clara = await house.phone("103")
        house.restart_engine()
        await clara.dials("102")
        assert await clara.fails() == 486
        await anna.hangs_up()


async def test_calls_of_a_tenant_that_is_gone_end_with_the_restart() -> None:
    async with House() as house:
        anna, boris, *_ = await talking(house)
        second = house.snapshot.tenants[TenantId(2)]
        house.snapshot = make_snapshot(tenants={second.id: second}, default_tenant=None)
        house.restart_engine()
        await anna.ends()
        await boris.ends()


async def test_a_memo_that_nobody_can_read_is_dropped_and_its_ports_are_closed() -> None:
    async with House() as house:
        anna, boris, *_ = await talking(house)
        house.to_media([KeepMemo(1, b"of another version")])
        house.restart_engine()
        assert house.left_over().get("media ports", 0) == 0
        await anna.hangs_up()
        await boris.hangs_up()


# ---------------------------------------------------------------- media


async def test_the_sound_comes_back_after_media_died() -> None:
    async with House() as house:
        house.forgiven.append("the SSRC changed")
        anna, boris, *_ = await talking(house)
        house.restart_media()
        await anna.hears(BORIS)
        await boris.hears(ANNA)
        await anna.hangs_up()
        await boris.ends()


async def test_a_tone_comes_back_after_media_died() -> None:
    async with House() as house:
        house.forgiven.append("the SSRC changed")
        anna = await house.phone("101")
        await anna.dials("*41")
        await anna.talks()
        house.restart_media()
        await anna.hears(tone(440, -16))
        await anna.hangs_up()


async def test_hold_goes_on_when_media_comes_back() -> None:
    async with House(calls={"hold": "local"}) as house:
        house.forgiven.append("the SSRC changed")
        anna, boris, *_ = await talking(house)
        await anna.holds()
        house.restart_media()
        await boris.hears_nothing()
        await anna.resumes()
        await boris.hears(ANNA)
        await anna.hangs_up()


async def test_calls_outlive_media_and_then_the_engine() -> None:
    async with House() as house:
        house.forgiven.append("the SSRC changed")
        anna, boris, *_ = await talking(house)
        house.restart_media()
        await house.rest(0.1)
        house.restart_engine()
        await anna.hears(BORIS)
        await boris.hears(ANNA)
        await anna.hangs_up()
