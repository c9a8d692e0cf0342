"""The network in memory: what arrives, when, and that a seed says it all."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.memory_network import Address, MemoryNetwork, Passage, Weather
from tests.virtual_loop import time_passes

A, B = ("10.0.0.1", 5060), ("10.0.0.2", 5060)
Arrival = tuple[float, bytes]


def build(weather: Weather, seed: int = 1) -> tuple[MemoryNetwork, list[Arrival]]:
    loop = asyncio.get_running_loop()
    network = MemoryNetwork(loop, random.Random(seed), weather)
    arrived: list[Arrival] = []
    began = loop.time()

    def receive(data: bytes, src: Address, dst: Address) -> None:
        assert (src, dst) == (A, B)
        arrived.append((round(loop.time() - began, 6), data))

    network.attach(B, receive)
    return network, arrived


async def a_burst(weather: Weather, seed: int = 1) -> list[Arrival]:
    network, arrived = build(weather, seed)
    for n in range(100):
        network.send(A, B, bytes([n]))
    await time_passes(10)
    return arrived


async def test_in_calm_weather_all_arrive_in_order_and_together() -> None:
    assert await a_burst(Weather(delay_s=0.01)) == [(0.01, bytes([n])) for n in range(100)]


async def test_jitter_alone_never_reorders() -> None:
    arrived = [data for _, data in await a_burst(Weather(jitter_s=0.05))]
    assert arrived == sorted(arrived)


async def test_bad_weather_loses_doubles_and_reorders() -> None:
    arrived = [data for _, data in await a_burst(Weather(loss=0.2, duplication=0.2, reorder=0.2))]
    assert 60 < len(set(arrived)) < 100
    assert len(arrived) > len(set(arrived))
    assert arrived != sorted(arrived)


async def test_the_same_seed_is_the_same_weather_and_another_is_not() -> None:
    stormy = Weather(jitter_s=0.02, loss=0.1, duplication=0.1, reorder=0.1)
    assert await a_burst(stormy, seed=7) == await a_burst(stormy, seed=7)
    assert await a_burst(stormy, seed=7) != await a_burst(stormy, seed=8)


async def test_two_hosts_may_have_weather_of_their_own() -> None:
    network, arrived = build(Weather())
    network.between(A[0], B[0], Weather(loss=1.0))
    network.send(A, B, b"lost")
    network.between(A[0], B[0], Weather(delay_s=0.5))
    network.send(A, B, b"late")
    await time_passes(1)
    assert arrived == [(0.5, b"late")]
    assert network.lost == 1


async def test_nobody_there_is_told_to_the_sender_and_to_the_taps() -> None:
    network, _ = build(Weather())
    told: list[Address] = []
    fates: list[Passage] = []
    network.taps.append(fates.append)
    network.attach(A, lambda *_: None, unreachable=lambda data, src, dst: told.append(dst))
    network.send(A, ("10.0.0.9", 1), b"hello")
    await time_passes(1)
    assert told == [("10.0.0.9", 1)]
    assert [passage.fate for passage in fates] == ["sent", "nobody"]


async def test_an_address_is_taken_once_and_free_again_after_detach() -> None:
    network, _ = build(Weather())
    with pytest.raises(OSError, match="in use"):
        network.attach(B, lambda *_: None)
    network.detach(B)
    network.attach(B, lambda *_: None)
    assert network.attached == {B}
