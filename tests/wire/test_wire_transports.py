"""The same server over TCP, TLS and IPv6, and probed by sipsak and openssl (RFC 3261 section 18)."""

from __future__ import annotations

import subprocess

import pytest
from sipp_ladder import Ladder
from wire_accounts import FIXED_TCP, TCP_HOST, fresh_phone, phone_of
from wire_exchange import Exchange
from wire_loopback import free_port
from wire_server import Server, options_status

pytestmark = pytest.mark.wire


def test_a_caller_on_tcp_reaches_a_phone_on_udp(sipp: Exchange) -> None:
    alice, bob = fresh_phone(transport="TCP"), fresh_phone()
    sipp.register(bob)
    callee = sipp.wait_for_call(Ladder(bob).is_called().ring().answer().hung_up())
    caller = sipp.run(Ladder(alice).invite(bob.number).rings().connected().bye())
    assert "SIP/2.0/UDP" in callee.ends_well().got("INVITE").header("Via")
    assert "transport=tcp" in caller.answers("INVITE", 200)[0].header("Contact").lower()


def test_a_caller_on_udp_reaches_a_phone_on_tcp(sipp: Exchange) -> None:
    alice = fresh_phone()
    bob = phone_of(FIXED_TCP, host=TCP_HOST, transport="TCP")
    callee = sipp.wait_for_call(Ladder(bob).is_called().ring().answer().hung_up())
    sipp.run(Ladder(alice).invite(bob.number).rings().connected().bye())
    assert "SIP/2.0/TCP" in callee.ends_well().got("INVITE").header("Via")


def test_a_phone_on_ipv6_calls_another_on_ipv4(server: Server, sipp: Exchange) -> None:
    """Each leg has its own family, in Via, Contact and SDP."""
    alice, bob = fresh_phone(host="::1", port=free_port("::1")), fresh_phone()
    sipp.register(bob)
    callee = sipp.wait_for_call(Ladder(bob).is_called().ring().answer().hung_up())
    there = f"[::1]:{server.port6}"
    caller = sipp.run(Ladder(alice).invite(bob.number).rings().connected().bye(), at=there)
    answered = caller.answers("INVITE", 200)[0]
    assert f"@{there}" in answered.header("Contact") or f"<sip:{there}" in answered.header("Contact")
    assert "c=IN IP6 ::1" in answered.body
    assert f"c=IN IP4 {server.host}" in callee.ends_well().got("INVITE").body


def test_a_phone_registers_and_is_called_over_ipv6(server: Server, sipp: Exchange) -> None:
    bob = fresh_phone(host="::1", port=free_port("::1"))
    there = f"[::1]:{server.port6}"
    sipp.register(bob, at=there)
    callee = sipp.wait_for_call(Ladder(bob).is_called().answer().hung_up(), at=there)
    sipp.run(Ladder(fresh_phone()).invite(bob.number).connected().bye())
    assert "c=IN IP6 ::1" in callee.ends_well().got("INVITE").body


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_sipsak_gets_hundreds_of_options_answered(server: Server, transport: str) -> None:
    done = subprocess.run(
        ["sipsak", "-A", "300", "-E", transport, "-s", f"sip:{server.hostport}"],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_flood_of_options_does_not_silence_the_server(server: Server) -> None:
    """300 requests within 2 ms; nobody waits for the answers."""
    subprocess.run(
        ["sipsak", "-F", "-e", "300", "-s", f"sip:{server.hostport}"], capture_output=True, timeout=20
    )
    assert options_status(server.host, server.port, within_s=1.0) == 200


def test_openssl_speaks_sip_over_tls(server: Server) -> None:
    request = "\r\n".join(
        (
            f"OPTIONS sip:{server.host} SIP/2.0",
            "Via: SIP/2.0/TLS 127.0.0.1:5061;branch=z9hG4bK-openssl;rport",
            "Max-Forwards: 70",
            "From: <sip:openssl@127.0.0.1>;tag=1",
            f"To: <sip:{server.host}>",
            "Call-ID: openssl",
            "CSeq: 1 OPTIONS",
            "Content-Length: 0",
            "",
            "",
        )
    )
    with subprocess.Popen(
        ["openssl", "s_client", "-quiet", "-connect", f"{server.host}:{server.tls_port}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(request)
        client.stdin.flush()
        assert client.stdout.readline().strip() == "SIP/2.0 200 OK"
        client.kill()


@pytest.mark.parametrize(("version", "refused"), [("-tls1", True), ("-tls1_1", True), ("-tls1_2", False)])
def test_tls_of_long_ago_is_refused(server: Server, version: str, refused: bool) -> None:
    """RFC 8996: TLS 1.0 and 1.1 must not be used."""
    address = f"{server.host}:{server.tls_port}"
    done = subprocess.run(
        ["openssl", "s_client", version, "-cipher", "ALL@SECLEVEL=0", "-connect", address],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=10,
    )
    assert ("Cipher is (NONE)" in done.stdout) is refused
