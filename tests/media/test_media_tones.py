"""Digits as tones in the sound, digits that media sends itself, and digits kept from those who listen."""

import shutil
import struct
import subprocess
import wave

import pytest
from media_room import EVENTS, PCMA, PCMU, Phone, Room, rtp, steps
from media_sound import Speaker, encode, talk

from media.messages import (
    ClosePort,
    DetectTones,
    Digit,
    GuardDigits,
    Hear,
    OpenPlayer,
    Play,
    PlayFile,
    PlayTone,
    Refused,
    SendDigits,
)
from pbx.digits import tones

PLAYER = 90
PRESSED = [*"0123456789*#ABCD"]


@pytest.fixture
def room() -> Room:
    return Room()


def speak(room: Room, phone: Phone, samples: list[int]) -> None:
    """Send these samples of 8 kHz, packet by packet."""
    for start in range(0, len(samples) - 159, 160):
        phone.sends(phone.packet(encode(phone.codecs[0].name, samples[start : start + 160])))
        room.wait(0.02)


def digits(room: Room) -> list[tuple[str, bool, str]]:
    return [(event.digit, event.ended, event.kind) for event in room.events() if isinstance(event, Digit)]


@pytest.mark.parametrize("codec", [PCMU, PCMA], ids=lambda codec: codec.name)
def test_tones_that_cross_a_codec_and_the_network_are_told(room, codec):
    """Media's own tones, played to a phone and sent back by it."""
    alice, bob = room.phone(1, codec), room.phone(2, codec)
    gap = PlayTone((), 0.0, 60)
    clips = [clip for key in PRESSED for clip in (PlayTone(tones(key) or (), -13.0, 80), gap)]
    room.tell(OpenPlayer(PLAYER, 1), Hear(1, PLAYER), Play(PLAYER, 1, tuple(clips)), DetectTones(2, on=True))
    room.wait(2.5)
    for n, packet in enumerate(alice.heard):
        bob.sends(rtp(n, packet.timestamp, 7, packet.payload, codec.payload_type))
        room.wait(0.02)
    told = digits(room)
    assert [digit for digit, ended, _ in told if not ended] == PRESSED
    assert [digit for digit, ended, _ in told if ended] == PRESSED
    assert {kind for _, _, kind in told} == {"tone"}


def test_nothing_is_looked_for_where_nobody_asked_and_none_is_left_open(room):
    alice = Speaker(room.phone(1, PCMU), 770.0)
    talk(room, (alice,), 0.3)
    assert digits(room) == []
    room.tell(DetectTones(1, on=True), DetectTones(1, on=True), DetectTones(1, on=False))
    room.tell(ClosePort(1))
    assert room.core.next_deadline() is None


@pytest.mark.wire
def test_thirty_minutes_of_speech_hold_no_digit(tmp_path):
    """Talk-off: many voices of a synthesizer, heard side by side, as loud as a telephone makes them."""
    assert shutil.which("espeak-ng"), "apt-get install espeak-ng"
    (tmp_path / "text").write_text(
        " ".join(f"{n}, {n * 37 % 1000}: {WORDS[n % len(WORDS)]}." for n in range(90))
    )
    room = Room()
    loops = []
    for number, voice in enumerate(VOICES, 1):
        path = tmp_path / f"{number}.wav"
        spoken = ["espeak-ng", "-v", voice, "-a", "180", "-f", str(tmp_path / "text"), "-w", str(path)]
        subprocess.run(spoken, check=True)
        with wave.open(str(path)) as file:
            loops.append(file.getnframes() / file.getframerate())
        phone, player = room.phone(number, PCMU), PLAYER + number
        room.tell(OpenPlayer(player, 1), Hear(number, player), DetectTones(number, on=True))
        room.tell(Play(player, 1, (PlayFile(str(path)),)))
        phone.echoes = True
    room.wait(max(loops) + 1)
    assert sum(loops) >= 1800
    assert digits(room) == []
    room.tell(Play(PLAYER + 1, 2, (PlayTone((697.0, 1209.0), -13.0, 100), PlayTone((), 0.0, 100))))
    room.wait(1)
    assert [digit for digit, ended, _ in digits(room) if not ended] == ["1"], "it was listening all the time"


VOICES = (
    "en-us+m1",
    "en-us+f5",
    "en-gb+f2",
    "en-gb+m7",
    "de+m3",
    "de+f1",
    "fr+f4",
    "it+m5",
    "es+f1",
    "pt+m2",
)
WORDS = (
    "the quick brown fox jumps over the lazy dog",
    "please hold the line while we connect you to the accounting department",
    "yes, no, maybe, hello, goodbye, thank you very much indeed",
    "singing in the rain, whistling in the wind, ooh, aah, eee, la la la",
    "sixty six sick chicks sat on six slim slick slender saplings",
)


def test_digits_are_sent_as_events_between_the_packets_of_a_voice(room):
    alice, bob = Speaker(room.phone(1, PCMU, EVENTS), 440.0), room.phone(2, PCMU, EVENTS)
    room.tell(Hear(2, 1))
    talk(room, (alice,), 0.2)
    room.tell(SendDigits(2, (("1", 100), ("#", 60))))
    talk(room, (alice,), 1.0)
    events = [packet for packet in bob.heard if packet.payload_type == 101]
    codes = [packet.payload[0] for packet in events]
    assert codes == [1] * 7 + [11] * 5
    assert [packet.marker for packet in events] == [True] + [False] * 6 + [True] + [False] * 4
    assert len({packet.timestamp for packet in events}) == 2
    ends = [struct.unpack("!BBH", packet.payload) for packet in events if packet.payload[1] & 0x80]
    assert [duration for _, _, duration in ends] == [800] * 3 + [480] * 3
    assert {step for step, _ in steps(bob.heard)} == {1}, "one sequence"
    sound = [packet for packet in bob.heard if packet.payload_type == 0]
    assert {passed for _, passed in steps(sound)} == {160}, "the voice went on"


def test_digits_are_sent_where_nothing_else_is_said(room):
    bob = room.phone(2, PCMU, EVENTS)
    room.wait(1)
    room.tell(SendDigits(2, (("5", 80),)))
    room.wait(1)
    assert [packet.payload[0] for packet in bob.heard] == [5] * 6


def test_what_cannot_be_sent_is_refused(room):
    room.phone(1, PCMU)
    room.phone(2, PCMU, EVENTS)
    for command in (
        SendDigits(1, (("5", 80),)),
        SendDigits(2, (("x", 80),)),
        SendDigits(2, (("5", 80),) * 200),
    ):
        room.tell(command)
        assert [event.tag for event in room.events() if isinstance(event, Refused)] == [19]


def test_guarded_digits_are_told_and_heard_by_nobody_and_can_be_sent_later(room):
    alice, bob = room.phone(1, PCMU, EVENTS), room.phone(2, PCMU, EVENTS)
    room.join(alice, bob)
    alice.talks(5)
    room.tell(GuardDigits(1, on=True))

    def press(code: int, at: int) -> None:
        for n in range(6):
            end = 0x80 if n >= 3 else 0
            payload = struct.pack("!BBH", code, 10 | end, 160 * min(n + 1, 4))
            alice.sends(rtp(alice.sequence, at, alice.ssrc, payload, 101, marker=n == 0))
            alice.sequence += 1
            room.wait(0.02)

    press(3, alice.timestamp)
    assert [(digit, ended) for digit, ended, _ in digits(room)] == [("3", False), ("3", True)]
    assert [packet for packet in bob.heard if packet.payload_type == 101] == []
    room.tell(GuardDigits(1, on=False), SendDigits(2, (("3", 80),)))
    room.wait(0.3)
    assert {packet.payload[0] for packet in bob.heard if packet.payload_type == 101} == {3}
    alice.timestamp += 4000
    press(4, alice.timestamp)
    assert {packet.payload[0] for packet in bob.heard if packet.payload_type == 101} == {3, 4}
