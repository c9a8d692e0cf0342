"""Signals by country: each is a cadence of tone and silence that media can play."""

import pytest

from pbx.tones import COUNTRIES, Signal, signal


@pytest.mark.parametrize("country", ["", "xx", *sorted(COUNTRIES)])
@pytest.mark.parametrize("what", Signal)
def test_each_signal_is_tone_and_silence_in_turn(country, what):
    tones = signal(country, what)
    assert len(tones) % 2 == 0
    assert all(bool(tone.frequencies_hz) == (n % 2 == 0) for n, tone in enumerate(tones))
    assert all(tone.duration_ms >= 40 for tone in tones)
    assert all(300 <= hz <= 1500 for tone in tones for hz in tone.frequencies_hz)


def test_some_that_everybody_knows():
    assert [(t.frequencies_hz, t.duration_ms) for t in signal("us", Signal.RINGING)] == [
        ((440.0, 480.0), 2000),
        ((), 4000),
    ]
    assert [t.duration_ms for t in signal("gb", Signal.RINGING)] == [400, 200, 400, 2000]
    assert signal("de", Signal.RINGING) == signal("xx", Signal.RINGING)
