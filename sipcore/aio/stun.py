"""STUN Binding on the SIP port: tell a phone behind NAT how we see it (RFC 5389, RFC 5626 3.5.2 and 8).

One pure function. Authentication, TURN and ICE are not its job; a SIP keep-alive uses none of them.
"""

from __future__ import annotations

import ipaddress
import struct
import zlib

from sipcore.flow import Address

_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")
_COOKIE = 0x2112A442

_BINDING_REQUEST = 0x0001
_BINDING_SUCCESS = 0x0101
_BINDING_ERROR = 0x0111

_ERROR_CODE = 0x0009
_UNKNOWN_ATTRIBUTES = 0x000A
_XOR_MAPPED_ADDRESS = 0x0020
_FINGERPRINT = 0x8028
_FINGERPRINT_XOR = 0x5354554E
_REQUIRED_BELOW = 0x8000
_UNDERSTOOD = frozenset({0x0006, 0x0008})
"""USERNAME and MESSAGE-INTEGRITY: a server without credentials passes over them (RFC 5389 10.1.2)."""

_LONGEST = 548
"""a Binding request has no reason to be longer than what any path carries whole (RFC 5389 7.1)"""


def looks_like_stun(datagram: bytes) -> bool:
    """True for what RFC 5389 section 6 lets one tell from SIP: two zero bits, and the magic cookie."""
    return len(datagram) >= 20 and datagram[0] < 64 and datagram[4:8] == b"\x21\x12\xa4\x42"


def binding_response(datagram: bytes, source: Address) -> bytes | None:
    """The answer to a Binding request that came from `source`; None for anything that earns no answer.

    Malformed requests, responses and indications are dropped in silence (RFC 5389 7.3); an attribute
    that must be understood and is not brings 420. The answer carries FINGERPRINT when the request did.
    """
    if len(datagram) > _LONGEST or not looks_like_stun(datagram):
        return None
    kind, length, _, transaction = _HEADER.unpack_from(datagram)
    if kind != _BINDING_REQUEST or length % 4 or len(datagram) != _HEADER.size + length:
        return None
    unknown: list[int] = []
    fingerprinted = False
    at = _HEADER.size
    while at < len(datagram):
        attribute, size = _ATTRIBUTE.unpack_from(datagram, at)
        end = at + _ATTRIBUTE.size + size
        if fingerprinted or end > len(datagram):
            return None
        if attribute == _FINGERPRINT:
            if size != 4 or datagram[at + 4 : end] != _fingerprint(datagram[:at]):
                return None
            fingerprinted = True
        elif attribute < _REQUIRED_BELOW and attribute not in _UNDERSTOOD:
            unknown.append(attribute)
        at = end + -size % 4
    if unknown:
        return _message(_BINDING_ERROR, transaction, _refusal(unknown), fingerprinted)
    return _message(_BINDING_SUCCESS, transaction, _mapped_address(source, transaction), fingerprinted)


def _message(kind: int, transaction: bytes, attributes: bytes, fingerprinted: bool) -> bytes:
    length = len(attributes) + (8 if fingerprinted else 0)
    message = _HEADER.pack(kind, length, _COOKIE, transaction) + attributes
    if fingerprinted:
        message += _ATTRIBUTE.pack(_FINGERPRINT, 4) + _fingerprint(message)
    return message


def _mapped_address(source: Address, transaction: bytes) -> bytes:
    host = ipaddress.ip_address(source[0].partition("%")[0]).packed
    family = 1 if len(host) == 4 else 2
    mask = _COOKIE.to_bytes(4) + transaction
    hidden = bytes(byte ^ cover for byte, cover in zip(host, mask, strict=False))
    port = source[1] ^ (_COOKIE >> 16)
    return struct.pack("!HHBBH", _XOR_MAPPED_ADDRESS, 4 + len(host), 0, family, port) + hidden


def _refusal(unknown: list[int]) -> bytes:
    code = struct.pack("!HHHBB", _ERROR_CODE, 4 + 17, 0, 4, 20) + b"Unknown Attribute" + b"\0\0\0"
    listed = struct.pack(f"!HH{len(unknown)}H", _UNKNOWN_ATTRIBUTES, 2 * len(unknown), *unknown)
    return code + listed + b"\0" * (-len(listed) % 4)


def _fingerprint(covered: bytes) -> bytes:
    return (zlib.crc32(covered) ^ _FINGERPRINT_XOR).to_bytes(4)
