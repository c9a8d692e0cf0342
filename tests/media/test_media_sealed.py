"""Recordings encrypted at rest: read again with the key, whole or cut off, and by nobody else."""

import io
import json
import secrets
import wave
from pathlib import Path

import pytest
from media_room import PCMU, Room
from media_sound import Speaker, level_db, talk

from media.messages import Captured, ClosePort, Hear, OpenRecorder
from recording.sealed import HEADER, Unreadable, is_sealed, unseal

KEY = bytes(range(32))


def record(path: Path, key: bytes = KEY, **how: object) -> Captured:
    room = Room()
    alice = Speaker(room.phone(1, PCMU), 440.0)
    room.tell(OpenRecorder(80, 1, str(path), key=key, **how), Hear(80, 1))
    talk(room, (alice,), 2.0)
    room.tell(ClosePort(80))
    (told,) = [event for event in room.events() if isinstance(event, Captured)]
    return told


def samples(data: bytes) -> list[int]:
    with wave.open(io.BytesIO(data)) as file:
        frames = file.readframes(file.getnframes())
    return [int.from_bytes(frames[n : n + 2], "little", signed=True) for n in range(0, len(frames), 2)]


def test_what_was_recorded_is_read_with_the_key(tmp_path):
    told = record(tmp_path / "x.wav")
    data = (tmp_path / "x.wav").read_bytes()
    assert (told.fault, told.bytes) == ("", len(data))
    assert is_sealed(data)
    assert b"RIFF" not in data
    plain, ended = unseal(data, KEY)
    assert ended
    heard = samples(plain)
    assert len(heard) / 8000 == pytest.approx(told.seconds)
    assert level_db(heard[800:], 440) == pytest.approx(-16, abs=0.4)
    assert json.loads((tmp_path / "x.wav.json").read_text())["encrypted"] is True


def test_ogg_too(tmp_path):
    record(tmp_path / "x.opus", format="opus", rate_hz=16000)
    plain, ended = unseal((tmp_path / "x.opus").read_bytes(), KEY)
    assert ended
    assert plain.startswith(b"OggS")


def test_one_that_was_cut_off_gives_what_was_whole(tmp_path):
    record(tmp_path / "x.wav")
    data = (tmp_path / "x.wav").read_bytes()
    plain, ended = unseal(data[: len(data) // 2], KEY)
    assert not ended
    heard = samples(plain)
    assert len(heard) / 8000 == pytest.approx(1.0, abs=0.25)
    assert level_db(heard[800:], 440) == pytest.approx(-16, abs=0.4)


def test_nobody_else_reads_or_changes_it(tmp_path):
    record(tmp_path / "x.wav")
    data = (tmp_path / "x.wav").read_bytes()
    with pytest.raises(Unreadable, match="another key"):
        unseal(data, secrets.token_bytes(32))
    with pytest.raises(Unreadable, match="32 bytes"):
        unseal(data, b"short")
    with pytest.raises(Unreadable, match="not an encrypted recording"):
        unseal(b"RIFF" + data[4:], KEY)
    for at in (10, HEADER + 8, len(data) // 2, len(data) - 1):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(Unreadable):
            unseal(bytes(changed), KEY)
    with pytest.raises(Unreadable, match="added behind its end"):
        unseal(data + b"x" * 40, KEY)


def test_two_files_of_one_key_have_nothing_in_common(tmp_path):
    record(tmp_path / "1.wav")
    record(tmp_path / "2.wav")
    first, second = [(tmp_path / name).read_bytes() for name in ("1.wav", "2.wav")]
    assert len(first) == len(second)
    assert sum(a == b for a, b in zip(first[HEADER:], second[HEADER:], strict=True)) < len(first) / 50
