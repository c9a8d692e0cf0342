"""What protects the sound of one leg, as far as SDP says it: whether, how, and with which keys. Pure.

Keys in the SDP (RFC 4568) for phones; DTLS and ICE (RFC 5763, RFC 8839, RFC 8829) for browsers, towards
whom we are ICE-lite: one host candidate, and they do the checking. Nothing of this crosses from leg to
leg. Encrypting, handshakes and checks are media's.
"""

from __future__ import annotations

import base64
import enum
from collections.abc import Callable

import msgspec

from conf.snapshot import Snapshot, Srtp
from media import messages as media
from pbx.api import Party
from sipcore.crypto import KEY_AND_SALT_BYTES, Crypto, cryptos
from sipcore.faults import PeerFault
from sipcore.flow import Flow, Transport
from sipcore.sdp import Sdp, Stream

PLAIN = frozenset({"RTP/AVP", "RTP/AVPF"})
KEYED = frozenset({"RTP/SAVP", "RTP/SAVPF"})
DTLS = frozenset({"UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"})
PROTECTED = KEYED | DTLS
RTP = PLAIN | PROTECTED
OF_BROWSERS = "UDP/TLS/RTP/SAVPF"
OFFERED = ("AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_80")
"""Each costs about eighty bytes, and an INVITE over UDP has 1300 (RFC 3261 18.1.1)."""
_FIRST_HOST_CANDIDATE = 2130706431
"""RFC 8445 5.1.2: type preference 126, local preference 65535, component 1"""

NewSecret = Callable[[int], bytes]
"""So many bytes that nobody can guess."""


class Manner(msgspec.Struct, frozen=True, gc=False):
    """How a leg's sound is to be protected: the operator's wish, and whether a browser is at its end."""

    srtp: Srtp = Srtp.OFF
    browser: bool = False

    @property
    def plain(self) -> bool:
        return self.srtp is Srtp.OFF and not self.browser


UNPROTECTED = Manner()


class Means(msgspec.Struct, frozen=True, gc=False):
    """What of ours goes into a description. `fingerprint`: of media's certificate; "" where it has none."""

    fingerprint: str
    new_secret: NewSecret


class Way(enum.Enum):
    """How a stream is protected."""

    PLAIN = "not at all"
    SDES = "with keys in the SDP (RFC 4568)"
    DTLS = "with keys that DTLS agrees on (RFC 5763)"


class Unprotected(PeerFault):
    """An offer without a stream that is protected as it must be, or that we could protect."""

    def __init__(self, why: str) -> None:
        super().__init__(488, "Not Acceptable Here", f"RFC 4568 7.1.3: {why}")
        self.why = why


def manner_of(snapshot: Snapshot, party: Party, flow: Flow | None) -> Manner:
    """How the sound of this party is to be protected, where it comes or is called over `flow`."""
    wish = Srtp.OFF
    if party.trunk:
        for trunk in snapshot.trunks:
            if (trunk.tenant, trunk.name) == (party.tenant, party.trunk):
                wish = trunk.srtp
    else:
        extension = snapshot.extensions.get((party.tenant, party.number))
        wish = Srtp.OFF if extension is None else extension.srtp
    return Manner(wish, flow is not None and flow.transport in (Transport.WS, Transport.WSS))


# ---------------------------------------------------------------- what the peer says


def screened(offer: Sdp, manner: Manner, fingerprint: str) -> Sdp:
    """The peer's offer, those streams refused (port 0) that are not protected as they must be.

    Of a stream that is offered both protected and plain, at one port, the protected one stays. A browser's
    offer keeps its sound alone. Raises Unprotected where streams were in use and none is left, and
    PeerFault(488) for keys that make no sense.
    """
    if manner.plain and all(stream.protocol not in PROTECTED for stream in offer.streams):
        return offer
    protected: set[int] = set()
    bundled = False
    streams: list[Stream] = []
    for stream in offer.streams:
        if stream.port:
            way = _asked_way(offer, stream, manner)
            if not _may_be(way, manner, fingerprint) or stream.port in protected or bundled:
                stream = msgspec.structs.replace(stream, port=0)
            elif way is not Way.PLAIN:
                protected.add(stream.port)
                bundled = way is Way.DTLS and _has_ice(offer, stream)
        streams.append(stream)
    found = tuple(streams)
    if any(stream.port for stream in offer.streams) and not any(stream.port for stream in found):
        raise Unprotected(_why(offer, manner))
    return msgspec.structs.replace(offer, streams=found)


def _why(offer: Sdp, manner: Manner) -> str:
    if manner.srtp is Srtp.REQUIRED:
        return "sound must be encrypted (SRTP)"
    if any(stream.protocol in PROTECTED for stream in offer.streams) and manner.plain:
        return "encrypted sound (SRTP) is switched off here"
    return "no way to encrypt the sound that we know"


def _may_be(way: Way | None, manner: Manner, fingerprint: str) -> bool:
    match way:
        case Way.PLAIN:
            return manner.srtp is not Srtp.REQUIRED
        case Way.SDES:
            return manner.srtp is not Srtp.OFF
        case Way.DTLS:
            return not manner.plain and bool(fingerprint)
    return False


def _asked_way(offer: Sdp, stream: Stream, manner: Manner) -> Way | None:
    """`way_of`, with the keys left unread that a plain offer carries for who wants them."""
    if manner.srtp is Srtp.OFF and stream.protocol in PLAIN:
        return Way.PLAIN
    return way_of(offer, stream)


def way_of(sdp: Sdp, stream: Stream) -> Way | None:
    """How the author of this description protects the stream; None: as we cannot.

    Raises PeerFault(488) for keys that make no sense.
    """
    if stream.protocol in PLAIN:
        return Way.SDES if cryptos(stream.lines) else Way.PLAIN
    if stream.protocol not in RTP:
        return Way.PLAIN
    fingerprint = fingerprint_of(sdp, stream)
    if fingerprint and stream.kind == "audio" and (stream.protocol in DTLS or _has_ice(sdp, stream)):
        return Way.DTLS
    return Way.SDES if stream.protocol in KEYED and cryptos(stream.lines) else None


def fingerprint_of(sdp: Sdp, stream: Stream) -> str:
    """The SHA-256 fingerprint of the author's certificate (RFC 8122), "sha-256 AB:CD:..." """
    for line in (*stream.lines, *sdp.lines):
        name, _, value = line.partition(":")
        hashed, _, digest = value.strip().partition(" ")
        if name == "a=fingerprint" and hashed.lower() == "sha-256":
            return f"sha-256 {digest.strip().upper()}"
    return ""


def _ice_of(sdp: Sdp, stream: Stream) -> tuple[str, str]:
    """ufrag and pwd (RFC 8839 5.4), said for the stream or for all."""
    return _attribute(sdp, stream, "ice-ufrag"), _attribute(sdp, stream, "ice-pwd")


def _has_ice(sdp: Sdp, stream: Stream) -> bool:
    return all(_ice_of(sdp, stream))


def _attribute(sdp: Sdp, stream: Stream, name: str) -> str:
    found = stream.attribute(name)
    if found:
        return found
    start = f"a={name}:"
    return next((line[len(start) :].strip() for line in sdp.lines if line.startswith(start)), "")


# ---------------------------------------------------------------- what we say


def offerable(source: Sdp, manner: Manner) -> Sdp:
    """What of these streams this leg can be offered: a browser the first sound, none unprotected by force."""
    if manner.srtp is not Srtp.REQUIRED and not manner.browser:
        return source
    streams: list[Stream] = []
    sounds = 0
    for stream in source.streams:
        sound = stream.kind == "audio" and stream.port != 0
        sounds += sound
        if stream.protocol not in RTP or (manner.browser and not (sound and sounds == 1)):
            stream = msgspec.structs.replace(stream, port=0)
        streams.append(stream)
    return msgspec.structs.replace(source, streams=tuple(streams))


def dressed_offer(plain: Sdp, manner: Manner, before: Sdp | None, means: Means) -> Sdp:
    """Our offer `plain` with what protects it. Keys that we gave `before` stay."""
    if manner.plain and all(stream.protocol not in PROTECTED for stream in plain.streams):
        return plain
    streams: list[Stream] = []
    browser = False
    for index, stream in enumerate(plain.streams):
        if stream.protocol not in RTP:
            streams.append(stream)
            continue
        said = _same_place(before, index, stream)
        way = _way_to_offer(manner, before, said, means)
        if way is Way.DTLS:
            kept = before if before is not None and said is not None else None
            ice = manner.browser or (kept is not None and said is not None and _has_ice(kept, said))
            browser = browser or ice
            mid = (said.attribute("mid") if said is not None else "") or str(index)
            mux = said.rtcp_mux if said is not None and said.protocol not in PLAIN else ice
            protocol = said.protocol if said is not None and said.protocol not in PLAIN else OF_BROWSERS
            dtls = _dtls_lines(stream, "actpass", mid, kept, said, means, ice=ice, mux=mux)
            stream = _with(stream, protocol, dtls)
        elif way is Way.SDES:
            protocol = said.protocol if said is not None and said.protocol in KEYED else _keyed(manner)
            stream = _with(stream, protocol, _keys_to_offer(stream, said, means))
        elif stream.protocol not in PLAIN:
            stream = msgspec.structs.replace(stream, protocol="RTP/AVP")
        streams.append(stream)
    return _with_session(plain, tuple(streams), browser=browser)


def _way_to_offer(manner: Manner, before: Sdp | None, said: Stream | None, means: Means) -> Way:
    if manner.browser and means.fingerprint:
        return Way.DTLS
    if before is not None and said is not None and said.protocol in PROTECTED:
        return way_of(before, said) or Way.PLAIN
    return Way.PLAIN if manner.srtp is Srtp.OFF else Way.SDES


def _keyed(manner: Manner) -> str:
    return "RTP/SAVP" if manner.srtp is Srtp.REQUIRED else "RTP/AVP"


def _keys_to_offer(stream: Stream, said: Stream | None, means: Means) -> tuple[str, ...]:
    if not stream.port:
        return ()
    old = cryptos(said.lines) if said is not None else []
    new = old or [
        Crypto(tag, suite, means.new_secret(KEY_AND_SALT_BYTES[suite]))
        for tag, suite in enumerate(OFFERED, 1)
    ]
    return tuple([crypto.line for crypto in new])


def dressed_answer(
    plain: Sdp, manner: Manner, theirs: Sdp, met: Sdp | None, before: Sdp | None, means: Means
) -> Sdp:
    """Our answer `plain` to the offer `theirs` (screened), protected as that asks for.

    `met` is what the peer had said when we said `before`: what we gave then stays for as long as the peer's
    own does, and is made anew with it (RFC 4568 7.1.4, RFC 8839 4.4.1.1.1).
    """
    if manner.plain:
        return _like(plain, theirs)
    streams: list[Stream] = []
    browser = False
    for index, (stream, offered) in enumerate(zip(plain.streams, theirs.streams, strict=False)):
        mid = offered.attribute("mid")
        way = _asked_way(theirs, offered, manner) if offered.port and stream.port else Way.PLAIN
        was = _same_place(met, index, offered)
        said = _same_place(before, index, stream)
        if way is Way.DTLS:
            ice = _has_ice(theirs, offered)
            browser = browser or ice
            kept = said if _same_peer(met, was, theirs, offered) else None
            setup = _setup_to_answer(theirs, offered, met, was, before, kept)
            mux = offered.rtcp_mux
            dtls = _dtls_lines(stream, setup, mid, before, kept, means, ice=ice, mux=mux)
            streams.append(_with(stream, offered.protocol, dtls))
        elif way is Way.SDES:
            key = _key_to_answer(offered, was, said, means)
            streams.append(_with(stream, offered.protocol, (key.line,)))
        else:
            refused = (f"a=mid:{mid}",) if mid and not stream.port else ()
            streams.append(_with(stream, offered.protocol, refused))
    bundled = browser and any(line.startswith("a=group:BUNDLE") for line in theirs.lines)
    return _with_session(plain, tuple(streams), browser=browser, bundled=bundled)


def _like(plain: Sdp, theirs: Sdp) -> Sdp:
    """The protocol of each m-line is the offerer's."""
    pairs = list(zip(plain.streams, theirs.streams, strict=False))
    if all(ours.protocol == offered.protocol for ours, offered in pairs):
        return plain
    streams = tuple(msgspec.structs.replace(ours, protocol=offered.protocol) for ours, offered in pairs)
    return msgspec.structs.replace(plain, streams=streams)


def _key_to_answer(offered: Stream, was: Stream | None, said: Stream | None, means: Means) -> Crypto:
    """The offerer's first line that we can use, with a key of ours: the one before, where its is too."""
    theirs = cryptos(offered.lines)[0]
    old = matching(said, was)
    if old is not None and (old[1].suite, old[1].key) == (theirs.suite, theirs.key):
        return msgspec.structs.replace(old[0], tag=theirs.tag)
    return Crypto(theirs.tag, theirs.suite, means.new_secret(KEY_AND_SALT_BYTES[theirs.suite]))


def _same_peer(met: Sdp | None, was: Stream | None, theirs: Sdp, offered: Stream) -> bool:
    if met is None or was is None:
        return False
    return (fingerprint_of(met, was), _ice_of(met, was)) == (
        fingerprint_of(theirs, offered),
        _ice_of(theirs, offered),
    )


def _setup_to_answer(
    theirs: Sdp,
    offered: Stream,
    met: Sdp | None,
    was: Stream | None,
    before: Sdp | None,
    kept: Stream | None,
) -> str:
    """RFC 8842 5.3: with an association that goes on, who was the client remains it; else it is the peer."""
    wish = _attribute(theirs, offered, "setup")
    if wish == "passive":
        return "active"
    if wish == "actpass" and before and kept and met and was and _role(before, kept, met, was) == "client":
        return "active"
    return "passive"


def _dtls_lines(
    stream: Stream,
    setup: str,
    mid: str,
    before: Sdp | None,
    kept: Stream | None,
    means: Means,
    *,
    ice: bool,
    mux: bool,
) -> tuple[str, ...]:
    if not stream.port:
        return (f"a=mid:{mid}",) if mid else ()
    lines = [f"a=fingerprint:{means.fingerprint}", f"a=setup:{setup}"]
    if mid:
        lines.append(f"a=mid:{mid}")
    if mux:
        lines.append("a=rtcp-mux")
    if ice:
        ufrag, pwd = ("", "") if before is None or kept is None else _ice_of(before, kept)
        lines.append(f"a=ice-ufrag:{ufrag or _text(means.new_secret(6))}")
        lines.append(f"a=ice-pwd:{pwd or _text(means.new_secret(18))}")
        for component in (1,) if mux else (1, 2):
            priority, port = _FIRST_HOST_CANDIDATE - component + 1, stream.port + component - 1
            lines.append(f"a=candidate:1 {component} UDP {priority} {stream.host} {port} typ host")
        lines.append("a=end-of-candidates")
        lines.append("a=msid:jackfield sound")  # without it some browsers give the sound no stream
    return tuple(lines)


def _text(secret: bytes) -> str:
    return base64.b64encode(secret).decode()  # ice-char (RFC 8839 5.1): letters, digits, + and /


def _same_place(sdp: Sdp | None, index: int, stream: Stream) -> Stream | None:
    """The stream that was there before, if it was in use and of the same kind."""
    if sdp is None or index >= len(sdp.streams):
        return None
    found = sdp.streams[index]
    return found if found.port and found.kind == stream.kind else None


def _with(stream: Stream, protocol: str, lines: tuple[str, ...]) -> Stream:
    return msgspec.structs.replace(stream, protocol=protocol, lines=stream.lines + lines)


def _with_session(plain: Sdp, streams: tuple[Stream, ...], *, browser: bool, bundled: bool = True) -> Sdp:
    lines = plain.lines
    if browser:
        lines += ("a=ice-lite",)
    if browser and bundled:
        mids = [
            stream.attribute("mid") for stream in streams if stream.port and stream.protocol in DTLS | KEYED
        ]
        lines += (f"a=group:BUNDLE {' '.join(filter(None, mids))}",)
    return msgspec.structs.replace(plain, streams=streams, lines=lines)


# ---------------------------------------------------------------- what is in force


def matching(ours: Stream | None, theirs: Stream | None) -> tuple[Crypto, Crypto] | None:
    """The keys that both chose, ours and theirs: those with one tag and suite (RFC 4568 7.1.3).

    Whoever answered has said one line only. Raises PeerFault(488) for keys that make no sense.
    """
    if ours is None or theirs is None:
        return None
    for local in cryptos(ours.lines):
        for remote in cryptos(theirs.lines):
            if (local.tag, local.suite) == (remote.tag, remote.suite):
                return local, remote
    return None


def in_force(
    ours: Sdp, said: Stream, theirs: Sdp, heard: Stream
) -> tuple[media.Sdes | media.Dtls | None, media.Ice | None]:
    """What protects a stream of which we said `said` and the peer `heard`."""
    if "a=ice-ufrag" not in "\n".join(said.lines) and not fingerprint_of(ours, said):
        keys = matching(said, heard)
        return (None if keys is None else media.Sdes(keys[0].suite, keys[0].key, keys[1].key)), None
    ice = None
    if _has_ice(ours, said) and _has_ice(theirs, heard):
        ice = media.Ice(*_ice_of(ours, said), *_ice_of(theirs, heard))
    fingerprint = fingerprint_of(theirs, heard)
    if not fingerprint:
        return None, ice
    return media.Dtls(_role(ours, said, theirs, heard), fingerprint), ice


def _role(ours: Sdp, said: Stream, theirs: Sdp, heard: Stream) -> str:
    """Which end of the handshake is ours (RFC 5763 section 5)."""
    peer = _attribute(theirs, heard, "setup")
    if peer == "passive" or (peer == "actpass" and _attribute(ours, said, "setup") == "active"):
        return "client"
    return "server"


def answered(answer: Sdp, ours: Sdp, manner: Manner) -> Sdp:
    """The peer's answer to our offer, those streams closed that it does not protect as they must be.

    Raises PeerFault(488) for keys that make no sense.
    """
    if manner.plain and all(stream.protocol not in PROTECTED for stream in answer.streams):
        return answer
    streams = tuple(
        stream
        if not stream.port or said is None or _stands(ours, said, answer, stream, manner)
        else msgspec.structs.replace(stream, port=0)
        for stream, said in zip(answer.streams, (*ours.streams, *(None,) * len(answer.streams)), strict=False)
    )
    return msgspec.structs.replace(answer, streams=streams)


def _stands(ours: Sdp, said: Stream, theirs: Sdp, heard: Stream, manner: Manner) -> bool:
    security, ice = in_force(ours, said, theirs, heard)
    if security is not None:
        return ice is not None or not _has_ice(ours, said)
    if said.protocol not in RTP:
        return manner.srtp is not Srtp.REQUIRED
    if manner.srtp is not Srtp.OFF and (manner.srtp is Srtp.REQUIRED or cryptos(heard.lines)):
        return False
    return said.protocol in PLAIN and heard.protocol in PLAIN
