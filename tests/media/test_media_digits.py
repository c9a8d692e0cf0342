"""Telephone-events (RFC 4733): passed on whole, and each digit told at its beginning and at its end."""

import itertools
import struct
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_room import EVENTS, PCMU, Room, rtp

from media.messages import ClosePort, Digit, Hear, Payload, Unhear

NAMES = [*"0123456789*#ABCD", "flash"]
PACKET_S = 0.02


class Packet(NamedTuple):
    """One packet of an event, as it is due `after_s` the beginning."""

    after_s: float
    data: bytes
    is_end: bool


def event(
    code: int,
    sequence: int,
    timestamp: int,
    duration_ms: int = 100,
    rate_hz: int = 8000,
    payload_type: int = 101,
) -> list[Packet]:
    """A digit as a phone sends it: a packet each 20 ms, the end three times."""
    packets = []
    updates = duration_ms // 20
    for n in range(1, updates + 3):
        is_end = n >= updates
        duration = min(n, updates) * 20 * rate_hz // 1000
        payload = struct.pack("!BBH", code, 0x8A if is_end else 0x0A, duration)
        data = rtp(sequence + n, timestamp, 7, payload, payload_type, marker=n == 1)
        packets.append(Packet(min(n, updates) * PACKET_S, data, is_end))
    return packets


@pytest.fixture
def room() -> Room:
    return Room()


def play(room: Room, phone, packets: list[Packet]) -> None:
    start = room.now
    for packet in packets:
        room.wait(max(0.0, start + packet.after_s - room.now))
        phone.sends(packet.data)


def digits(room: Room) -> list[tuple[str, bool, int]]:
    return [(e.digit, e.ended, e.duration_ms) for e in room.events() if isinstance(e, Digit)]


@pytest.mark.parametrize(("code", "name"), list(enumerate(NAMES)))
def test_each_digit_has_its_name(room, code, name):
    alice = room.phone(1)
    play(room, alice, event(code, 1, 1000))
    assert digits(room) == [(name, False, 0), (name, True, 100)]


def test_a_digit_is_told_when_its_first_packet_comes(room):
    alice = room.phone(1)
    first, *rest = event(5, 1, 1000)
    alice.sends(first.data)
    (told,) = [e for e in room.events() if isinstance(e, Digit)]
    assert told == Digit(1, "5", False, 0, room.now)
    play(room, alice, rest)
    assert digits(room) == [("5", True, 100)]


@pytest.mark.parametrize("rate_hz", [8000, 16000, 48000])
def test_durations_follow_the_clock_rate_of_the_event(room, rate_hz):
    alice = room.phone(1, PCMU, Payload(99, "telephone-event", rate_hz))
    play(room, alice, event(1, 1, 1000, duration_ms=240, rate_hz=rate_hz, payload_type=99))
    assert digits(room) == [("1", False, 0), ("1", True, 240)]


def test_a_lost_end_is_made_up_after_a_silence(room):
    alice = room.phone(1)
    play(room, alice, [packet for packet in event(1, 1, 1000) if not packet.is_end])
    room.wait(0.2)
    assert digits(room) == [("1", False, 0)]
    room.wait(0.1)
    assert digits(room) == [("1", True, 80)]
    alice.sends(event(1, 1, 1000)[-1].data)
    assert digits(room) == []


def test_a_digit_whose_port_closes_ends(room):
    alice = room.phone(1)
    play(room, alice, event(1, 1, 1000)[:2])
    room.tell(ClosePort(1))
    assert digits(room) == [("1", False, 0), ("1", True, 40)]


def test_a_lost_end_is_made_up_even_when_nobody_may_hear_the_digit(room):
    alice = room.phone(1, sends=False)
    alice.sends(event(1, 1, 1000)[0].data)
    room.wait(0.3)
    assert digits(room) == [("1", False, 0), ("1", True, 20)]


def test_the_same_digit_twice_is_two_digits(room):
    alice = room.phone(1)
    play(room, alice, event(1, 1, 1000))
    room.wait(0.05)
    play(room, alice, event(1, 8, 2200))
    assert digits(room) == [("1", False, 0), ("1", True, 100)] * 2


def test_a_digit_is_passed_with_its_timestamp_and_its_three_ends(room):
    alice, bob = room.phone(1), room.phone(2, PCMU, Payload(96, "telephone-event", 8000))
    room.join(alice, bob)
    alice.talks(5)
    start = alice.timestamp
    alice.ssrc = 7
    alice.sends(alice.packet())
    alice.sequence += 7
    play(room, alice, event(9, alice.sequence - 8, start + 160))
    heard = [packet for packet in bob.heard if packet.payload_type == 96]
    assert len(heard) == 7
    assert len({packet.timestamp for packet in heard}) == 1
    assert [packet.payload for packet in heard[-3:]] == [struct.pack("!BBH", 9, 0x8A, 800)] * 3
    assert [packet.marker for packet in heard] == [True] + [False] * 6
    assert {(b.sequence - a.sequence) & 0xFFFF for a, b in itertools.pairwise(heard)} == {1}


def test_sound_and_digits_share_one_clock(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.ssrc, alice.sequence, alice.timestamp = 7, 100, 50_000
    alice.talks(3)
    play(room, alice, event(9, alice.sequence - 1, alice.timestamp))
    alice.sequence += 7
    alice.timestamp += 800
    alice.talks(1)
    base = bob.heard[0].timestamp
    assert [packet.timestamp - base for packet in bob.heard] == [0, 160, 320] + [480] * 7 + [1280]


def test_a_clock_that_is_set_during_a_digit_leaves_its_timestamp_alone(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    first, second, *rest = event(9, 2, 1000)
    alice.sends(rtp(1, 840, 7, b"sound"))
    alice.sends(first.data)
    alice.sends(second.data)
    alice.sends(rtp(5, 900_000, 7, b"sound of another clock"))
    for packet in rest[2:]:
        alice.sends(packet.data)
    heard = [packet.timestamp for packet in bob.heard if packet.payload_type == 101]
    assert len(heard) == 2 + len(rest[2:])
    assert set(heard) == {bob.heard[0].timestamp + 160}


def test_a_digit_that_began_before_the_edge_stays_behind(room):
    alice, bob = room.phone(1), room.phone(2)
    packets = event(1, 1, 1000)
    play(room, alice, packets[:2])
    room.wait(0.001)
    room.tell(Hear(2, 1))
    play(room, alice, packets[2:])
    assert bob.heard == []
    room.wait(0.1)
    play(room, alice, event(2, 20, 5000))
    assert {packet.payload[0] for packet in bob.heard} == {2}


def test_a_digit_that_the_edge_did_not_survive_ends_for_the_listener(room):
    alice, bob = room.phone(1), room.phone(2)
    room.tell(Hear(2, 1))
    packets = event(1, 1, 1000)
    play(room, alice, packets[:2])
    room.tell(Unhear(2, 1))
    play(room, alice, packets[2:])
    assert len(bob.heard) == 2


def test_events_are_not_passed_to_a_listener_without_them(room):
    alice, bob = room.phone(1), room.phone(2, PCMU)
    room.tell(Hear(2, 1))
    play(room, alice, event(1, 1, 1000))
    assert bob.heard == []
    assert digits(room) == [("1", False, 0), ("1", True, 100)]


def test_events_that_are_no_digits_are_passed_and_not_told(room):
    alice, bob = room.phone(1, PCMU, EVENTS), room.phone(2)
    room.tell(Hear(2, 1))
    play(room, alice, event(32, 1, 1000))
    assert len(bob.heard) == 7
    assert digits(room) == []


NETWORK = st.lists(
    st.tuples(st.sampled_from(["pass", "lose", "double", "delay"]), st.integers(0, 3)),
    min_size=28,
    max_size=28,
)


@settings(max_examples=300, deadline=None)
@given(fates=NETWORK, codes=st.lists(st.integers(0, 16), min_size=4, max_size=4))
def test_each_digit_is_told_once_whatever_is_lost_doubled_or_disordered(fates, codes):
    room = Room()
    alice = room.phone(1)
    sent = [packet for n, code in enumerate(codes) for packet in event(code, 7 * n, 2400 * n)]
    arrivals: list[tuple[float, int, bytes]] = []
    for place, (packet, (fate, packets_late)) in enumerate(zip(sent, fates, strict=True)):
        due = place // 7 * 0.3 + packet.after_s
        late = packets_late * PACKET_S
        times = {"pass": [due], "lose": [], "double": [due, due + late], "delay": [due + late]}[fate]
        arrivals += [(time, place, packet.data) for time in times]
    start = room.now
    for time, _, data in sorted(arrivals):
        room.wait(max(0.0, start + time - room.now))
        alice.sends(data)
    room.wait(1.0)
    told = digits(room)
    came = sorted({place // 7 for _, place, _ in arrivals})
    assert [(name, ended) for name, ended, _ in told] == [
        (NAMES[codes[n]], ended) for n in came for ended in (False, True)
    ]
    assert all(20 <= duration <= 100 for _, ended, duration in told if ended)
