"""G.711 by the standard's own formulas (ITU-T G.711)."""

from __future__ import annotations

import functools
from collections.abc import Iterable

ULAW_CLIP = 32635
ALAW_CLIP = 32767


@functools.cache
def decoder(payload_type: int) -> tuple[int, ...]:
    """256 samples of 16 bits: what each byte of PCMU (0) or PCMA (8) means."""
    return tuple((_ulaw_to_linear if payload_type == 0 else _alaw_to_linear)(byte) for byte in range(256))


def encode(samples: Iterable[int], payload_type: int) -> bytes:
    """PCMU (0) or PCMA (8). By formula: a whole table would take 60 ms in the middle of the first call."""
    return bytes(map(_linear_to_ulaw if payload_type == 0 else _linear_to_alaw, samples))


def decode(payload: bytes, payload_type: int) -> list[int]:
    table = decoder(payload_type)
    return [table[byte] for byte in payload]


def _ulaw_to_linear(byte: int) -> int:
    byte ^= 0xFF
    magnitude = (((byte & 0x0F) << 3) + 0x84 << (byte >> 4 & 7)) - 0x84
    return -magnitude if byte & 0x80 else magnitude


def _linear_to_ulaw(sample: int) -> int:
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), ULAW_CLIP) + 0x84
    exponent = magnitude.bit_length() - 8
    return (sign | exponent << 4 | (magnitude >> exponent + 3 & 0x0F)) ^ 0xFF


def _alaw_to_linear(byte: int) -> int:
    byte ^= 0x55
    exponent, mantissa = byte >> 4 & 7, byte & 0x0F
    magnitude = (mantissa << 4) + 8 if exponent == 0 else (mantissa << 4) + 0x108 << exponent - 1
    return magnitude if byte & 0x80 else -magnitude


def _linear_to_alaw(sample: int) -> int:
    sign = 0x80 if sample >= 0 else 0
    magnitude = min(sample if sample >= 0 else -sample - 1, ALAW_CLIP)
    exponent = max(0, magnitude.bit_length() - 8)
    mantissa = magnitude >> (4 if exponent == 0 else exponent + 3) & 0x0F
    return (sign | exponent << 4 | mantissa) ^ 0x55
