"""Programs that others wrote, asked about what media makes: digits (spandsp), recordings (opusinfo, sox)."""

import ctypes
import ctypes.util
import math
import random
import subprocess
from pathlib import Path

import pytest
from media_room import PCMU, Room
from media_sound import Speaker, encode, sound, talk

from media.messages import ClosePort, DetectTones, Digit, Hear, OpenPlayer, OpenRecorder, Play, PlayTone
from pbx.digits import tones

pytestmark = pytest.mark.wire
ALL = "0123456789*#ABCD"


class Spandsp:
    """libspandsp's digits, from 8 kHz samples and to them."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("spandsp")
        assert name, "apt-get install libspandsp2"
        self.library = ctypes.CDLL(name)
        for function in ("dtmf_rx_init", "dtmf_tx_init"):
            getattr(self.library, function).restype = ctypes.c_void_p

    def told(self, samples: list[int]) -> str:
        receiver = ctypes.c_void_p(self.library.dtmf_rx_init(None, None, None))
        heard = ctypes.create_string_buffer(200)
        told = ""
        for start in range(0, len(samples), 160):
            part = samples[start : start + 160]
            self.library.dtmf_rx(receiver, (ctypes.c_int16 * len(part))(*part), len(part))
            count = self.library.dtmf_rx_get(receiver, heard, 100)
            told += heard.raw[:count].decode()
        return told

    def spoken(self, digits: str) -> list[int]:
        sender = ctypes.c_void_p(self.library.dtmf_tx_init(None, None, None))
        self.library.dtmf_tx_put(sender, digits.encode(), len(digits))
        space = (ctypes.c_int16 * 160)()
        samples: list[int] = []
        while count := self.library.dtmf_tx(sender, space, 160):
            samples += space[:count]
        return samples + [0] * 800


@pytest.fixture(scope="module")
def spandsp() -> Spandsp:
    return Spandsp()


def told(samples: list[int]) -> str:
    """What media finds in these samples, sent to it in PCMU."""
    room = Room()
    phone = room.phone(1, PCMU)
    room.tell(DetectTones(1, on=True))
    for start in range(0, len(samples) - 159, 160):
        phone.sends(phone.packet(encode("pcmu", samples[start : start + 160])))
        room.wait(0.02)
    room.wait(0.2)
    return "".join(event.digit for event in room.events() if isinstance(event, Digit) and not event.ended)


def pressed(digits: str, seed: int) -> list[int]:
    """Digits as bad phones send them: short or long, unlike loudness of the two tones, off by a little."""
    chance = random.Random(seed)
    samples = [0] * 800
    for digit in digits:
        low, high = tones(digit) or (0.0, 0.0)
        level, twist = chance.uniform(-25, -8), chance.uniform(-3, 3)
        off = chance.uniform(0.99, 1.01)
        loud, louder = (32767 * 10 ** (db / 20) for db in (level, level + twist))
        for n in range(8 * chance.randint(50, 120)):
            turn = 2 * math.pi * n * off / 8000
            samples.append(round(loud * math.sin(low * turn) + louder * math.sin(high * turn)))
        samples += [0] * 8 * chance.randint(50, 100)
    return samples + [0] * 800


def test_what_spandsp_speaks_media_understands(spandsp):
    assert told(spandsp.spoken(ALL)) == ALL


def test_what_media_speaks_spandsp_understands(spandsp):
    room = Room()
    phone = room.phone(1, PCMU)
    clips = [clip for key in ALL for clip in (PlayTone(tones(key) or (), -13.0, 80), PlayTone((), 0.0, 80))]
    room.tell(OpenPlayer(90, 1), Hear(1, 90), Play(90, 1, tuple(clips)))
    room.wait(4)
    assert spandsp.told(sound(phone.heard, "pcmu")) == ALL


@pytest.mark.parametrize("seed", range(8))
def test_of_bad_phones_media_understands_what_spandsp_does(spandsp, seed):
    digits = "".join(random.Random(seed).choices(ALL, k=40))
    samples = pressed(digits, seed)
    assert spandsp.told(samples) == digits
    assert told(samples) == digits


def record(path: Path, form: str, rate_hz: int) -> None:
    room = Room()
    alice, bob = Speaker(room.phone(1, PCMU), 440.0), Speaker(room.phone(2, PCMU), 1000.0)
    room.tell(OpenRecorder(80, 1, str(path), form, rate_hz, 2))
    room.tell(Hear(80, 1, 0.0, "left"), Hear(80, 2, 0.0, "right"))
    talk(room, (alice, bob), 3.0)
    room.tell(ClosePort(80))


def test_opusinfo_finds_nothing_wrong_with_a_recording(tmp_path):
    record(tmp_path / "call.opus", "opus", 16000)
    command = ["opusinfo", str(tmp_path / "call.opus")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "WARNING" not in shown.stdout + shown.stderr
    assert "Playback length: 0m:02" in shown.stdout or "Playback length: 0m:03" in shown.stdout
    assert "Channels: 2" in shown.stdout


@pytest.mark.parametrize("form", ["linear", "a-law", "mu-law"])
def test_sox_opens_a_recording(tmp_path, form):
    path = tmp_path / "call.wav"
    record(path, form, 8000)
    shown = subprocess.run(["sox", "--i", str(path)], capture_output=True, text=True, check=True)
    assert "Channels       : 2" in shown.stdout
    assert "8000" in shown.stdout
    assert not shown.stderr
