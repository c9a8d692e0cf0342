"""A program in a call: it is given what the port hears, and what it says is heard."""

import asyncio
import json
import math
import struct

import pytest
from media_house import PATIENCE_S, Engine, MediaProcess
from media_room import PCMU, Room
from media_sound import Speaker, level_db, sound, talk
from websockets.asyncio.server import ServerConnection, serve

from media.messages import ClosePort, ForkNews, Hear, OpenFork, Report

FORK = 70
URL = "ws://127.0.0.1:9/agent"


@pytest.fixture
def room() -> Room:
    return Room()


def test_a_program_hears_all_that_its_port_hears(room):
    alice, bob = Speaker(room.phone(1, PCMU), 440.0), Speaker(room.phone(2, PCMU), 1000.0)
    room.join(alice.phone, bob.phone)
    room.tell(OpenFork(FORK, 1, URL, 8000), Hear(FORK, 1), Hear(FORK, 2))
    talk(room, (alice, bob), 1.0)
    heard = room.core.fork_heard(FORK)
    assert len(heard) / 8000 == pytest.approx(1.0, abs=0.03)
    assert [level_db(heard[800:], hz) for hz in (440, 1000)] == pytest.approx([-16, -16], abs=0.4)


def test_what_a_program_says_is_heard_once_and_can_be_taken_back(room):
    alice = room.phone(1, PCMU)
    room.tell(OpenFork(FORK, 1, URL, 16000), Hear(1, FORK))
    said = [round(8000 * math.sin(2 * math.pi * 700 * n / 16000)) for n in range(32000)]
    assert room.core.fork_says(FORK, said)
    room.wait(1.0)
    assert level_db(sound(alice.heard[4:], "pcmu"), 700) == pytest.approx(-12.2, abs=0.4)
    room.core.fork_says(FORK, None)
    room.wait(0.06)
    start = len(alice.heard)
    room.wait(0.5)
    assert level_db(sound(alice.heard[start:], "pcmu"), 700) < -60


def test_a_program_that_does_not_listen_costs_nothing_but_its_own_hearing(room):
    alice, bob = Speaker(room.phone(1, PCMU), 440.0), room.phone(2, PCMU)
    room.tell(OpenFork(FORK, 1, URL, 8000), Hear(FORK, 1), Hear(2, 1))
    talk(room, (alice,), 20.0)
    assert len(bob.heard) == 1000
    assert len(room.core.fork_heard(FORK)) / 8000 == pytest.approx(5.0, abs=0.1), "what was kept for it"
    for _ in range(2000):
        room.core.fork_says(FORK, [0] * 16000)
    room.tell(ClosePort(FORK))
    assert [event.port for event in room.events() if isinstance(event, Report)] == [FORK]


async def test_over_a_websocket(tmp_path):
    """A real media process and a real server: an echo program, and one that nobody can reach."""
    heard: list[bytes] = []
    told: list[str] = []

    async def program(line: ServerConnection) -> None:
        async for message in line:
            if isinstance(message, str):
                told.append(message)
            else:
                heard.append(message)
                await line.send(message)

    async with serve(program, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]

        def call() -> list[ForkNews]:
            media = MediaProcess(tmp_path, 30800)
            try:
                engine = Engine(media)
                alice = engine.opens(1)
                engine.tell(OpenFork(FORK, 1, f"ws://127.0.0.1:{port}/", 8000), Hear(FORK, 1), Hear(1, FORK))
                news = [engine.hears(ForkNews)]
                alice.says(struct.pack("160B", *range(96, 256)))
                while True:
                    payload = alice.hears()
                    if payload.count(payload[0]) < 160:
                        break
                engine.tell(ClosePort(FORK))
                news.append(engine.hears(ForkNews))
                engine.tell(OpenFork(FORK + 1, 1, "ws://127.0.0.1:1/", 8000))
                news.append(engine.hears(ForkNews))
                engine.tell(OpenFork(FORK + 2, 1, "wss://127.0.0.1:1/", 8000))
                news.append(engine.hears(ForkNews))
                return news
            finally:
                media.stop()

        news = await asyncio.wait_for(asyncio.to_thread(call), 3 * PATIENCE_S)
    assert [one.connected for one in news] == [True, False, False, False]
    assert news[1].why == ""
    assert "refused" in news[2].why
    assert "only ws://" in news[3].why
    assert json.loads(told[0]) == {"event": "start", "port": FORK, "rate_hz": 8000}
    assert {len(message) for message in heard} == {320}
