"""REGISTER as phones send it (RFC 3261 section 10), and tenants that never meet."""

from __future__ import annotations

import re

import pytest
from sipp_ladder import Ladder, Phone
from sipp_runner import Trace
from wire_accounts import NEIGHBOURS, OTHER_REALM, SMALL, TWO_PHONES, fresh_phone, phone_of
from wire_exchange import Exchange

pytestmark = pytest.mark.wire


def _contacts(trace: Trace) -> list[str]:
    """The contacts of the last 200, without their parameters, in alphabetical order."""
    return sorted(re.findall(r"<(sip:[^>]+)>", ",".join(trace.got(200).headers("Contact"))))


def _second(phone: Phone, port: int) -> Phone:
    """Another phone with the same account."""
    return Phone(number=phone.number, password=phone.password, realm=phone.realm, host=phone.host, port=port)


def test_a_phone_registers_refreshes_asks_and_leaves(sipp: Exchange) -> None:
    bob = fresh_phone()
    for expires_s in (300, 600):
        trace = sipp.run(Ladder(bob).register(expires_s).receive(200))
        assert re.search(rf"expires={expires_s}\b", trace.got(200).header("Contact"))
    assert _contacts(sipp.run(Ladder(bob).register(300, contact="").receive(200))) == [bob.contact]
    assert _contacts(sipp.run(Ladder(bob).register(0).receive(200))) == []
    assert _contacts(sipp.run(Ladder(bob).register(300, contact="").receive(200))) == []


def test_a_star_removes_every_contact(sipp: Exchange) -> None:
    desk = fresh_phone()
    sipp.register(desk, _second(desk, 5062))
    assert len(_contacts(sipp.run(Ladder(desk).register(300, contact="").receive(200)))) == 2
    assert _contacts(sipp.run(Ladder(desk).register(0, contact="*").receive(200))) == []


def test_several_phones_of_one_extension_are_all_told(sipp: Exchange) -> None:
    desk = fresh_phone()
    mobile = _second(desk, 5062)
    sipp.register(desk)
    trace = sipp.run(Ladder(mobile).register(300).receive(200))
    assert _contacts(trace) == sorted([desk.contact, mobile.contact])


def test_one_phone_more_than_allowed_takes_the_place_of_the_oldest(sipp: Exchange) -> None:
    desk = phone_of(TWO_PHONES[0])
    mobile, tablet = _second(desk, 5062), _second(desk, 5064)
    sipp.register(desk)
    sipp.register(mobile)
    trace = sipp.run(Ladder(tablet).register(300).receive(200))
    assert _contacts(trace) == [mobile.contact, tablet.contact]


def test_a_registration_that_is_too_brief_is_told_the_least(sipp: Exchange) -> None:
    trace = sipp.run(Ladder(fresh_phone()).register(10).receive(423))
    assert trace.got(423).header("Min-Expires") == "60"


def test_an_account_may_not_register_for_another(sipp: Exchange) -> None:
    mallory, bob = fresh_phone(), fresh_phone()
    ladder = Ladder(mallory).register(300)
    forged = ladder.xml().replace(f"To: <sip:{mallory.number}@", f"To: <sip:{bob.number}@")
    ladder.xml = lambda: forged  # type: ignore[method-assign]
    sipp.run(ladder.receive(403))


def test_the_same_number_of_two_tenants_is_two_phones(sipp: Exchange) -> None:
    here = phone_of(NEIGHBOURS[1])
    there = phone_of(SMALL[1])
    assert here.number == there.number
    sipp.register(here, there)
    ours = sipp.wait_for_call(Ladder(here).is_called().answer().hung_up())
    sipp.run(Ladder(phone_of(NEIGHBOURS[2])).invite(here.number).connected().bye())
    theirs = sipp.wait_for_call(Ladder(there).is_called().answer().hung_up())
    sipp.run(Ladder(phone_of(SMALL[2])).invite(there.number).connected().bye())
    assert OTHER_REALM in ours.ends_well().got("INVITE").header("From")
    assert OTHER_REALM not in theirs.ends_well().got("INVITE").header("From")


def test_a_phone_of_a_neighbour_cannot_be_called(sipp: Exchange) -> None:
    here, there = phone_of(NEIGHBOURS[3]), phone_of(SMALL[3])
    sipp.register(here)
    sipp.run(Ladder(there).invite(here.number).receive(480).ack_failure())


def test_a_tenant_with_one_call_is_full(sipp: Exchange) -> None:
    first, second, bob, carol = (phone_of(account) for account in SMALL[4:8])
    sipp.register(bob)
    callee = sipp.wait_for_call(Ladder(bob).is_called().answer().hung_up())
    call = sipp.start(Ladder(first).invite(bob.number).connected().pause(1000).bye())
    callee.sees("ACK")
    sipp.run(Ladder(second).invite(carol.number).receive(486).ack_failure())
    call.ends_well()
    callee.ends_well()
