"""What the engine and the media process say to each other, version 3.

Frames on a Unix stream socket: a u32 length (big endian), then one msgpack array of messages. Each
message is an array whose first element is its tag below. Commands are never answered one by one: a port
is a number that the engine picks, so opening one needs no round trip, and what goes wrong comes back
as an event. A frame is applied in order. Ids are never reused while the media process lives.
"""

from __future__ import annotations

from typing import NewType

import msgspec

VERSION = 3

PortId = NewType("PortId", int)
"""u32: one place that can hear and be heard: an RTP stream pair, later a player or a recorder."""
MediaCallId = NewType("MediaCallId", int)
"""u64: ports of one call live on one worker thread."""


class Payload(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One codec of an m-line, telephone-event too: a=rtpmap and payload type. `name` is lower case."""

    payload_type: int
    name: str
    clock_rate_hz: int
    channels: int = 1
    fmtp: str = ""


# ---------------------------------------------------------------- engine -> media


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """First message of an engine. Media answers `Welcome` and sends events to this engine from now on."""

    version: int
    orphan_s: float
    """how long media goes on without an engine before it closes all ports"""


class OpenPort(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Bind RTP on `rtp_port` (even) and RTCP on the next one of `local_host`; the port hears nobody yet."""

    port: int
    call: int
    local_host: str
    rtp_port: int


class Sdes(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Keys that came with the SDP (RFC 4568). Each is master key and master salt, as a=crypto has them.

    `suite`: AES_CM_128_HMAC_SHA1_80, AES_CM_128_HMAC_SHA1_32, AES_256_CM_HMAC_SHA1_80,
    AES_256_CM_HMAC_SHA1_32, AEAD_AES_128_GCM or AEAD_AES_256_GCM.
    """

    suite: str
    local_key: bytes
    """that we send with"""
    remote_key: bytes
    """that the peer sends with"""

    def __repr__(self) -> str:
        return f"Sdes({self.suite!r})"


class Dtls(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Keys are agreed upon in the stream (RFC 5764); our `role` is "client" or "server"."""

    role: str
    fingerprint: str
    """of the peer's certificate: "sha-256 AB:CD:..." """


class Ice(msgspec.Struct, frozen=True, array_like=True):
    """The peer finds us by checks of connectivity, and proves itself by them (RFC 8445); we are lite."""

    local_ufrag: str
    local_pwd: str
    remote_ufrag: str
    remote_pwd: str

    def __repr__(self) -> str:
        return f"Ice({self.local_ufrag!r}, {self.remote_ufrag!r})"


class Negotiated(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """An offer/answer exchange settled this port's stream: where the peer is, and what means what.

    `receive`: payloads the peer sends us (by our SDP); `send`: those it accepts (by its SDP), in order of
    preference. `peer_sends` / `peer_receives` follow the direction attribute. Each Negotiated opens the
    learning window for symmetric RTP anew when the peer's address changed, and only then.
    """

    port: int
    remote_host: str
    remote_rtp_port: int
    remote_rtcp_port: int
    peer_sends: bool
    peer_receives: bool
    receive: tuple[Payload, ...]
    send: tuple[Payload, ...]
    ptime_ms: int = 20
    protocol: str = "rtp"
    """"rtp", or "udptl": datagrams pass as they are (T.38), no RTP rules, no RTCP"""
    security: Sdes | Dtls | None = None
    """with it nothing passes either way but SRTP and SRTCP"""
    ice: Ice | None = None


class Hear(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """Draw the edge: `listener` hears `speaker`, `gain_db` louder. A port may hear itself (echo).

    Drawn again it changes how loud the speaker is, and nothing else. A listener with several edges hears
    all of them, mixed in its own codec; with one whose codec it accepts, its packets as they come. Where
    media cannot speak the listener's codec, the newest speaker that sends is heard.
    """

    listener: int
    speaker: int
    gain_db: float = 0.0
    side: str = "both"
    """where a recorder of two channels writes it: "left", "right" or "both\""""


class Unhear(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """Rub the edge out; rubbing out one that is not there changes nothing."""

    listener: int
    speaker: int


class ClosePort(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """Close the port with its edges; its `Closed` report follows."""

    port: int


class OpenPlayer(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """A port that only speaks, once it is told what: `Play`.

    Call 0 is nobody's: its players can be heard in all calls, at the cost of one (music on hold).
    """

    port: int
    call: int


class PlayTone(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Sines at once, each at `level_dbov` (0: it just reaches full scale); none of them is silence."""

    frequencies_hz: tuple[float, ...]
    level_dbov: float
    duration_ms: int = 0
    """0: without end"""


class PlayFile(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """WAV (PCM of 8 or 16 bits, A-law, mu-law; any rate) or Ogg/Opus, from `start_ms` on."""

    path: str
    start_ms: int = 0


class Play(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """Play these clips one after the other without a gap, `times` times (0: for ever); ends in `Played`.

    What the player was at ends. `ended_by`: a digit among these from a port that hears the player stops it.
    """

    port: int
    play: int
    clips: tuple[PlayTone | PlayFile, ...]
    times: int = 1
    ended_by: str = ""


class ControlPlayer(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """`action`: "stop", "pause", "resume", or "seek" to `position_ms` after the beginning of the list."""

    port: int
    action: str
    position_ms: int = 0


class OpenRecorder(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """A port that only hears: what it hears is written into `path`, which must not be there yet.

    `format`: "linear", "a-law", "mu-law" (WAV) or "opus" (Ogg; 16000 Hz only). Beside it lies a sidecar,
    `path`.json: when it began, and what was marked. `ClosePort` ends it; `Captured` follows, or comes
    before where it cannot be written.
    """

    port: int
    call: int
    path: str
    format: str = "linear"
    rate_hz: int = 8000
    channels: int = 1
    key: bytes = b""
    """32 bytes to encrypt the file with (AES-256-GCM by chunk): see `recording/sealed.py`; empty: not"""


class MarkRecording(msgspec.Struct, frozen=True, array_like=True, tag=15):
    """Note in the sidecar that something happens now."""

    port: int
    label: str


class MaskRecording(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """From now on, silence is written in place of what is heard; or no longer. The sidecar says so."""

    port: int
    masked: bool


class OpenFork(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """A port whose other end is a program at a WebSocket, `url` (ws://...): it hears, and may speak back.

    The program gets a text {"event": "start", "port": ..., "rate_hz": ...}, then binary messages of 20 ms
    of L16 (RFC 3551: 16 bits, network byte order). Binary messages that it sends are said in the call, at
    the same rate; the text {"event": "clear"} stops what is being said. `ForkNews` tells how it goes.
    """

    port: int
    call: int
    url: str
    rate_hz: int = 16000


class DetectTones(msgspec.Struct, frozen=True, array_like=True, tag=17, gc=False):
    """Look for digits in the sound of this stream, which is decoded for it; or no longer."""

    port: int
    on: bool


class WatchTalking(msgspec.Struct, frozen=True, array_like=True, tag=21, gc=False):
    """Tell when this stream's voice begins to talk and when it ends, in `Talking`; or no longer."""

    port: int
    on: bool


class GuardDigits(msgspec.Struct, frozen=True, array_like=True, tag=18, gc=False):
    """Keep this stream's telephone-events from all who hear it (they are still told); or no longer."""

    port: int
    on: bool


class SendDigits(msgspec.Struct, frozen=True, array_like=True, tag=19):
    """Send the peer these telephone-events, each (digit, how long it lasts in ms), after those before."""

    port: int
    digits: tuple[tuple[str, int], ...]


class KeepMemo(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Keep the engine's opaque note about a call, replacing the one before; see `Memos`."""

    call: int
    memo: bytes


class DropMemo(msgspec.Struct, frozen=True, array_like=True, tag=9, gc=False):
    call: int


class AskMemos(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """Tell every memo that is kept, and the ports that are open: an engine that starts asks this first."""


class AskReport(msgspec.Struct, frozen=True, array_like=True, tag=11, gc=False):
    """Send a `Report` of this port now."""

    port: int


# ---------------------------------------------------------------- media -> engine


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=101):
    version: int
    first_rtp_port: int
    last_rtp_port: int
    workers: int
    open_ports: int
    fingerprint: str = ""
    """of the certificate that media shows in DTLS, "sha-256 AB:CD:...": the same while it lives"""


class PortFailed(msgspec.Struct, frozen=True, array_like=True, tag=102):
    """The port could not be opened or broke; it is gone."""

    port: int
    why: str


class Started(msgspec.Struct, frozen=True, array_like=True, tag=103):
    """The first valid RTP packet of a negotiated stream came in, from this address."""

    port: int
    remote_host: str
    remote_port: int
    clock_s: float


class Digit(msgspec.Struct, frozen=True, array_like=True, tag=104):
    """A digit heard at `port`: once when it begins and once when it ends.

    `digit` is one of 0-9, *, #, A-D and "flash". `duration_ms` is 0 at the beginning. A lost end is made
    up after a silence of the event.
    """

    port: int
    digit: str
    ended: bool
    duration_ms: int
    clock_s: float
    kind: str = "event"
    """"event": a telephone-event (RFC 4733); "tone": found in the sound, see `DetectTones`"""


class Silent(msgspec.Struct, frozen=True, array_like=True, tag=105):
    """A stream that should send has sent nothing for `silence_s`.

    Told after the time that media was started with, and again each time that it has lasted as long again.
    """

    port: int
    silence_s: float


class Report(msgspec.Struct, frozen=True, array_like=True, tag=106):
    """What went through a port so far. `received_*`: from its peer; `remote_*`: as the peer said in RTCP."""

    port: int
    closed: bool
    received_packets: int
    received_bytes: int
    sent_packets: int
    sent_bytes: int
    lost_packets: int
    jitter_ms: float
    round_trip_ms: float
    mos: float
    """estimate by the E-model (ITU-T G.107) for the codec in use, 1.0 to 4.5; 0 when nothing was heard"""
    remote_lost_packets: int
    remote_jitter_ms: float
    refused_packets: int
    """dropped: foreign, malformed, or of a codec that a listener does not accept"""
    codec: str
    clock_s: float
    delay_ms: float = 0.0
    """how long sound waits in the jitter buffer, where the stream is decoded"""
    concealed_ms: float = 0.0
    """sound that was made up for what was lost or late, there"""
    srtp: str = ""
    """the suite that protects the stream"""


class Memos(msgspec.Struct, frozen=True, array_like=True, tag=107):
    """All memos as (call, memo), and all open ports as (port, call, local_host, rtp_port)."""

    memos: tuple[tuple[int, bytes], ...]
    ports: tuple[tuple[int, int, str, int], ...]


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=108):
    """A command that made no sense (unknown port, unknown tag): our bug or another version. Never fatal."""

    tag: int
    why: str


class Played(msgspec.Struct, frozen=True, array_like=True, tag=109):
    """What `Play` asked for has ended, `position_ms` after its beginning."""

    port: int
    play: int
    why: str
    """"done", "stopped" (told to, or replaced), "digit", or "failed": `fault` says which file and why"""
    position_ms: int
    fault: str
    clock_s: float


class Captured(msgspec.Struct, frozen=True, array_like=True, tag=110):
    """A recording has ended and is on the disk, or `fault` says why it is not, or not to its end."""

    port: int
    path: str
    seconds: float
    bytes: int
    sha256: str
    missing_s: float
    """silence in it that stands for sound which the disk was too slow for"""
    fault: str


class ForkNews(msgspec.Struct, frozen=True, array_like=True, tag=112):
    """The program behind a fork was reached, or the connection is over; the port stays until it is closed."""

    port: int
    connected: bool
    why: str
    """empty when it was over because the port closed"""


class Talking(msgspec.Struct, frozen=True, array_like=True, tag=113):
    """A voice has begun to talk (told after 60 ms of it), or has been silent for 400 ms."""

    port: int
    begins: bool
    level_dbov: float
    """of late, as RFC 6464 means it: 0 is a square wave at full scale"""
    clock_s: float


class SecurityNews(msgspec.Struct, frozen=True, array_like=True, tag=111):
    """Something came about, or failed, on the way to a secured stream."""

    port: int
    what: str
    """"ice-connected", "ice-failed", "dtls-connected", "dtls-failed", or "srtp-refused": what the peer sends
    is not closed with the key that it said; told once for each key"""
    detail: str
    clock_s: float


Command = (
    Hello
    | OpenPort
    | Negotiated
    | Hear
    | Unhear
    | ClosePort
    | OpenPlayer
    | Play
    | ControlPlayer
    | OpenRecorder
    | MarkRecording
    | MaskRecording
    | OpenFork
    | DetectTones
    | WatchTalking
    | GuardDigits
    | SendDigits
    | KeepMemo
    | DropMemo
    | AskMemos
    | AskReport
)
Event = (
    Welcome
    | PortFailed
    | Started
    | Digit
    | Silent
    | Report
    | Memos
    | Refused
    | Played
    | Captured
    | ForkNews
    | Talking
    | SecurityNews
)
