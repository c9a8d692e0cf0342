"""SRTP by keys from SDP, judged by libsrtp at the other end."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_room import EVENTS, FRAME_S, PCMA, PCMU, Phone, Room, Rtp, rtp, steps
from pylibsrtp import Policy, Session, _binding

from media.messages import Hear, Refused, Sdes, SecurityNews

AES_128_SHA1_80 = "AES_CM_128_HMAC_SHA1_80"
AES_128_SHA1_32 = "AES_CM_128_HMAC_SHA1_32"
AES_256_SHA1_80 = "AES_256_CM_HMAC_SHA1_80"
AES_256_SHA1_32 = "AES_256_CM_HMAC_SHA1_32"
AES_128_GCM = "AEAD_AES_128_GCM"
AES_256_GCM = "AEAD_AES_256_GCM"
SUITES = {
    AES_128_SHA1_80: (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30, 10),
    AES_128_SHA1_32: (Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 30, 4),
    AES_256_SHA1_80: (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 46, 10),
    AES_256_SHA1_32: (Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 46, 4),
    AES_128_GCM: (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28, 16),
    AES_256_GCM: (Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 44, 16),
}
"""libsrtp's profile, the length of master key and salt, and that of the tag"""


def session(suite: str, key: bytes, ssrc_type: int) -> Session:
    """libsrtp's contexts of one direction.

    It has AES-256 in counter mode too, but no profile for it: the two policies are then filled in by hand
    (cipher, its key and salt in bytes, HMAC-SHA1, its key, its tag, encrypt and authenticate).
    """
    profile, length, tag = SUITES[suite]
    policy = Policy(key=key, ssrc_type=ssrc_type, srtp_profile=profile)
    policy.window_size = 128
    if length == 46:
        for name, tag_length in (("rtp", tag), ("rtcp", 10)):
            place = _binding.ffi.buffer(_binding.ffi.addressof(policy._policy, name))
            place[:] = struct.pack("=6I", 5, length, 3, 20, tag_length, 3)
    return Session(policy)


class SecurePhone(Phone):
    """A phone that closes and opens its packets with libsrtp."""

    suite = AES_128_SHA1_80

    def secures(self, suite: str, ours: int = 1, theirs: int = 2, **terms: object) -> None:
        """Have keys negotiated that are made of these numbers."""
        self.suite = suite
        length = SUITES[suite][1]
        self.key, self.peer_key = bytes([ours]) * length, bytes([theirs]) * length
        self.closing = session(suite, self.key, Policy.SSRC_ANY_OUTBOUND)
        self.opening = session(suite, self.peer_key, Policy.SSRC_ANY_INBOUND)
        self.negotiates(security=Sdes(suite, self.peer_key, self.key), **terms)

    def sends(self, data: bytes, source: tuple[str, int] | None = None) -> None:
        super().sends(self.closing.protect(data), source)

    def takes(self, local_port: int, to: tuple[str, int], data: bytes) -> bool:
        if local_port == self.local_port and to == self.address:
            self.datagrams.append(data)
            self.heard.append(Rtp.parse(self.opening.unprotect(data), self.room.now))
            return True
        if local_port == self.local_port + 1 and to == self.rtcp_address:
            self.reports.append(self.opening.unprotect_rtcp(data))
            return True
        return False


@pytest.fixture
def room() -> Room:
    return Room()


def secure_phone(room: Room, port: int, suite: str, *codecs, **terms: object) -> SecurePhone:
    phone = room.phone(port, *codecs, kind=SecurePhone)
    phone.secures(suite, **terms)
    return phone


@pytest.mark.parametrize("suite", SUITES)
def test_a_secured_phone_and_a_plain_one_hear_each_other(room, suite):
    alice, bob = secure_phone(room, 1, suite), room.phone(2)
    room.join(alice, bob)
    alice.sends(alice.packet(b"hello"))
    bob.sends(bob.packet(b"hi"))
    assert [packet.payload for packet in bob.heard] == [b"hello"]
    assert [packet.payload for packet in alice.heard] == [b"hi"]
    assert [len(data) for data in alice.datagrams] == [12 + 2 + SUITES[suite][2]]
    assert (room.report(alice).srtp, room.report(bob).srtp) == (suite, "")


@pytest.mark.parametrize("suite", SUITES)
def test_two_secured_phones_hear_each_other_each_by_its_own_keys(room, suite):
    alice, bob = secure_phone(room, 1, suite), secure_phone(room, 2, AES_128_SHA1_80, ours=3, theirs=4)
    room.join(alice, bob)
    for _ in range(5):
        alice.talks()
        bob.talks()
    assert len(alice.heard) == len(bob.heard) == 5
    assert steps(alice.heard) == steps(bob.heard) == [(1, 160)] * 4


def test_one_packet_goes_to_many_listeners_each_closed_with_its_own_key(room):
    alice, bob = secure_phone(room, 1, AES_128_SHA1_80), room.phone(2)
    carol = secure_phone(room, 3, AES_128_GCM, ours=5, theirs=6)
    dave = secure_phone(room, 4, AES_128_SHA1_32, ours=7, theirs=8)
    room.tell(*(Hear(phone.port, alice.port) for phone in (carol, bob, dave)))
    alice.sends(alice.packet(b"to all"))
    assert [phone.heard[0].payload for phone in (bob, carol, dave)] == [b"to all"] * 3


@pytest.mark.slow
@pytest.mark.parametrize("suite", SUITES)
def test_the_roll_over_counter_is_kept_both_ways(room, suite):
    """70,000 packets wrap the peer's sequence twice and ours once, with losses around each wrap."""
    alice = secure_phone(room, 1, suite, PCMU)
    room.tell(Hear(1, 1))
    sent = 0
    for n in range(70_000):
        data = alice.packet(b"x")
        if alice.sequence % 65536 not in (65_535, 0, 7):
            alice.sends(data)
            sent += 1
        room.now += FRAME_S
        if n % 1000 == 0:
            assert len(alice.heard) == sent
            alice.datagrams.clear()
    assert len(alice.heard) == sent
    assert room.report(alice).refused_packets == 0


@pytest.mark.parametrize("suite", SUITES)
def test_replays_and_forgeries_are_dropped_and_counted(room, suite):
    alice, bob = secure_phone(room, 1, suite), room.phone(2)
    room.join(alice, bob)
    closed = [alice.closing.protect(alice.packet(bytes([n]))) for n in range(103)]
    for n in (*range(100), 99, 50, 101, 100, 100):
        Phone.sends(alice, closed[n])
    forged = bytearray(closed[102])
    forged[12] ^= 1
    Phone.sends(alice, bytes(forged))
    Phone.sends(alice, rtp(alice.sequence - 1, 0, alice.ssrc, b"in the clear"))
    Phone.sends(alice, closed[102])
    assert [packet.payload[0] for packet in bob.heard] == [*range(100), 101, 100, 102]
    assert room.report(alice).refused_packets == 5


@pytest.mark.parametrize("suite", SUITES)
def test_rtcp_is_secured_both_ways(room, suite):
    alice = secure_phone(room, 1, suite)
    room.tell(Hear(1, 1))
    alice.talks(1000)
    assert {report[1] for report in alice.reports} == {200}
    blocks = struct.pack("!IIIIII", alice.heard[0].ssrc, 0, 0, 160, 0, 0)
    report = struct.pack("!BBHI", 0x81, 201, 7, alice.ssrc) + blocks
    closed = alice.closing.protect_rtcp(report)
    alice.sends_rtcp(closed)
    assert room.report(alice).remote_jitter_ms == pytest.approx(20.0)
    alice.sends_rtcp(closed)
    alice.sends_rtcp(report)
    assert room.report(alice).refused_packets == 2
    room.close(alice)
    assert alice.reports[-1][-8:-4] == b"\x81\xcb\x00\x01", "a goodbye"


@pytest.mark.parametrize("suite", SUITES)
def test_other_keys_in_mid_call_leave_one_stream(room, suite):
    alice, bob = secure_phone(room, 1, suite), room.phone(2)
    room.join(alice, bob)
    for turn in range(5):
        alice.secures(suite, ours=10 + turn, theirs=20 + turn)
        for _ in range(150):
            alice.talks()
            bob.talks()
    assert alice.sequence > 65_536, "one of the keys came after a roll-over"
    assert steps(alice.heard) == steps(bob.heard) == [(1, 160)] * 749
    old = session(suite, bytes([13]) * SUITES[suite][1], Policy.SSRC_ANY_OUTBOUND)
    Phone.sends(alice, old.protect(alice.packet()))
    assert room.report(alice).refused_packets == 1


def test_the_same_keys_again_change_nothing(room):
    """Hold and resume often repeat a=crypto: replays stay replays, and no index is used twice."""
    alice, bob = secure_phone(room, 1, AES_128_GCM), room.phone(2)
    room.join(alice, bob)
    first = alice.closing.protect(alice.packet())
    Phone.sends(alice, first)
    bob.talks(3)
    alice.negotiates(security=Sdes(alice.suite, alice.peer_key, alice.key))
    Phone.sends(alice, first)
    assert room.report(alice).refused_packets == 1
    bob.talks(3)
    assert steps(alice.heard) == [(1, 160)] * 5
    assert len({(data[2:4]) for data in alice.datagrams}) == 6


def test_security_may_come_and_go_and_comes_back_without_repeating_itself(room):
    alice, bob = secure_phone(room, 1, AES_128_SHA1_80), room.phone(2)
    room.join(alice, bob)
    first = alice.closing.protect(alice.packet(b"secret"))
    Phone.sends(alice, first)
    alice.negotiates()
    Phone.sends(alice, alice.packet(b"open"))
    alice.negotiates(security=Sdes(alice.suite, alice.peer_key, alice.key))
    Phone.sends(alice, first)
    Phone.sends(alice, alice.packet(b"still open"))
    alice.sends(alice.packet(b"secret again"))
    assert [packet.payload for packet in bob.heard] == [b"secret", b"open", b"secret again"]
    assert room.report(alice).refused_packets == 2


def test_a_peer_with_another_key_is_told_of_once(room):
    alice = secure_phone(room, 1, AES_128_SHA1_80)
    alice.closing = session(AES_128_SHA1_80, bytes(30), Policy.SSRC_ANY_OUTBOUND)
    alice.talks(200)
    (news,) = [event for event in room.events() if isinstance(event, SecurityNews)]
    assert (news.port, news.what) == (1, "srtp-refused")
    assert room.report(alice).refused_packets == 200


def test_digits_and_a_mix_cross_the_border(room):
    """A secured phone in PCMA and a plain one in PCMU: what each hears is decoded, mixed and closed."""
    alice, bob = secure_phone(room, 1, AES_128_SHA1_80, PCMA, EVENTS), room.phone(2, PCMU, EVENTS)
    room.join(alice, bob)
    for _ in range(50):
        alice.sends(alice.packet(b"\xd5" * 160))
        bob.sends(bob.packet(b"\xff" * 160))
        room.wait(FRAME_S)
    assert len(alice.heard) >= 45
    assert {packet.payload_type for packet in alice.heard} == {8}
    assert {byte | 0x81 for packet in bob.heard for byte in packet.payload} == {0xFF}, "silence, to a bit"


@pytest.mark.parametrize(("suite", "length"), [(AES_128_SHA1_80, 29), (AES_128_GCM, 30), ("NULL", 30)])
def test_keys_that_cannot_be_are_refused(room, suite, length):
    alice = room.phone(1)
    alice.negotiates(security=Sdes(suite, bytes(length), bytes(length)))
    assert [event.tag for event in room.events() if isinstance(event, Refused)] == [3]


def test_keys_are_not_shown():
    assert "secret" not in repr(Sdes(AES_128_SHA1_80, b"secret", b"secret"))


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200), rtcp=st.booleans(), suite=st.sampled_from(sorted(SUITES)))
def test_any_bytes_at_a_secured_port_are_dropped_and_counted(data, rtcp, suite):
    room = Room()
    alice, bob = secure_phone(room, 1, suite), room.phone(2)
    room.join(alice, bob)
    if rtcp:
        alice.sends_rtcp(data)
    else:
        Phone.sends(alice, data)
    assert room.report(alice).refused_packets == 1
    assert bob.heard == []
    alice.talks(2)
    assert len(bob.heard) == 2
