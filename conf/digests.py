"""From a SIP password to what the database keeps of it: HA1 per algorithm (RFC 7616 section 3.4.2)."""

from __future__ import annotations

import hashlib

from conf.snapshot import Secret

MD5_BYTES, SHA256_BYTES = 16, 32
PACKED_BYTES = MD5_BYTES + 2 * SHA256_BYTES


def make_secret(username: str, realm: str, password: str) -> Secret:
    """H(username:realm:password) with each algorithm that a phone may answer with."""
    text = f"{username}:{realm}:{password}".encode()
    return Secret(
        md5=hashlib.md5(text, usedforsecurity=False).hexdigest(),
        sha256=hashlib.sha256(text).hexdigest(),
        sha512_256=hashlib.new("sha512_256", text).hexdigest(),
    )


def pack(secret: Secret) -> bytes:
    return bytes.fromhex(secret.md5 + secret.sha256 + secret.sha512_256)


def unpack(packed: bytes) -> Secret:
    assert len(packed) == PACKED_BYTES
    digits, md5, sha256 = packed.hex(), 2 * MD5_BYTES, 2 * (MD5_BYTES + SHA256_BYTES)
    return Secret(digits[:md5], digits[md5:sha256], digits[sha256:])
