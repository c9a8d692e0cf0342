"""Messages: what a reader gets, what goes out, and that nobody changes what others hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sipcore.faults import BrokenRequest, Misuse, PeerFault
from sipcore.headers import CSeq, NameAddr
from sipcore.message import Message, Request, Response
from sipcore.parser import MAX_FIELDS, MAX_HEAD_BYTES, MAX_VALUE_CHARS, check, parse

HEADERS = [
    ("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa;rport"),
    ("Via", "SIP/2.0/TCP proxy.example.com;branch=z9hG4bKb, SIP/2.0/UDP [2001:db8::1];branch=z9hG4bKc"),
    ("Max-Forwards", "70"),
    ("From", '"Alice" <sip:alice@example.com>;tag=a1'),
    ("To", "<sip:bob@example.com>"),
    ("Call-ID", "f81d4fae@192.0.2.1"),
    ("CSeq", "1 INVITE"),
    ("Contact", "<sip:alice@192.0.2.1>"),
]


def invite(*more: tuple[str, str], body: bytes = b"") -> Request:
    return Request("INVITE", "sip:bob@example.com", [*HEADERS, *more], body)


def wire(start: str, *lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([start, *lines, "", ""]).encode("utf-8", "surrogateescape") + body


LINES = [f"{name}: {value}" for name, value in HEADERS]
INVITE = "INVITE sip:bob@example.com SIP/2.0"


def test_what_is_written_is_read_again() -> None:
    message = invite(("X-Note", "kept"), body=b"v=0\r\n")
    again = parse(message.to_bytes())
    assert isinstance(again, Request)
    assert again.without("Content-Length") == message
    assert again.body == b"v=0\r\n"
    assert again.to_bytes() == message.to_bytes()


def test_a_content_length_is_always_true_and_never_ours_to_choose() -> None:
    message = Request(
        "INVITE", "sip:bob@example.com", [*HEADERS, ("content-LENGTH", "999"), ("l", "7")], b"four"
    )
    assert message.to_bytes().count(b"ength") == 1
    assert b"\r\nContent-Length: 4\r\n\r\nfour" in message.to_bytes()
    assert parse(message.to_bytes()).with_body(b"", "").to_bytes().endswith(b"\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("name", ["call-id", "CALL-ID", "i", "I", "Call-ID"])
def test_a_header_is_found_by_any_of_its_names(name: str) -> None:
    assert invite().get(name) == "f81d4fae@192.0.2.1"
    assert (
        parse(wire(INVITE, *LINES).replace(b"Call-ID", name.encode())).get("Call-ID") == "f81d4fae@192.0.2.1"
    )


def test_lists_are_split_and_other_headers_are_not() -> None:
    message = invite(
        ("Supported", "100rel, timer"),
        ("k", "Replaces"),
        ("Subject", "one, two"),
        ("WWW-Authenticate", 'Digest realm="a", nonce="b"'),
        ("Contact", '"Smith, J" <sip:j@example.com;x=1,2>, <sip:k@example.com>'),
    )
    assert message.get_all("Supported") == ["100rel", "timer", "Replaces"]
    assert message.supported == {"100rel", "timer", "replaces"}
    assert message.get_all("subject") == ["one, two"]
    assert message.get_all("WWW-Authenticate") == ['Digest realm="a", nonce="b"']
    assert [contact.display_name for contact in message.contacts] == ["", "Smith, J", ""]
    assert len(message.vias) == 3
    assert message.get("absent") is None
    assert message.get_all("absent") == []


def test_typed_values_are_read_once() -> None:
    message = parse(wire(INVITE, *LINES))
    for name in ("via", "vias", "from_", "to", "cseq", "contacts"):
        assert getattr(message, name) is getattr(message, name)


def test_what_is_absent_reads_as_nothing() -> None:
    message = invite().without("Contact", "Max-Forwards")
    assert message.contacts == message.routes == message.record_routes == ()
    assert message.max_forwards is message.expires is None
    assert message.supported == message.require == message.allow == frozenset()
    assert message.content_type == ""


CHANGES: list[tuple[Callable[[Request], Request], list[str]]] = [
    (
        lambda m: m.with_top(("Via", "SIP/2.0/UDP x;branch=z9hG4bKtop")),
        ["Via", *[name for name, _ in HEADERS]],
    ),
    (lambda m: m.with_added(("Allow", "INVITE")), [*[name for name, _ in HEADERS], "Allow"]),
    (lambda m: m.without("v", "to"), ["Max-Forwards", "From", "Call-ID", "CSeq", "Contact"]),
    (
        lambda m: m.replace("v", "SIP/2.0/UDP y"),
        ["v", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Contact"],
    ),
    (lambda m: m.replace("Expires", "60"), [*[name for name, _ in HEADERS], "Expires"]),
    (lambda m: m.with_body(b"hi", "text/plain"), [*[name for name, _ in HEADERS], "Content-Type"]),
    (lambda m: m.with_uri("sip:carol@example.com"), [name for name, _ in HEADERS]),
]


@pytest.mark.parametrize(("change", "names"), CHANGES)
def test_a_change_is_made_to_a_copy(change: Callable[[Request], Request], names: list[str]) -> None:
    message = parse(wire(INVITE, *LINES[:4], "Content-Length: 0", *LINES[4:]))
    assert isinstance(message, Request)
    before = message.to_bytes()
    assert message.via.branch == "z9hG4bKa"
    changed = change(message)
    assert [name for name, _ in changed.without("Content-Length").fields()] == names
    assert changed.to_bytes() != before
    assert message.to_bytes() == before
    head = changed.to_bytes().decode().partition("\r\n\r\n")[0]
    assert [line.partition(":")[0] for line in head.split("\r\n")[1:]] == [*names, "Content-Length"]


def test_a_star_stands_alone() -> None:
    assert invite().replace("Contact", "*").contacts == (NameAddr("*"),)
    with pytest.raises(PeerFault):
        _ = invite(("Contact", "*")).contacts


def test_a_new_top_via_is_the_via_of_the_copy() -> None:
    request = parse(wire(INVITE, *LINES))
    assert request.via.host == "192.0.2.1"
    assert request.with_top(("Via", "SIP/2.0/TLS 192.0.2.9;branch=z9hG4bKz")).via.transport == "TLS"


def test_a_response_takes_over_what_names_the_transaction() -> None:
    response = invite(("Timestamp", "54.2")).response(
        180, headers=[("Contact", "<sip:bob@192.0.2.2>")], to_tag="b2"
    )
    assert response.to_bytes().decode().split("\r\n") == [
        "SIP/2.0 180 Ringing",
        f"Via: {HEADERS[0][1]}",
        f"Via: {HEADERS[1][1]}",
        'From: "Alice" <sip:alice@example.com>;tag=a1',
        "To: <sip:bob@example.com>;tag=b2",
        "Call-ID: f81d4fae@192.0.2.1",
        "CSeq: 1 INVITE",
        "Contact: <sip:bob@192.0.2.2>",
        "Content-Length: 0",
        "",
        "",
    ]


def test_a_trying_carries_the_timestamp_back() -> None:
    assert invite(("Timestamp", "54.2")).response(100).get("timestamp") == "54.2"


TO_VALUES = [
    ("<sip:bob@example.com>", "<sip:bob@example.com>;tag=new"),
    ("sip:bob@example.com", "sip:bob@example.com;tag=new"),
    ("<sip:bob@example.com;tag=uri>", "<sip:bob@example.com;tag=uri>;tag=new"),
    ('"a;tag=b" <sip:bob@example.com>', '"a;tag=b" <sip:bob@example.com>;tag=new'),
    ("<sip:bob@example.com>;tag=old", "<sip:bob@example.com>;tag=old"),
    ("<sip:bob@example.com>;TAG=old", "<sip:bob@example.com>;TAG=old"),
    ("sip:bob@example.com;tag=old", "sip:bob@example.com;tag=old"),
    ('"tag <sip:bob@example.com>', '"tag <sip:bob@example.com>'),
]


@pytest.mark.parametrize(("to", "answered"), TO_VALUES)
def test_a_tag_is_added_to_a_to_that_has_none(to: str, answered: str) -> None:
    assert invite().replace("To", to).response(200, to_tag="new").get("to") == answered


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb", "a\0b", "\r\n"])
@pytest.mark.parametrize(
    "write",
    [
        lambda value: Request("OPTIONS", "sip:a@b", [("Subject", value)]),
        lambda value: Response(200, "OK", [("Subject", value)]),
        lambda value: Response(200, value, []),
        lambda value: invite().with_top(("Subject", value)),
        lambda value: invite().with_added(("Subject", value)),
        lambda value: invite().replace("Subject", value),
        lambda value: invite().response(200, headers=[("Subject", value)]),
        lambda value: invite().response(200, value),
    ],
)
def test_a_header_of_ours_cannot_smuggle_another_one(write: Callable[[str], Message], value: str) -> None:
    with pytest.raises(Misuse):
        write(value)


@pytest.mark.parametrize("name", ["X y", "X:", "", "X\r\nY", "Ü"])
def test_a_name_of_ours_must_be_a_name(name: str) -> None:
    with pytest.raises(Misuse):
        invite((name, "value"))


@pytest.mark.parametrize(
    ("method", "uri"), [("IN VITE", "sip:a@b"), ("INVITE", "sip:a b"), ("INVITE", ""), ("", "sip:a")]
)
def test_a_request_line_of_ours_must_be_one(method: str, uri: str) -> None:
    with pytest.raises(Misuse):
        Request(method, uri, HEADERS)


def test_text_that_no_utf8_can_carry_is_our_bug() -> None:
    with pytest.raises(Misuse):
        invite(("Subject", "\ud800")).to_bytes()


def test_bytes_that_are_no_utf8_go_out_as_they_came() -> None:
    data = wire(INVITE, *LINES, "X-Latin: caf\udce9") + b""
    message = parse(data)
    assert b"X-Latin: caf\xe9\r\n" in message.to_bytes()
    assert (
        message.response(200, headers=[("X-Latin", message.get("x-latin") or "")])
        .to_bytes()
        .count(b"caf\xe9")
        == 1
    )


def test_an_escaped_nul_may_travel_on() -> None:
    data = wire(INVITE, *LINES, 'X-Name: "a\\\0b"')
    value = parse(data).get("X-Name")
    assert value == '"a\\\0b"'
    assert invite(("X-Name", value)).get("X-Name") == value


# ---------------------------------------------------------------- the parser's tolerance and its limits


SAME = [
    ("compact names", lambda d: d.replace(b"Call-ID", b"i").replace(b"From", b"f").replace(b"To:", b"t:")),
    ("blanks before the colon", lambda d: d.replace(b"CSeq:", b"CSeq \t :")),
    ("no blank after the colon", lambda d: d.replace(b"CSeq: ", b"CSeq:")),
    ("blanks around the value", lambda d: d.replace(b"CSeq: 1 INVITE", b"CSeq:   1 INVITE  ")),
    ("a folded value", lambda d: d.replace(b"CSeq: 1 INVITE", b"CSeq: 1\r\n \t INVITE")),
    ("a value on the next line", lambda d: d.replace(b"CSeq: 1 INVITE", b"CSeq:\r\n 1 INVITE")),
    ("line ends first", lambda d: b"\r\n\r\n" + d),
    ("bare LF", lambda d: d.replace(b"\r\n", b"\n")),
    ("one bare LF", lambda d: d.replace(b"CSeq: 1 INVITE\r\n", b"CSeq: 1 INVITE\n")),
    ("a small version", lambda d: d.replace(b" SIP/2.0\r\n", b" sip/2.0\r\n")),
    ("a true Content-Length", lambda d: d.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n")),
    (
        "the same Content-Length twice",
        lambda d: d.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\nl:5\r\n\r\n"),
    ),
    ("bytes beyond it", lambda d: d.replace(b"\r\n\r\n", b"\r\nl: 5\r\n\r\n") + b"BYE sip:x SIP/2.0\r\n\r\n"),
]


@pytest.mark.parametrize("spell", [pytest.param(spell, id=what) for what, spell in SAME])
def test_sloppy_spelling_means_the_same(spell: Callable[[bytes], bytes]) -> None:
    message = parse(spell(wire(INVITE, *LINES, body=b"hello")))
    check(message)
    assert isinstance(message, Request)
    assert (message.method, message.uri, message.body) == ("INVITE", "sip:bob@example.com", b"hello")
    assert message.cseq == CSeq(1, "INVITE")
    assert message.call_id == "f81d4fae@192.0.2.1"
    assert message.from_ == NameAddr("sip:alice@example.com", "Alice", {"tag": "a1"})
    assert [via.branch for via in message.vias] == ["z9hG4bKa", "z9hG4bKb", "z9hG4bKc"]


BROKEN = [
    ("no end of the header fields", lambda d: d[:-2], 400),
    ("Content-Length beyond the datagram", lambda d: d.replace(b"\r\n\r\n", b"\r\nl: 1\r\n\r\n"), 400),
    ("Content-Length no number", lambda d: d.replace(b"\r\n\r\n", b"\r\nl: five\r\n\r\n"), 400),
    ("Content-Length negative", lambda d: d.replace(b"\r\n\r\n", b"\r\nl: -1\r\n\r\n"), 400),
    ("Content-Length in other digits", lambda d: d.replace(b"\r\n\r\n", "\r\nl: ٠\r\n\r\n".encode()), 400),
    ("Content-Lengths contradict", lambda d: d.replace(b"\r\n\r\n", b"\r\nl: 0\r\nl: 1\r\n\r\n"), 400),
    ("two Call-IDs", lambda d: d.replace(b"CSeq", b"Call-ID: other\r\nCSeq"), 400),
    ("a line without a colon", lambda d: d.replace(b"Max-Forwards: 70", b"garbage"), 400),
    ("a name and nothing else", lambda d: d.replace(b"Max-Forwards: 70", b"Supported"), 400),
    ("a name with a blank", lambda d: d.replace(b"Max-Forwards: 70", b"Max Forwards: 70"), 400),
    ("an empty name", lambda d: d.replace(b"Max-Forwards: 70", b": 70"), 400),
    ("a lone CR", lambda d: d.replace(b"70", b"7\r0"), 400),
    ("a bare NUL", lambda d: d.replace(b"70", b"7\x000"), 400),
    ("a folded start line", lambda d: d.replace(b" SIP/2.0\r\n", b"\r\n SIP/2.0\r\n", 1), None),
    ("Max-Forwards too large", lambda d: d.replace(b"70", b"256"), 400),
    ("Max-Forwards no number", lambda d: d.replace(b"70", b"many"), 400),
    ("no From", lambda d: d.replace(b"From", b"Form"), 400),
    ("no To", lambda d: d.replace(b"To:", b"Too:"), 400),
    ("no Call-ID", lambda d: d.replace(b"Call-ID", b"Called"), 400),
    ("an empty Call-ID", lambda d: d.replace(b"f81d4fae@192.0.2.1", b""), 400),
    ("two words as Call-ID", lambda d: d.replace(b"f81d4fae@", b"f81 d4fae@"), 400),
    ("no CSeq", lambda d: d.replace(b"CSeq", b"Seq"), None),
    ("no Via", lambda d: d.replace(b"Via", b"Vie"), None),
    ("a Via that cannot be read", lambda d: d.replace(b"SIP/2.0/UDP 192", b"SIP 192"), None),
    ("CSeq of another method", lambda d: d.replace(b"1 INVITE", b"1 BYE"), 400),
    ("CSeq too large", lambda d: d.replace(b"1 INVITE", b"2147483648 INVITE"), 400),
    ("a broken From", lambda d: d.replace(b'"Alice" <', b'"Alice <'), 400),
    ("another version", lambda d: d.replace(b" SIP/2.0\r\n", b" SIP/3.0\r\n"), 505),
    ("another protocol", lambda d: d.replace(b" SIP/2.0\r\n", b" HTTP/1.1\r\n"), None),
    ("a method that is no token", lambda d: d.replace(b"INVITE sip", b"INV[ITE sip"), None),
    ("an ACK cannot be answered", lambda d: d.replace(b"INVITE", b"ACK").replace(b"70", b"many"), None),
    ("a very long URI", lambda d: d.replace(b"sip:bob@", b"sip:" + b"b" * 3000 + b"@", 1), 414),
    ("a very long value", lambda d: d.replace(b"70", b"7" * (MAX_VALUE_CHARS + 1)), 400),
    ("very many fields", lambda d: d.replace(b"\r\n\r\n", b"\r\nX: y" * MAX_FIELDS + b"\r\n\r\n"), 400),
    ("very many Vias", lambda d: d.replace(b"Max-F", b"Via: SIP/2.0/UDP a\r\n" * 300 + b"Max-F"), 400),
    ("an endless head", lambda d: d.replace(b"70", b"7" * MAX_HEAD_BYTES), None),
    ("nothing", lambda d: b"", None),
    ("only line ends", lambda d: b"\r\n\r\n", None),
    ("only a start line", lambda d: b"INVITE sip:bob@example.com SIP/2.0\r\n\r\n", None),
]


@pytest.mark.parametrize(
    ("spoil", "told"), [pytest.param(spoil, told, id=what) for what, spoil, told in BROKEN]
)
def test_a_broken_request_is_told_or_dropped(spoil: Callable[[bytes], bytes], told: int | None) -> None:
    with pytest.raises(PeerFault) as caught:
        check(parse(spoil(wire(INVITE, *LINES))))
    fault = caught.value
    assert {True: fault.status, False: None}[isinstance(fault, BrokenRequest)] == told


@pytest.mark.parametrize(
    "start",
    [
        "SIP/2.0",
        "SIP/2.0 ",
        "SIP/2.0 20 OK",
        "SIP/2.0 700 X",
        "SIP/2.0 2000 OK",
        "SIP/1.0 200 OK",
        "SIP/2.0 2٠0 X",
    ],
)
def test_a_response_that_is_none_is_dropped(start: str) -> None:
    with pytest.raises(PeerFault) as caught:
        parse(wire(start, *LINES))
    assert not isinstance(caught.value, BrokenRequest)


def test_a_response_has_status_and_reason() -> None:
    response = parse(wire("SIP/2.0 486 Busy Here, sorry", *LINES))
    assert isinstance(response, Response)
    assert (response.status, response.reason) == (486, "Busy Here, sorry")
    assert response.start_line == "SIP/2.0 486 Busy Here, sorry"


@pytest.mark.parametrize(
    ("uri", "status"), [("http://example.com", 416), ("sip:a@b?Route=x", 400), ("nonsense", 400)]
)
def test_a_request_uri_that_cannot_be_served(uri: str, status: int) -> None:
    request = invite().with_uri(uri)
    with pytest.raises(PeerFault) as caught:
        _ = request.request_uri
    assert caught.value.status == status


def test_messages_show_their_names_and_no_more() -> None:
    assert repr(invite()) == "<INVITE sip:bob@example.com call-id=f81d4fae@192.0.2.1 cseq=1 INVITE>"
    assert repr(invite().response(200)) == "<200 OK call-id=f81d4fae@192.0.2.1 cseq=1 INVITE>"


def test_names_of_strangers_do_not_fill_the_memory() -> None:
    from sipcore.fieldnames import KEYS

    for number in range(20):
        parse(wire(INVITE, *LINES, *[f"X-{number}-{index}: y" for index in range(200)]))
    assert len(KEYS) <= 1024
