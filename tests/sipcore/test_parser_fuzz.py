"""Whatever strangers send is read or refused with a PeerFault; nothing else happens, and never slowly."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reading import read_everything, read_or_refuse
from torture_ipv6_messages import TORTURE_IPV6
from torture_messages import LONGREQ, TORTURE, WSINV

from sipcore import headers
from sipcore.faults import PeerFault
from sipcore.params import parse_auth_params, parse_params, split_list
from sipcore.parser import parse
from sipcore.uri import equivalent, parse_uri

SEEDS = [case.data for case in TORTURE + TORTURE_IPV6]
PIECES = [
    *[bytes([byte]) for byte in b'\r\n\0 \t,;:<>"\\%@[]=*?\xff'],
    *[
        b"\r\n",
        b"\r\n ",
        b"\xc3\xa9",
        b"sip:",
        b"Via: ",
        b"Contact: *\r\n",
        b"l: 5\r\n",
        b"9" * 40,
        b"SIP/2.0",
    ],
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        gone = draw(st.sampled_from([0, 0, 1, 1, 2, 10, 100]))
        data[at : at + gone] = draw(st.sampled_from(PIECES) | st.binary(max_size=4))
    return bytes(data)


@given(mutated())
@settings(max_examples=400, deadline=None)
def test_mutated_torture_messages_are_read_or_refused(data: bytes) -> None:
    read_or_refuse(data)


@given(st.binary(max_size=400))
@example(b"\r\n")
@example(b"SIP/2.0 ")
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    read_or_refuse(data)


@given(
    st.sampled_from(
        ["Via", "From", "To", "CSeq", "Contact", "Route", "Require", "Expires", "Max-Forwards", "X"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=60),
)
def test_any_value_in_any_header_is_read_or_refused(name: str, value: str) -> None:
    read_or_refuse(WSINV.replace(b"\r\n\r\n", f"\r\n{name}: {value}\r\n\r\n".encode(), 1))


VALUE_PARSERS = [
    headers.parse_via,
    headers.parse_cseq,
    headers.parse_name_addr,
    headers.parse_refer_to,
    headers.parse_rack,
    headers.parse_reason,
    headers.parse_replaces,
    headers.parse_session_expires,
    headers.parse_event,
    headers.parse_subscription_state,
    headers.parse_retry_after,
    headers.parse_date,
    headers.parse_delta_s,
    parse_params,
    parse_auth_params,
    split_list,
    parse_uri,
    lambda text: equivalent(text, text),
]
_grammar = st.text(st.sampled_from('ab1.:;,=@?&%/"\\<>[]()* \t\u00e9\udcff') | st.characters(), max_size=80)
_likely = st.lists(
    st.sampled_from(
        [
            "sip:",
            "a@b",
            ";tag=",
            "<",
            ">",
            '"',
            "\\",
            ";",
            "=",
            "[::1]",
            ":5060",
            "%41",
            "%",
            " ",
            ",",
            "Digest ",
        ]
    ),
    max_size=12,
).map("".join)


@pytest.mark.parametrize("parse_value", VALUE_PARSERS)
@given(text=_grammar | _likely)
def test_any_text_is_a_value_or_a_fault(parse_value: object, text: str) -> None:
    assert callable(parse_value)
    with contextlib.suppress(PeerFault):
        str(parse_value(text))


@given(
    st.lists(
        st.tuples(st.from_regex(r"X-[A-Za-z0-9!*+.~_-]{1,20}", fullmatch=True), st.binary(max_size=30)),
        max_size=8,
    )
)
def test_unknown_headers_come_out_byte_for_byte(unknown: list[tuple[str, bytes]]) -> None:
    lines = [
        name.encode() + b": " + bytes(byte for byte in value if byte not in b"\r\n\0").strip(b" \t")
        for name, value in unknown
    ]
    known = (
        b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nf: <sip:a>\r\nt: <sip:b>\r\ni: 1\r\nCSeq: 1 OPTIONS"
    )
    data = b"\r\n".join([known, *lines, b"Content-Length: 0", b"", b""])
    assert parse(data).to_bytes() == data


HOSTILE = [
    ("a lot of blanks", b"From: " + b" " * 60_000 + b"x"),
    ("a lot of quotes", b"From: " + b'"' * 60_000),
    ("a lot of backslashes", b'From: "' + b"\\" * 60_000),
    ("a lot of brackets", b"Contact: " + b"<" * 60_000),
    ("a lot of commas", b"Contact: " + b"," * 60_000),
    ("a lot of parameters", b"Via: SIP/2.0/UDP h" + b";a" * 30_000),
    ("a lot of blanks in parameters", b"To: <sip:a@b>" + b"; \t" * 20_000),
    ("a lot of digits", b"CSeq: " + b"9" * 60_000 + b" INVITE"),
    ("a lot of dots", b"Via: SIP/2.0/UDP " + b"1." * 30_000),
    ("a lot of folded lines", b"Subject: a" + b"\r\n b" * 16_000),
    ("a lot of fields", b"a:b\r\n" * 12_000 + b"a:b"),
    ("a lot of bare line ends", b"a:b\n" * 15_000 + b"a:b"),
    ("a lot of escapes", b"Contact: <sip:" + b"%41" * 20_000 + b"@h>"),
]


@pytest.mark.parametrize("line", [pytest.param(line, id=what) for what, line in HOSTILE])
def test_no_message_of_full_size_is_slow(line: bytes) -> None:
    data = LONGREQ.replace(b"Via: SIP/2.0/TCP sip33.example.com", line, 1)
    start = time.perf_counter()
    read_or_refuse(data)
    assert time.perf_counter() - start < 0.5  # 64 kB in quadratic time would take minutes


def test_reading_everything_finds_no_fault_in_the_plain_message() -> None:
    read_everything(WSINV)
