"""What crosses, forks, loops and gets lost on the way, in the house: exactly one call, or a clear no."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from conf.snapshot import TenantId
from jackfield.phone import Answers, Phone, Rejects, Rings, events, tone
from jackfield.phone.message import Message
from pbx import api
from pbx.api import EndCause
from sipcore.flow import Flow, Transport
from sipcore.message import Request
from tests.house import SERVER, SERVER_SIP, WALL_OFFSET, House, make_snapshot
from tests.memory_network import Address, Weather
from tests.raw_peer import RawPeer, sdp
from tests.rewriting import RewritingTransport, replacing

GATEWAY = "10.0.9.9"


def kinds(house: House) -> list[str]:
    """What observers were told, by name."""
    return [type(event).__name__ for event in house.events]


async def with_gateway(house: House) -> RawPeer:
    """Extension 104 is a far end whose messages the test writes."""
    snapshot = make_snapshot()
    key = (TenantId(1), "104")
    extension = msgspec.structs.replace(snapshot.extensions[key], contact=f"sip:104@{GATEWAY}")
    house.reconfigure(make_snapshot(extensions={**snapshot.extensions, key: extension}))
    return RawPeer(house, GATEWAY)


# ---------------------------------------------------------------- crossings


async def test_a_cancel_crosses_the_answer() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102", crosses_cancel=True)
        await anna.dials("102")
        await boris.rings()
        await anna.hangs_up()
        await boris.calls[0].ends()
        assert kinds(house).count("Connected") == 0


@pytest.mark.parametrize("early_s", [-0.003, -0.002, -0.001, 0.0, 0.001, 0.002, 0.003])
async def test_an_answer_crosses_the_end_of_ringing(early_s: float) -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        boris.when_called = Answers(after_s=30.0 - early_s)
        call = await anna.dials("102")
        await house.rest(31.0)
        assert call.confirmed or call.failed_with == 480
        assert kinds(house).count("Connected") == int(call.confirmed)


@pytest.mark.parametrize("after_s", [0.0, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007, 0.008, 0.01])
async def test_the_caller_gives_up_at_any_instant(after_s: float) -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        boris.when_called = Answers(after_s=0.002)
        call = await anna.dials("102")
        await house.rest(after_s)
        await call.hangs_up()
        await house.rest(1.0)
        assert all(each.is_over for each in boris.calls)
        assert kinds(house).count("CallStarted") == kinds(house).count("CallEnded")


# ---------------------------------------------------------------- forks


async def test_a_forking_proxy_rings_two_phones_and_both_answer() -> None:
    async with House() as house:
        gateway = await with_gateway(house)
        anna = await house.phone("101")
        call = await anna.dials("104")
        invite = await gateway.gets("INVITE")
        gateway.answers(invite, 180, tag="desk")
        gateway.answers(invite, 183, body=sdp(GATEWAY, "audio 30000 RTP/AVP 0"), tag="mobile")
        await call.progresses(183)
        first = gateway.answers(invite, 200, body=sdp(GATEWAY, "audio 30000 RTP/AVP 0"), tag="desk")
        gateway.answers(invite, 200, body=sdp(GATEWAY, "audio 30002 RTP/AVP 0"), tag="mobile")
        await anna.talks()
        acks = {(await gateway.gets("ACK")).to.tag for _ in range(2)}
        assert acks == {"desk", "mobile"}
        bye = await gateway.gets("BYE")
        assert bye.to.tag == "mobile"
        gateway.answers(bye, 200)
        gateway.sends(first)
        assert (await gateway.gets("ACK")).to.tag == "desk"
        await call.hangs_up()
        bye = await gateway.gets("BYE")
        assert bye.to.tag == "desk"
        gateway.answers(bye, 200)
        assert kinds(house).count("Connected") == 1


async def test_early_sound_of_one_fork_and_the_answer_of_another_with_other_codecs() -> None:
    async with House() as house:
        gateway = await with_gateway(house)
        anna = await house.phone("101")
        call = await anna.dials("104")
        invite = await gateway.gets("INVITE")
        gateway.answers(invite, 183, body=sdp(GATEWAY, "audio 30000 RTP/AVP 0"), tag="desk")
        await call.progresses(183)
        gateway.answers(invite, 200, body=sdp(GATEWAY, "audio 30002 RTP/AVP 8"), tag="mobile")
        await gateway.gets("ACK")
        await call.talks()
        await house.rest(1.0)
        assert call.leg.negotiation.media is not None
        assert call.leg.negotiation.media.send.name == "PCMA"
        await call.hangs_up()
        gateway.answers(await gateway.gets("BYE"), 200)


async def test_a_redirection_is_not_followed_and_not_shown() -> None:
    async with House() as house:
        gateway = await with_gateway(house)
        anna = await house.phone("101")
        call = await anna.dials("104")
        invite = await gateway.gets("INVITE")
        gateway.answers(invite, 302)
        await gateway.gets("ACK")
        assert await call.fails() == 480


async def test_of_two_tries_the_one_that_says_more_is_told() -> None:
    """A phone refuses the caller's codecs; with ours beside them it is asked again and does not want to."""
    async with House() as house:
        gateway = await with_gateway(house)
        anna = await house.phone("101")
        call = await anna.dials("104")
        for status in (488, 480):
            gateway.answers(await gateway.gets("INVITE"), status)
            await gateway.gets("ACK")
        assert await call.fails() == 488


async def test_an_answer_without_sdp_is_no_call() -> None:
    async with House() as house:
        gateway = await with_gateway(house)
        anna = await house.phone("101")
        call = await anna.dials("104")
        gateway.answers(await gateway.gets("INVITE"), 200)
        await gateway.gets("ACK")
        gateway.answers(await gateway.gets("BYE"), 200)
        assert await call.fails() == 488


async def test_a_phone_with_two_flows_is_reached_by_the_other_when_one_is_dead() -> None:
    """RFC 5626: one phone, registered through two edge proxies; the newer one has lost it and says 430."""
    async with House() as house:
        older, newer = RawPeer(house, "10.0.9.7"), RawPeer(house, "10.0.9.8")
        for reg_id, peer in enumerate((older, newer), 1):
            contact = f'<sip:104@{peer.address[0]}>;+sip.instance="<urn:x>";reg-id={reg_id}'
            fields = [("From", "<sip:104@b>;tag=1"), ("To", "<sip:104@b>"), ("Call-ID", "call")]
            fields += [("CSeq", f"{reg_id} REGISTER"), ("Supported", "outbound"), ("Contact", contact)]
            house.engine.switchboard.registrations.register(
                (TenantId(1), "104"),
                Request("REGISTER", "sip:b", fields),
                Flow(Transport.UDP, SERVER_SIP, peer.address),
                10,
                house.loop.time() + WALL_OFFSET + reg_id,
            )
        anna = await house.phone("101")
        await anna.dials("104")
        invite = await newer.gets("INVITE")
        assert older.inbox == []
        newer.answers(invite, 430)
        await newer.gets("ACK")
        invite = await older.gets("INVITE")
        older.answers(invite, 200, body=sdp(older.address[0]))
        await anna.talks()
        await older.gets("ACK")
        older.answers(await _hangs_up(anna, older), 200)


async def _hangs_up(phone: Phone, peer: RawPeer) -> Message:
    phone.calls[-1].phone.command(events.HangUp(phone.calls[-1].leg.id))
    return await peer.gets("BYE")


# ---------------------------------------------------------------- loops


@pytest.mark.parametrize(("hops", "status"), [(b"0", 483), (b"1", 0), (b"70", 0)])
async def test_a_call_that_has_made_too_many_hops(hops: bytes, status: int) -> None:
    async with House() as house:
        out = replacing(b"Max-Forwards: 70", b"Max-Forwards: " + hops, only=b"INVITE")
        anna = await house.phone("101", transport=RewritingTransport(house, "10.0.0.50", out))
        boris = await house.phone("102")
        boris.when_called = Answers()
        call = await anna.dials("102")
        await house.rest(1.0)
        assert (call.failed_with or 0) == status
        told = [each.invite.get("max-forwards") for each in boris.calls if each.invite is not None]
        assert told == [str(int(hops) - 1)] * (status == 0)


async def test_a_message_that_has_made_too_many_hops() -> None:
    async with House() as house:
        out = replacing(b"Max-Forwards: 70", b"Max-Forwards: 0", only=b"MESSAGE")
        anna = await house.phone("101", transport=RewritingTransport(house, "10.0.0.50", out))
        await house.phone("102")
        assert (await anna.sends("MESSAGE", "102", body=b"lunch?")).status == 483


# ---------------------------------------------------------------- loss


def losing(house: House, number: int) -> Callable[[Address, Address, bytes], None]:
    """A way to send that loses exactly one SIP datagram: the one with this number, from now on."""
    send, seen = house.network.send, iter(range(10**9))

    def sends(src: Address, dst: Address, data: bytes) -> None:
        is_sip = 5060 in (src[1], dst[1])
        if not is_sip or next(seen) != number:
            send(src, dst, data)

    return sends


@pytest.mark.parametrize("number", range(24))
async def test_one_datagram_of_a_call_is_lost(number: int) -> None:
    async with House() as house:
        anna, boris = await house.phone("101", sound=False), await house.phone("102", sound=False)
        boris.when_called = Answers(after_s=1.0)
        house.network.send = losing(house, number)  # type: ignore[method-assign]
        await anna.dials("102")
        await anna.talks(within_s=10)
        await house.rest(5.0)
        await anna.hangs_up()
        await boris.ends()
        assert len(boris.calls) == 1
        told = kinds(house)
        assert [told.count(kind) for kind in ("CallStarted", "Connected", "CallEnded")] == [1, 1, 1]


@pytest.mark.parametrize("number", range(18))
async def test_one_datagram_of_a_refused_call_is_lost(number: int) -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        boris.when_called = Rejects(486)
        house.network.send = losing(house, number)  # type: ignore[method-assign]
        await anna.dials("102")
        assert await anna.fails(within_s=10) == 486
        assert len(boris.calls) == 1


@pytest.mark.parametrize("number", range(20))
async def test_one_datagram_of_a_cancelled_call_is_lost(number: int) -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        boris.when_called = Rings(180)
        house.network.send = losing(house, number)  # type: ignore[method-assign]
        call = await anna.dials("102")
        await house.rest(3.0)
        await call.hangs_up(within_s=10)
        await boris.calls[0].ends(within_s=10)
        assert [event.cause for event in house.events if isinstance(event, api.CallEnded)] == [
            EndCause.CANCELLED
        ]


@pytest.mark.parametrize("number", range(16))
async def test_one_datagram_of_a_transfer_is_lost(number: int) -> None:
    async with House() as house:
        anna, boris, clara = [await house.phone(each, sound=False) for each in ("101", "102", "103")]
        boris.when_called = clara.when_called = Answers()
        await anna.dials("102")
        call = await anna.talks()
        house.network.send = losing(house, number)  # type: ignore[method-assign]
        assert await call.transfers_to("103", within_s=20) == "SIP/2.0 200 OK"
        await house.rest(5.0)
        assert not boris.call.is_over
        assert not clara.call.is_over
        await clara.hangs_up()
        await boris.ends()


@pytest.mark.parametrize("seed", range(8))
async def test_a_call_in_bad_weather(seed: int) -> None:
    weather = Weather(delay_s=0.02, jitter_s=0.03, loss=0.1, duplication=0.1, reorder=0.1)
    async with House(seed=seed, weather=weather) as house:
        anna = await house.phone("101", registers=False, voice=tone(440))
        boris = await house.phone("102", registers=False, sound=False)
        await anna.registers(within_s=40)
        await boris.registers(within_s=40)
        boris.when_called = Answers(after_s=1.0)
        await anna.dials("102")
        await anna.talks(within_s=40)
        await house.rest(5.0)
        await anna.call.hangs_up(within_s=40)
        await boris.ends(within_s=40)
        told = kinds(house)
        assert [told.count(kind) for kind in ("CallStarted", "Connected", "CallEnded")] == [1, 1, 1]


# ---------------------------------------------------------------- requests that are no call


@pytest.mark.parametrize(
    ("method", "fields", "status"),
    [
        ("OPTIONS", (), 200),
        ("SUBSCRIBE", (("Event", "presence"),), 405),
        ("PUBLISH", (("Event", "presence"),), 405),
        ("BREW", (), 501),
        ("NOTIFY", (("Event", "keep-alive"), ("Subscription-State", "active")), 481),
    ],
)
async def test_what_we_take_is_said_once_and_is_true(
    method: str, fields: tuple[tuple[str, str], ...], status: int
) -> None:
    async with House() as house:
        peer = RawPeer(house, GATEWAY)
        peer.asks(method, f"sip:{SERVER}", "<sip:x@there>;tag=1", f"<sip:{SERVER}>", "once", 1, fields)
        answer = await peer.gets(status)
        methods = answer.all("allow")
        assert len(methods) == len(set(methods))
        if status != 481:
            assert {"INVITE", "REFER", "NOTIFY", "MESSAGE"} <= set(methods)
            assert {"SUBSCRIBE", "PUBLISH"}.isdisjoint(methods)
