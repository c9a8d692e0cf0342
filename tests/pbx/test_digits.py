"""Keys: read from INFO, joined whichever way they come, crossing a call in a way that is understood."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.phone import EVENTS, PCMA, PCMU, Answers, tone
from pbx import api
from pbx.digits import DIGITS, PLAIN, RELAY, Keypad, Pressed, Way, read_info, tones
from tests.house import House


def write_info(digit: str, duration_ms: int) -> bytes:
    """As phones do: the server only reads them."""
    return f"Signal={digit}\r\nDuration={duration_ms}\r\n".encode()


READ = [
    (RELAY, b"Signal=5\r\nDuration=160\r\n", Pressed("5", 160)),
    (RELAY, b"Signal= *\nDuration= 90\n", Pressed("*", 90)),
    (RELAY, b"Duration=250\r\nsignal=11\r\n", Pressed("#", 250)),
    (RELAY, b"Signal=d", Pressed("D", 160)),
    (RELAY, b"Signal=1\r\nDuration=99999\r\n", Pressed("1", 5000)),
    (RELAY, b"Signal=1\r\nDuration=a while\r\n", Pressed("1", 160)),
    (RELAY, b"Signal=12\r\n", None),
    (RELAY, b"", None),
    (PLAIN, b"7", Pressed("7", 160)),
    (PLAIN, b"#\r\n", Pressed("#", 160)),
    (PLAIN, b"hello", None),
    ("text/plain", b"7", None),
    (RELAY, b"Signal=5\r\n" + b"x" * 300, None),
]


@pytest.mark.parametrize(("content_type", "body", "read"), READ)
def test_info_is_read(content_type, body, read):
    assert read_info(content_type, body) == read


@given(st.sampled_from([RELAY, PLAIN]), st.binary(max_size=300))
def test_any_body_is_a_digit_or_none(content_type, body):
    pressed = read_info(content_type, body)
    assert pressed is None or pressed.digit in DIGITS


@given(st.sampled_from(sorted(DIGITS)), st.integers(1, 5000))
def test_what_is_written_is_read(digit, duration_ms):
    assert read_info(RELAY, write_info(digit, duration_ms)) == Pressed(digit, duration_ms)


def test_all_digits_have_their_tones():
    assert tones("1") == (697.0, 1209.0)
    assert tones("D") == (941.0, 1633.0)
    assert tones("flash") is None


@pytest.mark.parametrize("first", Way)
def test_one_press_that_comes_in_all_three_ways_is_one(first):
    keypad = Keypad()
    ways = [first, *(way for way in Way if way is not first)]
    new = [keypad.begins("5", way, 10 + 0.1 * n) for n, way in enumerate(ways)]
    assert new == [True, False, False]
    assert [keypad.is_told_by("5", way) for way in ways] == [True, False, False]


def test_the_same_key_twice_is_twice_in_each_way():
    keypad = Keypad()
    story = [(Way.EVENT, 0.0), (Way.TONE, 0.06), (Way.EVENT, 0.2), (Way.TONE, 0.26), (Way.TONE, 2.0)]
    assert [keypad.begins("5", way, at) for way, at in story] == [True, False, True, False, True]
    assert keypad.begins("6", Way.TONE, 2.1)


def test_a_keypad_keeps_little():
    keypad = Keypad()
    for n in range(10_000):
        keypad.begins("123"[n % 3], Way.EVENT, n * 0.001)
    assert len(keypad._presses) <= 40


def told(house: House) -> list[str]:
    return [event.digit for event in house.events if isinstance(event, api.DigitPressed)]


async def test_an_info_becomes_a_telephone_event_for_a_phone_that_knows_these() -> None:
    async with House() as house:
        anna, boris = await house.phone("101", voice=tone(440)), await house.phone("102")
        await anna.dials("102")
        await boris.answers()
        await anna.talks()
        await boris.hears(tone(440))
        await anna.presses("12#", by="info")
        await boris.hears_digits("12#")
        assert told(house) == ["1", "2", "#"]
        await boris.hears(tone(440))
        await anna.hangs_up()


async def test_the_same_press_by_event_and_info_is_one() -> None:
    async with House() as house:
        anna, boris = await house.phone("101"), await house.phone("102")
        call = await anna.dials("102")
        await boris.answers()
        await anna.talks()
        await anna.presses("5")
        await call.asks("INFO", (("Content-Type", RELAY),), write_info("5", 100))
        await boris.hears_digits("5")
        await house.rest(0.5)
        assert told(house) == ["5"]
        await anna.hangs_up()


async def test_a_telephone_event_becomes_tones_for_a_phone_that_knows_none() -> None:
    async with House() as house:
        anna = await house.phone("101", codecs=(PCMU, EVENTS), voice=tone(440))
        boris = await house.phone("102", codecs=(PCMU,))
        await anna.dials("102")
        await boris.answers()
        await anna.talks()
        await boris.hears(tone(440))
        presses = house.loop.create_task(anna.presses("5", 400))
        await boris.hears(tone(770), within_s=2)
        await presses
        await house.rest(1)
        await boris.hears(tone(440))
        assert told(house) == ["5"]
        await anna.hangs_up()


async def test_phones_without_a_common_codec_talk_by_translation() -> None:
    async with House() as house:
        house.forgiven.append("no audio codec in common")
        anna = await house.phone("101", codecs=(PCMA, EVENTS), voice=tone(440))
        boris = await house.phone("102", codecs=(PCMU, EVENTS), voice=tone(1000))
        boris.when_called = Answers()
        await anna.dials("102")
        await anna.talks()
        await anna.hears(tone(1000))
        await boris.hears(tone(440))
        await anna.presses("7")
        await boris.hears_digits("7")
        await boris.hangs_up()
        await anna.ends()
