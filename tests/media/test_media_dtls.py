"""Keys agreed upon in the stream: OpenSSL shakes hands with media, libsrtp takes the keys that it got."""

import datetime
import functools

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from media_room import Phone, Room
from OpenSSL import SSL
from pylibsrtp import Policy
from test_media_ice import HERE, ICE, check
from test_media_srtp import AES_128_GCM, AES_128_SHA1_80, AES_256_GCM, SecurePhone, session

from media.messages import VERSION, Dtls, Hello, SecurityNews, Welcome

PROFILES = {
    AES_128_SHA1_80: (b"SRTP_AES128_CM_SHA1_80", 16, 14),
    AES_128_GCM: (b"SRTP_AEAD_AES_128_GCM", 16, 12),
    AES_256_GCM: (b"SRTP_AEAD_AES_256_GCM", 32, 12),
}


@functools.cache
def identity() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a phone")])
    today = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(today)
    return made.not_valid_after(today + datetime.timedelta(days=1)).sign(key, hashes.SHA256()), key


def fingerprint(certificate: x509.Certificate) -> str:
    return "sha-256 " + certificate.fingerprint(hashes.SHA256()).hex(":").upper()


class DtlsPhone(SecurePhone):
    """A phone that speaks DTLS with OpenSSL; `begins` says whether it, or media, is the client."""

    connection: SSL.Connection | None = None
    connected = False
    source: tuple[str, int] | None = None

    def secures_by_dtls(self, suite: str, begins: bool, named: str = "", **terms: object) -> None:
        self.suite, self.begins = suite, begins
        context = SSL.Context(SSL.DTLS_METHOD)
        certificate, key = identity()
        context.use_certificate(certificate)
        context.use_privatekey(key)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        context.set_tlsext_use_srtp(PROFILES[suite][0])
        self.connection = SSL.Connection(context, None)
        self.connection.set_connect_state() if begins else self.connection.set_accept_state()
        self.terms = Dtls("server" if begins else "client", named or fingerprint(certificate))
        self.negotiates(security=self.terms, **terms)

    def shakes_hands(self) -> None:
        """Say what is to be said next; the answers come to `takes`."""
        try:
            self.connection.do_handshake()
            self.connected or self._take_keys()
        except SSL.WantReadError:
            pass
        try:
            while True:
                Phone.sends(self, self.connection.bio_read(1500), self.source)
        except SSL.WantReadError:
            pass

    def _take_keys(self) -> None:
        self.connected = True
        _, key, salt = PROFILES[self.suite]
        material = self.connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
        keys, salts = material[: 2 * key], material[2 * key :]
        client, server = keys[:key] + salts[:salt], keys[key:] + salts[salt:]
        ours, theirs = (client, server) if self.begins else (server, client)
        self.closing = session(self.suite, ours, Policy.SSRC_ANY_OUTBOUND)
        self.opening = session(self.suite, theirs, Policy.SSRC_ANY_INBOUND)

    def takes(self, local_port: int, to: tuple[str, int], data: bytes) -> bool:
        if local_port == self.local_port and 20 <= data[0] <= 63:
            self.connection.bio_write(data)
            self.shakes_hands()
            return True
        return self.connected and super().takes(local_port, to, data)


@pytest.fixture
def room() -> Room:
    return Room()


def news(room: Room) -> list[tuple[str, str]]:
    return [(event.what, event.detail) for event in room.events() if isinstance(event, SecurityNews)]


def dtls_phone(room: Room, suite: str, begins: bool = True, **terms: object) -> DtlsPhone:
    phone = room.phone(1, kind=DtlsPhone)
    phone.secures_by_dtls(suite, begins, **terms)
    return phone


@pytest.mark.parametrize("begins", [True, False], ids=["media is the server", "media is the client"])
@pytest.mark.parametrize("suite", PROFILES)
def test_a_phone_agrees_on_keys_and_talks(room, suite, begins):
    alice, bob = dtls_phone(room, suite, begins), room.phone(2)
    room.join(alice, bob)
    alice.shakes_hands() if begins else room.wait(0.1)
    assert alice.connected
    assert news(room) == [("dtls-connected", suite)]
    for _ in range(5):
        alice.talks()
        bob.talks()
    assert len(alice.heard) == len(bob.heard) == 5
    assert room.report(alice).srtp == suite


def test_media_shows_the_certificate_that_it_told_of(room):
    room.tell(Hello(VERSION, 60.0))
    (welcome,) = [event for event in room.events() if isinstance(event, Welcome)]
    alice = dtls_phone(room, AES_128_SHA1_80)
    alice.shakes_hands()
    shown = alice.connection.get_peer_certificate(as_cryptography=True)
    assert fingerprint(shown) == welcome.fingerprint
    shown.verify_directly_issued_by(shown)


@pytest.mark.parametrize("begins", [True, False], ids=["media is the server", "media is the client"])
def test_another_certificate_than_the_sdp_named_gets_no_keys(room, begins):
    alice, bob = (
        dtls_phone(room, AES_128_GCM, begins, named="sha-256 " + ":".join(["AB"] * 32)),
        room.phone(2),
    )
    room.join(alice, bob)
    alice.shakes_hands() if begins else room.wait(0.1)
    assert [what for what, _ in news(room)] == ["dtls-failed"]
    bob.talks(3)
    assert (alice.heard, room.stray, room.report(alice).srtp) == ([], [], "")


def test_nothing_passes_in_the_clear_before_there_are_keys(room):
    alice, bob = dtls_phone(room, AES_128_GCM), room.phone(2)
    room.join(alice, bob)
    Phone.sends(alice, alice.packet())
    bob.talks(3)
    assert (alice.datagrams, bob.heard, room.stray) == ([], [], [])
    assert room.report(alice).refused_packets == 1


def test_what_is_lost_is_said_again(room):
    """Media's first two flights as a client are lost."""
    alice = dtls_phone(room, AES_128_GCM, begins=False)
    alice.local_port += 1000
    room.wait(2.5)
    alice.local_port -= 1000
    assert not alice.connected
    room.wait(10.0)
    assert news(room) == [("dtls-connected", AES_128_GCM)]


def test_the_same_terms_again_keep_the_keys(room):
    alice, bob = dtls_phone(room, AES_128_GCM), room.phone(2)
    room.join(alice, bob)
    alice.shakes_hands()
    alice.talks(2)
    alice.negotiates(security=alice.terms)
    alice.talks(2)
    assert len(bob.heard) == 4
    assert room.report(alice).refused_packets == 0


def test_a_browser_is_found_by_ice_and_then_agrees_on_keys(room):
    alice, bob = dtls_phone(room, AES_128_GCM, ice=ICE, multiplexed=True), room.phone(2)
    room.join(alice, bob)
    alice.sends = functools.partial(Phone.sends, alice)
    alice.source = HERE
    alice.sends(check(), HERE)
    alice.shakes_hands()
    assert [what for what, _ in news(room)] == ["ice-connected", "dtls-connected"]
    alice.sends(alice.closing.protect(alice.packet(b"from a browser")), HERE)
    assert [packet.payload for packet in bob.heard] == [b"from a browser"]
    room.stray.clear()
    bob.sends(bob.packet(b"to a browser"))
    ((host, port, data),) = room.stray
    before = room.report(alice).refused_packets
    Phone.sends(alice, bytes([22]) + bytes(100))
    assert room.report(alice).refused_packets == before + 1, "DTLS from elsewhere"
    assert ((host, port), alice.opening.unprotect(data)[12:]) == (HERE, b"to a browser")


@settings(max_examples=100, deadline=None)
@given(
    data=st.builds(lambda first, rest: bytes([first]) + rest, st.integers(20, 63), st.binary(max_size=300))
)
def test_any_bytes_that_might_be_dtls_break_nothing(data):
    room = Room()
    bob = room.phone(2)
    Phone.sends(dtls_phone(room, AES_128_GCM), data)
    bob.talks(2)
    assert room.report(bob).received_packets == 2
