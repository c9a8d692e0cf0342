"""A street of phones that can call each other directly: one ladder, one network in memory."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from jackfield.phone import Ladder, Phone
from tests.memory_network import MemoryNetwork, Weather
from tests.memory_phone import MemoryTransport


class Street:
    """Two phones that can call each other, one ladder, one network."""

    def __init__(self, seed: int = 1, weather: Weather | None = None) -> None:
        self.network = MemoryNetwork(
            asyncio.get_running_loop(), random.Random(seed), weather or Weather(0.01)
        )
        self.ladder = Ladder()
        self.phones: list[Phone] = []
        self._seed = seed

    def phone(self, number: str, **options: Any) -> Phone:
        host = f"10.0.0.{len(self.phones) + 1}"
        rng = random.Random(self._seed * 100 + len(self.phones))
        transport = MemoryTransport(self.network, host)
        phone = Phone(number, transport=transport, rng=rng, ladder=self.ladder, **options)
        self.phones.append(phone)
        return phone

    def complaints(self) -> list[str]:
        return [complaint for phone in self.phones for complaint in phone.complaints]

    def close(self) -> None:
        for phone in self.phones:
            phone.close()
