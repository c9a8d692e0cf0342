"""What a new Jackfield starts with: one tenant with four phones and two services to try calls with.

Made once, into a database without any tenant. The random passwords are kept beside it, in a file for
the owner alone, because the database has only their digests and the start shows them in a table. An
operator who has set up real phones deletes the file; the demonstration is then an ordinary tenant.
"""

from __future__ import annotations

import os
import secrets
import tomllib
from pathlib import Path

import msgspec

from conf.changes import AddExtension, AddService, AddTenant, Change, Password
from conf.digests import make_secret
from conf.faults import SettingsError
from conf.settings import Settings
from conf.snapshot import Snapshot
from conf.store import ConfigStore

TENANT = "demo"
REALM = "jackfield.local"
PHONES = (("101", "Anna"), ("102", "Boris"), ("103", "Clara"), ("104", "David"))
SERVICES = (("*43", "echo", "Echo test"), ("*41", "tone", "Tone test"))
LETTERS = "abcdefghjkmnpqrstuvwxyzACDEFGHJKLMNPQRTUVWXYZ234679"
"""No look-alikes: neither 0 O 1 l I i o, nor 5 S 8 B."""
PASSWORD_LENGTH = 16

HEADER = """\
# The passwords of the demonstration phones, made at the first start of Jackfield. The database keeps
# only their digests; this file exists so that each start can show them again. Delete it when they are
# no longer wanted, and set passwords of your own with `jackfield extension set-password`.
"""


class DemoPhone(msgspec.Struct, frozen=True):
    """One line of the table that a start shows."""

    number: str
    name: str
    password: str
    realm: str


def make_password() -> str:
    """16 letters and digits that can be read out and typed: about 90 bits."""
    return "".join(secrets.choice(LETTERS) for _ in range(PASSWORD_LENGTH))


async def ensure_demo(store: ConfigStore, settings: Settings) -> tuple[DemoPhone, ...]:
    """Make the demonstration in a new database; give its phones as long as their file is there.

    With `database.demo` off nothing is made.
    """
    snapshot = await store.load_snapshot()
    file = settings.demo_passwords_file
    if snapshot.version == 0 and settings.database.demo:
        passwords = {number: make_password() for number, _ in PHONES}
        _write(file, passwords)
        await store.apply(_changes(passwords, settings), by="first start")
        snapshot = await store.load_snapshot()
    return _phones(file, snapshot)


def _changes(passwords: dict[str, str], settings: Settings) -> list[Change]:
    extensions: list[Change] = [
        AddExtension(
            tenant=TENANT,
            number=number,
            name=name,
            password=Password(passwords[number]),
            ring_s=settings.calls.ring_s,
            max_contacts=settings.registrar.max_contacts,
        )
        for number, name in PHONES
    ]
    services: list[Change] = [
        AddService(tenant=TENANT, number=number, app=app, name=name) for number, app, name in SERVICES
    ]
    return [AddTenant(name=TENANT, realm=REALM, default=True), *extensions, *services]


def _phones(file: Path, snapshot: Snapshot) -> tuple[DemoPhone, ...]:
    tenant = snapshot.tenant_by_domain.get(REALM)
    if tenant is None or not file.exists():
        return ()
    return tuple(
        DemoPhone(number, extension.name, password, REALM)
        for number, password in read_passwords(file).items()
        if (extension := snapshot.extensions.get((tenant, number))) is not None
        and extension.secret == make_secret(number, REALM, password)  # else it was changed since
    )


def read_passwords(file: Path) -> dict[str, str]:
    """The passwords by number. Raises SettingsError for a file that somebody has damaged."""
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8")).get("passwords", {})
    except (OSError, ValueError) as error:
        raise SettingsError(
            str(file), f"cannot be read ({error})", "Delete it, and set passwords of your own."
        ) from None
    return {number: str(password) for number, password in found.items()}


def _write(file: Path, passwords: dict[str, str]) -> None:
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(HEADER + "\n[passwords]\n")
        stream.writelines(f'{number} = "{password}"\n' for number, password in passwords.items())
