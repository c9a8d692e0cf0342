"""Registering with a registrar: challenges, refreshes, refusals; and calls through a proxy."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import pytest

from jackfield.phone import NotAsTold, Phone, tone
from tests.memory_network import Address, MemoryNetwork
from tests.memory_phone import MemoryTransport
from tests.phone.corner_exchange import CornerExchange
from tests.virtual_loop import time_passes

SERVER = ("10.0.0.1", 5060)


class Village:
    """Phones around one corner exchange."""

    def __init__(self) -> None:
        self.network = MemoryNetwork(asyncio.get_running_loop(), random.Random(1))
        self.exchange = CornerExchange(SERVER, self._send, {"101": "secret", "102": "geheim"})
        self.network.attach(SERVER, lambda data, src, dst: self.exchange.receive(data, src))
        self.phones: list[Phone] = []

    def _send(self, data: bytes, dst: Address) -> None:
        self.network.send(SERVER, dst, data)

    def phone(self, number: str, password: str, **account: Any) -> Phone:
        transport = MemoryTransport(self.network, f"10.0.0.{2 + len(self.phones)}")
        rng = random.Random(len(self.phones))
        self.phones.append(Phone(number, password, SERVER, transport=transport, rng=rng, **account))
        return self.phones[-1]


@pytest.fixture
async def village() -> Iterator[Village]:  # type: ignore[misc]
    village = Village()
    yield village
    for phone in village.phones:
        phone.close()


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["MD5"], "MD5"),
        (["SHA-256", "MD5"], "SHA-256"),
        (["SHA-512-256", "SHA-256"], "SHA-512-256"),
        (["MD5", "SHA-256"], "MD5"),
        (["SHA3-1024", "SHA-256"], "SHA-256"),
    ],
)
async def test_the_first_challenge_that_it_can_answer_is_answered(
    village: Village, offered: list[str], chosen: str
) -> None:
    village.exchange.algorithms = offered
    alice = village.phone("101", "secret")
    assert await alice.registers(600) == 120
    assert f"algorithm={chosen}" in village.exchange.requests[-1].get("authorization")
    assert alice.complaints == []
    assert alice.is_registered


async def test_a_wrong_password_is_tried_once(village: Village) -> None:
    alice = village.phone("101", "wrong")
    with pytest.raises(NotAsTold, match="refused with 403"):
        await alice.registers()
    assert len(village.exchange.requests) == 2
    assert not alice.is_registered


async def test_a_registration_is_refreshed_before_it_runs_out(village: Village) -> None:
    alice = village.phone("101", "secret")
    await alice.registers()
    began = alice.now
    await time_passes(300)
    refreshes = village.exchange.requests[2:]
    assert [round(row.at - began) for row in alice.ladder.rows if row.data.startswith(b"REGISTER")][2:] == [
        96,
        192,
        288,
    ]
    assert [request.cseq.number for request in refreshes] == [3, 4, 5]
    assert len({request.call_id for request in village.exchange.requests}) == 1


async def test_unregistering_ends_the_refreshes(village: Village) -> None:
    alice = village.phone("101", "secret")
    await alice.registers()
    await alice.unregisters()
    seen = len(village.exchange.requests)
    await time_passes(1000)
    assert len(village.exchange.requests) == seen
    assert village.exchange.bindings == {}


async def test_an_interval_that_is_too_brief_is_raised(village: Village) -> None:
    village.exchange.min_expires_s = 60
    alice = village.phone("101", "secret")
    await alice.registers(10)
    assert [request.get("expires") for request in village.exchange.requests] == ["10", "10", "60"]


async def test_several_contacts_at_once(village: Village) -> None:
    alice = village.phone("101", "secret")
    await alice.registers(contacts=("sip:101@10.0.0.8", "sip:101@10.0.0.9"))
    assert village.exchange.requests[-1].all("contact") == ["<sip:101@10.0.0.8>", "<sip:101@10.0.0.9>"]
    assert alice.complaints == []


async def test_nobody_answers_a_register(village: Village) -> None:
    village.network.detach(SERVER)
    alice = village.phone("101", "secret")
    assert await alice.tries_to_register(within_s=60) == 408
    assert len(alice.ladder.rows) == 11  # timer E: .5, 1, 2, 4, 4, ... until timer F


async def test_a_call_through_a_proxy(village: Village) -> None:
    alice, bob = village.phone("101", "secret"), village.phone("102", "geheim", domain="corner")
    await alice.registers()
    await bob.registers()
    alice.speaks(tone(440))
    await alice.dials("102")
    await bob.answers()
    await alice.talks()
    await bob.hears(tone(440))
    await bob.hangs_up()
    await alice.ends()
    assert alice.complaints + bob.complaints == []


async def test_a_number_that_is_not_there(village: Village) -> None:
    alice = village.phone("101", "secret")
    await alice.dials("999")
    assert await alice.fails() == 404
