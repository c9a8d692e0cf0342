"""Who talks in these tests: a side with real transports, raw sockets, an authority for certificates."""

import asyncio
import datetime
import ipaddress
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sipcore.aio import Listen, TlsSettings, Transports
from sipcore.flow import Flow, Transport

PATIENCE_S = 5.0
OPTIONS = b"OPTIONS sip:bob@example.test SIP/2.0\r\nCall-ID: 1\r\nContent-Length: 0\r\n\r\n"
OK = b"SIP/2.0 200 OK\r\nCall-ID: 1\r\nContent-Length: 0\r\n\r\n"

UDP = Listen(Transport.UDP, "127.0.0.1", 0)
TCP = Listen(Transport.TCP, "127.0.0.1", 0)
WS = Listen(Transport.WS, "127.0.0.1", 0)


def numbered(number):
    return b"MESSAGE sip:%d@example.test SIP/2.0\r\nl: 3\r\n\r\nabc" % number


async def soon(awaitable):
    return await asyncio.wait_for(awaitable, PATIENCE_S)


async def a_turn():
    """Let everything that is ready in the loop happen once."""
    loop = asyncio.get_running_loop()
    turn = loop.create_future()
    loop.call_soon(turn.set_result, None)
    await turn


async def eventually(check, within_s=PATIENCE_S, look_every_s=0.005):
    """Wait for what no event tells, such as the state of the system."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(within_s):
        while not check():
            tick = loop.create_future()
            loop.call_later(look_every_s, tick.set_result, None)
            await tick


class Side:
    """Transports, with what they said."""

    def __init__(self, listens, settings):
        self.received = asyncio.Queue()
        self.failed = asyncio.Queue()
        self.transports = Transports(listens, self._received, self._failed, **settings)
        self.counters = self.transports.counters

    def _received(self, data, flow):
        self.received.put_nowait((data, flow))

    def _failed(self, flow, why):
        self.failed.put_nowait((flow, why))

    def at(self, transport=None):
        """The address of the (first) listener of this transport."""
        return next(local for kind, local in self.transports.local_addresses() if transport in (kind, None))

    def flow_to(self, transport, remote, **more):
        return Flow(transport, self.at(transport), remote, **more)

    def send(self, flow, data=OPTIONS):
        self.transports.send(flow, data)

    async def gets(self):
        return await soon(self.received.get())

    async def hears_of_failure(self):
        return await soon(self.failed.get())


class Authority:
    """Signs certificates; files in PEM."""

    def __init__(self, directory):
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority {directory.name}")])
        self.certificate = str(directory / "ca.pem")
        signed = self._sign(self._name, self._key, [x509.BasicConstraints(ca=True, path_length=None)])
        self._write("ca.pem", signed.public_bytes(serialization.Encoding.PEM))

    def issue(self, common_name, *names):
        """(certificate path, key path); names are DNS names, IP addresses, or SIP URIs."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        extensions = [x509.SubjectAlternativeName([_general_name(name) for name in names])] * bool(names)
        signed = self._sign(subject, key, extensions)
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path = self._write(f"{common_name}.pem", signed.public_bytes(serialization.Encoding.PEM))
        return path, self._write(f"{common_name}.key", secret)

    def server(self, common_name="server", *names, **more):
        certificate, key = self.issue(common_name, *(names or ("127.0.0.1", "sip.example.test")))
        return TlsSettings(certificate, key, **more)

    def client_context(self, certificate=None, key=None):
        context = ssl.create_default_context(cafile=self.certificate)
        if certificate:
            context.load_cert_chain(certificate, key)
        return context

    def _sign(self, subject, key, extensions):
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name, content):
        path = self._directory / name
        path.write_bytes(content)
        return str(path)


def _general_name(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.UniformResourceIdentifier(name) if name.startswith("sip:") else x509.DNSName(name)
