"""What is offered and answered where two phones have no codec in common."""

from pbx.board import OWN_CODECS
from pbx.translating import codec_lines, fitted, is_translatable, spoken, widened
from sipcore.sdp import Codec, Direction, Origin, Sdp, Stream, parse_sdp

PCMU, PCMA = Codec(0, "pcmu", 8000), Codec(8, "pcma", 8000)
G722, G729 = Codec(9, "g722", 8000), Codec(18, "g729", 8000)
OPUS = Codec(111, "opus", 48000, 2, "useinbandfec=1")
EVENTS = Codec(101, "telephone-event", 8000, 1, "0-16")


def sdp(
    *codecs: Codec, kind: str = "audio", port: int = 4000, direction: Direction = Direction.SENDRECV
) -> Sdp:
    lines = (*(line for codec in codecs for line in codec_lines(codec)), "a=ptime:30")
    formats = tuple(str(codec.payload_type) for codec in codecs)
    stream = Stream(kind, port, "RTP/AVP", formats, "192.0.2.1", direction, lines)
    return Sdp(Origin("x", 1, 1, "192.0.2.1"), (stream,))


def codecs(description: Sdp) -> list[Codec]:
    return list(description.streams[0].codecs)


def test_our_codecs_come_behind_those_of_the_offerer():
    wide = widened(sdp(OPUS, EVENTS), OWN_CODECS)
    assert wide is not None
    assert [codec.name for codec in codecs(wide)] == ["opus", "telephone-event", "g722", "pcma", "pcmu"]
    assert parse_sdp(wide.to_bytes()) == wide
    assert wide.streams[0].attribute("ptime") == "30"


def test_a_number_that_is_taken_is_not_given_twice():
    wide = widened(sdp(Codec(101, "opus", 48000, 2), Codec(96, "l16", 16000)), OWN_CODECS)
    assert wide is not None
    numbers = [codec.payload_type for codec in codecs(wide)]
    assert len(set(numbers)) == len(numbers)
    assert [codec.payload_type for codec in codecs(wide) if codec.name == "telephone-event"] == [97]
    assert [codec.name for codec in codecs(wide)].count("opus") == 1


def test_what_cannot_be_translated_or_needs_nothing_more_stays_as_it_is():
    assert widened(sdp(G729, EVENTS), OWN_CODECS) is None
    assert widened(sdp(PCMU, PCMA, G722, OPUS, EVENTS), OWN_CODECS) is None
    assert widened(sdp(PCMU, kind="video"), OWN_CODECS) is None
    assert widened(sdp(PCMU, port=0), OWN_CODECS) is None


def test_codecs_in_common_are_left_to_the_phones():
    offer = sdp(OPUS, PCMA, PCMU, EVENTS)
    answer = sdp(PCMU, EVENTS)
    assert fitted(offer, answer) == answer


def test_where_nothing_is_in_common_the_offerers_first_that_we_speak_is_answered():
    fit = fitted(sdp(G729, OPUS, EVENTS), sdp(PCMU, EVENTS, direction=Direction.SENDONLY))
    assert codecs(fit) == [OPUS, EVENTS]
    assert fit.streams[0].direction is Direction.SENDONLY
    assert parse_sdp(fit.to_bytes()) == fit


def test_what_was_not_offered_is_not_answered():
    assert codecs(fitted(sdp(PCMA, EVENTS), sdp(PCMU, PCMA, EVENTS))) == [PCMA, EVENTS]


def test_events_stay_offered_though_the_answerer_knows_none():
    assert codecs(fitted(sdp(PCMU, EVENTS), sdp(PCMU))) == [PCMU, EVENTS]
    assert codecs(fitted(sdp(PCMU), sdp(PCMU, EVENTS))) == [PCMU]


def test_a_refused_stream_stays_refused_and_video_is_not_touched():
    refused = sdp(PCMU, port=0)
    assert fitted(sdp(PCMA), refused) == refused
    video = sdp(Codec(97, "h264", 90000), kind="video")
    assert fitted(video, video) == video
    assert not is_translatable(video.streams[0])


def test_what_media_speaks():
    assert all(spoken(codec) for codec in (PCMU, PCMA, G722, OPUS, Codec(96, "l16", 16000)))
    assert not any(
        spoken(codec) for codec in (G729, EVENTS, Codec(96, "l16", 44100), Codec(96, "l16", 16000, 2))
    )
