"""What an engine may ask, and what becomes of its calls when it is gone."""

import msgspec
import pytest
from media_room import LOCAL, PCMU, Room

from media.client import pack
from media.messages import (
    VERSION,
    AskMemos,
    ClosePort,
    DropMemo,
    Hear,
    Hello,
    KeepMemo,
    Memos,
    Negotiated,
    OpenPlayer,
    OpenPort,
    Refused,
    Report,
    Unhear,
    Welcome,
)


@pytest.fixture
def room() -> Room:
    return Room()


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def test_hello_is_answered_with_the_range_and_what_is_open(room):
    room.phone(1)
    room.tell(Hello(VERSION, 60.0))
    (welcome,) = room.events()
    assert welcome == Welcome(VERSION, 20000, 29999, 1, 1, welcome.fingerprint)


def test_another_version_is_told_ours_and_gets_nothing(room):
    room.tell(Hello(VERSION + 1, 60.0))
    (welcome,) = room.events()
    assert welcome.version == VERSION
    room.tell(AskMemos())
    assert room.events() == [Refused(10, "Hello comes first")]


def test_memos_are_kept_replaced_and_dropped(room):
    room.tell(KeepMemo(1, b"one"), KeepMemo(2, b"two"), KeepMemo(1, b"uno"), KeepMemo(3, b""), DropMemo(2))
    room.tell(OpenPort(5, 1, LOCAL, 20010), OpenPlayer(6, 3), AskMemos())
    assert room.events() == [Memos(((1, b"uno"), (3, b"")), ((5, 1, LOCAL, 20010), (6, 3, "", 0)))]


def test_large_memos_survive(room):
    memo = bytes(range(256)) * 1000
    room.tell(KeepMemo(2**64 - 1, memo), AskMemos())
    assert room.events() == [Memos(((2**64 - 1, memo),), ())]


def test_without_an_engine_sound_goes_on_and_then_ends():
    room = Room(orphan_s=10.0)
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    room.tell(KeepMemo(1, b"memo"))
    room.core.disconnected(room.now)
    alice.talks(490)
    assert len(bob.heard) == 490
    room.wait(0.3)
    alice.talks(10)
    assert len(bob.heard) == 490
    room.tell(Hello(VERSION, 10.0), AskMemos())
    welcome, memos = room.events()[-2:]
    assert welcome == Welcome(VERSION, 20000, 29999, 1, 0, welcome.fingerprint)
    assert memos == Memos((), ())


def test_an_engine_that_comes_back_in_time_finds_everything():
    room = Room(orphan_s=10.0)
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    room.core.disconnected(room.now)
    room.wait(9)
    room.tell(Hello(VERSION, 10.0))
    room.wait(20)
    alice.talks(3)
    assert len(bob.heard) == 3


REFUSED = {
    "unknown tag": ([99, 1], Refused(99, "unknown tag")),
    "no tag": (["x"], Refused(0, "no tag")),
    "not an array": (5, Refused(0, "not an array")),
    "too few fields": ([4, 1], Refused(4, "fields missing, or of a wrong type or value")),
    "wrong type": ([4, "a", 2], Refused(4, "fields missing, or of a wrong type or value")),
    "host is a name": (
        [2, 1, 1, "example.com", 4],
        Refused(2, "fields missing, or of a wrong type or value"),
    ),
    "port too large": ([2, 1, 1, "::1", 70000], Refused(2, "fields missing, or of a wrong type or value")),
    "twice open": ([2, 1, 1, LOCAL, 20002], Refused(2, "the port is open already")),
    "unknown listener": ([4, 77, 1], Refused(4, "no such port")),
    "a tone does not hear": ([4, 3, 1], Refused(4, "the listener is no open stream or recorder")),
    "families mixed": (
        [3, 1, "2001:db8::1", 1, 2, True, True, [], []],
        Refused(3, "the port and its peer are of different address families"),
    ),
    "protocol unknown": (
        [3, 1, "192.0.2.9", 1, 2, True, True, [], [], 20, "sctp"],
        Refused(3, "fields missing, or of a wrong type or value"),
    ),
}


@pytest.mark.parametrize(("message", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_makes_no_sense_costs_only_itself(room, message, told):
    alice, bob = room.phone(1), room.phone(2)
    room.tell(OpenPlayer(3, 1))
    rest = msgspec.to_builtins(Hear(2, 1))
    room.core.handle_frame(frame(msgspec.msgpack.encode([message, rest])), room.now)
    assert room.events() == [told]
    alice.talks(1)
    assert len(bob.heard) == 1


def test_rubbing_out_what_is_not_there_is_no_fault(room):
    room.phone(1)
    room.tell(Unhear(1, 1), Unhear(5, 6), Unhear(1, 7))
    assert room.events() == []


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x92\x94\x04", b"\xdd\xff\xff\xff\xff", b"\xff" * 100, b"\xa5hello"]
)
def test_a_frame_that_is_not_messagepack_is_refused_and_nothing_else(room, body):
    alice = room.phone(1)
    room.core.handle_frame(frame(body), room.now)
    assert {type(event) for event in room.events()} <= {Refused}
    room.tell(Hear(1, 1))
    alice.talks(1)
    assert len(alice.heard) == 1


def test_a_frame_full_of_faults_is_not_answered_without_end(room):
    room.core.handle_frame(frame(msgspec.msgpack.encode([0] * 100_000)), room.now)
    assert len(room.events()) == 100


def test_trailing_defaults_may_be_absent(room):
    room.tell(OpenPort(1, 1, LOCAL, 20002), Hear(1, 1))
    terms = Negotiated(1, "198.51.100.1", 4000, 4001, True, True, (PCMU,), (PCMU,))
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(terms))
    short = [*fields[:8], [[0, "pcmu", 8000]], [[0, "pcmu", 8000]]][:10]
    short[7:] = [[[0, "pcmu", 8000]], [[0, "pcmu", 8000]]]
    room.core.handle_frame(frame(msgspec.msgpack.encode([short])), room.now)
    assert room.events() == []


def test_every_command_travels(room):
    """What the encoder writes for a Struct is what the core reads: none of these is refused as unreadable."""
    room.phone(1)
    room.phone(2)
    room.tell(OpenPlayer(3, 2**64 - 1), Hear(1, 3), Unhear(1, 3), KeepMemo(0, b""), DropMemo(0))
    room.tell(AskMemos(), ClosePort(1), ClosePort(2), ClosePort(3))
    assert {type(event) for event in room.events()} == {Memos, Report}


def test_ports_of_two_calls_that_are_joined_move_to_one_worker():
    room = Room(workers=2)
    alice, bob = room.phone(1, call=1), room.phone(2, call=1)
    carol, dave = room.phone(3, call=2), room.phone(4, call=2)
    room.join(alice, bob)
    room.join(carol, dave)
    alice.talks(10)
    carol.talks(10)
    room.part(alice, bob)
    room.part(carol, dave)
    room.join(bob, carol)
    bob.talks(10)
    carol.talks(10)
    assert [packet.sequence - dave.heard[0].sequence for packet in dave.heard] == list(range(10))
    assert len(bob.heard) == 20
    assert len({packet.ssrc for packet in bob.heard}) == 1
    assert len(carol.heard) == 10
    reports = [room.close(phone) for phone in (alice, bob, carol, dave)]
    assert [report.received_packets for report in reports] == [10, 10, 20, 0]
    assert room.core.next_deadline() is None


def test_timers_move_with_their_ports():
    room = Room(workers=2)
    alice, carol = room.phone(1, call=1), room.phone(3, call=2)
    room.join(alice, carol)
    room.wait(15.1)
    assert sorted(event.port for event in room.events()) == [1, 3]
    assert len(alice.reports) >= 1
    assert len(carol.reports) >= 1


def test_what_pack_writes_is_length_and_messages():
    packed = pack([ClosePort(1), DropMemo(2)])
    assert packed == b"\x00\x00\x00\x07\x92\x92\x06\x01\x92\x09\x02"
