"""RTCP (RFC 3550 section 6): what we report, and what we make of the peer's reports."""

import struct

import pytest
from media_room import Room

STRANGER = ("203.0.113.66", 6667)
SR, RR, SDES, BYE = 200, 201, 202, 203


def split(compound: bytes) -> list[tuple[int, int, bytes]]:
    """The packets of a compound as (type, count, body)."""
    packets = []
    while compound:
        first, kind, words = struct.unpack_from("!BBH", compound)
        assert first >> 6 == 2
        packets.append((kind, first & 31, compound[4 : 4 + 4 * words]))
        compound = compound[4 + 4 * words :]
    return packets


def sender_report(ssrc: int, ntp: int = 0, blocks: bytes = b"") -> bytes:
    count = len(blocks) // 24
    body = struct.pack("!IQIII", ssrc, ntp, 0, 0, 0) + blocks
    return struct.pack("!BBH", 0x80 | count, SR, len(body) // 4) + body


def receiver_report(ssrc: int, blocks: bytes = b"") -> bytes:
    count = len(blocks) // 24
    body = struct.pack("!I", ssrc) + blocks
    return struct.pack("!BBH", 0x80 | count, RR, len(body) // 4) + body


def block(ssrc: int, lost: int = 0, jitter: int = 0, last_sr: int = 0, delay: int = 0) -> bytes:
    return struct.pack("!IIIIII", ssrc, lost & 0xFFFFFF, 0, jitter, last_sr, delay)


@pytest.fixture
def room() -> Room:
    return Room()


def test_a_sender_reports_what_it_sent(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.talks(400)
    (kind, count, body), (sdes, _, names) = split(bob.reports[-1])
    ssrc, ntp, timestamp, packets, octets = struct.unpack_from("!IQIII", body)
    assert (kind, count, sdes) == (SR, 0, SDES), "bob sends nothing: no block"
    assert ssrc == bob.heard[0].ssrc
    assert octets == 160 * packets
    sent = bob.heard[packets - 1]
    assert ntp / 2**32 == pytest.approx(100 + sent.at, abs=0.03), "the core's epoch in tests is 100 s"
    assert (timestamp - sent.timestamp) & 0xFFFFFFFF <= 160
    assert names[4:6] == b"\x01\x10"
    assert len(names) % 4 == 0


def test_reports_come_each_five_seconds_more_or_less(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.talks(50 * 100)
    assert 100 / 7.5 <= len(bob.reports) <= 100 / 2.5
    assert len(bob.reports) == pytest.approx(100 / 5, abs=5)


def test_two_ports_do_not_report_in_step_nor_under_one_name(room):
    alice, bob = room.phone(1), room.phone(2)
    room.wait(60)
    names = {split(phone.reports[0])[1][2][6:22] for phone in (alice, bob)}
    assert len(names) == 2


def test_a_receiver_reports_loss_and_jitter(room):
    alice, bob = room.phone(1), room.phone(2, receives=False)
    room.join(alice, bob)
    for n in range(1000):
        packet = alice.packet()
        for chosen in [packet][: n % 4]:
            alice.sends(chosen)
        room.wait(0.02)
    kind, count, body = split(alice.reports[-1])[0]
    ssrc, about, fraction_lost = struct.unpack_from("!IIB", body)
    lost = int.from_bytes(body[9:12], "big")
    highest, jitter, last_sr, delay = struct.unpack_from("!IIII", body, 12)
    assert (kind, count) == (RR, 1)
    assert about == alice.ssrc
    assert ssrc != about
    assert fraction_lost == pytest.approx(64, abs=2)
    assert lost == pytest.approx(room.report(alice).lost_packets, abs=100)
    assert 65_536 < highest < alice.sequence, "the sequence has wrapped once"
    assert (jitter, last_sr, delay) == (0, 0, 0)


def test_a_report_echoes_the_peers_last_report(room):
    alice = room.phone(1)
    alice.talks(1)
    alice.sends_rtcp(sender_report(alice.ssrc, ntp=0x11112222_33334444))
    came = room.now
    room.wait(8)
    body = split(alice.reports[0])[0][2]
    last_sr, delay = struct.unpack_from("!II", body, 20)
    assert last_sr == 0x22223333
    assert 0 < delay / 65536 <= 8
    assert room.now - came == 8


def test_round_trip_loss_and_jitter_at_the_peer_are_read(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.talks(500)
    body = split(bob.reports[-1])[0][2]
    ssrc, ntp = struct.unpack_from("!IQ", body)
    sent_at = ntp / 2**32 - 100
    held_s = 1.0
    room.now = sent_at + held_s + 0.080
    last_sr = (ntp >> 16) & 0xFFFFFFFF
    ours = block(ssrc, lost=12, jitter=80, last_sr=last_sr, delay=int(held_s * 65536))
    bob.sends_rtcp(receiver_report(0xB0B, block(1234, lost=99) + ours))
    report = room.report(bob)
    assert report.round_trip_ms == pytest.approx(80, abs=0.1)
    assert (report.remote_lost_packets, report.remote_jitter_ms) == (12, 10.0)


def test_a_peer_that_counts_doubles_has_lost_nothing(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.talks(1)
    bob.sends_rtcp(receiver_report(0xB0B, block(bob.heard[0].ssrc, lost=-3)))
    assert room.report(bob).remote_lost_packets == 0


def test_closing_says_goodbye(room):
    alice = room.phone(1)
    alice.talks(3)
    room.close(alice)
    kinds = [kind for kind, _, _ in split(alice.reports[-1])]
    assert kinds == [RR, SDES, BYE]


def test_reports_of_strangers_are_refused(room):
    alice = room.phone(1)
    alice.talks(1)
    alice.sends_rtcp(receiver_report(1, block(2)), source=STRANGER)
    assert room.report(alice).refused_packets == 1


def test_reports_are_found_behind_a_nat_by_the_ssrc_and_answered_there(room):
    alice = room.phone(1)
    alice.talks(1)
    behind_nat = (alice.address[0], 50_001)
    alice.sends_rtcp(sender_report(alice.ssrc), source=behind_nat)
    assert room.report(alice).refused_packets == 0
    room.wait(8)
    assert [(host, port) for host, port, _ in room.stray] == [behind_nat]


def test_multiplexed_reports_are_read(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.talks(1)
    bob.sends(receiver_report(0xB0B, block(bob.heard[0].ssrc, lost=5)))
    report = room.report(bob)
    assert (report.remote_lost_packets, report.refused_packets, report.received_packets) == (5, 0, 0)
    assert alice.heard == []


def test_without_an_rtcp_port_nothing_is_reported(room):
    alice = room.phone(1, rtcp=False)
    alice.talks(500)
    assert alice.reports == []
    assert room.stray == []


BROKEN = {
    "empty": b"",
    "three bytes": b"\x80\xc9\x00",
    "version 1": b"\x40\xc9\x00\x01\x00\x00\x00\x01",
    "no RTCP type": b"\x80\x10\x00\x01\x00\x00\x00\x01",
    "longer than it is": b"\x80\xc9\x00\x09\x00\x00\x00\x01",
    "a block that is not there": b"\x81\xc9\x00\x01\x00\x00\x00\x01",
    "rubbish behind": receiver_report(1) + b"\x00",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_broken_reports_are_counted(room, data):
    alice = room.phone(1)
    alice.talks(1)
    alice.sends_rtcp(data)
    assert room.report(alice).refused_packets == 1
