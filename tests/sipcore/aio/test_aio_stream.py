"""Messages and keep-alives on a stream, as a connection takes them (RFC 5626 3.5.1)."""

import pytest
from aio_peers import OK, OPTIONS

from sipcore.aio.stream import StreamWire
from sipcore.aio.wire import Brought


@pytest.mark.parametrize(
    ("data", "brought"),
    [
        (OPTIONS + OK, Brought([OPTIONS, OK])),
        (OPTIONS[:20], Brought([])),
        (b"\r\n", Brought([], ponged=True, keep_alives=1)),
        (b"\r\n\r\n", Brought([], b"\r\n", keep_alives=2)),
        (b"\r\n\r\n" + OPTIONS, Brought([OPTIONS], b"\r\n", keep_alives=2)),
        (b"\r\n" * 3, Brought([], b"\r\n", ponged=True, keep_alives=3)),
        (b"\r\n\r\n\r\n\r\n", Brought([], b"\r\n\r\n", keep_alives=4)),
    ],
)
def test_pings_are_answered_and_are_no_pongs(data, brought):
    assert StreamWire().receive(data) == brought


def test_what_was_whole_before_the_stream_broke_is_delivered():
    brought = StreamWire().receive(OPTIONS + b"\r\n\r\nBYE\r\n\r\n" + OPTIONS)
    assert (brought.messages, brought.answer) == ([OPTIONS], b"\r\n")
    assert brought.broken.status == 400
