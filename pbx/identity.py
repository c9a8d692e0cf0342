"""Who a caller is said to be, and to whom (RFC 3325 asserted identity, RFC 3323 privacy).

A party is always named by what it has proved, never by what its phone claims. Who asks for privacy is
anonymous to everyone; only peers that are trusted are told in P-Asserted-Identity whose call it is.
"""

from __future__ import annotations

from pbx.api import Party
from sipcore.headers import quote
from sipcore.message import Message
from sipcore.uri import sip_uri

Field = tuple[str, str]
ANONYMOUS = '"Anonymous" <sip:anonymous@anonymous.invalid>'
"""RFC 3323 section 4.1.1.3"""
_HIDING = frozenset({"id", "user"})
"""RFC 3323 4.2; what "header" and "session" ask for happens anyway: no address of a party crosses a call"""


def wants_privacy(message: Message) -> bool:
    """True when the one who sent this does not want to be known (RFC 3323 section 4.2)."""
    value = message.get("Privacy")
    return value is not None and not _HIDING.isdisjoint(value.lower().replace(" ", "").split(";"))


def name_addr(party: Party, realm: str) -> str:
    """A party as From value: its own name and number, whatever its phone claims to be."""
    number = party.number
    address = f"<sip:{number}@{realm}>" if number.isalnum() else f"<{sip_uri(number, realm)}>"
    return f"{quote(party.name)} {address}" if party.name else address


def said_as(party: Party, realm: str, *, private: bool, trusted: bool) -> tuple[str, tuple[Field, ...]]:
    """The From value that a peer gets to see, and the fields about identity that go with it."""
    real = name_addr(party, realm)
    asserted = (("P-Asserted-Identity", real),) if trusted else ()
    if not private:
        return real, asserted
    return ANONYMOUS, (*asserted, ("Privacy", "id")) if trusted else ()
