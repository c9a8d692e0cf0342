"""Our reading of well-formed messages against that of `sipmessage`, which nobody here wrote."""

from __future__ import annotations

import sipmessage
from hypothesis import given, settings
from hypothesis import strategies as st

from sipcore.headers import NameAddr, Via
from sipcore.message import Request, Response
from sipcore.parser import check, parse
from sipcore.uri import parse_uri

# No %: they take %41 in a tag for an A, which RFC 4475 3.1.1.2 says it is not; nor a blank before the colon.
TOKEN = st.text("abcXYZ019-.!*_+`'~", min_size=1, max_size=10)
WORD = st.text("abcXYZ019", min_size=1, max_size=10)
HOST = st.sampled_from(["example.com", "a-b.example.org", "192.0.2.1", "[2001:db8::1]", "localhost"])
PORT = st.sampled_from(["", ":5060", ":1", ":65535"])
NUMBER = st.integers(0, 2**31 - 1)


@st.composite
def uris(draw: st.DrawFn) -> str:
    user = draw(st.text("abcXYZ019-_.!~*'()&=+$,;?/", min_size=1, max_size=10))
    params = draw(st.lists(st.tuples(WORD.map(str.lower), WORD), max_size=2, unique_by=lambda pair: pair[0]))
    return f"sip:{user}@{draw(HOST)}{draw(PORT)}" + "".join(f";{name}={value}" for name, value in params)


@st.composite
def addresses(draw: st.DrawFn, tag: bool) -> str:
    name = draw(st.none() | st.text('abc \u00e9\u4e2d\\"<>,;:@', max_size=10) | st.just("plain"))
    shown = "" if name is None else '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '" '
    return f"{shown}<{draw(uris())}>" + (f";tag={draw(TOKEN)}" if tag else "")


@st.composite
def vias(draw: st.DrawFn) -> str:
    rport = draw(st.sampled_from(["", ";rport", ";rport=5060;received=192.0.2.7"]))
    transport = draw(st.sampled_from(["UDP", "TCP", "TLS", "WS", "WSS"]))
    return f"SIP/2.0/{transport} {draw(HOST)}{draw(PORT)};branch=z9hG4bK{draw(WORD)}{rport}"


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from(["INVITE", "BYE", "OPTIONS", "REGISTER", "X-OWN"]))
    status = draw(st.integers(100, 699))
    start = draw(st.sampled_from([f"{method} {draw(uris())} SIP/2.0", f"SIP/2.0 {status} Some Reason"]))
    name = draw(st.sampled_from(["{}: ", "{}:", "{}:  "]))
    fields = [
        *[("Via", via) for via in draw(st.lists(vias(), min_size=1, max_size=3))],
        ("From", draw(addresses(tag=True))),
        ("To", draw(addresses(tag=draw(st.booleans())))),
        ("Call-ID", draw(WORD) + "@" + draw(WORD)),
        ("CSeq", f"{draw(NUMBER)} {method}"),
        ("Max-Forwards", str(draw(st.integers(0, 255)))),
        *[("Contact", contact) for contact in draw(st.lists(addresses(tag=False), max_size=2))],
        *[("Route", f"<{uri};lr>") for uri in draw(st.lists(uris(), max_size=2))],
    ]
    fields = draw(st.permutations(fields))
    body = draw(st.binary(max_size=20))
    head = [
        start,
        *[name.format(field) + value for field, value in fields],
        f"Content-Length: {len(body)}",
        "",
        "",
    ]
    return "\r\n".join(head).encode() + body


@given(messages())
@settings(max_examples=150, deadline=None)
def test_two_readers_agree(data: bytes) -> None:
    ours = parse(data)
    check(ours)
    theirs = sipmessage.Message.parse(data)
    assert _start(ours) == _their_start(theirs)
    assert ours.call_id == theirs.call_id
    assert (ours.cseq.number, ours.cseq.method) == (theirs.cseq.sequence, theirs.cseq.method)
    assert ours.max_forwards == theirs.max_forwards
    assert ours.body == theirs.body
    assert _address(ours.from_) == _their_address(theirs.from_address)
    assert _address(ours.to) == _their_address(theirs.to_address)
    assert [_address(contact) for contact in ours.contacts] == [
        _their_address(contact) for contact in theirs.contact
    ]
    assert [_address(route) for route in ours.routes] == [_their_address(route) for route in theirs.route]
    assert [_via(via) for via in ours.vias] == [_their_via(via) for via in theirs.via]


def _start(message: Request | Response) -> tuple[object, ...]:
    match message:
        case Request():
            return message.method, _uri(message.uri)
        case Response():
            return message.status, message.reason


def _their_start(message: sipmessage.Message) -> tuple[object, ...]:
    match message:
        case sipmessage.Request():
            return message.method, _their_uri(message.uri)
        case sipmessage.Response():
            return message.code, message.phrase
    raise AssertionError(message)


def _uri(text: str) -> tuple[object, ...]:
    uri = parse_uri(text)
    return uri.scheme, uri.user, uri.host, uri.port, dict(uri.params)


def _their_uri(uri: sipmessage.URI) -> tuple[object, ...]:
    return uri.scheme, uri.user, uri.host.strip("[]"), uri.port, dict(uri.parameters)


def _address(address: NameAddr) -> tuple[object, ...]:
    return address.display_name.split(), _uri(address.uri), dict(address.params)


# Names are compared word by word: they join the blanks inside quotes.
def _their_address(address: sipmessage.Address) -> tuple[object, ...]:
    return address.name.split(), _their_uri(address.uri), dict(address.parameters)


def _via(via: Via) -> tuple[object, ...]:
    return via.transport, via.host, via.port, dict(via.params)


def _their_via(via: sipmessage.Via) -> tuple[object, ...]:
    return via.transport, via.host.strip("[]"), via.port, dict(via.parameters)
