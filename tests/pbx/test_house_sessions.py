"""Reliable provisionals, UPDATE and session timers, in the house (RFC 3262, RFC 3311, RFC 4028)."""

from __future__ import annotations

import pytest

from jackfield.phone import Answers, Call, Phone, Rings, tone
from pbx import api
from pbx.api import EndCause
from tests.house import House

ANNA, BORIS = tone(440), tone(1000)
PATIENT = {"silence_s": 86_400.0}
"""phones without sound are not missed"""


async def talking(house: House, anna: dict[str, object], boris: dict[str, object]) -> tuple[Phone, Phone]:
    first = await house.phone("101", voice=ANNA, **anna)
    second = await house.phone("102", voice=BORIS, **boris)
    second.when_called = Answers()
    await first.dials("102")
    await first.talks()
    return first, second


def ended(house: House) -> list[EndCause]:
    return [event.cause for event in house.events if isinstance(event, api.CallEnded)]


def seen(house: House, method: bytes) -> int:
    """How many requests of this method crossed the network."""
    return [row.data.startswith(method) for row in house.ladder.rows].count(True)


# ---------------------------------------------------------------- 100rel


@pytest.mark.parametrize("caller", ["supported", "required"])
@pytest.mark.parametrize("callee", ["off", "supported"])
@pytest.mark.parametrize("early", [False, True])
async def test_provisionals_that_the_caller_wants_reliable(caller: str, callee: str, early: bool) -> None:
    async with House() as house:
        anna = await house.phone("101", voice=ANNA, prack=caller)
        boris = await house.phone("102", voice=BORIS, prack=callee)
        boris.when_called = Rings(183, early_media=early, reliable=True)
        call = await anna.dials("102")
        progress = await call.progresses(183)
        assert ("100rel" in progress.options("require")) is (caller == "required")
        await house.rest(1.0)
        await boris.answers()
        await anna.talks()
        await anna.hears(BORIS)
        await boris.hears(ANNA)
        await anna.hangs_up()


async def test_a_caller_that_requires_reliable_provisionals_and_offers_late() -> None:
    async with House() as house:
        anna, boris = (
            await house.phone("101", voice=ANNA, prack="required"),
            await house.phone("102", voice=BORIS),
        )
        boris.when_called = Answers(after_s=1.0)
        await anna.dials("102", offers=False)
        await anna.talks()
        await anna.hears(BORIS)
        await boris.hears(ANNA)
        await boris.hangs_up()


async def test_a_reliable_provisional_that_nobody_acknowledges_ends_the_call() -> None:
    async with House() as house:
        anna, boris = await house.phone("101", prack="required"), await house.phone("102")
        boris.when_called = Rings(183, early_media=True)
        call = await anna.dials("102")
        await call.progresses(183)
        anna.close()
        await boris.calls[0].ends(within_s=40)
        anna.calls.clear()


# ---------------------------------------------------------------- UPDATE


async def early_dialog(house: House) -> tuple[Phone, Phone, Call, Call]:
    anna = await house.phone("101", voice=ANNA, prack="required")
    boris = await house.phone("102", voice=BORIS)
    boris.when_called = Rings(183, early_media=True, reliable=True)
    call = await anna.dials("102")
    await call.progresses(183)
    await anna.hears(BORIS)
    return anna, boris, call, boris.call


@pytest.mark.parametrize("by", ["caller", "callee"])
async def test_an_update_in_an_early_dialog(by: str) -> None:
    async with House() as house:
        anna, boris, call, ringing = await early_dialog(house)
        asker = {"caller": call, "callee": ringing}[by]
        assert (await asker.asks("UPDATE")).status == 200
        assert await asker.changes("sendrecv", method="UPDATE") == 200
        await anna.hears(BORIS)
        await boris.answers()
        await anna.talks()
        await boris.hears(ANNA)
        await anna.hangs_up()


@pytest.mark.parametrize("by", ["caller", "callee"])
async def test_an_update_that_refreshes(by: str) -> None:
    async with House() as house:
        anna, boris = await talking(house, {}, {})
        asker = {"caller": anna.call, "callee": boris.call}[by]
        assert (await asker.asks("UPDATE")).status == 200
        await anna.hears(BORIS)
        await anna.hangs_up()


# ---------------------------------------------------------------- session timers


@pytest.mark.parametrize("refresher", ["uac", "uas", ""])
async def test_sessions_are_refreshed_by_whoever_has_to(refresher: str) -> None:
    async with House(calls={"session_expires_s": 120}, media=PATIENT) as house:
        how = {"session_expires_s": 120, "refresher": refresher, "sound": False}
        anna, _ = await talking(house, how, {"sound": False})
        await house.rest(600.0)
        assert seen(house, b"UPDATE") >= 16  # two legs, each every 60 s
        await anna.hangs_up()
        assert ended(house) == [EndCause.CALLER_HUNG_UP]


@pytest.mark.parametrize("who", ["caller", "callee"])
@pytest.mark.parametrize("refresher", ["uac", "uas"])
async def test_a_phone_that_dies_silently_ends_both_legs_within_the_interval(
    who: str, refresher: str
) -> None:
    async with House(calls={"session_expires_s": 120}, media=PATIENT) as house:
        how = {"session_expires_s": 120, "refresher": refresher, "sound": False}
        anna, boris = await talking(house, how, {"sound": False})
        dead, alive = {"caller": (anna, boris), "callee": (boris, anna)}[who]
        dead.close()
        await alive.ends(within_s=120)
        assert ended(house) in ([EndCause.SESSION_EXPIRED], [EndCause.PEER_LOST])
        dead.calls.clear()


async def test_a_session_that_is_too_short_is_refused_and_asked_for_again() -> None:
    async with House(calls={"min_session_expires_s": 300}) as house:
        anna, _ = await talking(house, {"session_expires_s": 100}, {})
        assert anna.call.response is not None
        assert anna.call.response.number("session-expires") == 300
        assert seen(house, b"SIP/2.0 422") == 1
        await anna.hangs_up()


async def test_a_callee_that_wants_longer_sessions_gets_them() -> None:
    async with House(calls={"session_expires_s": 120}) as house:
        _, boris = await talking(house, {}, {"min_se_s": 400})
        assert boris.call.invite is not None
        assert boris.call.invite.number("session-expires") == 400
        await boris.hangs_up()


async def test_phones_that_know_no_session_timers_talk_as_long_as_they_like() -> None:
    async with House(calls={"session_expires_s": 0}, media=PATIENT) as house:
        anna, boris = await talking(house, {"sound": False}, {"sound": False})
        await house.rest(4 * 3600.0)
        assert not boris.call.is_over
        await anna.hangs_up()
