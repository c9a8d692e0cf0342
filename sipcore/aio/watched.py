"""Files of the system that may change while we run: read again when they did, looked at every few seconds."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

_LOOK_EVERY_S = 5.0

Content = TypeVar("Content")


class WatchedFile(Generic[Content]):
    """What `read(path)` makes of a file; `absent` while there is no such file. Small local files only."""

    def __init__(
        self, path: str, read: Callable[[str], Content], absent: Content, clock: Callable[[], float]
    ) -> None:
        self._path = path
        self._read = read
        self._absent = absent
        self._clock = clock
        self._look_at = float("-inf")
        self._version: tuple[int, int] | None = None
        self._content = absent

    def get(self) -> Content:
        """The content as it was at most five seconds ago."""
        now = self._clock()
        if now < self._look_at:
            return self._content
        self._look_at = now + _LOOK_EVERY_S
        try:
            state = os.stat(self._path)
            version = (state.st_mtime_ns, state.st_ino)
            if version != self._version:
                self._content = self._read(self._path)
                self._version = version
        except OSError:
            self._content, self._version = self._absent, None
        return self._content


def read_hosts(path: str) -> dict[str, tuple[str, ...]]:
    """hosts(5): name in lower case -> addresses. Lines that make no sense are passed over."""
    found: dict[str, list[str]] = {}
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            address, *names = line.partition("#")[0].split() or [""]
            for name in names:
                found.setdefault(name.lower().rstrip("."), []).append(address)
    return {name: tuple(addresses) for name, addresses in found.items()}
