"""Recordings that are encrypted at rest: what media wrote with a key, read again (media/src/seal.rs).

A header of 32 bytes, then chunks of AES-256-GCM, each after its length. One that was cut off by a crash
gives what was whole; one that was tampered with, or was written with another key, gives nothing.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"JFSEAL1\0"
HEADER, KEY, TAG = 32, 32, 16
_WAV_HEAD = 58


class Unreadable(Exception):
    """It is no sealed recording, or not of this key, or was changed since; the message says which."""


def is_sealed(data: bytes) -> bool:
    return data.startswith(MAGIC)


def unseal(data: bytes, key: bytes) -> tuple[bytes, bool]:
    """What was recorded, and whether it was ended in order. Raises Unreadable."""
    header = data[:HEADER]
    if not is_sealed(header) or len(header) < HEADER:
        raise Unreadable("not an encrypted recording")
    if len(key) != KEY:
        raise Unreadable(f"a key has {KEY} bytes, this one has {len(key)}")
    cipher = AESGCM(hmac.new(key, header, hashlib.sha256).digest())
    parts: list[bytes] = []
    at, ended = HEADER, False
    while not ended and len(data) - at >= 4:
        length = int.from_bytes(data[at : at + 4], "big")
        sealed = data[at + 4 : at + 4 + length]
        if len(sealed) < length:
            break  # the crash came here
        part, ended = _chunk(cipher, sealed, len(parts))
        parts.append(part)
        at += 4 + length
    if ended and at != len(data):
        raise Unreadable("something was added behind its end")
    return _mended(b"".join(parts)), ended


def _chunk(cipher: AESGCM, sealed: bytes, number: int) -> tuple[bytes, bool]:
    for last in (False, True):
        nonce = int(last).to_bytes(4, "big") + number.to_bytes(8, "big")
        try:
            return cipher.decrypt(nonce, sealed, None), last
        except InvalidTag:
            continue
    raise Unreadable("another key, or it was changed" if number == 0 else f"its chunk {number} was changed")


def _mended(data: bytes) -> bytes:
    """A WAV's lengths are known only at its end, and an encrypted header cannot be mended in place."""
    if not data.startswith(b"RIFF") or len(data) < _WAV_HEAD:
        return data
    length = len(data) - _WAV_HEAD
    block = max(int.from_bytes(data[32:34], "little"), 1)
    return b"".join(
        (
            b"RIFF",
            (len(data) - 8).to_bytes(4, "little"),
            data[8:46],
            (length // block).to_bytes(4, "little"),
            data[50:54],
            length.to_bytes(4, "little"),
            data[_WAV_HEAD:],
        )
    )
