"""Before anything is built: one line that says what is missing, and nothing when all is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def program(place: Path, name: str, answer: str) -> None:
    file = place / name
    file.write_text(f"#!/bin/sh\necho '{answer}'\n")
    file.chmod(0o755)


@pytest.fixture
def toolbox(tmp_path: Path) -> Path:
    """A PATH with the plain utilities and good tools, which a test can spoil."""
    for name in ("sh", "sed", "sort", "head", "cut"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    program(tmp_path, "rustc", "rustc 1.95.0 (f2d3ce0bd 2026-03-21)")
    program(tmp_path, "cargo", "cargo 1.95.0")
    program(tmp_path, "cc", "cc 12")
    (tmp_path / "python3").symlink_to(sys.executable)
    return tmp_path


def check(toolbox: Path) -> tuple[int, str]:
    done = subprocess.run(
        ["/bin/sh", str(ROOT / "scripts" / "check-tools"), "python3", str(ROOT / "media" / "Cargo.toml")],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": str(toolbox)},
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_with_all_tools_there_is_nothing_to_say(toolbox: Path) -> None:
    assert check(toolbox) == (0, "")


@pytest.mark.parametrize(
    ("tool", "answer", "told"),
    [
        ("rustc", "rustc 1.63.0", "(rustc is 1.63.0; rustup update, or https://rustup.rs)"),
        ("rustc", "rustc 1.9.0", "rustc is 1.9.0"),
        ("python3", "3.9", "(python3 is 3.9; try make PYTHON=python3.12)"),
    ],
)
def test_a_tool_that_is_too_old_is_named_with_its_version(
    toolbox: Path, tool: str, answer: str, told: str
) -> None:
    (toolbox / tool).unlink()
    program(toolbox, tool, answer)
    code, said = check(toolbox)
    assert (code, said.count("\n")) == (1, 1)
    assert told in said


@pytest.mark.parametrize(
    ("tool", "told"),
    [
        ("rustc", "with cargo (https://rustup.rs)"),
        ("cargo", "with cargo (https://rustup.rs)"),
        ("python3", "apt-get install python3 python3-venv"),
        ("cc", "a C compiler to link with"),
    ],
)
def test_a_tool_that_is_missing_is_named_with_its_source(toolbox: Path, tool: str, told: str) -> None:
    (toolbox / tool).unlink()
    code, said = check(toolbox)
    assert (code, said.count("\n")) == (1, 1)
    assert told in said


def test_all_that_is_missing_is_said_at_once(toolbox: Path) -> None:
    for tool in ("rustc", "python3", "cc"):
        (toolbox / tool).unlink()
    assert check(toolbox)[1].endswith("apt-get install python3 python3-venv build-essential\n")
