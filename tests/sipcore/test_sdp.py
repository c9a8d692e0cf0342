"""Reading, writing and relaying session descriptions (RFC 8866, RFC 3605)."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipcore.faults import Misuse, PeerFault
from sipcore.sdp import (
    MAX_BYTES,
    MAX_STREAMS,
    Codec,
    Direction,
    LocalStream,
    Origin,
    Sdp,
    Stream,
    own_offer,
    parse_sdp,
    relayed,
)

PHONE = b"""v=0\r
o=alice 2890844526 2890844527 IN IP4 192.0.2.10\r
s=A call\r
i=with a title\r
c=IN IP4 192.0.2.10\r
b=AS:84\r
t=0 0\r
a=X-session:1\r
m=audio 49170 RTP/AVP 0 8 96 101\r
a=rtpmap:0 PCMU/8000\r
a=rtpmap:96 opus/48000/2\r
a=fmtp:96 useinbandfec=1\r
a=rtpmap:101 telephone-event/8000\r
a=fmtp:101 0-15\r
a=ptime:30\r
a=sendrecv\r
m=video 0 RTP/AVP 31\r
"""

BROWSER = b"""v=0\r
o=- 4611731400430051336 2 IN IP4 127.0.0.1\r
s=-\r
t=0 0\r
a=group:BUNDLE 0\r
a=ice-lite\r
a=fingerprint:sha-256 D2:FA\r
m=audio 9 UDP/TLS/RTP/SAVPF 111\r
c=IN IP4 0.0.0.0\r
b=AS:64\r
k=clear:secret\r
a=rtcp:9 IN IP4 0.0.0.0\r
a=candidate:1 1 udp 2113937151 10.0.0.1 54400 typ host\r
a=ice-ufrag:abcd\r
a=ice-pwd:efgh\r
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\r
a=fingerprint:sha-256 D2:FA\r
a=setup:actpass\r
a=mid:0\r
a=rtcp-mux\r
a=rtpmap:111 opus/48000/2\r
a=rtcp-fb:111 transport-cc\r
a=ssrc:1 cname:x\r
a=X-mine:kept\r
"""

OURS = Origin("jackfield", 7, 3, "198.51.100.1")


def described(*lines: str) -> bytes:
    """A one-stream description with these lines after the m-line."""
    head = [
        "v=0",
        "o=- 1 1 IN IP4 192.0.2.1",
        "s=-",
        "c=IN IP4 192.0.2.1",
        "t=0 0",
        "m=audio 4000 RTP/AVP 0 8",
    ]
    return "\r\n".join([*head, *lines, ""]).encode()


def stream(*lines: str) -> Stream:
    return parse_sdp(described(*lines)).streams[0]


# ---------------------------------------------------------------- reading


def test_a_phones_offer_is_understood():
    sdp = parse_sdp(PHONE)
    audio, video = sdp.streams
    assert sdp.origin == Origin("alice", 2890844526, 2890844527, "192.0.2.10")
    assert (audio.kind, audio.port, audio.protocol, audio.host) == ("audio", 49170, "RTP/AVP", "192.0.2.10")
    assert (audio.direction, audio.ptime_ms, audio.rtcp_port) == (Direction.SENDRECV, 30, 49171)
    assert audio.codecs == (
        Codec(0, "pcmu", 8000),
        Codec(8, "pcma", 8000),
        Codec(96, "opus", 48000, 2, "useinbandfec=1"),
        Codec(101, "telephone-event", 8000, 1, "0-15"),
    )
    assert (video.kind, video.port, video.codecs) == ("video", 0, (Codec(31, "h261", 90000),))
    assert sdp.audio is audio


def test_a_browsers_offer_is_understood():
    audio = parse_sdp(BROWSER).streams[0]
    assert (audio.protocol, audio.rtcp_mux, audio.rtcp_port) == ("UDP/TLS/RTP/SAVPF", True, 9)
    assert audio.codecs == (Codec(111, "opus", 48000, 2),)


@pytest.mark.parametrize(
    "body",
    [
        PHONE.replace(b"\r\n", b"\n"),
        PHONE.replace(b"\r\n", b"\r"),
        PHONE.replace(b"\r\n", b"\r\n\r\n"),
        PHONE.removesuffix(b"\r\n"),
        b"\r\n" + PHONE,
    ],
)
def test_line_ends_of_all_kinds_are_read(body: bytes):
    assert parse_sdp(body) == parse_sdp(PHONE)


@pytest.mark.parametrize(
    ("session", "media", "direction"),
    [
        ("", "", Direction.SENDRECV),
        ("a=sendonly", "", Direction.SENDONLY),
        ("a=sendonly", "a=recvonly", Direction.RECVONLY),
        ("", "a=inactive", Direction.INACTIVE),
        ("a=inactive", "a=sendrecv", Direction.SENDRECV),
        ("", "c=IN IP4 0.0.0.0", Direction.SENDONLY),
        ("", "a=recvonly\r\nc=IN IP4 0.0.0.0", Direction.INACTIVE),
        ("", "a=sendrecv\r\nc=IN IP6 ::", Direction.SENDONLY),
    ],
)
def test_direction_is_that_of_the_stream_or_of_the_whole(session: str, media: str, direction: Direction):
    body = described(media).replace(b"t=0 0", b"t=0 0\r\n" + session.encode())
    assert parse_sdp(body).streams[0].direction is direction


def test_the_address_is_that_of_the_stream_or_of_the_whole():
    body = described(
        "c=IN IP6 2001:db8::1", "m=audio 5000 RTP/AVP 0", "m=audio 6000 RTP/AVP 0", "c=IN IP4 h/127"
    )
    assert [each.host for each in parse_sdp(body).streams] == ["2001:db8::1", "192.0.2.1", "h"]


@pytest.mark.parametrize(
    ("lines", "port"),
    [
        ((), 4001),
        (("a=rtcp:5005",), 5005),
        (("a=rtcp:5005 IN IP4 192.0.2.9",), 5005),
        (("a=rtcp:x",), 4001),
        (("a=rtcp:70000",), 4001),
        (("a=rtcp-mux",), 4001),
    ],
)
def test_rtcp_has_the_next_port_or_the_one_that_is_told(lines: tuple[str, ...], port: int):
    assert stream(*lines).rtcp_port == port


@pytest.mark.parametrize(
    ("line", "ptime_ms"),
    [
        ("", 20),
        ("a=ptime:40", 40),
        ("a=ptime: 10 ", 10),
        ("a=ptime:20.0", 20),
        ("a=ptime:0", 20),
        ("a=ptime:5000", 20),
        ("a=ptime:9999999999999", 20),
        ("a=ptime:x", 20),
    ],
)
def test_a_ptime_that_makes_no_sense_counts_as_none(line: str, ptime_ms: int):
    assert stream(line).ptime_ms == ptime_ms


@pytest.mark.parametrize(
    "rtpmap",
    ["8", "8 PCMA", "8 /8000", "8 PCMA/x", "8 PCMA/0", "8 PCMA/8000/0", "8 PCMA/8000/x", "8 PCMA/-8000"],
)
def test_a_codec_that_cannot_be_understood_is_left_out(rtpmap: str):
    codecs = stream(f"a=rtpmap:{rtpmap}").codecs
    assert codecs[0] == Codec(0, "pcmu", 8000)
    assert codecs[1:] in ((), (Codec(8, "pcma", 8000),))


def test_formats_that_are_no_payload_types_are_no_codecs():
    body = described("m=image 5000 udptl t38", "m=audio 5002 RTP/AVP 200 -1 x 77")
    assert [each.codecs for each in parse_sdp(body).streams[1:]] == [(), ()]


def test_a_refused_stream_needs_no_address():
    body = b"v=0\no=- 1 1 IN IP4 h\ns=-\nt=0 0\nm=audio 0 RTP/AVP 0\nm=audio 4 RTP/AVP 0\nc=IN IP4 h\n"
    assert [each.port for each in parse_sdp(body).streams] == [0, 4]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"v=0",
        b"v=1\r\no=- 1 1 IN IP4 h\r\n",
        b"o=- 1 1 IN IP4 h\r\nv=0\r\n",
        b"v=0\r\no=- 1 1 IN IP4\r\n",
        b"v=0\r\no=- x 1 IN IP4 h\r\n",
        b"v=0\r\no=- 1 " + b"9" * 5000 + b" IN IP4 h\r\n",
        described("x=1"),
        described("no equals sign"),
        described("v=0"),
        described("c=IN IP5 h"),
        described("c=IN IP4 "),
        described("c=IN IP4 /24"),
        described("c=ATM NSAP x"),
        described("m=audio"),
        described("m=audio 1 RTP/AVP"),
        described("m=audio x RTP/AVP 0"),
        described("m=audio -1 RTP/AVP 0"),
        described("m=audio 65536 RTP/AVP 0"),
        described("m=audio 99999999999 RTP/AVP 0"),
        described("m=audio 1 RTP/AVP " + "0 " * 65),
        described("a=x\0"),
        described("a=" + "x" * MAX_BYTES),
        described(*["a=x"] * 3000),
        described(*["m=audio 1 RTP/AVP 0"] * MAX_STREAMS),
        b"v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nt=0 0\r\nm=audio 4 RTP/AVP 0\r\n",
    ],
)
def test_what_cannot_be_understood_is_the_peers_fault(body: bytes):
    with pytest.raises(PeerFault) as caught:
        parse_sdp(body)
    assert caught.value.status == 400


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("body", [PHONE, BROWSER])
def test_what_is_written_reads_the_same(body: bytes):
    sdp = parse_sdp(body)
    assert parse_sdp(sdp.to_bytes()) == sdp


def test_lines_come_in_the_order_of_the_grammar():
    body = described("i=a title", "b=AS:64", "c=IN IP4 192.0.2.77", "a=ptime:20")
    written = parse_sdp(body.replace(b"s=-", b"s=-\r\ni=x\r\ne=y")).to_bytes()
    first = parse_sdp(PHONE).to_bytes()
    letters = [line[:1] for line in written.split(b"\r\n")[:-1]]
    assert b"".join(letters) == b"vosiectmibaa"
    assert b"".join(line[:1] for line in first.split(b"\r\n")[:-1]) == b"vosicbtamaaaaaaama"


def test_an_address_of_its_own_is_written_where_it_differs():
    streams = (
        Stream("audio", 4000, "RTP/AVP", ("0",), "192.0.2.1"),
        Stream("video", 5000, "RTP/AVP", ("31",), "2001:db8::2"),
    )
    text = Sdp(OURS, streams).to_bytes().decode()
    assert text.split("\r\n") == [
        "v=0",
        "o=jackfield 7 3 IN IP4 198.51.100.1",
        "s=-",
        "c=IN IP4 192.0.2.1",
        "t=0 0",
        "m=audio 4000 RTP/AVP 0",
        "a=sendrecv",
        "m=video 5000 RTP/AVP 31",
        "c=IN IP6 2001:db8::2",
        "a=sendrecv",
        "",
    ]


words = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=8)
values = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=20)
hosts = st.sampled_from(["192.0.2.1", "2001:db8::1", "0.0.0.0", "::", "phone.example.com"])
attributes = st.one_of(
    values.map(lambda text: f"a=X{text}"),
    st.sampled_from(["a=rtpmap:0 PCMU/8000", "a=ptime:20", "a=rtcp-mux", "b=AS:64", "i=title", "k=prompt"]),
)


@st.composite
def sdps(draw: st.DrawFn) -> bytes:
    """Descriptions as peers write them, mostly sound."""
    lines = ["v=0", f"o={draw(words)} {draw(st.integers(0, 2**64))} 1 IN IP4 h", f"s={draw(values)}"]
    lines += draw(
        st.lists(st.sampled_from(["i=x", "e=y", "b=AS:1", "t=0 0", "t=5 6", "a=sendonly"]), max_size=4)
    )
    lines.append(f"c=IN {draw(st.sampled_from(['IP4', 'IP6']))} {draw(hosts)}")
    for port in draw(st.lists(st.integers(0, 65535), max_size=4)):
        lines.append(f"m={draw(words)} {port} RTP/AVP {draw(words)} {draw(words)}")
        lines += draw(st.lists(attributes, max_size=5))
        lines += draw(st.lists(hosts.map(lambda host: f"c=IN IP4 {host}"), max_size=1))
        lines += draw(st.lists(st.sampled_from(Direction).map(lambda each: f"a={each}"), max_size=1))
    return draw(st.sampled_from(["\r\n", "\n"])).join([*lines, ""]).encode()


@given(sdps())
def test_everything_that_is_read_is_written_so_that_it_reads_the_same(body: bytes):
    sdp = parse_sdp(body)
    assert parse_sdp(sdp.to_bytes()) == sdp


@given(st.one_of(st.binary(max_size=300), sdps()), st.integers(0, 400), st.binary(max_size=4))
def test_whatever_a_stranger_sends_is_read_or_refused(body: bytes, at: int, junk: bytes):
    body = body[:at] + junk + body[at + len(junk) :]
    with suppress(PeerFault):
        sdp = parse_sdp(body)
        for each in sdp.streams:
            assert len(each.codecs) <= len(each.formats)
            assert 0 <= each.rtcp_port <= 65535
            assert 10 <= each.ptime_ms <= 200
        assert parse_sdp(sdp.to_bytes()) == sdp


# ---------------------------------------------------------------- relaying


def test_a_relayed_description_has_our_address_and_their_codecs():
    sent = relayed(parse_sdp(PHONE), [LocalStream("198.51.100.9", 20000), None], OURS)
    assert sent.to_bytes().decode().split("\r\n") == [
        "v=0",
        "o=jackfield 7 3 IN IP4 198.51.100.1",
        "s=-",
        "c=IN IP4 198.51.100.9",
        "b=AS:84",
        "t=0 0",
        "m=audio 20000 RTP/AVP 0 8 96 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:96 opus/48000/2",
        "a=fmtp:96 useinbandfec=1",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:30",
        "a=sendrecv",
        "m=video 0 RTP/AVP 31",
        "c=IN IP4 198.51.100.1",
        "a=sendrecv",
        "",
    ]


def test_what_is_between_neighbours_is_not_relayed():
    sent = relayed(parse_sdp(BROWSER), [LocalStream("198.51.100.1", 20000)], OURS)
    assert sent.streams[0].lines == (
        "b=AS:64",
        "a=rtpmap:111 opus/48000/2",
        "a=rtcp-fb:111 transport-cc",
        "a=X-mine:kept",
    )
    text = sent.to_bytes()
    for secret in (
        b"BUNDLE",
        b"ice",
        b"fingerprint",
        b"10.0.0.1",
        b"inline",
        b"secret",
        b"127.0.0.1",
        b"ssrc",
    ):
        assert secret not in text


@pytest.mark.parametrize("direction", Direction)
def test_a_direction_is_kept_or_overridden(direction: Direction):
    theirs = parse_sdp(described(f"a={direction}"))
    kept = relayed(theirs, [LocalStream("h", 1)], OURS)
    told = relayed(theirs, [LocalStream("h", 1, Direction.INACTIVE)], OURS)
    assert (kept.streams[0].direction, told.streams[0].direction) == (direction, Direction.INACTIVE)


def test_the_hold_of_old_phones_is_relayed_as_sendonly():
    sent = relayed(parse_sdp(described("c=IN IP4 0.0.0.0")), [LocalStream("198.51.100.1", 20000)], OURS)
    assert b"a=sendonly\r\n" in sent.to_bytes()
    assert b"0.0.0.0" not in sent.to_bytes()


def test_a_refused_stream_stays_refused_though_a_port_is_there():
    assert relayed(parse_sdp(PHONE), [None, LocalStream("h", 9)], OURS).streams[1].port == 0


def test_t38_goes_through_as_it_is():
    theirs = parse_sdp(described("m=image 5000 udptl t38", "a=T38FaxVersion:0", "a=T38MaxBitRate:14400"))
    sent = relayed(theirs, [None, LocalStream("192.0.2.50", 20002)], OURS)
    assert sent.to_bytes().endswith(
        b"m=image 20002 udptl t38\r\na=T38FaxVersion:0\r\na=T38MaxBitRate:14400\r\n"
    )


def test_one_local_stream_per_m_line():
    with pytest.raises(Misuse):
        relayed(parse_sdp(PHONE), [None], OURS)


@given(sdps())
def test_m_lines_are_relayed_in_number_and_order(body: bytes):
    theirs = parse_sdp(body)
    local = [LocalStream("198.51.100.1", 20000)] * len(theirs.streams)
    sent = relayed(theirs, local, OURS)
    assert [(each.kind, each.formats) for each in sent.streams] == [
        (each.kind, each.formats) for each in theirs.streams
    ]
    assert parse_sdp(sent.to_bytes()) == sent


def test_an_offer_of_our_own():
    codecs = (Codec(9, "g722", 8000), Codec(8, "pcma", 8000), Codec(97, "telephone-event", 8000, 1, "0-15"))
    offer = own_offer(codecs, LocalStream("2001:db8::9", 20000, Direction.SENDONLY), OURS)
    assert offer.to_bytes().decode().split("\r\n") == [
        "v=0",
        "o=jackfield 7 3 IN IP4 198.51.100.1",
        "s=-",
        "c=IN IP6 2001:db8::9",
        "t=0 0",
        "m=audio 20000 RTP/AVP 9 8 97",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:97 telephone-event/8000",
        "a=fmtp:97 0-15",
        "a=ptime:20",
        "a=sendonly",
        "",
    ]
    assert offer.streams[0].codecs == codecs


# ---------------------------------------------------------------- directions


@pytest.mark.parametrize("direction", Direction)
def test_a_direction_turned_round_twice_is_the_same(direction: Direction):
    turned = direction.reversed
    assert (turned.sends, turned.receives) == (direction.receives, direction.sends)
    assert Direction.of(direction.sends, direction.receives) is direction


@pytest.mark.parametrize("where", ["session", "stream"])
def test_no_address_yet_is_no_hold_where_ice_is_to_find_it(where: str) -> None:
    """RFC 8840 4.1.1: who trickles candidates has nothing better to write into c= at first."""
    plain = BROWSER.replace(b"a=ice-ufrag:abcd\r\n", b"")
    ufrag = {"session": plain.replace(b"a=ice-lite", b"a=ice-ufrag:abcd"), "stream": BROWSER}[where]
    assert parse_sdp(ufrag).streams[0].direction is Direction.SENDRECV
    assert parse_sdp(plain).streams[0].direction is Direction.SENDONLY
