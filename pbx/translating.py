"""Codecs that media speaks: what is offered and answered where two phones have none in common. Pure.

Two phones are always left to agree between themselves first: what passes as it is costs nothing and loses
nothing. Only a phone that takes nothing of the other's offer is made an offer with our own codecs too.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sipcore.sdp import Codec, Sdp, Stream

EVENTS = "telephone-event"
_SPOKEN = frozenset({("pcmu", 8000), ("pcma", 8000), ("g722", 8000), ("opus", 48000)})
_SPOKEN_L16 = frozenset({8000, 16000, 48000})
_DYNAMIC = range(96, 128)


def spoken(codec: Codec) -> bool:
    """True for a codec that media decodes and encodes."""
    if codec.name == "l16":
        return codec.channels == 1 and codec.clock_rate_hz in _SPOKEN_L16
    return (codec.name, codec.clock_rate_hz) in _SPOKEN


def is_translatable(stream: Stream) -> bool:
    """True when media can turn something of this stream into other codecs."""
    return stream.kind == "audio" and stream.port != 0 and any(spoken(codec) for codec in stream.codecs)


def widened(offer: Sdp, own: Sequence[Codec]) -> Sdp | None:
    """The offer with our own codecs behind the offerer's; None where that would be no other offer."""
    streams = tuple(_widened(stream, own) if is_translatable(stream) else stream for stream in offer.streams)
    return None if streams == offer.streams else msgspec.structs.replace(offer, streams=streams)


def _widened(stream: Stream, own: Sequence[Codec]) -> Stream:
    there = {codec.encoding for codec in stream.codecs}
    taken = {codec.payload_type for codec in stream.codecs}
    formats, lines = list(stream.formats), list(stream.lines)
    for codec in own:
        if codec.encoding in there:
            continue
        number = codec.payload_type
        if number in taken:
            number = next((free for free in _DYNAMIC if free not in taken), -1)
        if number < 0:
            break
        taken.add(number)
        formats.append(str(number))
        lines += codec_lines(msgspec.structs.replace(codec, payload_type=number))
    return msgspec.structs.replace(stream, formats=tuple(formats), lines=tuple(lines))


def codec_lines(codec: Codec) -> list[str]:
    """Its a=rtpmap and a=fmtp."""
    channels = f"/{codec.channels}" if codec.channels > 1 else ""
    lines = [f"a=rtpmap:{codec.payload_type} {codec.name}/{codec.clock_rate_hz}{channels}"]
    if codec.fmtp:
        lines.append(f"a=fmtp:{codec.payload_type} {codec.fmtp}")
    return lines


def fitted(offer: Sdp, answer: Sdp) -> Sdp:
    """What somebody else answered to `offer`, widened or not, as an answer to `offer` itself.

    Each stream keeps the codecs that were offered. Where no speech is among them, the offerer's first that
    media speaks takes their place. Telephone-events stay where they were offered: media passes them on in
    another way where the answerer knows none.
    """
    pairs = zip(offer.streams, answer.streams, strict=False)
    streams = tuple(_fitted(offered, answered) for offered, answered in pairs)
    return msgspec.structs.replace(answer, streams=streams + answer.streams[len(streams) :])


def _fitted(offered: Stream, answered: Stream) -> Stream:
    if answered.kind != "audio" or not answered.port or not is_translatable(offered):
        return answered
    there = {codec.encoding for codec in offered.codecs}
    kept = [codec for codec in answered.codecs if codec.encoding in there]
    if not any(codec.name != EVENTS for codec in kept):
        kept = [next(codec for codec in offered.codecs if spoken(codec)), *kept]
    if all(codec.name != EVENTS for codec in kept):
        kept += [codec for codec in offered.codecs if codec.name == EVENTS][:1]
    if kept == list(answered.codecs):
        return answered
    about_codecs = ("a=rtpmap:", "a=fmtp:")
    lines = [line for line in answered.lines if not line.startswith(about_codecs)]
    for codec in kept:
        lines += codec_lines(codec)
    formats = tuple(str(codec.payload_type) for codec in kept)
    return msgspec.structs.replace(answered, formats=formats, lines=tuple(lines))
