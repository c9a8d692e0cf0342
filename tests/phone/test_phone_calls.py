"""Phone to phone, without a server, in virtual time: every kind of call, and no complaint about its like."""

from __future__ import annotations

from jackfield.phone import tone
from tests.phone.street import Street


async def test_a_call_is_answered_heard_and_hung_up(street: Street) -> None:
    alice, bob = street.phone("101"), street.phone("102")
    alice.speaks(tone(440))
    bob.speaks(tone(880))
    await alice.dials(bob)
    await bob.answers()
    await alice.talks()
    assert abs(await bob.hears(tone(440)) + 13) < 0.5
    await alice.hears(tone(880))
    await alice.hangs_up()
    assert await bob.ends() == "the far side hung up"
