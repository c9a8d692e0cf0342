"""Encrypt what must not lie open in the database: AES-256-GCM under keys that are kept outside of it.

The key file has one key a line, `id base64`, the newest first: that one seals, any of them opens. A
sealed value names its key by id and is bound to its place (a tenant and a number), so that a row
copied to another place does not open. Key ids are the beginnings of the keys' own hashes: a wrong key
is recognised as such, not as garbage.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from conf.faults import SettingsError

KEY_BYTES = 32
ID_BYTES = 4
NONCE_BYTES = 12


class UnknownKey(SettingsError):
    """A secret names a key that is not at hand: a wrong key file, or one that has grown since."""


class Vault:
    """Seals with the newest key, opens with the one that the sealed value names."""

    def __init__(self, keys: list[bytes], where: str) -> None:
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}
        self._newest = key_id(keys[0])
        self._where = where

    @property
    def newest(self) -> bytes:
        """The id of the key that seals; sealed values begin with the id of theirs."""
        return self._newest

    def seal(self, plain: bytes, place: str) -> bytes:
        nonce = secrets.token_bytes(NONCE_BYTES)
        return self._newest + nonce + self._ciphers[self._newest].encrypt(nonce, plain, place.encode())

    def reseal(self, sealed: bytes, place: str) -> bytes:
        """The same value under the newest key."""
        return self.seal(self.open(sealed, place), place)

    def open(self, sealed: bytes, place: str) -> bytes:
        """The plain value. Raises SettingsError when its key is not at hand, or it was tampered with."""
        name = sealed[:ID_BYTES]
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise UnknownKey(
                self._where,
                f"the secrets in the database were encrypted with key {name.hex()}, which is not here",
                "Put back the key file that belongs to this database, from your backup.",
            )
        try:
            body = ID_BYTES + NONCE_BYTES
            return cipher.decrypt(sealed[ID_BYTES:body], sealed[body:], place.encode())
        except InvalidTag:
            raise SettingsError(
                f"the secret of {place}",
                "it was changed or moved outside of Jackfield, and cannot be trusted",
                "Set its password again with `jackfield extension set-password`.",
            ) from None


def key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"jackfield key id" + key).digest()[:ID_BYTES]


def load_vault(file: Path) -> Vault:
    """Open the key file. Raises SettingsError when it is missing, malformed or open to others."""
    try:
        text = file.read_text(encoding="ascii")
        mode = file.stat().st_mode
    except FileNotFoundError:
        raise SettingsError(
            str(file),
            "the key that opens the secrets in the database is missing",
            "Put it back from your backup.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            str(file), f"the key file cannot be read ({error})", "Check owner and content."
        ) from None
    if mode & 0o077:
        raise SettingsError(
            str(file), "others than its owner may read the key file", f"Run: chmod 600 {file}"
        )
    keys = [_parse(line, file) for line in text.splitlines() if line.strip()]
    if not keys:
        raise SettingsError(str(file), "the key file is empty", "Put it back from your backup.")
    return Vault(keys, str(file))


def make_key_file(file: Path) -> None:
    """Write a key file with one new key, readable for its owner alone. An existing file stays as it is."""
    _write_new(file, _line(secrets.token_bytes(KEY_BYTES)))


def open_vault(file: Path, *, may_make: bool) -> Vault:
    """`load_vault`; a key file that is not there is made first when nothing was sealed yet."""
    if may_make and not file.exists():
        make_key_file(file)
    return load_vault(file)


def add_key(file: Path) -> Vault:
    """Put a new key first, keep the old ones: from now on the new one seals."""
    text = _line(secrets.token_bytes(KEY_BYTES)) + file.read_text(encoding="ascii")
    fresh = file.with_name(file.name + ".new")
    fresh.unlink(missing_ok=True)
    _write_new(fresh, text)
    fresh.replace(file)
    return load_vault(file)


def _write_new(file: Path, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="ascii") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(descriptor)


def _line(key: bytes) -> str:
    return f"{key_id(key).hex()} {base64.b64encode(key).decode()}\n"


def _parse(line: str, file: Path) -> bytes:
    try:
        name, encoded = line.split()
        key = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        key, name = b"", ""
    if len(key) != KEY_BYTES or key_id(key).hex() != name:
        raise SettingsError(
            str(file), "a line of the key file is damaged", "Put the file back from your backup."
        )
    return key
