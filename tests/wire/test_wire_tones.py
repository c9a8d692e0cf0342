"""The judges of sound, judged themselves: each must be able to say no."""

from __future__ import annotations

import array
import math
import wave
from pathlib import Path

import pytest
from wire_tones import Heard, write_speech

RATE = 8000


def _read(file: Path) -> Heard:
    with wave.open(str(file)) as speech:
        return Heard(array.array("h", speech.readframes(speech.getnframes())), speech.getframerate())


@pytest.fixture
def speech(tmp_path: Path) -> Heard:
    return _read(write_speech(tmp_path / "speech.wav", 700, 3, rate=RATE))


def test_speech_is_its_tone_without_gaps_or_drift(speech: Heard) -> None:
    assert speech.level_db(700) == pytest.approx(20 * math.log10(0.3), abs=0.1)
    assert speech.above_db(700, 1000) > 60
    assert speech.longest_gap_s(700) <= 0.01
    assert speech.drift_s() <= 0.01


def test_a_missing_stretch_is_a_gap(speech: Heard) -> None:
    speech.samples[RATE : RATE + 960] = array.array("h", bytes(2 * 960))
    assert speech.longest_gap_s(700) == pytest.approx(0.12, abs=0.011)


def test_samples_that_never_came_are_drift_and_so_are_late_ones(speech: Heard) -> None:
    lost = Heard(speech.samples[: RATE + 4000] + speech.samples[RATE + 4800 :], RATE)
    assert lost.drift_s() == pytest.approx(0.1, abs=0.011)
    late = Heard(
        speech.samples[: RATE + 4000] + array.array("h", bytes(1600)) + speech.samples[RATE + 4000 :], RATE
    )
    assert late.drift_s() == pytest.approx(0.1, abs=0.011)


def test_a_tone_that_stopped_or_never_came_is_a_gap(speech: Heard) -> None:
    assert speech.longest_gap_s(1000) == pytest.approx(3)
    speech.samples[2 * RATE :] = array.array("h", bytes(2 * RATE))
    assert speech.longest_gap_s(700) == pytest.approx(1, abs=0.011)
    assert Heard(array.array("h"), RATE).level_db(700) == -120
