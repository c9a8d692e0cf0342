"""Who is said to be calling, to whom, and why a call ended, in the house (RFC 3325, RFC 3323, RFC 3326)."""

from __future__ import annotations

import ipaddress

import msgspec
import pytest

from conf.snapshot import TenantId, Trunk
from jackfield.phone import Answers, Phone, events, tone
from jackfield.phone.message import Message
from tests.house import REALM, House, make_snapshot
from tests.raw_peer import RawPeer, sdp
from tests.rewriting import RewritingTransport, replacing

CARRIER = "10.9.0.1"
PRIVATE = (("Privacy", "id"),)
ANONYMOUS = '"Anonymous" <sip:anonymous@anonymous.invalid>'


def with_trunk(house: House, *, trusted: bool = True) -> RawPeer:
    """A carrier that sends calls, and where extension 104's calls go."""
    snapshot = make_snapshot()
    key = (TenantId(1), "104")
    extension = msgspec.structs.replace(snapshot.extensions[key], contact=f"sip:104@{CARRIER}")
    networks = (ipaddress.ip_network("10.9.0.0/24"),)
    trunk = Trunk(TenantId(1), "carrier", networks, trusted_identity=trusted)
    extensions = {**snapshot.extensions, key: extension}
    house.reconfigure(make_snapshot(extensions=extensions, trunks=(trunk,)))
    return RawPeer(house, CARRIER)


async def sees(caller: Phone, callee: Phone, fields: tuple[tuple[str, str], ...] = ()) -> Message:
    """The INVITE that the callee gets."""
    await caller.dials(callee.number, fields=fields)
    ringing = await callee.rings()
    await caller.hangs_up()
    await ringing.ends()
    assert ringing.invite is not None
    return ringing.invite


def named(message: Message) -> str:
    """The From value without its tag."""
    return message.get("from").partition(";tag=")[0]


# ---------------------------------------------------------------- between phones


async def test_a_caller_is_who_it_has_proved_to_be() -> None:
    async with House() as house:
        anna, boris = await house.phone("101", name="The Director"), await house.phone("102")
        assert named(await sees(anna, boris)) == f'"Anna" <sip:101@{REALM}>'


async def test_a_number_that_a_phone_claims_does_not_count() -> None:
    async with House() as house:
        out, back = (
            replacing(b"From: <sip:101@", b"From: <sip:100@"),
            replacing(b"From: <sip:100@", b"From: <sip:101@"),
        )
        anna = await house.phone("101", transport=RewritingTransport(house, "10.0.0.50", out, back))
        boris = await house.phone("102")
        assert named(await sees(anna, boris)) == f'"Anna" <sip:101@{REALM}>'


async def test_an_identity_that_a_phone_asserts_is_not_passed_on() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        invite = await sees(anna, boris, (("P-Asserted-Identity", "<sip:100@example.org>"),))
        assert invite.get("p-asserted-identity") == ""


@pytest.mark.parametrize("value", ["id", "user;id", "header; user", "id;critical"])
async def test_a_caller_that_wants_to_be_anonymous_is(value: str) -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        invite = await sees(anna, boris, (("Privacy", value),))
        assert named(invite) == ANONYMOUS
        assert "101" not in invite.to_bytes().decode().partition("v=0")[0]
        assert "Anna" not in invite.to_bytes().decode()


@pytest.mark.parametrize("value", ["none", "header", "session"])
async def test_a_caller_that_does_not_want_to_be_anonymous_is_not(value: str) -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        assert "101" in named(await sees(anna, boris, (("Privacy", value),)))


async def test_an_anonymous_from_is_known_by_its_password() -> None:
    async with House() as house:
        out = replacing(
            b"From: <sip:101@other.example>", b"From: <sip:anonymous@anonymous.invalid>", only=b"INVITE"
        )
        back = replacing(b"From: <sip:anonymous@anonymous.invalid>", b"From: <sip:101@other.example>")
        transport = RewritingTransport(house, "10.0.0.50", out, back)
        anna = await house.phone("101", domain="other.example", transport=transport)
        boris = await house.phone("102", domain="other.example")
        await anna.dials("102")
        await boris.rings()
        house.forgiven += ["Request-URI", "From"]
        await anna.hangs_up()


async def test_a_message_has_the_same_identity_as_a_call() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        await anna.sends("MESSAGE", "102", body=b"lunch?")
        await anna.sends("MESSAGE", "102", PRIVATE, b"guess who")
        assert [named(message) for message in boris.messages] == [f'"Anna" <sip:101@{REALM}>', ANONYMOUS]


async def test_an_anonymous_caller_stays_so_when_transferred() -> None:
    async with House() as house:
        anna, boris, clara = [await house.phone(number) for number in ("101", "102", "103")]
        clara.when_called = Answers()
        await anna.dials("102", fields=PRIVATE)
        await boris.answers()
        await anna.talks()
        house.restart_engine()
        await boris.transfers_to("103")
        assert clara.call.invite is not None
        assert named(clara.call.invite) == ANONYMOUS
        await anna.hangs_up()


# ---------------------------------------------------------------- to and from a carrier


async def sent_to(house: House, carrier: RawPeer, fields: tuple[tuple[str, str], ...] = ()) -> Message:
    anna = await house.phone("101")
    await anna.dials("104", fields=fields)
    invite = await carrier.gets("INVITE")
    carrier.answers(invite, 486)
    await carrier.gets("ACK")
    await anna.fails(486)
    return invite


async def test_a_carrier_that_is_trusted_is_told_who_calls() -> None:
    async with House() as house:
        invite = await sent_to(house, with_trunk(house))
        assert named(invite) == invite.get("p-asserted-identity") == f'"Anna" <sip:101@{REALM}>'
        assert invite.get("privacy") == ""


async def test_a_carrier_that_is_trusted_is_told_who_calls_anonymously() -> None:
    async with House() as house:
        invite = await sent_to(house, with_trunk(house), PRIVATE)
        assert named(invite) == ANONYMOUS
        assert invite.get("p-asserted-identity") == f'"Anna" <sip:101@{REALM}>'
        assert invite.get("privacy") == "id"


async def test_a_carrier_that_is_not_trusted_is_told_nothing() -> None:
    async with House() as house:
        invite = await sent_to(house, with_trunk(house, trusted=False), PRIVATE)
        assert named(invite) == ANONYMOUS
        assert invite.get("p-asserted-identity") == ""
        assert invite.get("privacy") == ""


async def test_a_network_that_is_trusted_is_told_as_well() -> None:
    async with House(sip={"trusted_networks": ("10.9.0.0/24",)}) as house:
        carrier = with_trunk(house, trusted=False)
        house.reconfigure(make_snapshot(extensions=house.snapshot.extensions))
        invite = await sent_to(house, carrier, PRIVATE)
        assert invite.get("p-asserted-identity") == f'"Anna" <sip:101@{REALM}>'


async def come_from(house: House, carrier: RawPeer, from_: str, *fields: tuple[str, str]) -> Message:
    """The INVITE that Anna's phone gets when the carrier calls her."""
    anna = await house.phone("101")
    invite = carrier.asks(
        "INVITE",
        "sip:101@10.0.0.1",
        f"{from_};tag=9",
        "<sip:101@10.0.0.1>",
        "call@carrier",
        1,
        fields,
        sdp(CARRIER, "audio 30000 RTP/AVP 0"),
    )
    call = await anna.rings()
    call.rejects(486)
    response = await carrier.gets(486)
    ack = Message(method="ACK", uri=invite.uri, fields=list(invite.fields[:4]))
    ack.fields += [("To", response.get("to")), ("Call-ID", invite.call_id), ("CSeq", "1 ACK")]
    carrier.sends(ack)
    assert call.invite is not None
    return call.invite


@pytest.mark.parametrize(
    ("trusted", "shown"), [(True, f'"Home" <sip:+4930123@{REALM}>'), (False, f"<sip:555@{REALM}>")]
)
async def test_a_carriers_assertion_counts_when_it_is_trusted(trusted: bool, shown: str) -> None:
    async with House() as house:
        carrier = with_trunk(house, trusted=trusted)
        asserted = ("P-Asserted-Identity", '"Home" <sip:+4930123@carrier.example>, <tel:+4930123>')
        assert named(await come_from(house, carrier, "<sip:555@carrier.example>", asserted)) == shown


async def test_a_carriers_anonymous_caller_is_anonymous() -> None:
    async with House() as house:
        carrier = with_trunk(house)
        asserted = ("P-Asserted-Identity", "<tel:+4930123>")
        invite = await come_from(
            house, carrier, "<sip:anonymous@anonymous.invalid>", asserted, ("Privacy", "id")
        )
        assert named(invite) == ANONYMOUS
        assert "4930123" not in invite.to_bytes().decode()


@pytest.mark.parametrize("user", ["%0D%0AX-Evil:%20yes", "%3E%3Btag=8", "a%40b", "%22"])
async def test_a_number_cannot_break_out_of_its_header(user: str) -> None:
    async with House() as house:
        invite = await come_from(house, with_trunk(house), f"<sip:{user}@carrier.example>")
        assert invite.get("x-evil") == ""
        assert invite.from_.uri.endswith(f"@{REALM}")


# ---------------------------------------------------------------- reasons


async def test_the_reason_of_a_bye_reaches_the_other_end() -> None:
    async with House() as house:
        anna, boris = await house.phone("101", voice=tone(440)), await house.phone("102")
        boris.when_called = Answers()
        await anna.dials("102")
        call = await anna.talks()
        anna.command(
            events.HangUp(
                call.leg.id, (("Reason", 'Q.850;cause=16;text="Normal"'), ("Reason", "SIP;cause=200"))
            )
        )
        await boris.ends()
        request = boris.calls[0].end_request
        assert request is not None
        assert request.all("reason") == ['Q.850;cause=16;text="Normal"', "SIP;cause=200"]


async def test_the_reason_of_a_cancel_reaches_the_other_end() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        call = await anna.dials("102")
        await boris.rings()
        anna.command(
            events.HangUp(call.leg.id, (("Reason", 'SIP;cause=200;text="Call completed elsewhere"'),))
        )
        await boris.ends()
        request = boris.calls[0].end_request
        assert request is not None
        assert request.get("reason") == 'SIP;cause=200;text="Call completed elsewhere"'


async def test_phones_that_lost_the_race_are_told_that_another_one_answered() -> None:
    async with House() as house:
        anna, desk, mobile = [await house.phone(number) for number in ("101", "102", "102")]
        await anna.dials("102")
        await mobile.rings()
        await desk.answers()
        await mobile.ends()
        request = mobile.calls[0].end_request
        assert request is not None
        assert request.get("reason") == 'SIP;cause=200;text="Call completed elsewhere"'
        await anna.hangs_up()
