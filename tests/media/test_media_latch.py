"""Symmetric RTP: the peer is found behind its NAT, and nobody else gets in."""

import pytest
from media_room import Room, rtp

from media.messages import Started

STRANGER = ("203.0.113.66", 6666)
BEHIND_NAT = ("203.0.113.1", 31000)


@pytest.fixture
def room() -> Room:
    return Room()


def attack(room: Room, phone, packets: int, ssrc: int = 0xBAD) -> None:
    for n in range(packets):
        phone.sends(rtp(n, n * 160, ssrc, b"injected"), source=STRANGER)
        room.wait(0.005)


def started(room: Room) -> list[tuple[str, int]]:
    return [(e.remote_host, e.remote_port) for e in room.events() if isinstance(e, Started)]


def test_the_signalled_address_is_believed_at_once(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.talks(1)
    assert len(bob.heard) == 1
    assert started(room) == [alice.address]


def test_a_stranger_cannot_inject_into_a_stream(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.talks(3)
    attack(room, alice, 100)
    alice.talks(3)
    assert b"injected" not in {packet.payload for packet in bob.heard}
    assert room.report(alice).refused_packets == 100


def test_a_stranger_cannot_draw_a_stream_away(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    bob.talks(3)
    alice.talks(3)
    attack(room, bob, 100)
    alice.talks(3)
    assert len(bob.heard) == 6
    assert room.stray == []


def test_a_stranger_cannot_go_on_for_a_peer_that_fell_silent(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.talks(3)
    room.wait(5)
    attack(room, alice, 100)
    assert len(bob.heard) == 3


def test_a_phone_behind_a_nat_is_found_by_its_first_packets(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.address = BEHIND_NAT
    alice.talks(4)
    assert bob.heard == []
    alice.talks(2)
    assert len(bob.heard) == 2
    bob.talks(1)
    assert len(alice.heard) == 1, "and is answered where it really is"
    assert started(room) == [BEHIND_NAT, bob.address]


def test_scattered_packets_from_elsewhere_prove_nothing(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    for n in range(0, 200, 2):
        alice.sends(rtp(n, n * 160, 1, b"injected"), source=STRANGER)
        room.wait(0.02)
    assert bob.heard == []
    alice.talks(1)
    assert len(bob.heard) == 1


def test_slow_packets_from_elsewhere_prove_nothing(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    for n in range(20):
        alice.sends(rtp(n, n * 160, 1, b"injected"), source=STRANGER)
        room.wait(0.3)
    assert bob.heard == []


def test_the_signalled_address_wins_over_one_that_was_learned(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    attack(room, alice, 10)
    alice.talks(5)
    attack(room, alice, 10)
    bob.talks(1)
    assert [packet.payload for packet in bob.heard[-5:]] == [b"\xff" * 160] * 5
    assert len(alice.heard) == 1


def test_a_new_nat_binding_is_followed(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.talks(10)
    alice.address = BEHIND_NAT
    alice.talks(50)
    bob.talks(1)
    assert len(alice.heard) == 1
    assert 10 + 50 - len(bob.heard) == pytest.approx(27, abs=2), "half a second and the proof"


def test_renegotiating_the_same_address_does_not_open_the_lock(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.talks(3)
    alice.negotiates()
    room.wait(1)
    attack(room, alice, 20)
    assert len(bob.heard) == 3


def test_renegotiating_another_address_moves_the_stream(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.talks(3)
    before = alice.address
    alice.signalled = alice.address = ("198.51.100.77", 7000)
    alice.negotiates()
    alice.talks(3)
    bob.talks(1)
    assert len(bob.heard) == 6
    assert len(alice.heard) == 1
    alice.sends(alice.packet(), source=before)
    assert len(bob.heard) == 6, "the old address is a stranger now"


def test_the_peer_may_change_its_ssrc(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.talks(3)
    alice.ssrc += 1
    alice.talks(3)
    assert len(bob.heard) == 6
