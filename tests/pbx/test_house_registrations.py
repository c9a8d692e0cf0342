"""Registering in the house: refresh, expiry, limits, digest old and new, and what a restart leaves."""

from __future__ import annotations

import msgspec
import pytest

from conf.snapshot import TenantId
from jackfield.phone import NotAsTold, Phone
from jackfield.phone.message import Message
from tests.house import REALM, House, make_snapshot
from tests.raw_peer import RawPeer
from tests.rewriting import RewritingTransport, replacing

BORIS = (TenantId(1), "102")


def limited(max_contacts: int) -> dict[str, object]:
    extensions = make_snapshot().extensions
    boris = msgspec.structs.replace(extensions[BORIS], max_contacts=max_contacts)
    return {"extensions": {**extensions, BORIS: boris}}


async def reaches(house: House, anna: Phone, boris: Phone) -> int:
    """The status of a call from Anna to Boris: 180 when it rings there."""
    before = len(boris.calls)
    call = await anna.dials("102")
    await house.rest(1.0)
    status = call.failed_with or 180 * (len(boris.calls) > before)
    await call.hangs_up()
    return status


# ---------------------------------------------------------------- coming and going


async def test_a_registration_is_refreshed_and_lasts() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102", registers=False)
        assert await boris.registers(120) == 120
        await house.rest(1000.0)
        assert await reaches(house, anna, boris) == 180


async def test_a_registration_expires() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102", registers=False)
        await boris.registers(120)
        boris.agent.registration.stop()
        await house.rest(119.0)
        assert await reaches(house, anna, boris) == 180
        await house.rest(1.0)
        assert await reaches(house, anna, boris) == 480


async def test_a_phone_unregisters() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        await boris.unregisters()
        assert await reaches(house, anna, boris) == 480
        assert house.kept[BORIS] == b""


async def test_a_star_removes_every_contact() -> None:
    async with House() as house:
        anna, desk, mobile = [await house.phone(number) for number in ("101", "102", "102")]
        await mobile.unregisters(everything=True)
        assert await reaches(house, anna, desk) == 480


async def test_a_registration_that_is_too_brief_is_asked_for_again() -> None:
    async with House() as house:
        boris = await house.phone("102", registers=False)
        assert await boris.registers(10) == 60
        assert [row.data.startswith(b"SIP/2.0 423") for row in house.ladder.rows].count(True) == 1


async def test_several_contacts_in_one_request() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102", registers=False)
        await boris.registers(contacts=(f"<{boris.contact}>;q=0.5", "<sip:102@10.0.9.9>;q=0.1"))
        assert await reaches(house, anna, boris) == 180


async def test_a_full_extension_makes_room_for_the_newest_phone() -> None:
    async with House() as house:
        house.reconfigure(make_snapshot(**limited(1)))
        anna, old, new = [await house.phone(number) for number in ("101", "102", "102")]
        assert await reaches(house, anna, new) == 180
        assert old.calls == []


async def test_a_phone_cannot_register_as_somebody_else() -> None:
    async with House() as house:
        out = replacing(b"To: <sip:103@", b"To: <sip:102@", only=b"REGISTER")
        back = replacing(b"To: <sip:102@", b"To: <sip:103@")
        transport = RewritingTransport(house, "10.0.0.50", out, back)
        thief = await house.phone("103", registers=False, transport=transport)
        assert await thief.tries_to_register() == 403
        assert BORIS not in house.kept


async def test_an_extension_that_is_switched_off_cannot_register() -> None:
    extensions = make_snapshot().extensions
    off = msgspec.structs.replace(extensions[BORIS], enabled=False)
    async with House() as house:
        house.reconfigure(make_snapshot(extensions={**extensions, BORIS: off}))
        boris = await house.phone("102", registers=False)
        assert await boris.tries_to_register() == 403


async def test_registrations_outlive_the_engine() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        house.restart_engine()
        assert await reaches(house, anna, boris) == 180
        registers = [row.data.startswith(b"REGISTER") for row in house.ladder.rows].count(True)
        assert registers == 4  # two phones, each without credentials and with


async def test_a_registration_that_has_expired_meanwhile_does_not_outlive_the_engine() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102", registers=False)
        await boris.registers(120)
        boris.agent.registration.stop()
        await house.rest(121.0)
        house.restart_engine()
        assert await reaches(house, anna, boris) == 480


# ---------------------------------------------------------------- digest


def authorizations(house: House) -> list[str]:
    """The Authorization fields that were sent so far."""
    rows = [row.data.decode(errors="replace").split("\r\n") for row in house.ladder.rows]
    return [line for row in rows for line in row if line.startswith("Authorization:")]


@pytest.mark.parametrize("algorithm", ["SHA-256", "SHA-512-256", "MD5"])
async def test_every_digest_algorithm(algorithm: str) -> None:
    async with House(security={"algorithms": (algorithm,)}) as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        assert await reaches(house, anna, boris) == 180
        assert all(f"algorithm={algorithm}" in line for line in authorizations(house))


async def test_the_strongest_algorithm_is_offered_first() -> None:
    async with House() as house:
        await house.phone("101")
        challenges = [row.data for row in house.ladder.rows if row.data.startswith(b"SIP/2.0 401")]
        assert challenges[0].index(b"algorithm=SHA-256") < challenges[0].index(b"algorithm=MD5")
        assert all("algorithm=SHA-256" in line for line in authorizations(house))


async def test_an_old_nonce_is_stale_and_the_phone_goes_on_without_its_user() -> None:
    async with House(security={"nonce_ttl_s": 30}) as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        assert await reaches(house, anna, boris) == 180
        await house.rest(31.0)
        assert await reaches(house, anna, boris) == 180
        stale = [
            row.data.startswith(b"SIP/2.0 401") and b"stale=true" in row.data for row in house.ladder.rows
        ]
        assert any(stale)


async def test_credentials_are_not_taken_twice() -> None:
    async with House() as house:
        boris = await house.phone("102")
        good = next(row.data for row in house.ladder.rows if b"Authorization:" in row.data)
        thief = RawPeer(house, "10.0.6.6")
        again = good.replace(b"branch=z9hG4bK", b"branch=z9hG4bKagain").replace(b"2 REGISTER", b"3 REGISTER")
        house.network.send(
            thief.address, ("10.0.0.1", 5060), again.replace(b"10.0.0.2:5060", b"10.0.6.6:5060")
        )
        answer: Message = await thief.gets(401)
        assert "stale=true" in answer.get("www-authenticate")
        assert boris.is_registered


@pytest.mark.parametrize(
    ("field", "status"),
    [
        (f'Digest username="102", realm="{REALM}", nonce="x", uri="sip:a", response="y"', 400),
        ('Digest username="102", realm="other", nonce="x", uri="sip:a", response="y"', 401),
        ("Basic MTAyOnNlY3JldC0xMDI=", 401),
        ('Digest username="102', 400),
    ],
)
async def test_credentials_that_make_no_sense(field: str, status: int) -> None:
    async with House() as house:
        stranger = RawPeer(house, "10.0.6.6")
        who = f"<sip:102@{REALM}>"
        fields = (("Authorization", field), ("Expires", "60"))
        stranger.asks("REGISTER", f"sip:{REALM}", f"{who};tag=1", who, "call@stranger", 1, fields)
        await stranger.gets(status)


async def test_a_phone_that_is_not_there_is_not_registered() -> None:
    async with House() as house:
        boris = await house.phone("102", registers=False)
        house.network.detach(("10.0.0.1", 5060))
        with pytest.raises(NotAsTold):
            await boris.registers(within_s=10)
