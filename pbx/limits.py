"""How many calls may be up at a time: for the server, a tenant, an extension, a trunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable

from pbx.api import Party

Limit = tuple[Hashable, int]
"""What is counted, and how many of it may be at a time; 0: any number."""


def place_of(party: Party) -> Hashable:
    """What a party in a call counts as: its trunk when it is outside, else its extension."""
    return ("trunk", party.tenant, party.trunk) if party.trunk else ("extension", party.tenant, party.number)


class Limits:
    """Counts what is in use. A call takes all of its places or none."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: Counter[Hashable] = Counter()

    def take(self, places: Iterable[Limit]) -> Hashable | None:
        """Take one of each; returns the first that is full, having taken none, or None when all is well."""
        places = tuple(places)
        for key, most in places:
            if most and self._held[key] >= most:
                return key
        for key, _ in places:
            self._held[key] += 1
        return None

    def give_back(self, keys: Iterable[Hashable]) -> None:
        for key in keys:
            self._held[key] -= 1
            if self._held[key] <= 0:
                del self._held[key]

    def held(self, key: Hashable) -> int:
        return self._held.get(key, 0)

    def __len__(self) -> int:
        return len(self._held)
