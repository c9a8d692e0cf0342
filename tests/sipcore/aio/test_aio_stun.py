"""STUN on the SIP port: well-formed requests are answered, all else earns silence (RFC 5389)."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.aio.stun import binding_response, looks_like_stun

TRANSACTION = bytes(range(12))
COOKIE = 0x2112A442


def message(kind=1, attributes=b"", length=None, transaction=TRANSACTION):
    size = len(attributes) if length is None else length
    return struct.pack("!HHI", kind, size, COOKIE) + transaction + attributes


def attribute(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def fingerprinted(attributes=b""):
    covered = message(attributes=attributes, length=len(attributes) + 8)
    return covered + attribute(0x8028, (zlib.crc32(covered) ^ 0x5354554E).to_bytes(4))


def test_the_answer_to_an_ipv4_phone_has_its_address_xored_with_the_cookie():
    answer = binding_response(message(), ("192.0.2.1", 32853))
    # RFC 5769 section 2.2 has this very address and port, with the cookie that is always the same.
    assert answer == message(0x0101, bytes.fromhex("002000080001a147e112a643"))


def test_the_answer_to_an_ipv6_phone_is_xored_with_the_transaction_too():
    transaction = bytes.fromhex("b7e7a701bc34d686fa87dfae")
    answer = binding_response(
        message(transaction=transaction), ("2001:db8:1234:5678:11:2233:4455:6677", 32853)
    )
    # RFC 5769 section 2.3
    xored = bytes.fromhex("002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9")
    assert answer == message(0x0101, xored, transaction=transaction)


def test_a_fingerprint_is_answered_with_a_fingerprint():
    answer = binding_response(fingerprinted(), ("192.0.2.1", 32853))
    covered, last = answer[:-8], answer[-8:]
    assert last == attribute(0x8028, (zlib.crc32(covered) ^ 0x5354554E).to_bytes(4))


def test_an_attribute_that_must_be_understood_and_is_not_is_named_in_a_420():
    answer = binding_response(message(attributes=attribute(0x0024, b"\0\0\0\1")), ("192.0.2.1", 5060))
    assert answer[:2] == b"\x01\x11"
    assert struct.pack("!HHHBB", 9, 21, 0, 4, 20) in answer
    assert answer.endswith(attribute(0x000A, b"\x00\x24"))


@pytest.mark.parametrize(
    "attributes",
    [
        attribute(0x8022, b"a phone"),  # SOFTWARE
        attribute(0x0006, b"name") + attribute(0x0008, bytes(20)),  # USERNAME, MESSAGE-INTEGRITY
        attribute(0xC057, b""),
    ],
)
def test_attributes_that_may_be_passed_over_are(attributes):
    assert binding_response(message(attributes=attributes), ("192.0.2.1", 5060))[:2] == b"\x01\x01"


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        message()[:19],
        message(kind=0x0101),  # a response
        message(kind=0x0011),  # an indication
        message(length=4),
        message(attributes=b"\0\0\0\0", length=0),
        message(attributes=b"\x80\x22"),
        message(attributes=struct.pack("!HH", 0x8022, 5) + b"abcd"),
        message(attributes=attribute(0x8028, b"abcd")),  # not its checksum
        message(attributes=attribute(0x8028, b"abcdefgh")),
        fingerprinted()[:-8] + fingerprinted()[-8:] * 2,
        message(attributes=attribute(0x8022, bytes(600))),
        b"\0\1\0\0" + bytes(16),  # no cookie: RFC 3489
    ],
)
def test_the_malformed_earns_silence(broken):
    assert binding_response(broken, ("192.0.2.1", 5060)) is None


def test_a_sip_message_is_not_taken_for_stun():
    assert not looks_like_stun(b"INVI\x21\x12\xa4\x42 sip:bob@example.test SIP/2.0")


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_answered_or_not_and_nothing_else(tail, framed):
    datagram = message(attributes=tail) * framed or tail
    answer = binding_response(datagram, ("192.0.2.1", 5060))
    assert answer is None or answer[4:20] == datagram[4:20]
