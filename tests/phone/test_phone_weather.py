"""Calls in bad weather: whatever is lost, doubled or overtaken, both phones agree in the end."""

from __future__ import annotations

import pytest

from jackfield.phone import NotAsTold, Rings
from tests.memory_network import Weather
from tests.phone.street import Street
from tests.virtual_loop import run_virtual, time_passes

STORM = Weather(delay_s=0.02, jitter_s=0.05, loss=0.2, duplication=0.2, reorder=0.1, reorder_s=0.3)
PATIENCE_S = 90.0
HARMLESS = ("that answers nothing we sent",)
"""Stragglers that outlive what they belong to are noted, and are nobody's fault in a storm."""


async def a_call_in_a_storm(seed: int, *, reliable: bool) -> list[str]:
    street = Street(seed, STORM)
    alice, bob = street.phone("101", sound=False), street.phone("102", sound=False)
    bob.when_called = Rings(183 if reliable else 180, early_media=reliable, reliable=reliable)
    out = await alice.dials(bob)
    back = await bob.answers(PATIENCE_S)
    await out.talks(PATIENCE_S)
    await back.holds(within_s=PATIENCE_S)
    await back.resumes(within_s=PATIENCE_S)
    await out.hangs_up(PATIENCE_S)
    await back.ends(PATIENCE_S)
    await time_passes(100)
    assert (alice.agent.legs, bob.agent.legs) == ({}, {})
    assert (alice.agent.next_deadline(), bob.agent.next_deadline()) == (None, None)
    street.close()
    return [text for text in street.complaints() if not any(harmless in text for harmless in HARMLESS)]


@pytest.mark.parametrize("reliable", [False, True])
@pytest.mark.parametrize("seed", range(25))
def test_a_call_comes_through_a_storm(seed: int, reliable: bool) -> None:
    assert run_virtual(a_call_in_a_storm(seed, reliable=reliable)) == []


async def a_change_of_mind_in_a_storm(seed: int) -> tuple[bool, bool]:
    street = Street(seed, STORM)
    alice, bob = street.phone("101", sound=False), street.phone("102", sound=False)
    out = await alice.dials(bob)
    alice.loop.call_later(0.05 * (seed % 10), bob.loop.create_task, out.hangs_up(PATIENCE_S))
    await out.ends(PATIENCE_S)
    await time_passes(150)
    street.close()
    return out.is_over, all(call.is_over for call in bob.calls)


@pytest.mark.parametrize("seed", range(25))
def test_giving_up_in_a_storm_leaves_nobody_behind(seed: int) -> None:
    assert run_virtual(a_change_of_mind_in_a_storm(seed)) == (True, True)


def test_total_loss_ends_with_408() -> None:
    async def story() -> int:
        street = Street(1, Weather(loss=1.0))
        await street.phone("101").dials("sip:102@10.0.0.2")
        status = await street.phones[0].fails(within_s=40)
        street.close()
        return status

    assert run_virtual(story()) == 408


def test_impatience_says_what_was_waited_for() -> None:
    async def story() -> None:
        street = Street(1, Weather(loss=1.0))
        try:
            await street.phone("101").rings(within_s=3)
        finally:
            street.close()

    with pytest.raises(NotAsTold, match="101: waited 3 s for the phone to ring"):
        run_virtual(story())
