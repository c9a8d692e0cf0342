"""Secrets at rest: under which key, bound to which place, and what is said when it does not fit."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from conf.digests import make_secret, pack, unpack
from conf.faults import SettingsError
from conf.vault import UnknownKey, Vault, add_key, load_vault, make_key_file

PLACE = "extension 101 of tenant 1"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "secret.key"
    make_key_file(file)
    return file


@pytest.fixture
def vault(key_file: Path) -> Vault:
    return load_vault(key_file)


def test_what_was_sealed_opens_again(vault: Vault) -> None:
    sealed = vault.seal(b"plain", PLACE)
    assert b"plain" not in sealed
    assert vault.open(sealed, PLACE) == b"plain"


def test_the_same_value_never_looks_the_same(vault: Vault) -> None:
    assert vault.seal(b"plain", PLACE) != vault.seal(b"plain", PLACE)


def test_only_the_owner_may_read_the_key_file(key_file: Path) -> None:
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    key_file.chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        load_vault(key_file)


def test_a_secret_copied_to_another_place_does_not_open(vault: Vault) -> None:
    sealed = vault.seal(b"plain", PLACE)
    with pytest.raises(SettingsError, match="set-password"):
        vault.open(sealed, "extension 102 of tenant 1")


def test_a_tampered_secret_does_not_open(vault: Vault) -> None:
    sealed = bytearray(vault.seal(b"plain", PLACE))
    sealed[-1] ^= 1
    with pytest.raises(SettingsError, match="changed or moved"):
        vault.open(bytes(sealed), PLACE)


def test_a_wrong_key_is_recognised_as_such(vault: Vault, tmp_path: Path) -> None:
    make_key_file(tmp_path / "other.key")
    with pytest.raises(UnknownKey, match=r"other\.key.*not here.*backup"):
        load_vault(tmp_path / "other.key").open(vault.seal(b"plain", PLACE), PLACE)


def test_after_a_new_key_old_secrets_still_open_and_new_ones_are_under_it(
    vault: Vault, key_file: Path
) -> None:
    old = vault.seal(b"plain", PLACE)
    rotated = add_key(key_file)
    assert rotated.open(old, PLACE) == b"plain"
    fresh = rotated.reseal(old, PLACE)
    assert rotated.open(fresh, PLACE) == b"plain"
    with pytest.raises(UnknownKey):
        vault.open(fresh, PLACE)


@pytest.mark.parametrize("content", ["", "\n", "abcd", "abcd xyz", "00000000 " + "A" * 43 + "=", "a b c"])
def test_a_damaged_key_file_is_told(key_file: Path, content: str) -> None:
    key_file.write_text(content)
    with pytest.raises(SettingsError, match="backup"):
        load_vault(key_file)


def test_a_missing_key_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="missing"):
        load_vault(tmp_path / "secret.key")


def test_an_existing_key_file_is_never_overwritten(key_file: Path) -> None:
    before = key_file.read_bytes()
    with pytest.raises(FileExistsError):
        make_key_file(key_file)
    assert key_file.read_bytes() == before


def test_the_digests_are_those_of_rfc_7616() -> None:
    """RFC 7616 3.9.1: user Mufasa, realm http-auth@example.org, password Circle of Life."""
    secret = make_secret("Mufasa", "http-auth@example.org", "Circle of Life")
    assert secret.md5 == "3d78807defe7de2157e2b0b6573a855f"
    assert secret.sha256 == "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232"
    assert unpack(pack(secret)) == secret


def test_a_secret_does_not_show_itself() -> None:
    assert repr(make_secret("a", "b", "c")) == "Secret(...)"
