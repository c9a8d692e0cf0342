"""WebSocket over real sockets, with a client that others wrote, and with none (RFC 7118, RFC 6455)."""

import asyncio
import contextlib

import pytest
from aio_peers import OK, OPTIONS, WS, eventually, numbered, soon
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.frames import Frame, Opcode

from sipcore.aio import Limits, Listen
from sipcore.aio.websocket import WebSocketWire
from sipcore.aio.wire import BadHandshake
from sipcore.flow import Transport
from sipcore.framing import MAX_BODY_BYTES

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: sip.example.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: sip\r\n\r\n"
)


def browser(server, scheme="ws", **more):
    host, port = server.at()
    return connect(f"{scheme}://{host}:{port}/", **{"subprotocols": ["sip"], "proxy": None, **more})


def masked(opcode, data, fin=True):
    return Frame(opcode, data, fin).serialize(mask=True)


async def test_a_text_frame_is_a_message_and_the_answer_is_one_too(side):
    server = await side(WS)
    async with browser(server) as socket:
        assert socket.subprotocol == "sip"
        await socket.send(OPTIONS.decode())
        data, flow = await server.gets()
        assert (data, flow.transport, flow.local) == (OPTIONS, Transport.WS, server.at())
        server.send(flow, OK)
        assert await soon(socket.recv()) == OK.decode()
    assert await server.hears_of_failure() == (flow, "the far side closed the connection")


async def test_a_binary_frame_is_a_message(side):
    server = await side(WS)
    async with browser(server) as socket:
        await socket.send(OPTIONS)
        assert (await server.gets())[0] == OPTIONS


@pytest.mark.parametrize(
    ("message", "arrives"),
    [
        (b"SIP/2.0 200 Gut \xc3\xbc\r\n\r\n", "SIP/2.0 200 Gut \u00fc\r\n\r\n"),
        (b"SIP/2.0 200 \xff\r\n\r\n", b"SIP/2.0 200 \xff\r\n\r\n"),
    ],
)
async def test_what_is_no_text_goes_out_in_binary(side, message, arrives):
    server = await side(WS)
    async with browser(server) as socket:
        await socket.send(OPTIONS)
        server.send((await server.gets())[1], message)
        assert await soon(socket.recv()) == arrives


async def test_a_fragmented_message_is_put_together(side):
    server = await side(WS)
    async with browser(server) as socket:
        await socket.send([OPTIONS[:10], b"", OPTIONS[10:20], OPTIONS[20:]])
        await socket.send(numbered(2))
        assert [(await server.gets())[0] for _ in range(2)] == [OPTIONS, numbered(2)]


@pytest.mark.parametrize("keep_alive", ["\r\n\r\n", ""])
async def test_keep_alives_in_frames_are_kept_from_the_stack(side, keep_alive):
    server = await side(WS)
    async with browser(server) as socket:
        await socket.send(keep_alive)
        await socket.send(OPTIONS)
        assert (await server.gets())[0] == OPTIONS
    assert server.counters.keep_alives == 1


async def test_a_double_crlf_in_a_frame_is_answered(side):
    server = await side(WS)
    async with browser(server) as socket:
        await socket.send("\r\n\r\n")
        assert await soon(socket.recv()) == "\r\n"


@pytest.mark.parametrize("subprotocols", [None, ["xmpp"]])
async def test_only_sip_is_spoken(side, subprotocols):
    server = await side(WS)
    with pytest.raises(InvalidStatus) as caught:
        await browser(server, subprotocols=subprotocols)
    assert caught.value.response.status_code == 400
    await eventually(lambda: server.transports.open_connections == 0)
    assert server.counters.bad_handshakes == 1


async def test_an_origin_that_is_allowed_gets_in_and_others_do_not(side):
    server = await side(Listen(Transport.WS, "127.0.0.1", 0, origins=("https://phone.example.test",)))
    async with browser(server, origin="https://phone.example.test") as socket:
        await socket.send(OPTIONS)
        assert (await server.gets())[0] == OPTIONS
    with pytest.raises(InvalidStatus) as caught:
        await browser(server, origin="https://bank.example.test")
    assert caught.value.response.status_code == 403
    assert server.counters.websocket_origins_refused == 1


async def test_messages_are_not_compressed(side):
    server = await side(WS)
    async with browser(server, compression="deflate") as socket:
        assert socket.protocol.extensions == []


async def test_a_message_that_is_too_long_ends_the_connection(side):
    server = await side(WS)
    async with browser(server) as socket:
        with contextlib.suppress(ConnectionClosedError):
            await socket.send("x" * (MAX_BODY_BYTES + 1))
        with pytest.raises(ConnectionClosedError) as caught:
            await soon(socket.recv())
    assert caught.value.rcvd.code == 1009
    assert server.counters.bad_framing == 1


async def test_browsers_are_pinged_and_stay(side):
    server = await side(WS, limits=Limits(websocket_ping_s=0.02, pong_s=0.5))
    async with browser(server) as socket:
        await socket.send(OPTIONS)
        await server.gets()
        await eventually(lambda: server.counters.keep_alives >= 3)
        await socket.send(OPTIONS)
        await server.gets()


async def test_a_browser_that_does_not_pong_is_given_up(side):
    server = await side(WS, limits=Limits(websocket_ping_s=0.05, pong_s=0.05))
    reader, writer = await asyncio.open_connection(*server.at())
    writer.write(HANDSHAKE)
    await soon(reader.readuntil(b"\r\n\r\n"))
    writer.write(masked(Opcode.TEXT, OPTIONS))
    await server.gets()
    assert (await server.hears_of_failure())[1] == "no answer to a keep-alive in 0.05 s"
    writer.transport.abort()


async def test_messages_over_wss(side, authority):
    server = await side(Listen(Transport.WSS, "127.0.0.1", 0, tls=authority.server()))
    async with browser(server, "wss", ssl=authority.client_context()) as socket:
        await socket.send(OPTIONS.decode())
        data, flow = await server.gets()
        assert (data, flow.transport) == (OPTIONS, Transport.WSS)
        server.send(flow, OK)
        assert await soon(socket.recv()) == OK.decode()


async def test_closing_says_that_we_are_going_away(side):
    server = await side(WS)
    async with browser(server) as socket:
        await socket.send(OPTIONS)
        await server.gets()
        await server.transports.close()
        await soon(socket.wait_closed())
        assert socket.close_code == 1001


@pytest.mark.parametrize(
    "garbage",
    [
        OPTIONS,
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x" * 20_000,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1_000,
        HANDSHAKE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhl\xff"),
        HANDSHAKE.replace(b"Version: 13", b"Version: 12"),
        HANDSHAKE + masked(Opcode.CLOSE, b""),
        HANDSHAKE + masked(Opcode.TEXT, OPTIONS),
        HANDSHAKE + b"\xff" * 100,
    ],
    ids=range(10),
)
async def test_a_handshake_that_is_none_is_counted_and_not_logged(side, garbage, caplog):
    server = await side(WS)
    reader, writer = await asyncio.open_connection(*server.at())
    writer.write(garbage)
    writer.write_eof()
    with contextlib.suppress(ConnectionError):
        await soon(reader.read())
    writer.transport.abort()
    await eventually(lambda: server.transports.open_connections == 0)
    assert server.counters.bad_handshakes + server.counters.bad_framing == 1
    assert server.received.empty()
    assert caplog.records == []


@pytest.mark.parametrize(
    "frames",
    [
        b"\xff" * 100,
        Frame(Opcode.TEXT, OPTIONS).serialize(mask=False),
        masked(Opcode.CONT, OPTIONS),
        masked(Opcode.TEXT, b"a", fin=False) + masked(Opcode.TEXT, b"b"),
    ],
    ids=["noise", "not masked", "continues nothing", "begins inside another"],
)
async def test_broken_frames_end_the_connection(side, frames):
    server = await side(WS)
    reader, writer = await asyncio.open_connection(*server.at())
    writer.write(HANDSHAKE)
    await soon(reader.readuntil(b"\r\n\r\n"))
    writer.write(frames)
    assert (await soon(reader.read()))[2:4] == b"\x03\xea"  # 1002, protocol error
    assert server.counters.bad_framing == 1
    writer.transport.abort()


def test_empty_fragments_without_end_take_no_memory():
    wire = greeted()
    wire.receive(masked(Opcode.TEXT, b"a", fin=False))
    for _ in range(10_000):
        assert wire.receive(masked(Opcode.CONT, b"", fin=False)).messages == []
    assert wire.receive(masked(Opcode.CONT, b"b")).messages == [b"ab"]


def fresh():
    return WebSocketWire(1_000, ())


def greeted():
    wire = fresh()
    assert b"101 Switching Protocols" in wire.receive(HANDSHAKE).answer
    return wire


@given(st.binary(max_size=300), st.sampled_from([greeted, fresh]), st.integers(1, 20))
def test_any_bytes_make_messages_or_an_end_and_nothing_else(data, make, step):
    wire = make()
    pieces = (data[at : at + step] for at in range(0, len(data), step))
    with contextlib.suppress(BadHandshake):
        all(goes_on(wire.receive(piece)) for piece in pieces)


def goes_on(brought):
    return not brought.ended and brought.broken is None
