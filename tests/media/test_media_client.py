"""The engine's end of the control socket: frames, batches, and coming back."""

import asyncio
import itertools
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_house import MediaProcess

from media.client import FrameReader, MediaClient, MediaFault, pack
from media.messages import (
    VERSION,
    AskMemos,
    ClosePort,
    Command,
    Digit,
    Event,
    Hear,
    Hello,
    KeepMemo,
    Memos,
    PortFailed,
    Refused,
    Silent,
    Welcome,
)

WELCOME = Welcome(VERSION, 20000, 29999, 1, 0)
EVENTS: list[Event] = [Digit(1, "5", True, 100, 1.5), Silent(2, 15.0), PortFailed(3, "in use"), Memos((), ())]


def frame(*events: Event) -> bytes:
    body = msgspec.msgpack.encode(events)
    return len(body).to_bytes(4, "big") + body


@given(cuts=st.lists(st.integers(0, 120), max_size=10))
def test_events_are_read_however_the_bytes_are_cut(cuts):
    data = frame(*EVENTS[:2]) + frame() + frame(*EVENTS[2:])
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    reader = FrameReader()
    pieces = [data[start:end] for start, end in itertools.pairwise(places)]
    assert [event for piece in pieces for event in reader.feed(piece)] == EVENTS


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x00\x00\x01\xc1",
        b"\x00\x00\x00\x03\x91\x91\x07",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x04\x91\x92\x65a",
    ],
    ids=["not MessagePack", "unknown tag", "longer than any frame", "wrong type"],
)
def test_what_is_no_frame_of_events_is_medias_fault(data):
    with pytest.raises(MediaFault):
        FrameReader().feed(data)


class ScriptedMedia:
    """Listens like a media process; the test reads and writes for it."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.connections: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self.writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> "ScriptedMedia":
        self.server = await asyncio.start_unix_server(self._connected, self.path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for writer in self.writers:
            writer.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        await self.connections.put((reader, writer))

    async def accepts(self, *events: Event) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Take the next connection, hear its Hello and answer with `events`."""
        reader, writer = await self.connections.get()
        assert await frames(reader, 1) == [[Hello(VERSION, 60.0)]]
        writer.write(frame(*events))
        return reader, writer


async def frames(reader: asyncio.StreamReader, count: int) -> list[list[Command]]:
    decoder = msgspec.msgpack.Decoder(list[Command])
    return [
        decoder.decode(await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big")))
        for _ in range(count)
    ]


class Listener:
    """What a client's callbacks were called with, awaitable."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[list[Event]] = asyncio.Queue()
        self.links: asyncio.Queue[Welcome | None] = asyncio.Queue()

    def client(self, path: str) -> MediaClient:
        return MediaClient(path, self.events.put_nowait, self.links.put_nowait)


async def test_commands_of_one_turn_travel_in_one_frame(tmp_path):
    listener = Listener()
    async with ScriptedMedia(tmp_path / "m") as media:
        client = listener.client(media.path)
        connecting = asyncio.ensure_future(client.connect())
        reader, _ = await media.accepts(WELCOME)
        assert await connecting == WELCOME
        assert client.connected
        client.send(Hear(1, 2))
        client.send(Hear(2, 1))
        assert await frames(reader, 1) == [[Hear(1, 2), Hear(2, 1)]]
        client.send(ClosePort(1))
        assert await frames(reader, 1) == [[ClosePort(1)]]
        await client.close()


async def test_events_come_in_the_batches_that_were_read(tmp_path):
    listener = Listener()
    async with ScriptedMedia(tmp_path / "m") as media:
        client = listener.client(media.path)
        connecting = asyncio.ensure_future(client.connect())
        _, writer = await media.accepts(WELCOME, *EVENTS[:2])
        await connecting
        assert await listener.events.get() == EVENTS[:2]
        writer.write(frame(*EVENTS[2:]) + frame(*EVENTS[:1]))
        assert await listener.events.get() == EVENTS[2:] + EVENTS[:1]
        await client.close()


async def test_a_lost_link_is_told_and_comes_back(tmp_path):
    listener = Listener()
    async with ScriptedMedia(tmp_path / "m") as media:
        client = listener.client(media.path)
        connecting = asyncio.ensure_future(client.connect())
        _, writer = await media.accepts(WELCOME)
        await connecting
        assert await listener.links.get() == WELCOME
        writer.close()
        assert await listener.links.get() is None
        client.send(Hear(1, 2))
        reader, _ = await media.accepts(WELCOME)
        assert await listener.links.get() == WELCOME
        client.send(AskMemos())
        assert await frames(reader, 1) == [[AskMemos()]], "what was sent meanwhile is not sent later"
        await client.close()
        assert await listener.links.get() is None


@pytest.mark.parametrize("first", [Welcome(VERSION + 1, 1, 2, 1, 0), Refused(0, "who are you")])
async def test_a_media_process_of_another_version_is_refused(tmp_path, first):
    listener = Listener()
    async with ScriptedMedia(tmp_path / "m") as media:
        client = listener.client(media.path)
        connecting = asyncio.ensure_future(client.connect())
        await media.accepts(first)
        with pytest.raises(MediaFault):
            await connecting
        await client.close()
        assert listener.links.empty()


async def test_media_that_stops_reading_is_let_go(tmp_path):
    listener = Listener()
    async with ScriptedMedia(tmp_path / "m") as media:
        client = listener.client(media.path)
        connecting = asyncio.ensure_future(client.connect())
        await media.accepts(WELCOME)
        await connecting
        assert await listener.links.get() == WELCOME
        for call in range(40):
            client.send(KeepMemo(call, bytes(1 << 20)))
        assert await listener.links.get() is None
        await client.close()


async def test_a_client_may_be_there_before_media(tmp_path):
    listener = Listener()
    client = listener.client(str(tmp_path / "media.sock"))
    connecting = asyncio.ensure_future(client.connect())
    media = MediaProcess(tmp_path, 31000)
    welcome = await connecting
    assert welcome == Welcome(VERSION, 31000, 31999, 1, 0, welcome.fingerprint)
    client.send(KeepMemo(1, b"memo"))
    client.send(AskMemos())
    assert await listener.events.get() == [Memos(((1, b"memo"),), ())]
    assert media.stop() == 0
    await listener.links.get()
    assert await listener.links.get() is None
    again = MediaProcess(tmp_path, 31000)
    assert (await listener.links.get()).open_ports == 0
    await client.close()
    assert again.stop() == 0


async def test_connecting_may_be_given_up(tmp_path):
    client = Listener().client(str(tmp_path / "nobody"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.connect(), 0.05)
    await client.close()
    assert not client.connected


def test_packing_writes_what_the_decoder_reads():
    commands = [Hello(VERSION, 60.0), Hear(1, 2), KeepMemo(1, b"x")]
    packed = pack(commands)
    assert int.from_bytes(packed[:4], "big") == len(packed) - 4
    assert msgspec.msgpack.decode(packed[4:], type=list[Command]) == commands
