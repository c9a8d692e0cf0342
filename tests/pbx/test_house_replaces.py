"""INVITE with Replaces in the house (RFC 3891)."""

from __future__ import annotations

from jackfield.phone import Call, Phone, tone
from pbx.api import EndCause, LegEnded
from tests.house import House

ANNA, BORIS, CLARA = tone(440), tone(1000), tone(1500)


async def talking(house: House) -> tuple[Phone, Phone, Call, Call]:
    anna, boris = await house.phone("101", voice=ANNA), await house.phone("102", voice=BORIS)
    call = await anna.dials("102")
    answered = await boris.answers()
    await call.talks()
    return anna, boris, call, answered


def replaces(call: Call, more: str = "") -> tuple[tuple[str, str], ...]:
    """The Replaces field that takes over the leg of this call, as the server knows it."""
    dialog = call.leg.dialog
    value = f"{dialog.call_id};to-tag={dialog.remote_tag};from-tag={dialog.local_tag}{more}"
    return (("Replaces", value), ("Require", "replaces"))


async def test_a_phone_takes_the_place_of_another_in_its_call() -> None:
    async with House() as house:
        _, boris, call, answered = await talking(house)
        clara = await house.phone("103", voice=CLARA)
        await clara.dials("102", fields=replaces(call))
        await clara.talks()
        await call.ends()
        await boris.hears(CLARA)
        await clara.hears(BORIS)
        assert answered.received == []
        assert answered.heard.longest_gap_ms <= 100
        assert EndCause.REPLACED in [event.cause for event in house.events if isinstance(event, LegEnded)]
        await clara.hangs_up()
        await boris.ends()


async def test_a_late_offer_can_take_a_place_too() -> None:
    async with House() as house:
        _, boris, call, _ = await talking(house)
        clara = await house.phone("103", voice=CLARA)
        await clara.dials("102", fields=replaces(call), offers=False)
        await clara.talks()
        await boris.hears(CLARA)
        await clara.hears(BORIS)
        await boris.hangs_up()


async def test_early_only_does_not_take_a_call_that_is_answered() -> None:
    async with House() as house:
        anna, boris, call, _ = await talking(house)
        clara = await house.phone("103")
        await clara.dials("102", fields=replaces(call, ";early-only"))
        assert await clara.fails() == 486
        await boris.hears(ANNA)
        await anna.hangs_up()


async def test_another_tenant_cannot_take_a_call() -> None:
    async with House() as house:
        anna, boris, call, _ = await talking(house)
        stranger = await house.phone("103", domain="other.example")
        await stranger.dials("102", fields=replaces(call))
        assert await stranger.fails() == 481
        await boris.hears(ANNA)
        await anna.hangs_up()


async def test_a_wrong_password_cannot_take_a_call() -> None:
    async with House() as house:
        anna, boris, call, _ = await talking(house)
        stranger = await house.phone("103", registers=False, password="guess")
        await stranger.dials("102", fields=replaces(call))
        assert await stranger.fails() == 403
        await boris.hears(ANNA)
        await anna.hangs_up()


async def test_a_call_that_is_not_there_cannot_be_taken() -> None:
    async with House() as house:
        anna = await house.phone("101")
        await anna.dials("102", fields=(("Replaces", "nothing@nowhere;to-tag=1;from-tag=2"),))
        assert await anna.fails() == 481
        await anna.dials("102", fields=(("Replaces", "gibberish"),))
        assert await anna.fails() == 400


async def test_a_call_is_picked_up_while_it_rings_elsewhere() -> None:
    async with House() as house:
        anna, boris = await house.phone("101", voice=ANNA), await house.phone("102")
        clara = await house.phone("103", voice=CLARA)
        await anna.dials("102")
        ringing = await boris.rings()
        await clara.dials("102", fields=replaces(ringing, ";early-only"))
        await clara.talks()
        await anna.talks()
        assert await boris.ends() == "the caller gave up"
        await clara.hears(ANNA)
        await anna.hears(CLARA)
        await anna.hangs_up()
        await clara.ends()


async def test_a_transferred_call_is_picked_up_while_it_rings_elsewhere() -> None:
    async with House() as house:
        _, boris, call, _ = await talking(house)
        clara, david = await house.phone("103"), await house.phone("104", voice=tone(2000))
        await call.asks("REFER", (("Refer-To", "<sip:103@jackfield.local>"),))
        ringing = await clara.rings()
        await david.dials("103", fields=replaces(ringing))
        await david.talks()
        await boris.hears(tone(2000))
        await david.hears(BORIS)
        await call.ends()
        assert call.notified[-1] == "SIP/2.0 200 OK"
        await boris.hangs_up()


async def test_a_caller_who_waits_cannot_be_replaced() -> None:
    async with House() as house:
        anna, boris, clara = [await house.phone(number) for number in ("101", "102", "103")]
        call = await anna.dials("102")
        await call.progresses(180)
        await clara.dials("102", fields=replaces(call))
        assert await clara.fails() == 481
        await boris.answers()
        await anna.talks()
        await anna.hangs_up()
