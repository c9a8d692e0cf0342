"""The same phones over real sockets on loopback: UDP, TCP, TLS."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from jackfield.phone import Ladder, Phone, StreamTransport, Timers, Transport, UdpTransport, tone

REAL_TIME = True


def has_ipv6() -> bool:
    try:
        UdpTransport("::1")._sip.close()
    except OSError:
        return False
    return True


NEEDS_IPV6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")


def tls(directory: Path) -> Transport:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "phone")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    file = directory / "phone.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE  # two certificates of the moment
    return StreamTransport(client_tls=client, server_tls=server)


@pytest.mark.parametrize(
    ("carrier", "word"),
    [
        (lambda _: UdpTransport(), "UDP"),
        pytest.param(lambda _: UdpTransport("::1"), "UDP", marks=NEEDS_IPV6),
        (lambda _: StreamTransport(), "TCP"),
        (tls, "TLS"),
    ],
    ids=["udp", "udp-ipv6", "tcp", "tls"],
)
async def test_a_call_over_loopback(carrier: Callable[[Path], Transport], word: str, tmp_path: Path) -> None:
    ladder = Ladder()
    alice = Phone("101", transport=carrier(tmp_path), ladder=ladder)
    bob = Phone("102", transport=carrier(tmp_path), ladder=ladder)
    alice.speaks(tone(440))
    bob.speaks(tone(880))
    async with alice, bob:
        out = await alice.dials(bob)
        back = await bob.answers()
        await out.talks()
        assert await back.hears(tone(440)) == pytest.approx(-13, abs=0.5)
        await out.presses("7", 60)
        await back.hears_digits("7")
        await out.holds()
        await back.hears_nothing(0.1, settles_s=0.1)
        await out.resumes()
        await out.hears(tone(880))
        await out.hangs_up()
        await back.ends()
    assert back.invite is not None
    assert back.invite.via.transport == word
    assert alice.complaints + bob.complaints == []
    assert not [row for row in ladder.rows if row.arrived_at is None or row.sent_at is None]


async def test_a_connection_that_is_refused_fails_the_call_at_once() -> None:
    closed = StreamTransport()
    gone = closed.local
    closed._listener.close()
    async with Phone("101", transport=StreamTransport(), timers=Timers(t1=5)) as alice:
        await alice.dials(f"sip:102@{gone[0]}:{gone[1]};transport=tcp")
        assert await alice.fails(within_s=2) == 408
