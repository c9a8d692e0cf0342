"""A tone, judged on its samples: frequency, level, continuity, and packets on time."""

import math

import pytest
from media_room import OPUS, PCMA, PCMU, Room, steps, tone
from media_sound import a_law, amplitude, mu_law

from media.messages import ClosePort, Hear, Unhear

TONE = 90


@pytest.fixture
def room() -> Room:
    return Room()


def listen(room: Room, phone, seconds: float, decode) -> list[int]:
    start = len(phone.heard)
    room.wait(seconds)
    return [decode(code) for packet in phone.heard[start:] for code in packet.payload]


@pytest.mark.parametrize(("codec", "decode"), [(PCMU, mu_law), (PCMA, a_law)], ids=["mu-law", "A-law"])
@pytest.mark.parametrize("frequency_hz", [425.0, 1004.0, 2987.0])
@pytest.mark.parametrize("level_dbov", [0.0, -10.0, -30.0])
def test_frequency_and_level_are_right(room, codec, decode, frequency_hz, level_dbov):
    alice = room.phone(1, codec)
    room.tell(*tone(TONE, 1, frequency_hz, level_dbov), Hear(1, TONE))
    samples = listen(room, alice, 1.02, decode)[160:]
    full = 32767 * 10 ** (level_dbov / 20)
    heard = amplitude(samples, frequency_hz)
    assert 20 * math.log10(heard / full) == pytest.approx(0, abs=0.1)
    total = math.sqrt(2 * sum(sample * sample for sample in samples) / len(samples))
    noise = math.sqrt(max(0.0, total * total - heard * heard))
    assert 20 * math.log10(noise / heard) < -33, "nothing but quantising noise"


def test_frames_come_each_20_ms_in_one_stream(room):
    alice = room.phone(1)
    room.tell(*tone(TONE, 1, 1000.0, -10.0), Hear(1, TONE))
    room.wait(2.0)
    assert steps(alice.heard) == [(1, 160)] * 99
    assert [packet.marker for packet in alice.heard] == [True] + [False] * 99
    start = alice.heard[0].at
    assert [packet.at - start for packet in alice.heard] == pytest.approx([0.02 * n for n in range(100)])


def test_a_worker_that_was_held_up_leaves_a_gap_and_no_burst(room):
    alice = room.phone(1)
    room.tell(*tone(TONE, 1, 1000.0, -10.0), Hear(1, TONE))
    room.wait(0.1)
    room.now += 1.0
    room.wait(0.1)
    assert len(alice.heard) == pytest.approx(12, abs=1)
    assert max(timestamp for _, timestamp in steps(alice.heard)) == pytest.approx(8000, abs=160)


def test_each_listener_gets_its_codec(room):
    alice, bob, carol = room.phone(1, PCMA, PCMU), room.phone(2, OPUS, PCMU), room.phone(3, OPUS)
    room.tell(*tone(TONE, 1, 1000.0, -10.0), *(Hear(n, TONE) for n in (1, 2, 3)))
    room.wait(0.1)
    assert {packet.payload_type for packet in alice.heard} == {8}
    assert {packet.payload_type for packet in bob.heard} == {111}
    assert {packet.payload_type for packet in carol.heard} == {111}
    assert alice.heard[-1].timestamp - alice.heard[0].timestamp == 640
    assert carol.heard[-1].timestamp - carol.heard[0].timestamp == 3840


def test_a_tone_that_nobody_hears_does_nothing(room):
    alice = room.phone(1, rtcp=False)
    room.tell(*tone(TONE, 1, 1000.0, -10.0), Hear(1, TONE))
    room.wait(0.1)
    room.tell(Unhear(1, TONE))
    heard = len(alice.heard)
    room.wait(1)
    assert len(alice.heard) == heard
    assert room.core.next_deadline() == 1015.0, "only alice's silence is waited for"
    room.tell(Hear(1, TONE))
    room.wait(0.1)
    assert len(alice.heard) > heard
    assert max(step for step, _ in steps(alice.heard)) == 1


def test_from_a_tone_to_a_phone_is_one_stream(room):
    alice, bob = room.phone(1), room.phone(2)
    room.tell(*tone(TONE, 1, 425.0, -10.0), Hear(1, TONE))
    room.wait(0.99)
    room.tell(Unhear(1, TONE), ClosePort(TONE), Hear(1, 2))
    bob.talks(10)
    assert {step for step, _ in steps(alice.heard)} == {1}
    assert sum(packet.marker for packet in alice.heard) == 2
    assert {timestamp for _, timestamp in steps(alice.heard)} == {160}
