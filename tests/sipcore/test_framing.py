"""Cutting a byte stream: whatever the pieces it comes in, the same messages come out."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.faults import Misuse, PeerFault
from sipcore.framing import MAX_BODY_BYTES, Framed, KeepAlive, StreamBroken, StreamFramer
from sipcore.parser import MAX_HEAD_BYTES

PONG, PING = KeepAlive.PONG, KeepAlive.PING


def message(body: bytes = b"", length: str = "Content-Length: {}") -> bytes:
    return f"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: x\r\n{length.format(len(body))}\r\n\r\n".encode() + body


FIRST = message(b"v=0\r\n\r\nCall-ID: no\r\n\r\n")
SECOND = message()
THIRD = message(b"x" * 300, "l : {}")
STREAM = b"\r\n\r\n" + FIRST + SECOND + b"\r\n" + THIRD + b"\r\n\r\n\r\n\r\n" + FIRST
CUT: list[Framed] = [PONG, PING, FIRST, SECOND, PONG, THIRD, PONG, PING, PONG, PING, FIRST]


def test_one_piece_may_hold_many_messages() -> None:
    assert StreamFramer().feed(STREAM) == CUT


def test_one_byte_at_a_time_is_enough() -> None:
    framer = StreamFramer()
    assert [item for byte in STREAM for item in framer.feed(bytes([byte]))] == CUT


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_pieces_give_the_same(cuts: list[int]) -> None:
    framer = StreamFramer()
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in pairwise(edges)]
    assert [item for piece in pieces for item in framer.feed(piece)] == CUT


@pytest.mark.parametrize(
    "length",
    [
        "Content-Length: {}",
        "content-length:{}",
        "L: {}",
        "l \t:  {}  ",
        "Content-Length:\r\n {}",
        "l: {0}\r\nl: {0}",
    ],
)
def test_the_length_may_be_written_in_many_ways(length: str) -> None:
    data = message(b"hello", length)
    assert StreamFramer().feed(data + SECOND) == [data, SECOND]


BROKEN = [
    ("no length", message(length="X: {}"), 400),
    ("a length in another header's value", message(length="X: y Content-Length: {}"), 400),
    ("two lengths", message(length="l: 0\r\nContent-Length: 1"), 400),
    ("a negative length", message(length="l: -1"), 400),
    ("a length that is no number", message(length="l: 0x10"), 400),
    ("a length with a blank in it", message(length="l: 1 0"), 400),
    ("a body that is too large", message(length=f"l: {MAX_BODY_BYTES + 1}"), 413),
    ("a length beyond all bounds", message(length="l: " + "9" * 5000), 400),
    ("a bare LF", message(length="X: y\nZ: w\r\nl: 0"), 400),
    ("a head without end", b"x" * MAX_HEAD_BYTES, 513),
    ("another protocol", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
]


@pytest.mark.parametrize(
    ("data", "status"), [pytest.param(data, status, id=what) for what, data, status in BROKEN]
)
def test_doubt_about_the_end_breaks_the_stream(data: bytes, status: int) -> None:
    framer = StreamFramer()
    with pytest.raises(PeerFault) as caught:
        framer.feed(FIRST + b"\r\n" + data)
    assert caught.value.status == status
    assert isinstance(caught.value, StreamBroken)
    assert caught.value.framed == [FIRST, PONG]
    with pytest.raises(Misuse):
        framer.feed(b"")


def test_byte_by_byte_costs_no_more_than_its_bytes() -> None:
    def seconds_for(size: int) -> float:
        framer = StreamFramer()
        start = time.perf_counter()
        for _ in range(size):
            framer.feed(b"x")
        return time.perf_counter() - start

    small = min(seconds_for(4_000) for _ in range(3))
    large = min(seconds_for(48_000) for _ in range(3))
    assert (
        large < 12 * 4 * small
    )  # 12 times the bytes; rescanning from the start would take 144 times as long


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_any_bytes_are_cut_or_refused_alike_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(edges)]
    assert _framed(pieces) == _framed([data])


def _framed(pieces: list[bytes]) -> tuple[list[Framed], int]:
    framer = StreamFramer()
    framed: list[Framed] = []
    try:
        for piece in pieces:
            framed += framer.feed(piece)
    except StreamBroken as broken:
        return framed + broken.framed, broken.status
    return framed, 0
