"""TLS for SIP (RFC 3261 26.3.1, RFC 5922): contexts from the operator's files, and who a peer proved to be.

Handshakes are asyncio's work, certificates are made elsewhere.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from sipcore.aio.listen import Listen, ListenError, TlsClientSettings, where_of


def server_context(listen: Listen) -> ssl.SSLContext:
    """The context of a TLS or WSS listener. Raises ListenError when its files do not serve."""
    tls = listen.tls
    where = where_of(listen)
    if tls is None:
        raise ListenError(where, "no certificate is set", "Set the certificate and key of this listener.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:  # SSLError is one
        problem = f"certificate {tls.certificate} with key {tls.key}: {_words(error)}"
        remedy = "Both must be readable PEM files that belong together, the certificate with its chain."
        raise ListenError(where, problem, remedy) from error
    if tls.client_ca:
        try:
            context.load_verify_locations(tls.client_ca)
        except OSError as error:
            remedy = "Give the path of a PEM file with the certificates of the clients' authorities."
            raise ListenError(
                where, f"client authorities {tls.client_ca}: {_words(error)}", remedy
            ) from error
        context.verify_mode = ssl.CERT_REQUIRED if tls.client_required else ssl.CERT_OPTIONAL
    elif tls.client_required:
        raise ListenError(
            where, "client certificates are required but no authority is set", "Set `client_ca`."
        )
    return context


def client_context(settings: TlsClientSettings) -> ssl.SSLContext:
    """The context of the connections that we open. Raises ListenError when its files do not serve."""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.certificate:
            context.load_cert_chain(settings.certificate, settings.key or None)
    except OSError as error:
        remedy = "Correct the paths of the authorities, certificate and key for outgoing TLS."
        raise ListenError("outgoing TLS", _words(error), remedy) from error
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def names_in(certificate: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The SIP identities of a verified certificate (RFC 5922 7.1), lower case; none without a certificate.

    SIP URIs among the subject alternative names, without a user part, and DNS names; IP addresses too.
    The common name counts only where there are no such names.
    """
    if not certificate:
        return ()
    names: list[str] = []
    alternatives: Sequence[tuple[str, str]] = certificate.get("subjectAltName", ())
    for kind, value in alternatives:
        if kind == "DNS":
            names.append(value.lower())
        elif kind == "IP Address":
            names.append(_literal(value))
        elif kind == "URI" and value[:4].lower() == "sip:" and "@" not in value:
            names.append(value[4:].lower())
    if not names:
        fields = (field for group in certificate.get("subject", ()) for field in group)
        names = [value.lower() for kind, value in fields if kind == "commonName"]
    return tuple(dict.fromkeys(names))


def _literal(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return text


def _words(error: OSError) -> str:
    return error.strerror or str(error)
