"""Codecs of an m-line: a=rtpmap and a=fmtp to values and back (RFC 8866 section 6.6, 6.15, RFC 3551).

Which of them an answer keeps is `offer_answer.py`.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec


class Codec(msgspec.Struct, frozen=True, gc=False):
    """One payload type of a stream, with its a=rtpmap and a=fmtp; telephone-event is one too."""

    payload_type: int
    name: str
    """lower case"""
    clock_rate_hz: int
    channels: int = 1
    fmtp: str = ""

    @property
    def encoding(self) -> tuple[str, int, int]:
        """What makes two codecs the same, whatever their payload types are."""
        return self.name, self.clock_rate_hz, self.channels


# RFC 3551 section 6, tables 4 and 5: what these numbers mean when no a=rtpmap says so.
_STATIC = {
    "0": "PCMU/8000",
    "3": "GSM/8000",
    "4": "G723/8000",
    "5": "DVI4/8000",
    "6": "DVI4/16000",
    "7": "LPC/8000",
    "8": "PCMA/8000",
    "9": "G722/8000",
    "10": "L16/44100/2",
    "11": "L16/44100",
    "12": "QCELP/8000",
    "13": "CN/8000",
    "14": "MPA/90000",
    "15": "G728/8000",
    "16": "DVI4/11025",
    "17": "DVI4/22050",
    "18": "G729/8000",
    "25": "CelB/90000",
    "26": "JPEG/90000",
    "28": "nv/90000",
    "31": "H261/90000",
    "32": "MPV/90000",
    "33": "MP2T/90000",
    "34": "H263/90000",
}
# Encoding names are compared without case, yet some phones know only the usual spelling.
_SPELLING = {
    name.lower(): name
    for name in ("PCMU", "PCMA", "GSM", "G722", "G723", "G728", "G729", "CN", "L16", "iLBC", "AMR", "AMR-WB")
}


def _codec(payload_type: str, rtpmap: str, fmtp: str) -> Codec | None:
    """The codec of one format, or None where the a=rtpmap makes no sense (then nobody can use it)."""
    name, _, rest = rtpmap.partition("/")
    rate, _, channels = rest.partition("/")
    try:
        number, clock_rate_hz, channel_count = int(payload_type), int(rate), int(channels or 1)
    except ValueError:
        return None
    if not (name and 0 <= number <= 127 and 0 < clock_rate_hz <= 1_000_000 and 0 < channel_count <= 255):
        return None
    return Codec(number, name.lower(), clock_rate_hz, channel_count, fmtp)


# Kept, since phones of one model say the same lines in every call.
@lru_cache(maxsize=256)
def read_codecs(formats: tuple[str, ...], lines: tuple[str, ...]) -> tuple[Codec, ...]:
    """What the formats of an m-line mean by the lines below it; what makes no sense is left out."""
    rtpmaps: dict[str, str] = {}
    fmtps: dict[str, str] = {}
    for line in lines:
        if line.startswith("a=rtpmap:"):
            payload_type, _, rtpmap = line[9:].partition(" ")
            rtpmaps[payload_type] = rtpmap.strip()
        elif line.startswith("a=fmtp:"):
            payload_type, _, fmtp = line[7:].partition(" ")
            fmtps[payload_type] = fmtp.strip()
    found = [
        _codec(each, rtpmaps.get(each) or _STATIC.get(each, ""), fmtps.get(each, "")) for each in formats
    ]
    return tuple([codec for codec in found if codec is not None])


@lru_cache(maxsize=512)
def codec_lines(codec: Codec) -> tuple[str, ...]:
    """The attribute lines that describe a codec of ours."""
    name = _SPELLING.get(codec.name, codec.name)
    channels = f"/{codec.channels}" if codec.channels > 1 else ""
    rtpmap = f"a=rtpmap:{codec.payload_type} {name}/{codec.clock_rate_hz}{channels}"
    return (rtpmap, f"a=fmtp:{codec.payload_type} {codec.fmtp}") if codec.fmtp else (rtpmap,)
