"""What phones say and hear: levels, gaps, delay, digits, patterned bytes; and what a bad stream is told."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable

import pytest

from jackfield.phone import EVENTS, G722, OPUS, PCMA, PCMU, Codec, NotAsTold, sound, tone
from jackfield.phone.call import Call
from jackfield.phone.g711 import decode, encode
from jackfield.phone.listening import Ear
from jackfield.phone.negotiation import Media
from jackfield.phone.rtp import Event, Packet
from tests.memory_network import Weather
from tests.phone.street import Street
from tests.virtual_loop import time_passes

FROM = ("10.0.0.2", 30000)
MEDIA = Media(FROM, True, True, PCMU, (PCMU, EVENTS), 101)


async def a_call(street: Street, codecs: tuple[Codec, ...] = (PCMU, PCMA, EVENTS)) -> tuple[Call, Call]:
    alice, bob = street.phone("101", codecs=codecs), street.phone("102", codecs=codecs)
    alice.speaks(tone(440))
    bob.speaks(tone(880, -20))
    out = await alice.dials(bob)
    back = await bob.answers()
    await out.talks()
    return out, back


# ---------------------------------------------------------------- G.711 and sines


@pytest.mark.parametrize(("payload_type", "law"), [(0, "ulaw"), (8, "alaw")])
def test_g711_is_what_the_standard_library_says(payload_type: int, law: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        audioop = pytest.importorskip("audioop")
    every = bytes(range(256))
    meant = getattr(audioop, f"{law}2lin")(every, 2)
    assert [int.from_bytes(meant[n : n + 2], "little", signed=True) for n in range(0, 512, 2)] == decode(
        every, payload_type
    )
    assert decode(encode(decode(every, payload_type), payload_type), payload_type) == decode(
        every, payload_type
    )


@pytest.mark.parametrize("payload_type", [0, 8])
@pytest.mark.parametrize("frequency_hz", [300, 440, 997, 2100, 3300])
@pytest.mark.parametrize("level_dbov", [-3.0, -13.0, -30.0])
def test_a_tone_is_recognised_with_its_level(payload_type: int, frequency_hz: int, level_dbov: float) -> None:
    voice = tone(frequency_hz, level_dbov, ticks=False)
    samples: list[int] = []
    for n in range(8):
        samples += decode(sound.frame(voice, payload_type, n * 160, n * 0.02), payload_type)
    assert sound.level_of(samples[:800], frequency_hz) == pytest.approx(level_dbov, abs=0.3)
    heard_hz, heard_dbov = sound.tones_in(samples)[0]
    assert heard_hz == pytest.approx(frequency_hz, abs=5)
    assert heard_dbov == pytest.approx(level_dbov, abs=1)


def test_two_tones_at_once_are_both_heard() -> None:
    samples = [
        round(8000 * math.sin(2 * math.pi * 440 * n / 8000) + 2000 * math.sin(2 * math.pi * 1000 * n / 8000))
        for n in range(1100)
    ]
    assert [hz for hz, _ in sound.tones_in(samples)] == [440, 1000]


# ---------------------------------------------------------------- in a call


async def test_the_report_says_what_was_heard(street: Street) -> None:
    out, back = await a_call(street)
    await time_passes(3)
    heard = out.heard
    assert [hz for hz, _ in heard.tones] == [880]
    assert heard.tones[0][1] == pytest.approx(-20, abs=0.5)
    assert (heard.lost, heard.late, heard.gaps, heard.digits) == (0, 0, 0, "")
    assert heard.packets == pytest.approx(150, abs=2)
    assert heard.jitter_ms < 0.01
    await back.hangs_up()


@pytest.mark.parametrize("delay_ms", [3, 40, 250])
async def test_the_delay_is_measured_by_the_tick(delay_ms: int) -> None:
    street = Street(weather=Weather(delay_s=delay_ms / 1000))
    out, back = await a_call(street)
    await time_passes(2.5)
    assert back.heard.delay_ms == pytest.approx(delay_ms, abs=1.5)
    assert out.heard.delay_ms == pytest.approx(delay_ms, abs=1.5)
    await out.hangs_up()
    street.close()


async def test_hearing_the_wrong_tone_fails_and_says_what_was_heard(street: Street) -> None:
    out, _ = await a_call(street)
    with pytest.raises(NotAsTold, match=r"to hear 500 Hz at -13 dBov.*heard: 880 Hz at -20 dBov"):
        await out.hears(tone(500), within_s=1)
    with pytest.raises(NotAsTold, match="expected silence, heard 880 Hz"):
        await out.hears_nothing()
    await out.hangs_up()


@pytest.mark.parametrize("codec", [PCMU, PCMA])
async def test_digits_arrive_with_their_durations(street: Street, codec: Codec) -> None:
    out, back = await a_call(street, (codec, EVENTS))
    await out.presses("1*#D", duration_ms=160)
    digits = await back.hears_digits("1*#D")
    assert [digit.duration_ms for digit in digits] == [160] * 4
    assert [digit.end_packets for digit in digits] == [3] * 4
    await back.hears(tone(440))
    assert back.heard.lost == 0
    await out.hangs_up()


async def test_digits_by_info_reach_the_other_side(street: Street) -> None:
    out, back = await a_call(street)
    await out.presses("42", by="info")
    assert [request.body.split()[0] for request in back.received] == [b"Signal=4", b"Signal=2"]
    await out.hangs_up()


@pytest.mark.parametrize(("codec", "frames_a_second"), [(OPUS, 50), (G722, 50)])
async def test_what_is_no_g711_passes_as_patterned_bytes(
    street: Street, codec: Codec, frames_a_second: int
) -> None:
    out, back = await a_call(street, (codec, PCMU, EVENTS))
    await time_passes(2)
    heard = back.heard
    assert heard.patterns == pytest.approx(2 * frames_a_second, abs=2)
    assert heard.broken_patterns == 0
    await out.hangs_up()


async def test_loss_and_reordering_are_counted() -> None:
    street = Street(weather=Weather(delay_s=0.02, loss=0.1, reorder=0.05))
    out, back = await a_call(street)
    await time_passes(20)
    heard = back.heard
    assert 60 < heard.lost < 140
    assert heard.late > 20
    assert heard.gaps > 40
    assert street.complaints() == []
    await out.hangs_up(within_s=40)
    street.close()


# ---------------------------------------------------------------- a stream against the rules


def heard_by_an_ear(packets: list[tuple[float, bytes]], media: Media = MEDIA) -> Ear:
    ear = Ear()
    ear.agree(media, 0.0)
    for at, data in packets:
        ear.hear(data, FROM, at)
    return ear


def stream(length: int = 10, **changed: Callable[[int], int]) -> list[tuple[float, bytes]]:
    """Good packets, but for the fields that are `changed` by their number."""
    same: dict[str, Callable[[int], int]] = {
        "payload_type": lambda n: 0,
        "sequence": lambda n: n,
        "timestamp": lambda n: n * 160,
        "ssrc": lambda n: 7,
    }
    of = {**same, **changed}

    def packet(n: int) -> bytes:
        numbers = of["payload_type"](n), of["sequence"](n), of["timestamp"](n), of["ssrc"](n)
        return Packet(*numbers, bytes(160)).to_bytes()

    return [(2 + n * 0.02, packet(n)) for n in range(length)]


def test_a_good_stream_is_not_complained_about() -> None:
    ear = heard_by_an_ear(stream(100))
    assert ear.complaints == []
    assert (ear.packets, ear.lost, ear.gaps) == (100, 0, 0)


def test_a_sequence_that_wraps_is_no_loss() -> None:
    ear = heard_by_an_ear(
        stream(sequence=lambda n: (65530 + n) & 0xFFFF, timestamp=lambda n: (2**32 - 800 + n * 160) % 2**32)
    )
    assert ear.complaints == []
    assert (ear.packets, ear.lost) == (10, 0)


@pytest.mark.parametrize(
    ("packets", "complaint"),
    [
        (stream(ssrc=lambda n: n // 5), "the SSRC changed from 00000000 to 00000001"),
        (stream(sequence=lambda n: n + 500 * (n > 5)), "the RTP sequence jumped by 501"),
        (stream(timestamp=lambda n: (1000 - n) * 160), "the RTP timestamp went backwards"),
        (stream(timestamp=lambda n: n * 80), "the RTP timestamp went on by 80 after 160 samples"),
        (stream(payload_type=lambda n: 96), "RTP payload type 96 was not agreed"),
        ([(2, b"x")], "1 bytes, an RTP header has 12"),
        ([(2, bytes(12))], "RTP version 0"),
        ([(2, b"\xb0" + bytes(11))], "the header extension is cut off"),
        ([(2, b"\xa0" + bytes(10) + b"\xff")], "longer than the packet"),
    ],
)
def test_a_bad_stream_is_noted_once(packets: list[tuple[float, bytes]], complaint: str) -> None:
    ear = heard_by_an_ear(packets)
    assert [text for text in ear.complaints if complaint in text] == ear.complaints[:1]


def test_sound_from_elsewhere_is_noted() -> None:
    ear = Ear()
    ear.agree(MEDIA, 0.0)
    ear.hear(stream(1)[0][1], ("10.9.9.9", 1), 2.0)
    assert ear.complaints == ["RTP comes from 10.9.9.9:1, the SDP said ('10.0.0.2', 30000) (RFC 4961)"]


def test_sound_while_we_do_not_receive_is_noted_after_a_second() -> None:
    held = Media(FROM, True, False, PCMU, (PCMU, EVENTS), 101)
    assert heard_by_an_ear([(0.5, stream(1)[0][1])], held).complaints == []
    assert heard_by_an_ear(stream(1), held).complaints == [
        "RTP goes on although we do not receive (RFC 3264 5.1)"
    ]


def events(*steps: tuple[str, bool, int, bool]) -> list[tuple[float, bytes]]:
    """(digit, end, duration, marker) packets of one event."""
    return [
        (2 + n * 0.02, Packet(101, n, 800, 7, Event(digit, end, 10, duration).to_bytes(), marker).to_bytes())
        for n, (digit, end, duration, marker) in enumerate(steps)
    ]


@pytest.mark.parametrize(
    ("packets", "complaint"),
    [
        (events(("1", False, 160, False)), "began without marker"),
        (events(("1", False, 160, True), ("2", False, 320, False)), "changed its digit"),
        (events(("1", False, 160, True), ("1", False, 320, True)), "the marker more than once"),
        (events(("1", False, 320, True), ("1", False, 160, False)), "duration went back"),
    ],
)
def test_a_bad_telephone_event_is_noted(packets: list[tuple[float, bytes]], complaint: str) -> None:
    ear = heard_by_an_ear(packets)
    assert len(ear.complaints) == 1
    assert complaint in ear.complaints[0]


def test_no_packet_makes_the_ear_fall_over() -> None:
    rng = random.Random(3)
    ear = Ear()
    ear.agree(MEDIA, 0.0)
    for n in range(5000):
        ear.hear(rng.randbytes(rng.randrange(0, 40)), FROM, n * 0.01)
        ear.hear(b"\x80\x65" + rng.randbytes(rng.randrange(10, 20)), FROM, n * 0.01)
    assert len(ear.complaints) <= 50
    assert ear.report().packets > 0
