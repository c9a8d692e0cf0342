"""Read extensions from a CSV file, and say of each line that is wrong which one it is and why."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from conf.changes import AddExtension, Change, Password
from conf.demo import make_password
from conf.faults import SettingsError
from conf.settings import Settings

NUMBERS = ("max_calls", "max_contacts", "ring_s")
TEXTS = ("name", "contact", "srtp")
COLUMNS = ("number", "password", "enabled", *TEXTS, *NUMBERS)
YES_AND_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
SHOWN = 50


class Lines:
    """The changes that a file asks for, and where each stands in it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.changes: list[Change] = []
        self.line_numbers: list[int] = []
        self.made: list[tuple[str, str]] = []
        """(number, password) of those that came without one"""
        self.faults: list[tuple[int, str]] = []

    def must_be_good(self, refused: Iterable[tuple[int, SettingsError]]) -> None:
        """Raise one SettingsError that names every bad line, of the file's own faults and of `refused`."""
        faults = self.faults + [
            (self.line_numbers[position], f"{error.problem}. {error.remedy}") for position, error in refused
        ]
        if faults:
            told = [f"\n  line {line}: {fault.rstrip('.')}" for line, fault in sorted(faults)[:SHOWN]]
            if len(faults) > SHOWN:
                told.append(f"\n  and {len(faults) - SHOWN} more")
            raise SettingsError(
                str(self.file),
                f"{len(faults)} bad lines{''.join(told)}",
                "Nothing was changed. Mend them, try again.",
            )


def read_lines(file: Path, tenant: str, settings: Settings) -> Lines:
    """Read the file. Raises SettingsError when it cannot be read as such; bad lines are noted in `faults`."""
    lines = Lines(file)
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True, strict=True)
            _check_header(file, reader.fieldnames or ())
            for row in reader:
                _read(row, reader.line_num, tenant, settings, lines)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(
            str(file), f"cannot be read as CSV ({error})", "Save it as CSV in UTF-8."
        ) from None
    return lines


def write_passwords(file: Path | None, lines: Lines) -> None:
    """Write down the passwords that were made: the only chance to learn them."""
    if not lines.made:
        return
    if file is None:
        raise SettingsError(
            "--passwords-to",
            f"{len(lines.made)} lines have no password, and those made for them would be known to nobody",
            "Name a file for them.",
        )
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise SettingsError("--passwords-to", f"{file}: {error.strerror}", "Name a new file.") from None
    with open(descriptor, "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("number", "password"), *lines.made])


def _check_header(file: Path, names: Iterable[str]) -> None:
    found = tuple(names)
    unknown = [name for name in found if name not in COLUMNS]
    if unknown or "number" not in found:
        problem = f'there is no column "{unknown[0]}"' if unknown else 'the column "number" is missing'
        raise SettingsError(f"{file}, line 1", problem, f"Use the columns {', '.join(COLUMNS)}.")


def _read(row: Mapping[str | None, Any], line: int, tenant: str, settings: Settings, lines: Lines) -> None:
    if None in row or None in row.values():
        lines.faults.append((line, "it has more or fewer fields than the header."))
        return
    values: dict[str, Any] = {
        "ring_s": settings.calls.ring_s,
        "max_contacts": settings.registrar.max_contacts,
    }
    values.update((name, row[name].strip()) for name in TEXTS if row.get(name))
    for name in NUMBERS:
        text = (row.get(name) or "").strip()
        if text and not text.isdecimal():
            lines.faults.append((line, f'{name} "{text}" is not a number.'))
            return
        if text:
            values[name] = int(text)
    enabled = (row.get("enabled") or "yes").strip().lower()
    if enabled not in YES_AND_NO:
        lines.faults.append((line, f'enabled "{enabled}" is neither yes nor no.'))
        return
    number, password = row["number"].strip(), row.get("password")
    if not password:
        password = make_password()
        lines.made.append((number, password))
    lines.changes.append(
        AddExtension(
            tenant=tenant, number=number, password=Password(password), enabled=YES_AND_NO[enabled], **values
        )
    )
    lines.line_numbers.append(line)
