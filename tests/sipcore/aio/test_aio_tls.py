"""TLS over real sockets: who may speak, who is refused, what is reused (RFC 5922, RFC 5923).

Certificates are made on the spot.
"""

import asyncio
import contextlib
import shutil
import ssl

import msgspec
import pytest
from aio_peers import OK, OPTIONS, TCP, eventually, soon

from sipcore.aio import Limits, Listen, ListenError, TlsClientSettings, TlsSettings, Transports
from sipcore.aio.tls import names_in
from sipcore.flow import Transport


def listening(settings):
    return Listen(Transport.TLS, "127.0.0.1", 0, tls=settings)


@pytest.fixture(scope="session")
def server_tls(authority):
    return authority.server()


@pytest.fixture
async def server(side, server_tls):
    return await side(listening(server_tls))


def trusting(authority, **more):
    return {"tls": TlsClientSettings(ca_file=authority.certificate, **more)}


# ---------------------------------------------------------------- as client


@pytest.mark.parametrize("name", ["sip.example.test", "sip.example.test.", ""])
async def test_messages_go_both_ways_when_the_name_or_address_is_right(
    side, server, server_tls, authority, name
):
    caller = await side(listening(server_tls), **trusting(authority))
    caller.send(caller.flow_to(Transport.TLS, server.at(), server_name=name))
    data, flow = await server.gets()
    assert (data, flow.transport, flow.local) == (OPTIONS, Transport.TLS, server.at())
    server.send(flow, OK)
    data, flow = await caller.gets()
    assert (data, flow.transport, flow.remote) == (OK, Transport.TLS, server.at())


async def test_a_wrong_name_is_refused_and_nothing_is_sent(side, server, server_tls, authority):
    caller = await side(listening(server_tls), **trusting(authority))
    flow = caller.flow_to(Transport.TLS, server.at(), server_name="bank.example.test")
    caller.send(flow)
    failed, why = await caller.hears_of_failure()
    assert failed == flow
    assert "bank.example.test" in why
    await eventually(lambda: server.transports.open_connections == 0)
    assert server.received.empty()


async def test_an_unknown_authority_is_refused(side, server, server_tls, stranger_authority):
    caller = await side(listening(server_tls), **trusting(stranger_authority))
    flow = caller.flow_to(Transport.TLS, server.at())
    caller.send(flow)
    failed, why = await caller.hears_of_failure()
    assert (failed, why) == (flow, "certificate refused: unable to get local issuer certificate")


async def test_checking_can_be_switched_off(side, server, server_tls, stranger_authority):
    caller = await side(listening(server_tls), **trusting(stranger_authority, verify=False))
    caller.send(caller.flow_to(Transport.TLS, server.at(), server_name="bank.example.test"))
    assert (await server.gets())[0] == OPTIONS


async def test_a_connection_checked_for_one_name_does_not_serve_another(side, server, server_tls, authority):
    caller = await side(listening(server_tls), **trusting(authority))
    caller.send(caller.flow_to(Transport.TLS, server.at(), server_name="sip.example.test"))
    await server.gets()
    wrong = caller.flow_to(Transport.TLS, server.at(), server_name="bank.example.test")
    caller.send(wrong)
    assert (await caller.hears_of_failure())[0] == wrong


async def test_a_server_that_never_shakes_hands_is_given_up(side, server_tls, authority):
    mute = await side(TCP)
    caller = await side(listening(server_tls), limits=Limits(connect_s=0.1), **trusting(authority))
    flow = caller.flow_to(Transport.TLS, mute.at())
    caller.send(flow)
    assert await caller.hears_of_failure() == (flow, "no connection in 0.1 s")


@pytest.mark.parametrize("name", ["a" * 64 + ".example.test", "..", "\udcff"])
async def test_a_name_that_is_none_fails_without_a_traceback(side, server, server_tls, authority, name):
    caller = await side(listening(server_tls), **trusting(authority))
    flow = caller.flow_to(Transport.TLS, server.at(), server_name=name)
    caller.send(flow)
    assert (await caller.hears_of_failure())[0] == flow


async def test_authorities_that_cannot_be_read_fail_the_flow(side, server, server_tls):
    caller = await side(listening(server_tls), tls=TlsClientSettings(ca_file="/nowhere/ca.pem"))
    flow = caller.flow_to(Transport.TLS, server.at())
    caller.send(flow)
    failed, why = await caller.hears_of_failure()
    assert failed == flow
    assert why.startswith("outgoing TLS: No such file or directory")


# ---------------------------------------------------------------- as server


@pytest.mark.parametrize(
    "garbage", [OPTIONS, b"\x16\x03\x01\xff\xff" + bytes(60), b"GET / HTTP/1.0\r\n\r\n", b""], ids=range(4)
)
async def test_garbage_on_the_tls_port_is_counted_and_not_logged(server, garbage, caplog):
    reader, writer = await asyncio.open_connection(*server.at())
    writer.write(garbage)
    writer.write_eof()
    with contextlib.suppress(ConnectionError):
        await soon(reader.read())
    await eventually(lambda: server.counters.bad_handshakes == 1)
    assert server.transports.open_connections == 0
    assert caplog.records == []
    writer.transport.abort()


async def test_who_connects_and_does_not_shake_hands_is_shown_out(side, server_tls):
    server = await side(listening(server_tls), limits=Limits(handshake_s=0.1))
    reader, writer = await asyncio.open_connection(*server.at())
    with contextlib.suppress(ConnectionError):
        await soon(reader.read())
    await eventually(lambda: server.counters.bad_handshakes == 1)
    writer.transport.abort()


async def test_handshakes_under_way_count_as_connections(side, server_tls):
    server = await side(listening(server_tls), limits=Limits(connections_per_source=1))
    _, first = await asyncio.open_connection(*server.at())
    await eventually(lambda: server.transports.open_connections == 1)
    reader, second = await asyncio.open_connection(*server.at())
    with contextlib.suppress(ConnectionError):
        assert await soon(reader.read()) == b""
    assert server.counters.over_limit == 1
    first.transport.abort()
    second.transport.abort()


async def test_closing_breaks_off_handshakes(side, server_tls):
    server = await side(listening(server_tls))
    _, writer = await asyncio.open_connection(*server.at())
    await eventually(lambda: server.transports.open_connections == 1)
    await soon(server.transports.close())
    writer.transport.abort()


async def test_versions_before_1_2_are_refused(server, authority):
    context = authority.client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(*server.at(), ssl=context)
    await eventually(lambda: server.counters.bad_handshakes == 1)


async def test_a_renewed_certificate_is_shown_to_the_next_who_connect(side, authority, tmp_path):
    def shown(writer):
        return names_in(writer.get_extra_info("peercert"))

    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"

    def renew(name):
        issued = authority.server(name, "127.0.0.1", name)
        shutil.copy(issued.certificate, certificate)
        shutil.copy(issued.key, key)

    renew("old.example.test")
    server = await side(listening(TlsSettings(str(certificate), str(key))))
    _, before = await asyncio.open_connection(*server.at(), ssl=authority.client_context())
    renew("new.example.test")
    server.transports.reload_certificates()
    _, after = await asyncio.open_connection(*server.at(), ssl=authority.client_context())
    certificate.write_bytes(b"spoilt")
    with pytest.raises(ListenError):
        server.transports.reload_certificates()
    _, still = await asyncio.open_connection(*server.at(), ssl=authority.client_context())
    assert shown(before) == ("127.0.0.1", "old.example.test")
    assert shown(after) == shown(still) == ("127.0.0.1", "new.example.test")
    for writer in (before, after, still):
        writer.transport.abort()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"certificate": "/nowhere/server.pem"}, "certificate /nowhere/server.pem with key"),
        ({"client_ca": "/nowhere/ca.pem"}, "client authorities /nowhere/ca.pem"),
        ({"client_required": True}, "client certificates are required but no authority is set"),
    ],
)
async def test_certificates_that_do_not_serve_are_an_error_that_says_why(
    complaints, server_tls, change, problem
):
    transports = Transports([listening(msgspec.structs.replace(server_tls, **change))], print, print)
    with pytest.raises(ListenError) as caught:
        await transports.start()
    assert caught.value.problem.startswith(problem)
    assert caught.value.where == "TLS 127.0.0.1:0"


# ---------------------------------------------------------------- certificates of clients


@pytest.fixture
async def mutual(side, authority):
    """A server that demands certificates, and a caller that has one for peer.example.test at 127.0.0.1."""
    settings = authority.server("mutual", client_ca=authority.certificate, client_required=True)
    certificate, key = authority.issue("peer", "peer.example.test", "sip:peer.example.test", "127.0.0.1")
    server = await side(listening(settings), **trusting(authority, certificate=certificate, key=key))
    client = trusting(authority, certificate=certificate, key=key)
    return server, await side(listening(TlsSettings(certificate, key)), **client)


async def test_the_names_that_a_peer_proved_are_known(mutual):
    server, caller = mutual
    caller.send(caller.flow_to(Transport.TLS, server.at(), server_name="sip.example.test"))
    _, flow = await server.gets()
    assert server.transports.peer_names(flow) == ("peer.example.test", "127.0.0.1")
    server.send(flow, OK)
    _, flow = await caller.gets()
    assert caller.transports.peer_names(flow) == ("127.0.0.1", "sip.example.test")


async def test_without_the_certificate_that_is_demanded_there_is_no_connection(mutual, side, authority):
    server, _ = mutual
    caller = await side(listening(authority.server()), **trusting(authority))
    caller.send(caller.flow_to(Transport.TLS, server.at()))
    await caller.hears_of_failure()
    assert server.received.empty()


async def test_without_a_certificate_a_peer_is_nobody(side, server, server_tls, authority):
    caller = await side(listening(server_tls), **trusting(authority))
    caller.send(caller.flow_to(Transport.TLS, server.at()))
    _, flow = await server.gets()
    assert server.transports.peer_names(flow) == ()
    assert not server.transports.alias(flow, caller.at()[1])


async def test_an_alias_takes_requests_to_the_names_that_were_proved_and_no_others(mutual):
    server, caller = mutual
    caller.send(caller.flow_to(Transport.TLS, server.at(), server_name="sip.example.test"))
    _, flow = await server.gets()
    assert server.transports.alias(flow, caller.at()[1])
    for name in ("peer.example.test", ""):
        server.send(server.flow_to(Transport.TLS, caller.at(), server_name=name))
        await caller.gets()
    assert server.counters.opened == 0
    stolen = server.flow_to(Transport.TLS, caller.at(), server_name="bank.example.test")
    server.send(stolen)
    assert (await server.hears_of_failure())[0] == stolen


async def test_a_tcp_connection_has_no_alias(side):
    caller, callee = await side(TCP), await side(TCP)
    caller.send(caller.flow_to(Transport.TCP, callee.at()))
    _, flow = await callee.gets()
    assert not callee.transports.alias(flow, caller.at()[1])


@pytest.mark.parametrize(
    ("certificate", "names"),
    [
        (None, ()),
        ({}, ()),
        ({"subjectAltName": (("DNS", "A.Test"), ("DNS", "a.test"))}, ("a.test",)),
        ({"subjectAltName": (("URI", "sip:b.test"), ("URI", "sip:bob@b.test"))}, ("b.test",)),
        ({"subjectAltName": (("IP Address", "2001:DB8:0:0:0:0:0:1"),)}, ("2001:db8::1",)),
        ({"subject": ((("commonName", "C.Test"),), (("country", "DE"),))}, ("c.test",)),
        (
            {"subject": ((("commonName", "c.test"),),), "subjectAltName": (("DNS", "d.test"),)},
            ("d.test",),
        ),
    ],
)
def test_names_in_a_certificate(certificate, names):
    assert names_in(certificate) == names
