"""What the engine is told of a port: reports, the beginning of a stream, its silence."""

import pytest
from media_room import LOCAL, PCMA, PCMU, Room

from media.messages import AskReport, ClosePort, OpenPort, Payload, PortFailed, Refused, Silent, Started


@pytest.fixture
def room() -> Room:
    return Room()


def test_a_report_counts_what_went_through(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.talks(100)
    bob.talks(40)
    report = room.report(alice)
    assert (report.port, report.closed) == (1, False)
    assert (report.received_packets, report.received_bytes) == (100, 100 * 172)
    assert (report.sent_packets, report.sent_bytes) == (40, 40 * 172)
    assert (report.lost_packets, report.refused_packets) == (0, 0)
    assert report.codec == "pcmu"
    assert report.clock_s == pytest.approx(room.now, abs=1e-5)
    assert report.mos == pytest.approx(4.4, abs=0.02)


def test_closing_reports_the_whole(room):
    alice, bob = room.phone(1), room.phone(2)
    room.join(alice, bob)
    alice.talks(10)
    report = room.close(alice)
    assert (report.closed, report.received_packets) == (True, 10)
    bob.talks(1)
    assert alice.heard == [], "a closed port hears nobody"


def test_loss_lowers_the_score(room):
    alice = room.phone(1)
    for _ in range(100):
        alice.talks(9)
        alice.packet()
        room.wait(0.02)
    report = room.report(alice)
    assert report.lost_packets == 99, "the last one is not known to be lost"
    assert 2.0 < report.mos < 3.5


def test_jitter_is_measured(room):
    alice = room.phone(1)
    for n in range(500):
        packet = alice.packet()
        room.wait(0.010 if n % 2 else 0.030)
        alice.sends(packet)
    assert room.report(alice).jitter_ms == pytest.approx(10, abs=0.5)


def test_a_port_that_heard_nothing_has_no_score(room):
    alice = room.phone(1)
    report = room.report(alice)
    assert (report.mos, report.codec, report.received_packets) == (0, "", 0)


def test_the_codec_is_the_one_heard_last_even_after_negotiating_again(room):
    alice = room.phone(1, PCMU, PCMA)
    alice.talks(1)
    alice.sends(alice.packet(payload_type=8))
    alice.negotiates(sends=False, receive=(PCMU,))
    assert room.report(alice).codec == "pcma"


@pytest.mark.parametrize(("name", "best"), [("g729", 4.1), ("g722", 4.4), ("opus", 4.4), ("gsm", 3.8)])
def test_each_codec_has_its_best_score(room, name, best):
    alice = room.phone(1, Payload(96, name, 8000))
    alice.talks(50)
    assert room.report(alice).mos == pytest.approx(best, abs=0.15)


def test_a_stream_that_starts_is_told_once(room):
    alice = room.phone(1)
    at = room.now
    alice.talks(10)
    alice.negotiates()
    alice.talks(10)
    assert room.events() == [Started(1, *alice.address, at)]


def test_silence_is_told_each_time_that_it_has_lasted_as_long_again(room):
    alice = room.phone(1)
    alice.talks(10)
    room.events()
    room.wait(14.9)
    assert room.events() == []
    room.wait(30)
    assert [event.silence_s for event in room.events()] == pytest.approx([15, 30], abs=0.1)
    alice.talks(10)
    room.wait(16)
    (silent,) = room.events()
    assert silent.silence_s == pytest.approx(15, abs=15), "found within another silence"


def test_a_peer_that_never_sends_is_silent_from_its_negotiation(room):
    room.phone(1)
    room.wait(15.1)
    assert room.events() == [Silent(1, 15.0)]


def test_a_peer_that_shall_not_send_is_not_silent(room):
    alice = room.phone(1, sends=False)
    room.wait(60)
    assert room.events() == []
    alice.negotiates(sends=True)
    room.wait(15.1)
    assert room.events() == [Silent(1, 15.0)]


def test_how_long_silence_lasts_is_a_setting():
    room = Room(silence_s=3)
    room.phone(1)
    room.wait(3.1)
    assert room.events() == [Silent(1, 3.0)]


def test_what_is_asked_of_no_port_is_refused(room):
    room.tell(AskReport(7), ClosePort(7))
    assert room.events() == [Refused(11, "no such port"), Refused(6, "no such port")]


def test_an_address_in_use_is_told(room):
    room.phone(1)
    room.events()
    room.tell(OpenPort(50, 1, LOCAL, 20002))
    assert room.events() == [PortFailed(50, "Address already in use")]
    room.tell(ClosePort(50))
    assert room.events() == [Refused(6, "no such port")]
