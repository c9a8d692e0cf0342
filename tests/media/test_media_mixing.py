"""Who hears whom, judged by sines: each speaker has its own, each listener is asked which it hears."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_room import EVENTS, PCMA, PCMU, Room, rtp, steps
from media_sound import Speaker, level_db, sound, talk, whole

from media.messages import Hear, Payload, Unhear

HZ = (400.0, 550.0, 700.0, 850.0, 1100.0, 1450.0, 1900.0, 2400.0)
L16 = Payload(96, "l16", 8000)
G722 = Payload(9, "g722", 8000)
OPUS = Payload(111, "opus", 48000, 2)


@pytest.fixture
def room() -> Room:
    return Room()


def speakers(room: Room, count: int, *codecs: Payload) -> list[Speaker]:
    return [Speaker(room.phone(n + 1, *(codecs or (PCMU, EVENTS))), HZ[n]) for n in range(count)]


def heard_db(room: Room, listener: Speaker, others: list[Speaker], seconds: float = 0.4) -> list[float]:
    """The level of each one's sine at the listener, over a stretch in which all speak."""
    start = len(listener.phone.heard)
    talk(room, others, seconds)
    samples = sound(listener.phone.heard[start:], listener.codec.name)
    return [level_db(samples, other.frequency_hz) for other in others]


def test_three_talk_and_each_hears_the_other_two_but_not_itself(room):
    three = speakers(room, 3)
    room.join(*(speaker.phone for speaker in three))
    talk(room, three, 0.2)
    for listener in three:
        start = len(listener.phone.heard)
        talk(room, three, 0.4)
        samples = sound(listener.phone.heard[start:], "pcmu")
        for speaker in three:
            level = level_db(samples, speaker.frequency_hz)
            if speaker is listener:
                assert level < -60
            else:
                assert level == pytest.approx(-16, abs=0.5)


def test_a_codec_that_the_listener_does_not_accept_is_spoken_in_its_own(room):
    alice, bob = Speaker(room.phone(1, PCMA), 440.0), Speaker(room.phone(2, PCMU), 1000.0)
    room.join(alice.phone, bob.phone)
    talk(room, (alice, bob), 1.0)
    assert {packet.payload_type for packet in bob.phone.heard} == {0}
    assert level_db(sound(bob.phone.heard[10:], "pcmu"), 440.0) == pytest.approx(-16, abs=0.3)
    assert level_db(sound(alice.phone.heard[10:], "pcma"), 1000.0) == pytest.approx(-16, abs=0.3)


def test_an_edge_may_be_softer(room):
    boss, member, caller = speakers(room, 3)
    room.tell(Hear(2, 3), Hear(2, 1, -6.0))
    talk(room, (boss, caller), 0.2)
    soft, plain = heard_db(room, member, [boss, caller])
    assert plain == pytest.approx(-16, abs=0.5)
    assert soft == pytest.approx(-22, abs=0.5)
    room.tell(Hear(2, 1, 0.0))
    talk(room, (boss, caller), 0.2)
    assert heard_db(room, member, [boss, caller])[0] == pytest.approx(-16, abs=0.5)


def test_fifty_speakers_at_full_scale_do_not_wrap_around(room):
    crowd = [Speaker(room.phone(n, PCMU), 300.0 + 20 * n, level_dbov=-1.0) for n in range(1, 51)]
    room.tell(*(Hear(1, n) for n in range(2, 51)))
    talk(room, crowd[1:], 0.5)
    heard = sound(crowd[0].phone.heard[5:], "pcmu")
    steepest = max(abs(b - a) for a, b in itertools.pairwise(heard))
    assert steepest < 45_000
    assert max(map(abs, heard)) > 20_000


def test_in_a_crowd_the_loudest_are_heard(room):
    crowd = [Speaker(room.phone(n, PCMU), 300.0 + 37 * n, level_dbov=-50.0) for n in range(2, 40)]
    loud = [Speaker(room.phone(n, PCMU), hz, level_dbov=-20.0) for n, hz in ((50, 2000.0), (51, 2500.0))]
    ear = room.phone(1, PCMU)
    room.tell(*(Hear(1, speaker.phone.port) for speaker in (*crowd, *loud)))
    talk(room, (*crowd, *loud), 0.6)
    heard = sound(ear.heard[10:], "pcmu")
    assert [level_db(heard, speaker.frequency_hz) for speaker in loud] == pytest.approx([-20, -20], abs=0.7)
    assert sum(level_db(heard, speaker.frequency_hz) > -55 for speaker in crowd) <= 6


def test_the_mix_adds_less_than_30_ms(room):
    alice, bob = Speaker(room.phone(1, PCMA), 440.0), room.phone(2, PCMU)
    room.tell(Hear(2, 1))
    room.wait(0.013)
    sent = [(room.now + n * 0.02) for n in range(50)]
    talk(room, (alice,), 1.0)
    late = [packet.at - at for packet, at in zip(bob.heard, sent, strict=False)]
    assert len(bob.heard) >= 48
    assert max(late) < 0.030


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 40, 60])
@pytest.mark.parametrize("spoken_ms", [10, 20, 30, 60])
def test_packets_have_the_length_that_the_listener_wants(room, ptime_ms, spoken_ms):
    alice = Speaker(room.phone(1, PCMA), 440.0, ptime_ms=spoken_ms)
    bob = room.phone(2, PCMU, ptime_ms=ptime_ms)
    room.tell(Hear(2, 1))
    talk(room, (alice,), 1.2)
    assert {len(packet.payload) for packet in bob.heard} == {ptime_ms * 8}
    assert set(steps(bob.heard)) == {(1, ptime_ms * 8)}
    assert level_db(whole(bob.heard, "pcmu")[400:], 440.0) == pytest.approx(-16, abs=0.3)


def test_from_packets_to_the_mix_and_back_nothing_is_lost_or_repeated(room):
    alice, bob, carol = (
        Speaker(room.phone(1, L16), 440.0),
        room.phone(2, L16),
        Speaker(room.phone(3, L16), 0.0),
    )
    room.tell(Hear(2, 1))
    talk(room, (alice, carol), 0.5)
    room.tell(Hear(2, 3))
    talk(room, (alice, carol), 0.5)
    room.tell(Unhear(2, 3))
    talk(room, (alice, carol), 0.5)
    assert set(steps(bob.heard)) == {(1, 160)}
    assert [packet.marker for packet in bob.heard] == [True] + [False] * (len(bob.heard) - 1)
    heard = whole(bob.heard, "l16")
    assert heard == alice.samples(0, len(heard)), "carol is silent: not one sample is different"
    assert len(heard) >= 1.4 * 8000


def test_a_second_listener_joins_the_mix_without_a_seam(room):
    alice, carol = Speaker(room.phone(1, L16), 440.0), Speaker(room.phone(3, L16), 0.0)
    bob, dave = room.phone(2, L16), room.phone(4, L16)
    room.tell(Hear(2, 1), Hear(4, 1), Hear(2, 3))
    talk(room, (alice, carol), 0.5)
    room.tell(Hear(4, 3))
    talk(room, (alice, carol), 0.5)
    for phone in (bob, dave):
        heard = whole(phone.heard, "l16")
        assert heard == alice.samples(160 if phone is bob else 0, len(heard)) or heard == alice.samples(
            0, len(heard)
        )
        assert set(steps(phone.heard)) == {(1, 160)}


def test_digits_cross_a_mix(room):
    alice, bob, carol = speakers(room, 3)
    room.join(alice.phone, bob.phone, carol.phone)
    talk(room, (alice, carol), 0.4)
    start = len(bob.phone.heard)
    for n in range(5):
        event = bytes([5, 10 | (0x80 if n == 4 else 0)]) + (160 * (n + 1)).to_bytes(2, "big")
        alice.phone.sends(
            rtp(alice.phone.sequence, alice.phone.timestamp, alice.phone.ssrc, event, 101, n == 0)
        )
        alice.phone.sequence += 1
        carol.speaks()
        room.wait(0.02)
    events = [packet for packet in bob.phone.heard[start:] if packet.payload_type == 101]
    assert len(events) == 5
    assert len({packet.timestamp for packet in events}) == 1
    assert [packet.payload[0] for packet in events] == [5] * 5
    assert {step for step, _ in steps(bob.phone.heard)} == {1}


def test_who_is_silent_in_a_mix_costs_nothing_and_comes_back_in_time(room):
    alice, bob, carol = speakers(room, 3)
    room.join(alice.phone, bob.phone, carol.phone)
    talk(room, (alice, carol), 0.5)
    room.wait(5.0)
    quiet = len(bob.phone.heard)
    room.wait(5.0)
    assert len(bob.phone.heard) == quiet, "nobody speaks: nothing is sent"
    talk(room, (alice,), 0.5)
    passed = (bob.phone.heard[-1].timestamp - bob.phone.heard[0].timestamp) & 0xFFFFFFFF
    assert passed / 8000 == pytest.approx(bob.phone.heard[-1].at - bob.phone.heard[0].at, abs=0.03)
    assert bob.phone.heard[quiet].marker


def test_wide_and_narrow_talk_with_each_other(room):
    """G.722 and Opus there and back through the engine: what is spoken in one is heard in the other."""
    ear, mouth = Speaker(room.phone(1, L16), 0.0), Speaker(room.phone(2, L16), 1000.0)
    for number, codec in ((3, G722), (4, OPUS)):
        phone = room.phone(number, codec)
        room.tell(Hear(number, 2))
        talk(room, (mouth,), 0.5)
        spoken = phone.heard[:]
        assert {packet.payload_type for packet in spoken} == {codec.payload_type}
        room.tell(Unhear(number, 2), Hear(1, number))
        start = len(ear.phone.heard)
        for n, packet in enumerate(spoken):
            phone.sends(rtp(n, packet.timestamp, 7, packet.payload, codec.payload_type))
            room.wait(0.02)
        samples = sound(ear.phone.heard[start + 8 :], "l16")
        assert level_db(samples, 1000.0) == pytest.approx(-16, abs=0.6)
        room.tell(Unhear(1, number))


CODECS = (PCMU, PCMA, L16)
CHANGES = st.lists(st.tuples(st.integers(1, 8), st.integers(1, 8), st.booleans()), min_size=1, max_size=10)


@settings(max_examples=25, deadline=None)
@given(codecs=st.lists(st.sampled_from(CODECS), min_size=8, max_size=8), changes=CHANGES)
def test_exactly_the_drawn_edges_are_audible_within_200_ms(codecs, changes):
    room = Room()
    crowd = [Speaker(room.phone(n + 1, codecs[n]), HZ[n], level_dbov=-22.0) for n in range(8)]
    edges: set[tuple[int, int]] = set()
    for listener, speaker, drawn in changes:
        if drawn:
            edges.add((listener, speaker))
            room.tell(Hear(listener, speaker))
        else:
            edges.discard((listener, speaker))
            room.tell(Unhear(listener, speaker))
        talk(room, crowd, 0.2)
        starts = [len(one.phone.heard) for one in crowd]
        talk(room, crowd, 0.2)
        for ear, start in zip(crowd, starts, strict=True):
            samples = sound(ear.phone.heard[start:], ear.codec.name)
            for mouth in crowd:
                audible = level_db(samples, mouth.frequency_hz) > -52 if samples else False
                assert audible == ((ear.phone.port, mouth.phone.port) in edges)
    for one in crowd:
        assert {step for step, _ in steps(one.phone.heard)} <= {1}
        assert all(0 < passed < 1 << 31 for _, passed in steps(one.phone.heard))
