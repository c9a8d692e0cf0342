"""Which header fields cross from one leg of a call to the other, and how reasons are written (RFC 3326)."""

from __future__ import annotations

from collections.abc import Iterable

from sipcore.faults import PeerFault
from sipcore.fieldnames import key_of
from sipcore.message import Message

Field = tuple[str, str]


class Passing:
    """Which fields cross from leg to leg: by name, or all that begin as "X-*" says."""

    __slots__ = ("_beginnings", "_names")

    def __init__(self, names: Iterable[str]) -> None:
        keys = [key_of(name) for name in names]
        self._names = frozenset(key for key in keys if not key.endswith("*"))
        self._beginnings = tuple(key[:-1] for key in keys if key.endswith("*"))

    def of(self, message: Message) -> tuple[Field, ...]:
        """The fields that pass, in their order, values byte for byte as they came."""
        keys = message.keys()
        if self._names.isdisjoint(keys) and not (self._beginnings and any(map(self._begins, keys))):
            return ()
        return tuple([field for field in message.fields() if self._passes(key_of(field[0]))])

    def _passes(self, key: str) -> bool:
        return key in self._names or self._begins(key)

    def _begins(self, key: str) -> bool:
        return key.startswith(self._beginnings)


def reason_header(protocol: str, cause: int, text: str) -> Field:
    return ("Reason", f'{protocol};cause={cause};text="{text}"')


def warning_fields(fault: PeerFault) -> tuple[Field, ...]:
    """Why a session description was refused, for those who debug the phone (RFC 3261 20.43)."""
    return (("Warning", f'399 pbx "{fault.rule}"'),) if fault.status == 488 else ()


def reason_fields(message: Message) -> tuple[Field, ...]:
    """The Reasons of a BYE or CANCEL, for the one that follows on the other leg."""
    return tuple([("Reason", value) for value in message.get_all("Reason")])
