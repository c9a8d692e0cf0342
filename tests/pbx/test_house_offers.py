"""Offers in mid-call, in the house: hold on both sides, glare, no offer at all, video, fax, a moved phone."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from conf.snapshot import TenantId
from jackfield.phone import EVENTS, OPUS, PCMA, PCMU, Call, Phone, tone
from pbx import api
from tests.house import SERVER, House, make_snapshot
from tests.raw_peer import RawPeer, sdp

ANNA, BORIS = tone(440), tone(1000)
SDP = (("Content-Type", "application/sdp"),)
T38 = ("image 31000 udptl t38", "a=T38FaxVersion:0", "a=T38FaxUdpEC:t38UDPRedundancy")


async def talking(house: House, **boris_has: object) -> tuple[Phone, Phone, Call, Call]:
    anna = await house.phone("101", voice=ANNA)
    boris = await house.phone("102", voice=BORIS, **boris_has)
    call = await anna.dials("102")
    answered = await boris.answers()
    await call.talks()
    await anna.hears(BORIS)
    await boris.hears(ANNA)
    return anna, boris, call, answered


async def hear_each_other(anna: Phone, boris: Phone) -> None:
    await anna.hears(BORIS)
    await boris.hears(ANNA)


# ---------------------------------------------------------------- hold on both sides


@pytest.mark.parametrize("hold", ["local", "pass"])
async def test_hold_while_the_other_side_holds(hold: str) -> None:
    async with House(calls={"hold": hold}) as house:
        anna, boris, *_ = await talking(house)
        await anna.holds()
        await boris.holds()
        await anna.hears_nothing()
        await boris.hears_nothing()
        await anna.resumes()
        await anna.hears_nothing()
        await boris.resumes()
        await hear_each_other(anna, boris)
        await anna.hangs_up()


@pytest.mark.parametrize("hold", ["local", "pass"])
async def test_both_hold_at_the_same_instant(hold: str) -> None:
    async with House(calls={"hold": hold}) as house:
        anna, boris, *_ = await talking(house)
        await asyncio.gather(anna.call.holds(within_s=40), boris.call.holds(within_s=40))
        await anna.hears_nothing()
        await boris.hears_nothing()
        await asyncio.gather(anna.call.resumes(within_s=40), boris.call.resumes(within_s=40))
        await hear_each_other(anna, boris)
        await anna.hangs_up()


async def test_an_update_holds_as_well() -> None:
    async with House() as house:
        anna, boris, *_ = await talking(house)
        await anna.holds(method="UPDATE")
        await boris.hears_nothing()
        await anna.resumes(method="UPDATE")
        await hear_each_other(anna, boris)
        assert [type(e) for e in house.events if isinstance(e, api.Held | api.Resumed)] == [
            api.Held,
            api.Resumed,
        ]
        await boris.hangs_up()


async def test_a_phone_hangs_up_while_its_offer_is_with_the_other() -> None:
    async with House(calls={"hold": "pass"}) as house:
        anna, boris, call, _ = await talking(house)
        holding = asyncio.create_task(call.holds())
        await house.rest(0.0015)
        await boris.hangs_up()
        await anna.ends()
        with pytest.raises(AssertionError):
            await holding


# ---------------------------------------------------------------- without an offer


@pytest.mark.parametrize("hold", ["local", "pass"])
async def test_a_re_invite_without_an_offer_ends_a_hold(hold: str) -> None:
    async with House(calls={"hold": hold}) as house:
        anna, boris, call, _ = await talking(house)
        await anna.holds("inactive")
        await boris.hears_nothing()
        await call.changes("sendrecv", offers=False)
        call.mouth.muted = False
        await hear_each_other(anna, boris)
        kinds = [type(event) for event in house.events if isinstance(event, api.Held | api.Resumed)]
        assert kinds == [api.Held, api.Resumed]
        await anna.hangs_up()


async def test_a_re_invite_without_an_offer_to_an_application() -> None:
    async with House() as house:
        anna = await house.phone("101", voice=ANNA)
        await anna.dials("*43")
        call = await anna.talks()
        await call.changes("sendrecv", offers=False)
        await anna.hears(ANNA)
        await anna.hangs_up()


# ---------------------------------------------------------------- codecs and streams


async def test_other_codecs_are_agreed_with_the_other_end() -> None:
    async with House() as house:
        anna, boris, call, answered = await talking(house, codecs=(PCMU, PCMA, EVENTS))
        call.leg.negotiation.codecs = (PCMA, EVENTS)
        assert await call.changes("sendrecv") == 200
        await hear_each_other(anna, boris)
        assert answered.leg.negotiation.media is not None
        assert answered.leg.negotiation.media.send.name == "PCMA"
        await boris.hangs_up()


async def test_codecs_that_the_other_end_refuses_leave_the_call_as_it_was() -> None:
    async with House() as house:
        house.forgiven.append("no audio codec in common")
        anna, boris, call, _ = await talking(house)
        body = sdp(call.rtp[0], f"audio {call.rtp[1]} RTP/AVP 111", "a=rtpmap:111 opus/48000/2")
        assert (await call.asks("UPDATE", SDP, body)).status == 488
        await hear_each_other(anna, boris)
        assert OPUS not in call.leg.negotiation.codecs
        await anna.hangs_up()


async def test_video_that_the_other_end_does_not_want() -> None:
    async with House() as house:
        anna, boris, call, answered = await talking(house)
        body = sdp(
            call.rtp[0],
            f"audio {call.rtp[1]} RTP/AVP 0 8 101",
            "a=rtpmap:101 telephone-event/8000",
            "m=video 40000 RTP/AVP 96",
            "a=rtpmap:96 VP8/90000",
        )
        response = await call.asks("UPDATE", SDP, body)
        assert response.status == 200
        assert b"m=video 0 " in response.body
        assert len(answered.media_changes) == 2
        await hear_each_other(anna, boris)
        await anna.hangs_up()


async def test_a_fax_that_a_phone_does_not_understand_leaves_the_call_as_it_was() -> None:
    async with House() as house:
        house.forgiven.append("no audio codec in common")
        anna, boris, call, _ = await talking(house)
        assert (await call.asks("UPDATE", SDP, sdp(call.rtp[0], *T38))).status == 488
        await hear_each_other(anna, boris)
        await anna.holds()
        await anna.resumes()
        await hear_each_other(anna, boris)
        await anna.hangs_up()


async def test_a_fax_crosses_between_those_who_understand_it() -> None:
    snapshot = make_snapshot()
    key = (TenantId(1), "104")
    extension = msgspec.structs.replace(snapshot.extensions[key], contact="sip:fax@10.0.9.9")
    async with House() as house:
        house.reconfigure(make_snapshot(extensions={**snapshot.extensions, key: extension}))
        anna, fax = await house.phone("101"), RawPeer(house, "10.0.9.9")
        call = await anna.dials("104")
        invite = await fax.gets("INVITE")
        fax.answers(invite, 200, body=sdp("10.0.9.9", "audio 30000 RTP/AVP 0 8"))
        await fax.gets("ACK")
        await call.talks()
        asked = asyncio.create_task(call.asks("UPDATE", SDP, sdp(call.rtp[0], *T38)))
        again = await fax.gets("INVITE")
        assert b"m=image" in again.body
        assert b" udptl t38\r\n" in again.body
        assert b"a=T38FaxUdpEC:t38UDPRedundancy\r\n" in again.body
        fax.answers(again, 200, body=sdp("10.0.9.9", *T38, version=2))
        await fax.gets("ACK")
        assert b"m=image" in (await asked).body
        heard: list[bytes] = []
        house.network.attach(("10.0.9.9", 31000), lambda data, src, dst: heard.append(data))
        port = int(again.body.partition(b"m=image ")[2].partition(b" ")[0])
        house.network.attach((call.rtp[0], 31000), lambda data, src, dst: heard.append(data))
        theirs = int((await asked).body.partition(b"m=image ")[2].partition(b" ")[0])
        house.network.send((call.rtp[0], 31000), (SERVER, theirs), b"\0\0\6fax of anna")
        house.network.send(("10.0.9.9", 31000), (SERVER, port), b"\0\0\6fax of nine")
        await house.rest(0.1)
        assert heard == [b"\0\0\6fax of anna", b"\0\0\6fax of nine"]
        await call.hangs_up()
        fax.answers(await fax.gets("BYE"), 200)


async def test_a_phone_moves_its_sound_to_another_port() -> None:
    async with House() as house:
        anna, boris, call, _ = await talking(house)
        moved = anna.transport.open_rtp()
        call.leg.negotiation.local_address = moved
        call.rtp = moved
        await call.changes("sendrecv")
        await house.rest(1.0)
        await hear_each_other(anna, boris)
        await anna.hangs_up()


@pytest.mark.parametrize(("body", "status"), [(b"v=0\r\nnonsense", 400), (b"", 200)])
async def test_an_update_that_makes_no_sense(body: bytes, status: int) -> None:
    async with House() as house:
        anna, boris, call, _ = await talking(house)
        fields = SDP if body else ()
        assert (await call.asks("UPDATE", fields, body)).status == status
        await hear_each_other(anna, boris)
        await anna.hangs_up()
