"""One speaker, one listener: each listener sees one continuous stream, whoever is heard."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_room import EVENTS, FRAME_S, LOCAL, OPUS, PCMA, PCMU, Room, rtp, steps

from media.messages import Hear, Negotiated, OpenPort, Payload, Unhear

AMR = Payload(97, "amr", 8000)


@pytest.fixture
def room() -> Room:
    return Room()


def test_what_one_phone_says_the_other_hears(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.sends(alice.packet(b"hello"))
    bob.sends(bob.packet(b"hi"))
    assert [packet.payload for packet in bob.heard] == [b"hello"]
    assert [packet.payload for packet in alice.heard] == [b"hi"]


def test_nobody_hears_without_an_edge(room):
    alice, bob = room.phone(1), room.phone(2)
    room.tell(Hear(bob.port, alice.port))
    bob.talks(3)
    assert alice.heard == []
    assert room.stray == []


def test_an_edge_drawn_twice_is_one_and_rubbing_out_twice_changes_nothing(room):
    alice, bob = room.phone(1), room.phone(2)
    room.tell(Hear(2, 1), Hear(2, 1))
    alice.talks(2)
    assert len(bob.heard) == 2
    room.tell(Unhear(2, 1), Unhear(2, 1))
    alice.talks(2)
    assert len(bob.heard) == 2
    assert room.events()[1:] == [], "only that alice started"


def test_one_speaker_may_have_many_listeners(room):
    alice, *others = [room.phone(n) for n in range(1, 5)]
    room.tell(*(Hear(other.port, alice.port) for other in others))
    alice.sends(alice.packet(b"to all"))
    assert [phone.heard[0].payload for phone in others] == [b"to all"] * 3
    assert len({phone.heard[0].ssrc for phone in others}) == 3


def test_a_port_that_hears_itself_is_an_echo(room):
    alice = room.phone(1)
    room.tell(Hear(1, 1))
    alice.talks(50)
    assert steps(alice.heard) == [(1, 160)] * 49


def test_hold_and_resume_leave_one_stream(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.talks(10)
    room.part(alice, bob)
    alice.talks(100)
    room.join(alice, bob)
    alice.talks(10)
    assert steps(bob.heard) == [(1, 160)] * 9 + [(1, 101 * 160)] + [(1, 160)] * 9
    assert [place for place, packet in enumerate(bob.heard) if packet.marker] == [0, 10]
    assert len({packet.ssrc for packet in bob.heard}) == 1


def test_a_transfer_leaves_one_stream(room):
    alice, bob, carol = room.phone(1), room.phone(2), room.phone(3, call=2)
    room.join(alice, bob)
    alice.talks(10)
    room.part(alice, bob)
    room.join(bob, carol)
    carol.talks(10)
    assert steps(bob.heard) == [(1, 160)] * 19
    assert [place for place, packet in enumerate(bob.heard) if packet.marker] == [0, 10]
    assert len({packet.ssrc for packet in bob.heard}) == 1


def test_a_source_that_changes_its_ssrc_stays_one_stream(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.talks(5)
    alice.ssrc, alice.sequence, alice.timestamp = 77, 5, 123_456
    alice.talks(5)
    assert steps(bob.heard) == [(1, 160)] * 9


def test_a_source_that_sets_its_clock_stays_one_stream(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.talks(5)
    alice.timestamp += 100_000_000
    alice.talks(5)
    assert steps(bob.heard) == [(1, 160)] * 9


def test_stragglers_of_the_source_before_are_dropped(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    late = alice.packet(b"late")
    alice.talks(5)
    room.part(alice, bob)
    room.join(alice, bob)
    alice.talks(1)
    alice.sends(late)
    assert b"late" not in [packet.payload for packet in bob.heard]


def test_loss_at_the_source_stays_visible(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.talks(3)
    alice.packet()
    alice.packet()
    room.wait(0.04)
    alice.talks(3)
    assert steps(bob.heard) == [(1, 160)] * 2 + [(3, 480)] + [(1, 160)] * 2


def test_doubles_and_disorder_pass_as_they_came(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    packets = [alice.packet(bytes([n])) for n in range(5)]
    for n in (0, 2, 1, 3, 3, 4):
        alice.sends(packets[n])
    start = bob.heard[0].sequence
    assert [(packet.sequence - start) & 0xFFFF for packet in bob.heard] == [0, 2, 1, 3, 3, 4]
    assert [packet.payload[0] for packet in bob.heard] == [0, 2, 1, 3, 3, 4]


def test_payload_types_are_mapped_by_codec(room):
    alice = room.phone(1, receive=(PCMA, Payload(96, "telephone-event", 8000), OPUS))
    bob = room.phone(2, send=(Payload(120, "opus", 48000, 2), EVENTS, PCMA))
    room.tell(Hear(2, 1))
    alice.sends(alice.packet(payload_type=8))
    alice.sends(alice.packet(payload_type=111))
    alice.sends(alice.packet(struct.pack("!BBH", 5, 10, 160), payload_type=96))
    assert [packet.payload_type for packet in bob.heard] == [8, 120, 101]


def test_a_codec_that_the_listener_does_not_accept_is_dropped_and_counted(room):
    alice, bob = room.phone(1, receive=(PCMU, AMR)), room.phone(2, PCMU)
    room.join(alice, bob)
    alice.sends(alice.packet(payload_type=97))
    alice.sends(alice.packet(payload_type=0))
    assert [packet.payload_type for packet in bob.heard] == [0]
    assert room.report(alice).refused_packets == 1


def test_negotiating_again_changes_the_mapping(room):
    alice, bob = room.phone(1, PCMU), room.phone(2, PCMU)
    room.join(alice, bob)
    alice.talks(2)
    bob.negotiates(send=(PCMA,))
    alice.talks(2)
    alice.negotiates(receive=(PCMA,))
    alice.sends(alice.packet(payload_type=8))
    assert [packet.payload_type for packet in bob.heard] == [0, 0, 8]


def test_contributors_extensions_and_padding_stay_behind(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    plain = rtp(7, 8, 9, b"")
    full = bytes([0xB1]) + plain[1:] + b"csrc" + b"\xbe\xde\x00\x01" + b"exts" + b"sound" + b"\x00\x02"
    alice.sends(full)
    assert [packet.payload for packet in bob.heard] == [b"sound"]


def test_a_payload_type_that_looks_like_rtcp_is_sound_where_it_was_negotiated(room):
    odd = Payload(77, "pcmu", 8000)
    alice, bob = room.phone(1, odd), room.phone(2)
    room.join(alice, bob)
    alice.sends(rtp(1, 1, 1, b"sound", 77, marker=True))
    assert [packet.payload for packet in bob.heard] == [b"sound"]


def test_video_keeps_its_marker(room):
    video = Payload(97, "h264", 90000, 1, "packetization-mode=1")
    alice, bob = room.phone(1, video), room.phone(2, video)
    room.join(alice, bob)
    markers = [False, False, True, False, True]
    for n, marker in enumerate(markers):
        alice.sends(rtp(n, 3000 * (n // 3), 1, b"slice", 97, marker))
    assert [packet.marker for packet in bob.heard] == markers
    assert [(packet.timestamp - bob.heard[0].timestamp) for packet in bob.heard] == [0, 0, 0, 3000, 3000]


def test_the_timestamp_follows_the_clock_rate_of_what_is_heard(room):
    alice, carol = room.phone(1, PCMU), room.phone(3, OPUS)
    bob = room.phone(2, PCMU, OPUS)
    room.tell(Hear(bob.port, alice.port))
    alice.talks(3)
    room.tell(Unhear(bob.port, alice.port), Hear(bob.port, carol.port))
    room.wait(0.48)
    carol.talks(3)
    assert steps(bob.heard) == [(1, 160)] * 2 + [(1, 24_000)] + [(1, 960)] * 2


def test_of_codecs_that_cannot_be_mixed_the_newest_speaker_that_sends_is_heard(room):
    alice, bob, carol = room.phone(1, AMR), room.phone(2, AMR), room.phone(3, AMR)
    room.tell(Hear(3, 1), Hear(3, 2))
    alice.talks(2)
    for _ in range(5):
        alice.sends(alice.packet(b"alice"))
        bob.sends(bob.packet(b"bob"))
        room.wait(0.02)
    alice.talks(25)
    heard = [packet.payload for packet in carol.heard]
    assert heard[2:8] == [b"alice"] + [b"bob"] * 5, "until bob has said something"
    assert len(heard[8:]) == 11, "alice again after bob was silent for 300 ms"
    assert {step for step, _ in steps(carol.heard)} == {1}


def test_a_peer_that_does_not_receive_is_sent_nothing(room):
    alice, bob = room.phone(1), room.phone(2, receives=False)
    room.join(alice, bob)
    alice.talks(3)
    assert bob.heard == []
    bob.negotiates()
    alice.talks(3)
    assert len(bob.heard) == 3


def test_a_peer_that_shall_not_send_is_not_heard(room):
    alice, bob = room.phone(1, sends=False), room.phone(2)
    room.join(alice, bob)
    alice.talks(3)
    assert bob.heard == []


def test_nothing_is_sent_to_an_address_of_zeros(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    bob.signalled = ("0.0.0.0", 4000)
    bob.negotiates()
    alice.talks(3)
    assert bob.heard == []
    assert room.stray == []


def test_what_comes_before_negotiation_is_dropped_and_counted(room):
    room.tell(OpenPort(9, 1, LOCAL, 20018), Hear(9, 9))
    room.deliver(20018, ("198.51.100.9", 4000), rtp(1, 1, 1, b"early"))
    assert room.stray == []
    terms = Negotiated(9, "198.51.100.9", 4000, 4001, True, True, (PCMU,), (PCMU,))
    room.tell(terms)
    room.deliver(20018, ("198.51.100.9", 4000), rtp(2, 2, 1, b"in time"))
    assert [data[12:] for _, _, data in room.stray] == [b"in time"]


def test_ipv6_peers_are_relayed(room):
    room.tell(OpenPort(9, 1, "2001:db8::1", 20018), Hear(9, 9))
    room.tell(Negotiated(9, "2001:db8::9", 4000, 4001, True, True, (PCMU,), (PCMU,)))
    sent = room.core.receive(("2001:db8::1", 20018), ("2001:db8::9", 4000), rtp(1, 1, 1, b"six"), room.now)
    assert [(port, host) for port, host, _, _ in sent] == [(20018, "2001:db8::9")]


MALFORMED = {
    "empty": b"",
    "short": b"\x80\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00",
    "version 1": b"\x40" + rtp(1, 1, 1, b"x")[1:],
    "more contributors than bytes": b"\x8f" + rtp(1, 1, 1, b"x")[1:],
    "extension cut": b"\x90" + rtp(1, 1, 1, b"\xbe\xde")[1:],
    "extension longer than the packet": b"\x90" + rtp(1, 1, 1, b"\xbe\xde\xff\xff")[1:],
    "padding longer than the packet": b"\xa0" + rtp(1, 1, 1, b"\xff")[1:],
    "padding of zero": b"\xa0" + rtp(1, 1, 1, b"\x00")[1:],
    "payload type that was not negotiated": rtp(1, 1, 1, b"x", 55),
    "event cut": rtp(1, 1, 1, b"\x05\x0a\x00", 101),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_packets_are_dropped_and_counted(room, data):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.sends(data)
    assert bob.heard == []
    report = room.report(alice)
    assert (report.refused_packets, report.received_packets) == (1, 0)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200), rtcp=st.booleans())
def test_any_bytes_are_relayed_or_dropped_and_nothing_else(data, rtcp):
    room = Room()
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    send = alice.sends_rtcp if rtcp else alice.sends
    send(data)
    alice.talks(2)
    assert len(bob.heard) >= 2
    assert len(room.events()) == 1


TURNS = st.lists(
    st.tuples(st.sampled_from(["alice", "bob", "hold", "resume", "pause", "new ssrc"]), st.integers(1, 60)),
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(turns=TURNS)
def test_the_stream_never_breaks_whatever_the_call_goes_through(turns):
    room = Room()
    alice, bob, carol = room.phone(1), room.phone(2), room.phone(3)
    speakers = {"alice": alice, "bob": bob}
    for turn, length in turns:
        match turn:
            case "alice" | "bob":
                room.tell(Unhear(3, 1), Unhear(3, 2), Hear(3, speakers[turn].port))
                speakers[turn].talks(length)
            case "hold":
                room.tell(Unhear(3, 1), Unhear(3, 2))
                alice.talks(length)
            case "resume":
                room.tell(Hear(3, 1))
                alice.talks(length)
            case "pause":
                alice.timestamp += length * 160
                bob.timestamp += length * 160
                room.wait(length * FRAME_S)
            case "new ssrc":
                alice.ssrc, alice.sequence, alice.timestamp = alice.ssrc + 1, 500 * length, 0
    assert {sequence for sequence, _ in steps(carol.heard)} <= {1}
    for packet in carol.heard:
        passed = (packet.timestamp - carol.heard[0].timestamp) & 0xFFFFFFFF
        assert passed == pytest.approx((packet.at - carol.heard[0].at) * 8000, abs=800), "within 100 ms"
    assert all(0 < passed < 1 << 31 for _, passed in steps(carol.heard))
