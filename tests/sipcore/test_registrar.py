"""What a REGISTER does to bindings (RFC 3261 10.3, RFC 3327, RFC 5626)."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.faults import PeerFault
from sipcore.flow import Flow, Transport
from sipcore.message import Request
from sipcore.registrar import Binding, Limits, Outcome, WhenFull, register
from sipcore.uri import equivalent

NOW = 1_800_000_000.0
PHONE = "sip:1001@192.0.2.7:5060"
FLOW = Flow(Transport.UDP, ("198.51.100.1", 5060), ("192.0.2.7", 5060))
UUID = "<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"


def request(*contacts: str, cseq: int = 1, call_id: str = "one", vias: int = 1, **headers: str) -> Request:
    fields = [("Via", f"SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK{n}") for n in range(vias)]
    fields += [("From", "<sip:1001@example.com>;tag=a"), ("To", "<sip:1001@example.com>")]
    fields += [("Call-ID", call_id), ("CSeq", f"{cseq} REGISTER")]
    fields += [("Contact", contact) for contact in contacts]
    fields += [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Request("REGISTER", "sip:example.com", fields)


def apply(
    message: Request,
    current: tuple[Binding, ...] = (),
    limits: Limits = Limits(),  # noqa: B008
    flow: Flow = FLOW,
    now: float = NOW,
) -> Outcome:
    return register(message, flow, current, limits, now)


def contacts_of(outcome: Outcome) -> list[str]:
    return [value for name, value in outcome.headers if name == "Contact"]


def uris(bindings: tuple[Binding, ...]) -> list[str]:
    return [binding.contact for binding in bindings]


# ---------------------------------------------------------------- the ordinary life of a binding


def test_a_phone_registers():
    outcome = apply(request(f"<{PHONE}>", Expires="300", User_Agent="Phone/1"))
    assert (outcome.status, outcome.reason) == (200, "OK")
    assert contacts_of(outcome) == [f"<{PHONE}>;expires=300"]
    assert outcome.added == outcome.bindings
    (binding,) = outcome.bindings
    assert binding == Binding(PHONE, FLOW, NOW + 300, NOW, "one", 1, user_agent="Phone/1")


def test_a_refresh_changes_the_one_binding():
    first = apply(request(f"<{PHONE}>")).bindings
    outcome = apply(request(f"<{PHONE}>", cseq=2, Expires="600"), first, now=NOW + 100)
    assert outcome.changed == outcome.bindings
    assert (outcome.added, outcome.removed) == ((), ())
    assert (outcome.bindings[0].expires_at, outcome.bindings[0].cseq) == (NOW + 700, 2)


def test_a_request_without_contacts_lists_them_with_what_is_left():
    first = apply(request(f"<{PHONE}>;q=0.25", "<sip:1001@192.0.2.8>;expires=60", Expires="300")).bindings
    outcome = apply(request(cseq=2), first, now=NOW + 50)
    assert contacts_of(outcome) == [f"<{PHONE}>;expires=250;q=0.25", "<sip:1001@192.0.2.8>;expires=10"]
    assert outcome.bindings == first
    assert (outcome.added, outcome.changed, outcome.removed) == ((), (), ())


def test_expires_zero_removes_one_contact():
    first = apply(request(f"<{PHONE}>", "<sip:1001@192.0.2.8>")).bindings
    outcome = apply(request(f"<{PHONE}>;expires=0", cseq=2), first)
    assert uris(outcome.bindings) == ["sip:1001@192.0.2.8"]
    assert uris(outcome.removed) == [PHONE]


def test_removing_what_is_not_there_is_fine():
    assert apply(request(f"<{PHONE}>", Expires="0")) == Outcome(200, "OK", (), ())


def test_a_star_removes_all():
    first = apply(request(f"<{PHONE}>", "<sip:1001@192.0.2.8>")).bindings
    outcome = apply(request("*", cseq=2, Expires="0"), first)
    assert (outcome.bindings, outcome.removed, outcome.headers) == ((), first, ())


@pytest.mark.parametrize(
    "message",
    [
        request("*"),
        request("*", Expires="60"),
        request("*", f"<{PHONE}>", Expires="0"),
        request("*;expires=0"),
        request("<>"),
        request("nonsense"),
        request("<mailto:a@example.com>"),
        request("<tel:+15551234>"),
        request("<sip:" + "a" * 1100 + "@192.0.2.7>"),
        request(f"<{PHONE}>", call_id="x" * 300),
        request(f'<{PHONE}>;+sip.instance="{"x" * 300}"'),
    ],
)
def test_contacts_that_make_no_sense_are_the_peers_fault(message: Request):
    with pytest.raises(PeerFault):
        apply(message)


def test_what_has_expired_is_dropped_and_told():
    first = apply(request(f"<{PHONE}>", Expires="60")).bindings
    outcome = apply(request("<sip:1001@192.0.2.8>", cseq=2), first, now=NOW + 60)
    assert uris(outcome.bindings) == ["sip:1001@192.0.2.8"]
    assert uris(outcome.removed) == [PHONE]


# ---------------------------------------------------------------- how long


@pytest.mark.parametrize(
    ("contact", "headers", "granted_s"),
    [
        (f"<{PHONE}>", {}, 3600),
        (f"<{PHONE}>", {"Expires": "120"}, 120),
        (f"<{PHONE}>;expires=240", {"Expires": "120"}, 240),
        (f"<{PHONE}>", {"Expires": "999999"}, 7200),
        (f"<{PHONE}>;expires=99999999999999999999", {}, 7200),
        (f"<{PHONE}>;expires=soon", {"Expires": "120"}, 120),
        (f"<{PHONE}>;expires=soon", {}, 3600),
        (f"<{PHONE}>", {"Expires": "later"}, 3600),
        (f"<{PHONE}>", {"Expires": "60"}, 60),
    ],
)
def test_the_time_is_the_contacts_then_the_headers_then_ours(
    contact: str, headers: dict[str, str], granted_s: int
):
    outcome = apply(request(contact, **headers))
    assert outcome.bindings[0].expires_at == NOW + granted_s
    assert contacts_of(outcome) == [f"<{PHONE}>;expires={granted_s}"]


def test_too_brief_is_refused_whole():
    first = apply(request(f"<{PHONE}>")).bindings
    outcome = apply(request("<sip:1001@192.0.2.8>", f"<{PHONE}>;expires=59", cseq=2), first)
    assert (outcome.status, outcome.reason) == (423, "Interval Too Brief")
    assert outcome.headers == (("Min-Expires", "60"),)
    assert outcome.bindings == first


def test_an_hour_is_never_too_brief():
    limits = Limits(min_expires_s=7200)
    assert apply(request(f"<{PHONE}>", Expires="3600"), limits=limits).status == 200
    assert apply(request(f"<{PHONE}>", Expires="3599"), limits=limits).status == 423


# ---------------------------------------------------------------- which binding, and in which order


@pytest.mark.parametrize(
    ("again", "same"),
    [
        ("sip:1001@192.0.2.7:5060", True),
        ("SIP:1001@192.0.2.7:5060", True),
        ("sip:%31001@192.0.2.7:5060", True),
        ("sip:1001@192.0.2.7:5060;ob", True),
        ("sip:1001@192.0.2.7", False),
        ("sip:1001@192.0.2.7:5060;transport=tcp", False),
        ("sip:1002@192.0.2.7:5060", False),
    ],
)
def test_contacts_compare_as_uris(again: str, same: bool):
    first = apply(request(f"<{PHONE}>")).bindings
    outcome = apply(request(f"<{again}>", cseq=2), first)
    assert len(outcome.bindings) == (1 if same else 2)
    assert outcome.bindings[-1].contact == again


@pytest.mark.parametrize(
    ("call_id", "cseq", "status"), [("one", 5, 500), ("one", 4, 500), ("one", 6, 200), ("two", 1, 200)]
)
@pytest.mark.parametrize("contact", [f"<{PHONE}>", f"<{PHONE}>;expires=0", "*"])
def test_an_older_request_of_the_same_call_id_changes_nothing(
    contact: str, call_id: str, cseq: int, status: int
):
    first = apply(request(f"<{PHONE}>", cseq=5)).bindings
    expires = {"Expires": "0"} if contact == "*" else {}
    outcome = apply(request(contact, cseq=cseq, call_id=call_id, **expires), first)
    assert outcome.status == status
    assert (outcome.bindings == first) == (status == 500)


def test_one_contact_out_of_order_stops_the_others_too():
    first = apply(request(f"<{PHONE}>", cseq=5)).bindings
    outcome = apply(request("<sip:1001@192.0.2.8>", f"<{PHONE}>", cseq=5), first)
    assert (outcome.status, outcome.bindings) == (500, first)


def test_the_same_contact_twice_in_one_request_is_one_binding():
    outcome = apply(request(f"<{PHONE}>;q=0.1", f"<{PHONE}>;q=0.9"))
    assert [binding.q for binding in outcome.bindings] == [0.9]


# ---------------------------------------------------------------- how many


def full_house(limits: Limits) -> tuple[Binding, ...]:
    bindings: tuple[Binding, ...] = ()
    for n in range(limits.max_contacts):
        message = request(f"<sip:1001@192.0.2.{n}>", call_id=f"call-{n}")
        bindings = apply(message, bindings, limits, now=NOW + n).bindings
    return bindings


def test_the_oldest_makes_room():
    limits = Limits(max_contacts=3)
    outcome = apply(request("<sip:1001@192.0.2.99>"), full_house(limits), limits, now=NOW + 10)
    assert uris(outcome.bindings) == ["sip:1001@192.0.2.1", "sip:1001@192.0.2.2", "sip:1001@192.0.2.99"]
    assert uris(outcome.removed) == ["sip:1001@192.0.2.0"]


def test_what_the_request_refreshes_does_not_make_room():
    limits = Limits(max_contacts=3)
    message = request("<sip:1001@192.0.2.99>", "<sip:1001@192.0.2.0>")
    outcome = apply(message, full_house(limits), limits, now=NOW + 10)
    assert uris(outcome.removed) == ["sip:1001@192.0.2.1"]


def test_a_full_house_can_refuse():
    limits = Limits(max_contacts=3, when_full=WhenFull.REFUSE)
    bindings = full_house(limits)
    outcome = apply(request("<sip:1001@192.0.2.99>"), bindings, limits, now=NOW + 10)
    assert (outcome.status, outcome.bindings) == (403, bindings)
    assert apply(request("<sip:1001@192.0.2.2>"), bindings, limits, now=NOW + 10).status == 200


@pytest.mark.parametrize("count", [4, 30])
def test_more_contacts_than_allowed_in_one_request_are_refused(count: int):
    contacts = [f"<sip:1001@192.0.2.{n}>" for n in range(count)]
    assert apply(request(*contacts), limits=Limits(max_contacts=3)).status == 403


def test_a_limit_that_was_lowered_does_not_hinder_a_refresh():
    bindings = full_house(Limits(max_contacts=3))
    outcome = apply(request("<sip:1001@192.0.2.1>", call_id="new"), bindings, Limits(max_contacts=2))
    assert (outcome.status, len(outcome.bindings)) == (200, 3)


# ---------------------------------------------------------------- NAT, Path, outbound


@pytest.mark.parametrize(
    ("contact", "transport", "behind_nat"),
    [
        ("sip:1001@192.0.2.7:5060", Transport.UDP, False),
        ("sip:1001@192.0.2.7", Transport.UDP, False),
        ("sip:1001@192.0.2.7:6060", Transport.UDP, True),
        ("sip:1001@192.0.2.7:6060", Transport.TCP, False),
        ("sip:1001@10.0.0.3:5060", Transport.UDP, True),
        ("sip:1001@10.0.0.3", Transport.TLS, True),
        ("sip:abc@x7f.invalid;transport=ws", Transport.WSS, True),
    ],
)
def test_a_contact_that_names_another_place_is_behind_nat(
    contact: str, transport: Transport, behind_nat: bool
):
    flow = msgspec.structs.replace(FLOW, transport=transport)
    binding = apply(request(f"<{contact}>"), flow=flow).bindings[0]
    assert (binding.behind_nat, binding.flow) == (behind_nat, flow)


PATH = "<sip:edge.example.com;lr;ob>"


def test_a_path_is_kept_and_told():
    message = request(f"<{PHONE}>", Path=f"<sip:core.example.com;lr>, {PATH}", Supported="path")
    outcome = apply(message)
    assert outcome.bindings[0].path == ("<sip:core.example.com;lr>", PATH)
    assert not outcome.bindings[0].behind_nat
    assert [value for name, value in outcome.headers if name == "Path"] == list(outcome.bindings[0].path)


def test_a_path_that_the_phone_knows_nothing_of_is_refused_unless_the_operator_trusts_the_proxies():
    message = request(f"<{PHONE}>", Path=PATH)
    refused = apply(message)
    assert (refused.status, refused.headers) == (420, (("Unsupported", "path"),))
    assert apply(message, limits=Limits(path_unasked=True)).bindings[0].path == (PATH,)


@pytest.mark.parametrize("path", [", ".join([PATH] * 11), "<sip:" + "a" * 1100 + ">", "<nonsense>", "<sip:x"])
def test_a_path_that_makes_no_sense_is_the_peers_fault(path: str):
    with pytest.raises(PeerFault):
        apply(request(f"<{PHONE}>", Path=path, Supported="path"))


def test_an_extension_that_we_do_not_have_is_refused_by_name():
    outcome = apply(request(f"<{PHONE}>", Require="gruu, path"))
    assert (outcome.status, outcome.headers) == (420, (("Unsupported", "gruu"),))


def outbound(uri: str, reg_id: object = 1, **headers: str) -> Request:
    contact = f'<{uri}>;+sip.instance="{UUID}";reg-id={reg_id}'
    return request(contact, call_id=uri, Supported="path, outbound", **headers)


def test_a_new_flow_takes_the_place_of_the_old_one():
    first = apply(outbound("sip:1001@10.0.0.1:1111")).bindings
    outcome = apply(outbound("sip:1001@10.0.0.1:2222"), first)
    assert uris(outcome.bindings) == ["sip:1001@10.0.0.1:2222"]
    assert outcome.changed == outcome.bindings
    assert ("Require", "outbound") in outcome.headers
    assert contacts_of(outcome) == [f'<sip:1001@10.0.0.1:2222>;expires=3600;+sip.instance="{UUID}";reg-id=1']


def test_two_flows_of_one_instance_are_two_bindings():
    first = apply(outbound(PHONE, 1)).bindings
    assert [each.reg_id for each in apply(outbound(PHONE, 2), first).bindings] == [1, 2]


def test_a_phone_that_takes_up_outbound_leaves_no_ghost():
    first = apply(request(f"<{PHONE}>")).bindings
    assert [each.reg_id for each in apply(outbound(PHONE), first).bindings] == [1]


def test_reg_id_means_nothing_without_an_instance_or_without_outbound():
    bare = request(f"<{PHONE}>;reg-id=1", Supported="outbound")
    unsupported = request(f'<{PHONE}>;+sip.instance="{UUID}";reg-id=1')
    assert [apply(each).bindings[0].reg_id for each in (bare, unsupported)] == [0, 0]


@pytest.mark.parametrize("reg_id", ["0", "-1", "x", "2147483648", "99999999999999"])
def test_a_reg_id_that_is_none_is_the_peers_fault(reg_id: str):
    with pytest.raises(PeerFault):
        apply(outbound(PHONE, reg_id))


def test_two_flows_in_one_request_are_the_peers_fault():
    contacts = [f'<{PHONE}>;+sip.instance="{UUID}";reg-id={n}' for n in (1, 2)]
    with pytest.raises(PeerFault):
        apply(request(*contacts, Supported="outbound"))


def test_a_first_hop_without_outbound_cannot_keep_a_flow():
    assert apply(outbound(PHONE, vias=2)).status == 439  # type: ignore[arg-type]
    assert apply(outbound(PHONE, vias=2, Path="<sip:edge.example.com;lr>")).status == 439  # type: ignore[arg-type]
    assert apply(outbound(PHONE, vias=2, Path=PATH)).status == 200  # type: ignore[arg-type]


def test_bindings_are_plain_data():
    bindings = apply(outbound(PHONE)).bindings
    packed = msgspec.msgpack.encode(bindings)
    assert msgspec.msgpack.decode(packed, type=tuple[Binding, ...]) == bindings


# ---------------------------------------------------------------- whatever comes

phones = st.sampled_from([f"sip:1001@192.0.2.{n}" for n in range(6)])
contact_values = st.one_of(
    st.builds("<{}>;expires={}".format, phones, st.sampled_from([0, 30, 60, 300, 10**9])),
    st.builds("<{}>;q={}".format, phones, st.sampled_from(["0.5", "x", "1"])),
    st.builds(f'<{{}}>;+sip.instance="{UUID}";reg-id={{}}'.format, phones, st.integers(0, 3)),
    st.just("*"),
)
requests = st.builds(
    lambda contacts, cseq, call_id, expires: request(
        *contacts, cseq=cseq, call_id=call_id, Expires=expires, Supported="path, outbound"
    ),
    st.lists(contact_values, max_size=5),
    st.integers(0, 20),
    st.sampled_from(["one", "two"]),
    st.sampled_from(["0", "60", "7200", "x"]),
)


@given(st.lists(st.tuples(requests, st.floats(0, 400)), max_size=8), st.integers(1, 4))
def test_what_must_hold_after_any_sequence(steps: list[tuple[Request, float]], cap: int):
    limits = Limits(max_contacts=cap)
    bindings: tuple[Binding, ...] = ()
    now = NOW
    for message, pause_s in steps:
        now += pause_s
        with suppress(PeerFault):
            outcome = apply(message, bindings, limits, now=now)
            after = outcome.bindings
            refused = outcome.status != 200
            assert len(after) <= cap
            assert not refused or after == bindings
            assert all(now < each.expires_at <= now + limits.max_expires_s for each in after) or refused
            assert not set(outcome.removed) & set(after)
            assert {*outcome.added, *outcome.changed} <= set(after)
            assert set(after) - set(bindings) == {*outcome.added, *outcome.changed}
            plain = [each.contact for each in after if not each.reg_id]
            assert not any(equivalent(a, b) for n, a in enumerate(plain) for b in plain[:n])
            flows = [(each.instance, each.reg_id) for each in after if each.reg_id]
            assert len(flows) == len(set(flows))
            bindings = after
