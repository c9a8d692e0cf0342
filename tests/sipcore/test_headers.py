"""Typed header values: reading, writing, and what they say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore import headers
from sipcore.faults import PeerFault
from sipcore.headers import (
    CSeq,
    EventType,
    NameAddr,
    RAck,
    Reason,
    Replaces,
    SessionExpires,
    SubscriptionState,
    Via,
    parse_auth_params,
    parse_cseq,
    parse_date,
    parse_event,
    parse_name_addr,
    parse_number,
    parse_params,
    parse_rack,
    parse_reason,
    parse_refer_to,
    parse_replaces,
    parse_retry_after,
    parse_session_expires,
    parse_subscription_state,
    parse_via,
    quote,
    split_list,
    unquote,
)

READINGS: list[tuple[Callable[[str], object], str, object]] = [
    (parse_cseq, "4711 INVITE", CSeq(4711, "INVITE")),
    (parse_cseq, "0009   invite", CSeq(9, "invite")),
    (parse_cseq, "2147483647 X-method", CSeq(2147483647, "X-method")),
    (
        parse_via,
        "SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK1",
        Via("UDP", "pc33.atlanta.com", None, {"branch": "z9hG4bK1"}),
    ),
    (
        parse_via,
        "SIP / 2.0 / tcp  First.example.com : 4000 ; TTL=16 ;maddr=224.2.0.1 ; branch=a",
        Via("TCP", "first.example.com", 4000, {"ttl": "16", "maddr": "224.2.0.1", "branch": "a"}),
    ),
    (parse_via, "SIP/2.0/TLS [2001:DB8::1]:5061;rport", Via("TLS", "2001:db8::1", 5061, {"rport": None})),
    (parse_via, "SIP/2.0/UDP 192.0.2.1:5060", Via("UDP", "192.0.2.1", 5060, {})),
    (parse_via, "sip/2.0/udp host", Via("UDP", "host", None, {})),
    (parse_name_addr, "sip:a@b", NameAddr("sip:a@b")),
    (parse_name_addr, "sip:a@b;tag=1", NameAddr("sip:a@b", "", {"tag": "1"})),
    (parse_name_addr, "sip:a@b ; tag = 1", NameAddr("sip:a@b", "", {"tag": "1"})),
    (parse_name_addr, "<sip:a@b;lr>", NameAddr("sip:a@b;lr")),
    (parse_name_addr, "<sip:a@b;lr>;Expires=60", NameAddr("sip:a@b;lr", "", {"expires": "60"})),
    (parse_name_addr, "Mr. Watson <sip:w@b>;q=0.7", NameAddr("sip:w@b", "Mr. Watson", {"q": "0.7"})),
    (parse_name_addr, "Bob<sip:b@c>", NameAddr("sip:b@c", "Bob")),
    (parse_name_addr, "J\u00fcrgen (work) <sip:b@c>", NameAddr("sip:b@c", "J\u00fcrgen (work)")),
    (parse_name_addr, '"Smith, \\"J\\" <x>" <sip:b@c>', NameAddr("sip:b@c", 'Smith, "J" <x>')),
    (parse_name_addr, '""<sip:b@c>', NameAddr("sip:b@c")),
    (parse_name_addr, '"a"  \t<sip:b@c>', NameAddr("sip:b@c", "a")),
    (
        parse_name_addr,
        '<sip:b@c>;+sip.instance="<urn:uuid:0>";reg-id=1',
        NameAddr("sip:b@c", "", {"+sip.instance": "<urn:uuid:0>", "reg-id": "1"}),
    ),
    (parse_name_addr, "<sip:b@c>;tag=a==", NameAddr("sip:b@c", "", {"tag": "a=="})),
    (parse_name_addr, "<tel:+15551234>", NameAddr("tel:+15551234")),
    (parse_name_addr, "*", NameAddr("*")),
    (parse_rack, "776656 1 INVITE", RAck(776656, 1, "INVITE")),
    (
        parse_reason,
        'SIP ;cause=200 ;text="Call completed elsewhere"',
        Reason("SIP", 200, "Call completed elsewhere"),
    ),
    (parse_reason, "Q.850;cause=16", Reason("Q.850", 16)),
    (parse_reason, "preemption ;cause=one", Reason("preemption", None)),
    (
        parse_replaces,
        "425928@bobster.example.org;to-tag=7743;from-tag=6472;early-only",
        Replaces("425928@bobster.example.org", "7743", "6472", True),
    ),
    (parse_replaces, "a@b ;from-tag=1 ;to-tag=0", Replaces("a@b", "0", "1")),
    (parse_session_expires, "4000;refresher=UAC", SessionExpires(4000, "uac")),
    (parse_session_expires, "1800", SessionExpires(1800)),
    (parse_session_expires, "1800;refresher=me", SessionExpires(1800)),
    (parse_event, "dialog;id=7;x", EventType("dialog", "7", {"id": "7", "x": None})),
    (parse_event, "presence.winfo", EventType("presence.winfo")),
    (parse_subscription_state, "active;expires=60", SubscriptionState("active", "", 60)),
    (
        parse_subscription_state,
        "Terminated;reason=probation;retry-after=5",
        SubscriptionState("terminated", "probation", None, 5),
    ),
    (parse_retry_after, "18000;duration=3600", 18000),
    (parse_retry_after, "120 (I'm in a meeting)", 120),
    (parse_retry_after, "9" * 30, 2**32 - 1),
    (parse_refer_to, "<sip:c@d>", (NameAddr("sip:c@d"), {})),
    (
        parse_refer_to,
        "<sip:c@d;x=1?Replaces=12%40h%3Bto-tag%3D1%3Bfrom-tag%3D2&Require=replaces>",
        (NameAddr("sip:c@d;x=1"), {"replaces": "12@h;to-tag=1;from-tag=2", "require": "replaces"}),
    ),
    (parse_params, "", {}),
    (parse_params, ";a;B=c", {"a": None, "b": "c"}),
    (parse_params, ' ; a = "x;\\"y" ;b', {"a": 'x;"y', "b": None}),
    (parse_params, ";received=[2001:db8::1]", {"received": "[2001:db8::1]"}),
    (split_list, "", [""]),
    (split_list, "a", ["a"]),
    (split_list, " a , b ,, c", ["a", "b", "", "c"]),
    (split_list, '"a,b" <sip:c,d@e>;x="1,2", f', ['"a,b" <sip:c,d@e>;x="1,2"', "f"]),
    (
        parse_auth_params,
        'Digest realm="a, \\"b\\"", nonce="n=,", algorithm=MD5,qop="auth,auth-int",stale=FALSE',
        (
            "digest",
            {"realm": 'a, "b"', "nonce": "n=,", "algorithm": "MD5", "qop": "auth,auth-int", "stale": "FALSE"},
        ),
    ),
    (
        parse_auth_params,
        'DIGEST  uri = "sip:a" , NC=00000001',
        ("digest", {"uri": "sip:a", "nc": "00000001"}),
    ),
]


@pytest.mark.parametrize(("parse", "text", "value"), READINGS)
def test_a_value_is_read(parse: Callable[[str], object], text: str, value: object) -> None:
    assert parse(text) == value


WRITTEN = [(parse, value) for parse, _, value in READINGS if type(value).__module__ == "sipcore.headers"]


@pytest.mark.parametrize(("parse", "value"), WRITTEN)
def test_what_is_written_is_read_again(parse: Callable[[str], object], value: object) -> None:
    assert parse(str(value)) == value


BROKEN: list[tuple[Callable[[str], object], str]] = [
    (parse_cseq, ""),
    (parse_cseq, "1"),
    (parse_cseq, "INVITE 1"),
    (parse_cseq, "1 INVITE BYE"),
    (parse_cseq, "-1 INVITE"),
    (parse_cseq, "2147483648 INVITE"),
    (parse_cseq, "1" * 5000 + " INVITE"),
    (parse_cseq, "² INVITE"),
    (parse_cseq, "1 INV<ITE"),
    (parse_via, ""),
    (parse_via, "SIP/2.0/UDP"),
    (parse_via, "SIP/2.0/UDP ;branch=a"),
    (parse_via, "SIP/2.0/UDP a b"),
    (parse_via, "SIP/2.0/UDP a:70000"),
    (parse_via, "SIP/2.0/UDP a:b"),
    (parse_via, "SIP/2.0/UDP a;;branch=b"),
    (parse_via, "SIP/2.0/UDP a;branch=1;branch=2"),
    (parse_via, "SIP/2.0/UDP [::1;branch=1"),
    (parse_via, "HTTP/1.1/TCP a"),
    (parse_name_addr, ""),
    (parse_name_addr, "<>"),
    (parse_name_addr, "<sip:a@b"),
    (parse_name_addr, "sip:a@b>"),
    (parse_name_addr, "< sip:a@b>"),
    (parse_name_addr, "<sip:a b>"),
    (parse_name_addr, '"a <sip:a@b>'),
    (parse_name_addr, '"a" b <sip:a@b>'),
    (parse_name_addr, '"a"'),
    (parse_name_addr, "a, b <sip:a@b>"),
    (parse_name_addr, "a;b <sip:a@b>"),
    (parse_name_addr, 'a "b" <sip:a@b>'),
    (parse_name_addr, "sip:a@b?x=y"),
    (parse_name_addr, "sip:a@b, sip:c@d"),
    (parse_name_addr, "<sip:a@b>, <sip:c@d>"),
    (parse_name_addr, "<sip:a@b> tag=1"),
    (parse_name_addr, "<sip:a@b>;tag=1;tag=2"),
    (parse_name_addr, "<sip:a@b>;tag=a b"),
    (parse_name_addr, '<sip:a@b>;x="y'),
    (parse_name_addr, "<sip:a@b>;"),
    (parse_rack, "1 INVITE"),
    (parse_rack, "1 2 3 INVITE"),
    (parse_reason, ""),
    (parse_replaces, "a@b;to-tag=1"),
    (parse_replaces, ";to-tag=1;from-tag=2"),
    (parse_replaces, "a@b;to-tag=1;to-tag=2;from-tag=3"),
    (parse_session_expires, "soon"),
    (parse_event, "a b"),
    (parse_subscription_state, ";reason=x"),
    (parse_retry_after, "later"),
    (parse_refer_to, "<sip:a@b?x=1&x=2>"),
    (parse_params, "a;b"),
    (parse_params, ";a=;b;"),
    (parse_params, ';a="1";A="2"'),
    (parse_params, ";a=b\\c"),
    (split_list, '"a, b'),
    (split_list, "<a, b"),
    (parse_auth_params, ""),
    (parse_auth_params, "Digest"),
    (parse_auth_params, "Digest realm"),
    (parse_auth_params, 'Digest realm="a" nonce="b"'),
    (parse_auth_params, 'Digest realm="a", realm="b"'),
    (parse_auth_params, 'Digest realm="a'),
    (parse_date, "Sat, 13 Nov 2010 23:29:00 EST"),
    (parse_date, "Sat, 31 Feb 2010 23:29:00 GMT"),
    (parse_date, "Sat, 13 Foo 2010 23:29:00 GMT"),
    (lambda text: parse_number(text, "RSeq", "RFC 3262 7.1"), "4294967296"),
]


@pytest.mark.parametrize(("parse", "text"), BROKEN)
def test_a_broken_value_is_the_far_sides_fault(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(PeerFault) as caught:
        parse(text)
    assert caught.value.status == 400


def test_a_tag_is_put_on_and_compared_as_it_is() -> None:
    address = parse_name_addr('"Bob" <sip:b@c>;x=y')
    assert address.tag == ""
    assert str(address.with_tag("T1")) == '"Bob" <sip:b@c>;x=y;tag=T1'
    assert address.with_tag("T1") != address.with_tag("t1")


@pytest.mark.parametrize(
    ("text", "q", "expires"),
    [
        ("<sip:a@b>", 1.0, None),
        ("<sip:a@b>;q=0.5;expires=60", 0.5, 60),
        ("<sip:a@b>;q=1.5;expires=soon", 1.0, None),
        ("<sip:a@b>;q=0.1234;expires=-1", 1.0, None),
        ("<sip:a@b>;q=0;expires=280297596632815", 0.0, 2**32 - 1),
        ("<sip:a@b>;q;expires", 1.0, None),
    ],
)
def test_what_a_contact_asks_for(text: str, q: float, expires: int | None) -> None:
    contact = parse_name_addr(text)
    assert (contact.q, contact.expires) == (q, expires)


SEEN = [
    ("SIP/2.0/UDP 192.0.2.1:5060;branch=z", "SIP/2.0/UDP 192.0.2.1:5060;branch=z"),
    ("SIP/2.0/UDP 10.0.0.1;branch=z", "SIP/2.0/UDP 10.0.0.1;branch=z;received=192.0.2.1"),
    ("SIP/2.0/UDP 192.0.2.1;rport;branch=z", "SIP/2.0/UDP 192.0.2.1;rport=4321;branch=z;received=192.0.2.1"),
    ("SIP/2.0/UDP h;rport=1;received=9.9.9.9", "SIP/2.0/UDP h;rport=4321;received=192.0.2.1"),
    ("SIP/2.0/UDP 192.0.2.1;received=9.9.9.9", "SIP/2.0/UDP 192.0.2.1"),
]


@pytest.mark.parametrize(("sent", "seen"), SEEN)
def test_a_server_writes_down_where_a_request_came_from(sent: str, seen: str) -> None:
    assert str(parse_via(sent).seen_from("192.0.2.1", 4321)) == seen


@pytest.mark.parametrize(
    ("text", "wants", "rport", "received"),
    [
        ("SIP/2.0/UDP h", False, None, ""),
        ("SIP/2.0/UDP h;rport", True, None, ""),
        ("SIP/2.0/UDP h;rport=5062;received=192.0.2.1", True, 5062, "192.0.2.1"),
        ("SIP/2.0/UDP h;rport=99999;received=[2001:db8::1]", True, None, "2001:db8::1"),
        ("SIP/2.0/UDP h;rport=x", True, None, ""),
    ],
)
def test_what_a_response_says_about_the_way_back(
    text: str, wants: bool, rport: int | None, received: str
) -> None:
    via = parse_via(text)
    assert (via.wants_rport, via.rport, via.received) == (wants, rport, received)


@pytest.mark.parametrize(
    ("branch", "has"), [("z9hG4bKx", True), ("Z9HG4BKx", True), ("z9hG4bK", False), ("390skdjuw", False)]
)
def test_only_a_branch_with_cookie_and_more_names_a_transaction(branch: str, has: bool) -> None:
    assert parse_via(f"SIP/2.0/UDP h;branch={branch}").has_transaction_id is has


def test_dates_are_written_in_gmt() -> None:
    when = datetime(2010, 11, 14, 0, 29, 0, tzinfo=timezone(timedelta(hours=1)))
    assert headers.format_date(when) == "Sat, 13 Nov 2010 23:29:00 GMT"
    assert parse_date("Sat, 13 Nov 2010 23:29:00 GMT") == when.astimezone(UTC)


@given(st.text())
def test_a_quoted_string_means_what_was_quoted(text: str) -> None:
    shown = text.replace("\r", " ").replace("\n", " ")
    assert unquote(quote(text)) == shown
    assert parse_name_addr(f"{quote(text)} <sip:a@b>").display_name == shown


@given(
    st.dictionaries(
        st.text("abcxyz-09.+", min_size=1, max_size=8),
        st.none() | st.text(max_size=10).map(lambda text: text.replace("\r", " ").replace("\n", " ")),
    )
)
def test_any_parameters_survive_writing_and_reading(params: dict[str, str | None]) -> None:
    assert parse_params(headers.format_params(params)) == params


@given(st.text('";<>,=\\ \tab<sip:x>', max_size=60))
def test_the_usual_form_is_read_like_any_other(text: str) -> None:
    """A short cut for what everyone writes must not read it in another way than the long way round."""
    assert _reading(headers.parse_name_addr, text) == _reading(headers._parse_name_addr_carefully, text)


def _reading(parse: Callable[[str], object], text: str) -> object:
    try:
        return parse(text)
    except PeerFault as fault:
        return fault.status
