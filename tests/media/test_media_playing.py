"""Players: lists of tones and files, heard by one or a thousand, judged on their samples."""

import math
import struct
import wave
from pathlib import Path

import pytest
from media_room import EVENTS, PCMA, PCMU, Room, Rtp, rtp, steps
from media_sound import A_LAW_CODE, amplitude, level_db, sound, whole

from media._core import prepare_prompt
from media.messages import (
    ClosePort,
    ControlPlayer,
    Digit,
    Hear,
    OpenPlayer,
    Payload,
    Play,
    Played,
    PlayFile,
    PlayTone,
    Report,
    Unhear,
)

PLAYER = 90
L16 = Payload(96, "l16", 8000)
L16_WIDE = Payload(97, "l16", 16000)
G722 = Payload(9, "g722", 8000)
OPUS = Payload(111, "opus", 48000, 2)


@pytest.fixture
def room() -> Room:
    return Room()


def sine(
    frequency_hz: float, count: int, rate: int = 8000, first: int = 0, level: float = 8000.0
) -> list[int]:
    turn = 2 * math.pi * frequency_hz / rate
    return [round(level * math.sin(turn * n)) for n in range(first, first + count)]


def write_wav(path: Path, samples: list[int], rate: int = 8000) -> str:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return str(path)


def write_a_law(path: Path, codes: bytes) -> str:
    head = b"RIFF" + (36 + len(codes)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    head += struct.pack("<HHIIHH", 6, 1, 8000, 8000, 1, 8) + b"data" + len(codes).to_bytes(4, "little")
    path.write_bytes(head + codes)
    return str(path)


def play(
    room: Room, *clips: PlayTone | PlayFile, times: int = 1, ended_by: str = "", number: int = 1
) -> None:
    room.tell(Play(PLAYER, number, clips, times, ended_by))


def played(room: Room) -> list[tuple[int, str, int]]:
    return [
        (event.play, event.why, event.position_ms) for event in room.events() if isinstance(event, Played)
    ]


def test_files_are_played_one_after_the_other_without_a_gap(room, tmp_path):
    alice = room.phone(1, L16)
    first = write_wav(tmp_path / "1.wav", sine(440, 4321))
    second = write_wav(tmp_path / "2.wav", sine(440, 3679, first=4321))
    room.tell(OpenPlayer(PLAYER, 1), Hear(1, PLAYER))
    play(room, PlayFile(first), PlayFile(second))
    room.wait(1.2)
    heard = sound(alice.heard, "l16")
    assert heard[:8000] == sine(440, 8000)
    assert not any(heard[8000:])
    assert played(room) == [(1, "done", 1000)]


@pytest.mark.parametrize("codec", [PCMU, PCMA, G722, OPUS, L16], ids=lambda codec: codec.name)
def test_each_listener_hears_it_in_its_codec(room, tmp_path, codec):
    alice, ear = room.phone(1, codec), room.phone(2, L16)
    room.tell(OpenPlayer(PLAYER, 1), Hear(1, PLAYER))
    play(room, PlayFile(write_wav(tmp_path / "wide.wav", sine(1000, 16000, 16000), 16000)))
    room.wait(0.9)
    assert {packet.payload_type for packet in alice.heard} == {codec.payload_type}
    room.tell(Unhear(1, PLAYER), Hear(2, 1))
    for n, packet in enumerate(alice.heard[:40]):
        alice.sends(rtp(n, packet.timestamp, 7, packet.payload, codec.payload_type))
        room.wait(0.02)
    assert level_db(sound(ear.heard[8:-2], "l16"), 1000) == pytest.approx(
        20 * math.log10(8000 / 32767), abs=0.6
    )


def test_what_is_a_law_in_the_file_goes_out_bit_by_bit(room, tmp_path):
    codes = bytes((7 * n) % 256 for n in range(3200))
    alice, bob = room.phone(1, PCMA), room.phone(2, PCMU)
    room.tell(OpenPlayer(PLAYER, 1), Hear(1, PLAYER), Hear(2, PLAYER))
    play(room, PlayFile(write_a_law(tmp_path / "x.wav", codes)))
    room.wait(0.5)
    assert b"".join(packet.payload for packet in alice.heard)[:3200] == codes
    assert len(sound(bob.heard, "pcmu")) >= 3200
    assert A_LAW_CODE[32768 + 8] == 0xD5


def test_a_prompt_goes_out_in_the_forms_that_lie_beside_it(room, tmp_path):
    """Marked forms, so that what is heard can have come from nowhere else."""
    source = write_wav(tmp_path / "source.wav", sine(1000, 8000))
    target = tmp_path / "prompt.wav"
    prepare_prompt(source, str(target))
    lengths = {path.suffix: path.stat().st_size for path in tmp_path.glob("prompt.*")}
    assert lengths == {".wav": 44 + 32000, ".pcma": 8000, ".pcmu": 8000, ".g722": 8000}
    marks = {PCMA: "pcma", PCMU: "pcmu", G722: "g722"}
    for mark, form in enumerate(marks.values(), 1):
        (tmp_path / f"prompt.{form}").write_bytes(bytes([mark]) * 8000)
    phones = [room.phone(n, codec) for n, codec in enumerate((*marks, OPUS, L16), 1)]
    room.tell(OpenPlayer(PLAYER, 1), *(Hear(phone.port, PLAYER) for phone in phones))
    play(room, PlayFile(str(target)))
    room.wait(0.9)
    for mark, phone in enumerate(phones[:3], 1):
        assert {packet.payload for packet in phone.heard[:40]} == {bytes([mark]) * 160}
    assert level_db(sound(phones[4].heard[4:40], "l16"), 1000) == pytest.approx(-12.2, abs=0.5)
    assert len(phones[3].heard) > 40


def test_prepared_forms_sound_like_the_prompt(room, tmp_path):
    target = tmp_path / "prompt.wav"
    prepare_prompt(write_wav(tmp_path / "source.wav", sine(1000, 44100, 44100), 44100), str(target))
    heard = sound([Rtp(0.0, False, 8, 0, 0, 0, (tmp_path / "prompt.pcma").read_bytes())], "pcma")
    assert len(heard) == pytest.approx(8000, abs=2)
    assert level_db(heard[800:], 1000) == pytest.approx(20 * math.log10(8000 / 32767), abs=0.3)
    (tmp_path / "letter.txt").write_text("Dear sirs")
    with pytest.raises(ValueError, match=r"letter\.txt: neither WAV nor Ogg/Opus"):
        prepare_prompt(str(tmp_path / "letter.txt"), str(target))


def test_playing_can_begin_later_pause_move_and_stop(room, tmp_path):
    alice = room.phone(1, L16)
    file = write_wav(tmp_path / "long.wav", list(range(1, 30001)))
    room.tell(OpenPlayer(PLAYER, 1), Hear(1, PLAYER))
    play(room, PlayFile(file, start_ms=100))
    room.wait(0.2)
    assert sound(alice.heard, "l16")[:1600] == list(range(801, 2401))
    room.tell(ControlPlayer(PLAYER, "pause"))
    start = len(alice.heard)
    room.wait(0.2)
    assert not any(sound(alice.heard[start:], "l16"))
    room.tell(ControlPlayer(PLAYER, "seek", 2000), ControlPlayer(PLAYER, "resume"))
    start = len(alice.heard)
    room.wait(0.1)
    assert sound(alice.heard[start:], "l16")[0] == 801 + 16000
    room.tell(ControlPlayer(PLAYER, "stop"))
    assert played(room) == [(1, "stopped", 2100)]


def test_a_digit_of_the_listener_ends_it_within_40_ms(room):
    alice, bob = room.phone(1, PCMU, EVENTS), room.phone(2, PCMU, EVENTS)
    room.tell(OpenPlayer(PLAYER, 1), Hear(1, PLAYER), Hear(2, 1))
    play(room, PlayTone((440.0,), -10.0), times=0, ended_by="123")
    room.wait(0.5)

    def press(phone, code: int, sequence: int) -> None:
        event = bytes([code, 10, 0, 160])
        phone.sends(rtp(sequence, 8000 * sequence, phone.ssrc, event, 101, marker=True))

    press(bob, 1, 1)
    press(alice, 9, 1)
    room.wait(0.3)
    assert played(room) == [], "bob does not hear it, and 9 does not end it"
    press(alice, 2, 2)
    pressed = room.now
    room.wait(0.3)
    ended = [event for event in room.events() if isinstance(event, Digit | Played)]
    assert [type(event) for event in ended] == [Digit, Played, Digit]
    assert ended[1].why == "digit"
    audible = [packet.at for packet in alice.heard if amplitude(sound([packet], "pcmu"), 440) > 1000]
    assert max(audible) - pressed <= 0.04


def test_a_cadence_repeats_in_time(room):
    alice = room.phone(1, PCMA)
    ring = (PlayTone((425.0,), -13.0, 400), PlayTone((), 0.0, 200))
    room.tell(OpenPlayer(PLAYER, 1), Hear(1, PLAYER))
    play(room, *ring, times=3)
    room.wait(2.5)
    heard = whole(alice.heard, "pcma")
    for start in (0, 4800, 9600):
        assert level_db(heard[start : start + 3200], 425) == pytest.approx(-13, abs=0.4)
        assert max(map(abs, heard[start + 3240 : start + 4800])) < 20
    assert played(room) == [(1, "done", 1800)]


def test_time_passes_for_what_nobody_hears(room):
    room.phone(1, rtcp=False)
    room.tell(OpenPlayer(PLAYER, 1))
    play(room, PlayTone((440.0,), -10.0, 300))
    room.wait(1)
    assert played(room) == [(1, "done", 300)]
    assert room.core.next_deadline() == 1015.0, "nothing is left to do but to wait for phone 1"


def test_what_cannot_be_played_says_why(room, tmp_path):
    room.phone(1)
    (tmp_path / "letter.wav").write_text("Dear sirs")
    room.tell(OpenPlayer(PLAYER, 1), Hear(1, PLAYER))
    for file, why in (("letter.wav", "neither WAV nor Ogg/Opus"), ("nothing.wav", "No such file")):
        play(room, PlayFile(str(tmp_path / file)))
        (event,) = [event for event in room.events() if isinstance(event, Played)]
        assert event.why == "failed"
        assert file in event.fault
        assert why in event.fault


def test_a_new_list_replaces_the_old_one_and_closing_ends_all(room):
    room.phone(1)
    room.tell(OpenPlayer(PLAYER, 1), Hear(1, PLAYER))
    play(room, PlayTone((440.0,), -10.0), number=1)
    room.wait(0.1)
    play(room, PlayTone((550.0,), -10.0), number=2)
    room.wait(0.2)
    room.tell(ClosePort(PLAYER))
    events = room.events()
    assert [(event.play, event.why) for event in events if isinstance(event, Played)] == [
        (1, "stopped"),
        (2, "stopped"),
    ]
    assert [event.port for event in events if isinstance(event, Report)] == [PLAYER]
    room.wait(0.2)
    assert room.core.next_deadline() is not None


def test_music_on_hold_is_one_for_all_calls_on_all_workers(tmp_path):
    room = Room(workers=3)
    phones = [room.phone(n, PCMU, call=n) for n in range(1, 31)]
    room.tell(OpenPlayer(PLAYER, 0))
    play(room, PlayFile(write_wav(tmp_path / "music.wav", sine(600, 24000))), times=0)
    room.tell(*(Hear(phone.port, PLAYER) for phone in phones))
    room.wait(1.0)
    payloads = {b"".join(packet.payload for packet in phone.heard[:40]) for phone in phones}
    assert len(payloads) == 1, "all hear the same"
    assert {len(phone.heard) for phone in phones} == {50}
    # Calls that are joined may move to another worker: the music goes on there.
    room.tell(Hear(1, 2), Hear(2, 3), Unhear(1, 2), Unhear(2, 3))
    room.wait(1.0)
    for phone in phones[:3]:
        assert {step for step, _ in steps(phone.heard)} == {1}
        assert level_db(sound(phone.heard[60:], "pcmu"), 600) == pytest.approx(-12.2, abs=0.5)
    room.tell(*(Unhear(phone.port, PLAYER) for phone in phones), ClosePort(PLAYER))
    assert [event.port for event in room.events() if isinstance(event, Report)] == [PLAYER]
    assert not [event for event in room.events() if not isinstance(event, Report)]


def test_between_music_and_a_voice_the_stream_is_one(room):
    alice, bob = room.phone(1), room.phone(2)
    room.tell(OpenPlayer(PLAYER, 1))
    play(room, PlayTone((440.0,), -10.0), times=0)
    room.join(alice, bob)
    bob.talks(20)
    room.tell(Unhear(1, 2), Hear(1, PLAYER))
    room.wait(1.0)
    room.tell(Unhear(1, PLAYER), Hear(1, 2))
    bob.talks(20)
    assert {step for step, _ in steps(alice.heard)} == {1}
    passed = (alice.heard[-1].timestamp - alice.heard[0].timestamp) & 0xFFFFFFFF
    assert passed / 8000 == pytest.approx(alice.heard[-1].at - alice.heard[0].at, abs=0.03)
