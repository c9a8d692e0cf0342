"""URIs: reading, writing, and when two are the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.faults import PeerFault
from sipcore.uri import SipUri, equivalent, parse_hostport, parse_uri, sip_uri

READINGS = [
    ("sip:alice@atlanta.com", SipUri("sip", "alice", "atlanta.com")),
    (
        "sip:alice:secret@atlanta.com;transport=tcp",
        SipUri("sip", "alice", "atlanta.com", None, "secret", {"transport": "tcp"}),
    ),
    (
        "sips:alice@atlanta.com?subject=project%20x&priority=urgent",
        SipUri("sips", "alice", "atlanta.com", headers="subject=project%20x&priority=urgent"),
    ),
    (
        "sip:+1-212-555-1212:1234@gateway.com;user=phone",
        SipUri("sip", "+1-212-555-1212", "gateway.com", None, "1234", {"user": "phone"}),
    ),
    ("sip:atlanta.com;method=REGISTER", SipUri("sip", "", "atlanta.com", params={"method": "REGISTER"})),
    ("sip:alice;day=tuesday@atlanta.com", SipUri("sip", "alice;day=tuesday", "atlanta.com")),
    (
        "SIP:Alice@AtLanta.COM:5070;LR;Foo=Bar",
        SipUri("sip", "Alice", "atlanta.com", 5070, params={"lr": None, "foo": "Bar"}),
    ),
    ("sip:192.0.2.1:5061", SipUri("sip", "", "192.0.2.1", 5061)),
    ("sip:a@[2001:DB8:0::1]:5061;lr", SipUri("sip", "a", "2001:db8::1", 5061, params={"lr": None})),
    ("sip:%61%20b@h", SipUri("sip", "a b", "h")),
    ("sip:#21#@pbx", SipUri("sip", "#21#", "pbx")),
    ("sip:j\u00f6rg@h", SipUri("sip", "j\u00f6rg", "h")),
    ("sip:a@h;p=%3b%20", SipUri("sip", "a", "h", params={"p": "; "})),
    ("sip:a@under_score.example.", SipUri("sip", "a", "under_score.example.")),
    ("sip:b@h?Replaces=id@host%3Bto-tag=1", SipUri("sip", "b", "h", headers="Replaces=id@host%3Bto-tag=1")),
    ("tel:+358-555-1234567", SipUri("tel", "+3585551234567", "")),
    (
        "tel:7042;phone-context=example.com",
        SipUri("tel", "7042", "", params={"phone-context": "example.com"}),
    ),
    ("tel:*69#", SipUri("tel", "*69#", "")),
]


@pytest.mark.parametrize(("text", "uri"), READINGS)
def test_a_uri_is_taken_apart(text: str, uri: SipUri) -> None:
    assert parse_uri(text) == uri


@pytest.mark.parametrize(("_", "uri"), READINGS)
def test_what_is_written_is_read_again(_: str, uri: SipUri) -> None:
    assert parse_uri(str(uri)) == uri


@pytest.mark.parametrize(
    "text",
    [
        "sip:alice:secret@atlanta.com:5060;transport=tcp;lr?a=b&c=d",
        "sips:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1@example.com",
        "sip:%00%C3%A9%FF@[2001:db8::1]:5060",
        "tel:+15551234;ext=77",
    ],
)
def test_a_uri_in_its_canonical_form_is_written_as_it_was(text: str) -> None:
    assert str(parse_uri(text)) == text


BROKEN = [
    ("", 400),
    ("alice", 400),
    ("sip", 400),
    ("sip:", 400),
    ("sip:@host", 400),
    ("sip:a@", 400),
    ("sip:a@b@c", 400),
    ("sip:a@b:", 400),
    ("sip:a@b:port", 400),
    ("sip:a@b:65536", 400),
    ("sip:a@b:-1", 400),
    ("sip:a@b:٥٠", 400),
    ("sip:a b@c", 400),
    ("sip:a@b;x y", 400),
    ("sip:a@b;", 400),
    ("sip:a@b;=x", 400),
    ("sip:a@b;lr;LR", 400),
    ("sip:a@b;x=%zz", 400),
    ("sip:%4@b", 400),
    ("sip:a@b<c", 400),
    ("sip:a\r\nX: y@b", 400),
    ("sip:a@-b", 400),
    ("sip:a@b-", 400),
    ("sip:a@256.1.1.1", 400),
    ("sip:a@10.1", 400),
    ("sip:a@0x7f.1", 400),
    ("sip:a@010.0.0.1", 400),
    ("sip:2001:db8::10", 400),
    ("sip:[2001:db8::10", 400),
    ("sip:[2001:db8::g]", 400),
    ("sip:[2001:db8::1]x", 400),
    ("sip:[fe80::1%25eth0]", 400),
    ("sip:[2001:db8:::1]", 400),
    ("tel:", 400),
    ("tel:alice", 400),
    ("tel:+", 400),
    ("tel:1 2", 400),
    ("http://example.com", 416),
    ("soap.beep://192.0.2.103:3002", 416),
    ("sip:" + "a" * 2048 + "@b", 414),
]


@pytest.mark.parametrize(("text", "status"), BROKEN)
def test_what_is_no_uri_is_refused(text: str, status: int) -> None:
    with pytest.raises(PeerFault) as caught:
        parse_uri(text)
    assert caught.value.status == status


# The examples of RFC 3261 19.1.4, and what follows from its rules.
SAME = [
    ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
    (
        "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
        "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
    ),
    (
        "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
        "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
    ),
    ("sip:a@[2001:db8::1]", "sip:a@[2001:0DB8:0:0::1]"),
    ("tel:+1-555-1234", "tel:+15551234"),
]
DIFFERENT = [
    ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
    ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
    ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
    ("sip:bob@biloxi.com", "sips:bob@biloxi.com"),
    ("sip:bob@biloxi.com", "sip:bob:x@biloxi.com"),
    ("sip:bob@biloxi.com;user=phone", "sip:bob@biloxi.com"),
    ("sip:bob@biloxi.com;maddr=192.0.2.1", "sip:bob@biloxi.com"),
]


@pytest.mark.parametrize(("a", "b"), SAME)
def test_uris_that_mean_the_same(a: str, b: str) -> None:
    assert equivalent(a, b)
    assert equivalent(parse_uri(b), parse_uri(a))


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_uris_that_differ(a: str, b: str) -> None:
    assert not equivalent(a, b)
    assert not equivalent(b, a)


def test_a_uri_is_changed_by_making_another() -> None:
    uri = parse_uri("sip:alice:pw@atlanta.com;transport=tcp;lr?a=b")
    assert str(uri.with_user("bob smith")) == "sip:bob%20smith@atlanta.com;transport=tcp;lr?a=b"
    assert str(uri.with_host("2001:db8::1", 5070)) == "sip:alice:pw@[2001:db8::1]:5070;transport=tcp;lr?a=b"
    assert str(uri.with_param("Transport", "tls")) == "sip:alice:pw@atlanta.com;transport=tls;lr?a=b"
    assert str(uri.without("lr")) == "sip:alice:pw@atlanta.com;transport=tcp"
    assert str(sip_uri("a@b", "Host", 5060, lr=None)) == "sip:a%40b@host:5060;lr"
    assert str(uri) == "sip:alice:pw@atlanta.com;transport=tcp;lr?a=b"


def test_what_a_uri_says_about_the_way() -> None:
    uri = parse_uri("sip:[2001:db8::1]:5061;transport=TLS;lr")
    assert (uri.hostport, uri.transport, uri.is_loose_router) == ("[2001:db8::1]:5061", "tls", True)
    bare = parse_uri("sip:example.com")
    assert (bare.hostport, bare.transport, bare.is_loose_router) == ("example.com", "", False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Host", ("host", None)), ("h:5060", ("h", 5060)), ("[::1]", ("::1", None)), ("[::1]:1", ("::1", 1))],
)
def test_hosts_and_ports(text: str, expected: tuple[str, int | None]) -> None:
    assert parse_hostport(text) == expected


@given(
    user=st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()),
    password=st.text(max_size=5).filter(lambda text: text.isprintable()),
    host=st.sampled_from(["example.com", "192.0.2.1", "2001:db8::1"]),
    port=st.none() | st.integers(0, 65535),
    params=st.dictionaries(
        st.text("abcxyz-09", min_size=1, max_size=5),
        st.none() | st.text(max_size=8).filter(lambda t: t.isprintable()),
    ),
)
def test_any_parts_survive_writing_and_reading(
    user: str, password: str, host: str, port: int | None, params: dict[str, str | None]
) -> None:
    uri = SipUri("sip", user, host, port, password, params)
    assert parse_uri(str(uri)) == uri
    assert str(uri).isascii()
