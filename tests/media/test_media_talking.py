"""Who talks: told at the beginning and at the end, and not for the noise of a room."""

import random

import pytest
from media_room import PCMU, Room
from media_sound import Speaker, encode, talk

from media.messages import ClosePort, Talking, WatchTalking


@pytest.fixture
def room() -> Room:
    return Room()


def told(room: Room) -> list[tuple[bool, float]]:
    return [(event.begins, event.clock_s) for event in room.events() if isinstance(event, Talking)]


def murmur(room: Room, phone, seconds: float, level: int) -> None:
    """The noise of a room."""
    noise = random.Random(3)
    for _ in range(round(seconds * 50)):
        phone.sends(phone.packet(encode("pcmu", [noise.randint(-level, level) for _ in range(160)])))
        room.wait(0.02)


def test_talk_is_told_from_the_noise_of_the_room(room):
    alice = Speaker(room.phone(1, PCMU), 300.0, level_dbov=-20.0)
    room.tell(WatchTalking(1, on=True))
    murmur(room, alice.phone, 2.0, 100)
    assert told(room) == []
    begin = room.now
    talk(room, (alice,), 1.0)
    end = room.now
    murmur(room, alice.phone, 2.0, 100)
    (begins, begun_at), (ends, ended_at) = told(room)
    assert (begins, ends) == (True, False)
    assert 0.05 <= begun_at - begin <= 0.15
    assert 0.35 <= ended_at - end <= 0.55


def test_nobody_is_watched_unasked_and_a_port_that_closes_leaves_nothing(room):
    alice = Speaker(room.phone(1, PCMU), 300.0)
    talk(room, (alice,), 0.5)
    room.tell(WatchTalking(1, on=True))
    murmur(room, alice.phone, 1.0, 50)
    talk(room, (alice,), 0.5)
    assert [begins for begins, _ in told(room)] == [True]
    room.tell(WatchTalking(1, on=False))
    talk(room, (alice,), 0.5)
    room.wait(1)
    assert told(room) == []
    room.tell(ClosePort(1))
    assert room.core.next_deadline() is None
