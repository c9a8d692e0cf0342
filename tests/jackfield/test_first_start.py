"""What a start shows: where to point a phone, and the demonstration's passwords as long as they are true."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509

from conf.changes import RemoveTenant
from conf.settings import Paths, Settings, Sip
from conf.values import Listen
from jackfield.first_start import open_configuration, welcome

HERE = ("192.0.2.5",)


def settings(tmp_path: Path, *listen: str, advertised_host: str = "") -> Settings:
    sip = Sip(listen=tuple(map(Listen.parse, listen)), advertised_host=advertised_host)
    return Settings(paths=Paths(var=tmp_path / "var"), sip=sip)


async def shown(using: Settings) -> str:
    store, phones = await open_configuration(using)
    text = welcome(using, await store.load_snapshot(), phones, HERE)
    await store.close()
    return text


async def test_a_newcomer_sees_server_numbers_and_passwords(tmp_path: Path) -> None:
    using = settings(tmp_path, "udp:*:5060")
    store, phones = await open_configuration(using)
    await store.close()
    text = await shown(using)
    assert "server       192.0.2.5 " in text
    for phone in phones:
        assert f"{phone.number}      {phone.password}   {phone.name}" in text
    assert "dial *43     Echo test" in text
    assert "demo-passwords.toml" in text


@pytest.mark.parametrize(
    ("listen", "advertised_host", "server"),
    [
        ("udp:*:5060", "", "192.0.2.5"),
        ("udp:*:5070", "", "192.0.2.5:5070"),
        ("udp:127.0.0.1:5060", "", "127.0.0.1"),
        ("udp:[::1]:5080", "", "[::1]:5080"),
        ("udp:*:5060", "sip.example.com", "sip.example.com"),
    ],
)
async def test_the_server_is_shown_as_a_phone_wants_it(
    tmp_path: Path, listen: str, advertised_host: str, server: str
) -> None:
    text = await shown(settings(tmp_path, listen, advertised_host=advertised_host))
    assert f"server       {server}   (" in text


async def test_without_the_demonstration_no_password_is_shown(tmp_path: Path) -> None:
    using = settings(tmp_path, "udp:*:5060")
    store, _ = await open_configuration(using)
    await store.apply([RemoveTenant(name="demo", with_content=True)], by="a test")
    await store.close()
    text = await shown(using)
    assert "password" not in text
    assert "extensions   0" in text


async def test_tls_finds_a_certificate_for_this_host(tmp_path: Path) -> None:
    using = settings(tmp_path, "tls:*", advertised_host="sip.example.com")
    await shown(using)
    certificate = x509.load_pem_x509_certificate(using.tls_certificate_file.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"sip.example.com", "localhost"} <= set(names.get_values_for_type(x509.DNSName))
    assert stat.S_IMODE(using.tls_key_file.stat().st_mode) == 0o600


async def test_a_second_start_keeps_the_certificate(tmp_path: Path) -> None:
    using = settings(tmp_path, "tls:*")
    await shown(using)
    before = using.tls_certificate_file.read_bytes()
    await shown(using)
    assert using.tls_certificate_file.read_bytes() == before


async def test_without_tls_no_certificate_is_made(tmp_path: Path) -> None:
    using = settings(tmp_path, "udp:*")
    await shown(using)
    assert not using.tls_certificate_file.exists()
