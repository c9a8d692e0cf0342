"""Keys of SRTP in a session description: a=crypto lines to values and back (RFC 4568, RFC 6188, RFC 7714).

Which line is chosen, and what a phone must offer, is the pbx's; encrypting is media's.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

import msgspec

from sipcore.faults import PeerFault

KEY_AND_SALT_BYTES = {
    "AEAD_AES_256_GCM": 32 + 12,
    "AEAD_AES_128_GCM": 16 + 12,
    "AES_256_CM_HMAC_SHA1_80": 32 + 14,
    "AES_256_CM_HMAC_SHA1_32": 32 + 14,
    "AES_CM_128_HMAC_SHA1_80": 16 + 14,
    "AES_CM_128_HMAC_SHA1_32": 16 + 14,
}
"""Our suites, strongest first, and how long master key and master salt are together."""

OTHER_SPELLING = {
    "AES_CM_256_HMAC_SHA1_80": "AES_256_CM_HMAC_SHA1_80",  # drafts of RFC 6188, in phones to this day
    "AES_CM_256_HMAC_SHA1_32": "AES_256_CM_HMAC_SHA1_32",
}
CHANGES_THE_PACKETS = ("UNENCRYPTED_SRTP", "UNENCRYPTED_SRTCP", "UNAUTHENTICATED_SRTP", "FEC_ORDER", "KDR")
"""Session parameters (RFC 4568 section 6.3) that a receiver must understand: such a line is not for us."""
MAX_LINE = 512


class Crypto(msgspec.Struct, frozen=True, gc=False):
    """One a=crypto line: `key` is master key || master salt, that its author sends with."""

    tag: int
    suite: str
    key: bytes

    def __repr__(self) -> str:
        return f"Crypto(tag={self.tag}, suite={self.suite!r}, key=...)"

    @property
    def line(self) -> str:
        return f"a=crypto:{self.tag} {self.suite} inline:{base64.b64encode(self.key).decode()}"


def read_crypto(line: str) -> Crypto | None:
    """Read one a=crypto line; None where it asks for what we do not do: its author may have another one.

    That is a foreign suite, a session parameter that changes the packets, or a master key identifier in
    each packet. A lifetime is read over: no call has 2^31 packets. Raises PeerFault(488) for a line that
    makes no sense.
    """
    words = line.removeprefix("a=crypto:").split()
    if len(line) > MAX_LINE or len(words) < 3:
        raise _broken("4: without tag, suite and key")
    tag, suite, parameters = words[0], words[1].upper(), words[2:]
    if not (tag.isascii() and tag.isdecimal() and len(tag) <= 9):
        raise _broken("4.1: the tag is no number of up to nine digits")
    suite = OTHER_SPELLING.get(suite, suite)
    size = KEY_AND_SALT_BYTES.get(suite)
    if size is None or any(word.upper().startswith(CHANGES_THE_PACKETS) for word in parameters[1:]):
        return None
    text, _, further = parameters[0].partition("|")
    key = _read_key(text, size)
    return None if ":" in further else Crypto(int(tag), suite, key)  # RFC 4568 6.1: |lifetime|MKI:length


def _read_key(inline: str, size: int) -> bytes:
    method, _, text = inline.partition(":")
    if method.lower() != "inline":
        raise _broken("6.1: the key method is not inline")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise _broken("6.1: the key is not base64") from None
    if len(key) != size:
        raise _broken(f"6.1: key and salt have {len(key)} bytes and not {size}")
    return key


def cryptos(lines: Iterable[str]) -> list[Crypto]:
    """The a=crypto lines of a stream that we can use, in their author's order of preference.

    Raises PeerFault(488) for one that makes no sense, and for two with the same tag.
    """
    found = [read_crypto(line) for line in lines if line.startswith("a=crypto:")]
    usable = [each for each in found if each is not None]
    if len({each.tag for each in usable}) < len(usable):
        raise _broken("4.1: two lines with the same tag")
    return usable


def _broken(what: str) -> PeerFault:
    return PeerFault(488, "Bad Crypto Attribute", f"RFC 4568 {what}")
