"""The certificate that TLS listeners show: the operator's, or one made here and signed by itself.

A self-made one encrypts, but proves nothing until phones are told to trust it; the log says so.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import socket
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from conf.faults import SettingsError
from conf.settings import Settings
from sipcore.aio import TlsSettings
from sipcore.flow import is_address

VALID_DAYS = 825
RENEW_DAYS = 30


def tls_settings(settings: Settings) -> TlsSettings | None:
    """What the TLS and WSS listeners need, or None when there are none of those."""
    sip = settings.sip
    if not any(each.transport in ("tls", "wss") for each in sip.listeners):
        return None
    client_ca = str(sip.tls_client_ca) if sip.tls_client_ca is not None else ""
    if sip.tls_certificate is not None and sip.tls_key is not None:
        for file in (sip.tls_certificate, sip.tls_key):
            if not os.access(file, os.R_OK):
                raise SettingsError(str(file), "cannot be read", "Check that it exists and who owns it.")
        return TlsSettings(str(sip.tls_certificate), str(sip.tls_key), client_ca, bool(client_ca))
    certificate, key = settings.paths.var / "tls.crt", settings.paths.var / "tls.key"
    if not _still_good(certificate):
        make_certificate(certificate, key, sip.advertised_host)
    return TlsSettings(str(certificate), str(key), client_ca, bool(client_ca))


def _still_good(certificate: Path) -> bool:
    try:
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError):
        return False
    return loaded.not_valid_after_utc - dt.datetime.now(dt.UTC) > dt.timedelta(days=RENEW_DAYS)


def make_certificate(certificate: Path, key: Path, advertised_host: str = "") -> None:
    """Write a P-256 key, for the owner alone, and a certificate for this machine's names, signed by itself."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, socket.gethostname()[:64])])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(_names(advertised_host)), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))


def _names(advertised_host: str) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for host in dict.fromkeys((advertised_host, socket.gethostname(), "localhost", "127.0.0.1", "::1")):
        if is_address(host):
            found.append(x509.IPAddress(ipaddress.ip_address(host)))
        elif host:
            found.append(x509.DNSName(host))
    return found
