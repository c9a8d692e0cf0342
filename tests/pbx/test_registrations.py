"""The live table of where phones are (`pbx/registrations.py`)."""

from __future__ import annotations

import pytest

from conf.snapshot import TenantId
from pbx.registrations import Registrations
from sipcore.flow import Flow, Transport
from sipcore.message import Request
from sipcore.registrar import Limits

KEY, OTHER = (TenantId(1), "101"), (TenantId(2), "101")
NOW = 1_800_000_000.0
HERE = ("198.51.100.1", 5060)


def udp(host: str = "192.0.2.7") -> Flow:
    return Flow(Transport.UDP, HERE, (host, 5060))


def tcp(connection: int) -> Flow:
    return Flow(Transport.TCP, HERE, ("192.0.2.7", 40000), connection=connection)


def request(*contacts: str, expires_s: int = 300, cseq: int = 1) -> Request:
    fields = [("From", "<sip:101@a.example>;tag=1"), ("To", "<sip:101@a.example>"), ("Call-ID", "call")]
    fields += [("CSeq", f"{cseq} REGISTER"), ("Expires", str(expires_s))]
    return Request("REGISTER", "sip:a.example", [*fields, *(("Contact", contact) for contact in contacts)])


def table(**how: bool) -> Registrations:
    return Registrations(Limits(), **how)


def reached(
    registrations: Registrations, now: float = NOW, key: tuple[TenantId, str] = KEY
) -> list[list[str]]:
    return [[target.uri for target in group] for group in registrations.reach(key, now)]


def test_nobody_is_reached_who_did_not_register() -> None:
    assert table().reach(KEY, NOW) == []


def test_a_phone_is_reached_where_its_register_came_from() -> None:
    registrations = table()
    registrations.register(KEY, request("<sip:101@10.0.0.9>"), udp(), 10, NOW)
    ((target,),) = registrations.reach(KEY, NOW)
    assert (target.uri, target.flow) == ("sip:101@10.0.0.9", udp())
    assert registrations.reach(OTHER, NOW) == []


def test_a_phone_is_reached_at_its_contact_where_that_is_wanted() -> None:
    registrations = table(follow_flow=False)
    registrations.register(KEY, request("<sip:101@10.0.0.9>"), udp(), 10, NOW)
    ((target,),) = registrations.reach(KEY, NOW)
    assert target.flow is None


def test_contacts_of_one_preference_ring_together_the_best_first() -> None:
    registrations = table()
    contacts = ("<sip:a@h>;q=0.5", "<sip:b@h>", "<sip:c@h>;q=0.5", "<sip:d@h>;q=0.1")
    registrations.register(KEY, request(*contacts), udp(), 10, NOW)
    assert reached(registrations) == [["sip:b@h"], ["sip:a@h", "sip:c@h"], ["sip:d@h"]]


def test_a_binding_is_over_on_the_second() -> None:
    registrations = table()
    registrations.register(KEY, request("<sip:a@h>"), udp(), 10, NOW)
    assert reached(registrations, NOW + 299.9) == [["sip:a@h"]]
    assert reached(registrations, NOW + 300.0) == []


def test_what_changes_is_to_be_kept_and_what_does_not_is_not() -> None:
    registrations = table()
    _, kept = registrations.register(KEY, request("<sip:a@h>"), udp(), 10, NOW)
    assert kept is not None
    _, unchanged = registrations.register(KEY, request(), udp(), 10, NOW)
    assert unchanged is None
    _, removed = registrations.register(KEY, request("<sip:a@h>", expires_s=0, cseq=2), udp(), 10, NOW)
    assert removed is not None
    assert removed.payload == b""
    assert len(registrations) == 0


def test_a_refused_register_changes_nothing() -> None:
    registrations = table()
    outcome, kept = registrations.register(KEY, request("<sip:a@h>", expires_s=5), udp(), 10, NOW)
    assert (outcome.status, kept, len(registrations)) == (423, None, 0)


@pytest.mark.parametrize(("most", "left"), [(1, ["sip:b@h"]), (2, ["sip:a@h", "sip:b@h"])])
def test_each_extension_has_its_own_number_of_contacts(most: int, left: list[str]) -> None:
    registrations = table()
    registrations.register(KEY, request("<sip:a@h>"), udp(), most, NOW)
    registrations.register(KEY, request("<sip:b@h>", cseq=2), udp(), most, NOW + 1)
    assert sorted(binding.contact for binding in registrations.of(KEY)) == left


def test_what_was_kept_comes_back_without_what_has_expired() -> None:
    before, after = table(), table()
    contacts = ("<sip:long@h>;expires=300", "<sip:short@h>;expires=60")
    _, kept = before.register(KEY, request(*contacts), udp(), 10, NOW)
    assert kept is not None
    after.restore(KEY, kept.payload, NOW + 100)
    assert reached(after, NOW + 100) == [["sip:long@h"]]


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x93\x01\x02\x03", b"nonsense"])
def test_what_cannot_be_read_any_more_does_not_come_back(payload: bytes) -> None:
    registrations = table()
    registrations.restore(KEY, payload, NOW)
    assert registrations.reach(KEY, NOW) == []


def flow_of(phone: str, reg_id: int, connection: int, cseq: int) -> tuple[Request, Flow]:
    """A REGISTER over one of the flows of a phone that knows outbound (RFC 5626)."""
    contact = f'<sip:{phone}{reg_id}@h;transport=tcp>;+sip.instance="<urn:{phone}>";reg-id={reg_id}'
    return request(contact, cseq=cseq).with_added(("Supported", "outbound")), tcp(connection)


def test_a_phone_with_two_flows_rings_once_and_has_one_in_reserve() -> None:
    registrations = table()
    for cseq, (phone, reg_id) in enumerate((("a", 1), ("a", 2), ("b", 1)), 1):
        registrations.register(KEY, *flow_of(phone, reg_id, cseq, cseq), 10, NOW + cseq)
    ((first, second),) = registrations.reach(KEY, NOW + 5)
    assert (first.uri, [spare.uri for spare in first.spare]) == (
        "sip:a2@h;transport=tcp",
        ["sip:a1@h;transport=tcp"],
    )
    assert (second.uri, second.spare) == ("sip:b1@h;transport=tcp", ())
    registrations.flow_lost(tcp(2))
    assert reached(registrations, NOW + 5) == [["sip:a1@h;transport=tcp", "sip:b1@h;transport=tcp"]]


def test_a_connection_does_not_outlive_the_process() -> None:
    before, after = table(), table()
    _, kept = before.register(KEY, request("<sip:a@h;transport=tcp>"), tcp(7), 10, NOW)
    assert kept is not None
    ((target,),) = before.reach(KEY, NOW)
    assert target.flow == tcp(7)
    after.restore(KEY, kept.payload, NOW)
    ((target,),) = after.reach(KEY, NOW)
    assert target.flow is None


def test_a_connection_that_is_gone_takes_its_bindings_along() -> None:
    registrations = table()
    registrations.register(KEY, request("<sip:a@h;transport=tcp>"), tcp(7), 10, NOW)
    registrations.register(KEY, request("<sip:b@h>", cseq=2), udp(), 10, NOW)
    assert [(change.tenant, change.number) for change in registrations.flow_lost(tcp(7))] == [KEY]
    assert reached(registrations) == [["sip:b@h"]]
    assert registrations.flow_lost(tcp(7)) == []
    assert registrations.flow_lost(udp()) == []


def test_a_phone_with_two_lines_on_one_connection_loses_both_with_it() -> None:
    registrations = table()
    registrations.register(KEY, request("<sip:a@h;transport=tcp>"), tcp(7), 10, NOW)
    registrations.register(OTHER, request("<sip:b@h;transport=tcp>"), tcp(7), 10, NOW)
    assert {(change.tenant, change.number) for change in registrations.flow_lost(tcp(7))} == {KEY, OTHER}
    assert registrations.reach(KEY, NOW) == registrations.reach(OTHER, NOW) == []
    assert registrations.flow_lost(tcp(7)) == []


def test_a_line_that_unregistered_leaves_the_other_one_of_its_connection() -> None:
    registrations = table()
    registrations.register(KEY, request("<sip:a@h;transport=tcp>"), tcp(7), 10, NOW)
    registrations.register(OTHER, request("<sip:b@h;transport=tcp>"), tcp(7), 10, NOW)
    registrations.register(KEY, request("<sip:a@h;transport=tcp>;expires=0", cseq=2), tcp(7), 10, NOW)
    assert [(change.tenant, change.number) for change in registrations.flow_lost(tcp(7))] == [OTHER]


def test_a_sweep_forgets_what_has_expired() -> None:
    registrations = table()
    registrations.register(KEY, request("<sip:a@h>"), udp(), 10, NOW)
    registrations.register(OTHER, request("<sip:b@h>", expires_s=600), udp(), 10, NOW)
    assert registrations.sweep(NOW + 299) == []
    (change,) = registrations.sweep(NOW + 300)
    assert (change.tenant, change.number, change.payload) == (*KEY, b"")
    assert len(registrations) == 1


def test_phones_behind_a_nat_are_known_as_such() -> None:
    registrations = table()
    registrations.register(KEY, request("<sip:101@10.0.0.9>"), udp(), 10, NOW)
    registrations.register(OTHER, request("<sip:101@192.0.2.7>"), udp(), 10, NOW)
    assert registrations.behind_nat(NOW) == [udp()]
    assert registrations.behind_nat(NOW + 300) == []
