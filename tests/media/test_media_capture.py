"""Recordings, opened by others and judged on their samples and their time."""

import hashlib
import json
import signal
import struct
import wave
from pathlib import Path

import pytest
from media_house import Engine, MediaProcess
from media_room import PCMA, PCMU, Room
from media_sound import MU_LAW, Speaker, decode, level_db, talk

from media.messages import (
    Captured,
    ClosePort,
    Hear,
    MarkRecording,
    MaskRecording,
    OpenPlayer,
    OpenRecorder,
    Payload,
    Play,
    PlayFile,
    PortFailed,
    Unhear,
)

RECORDER = 80
L16 = Payload(96, "l16", 8000)


@pytest.fixture
def room() -> Room:
    return Room()


def captured(room: Room) -> Captured:
    (event,) = [event for event in room.events() if isinstance(event, Captured)]
    return event


def read_wav(path: str | Path) -> tuple[list[list[int]], int]:
    """The samples of each channel, and the rate."""
    with wave.open(str(path)) as file:
        count = file.getnchannels()
        flat = struct.unpack(f"<{file.getnframes() * count}h", file.readframes(file.getnframes()))
        return [list(flat[channel::count]) for channel in range(count)], file.getframerate()


def record_call(room: Room, path: Path, seconds: float = 2.0, **how: object) -> Captured:
    """Two phones talk, and both are heard: the caller left, the callee right."""
    alice, bob = Speaker(room.phone(1, PCMU), 440.0), Speaker(room.phone(2, PCMA), 1000.0)
    room.join(alice.phone, bob.phone)
    room.tell(OpenRecorder(RECORDER, 1, str(path), **how))
    room.tell(Hear(RECORDER, 1, 0.0, "left"), Hear(RECORDER, 2, 0.0, "right"))
    talk(room, (alice, bob), seconds)
    room.tell(ClosePort(RECORDER))
    return captured(room)


def test_stereo_has_the_caller_left_and_the_callee_right(room, tmp_path):
    path = tmp_path / "call.wav"
    told = record_call(room, path, channels=2)
    (left, right), rate = read_wav(path)
    assert rate == 8000
    assert len(left) / rate == pytest.approx(2.0, abs=0.04)
    assert told.seconds == len(left) / rate
    assert level_db(left[800:], 440) == pytest.approx(-16, abs=0.4)
    assert level_db(left[800:], 1000) < -60
    assert level_db(right[800:], 1000) == pytest.approx(-16, abs=0.4)
    assert level_db(right[800:], 440) < -60
    assert (told.bytes, told.fault, told.missing_s) == (path.stat().st_size, "", 0.0)
    assert told.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_mono_has_both(room, tmp_path):
    record_call(room, tmp_path / "call.wav")
    (both,), _ = read_wav(tmp_path / "call.wav")
    assert [level_db(both[800:], hz) for hz in (440, 1000)] == pytest.approx([-16, -16], abs=0.4)


@pytest.mark.parametrize("form", ["a-law", "mu-law"])
def test_companded_files_are_half_as_large_and_open(room, tmp_path, form):
    path = tmp_path / "call.wav"
    record_call(room, path, format=form)
    data = path.read_bytes()
    assert data[20:22] == {"a-law": b"\x06\0", "mu-law": b"\x07\0"}[form]
    codec = {"a-law": "pcma", "mu-law": "pcmu"}[form]
    samples = decode(codec, data[58:])
    assert len(samples) == int.from_bytes(data[54:58], "little")
    assert level_db(samples[800:], 440) == pytest.approx(-16, abs=0.4)
    assert MU_LAW[0xFF] == 0


def test_opus_in_ogg_is_whole(room, tmp_path):
    path = tmp_path / "call.opus"
    told = record_call(room, path, format="opus", rate_hz=16000, channels=2)
    data = path.read_bytes()
    assert data[:4] == b"OggS"
    assert b"OpusHead\x01\x02" in data[:60]
    assert told.bytes == len(data)
    assert len(data) < 2 * 16000, "far smaller than linear"
    ear = room.phone(5, L16)
    room.tell(OpenPlayer(90, 1), Hear(5, 90), Play(90, 1, (PlayFile(str(path)),)))
    room.wait(1.9)
    heard = [sample for packet in ear.heard for sample in decode("l16", packet.payload)]
    assert level_db(heard[1600:12800], 440) == pytest.approx(-22, abs=1.5), "one of two channels"


def test_a_sound_is_where_the_clock_says_whatever_happened_before(room, tmp_path):
    """Loss, a hold, silence without packets: 20 ms of accuracy."""
    alice = Speaker(room.phone(1, L16), 440.0, level_dbov=-60.0)
    room.tell(OpenRecorder(RECORDER, 1, str(tmp_path / "x.wav")), Hear(RECORDER, 1))
    start = room.now
    clicks = []

    def click() -> None:
        clicks.append(room.now - start)
        data = bytearray(alice.packet())
        data[12:16] = struct.pack(">2h", 30000, -30000)
        alice.phone.sends(bytes(data))
        room.wait(0.02)

    talk(room, (alice,), 0.5)
    click()
    for n in range(50):
        data = alice.packet()
        if n % 10:
            alice.phone.sends(data)
        room.wait(0.02)
    click()
    talk(room, (alice,), 0.1)
    room.tell(Unhear(RECORDER, 1))
    talk(room, (alice,), 0.7)
    room.tell(Hear(RECORDER, 1))
    talk(room, (alice,), 0.3)
    click()
    room.wait(1.0)
    alice.phone.timestamp += 8000
    talk(room, (alice,), 0.3)
    click()
    talk(room, (alice,), 0.3)
    room.tell(ClosePort(RECORDER))
    (samples,), rate = read_wav(tmp_path / "x.wav")
    found = [n / rate for n, sample in enumerate(samples) if sample > 20000]
    assert len(found) == len(clicks)
    assert found == pytest.approx(clicks, abs=0.02)


def test_what_is_masked_is_silence_and_the_sidecar_tells_all(room, tmp_path):
    alice = Speaker(room.phone(1, PCMU), 440.0)
    path = tmp_path / "x.wav"
    room.tell(OpenRecorder(RECORDER, 1, str(path)), Hear(RECORDER, 1))
    talk(room, (alice,), 0.5)
    room.tell(MarkRecording(RECORDER, 'digits "12"'), MaskRecording(RECORDER, masked=True))
    talk(room, (alice,), 0.5)
    room.tell(MaskRecording(RECORDER, masked=False))
    talk(room, (alice,), 0.5)
    room.tell(ClosePort(RECORDER))
    (samples,), _ = read_wav(path)
    assert level_db(samples[800:3600], 440) > -17
    assert not any(samples[4000:7700])
    assert level_db(samples[8400:11600], 440) > -17
    told = json.loads(Path(f"{path}.json").read_text())
    assert [mark["label"] for mark in told["marks"]] == ['digits "12"', "masked", "unmasked"]
    assert [mark["at_s"] for mark in told["marks"]] == pytest.approx([0.5, 0.5, 1.0], abs=0.04)
    assert told["ended"] is True
    assert told["seconds"] == pytest.approx(1.5, abs=0.04)


def test_what_cannot_be_written_is_told_at_once(room, tmp_path):
    room.phone(1)
    there = tmp_path / "there.wav"
    there.write_bytes(b"")
    for path, why in ((there, "File exists"), (tmp_path / "no" / "x.wav", "No such file")):
        room.tell(OpenRecorder(RECORDER, 1, str(path)), Hear(RECORDER, 1))
        event = captured(room)
        assert why in event.fault
        assert path.name in event.fault
        room.tell(ClosePort(RECORDER))
        assert not [event for event in room.events() if isinstance(event, Captured | PortFailed)]


def test_a_recording_that_is_killed_opens_and_lacks_two_seconds_at_most(tmp_path):
    media = MediaProcess(tmp_path, 30400)
    try:
        engine = Engine(media)
        alice = engine.opens(1)
        paths = [tmp_path / "killed.wav", tmp_path / "killed.opus"]
        engine.tell(OpenRecorder(RECORDER, 1, str(paths[0])), Hear(RECORDER, 1))
        engine.tell(OpenRecorder(RECORDER + 1, 1, str(paths[1]), "opus", 16000), Hear(RECORDER + 1, 1))
        engine.settle(1)
        clock = media.udp()
        clock.settimeout(0.02)
        for _ in range(150):
            alice.says(bytes(160))
            with pytest.raises(TimeoutError):
                clock.recv(1)
        media.process.send_signal(signal.SIGKILL)
        media.process.wait()
        (samples,), rate = read_wav(paths[0])
        assert len(samples) / rate > 1.0
        spoken = max(samples[-4000:], default=0)
        assert spoken != 0 or min(samples) < -30000
        assert paths[1].stat().st_size > 500
    finally:
        media.ended()
