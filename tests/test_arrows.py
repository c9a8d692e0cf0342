"""The arrows of the house: which room may import which, and who may touch the world outside.

The tables below are the drawing; the test walks every import of every module and holds it against them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parent.parent

NOBODY: tuple[str, ...] = ()
FEATURES = ("queues", "ivr", "recording", "supervision", "billing_client")
FEATURE = ("pbx.api", "conf", "prompts")
KNOWS: dict[str, tuple[str, ...]] = {
    "sipcore": NOBODY,
    "media": NOBODY,
    "conf": NOBODY,
    "prompts": NOBODY,
    "billing": NOBODY,
    "pbx": ("sipcore", "media", "conf"),
    "queues": FEATURE,
    "ivr": FEATURE,
    "recording": FEATURE,
    "supervision": FEATURE,
    "billing_client": (*FEATURE, "billing.api"),
    "web": ("pbx.api", "queues.api", "ivr.api", "recording.api", "supervision.api", "billing.api"),
    "jackfield.phone": NOBODY,  # the built-in phone judges the server, so it shares no code with it
    "jackfield": ("sipcore", "media", "conf", "prompts", "pbx", *FEATURES, "billing", "web"),
}
"""room -> what it may import besides itself; the longest name that fits a module is its room"""

ONLY_FOR = {"jackfield.wiring": ("jackfield.engine_process",)}
"""modules that only these may import (and tests)"""

CLOCKS_AND_SOCKETS = ("asyncio", "socket", "ssl", "select", "selectors", "threading", "time", "uvloop")
WITHOUT: dict[str, tuple[str, ...]] = {
    "sipcore.aio": (),
    "sipcore": CLOCKS_AND_SOCKETS,
    "pbx": CLOCKS_AND_SOCKETS,
    "prompts": CLOCKS_AND_SOCKETS,
    "queues": ("socket", "ssl", "threading", "time"),
    "ivr": ("socket", "ssl", "threading", "time"),
    "recording": ("socket", "ssl", "threading", "time"),
    "supervision": ("socket", "ssl", "threading", "time"),
}
"""room -> what of the world outside it must do without: bytes and `now` come in as arguments"""

ALLOWED = {
    ("sipcore.uri", "socket"): "inet_pton reads address literals at the speed of C; no socket is made",
    ("pbx.appcalls", "asyncio"): "runs the coroutines of applications: tasks and futures, no clock",
}
"""exceptions, each with its reason"""


class Import(msgspec.Struct, frozen=True):
    """`module` imports `target`, in `line` of its file."""

    module: str
    target: str
    line: int

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def imports_of(root: Path) -> Iterator[Import]:
    """Every import in the rooms under `root`; `from a import b` counts as `a.b` where that is a module."""
    for room in sorted({name.partition(".")[0] for name in KNOWS}):
        for file in sorted((root / room).rglob("*.py")):
            parts = file.relative_to(root).with_suffix("").parts
            package = parts[:-1]
            module = ".".join(package if parts[-1] == "__init__" else parts)
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                for target in targets_of(node, package, root):
                    yield Import(module, target, node.lineno)  # type: ignore[attr-defined]


def targets_of(node: ast.AST, package: tuple[str, ...], root: Path) -> Iterator[str]:
    match node:
        case ast.Import(names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module, names, level):
            above = package[: len(package) - level + 1] if level else ()
            base = ".".join([*above, *([module] if module else [])])
            for alias in names:
                deeper = f"{base}.{alias.name}"
                yield deeper if is_module(root, deeper) else base


def is_module(root: Path, name: str) -> bool:
    path = root.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def inside(name: str, place: str) -> bool:
    return name == place or name.startswith(place + ".")


def room_of(name: str, table: dict[str, tuple[str, ...]]) -> str | None:
    return max((room for room in table if inside(name, room)), key=len, default=None)


def undrawn(root: Path) -> list[str]:
    """Imports between rooms that no arrow allows."""
    found = []
    for each in imports_of(root):
        here, there = room_of(each.module, KNOWS), room_of(each.target, KNOWS)
        if here is None or there is None or here == there:
            continue
        # "jackfield" knows its own phone; the phone does not know "jackfield".
        may = (*KNOWS[here], *(room for room in KNOWS if inside(room, here)))
        if not any(inside(each.target, place) for place in may):
            found.append(str(each))
    return found


def trespasses(root: Path) -> list[str]:
    """Imports of modules that are for others only."""
    return [
        str(each)
        for each in imports_of(root)
        for module, importers in ONLY_FOR.items()
        if inside(each.target, module) and each.module not in (module, *importers)
    ]


def outside_touched(root: Path) -> list[str]:
    """Imports of clocks and sockets where there must be none."""
    return [
        str(each)
        for each in imports_of(root)
        if each.target.partition(".")[0] in WITHOUT.get(room_of(each.module, WITHOUT) or "", ())
        and (each.module, each.target) not in ALLOWED
    ]


def test_every_import_follows_an_arrow() -> None:
    assert undrawn(ROOT) == []


def test_only_the_entry_point_builds_the_house() -> None:
    assert trespasses(ROOT) == []


def test_clocks_and_sockets_stay_at_the_edge() -> None:
    assert outside_touched(ROOT) == []


def test_every_exception_is_still_needed() -> None:
    seen = {(each.module, each.target) for each in imports_of(ROOT)}
    assert set(ALLOWED) - seen == set()


def test_every_room_is_there() -> None:
    assert [room for room in KNOWS if not (ROOT / room.replace(".", "/") / "__init__.py").is_file()] == []


# ---------------------------------------------------------------- the test's own test


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A small house without a fault."""
    for room in KNOWS:
        place = tmp_path / room.replace(".", "/")
        place.mkdir(parents=True, exist_ok=True)
        (place / "__init__.py").touch()
    (tmp_path / "pbx" / "api.py").touch()
    (tmp_path / "pbx" / "call.py").write_text("from sipcore import events\nimport media.messages\n")
    (tmp_path / "queues" / "line.py").write_text("from pbx import api\nimport asyncio\n")
    (tmp_path / "jackfield" / "wiring.py").write_text(
        "import pbx.call, queues.line\nfrom jackfield import phone\n"
    )
    (tmp_path / "jackfield" / "engine_process.py").write_text("from jackfield.wiring import build\n")
    return tmp_path


def test_a_house_without_a_fault_passes(planted: Path) -> None:
    assert undrawn(planted) + trespasses(planted) + outside_touched(planted) == []


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("sipcore/x.py", "from pbx.call import Call", "sipcore.x:1 imports pbx.call"),
        ("conf/x.py", "import sipcore", "conf.x:1 imports sipcore"),
        ("queues/x.py", "\nfrom pbx.call import Call", "queues.x:2 imports pbx.call"),
        ("queues/x.py", "from pbx import call", "queues.x:1 imports pbx.call"),
        ("queues/x.py", "from ivr import menu", "queues.x:1 imports ivr"),
        ("queues/x.py", "def f():\n    import recording.file", "queues.x:2 imports recording.file"),
        ("billing/x.py", "from conf import settings", "billing.x:1 imports conf"),
        (
            "jackfield/phone/x.py",
            "from sipcore.parser import parse",
            "jackfield.phone.x:1 imports sipcore.parser",
        ),
        ("jackfield/phone/x.py", "from jackfield import logs", "jackfield.phone.x:1 imports jackfield"),
        ("jackfield/phone/x.py", "from .. import wiring", "jackfield.phone.x:1 imports jackfield.wiring"),
    ],
)
def test_an_undrawn_arrow_is_found(planted: Path, file: str, text: str, told: str) -> None:
    (planted / file).write_text(text)
    assert undrawn(planted) == [told]


def test_a_second_builder_of_the_house_is_found(planted: Path) -> None:
    (planted / "jackfield" / "x.py").write_text("from jackfield import wiring")
    assert trespasses(planted) == ["jackfield.x:1 imports jackfield.wiring"]


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("sipcore/x.py", "from time import monotonic", ["sipcore.x:1 imports time"]),
        ("sipcore/x.py", "import asyncio.events", ["sipcore.x:1 imports asyncio.events"]),
        ("sipcore/aio.py", "import asyncio, socket, time", []),
        ("pbx/x.py", "if True:\n    import socket", ["pbx.x:2 imports socket"]),
        ("queues/x.py", "import time", ["queues.x:1 imports time"]),
    ],
)
def test_a_clock_or_socket_in_a_core_is_found(planted: Path, file: str, text: str, told: list[str]) -> None:
    (planted / file).write_text(text)
    assert outside_touched(planted) == told
