"""Encrypted sound, in the house, as far as SDP says it: each leg has its own keys, profile and way.

What media makes of it is judged on packets in tests/media; here it is what media is told.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Iterable

import msgspec
import pytest

from conf.snapshot import Srtp, TenantId, Trunk
from jackfield.phone.message import Message
from media.messages import Dtls, Ice, Negotiated, Sdes, SecurityNews
from pbx import api
from sipcore.crypto import KEY_AND_SALT_BYTES, Crypto, cryptos
from sipcore.flow import Transport
from sipcore.sdp import Sdp, Stream, parse_sdp
from tests.house import REALM, SERVER, House, make_snapshot
from tests.raw_peer import RawPeer, sdp

LINE, DESK = "10.0.8.8", "10.0.9.9"
SHA1_80, SHA1_32, GCM_256 = "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_256_GCM"
PEER_PRINT = "sha-256 " + ":".join(["AB"] * 32)
OUR_PRINT = "sha-256 " + ":".join(["0F"] * 32)
BROWSER = (
    "a=group:BUNDLE 0 1",
    "a=msid-semantic: WMS *",
    "m=audio 50000 UDP/TLS/RTP/SAVPF 111 0 101",
    "c=IN IP4 10.0.8.8",
    "a=candidate:1 1 udp 2113937151 5e7.local 50000 typ host",
    "a=ice-ufrag:peer",
    "a=ice-pwd:peer-password-peer-password",
    f"a=fingerprint:{PEER_PRINT}",
    "a=setup:actpass",
    "a=mid:0",
    "a=rtcp-mux",
    "a=rtpmap:111 opus/48000/2",
    "a=rtpmap:101 telephone-event/8000",
    "a=ssrc:1 cname:x",
    "m=video 50000 UDP/TLS/RTP/SAVPF 96",
    "c=IN IP4 10.0.8.8",
    "a=ice-ufrag:peer",
    "a=ice-pwd:peer-password-peer-password",
    f"a=fingerprint:{PEER_PRINT}",
    "a=setup:actpass",
    "a=mid:1",
    "a=rtcp-mux",
    "a=rtpmap:96 VP8/90000",
)


def key(suite: str, fill: int, tag: int = 1) -> Crypto:
    return Crypto(tag, suite, bytes([fill]) * KEY_AND_SALT_BYTES[suite])


def offer(protocol: str, *lines: str, host: str = LINE, version: int = 1) -> bytes:
    return sdp(host, f"audio 40000 {protocol} 0 8 101", *lines, version=version)


def browser_offer(*changes: tuple[str, str], version: int = 1) -> bytes:
    text = "\r\n".join(("v=0", f"o=- 7 {version} IN IP4 127.0.0.1", "s=-", "t=0 0", *BROWSER, ""))
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text.encode()


class Two:
    """A line that calls us (10.0.8.8) and a desk phone at a fixed address (10.0.9.9), written by hand."""

    def __init__(self, house: House, line: str = "off", desk: str = "off") -> None:
        snapshot = make_snapshot()
        number = (TenantId(1), "104")
        extension = msgspec.structs.replace(
            snapshot.extensions[number], contact=f"sip:104@{DESK}", srtp=Srtp(desk)
        )
        trunk = Trunk(TenantId(1), "line", (ipaddress.ip_network(LINE),), srtp=Srtp(line))
        house.reconfigure(
            make_snapshot(extensions={**snapshot.extensions, number: extension}, trunks=(trunk,))
        )
        self.house = house
        self.line, self.desk = RawPeer(house, LINE, "line"), RawPeer(house, DESK, "desk")
        self.cseq = 1

    def dials(self, body: bytes) -> None:
        self.line.asks(
            "INVITE",
            f"sip:104@{REALM}",
            f"<sip:5@{LINE}>;tag=line",
            f"<sip:104@{REALM}>",
            "one",
            1,
            body=body,
        )

    async def talk(self, body: bytes, answer: bytes) -> tuple[Sdp, Sdp]:
        """The line offers `body`, the desk phone answers `answer`: what each of them got from us."""
        self.dials(body)
        self.invite = await self.desk.gets("INVITE")
        self.desk.answers(self.invite, 200, body=answer)
        await self.desk.gets("ACK")
        self.ok = await self.line.gets(200)
        self.line.acks(self.ok, 1)
        return parse_sdp(self.invite.body), parse_sdp(self.ok.body)

    async def offers_again(self, body: bytes) -> Message:
        """The line's re-INVITE, and our answer to it."""
        assert self.ok.contact is not None
        self.cseq += 1
        uri, from_, to = self.ok.contact.uri, self.ok.get("from"), self.ok.get("to")
        self.line.asks("INVITE", uri, from_, to, "one", self.cseq, body=body)
        response = await self.line.gets(200)
        self.line.acks(response, self.cseq)
        return response

    async def refused_again(self, body: bytes) -> Message:
        assert self.ok.contact is not None
        self.cseq += 1
        uri, from_, to = self.ok.contact.uri, self.ok.get("from"), self.ok.get("to")
        self.line.asks("INVITE", uri, from_, to, "one", self.cseq, body=body)
        response = await self.line.gets(488)
        self.line.acks(response, self.cseq)
        return response

    async def hang_up(self) -> None:
        assert self.ok.contact is not None
        self.cseq += 1
        uri, from_, to = self.ok.contact.uri, self.ok.get("from"), self.ok.get("to")
        self.line.asks("BYE", uri, from_, to, "one", self.cseq)
        self.desk.answers(await self.desk.gets("BYE"), 200)
        await self.line.gets(200)

    def told(self, port: int) -> Negotiated:
        """What media was told last of the peer that receives at `port`."""
        return [each for each in self.house.negotiated if each.remote_rtp_port == port][-1]


def audio(described: Sdp) -> Stream:
    assert described.audio is not None
    return described.audio


def names(lines: Iterable[str]) -> set[str]:
    return {line.partition(":")[0] for line in lines}


PLAIN_DESK = sdp(DESK, "audio 41000 RTP/AVP 0 101")


# ---------------------------------------------------------------- what is offered to a phone


@pytest.mark.parametrize(
    ("wish", "protocol", "suites"),
    [
        ("off", "RTP/AVP", []),
        ("best-effort", "RTP/AVP", [GCM_256, "AEAD_AES_128_GCM", SHA1_80]),
        ("required", "RTP/SAVP", [GCM_256, "AEAD_AES_128_GCM", SHA1_80]),
    ],
)
async def test_what_a_phone_is_offered(wish: str, protocol: str, suites: list[str]) -> None:
    async with House() as house:
        two = Two(house, desk=wish)
        two.dials(offer("RTP/AVP"))
        stream = audio(parse_sdp((invite := await two.desk.gets("INVITE")).body))
        keys = cryptos(stream.lines)
        assert stream.protocol == protocol
        assert [each.suite for each in keys] == suites
        assert len({each.key for each in keys}) == len(suites)
        assert len(invite.raw) < 1300
        two.desk.answers(invite, 486)
        await two.desk.gets("ACK")
        await two.line.gets(486)


@pytest.mark.parametrize(
    ("wish", "answered", "encrypted"),
    [
        ("best-effort", "RTP/AVP", True),
        ("best-effort", "RTP/SAVP", True),
        ("best-effort", "RTP/AVP", False),
        ("required", "RTP/SAVP", True),
    ],
)
async def test_a_phone_takes_up_the_keys_or_not(wish: str, answered: str, encrypted: bool) -> None:
    async with House() as house:
        two = Two(house, desk=wish)
        theirs = key(SHA1_80, 7, tag=3)
        lines = (theirs.line,) if encrypted else ()
        invite, ok = await two.talk(offer("RTP/AVP"), sdp(DESK, f"audio 41000 {answered} 0 101", *lines))
        ours = next(each for each in cryptos(audio(invite).lines) if each.suite == SHA1_80)
        assert two.told(41000).security == (Sdes(SHA1_80, ours.key, theirs.key) if encrypted else None)
        assert two.told(40000).security is None
        assert audio(ok).protocol == "RTP/AVP"
        assert "a=crypto" not in names(audio(ok).lines)
        await two.hang_up()


@pytest.mark.parametrize(
    "answer",
    [
        PLAIN_DESK,
        sdp(DESK, "audio 41000 RTP/SAVP 0 101"),
        sdp(DESK, "audio 41000 RTP/SAVP 0 101", key(SHA1_32, 7).line),
        sdp(DESK, "audio 41000 RTP/SAVP 0 101", f"a=crypto:3 {SHA1_80} inline:short"),
    ],
    ids=["plain", "no key", "a suite that was not offered", "a broken key"],
)
async def test_an_answer_that_is_not_encrypted_as_it_must_be_ends_the_call(answer: bytes) -> None:
    async with House() as house:
        two = Two(house, desk="required")
        two.dials(offer("RTP/AVP"))
        two.desk.answers(await two.desk.gets("INVITE"), 200, body=answer)
        await two.desk.gets("ACK")
        bye = await two.desk.gets("BYE")
        assert "not encrypted" in bye.get("reason")
        two.desk.answers(bye, 200)
        await two.line.gets(488)
        assert 41000 not in {each.remote_rtp_port for each in house.negotiated}


# ---------------------------------------------------------------- what is taken from a peer


@pytest.mark.parametrize("wish", ["best-effort", "required"])
@pytest.mark.parametrize("suite", sorted(KEY_AND_SALT_BYTES))
async def test_an_offer_with_keys_is_answered_with_a_key_of_ours(wish: str, suite: str) -> None:
    async with House() as house:
        two = Two(house, line=wish)
        foreign = "a=crypto:1 F8_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"
        theirs = key(suite, 9, tag=2)
        invite, ok = await two.talk(offer("RTP/SAVP", foreign, theirs.line), PLAIN_DESK)
        [ours] = cryptos(audio(ok).lines)
        assert (audio(ok).protocol, ours.tag, ours.suite) == ("RTP/SAVP", 2, suite)
        assert ours.key != theirs.key
        assert two.told(40000).security == Sdes(suite, ours.key, theirs.key)
        assert (audio(invite).protocol, two.told(41000).security) == ("RTP/AVP", None)
        assert "a=crypto" not in names(audio(invite).lines)
        await two.hang_up()


async def test_both_sides_are_encrypted_each_with_keys_of_its_own() -> None:
    async with House() as house:
        two = Two(house, "required", "required")
        line, desk = key(SHA1_80, 9), key(GCM_256, 8)
        invite, ok = await two.talk(
            offer("RTP/SAVP", line.line), sdp(DESK, "audio 41000 RTP/SAVP 0 101", desk.line)
        )
        said = [*cryptos(audio(invite).lines), *cryptos(audio(ok).lines)]
        assert len({each.key for each in (*said, line, desk)}) == len(said) + 2
        security = two.told(41000).security
        assert isinstance(security, Sdes)
        assert (security.suite, security.remote_key) == (GCM_256, desk.key)
        ladder = str(house.ladder)
        for each in (*said, line, desk):
            assert base64.b64encode(each.key).decode() not in ladder
            assert str(each.key) not in repr(house.negotiated)
        await two.hang_up()


@pytest.mark.parametrize(
    ("wish", "body", "why"),
    [
        ("off", offer("RTP/SAVP", key(SHA1_80, 9).line), "switched off"),
        ("off", browser_offer(), "switched off"),
        ("required", offer("RTP/AVP"), "must be encrypted"),
        ("required", offer("RTP/AVP", key(SHA1_80, 9).line.replace(SHA1_80, "NULL")), "must be encrypted"),
        ("required", sdp(LINE, "image 40000 udptl t38"), "must be encrypted"),
        ("best-effort", offer("RTP/SAVP"), "no way to encrypt"),
        ("best-effort", offer("RTP/SAVP", f"a=crypto:1 {SHA1_80} inline:AAAA"), "3 bytes and not 30"),
        ("best-effort", browser_offer(("sha-256", "md5")), "no way to encrypt"),
    ],
)
async def test_an_offer_that_is_not_encrypted_as_it_must_be_is_refused_with_the_reason(
    wish: str, body: bytes, why: str
) -> None:
    async with House() as house:
        two = Two(house, line=wish)
        house.engine.switchboard.media_fingerprint = OUR_PRINT
        two.dials(body)
        refused = await two.line.gets(488)
        assert why in refused.get("warning")
        two.line.asks("ACK", f"sip:104@{REALM}", refused.get("from"), refused.get("to"), refused.call_id, 1)
        assert two.desk.inbox == []


@pytest.mark.parametrize(
    ("wish", "taken"), [("off", [False, True]), ("best-effort", [True, False]), ("required", [True, False])]
)
async def test_of_a_stream_that_is_offered_both_ways_one_is_taken(wish: str, taken: list[bool]) -> None:
    async with House() as house:
        two = Two(house, line=wish)
        body = offer("RTP/SAVP", key(SHA1_80, 9).line, "m=audio 40000 RTP/AVP 0 8 101")
        answer = ["audio 41000 RTP/AVP 0 101" if each else "audio 0 RTP/AVP 0" for each in taken]
        invite, ok = await two.talk(body, sdp(DESK, answer[0], f"m={answer[1]}"))
        assert [bool(stream.port) for stream in invite.streams] == taken
        assert [bool(stream.port) for stream in ok.streams] == taken
        assert [stream.protocol for stream in ok.streams] == ["RTP/SAVP", "RTP/AVP"]
        await two.hang_up()


async def test_keys_in_a_plain_offer_are_taken_up_where_both_like() -> None:
    async with House() as house:
        two = Two(house, line="best-effort")
        _, ok = await two.talk(offer("RTP/AVP", key(SHA1_80, 9).line), PLAIN_DESK)
        assert audio(ok).protocol == "RTP/AVP"
        assert isinstance(two.told(40000).security, Sdes)
        await two.hang_up()


async def test_an_application_answers_with_keys_too() -> None:
    async with House() as house:
        two = Two(house, line="required")
        two.line.asks(
            "INVITE",
            f"sip:*43@{REALM}",
            f"<sip:5@{LINE}>;tag=line",
            f"<sip:*43@{REALM}>",
            "one",
            1,
            body=offer("RTP/SAVP", key(SHA1_80, 9).line),
        )
        two.ok = await two.line.gets(200)
        two.line.acks(two.ok, 1)
        assert audio(parse_sdp(two.ok.body)).protocol == "RTP/SAVP"
        assert isinstance(two.told(40000).security, Sdes)
        assert two.ok.contact is not None
        two.line.asks("BYE", two.ok.contact.uri, two.ok.get("from"), two.ok.get("to"), "one", 2)
        await two.line.gets(200)


# ---------------------------------------------------------------- in mid-call


async def test_a_key_lives_as_long_as_the_peers() -> None:
    async with House(calls={"hold": "local"}) as house:
        two = Two(house, line="required")
        first = key(SHA1_80, 9)
        _, ok = await two.talk(offer("RTP/SAVP", first.line), PLAIN_DESK)
        [before] = cryptos(audio(ok).lines)
        held = await two.offers_again(offer("RTP/SAVP", first.line, "a=sendonly", version=2))
        assert cryptos(audio(parse_sdp(held.body)).lines) == [before]
        assert isinstance(house.events[-1], api.Held)
        second = key(SHA1_80, 10)
        changed = await two.offers_again(offer("RTP/SAVP", second.line, version=3))
        [after] = cryptos(audio(parse_sdp(changed.body)).lines)
        assert after.key != before.key
        assert two.told(40000).security == Sdes(SHA1_80, after.key, second.key)
        await two.hang_up()


async def test_encryption_is_not_given_up_in_mid_call() -> None:
    async with House() as house:
        two = Two(house, line="required")
        await two.talk(offer("RTP/SAVP", key(SHA1_80, 9).line), PLAIN_DESK)
        before = two.told(40000)
        refused = await two.refused_again(offer("RTP/AVP", version=2))
        assert "must be encrypted" in refused.get("warning")
        assert two.told(40000) == before
        await two.hang_up()


async def test_keys_outlive_the_engine() -> None:
    async with House(calls={"hold": "local"}) as house:
        two = Two(house, "required", "best-effort")
        first, desk = key(SHA1_80, 9), key(GCM_256, 8)
        _, ok = await two.talk(
            offer("RTP/SAVP", first.line), sdp(DESK, "audio 41000 RTP/AVP 0 101", desk.line)
        )
        known = {port: two.told(port).security for port in (40000, 41000)}
        house.restart_engine()
        house.restart_media()
        await house.rest(0.1)
        assert {port: two.told(port).security for port in (40000, 41000)} == known
        held = await two.offers_again(offer("RTP/SAVP", first.line, "a=sendonly", version=2))
        assert cryptos(audio(parse_sdp(held.body)).lines) == cryptos(audio(ok).lines)
        refused = await two.refused_again(offer("RTP/AVP", version=3))
        assert "must be encrypted" in refused.get("warning")
        await two.hang_up()


# ---------------------------------------------------------------- browsers


async def test_a_browser_calls_a_desk_phone() -> None:
    async with House() as house:
        two = Two(house)
        house.transports[LINE] = Transport.WS
        house.engine.switchboard.media_fingerprint = OUR_PRINT
        answer = sdp(DESK, "audio 41000 RTP/AVP 0 101", "m=video 0 RTP/AVP 96")
        invite, ok = await two.talk(browser_offer(), answer)
        assert [(each.kind, bool(each.port)) for each in invite.streams] == [
            ("audio", True),
            ("video", False),
        ]
        assert audio(invite).protocol == "RTP/AVP"
        assert names(audio(invite).lines) == {"a=rtpmap"}
        assert names(invite.lines) == {"t=0 0"}
        said = audio(ok)
        assert said.protocol == "UDP/TLS/RTP/SAVPF"
        assert set(ok.lines) == {"t=0 0", "a=ice-lite", "a=group:BUNDLE 0"}
        assert {f"a=fingerprint:{OUR_PRINT}", "a=setup:passive", "a=mid:0", "a=rtcp-mux"} < set(said.lines)
        assert f"a=candidate:1 1 UDP 2130706431 {SERVER} {said.port} typ host" in said.lines
        assert re.fullmatch(r"[A-Za-z0-9+/]{8}", said.attribute("ice-ufrag"))
        assert re.fullmatch(r"[A-Za-z0-9+/]{24}", said.attribute("ice-pwd"))
        video = ok.streams[1]
        assert (video.port, video.attribute("mid"), video.protocol) == (0, "1", "UDP/TLS/RTP/SAVPF")
        told = two.told(50000)
        assert told.remote_rtcp_port == 50000
        assert told.security == Dtls("server", PEER_PRINT)
        ice = Ice(
            said.attribute("ice-ufrag"), said.attribute("ice-pwd"), "peer", "peer-password-peer-password"
        )
        assert told.ice == ice
        assert (two.told(41000).security, two.told(41000).ice) == (None, None)
        assert ice.local_pwd not in str(house.ladder)
        await two.hang_up()


@pytest.mark.parametrize(
    ("changes", "same"),
    [((), True), ((("a=ice-ufrag:peer", "a=ice-ufrag:anew"), ("a=mid:0", "a=mid:0\r\na=sendonly")), False)],
    ids=["goes on", "ICE begins anew"],
)
async def test_a_browser_offers_again(changes: tuple[tuple[str, str], ...], same: bool) -> None:
    async with House(calls={"hold": "local"}) as house:
        two = Two(house)
        house.transports[LINE] = Transport.WS
        house.engine.switchboard.media_fingerprint = OUR_PRINT
        answer = sdp(DESK, "audio 41000 RTP/AVP 0 101", "m=video 0 RTP/AVP 96")
        _, ok = await two.talk(browser_offer(), answer)
        before, ice = audio(ok), two.told(50000).ice
        again = audio(parse_sdp((await two.offers_again(browser_offer(*changes, version=2))).body))
        assert (again.attribute("ice-pwd") == before.attribute("ice-pwd")) is same
        assert (two.told(50000).ice == ice) is same
        assert again.attribute("setup") == "passive"
        await two.hang_up()


async def test_without_dtls_in_media_a_browser_is_refused() -> None:
    async with House() as house:
        two = Two(house)
        house.transports[LINE] = Transport.WS
        house.engine.switchboard.media_fingerprint = ""
        two.dials(browser_offer())
        refused = await two.line.gets(488)
        assert "no way to encrypt" in refused.get("warning")


@pytest.mark.parametrize(("setup", "role"), [("active", "server"), ("passive", "client")])
async def test_a_desk_phone_calls_a_browser(setup: str, role: str) -> None:
    async with House() as house:
        house.transports["10.0.0.2"] = Transport.WS
        registered = await house.phone("102")
        two = Two(house)
        house.engine.switchboard.media_fingerprint = OUR_PRINT
        registered.transport.close()
        browser = RawPeer(house, "10.0.0.2", "browser")
        video = ("m=video 42000 RTP/AVP 96", "a=rtpmap:96 VP8/90000")
        two.line.asks(
            "INVITE",
            f"sip:102@{REALM}",
            f"<sip:5@{LINE}>;tag=line",
            f"<sip:102@{REALM}>",
            "one",
            1,
            body=offer("RTP/AVP", *video),
        )
        invite = await browser.gets("INVITE")
        offered = parse_sdp(invite.body)
        said = audio(offered)
        assert set(offered.lines) == {"t=0 0", "a=ice-lite", "a=group:BUNDLE 0"}
        assert said.protocol == "UDP/TLS/RTP/SAVPF"
        assert {f"a=fingerprint:{OUR_PRINT}", "a=setup:actpass", "a=mid:0", "a=rtcp-mux"} < set(said.lines)
        assert offered.streams[1].port == 0
        answer = browser_offer(("a=setup:actpass", f"a=setup:{setup}"), ("m=video 50000", "m=video 0"))
        browser.answers(invite, 200, body=answer)
        await browser.gets("ACK")
        two.ok = await two.line.gets(200)
        two.line.acks(two.ok, 1)
        assert two.told(50000).security == Dtls(role, PEER_PRINT)
        assert two.told(50000).ice == Ice(
            said.attribute("ice-ufrag"), said.attribute("ice-pwd"), "peer", "peer-password-peer-password"
        )
        assert audio(parse_sdp(two.ok.body)).protocol == "RTP/AVP"
        two.desk = browser
        await two.hang_up()


async def with_a_browser(house: House) -> Two:
    two = Two(house)
    house.transports[LINE] = Transport.WS
    house.engine.switchboard.media_fingerprint = OUR_PRINT
    await two.talk(browser_offer(), sdp(DESK, "audio 41000 RTP/AVP 0 101", "m=video 0 RTP/AVP 96"))
    return two


async def test_a_browser_with_another_certificate_than_it_said_is_hung_up_on() -> None:
    async with House() as house:
        two = await with_a_browser(house)
        house._feed(SecurityNews(two.told(50000).port, "dtls-failed", "another fingerprint", 1.0))
        for peer in (two.line, two.desk):
            bye = await peer.gets("BYE")
            assert "No keys" in bye.get("reason")
            peer.answers(bye, 200)


@pytest.mark.parametrize("what", ["ice-failed", "srtp-refused", "dtls-connected"])
async def test_what_may_yet_come_ends_no_call(what: str) -> None:
    async with House() as house:
        two = await with_a_browser(house)
        house._feed(SecurityNews(two.told(50000).port, what, "", 1.0))
        await house.rest(1.0)
        await two.hang_up()


async def test_candidates_that_trickle_are_taken_note_of_and_go_no_further() -> None:
    async with House() as house:
        two = await with_a_browser(house)
        assert two.ok.contact is not None
        two.cseq += 1
        info = Message(method="INFO", uri=two.ok.contact.uri, body=b"a=end-of-candidates\r\n")
        info.fields = [
            ("Via", f"SIP/2.0/UDP {LINE};branch=z9hG4bKtrickle"),
            ("Max-Forwards", "70"),
            ("From", two.ok.get("from")),
            ("To", two.ok.get("to")),
            ("Call-ID", "one"),
            ("CSeq", f"{two.cseq} INFO"),
            ("Info-Package", "trickle-ice"),
            ("Content-Type", "application/trickle-ice-sdpfrag"),
        ]
        two.line.sends(info)
        await two.line.gets(200)
        assert [each.method for each in two.desk.inbox] == []
        await two.hang_up()


async def test_dtls_without_ice_is_for_phones() -> None:
    async with House() as house:
        two = Two(house, line="best-effort")
        house.engine.switchboard.media_fingerprint = OUR_PRINT
        body = offer("UDP/TLS/RTP/SAVP", f"a=fingerprint:{PEER_PRINT}", "a=setup:actpass")
        _, ok = await two.talk(body, PLAIN_DESK)
        assert audio(ok).protocol == "UDP/TLS/RTP/SAVP"
        assert "a=ice-ufrag" not in names(audio(ok).lines)
        assert "a=ice-lite" not in ok.lines
        told = two.told(40000)
        assert (told.security, told.ice, told.remote_rtcp_port) == (Dtls("server", PEER_PRINT), None, 40001)
        await two.hang_up()
