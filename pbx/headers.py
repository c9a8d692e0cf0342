"""Which header fields cross from one leg of a call to the other, and how reasons are written (RFC 3326)."""

from __future__ import annotations

from collections.abc import Iterable

from pbx.api import Party
from sipcore.headers import quote
from sipcore.message import Message

Field = tuple[str, str]


def passed_on(message: Message, names: Iterable[str]) -> tuple[Field, ...]:
    """The fields of these names, in the order of `names`, values byte for byte as they came."""
    found: list[Field] = []
    for name in names:
        value = message.get(name)
        if value is not None:
            found.extend((name, each) for each in message.get_all(name))
    return tuple(found)


def reason_header(protocol: str, cause: int, text: str) -> Field:
    return ("Reason", f'{protocol};cause={cause};text="{text}"')


def reason_fields(message: Message) -> tuple[Field, ...]:
    """The Reasons of a BYE or CANCEL, for the one that follows on the other leg."""
    return tuple([("Reason", value) for value in message.get_all("Reason")])


def name_addr(party: Party, realm: str) -> str:
    """A party as From value: its own name and number, whatever its phone claims to be."""
    address = f"<sip:{party.number}@{realm}>"
    return f"{quote(party.name)} {address}" if party.name else address
