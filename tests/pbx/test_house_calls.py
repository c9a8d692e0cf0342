"""Extension to extension, in the house: every way that a plain call can go."""

from __future__ import annotations

from jackfield.phone import tone
from tests.house import House


async def test_two_phones_talk_and_hang_up() -> None:
    async with House() as house:
        anna, boris = await house.phone("101", voice=tone(440)), await house.phone("102", voice=tone(1000))
        await anna.dials("102")
        await boris.answers()
        await anna.talks()
        await anna.hears(tone(1000))
        await boris.hears(tone(440))
        await anna.hangs_up()
        await boris.ends()
