"""ICE as the lite side of it: the peer's checks are answered, and say where to send."""

import hashlib
import hmac
import ipaddress
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_room import Phone, Room

from media.messages import Ice, SecurityNews

ICE = Ice("ours", "the password of ours", "theirs", "the password of theirs")
HERE, ELSEWHERE = ("203.0.113.9", 5000), ("203.0.113.10", 5001)
COOKIE = 0x2112A442
REQUEST, INDICATION, SUCCESS = 0x0001, 0x0011, 0x0101
USERNAME, INTEGRITY, MAPPED, USE_CANDIDATE, FINGERPRINT = 0x0006, 0x0008, 0x0020, 0x0025, 0x8028


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def head(kind: int, length: int, transaction: bytes) -> bytes:
    return struct.pack("!HHI", kind, length, COOKIE) + transaction


def check(
    ice: Ice = ICE, nominates: bool = True, transaction: bytes = b"transaction.", kind: int = REQUEST
) -> bytes:
    """What a browser sends: it controls, and knows our password."""
    body = attribute(USERNAME, f"{ice.local_ufrag}:{ice.remote_ufrag}".encode())
    body += attribute(0xC057, b"\0\0\0\x0a") + attribute(0x802A, b"tiebreak")
    body += attribute(0x0024, b"\x6e\0\1\xff")
    body += attribute(USE_CANDIDATE, b"") if nominates else b""
    covered = head(kind, len(body) + 24, transaction) + body
    body += attribute(INTEGRITY, hmac.digest(ice.local_pwd.encode(), covered, hashlib.sha1))
    covered = head(kind, len(body) + 8, transaction) + body
    body += attribute(FINGERPRINT, struct.pack("!I", zlib.crc32(covered) ^ 0x5354554E))
    return head(kind, len(body), transaction) + body


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
def alice(room: Room) -> Phone:
    return room.phone(1, ice=ICE, multiplexed=True)


def news(room: Room) -> list[tuple[str, str]]:
    return [(event.what, event.detail) for event in room.events() if isinstance(event, SecurityNews)]


def sent_to(room: Room, address: tuple[str, int]) -> list[bytes]:
    return [data for host, port, data in room.stray if (host, port) == address]


def test_a_check_is_answered_where_it_came_from(room, alice):
    alice.sends(check(nominates=False), HERE)
    (answer,) = sent_to(room, HERE)
    kind, length, cookie = struct.unpack_from("!HHI", answer)
    assert (kind, length, cookie, answer[8:20]) == (SUCCESS, len(answer) - 20, COOKIE, b"transaction.")
    mapped = struct.pack("!BBHI", 0, 1, HERE[1] ^ 0x2112, int(ipaddress.ip_address(HERE[0])) ^ COOKIE)
    assert answer[20:32] == attribute(MAPPED, mapped)
    covered = head(SUCCESS, 12 + 24, b"transaction.") + answer[20:32]
    assert answer[32:56] == attribute(INTEGRITY, hmac.digest(ICE.local_pwd.encode(), covered, hashlib.sha1))
    crc = zlib.crc32(answer[:-8]) ^ 0x5354554E
    assert answer[56:] == attribute(FINGERPRINT, struct.pack("!I", crc))
    assert news(room) == []


def test_sound_goes_where_the_peer_nominates_and_comes_from_there_alone(room, alice):
    bob = room.phone(2)
    room.join(alice, bob)
    alice.sends(check(), HERE)
    alice.sends(check(), HERE)
    assert news(room) == [("ice-connected", "203.0.113.9:5000")]
    room.stray.clear()
    bob.talks(3)
    assert [len(data) for data in sent_to(room, HERE)] == [172] * 3
    alice.sends(alice.packet(b"from here"), HERE)
    for _ in range(10):
        alice.sends(alice.packet(b"from elsewhere"), ELSEWHERE)
        alice.sends(alice.packet(b"from the signalled address"))
    assert [packet.payload for packet in bob.heard] == [b"from here"]
    alice.sends(check(), ELSEWHERE)
    assert news(room) == [("ice-connected", "203.0.113.10:5001")]
    alice.sends(alice.packet(b"moved"), ELSEWHERE)
    assert bob.heard[-1].payload == b"moved"
    room.stray.clear()
    bob.talks()
    assert [host for host, _, _ in room.stray] == [ELSEWHERE[0]]


def test_reports_go_where_the_sound_goes(room, alice):
    alice.sends(check(), HERE)
    room.wait(10.0)
    assert [data[1] for data in sent_to(room, HERE)[1:]] != []
    assert {data[1] for data in sent_to(room, HERE)[1:]} == {201}
    assert alice.reports == []


@pytest.mark.parametrize(
    "ice",
    [Ice("ours", "guessed", "theirs", ""), Ice("other", ICE.local_pwd, "theirs", ""), Ice("", "", "", "")],
    ids=["password", "ufrag", "neither"],
)
def test_a_check_of_a_stranger_is_dropped_and_counted(room, alice, ice):
    alice.sends(check(ice), HERE)
    assert room.stray == []
    assert news(room) == []
    assert room.report(alice).refused_packets == 1


def test_a_port_without_ice_answers_no_check(room):
    alice = room.phone(1)
    alice.sends(check(), HERE)
    alice.sends(check())
    assert room.stray == []
    assert alice.datagrams == []
    assert room.report(alice).refused_packets == 2


def test_indications_keep_a_binding_open_and_get_no_answer(room, alice):
    alice.sends(check(kind=INDICATION), HERE)
    assert room.stray == []
    assert room.report(alice).refused_packets == 0


def test_checks_that_end_are_told_once_and_those_that_go_on_are_consent(room, alice):
    alice.sends(check(), HERE)
    for _ in range(30):
        room.wait(5.0)
        alice.sends(check(nominates=False), HERE)
    assert news(room) == [("ice-connected", "203.0.113.9:5000")]
    room.wait(29.0)
    assert news(room) == []
    room.wait(100.0)
    assert [what for what, _ in news(room)] == ["ice-failed"]


def test_sound_is_consent_too(room, alice):
    alice.sends(check(), HERE)
    for _ in range(100):
        alice.sends(alice.packet(), HERE)
        room.wait(1.0)
    assert [what for what, _ in news(room)] == ["ice-connected"]


def test_a_restart_wants_the_new_password_and_keeps_the_way_until_then(room, alice):
    bob = room.phone(2)
    room.join(alice, bob)
    alice.sends(check(), HERE)
    restarted = Ice("ours2", "another password", "theirs2", "and another")
    alice.negotiates(ice=restarted, multiplexed=True)
    room.stray.clear()
    bob.talks()
    alice.sends(check(), ELSEWHERE)
    assert [host for host, _, _ in room.stray] == [HERE[0]]
    alice.sends(check(restarted), ELSEWHERE)
    room.stray.clear()
    bob.talks()
    assert [host for host, _, _ in room.stray] == [ELSEWHERE[0]]
    assert room.report(alice).refused_packets == 1


def test_the_same_again_keeps_the_way_though_the_address_in_the_sdp_changed(room, alice):
    bob = room.phone(2)
    room.join(alice, bob)
    alice.sends(check(), HERE)
    alice.signalled = ("198.51.100.77", 9)
    alice.negotiates(ice=ICE, multiplexed=True)
    room.stray.clear()
    bob.talks()
    assert [host for host, _, _ in room.stray] == [HERE[0]]


def test_without_ice_the_signalled_address_counts_again(room, alice):
    bob = room.phone(2)
    room.join(alice, bob)
    alice.sends(check(), HERE)
    alice.negotiates(multiplexed=True)
    bob.talks()
    assert len(alice.heard) == 1


def test_rtcp_on_a_port_of_its_own_has_checks_of_its_own(room):
    alice = room.phone(1, ice=ICE)
    alice.sends_rtcp(check(), ELSEWHERE)
    (answer,) = sent_to(room, ELSEWHERE)
    assert answer[:2] == b"\x01\x01"
    room.wait(10.0)
    assert len(sent_to(room, ELSEWHERE)) >= 2


@settings(max_examples=300, deadline=None)
@given(
    data=st.builds(lambda first, rest: bytes([first]) + rest, st.integers(0, 3), st.binary(max_size=120)),
    rtcp=st.booleans(),
)
def test_any_bytes_that_might_be_a_check_are_dropped_and_counted(data, rtcp):
    room = Room()
    alice = room.phone(1, ice=ICE)
    (alice.sends_rtcp if rtcp else alice.sends)(data, HERE)
    assert room.stray == []
    assert room.report(alice).refused_packets == 1
