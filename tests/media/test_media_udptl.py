"""T.38 over UDPTL: datagrams pass as they are."""

import pytest
from media_room import PCMU, Room

STRANGER = ("203.0.113.66", 6666)


@pytest.fixture
def room() -> Room:
    return Room()


def udptl(sequence: int, body: bytes = b"\x06indicator\x00\x00") -> bytes:
    return sequence.to_bytes(2, "big") + body


def test_datagrams_pass_verbatim(room):
    alice, bob = room.phone(1, protocol="udptl"), room.phone(2, protocol="udptl")
    room.join(alice, bob)
    datagrams = [udptl(n, bytes([0x80, 0xC8]) * n) for n in range(5)]
    for datagram in datagrams:
        alice.sends(datagram)
    assert bob.datagrams == datagrams
    report = room.report(bob)
    assert (report.sent_packets, report.sent_bytes) == (5, sum(map(len, datagrams)))
    assert room.report(alice).received_packets == 5


def test_fax_is_no_sound(room):
    alice, bob = room.phone(1, protocol="udptl"), room.phone(2)
    room.join(alice, bob)
    alice.sends(udptl(0))
    bob.talks(2)
    assert bob.datagrams == []
    assert alice.datagrams == []


def test_a_call_turns_into_a_fax_and_back(room):
    alice, bob = room.phone(1, PCMU), room.phone(2, PCMU)
    room.join(alice, bob)
    alice.talks(3)
    for phone in (alice, bob):
        phone.negotiates(protocol="udptl")
    alice.sends(udptl(0))
    for phone in (alice, bob):
        phone.negotiates()
    alice.talks(3)
    assert [len(datagram) for datagram in bob.datagrams] == [172] * 3 + [len(udptl(0))] + [172] * 3
    assert len({packet.ssrc for packet in bob.heard}) == 1


def test_a_terminal_behind_a_nat_is_found_and_strangers_are_refused(room):
    alice, bob = room.phone(1, protocol="udptl"), room.phone(2, protocol="udptl")
    room.join(alice, bob)
    alice.address = ("203.0.113.1", 31000)
    for n in range(3):
        alice.sends(udptl(n))
        room.wait(1)
    for n in range(50):
        alice.sends(udptl(n), source=STRANGER)
    assert bob.datagrams == [udptl(1), udptl(2)]
    bob.sends(udptl(0))
    assert alice.datagrams == [udptl(0)]


def test_no_reports_and_no_silence_are_told_of_a_fax(room):
    alice = room.phone(1, protocol="udptl")
    room.wait(60)
    assert alice.reports == []
    assert room.events() == []


@pytest.mark.parametrize("data", [b"", b"\x00"])
def test_what_is_too_short_is_counted(room, data):
    alice, bob = room.phone(1, protocol="udptl"), room.phone(2, protocol="udptl")
    room.join(alice, bob)
    alice.sends(data)
    assert bob.datagrams == []
    assert room.report(alice).refused_packets == 1
