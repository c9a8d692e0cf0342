"""Read the settings: the file, then the environment over it; and explain each value and where it came from.

A key that nobody knows and a value that makes no sense end here, as a SettingsError that names the
file and line, or the environment variable, and says what would be right.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from conf.faults import SettingsError
from conf.settings import Section, Settings
from conf.values import spell

FILE_NAME = "jackfield.toml"
CONFIG_VARIABLE = "JACKFIELD_CONFIG"
PREFIX = "JACKFIELD_"


class Explained(msgspec.Struct, frozen=True):
    """One setting as the operator sees it. `source` is "default", "file" or "environment"."""

    key: str
    value: str
    default: str
    source: str
    meaning: str
    variable: str


class Loaded(msgspec.Struct, frozen=True):
    """The settings, and where they were read from; `file` is None when there was none."""

    settings: Settings
    file: Path | None
    text: str
    written: Mapping[str, Any]


def load_settings(config: Path | None = None) -> Settings:
    """The settings from `config`, else the file that JACKFIELD_CONFIG names, else ./jackfield.toml.

    Without any file all defaults hold. Environment variables JACKFIELD_SECTION__KEY go before the file.

    Raises SettingsError.
    """
    return load(config).settings


def load(config: Path | None = None) -> Loaded:
    """Like `load_settings`, and keeps what `explain` needs."""
    file = _find(config)
    text = _read(file) if file else ""
    written = _parse(text, file)
    _refuse_unknown_variables()
    try:
        settings = Settings(**written)
    except ValidationError as error:
        raise _told(error.errors()[0], file, text, written) from None
    base = file.parent if file else Path.cwd()
    return Loaded(_absolute(settings, base.resolve()), file, text, written)


def explain(loaded: Loaded) -> tuple[Explained, ...]:
    """Every setting with its value, default, source and meaning, in the order of the documentation."""
    rows = []
    for section in sections():
        model = section_model(section)
        now, default = getattr(loaded.settings, section), model()
        for key, field in model.model_fields.items():
            rows.append(
                Explained(
                    f"{section}.{key}",
                    _shown(getattr(now, key)),
                    _shown(getattr(default, key)),
                    _source(section, key, loaded.written),
                    field.description or "",
                    variable_name(section, key),
                )
            )
    return tuple(rows)


def sections() -> tuple[str, ...]:
    return tuple(Settings.model_fields)


def section_model(section: str) -> type[Section]:
    model = Settings.model_fields[section].annotation
    assert isinstance(model, type)
    assert issubclass(model, Section)
    return model


def variable_name(section: str, key: str) -> str:
    return f"{PREFIX}{section}__{key}".upper()


def _find(config: Path | None) -> Path | None:
    named = config or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    if named is None:
        return Path(FILE_NAME) if Path(FILE_NAME).is_file() else None
    if named.is_dir() or not named.exists():
        said = "--config" if config else CONFIG_VARIABLE
        raise SettingsError(
            said, f"there is no file {named}", "Name an existing file, or leave it out for the defaults."
        )
    return named


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            str(file), f"cannot be read ({error})", "Make it a readable UTF-8 text."
        ) from None


def _parse(text: str, file: Path | None) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            str(file), f"is not valid TOML: {error}", 'Texts need quotes, as in var = "/var/lib/jackfield".'
        ) from None


def _refuse_unknown_variables() -> None:
    """An operator's slip must not vanish: pydantic-settings passes over sections that it does not know."""
    for name in sorted(os.environ):
        if not name.startswith(PREFIX) or name == CONFIG_VARIABLE:
            continue
        section = name.removeprefix(PREFIX).partition("__")[0].lower()
        if section not in sections() or "__" not in name:
            known = [variable_name(s, k) for s in sections() for k in section_model(s).model_fields]
            raise SettingsError(
                name, "no setting has this name", _suggest(name, known, "jackfield settings --explain")
            )


def _told(error: ErrorDetails, file: Path | None, text: str, written: Mapping[str, Any]) -> SettingsError:
    path = [str(part) for part in error["loc"]]
    section, key = path[0], path[1] if len(path) > 1 else ""
    where = _where(section, key, file, text, written)
    if error["type"] == "extra_forbidden":
        known = list(section_model(section).model_fields) if key else list(sections())
        return SettingsError(
            where,
            f'no setting is called "{key or section}"',
            _suggest(key or section, known, "jackfield settings --explain"),
        )
    problem = error["msg"].removeprefix("Value error, ")
    if error["type"] != "value_error":
        problem = f"{spell(error['input'])!r} will not do: {problem[0].lower()}{problem[1:]}"
    return SettingsError(where, problem, _remedy(section, key))


def _where(section: str, key: str, file: Path | None, text: str, written: Mapping[str, Any]) -> str:
    variable = variable_name(section, key)
    if key and variable in os.environ:
        return f"environment variable {variable}"
    name = f"{section}.{key}" if key else section
    if file is None:
        return name
    line = _line_of(text, section, key)
    return f"{file}, line {line}, {name}" if line else f"{file}, {name}"


def _line_of(text: str, section: str, key: str) -> int | None:
    """The line where a key is written; None where TOML's rarer spellings (inline tables) hide it."""
    inside, heading = "", re.compile(r"\s*\[\s*([\w-]+)")
    spelling = {
        section: re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*="),
        "": re.compile(rf"\s*{re.escape(section)}\s*(\.\s*{re.escape(key)}\s*)?="),
    }
    for number, line in enumerate(text.splitlines(), start=1):
        if found := heading.match(line):
            inside = found[1]
            if inside == section and not key:
                return number
        elif inside in spelling and spelling[inside].match(line):
            return number
    return None


def _remedy(section: str, key: str) -> str:
    field = section_model(section).model_fields.get(key)
    if field is None or not field.description:
        return "See `jackfield settings --explain`."
    return f"The default is {_shown(getattr(section_model(section)(), key)) or 'empty'}. {field.description}"


def _suggest(name: str, known: list[str], where: str) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"Did you mean {close[0]}?" if close else f"`{where}` lists all there are."


def _source(section: str, key: str, written: Mapping[str, Any]) -> str:
    if variable_name(section, key) in os.environ:
        return "environment"
    return "file" if key in written.get(section, {}) else "default"


def _shown(value: object) -> str:
    if value is None:
        return ""
    text = spell(value)
    return re.sub(r"(://[^:/@]+:)[^@]*@", r"\1***@", text)


def _absolute(settings: Settings, base: Path) -> Settings:
    """Paths that an operator wrote relative to the settings file, made whole."""
    changed: dict[str, Section] = {}
    for section in sections():
        now: Section = getattr(settings, section)
        paths = {key: base / value for key, value in now if isinstance(value, Path)}
        if paths:
            changed[section] = now.model_copy(update=paths)
    return settings.model_copy(update=changed)
