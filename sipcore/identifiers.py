"""Tags, branches and Call-IDs (RFC 3261 19.3, 8.1.1.7, 8.1.1.4): unguessable, and the same from one seed.

A keyed BLAKE2b over a counter gives eight tokens of 64 bits at a time, at a fifth of a microsecond each.
Without the key, which is drawn once from the injected source, none follows from the others.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from sipcore.headers import MAGIC_COOKIE

_TOKEN_CHARS = 16
_POOL_BYTES = 64


class RandomSource(Protocol):
    """The part of `random.Random` that the stack uses: a `SystemRandom` in service, a seeded one in tests."""

    def getrandbits(self, k: int, /) -> int: ...

    def uniform(self, a: float, b: float, /) -> float: ...


class Identifiers:
    """Gives out each token once."""

    def __init__(self, source: RandomSource) -> None:
        self._key = source.getrandbits(512).to_bytes(64, "little")
        self._counter = 0
        self._pool: list[str] = []

    def token(self) -> str:
        """16 hexadecimal digits: a tag, or half a Call-ID."""
        if not self._pool:
            self._counter += 1
            counter = self._counter.to_bytes(8, "little")
            digits = hashlib.blake2b(counter, digest_size=_POOL_BYTES, key=self._key).hexdigest()
            self._pool = [digits[at : at + _TOKEN_CHARS] for at in range(0, len(digits), _TOKEN_CHARS)]
        return self._pool.pop()

    def branch(self) -> str:
        return MAGIC_COOKIE + self.token()

    def call_id(self) -> str:
        return self.token() + self.token()

    def derived_tag(self, *parts: str) -> str:
        """The same tag for the same request whenever it comes: for answers that nobody remembers (8.2.7)."""
        text = "|".join(parts).encode("utf-8", "surrogateescape")
        return hashlib.blake2b(text, digest_size=8, key=self._key).hexdigest()
