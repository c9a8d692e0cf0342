"""What holds before any process starts: one server in a directory at a time, and faults in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conf.faults import SettingsError
from conf.settings import Paths, Settings
from jackfield.supervisor import claim, supervise

HOLDER = """
import sys
from pathlib import Path
from jackfield.supervisor import claim
claim(Path(sys.argv[1]))
print("mine", flush=True)
sys.stdin.read()
"""


def test_a_directory_has_one_server_at_a_time(tmp_path: Path) -> None:
    first = claim(tmp_path / "var")
    with pytest.raises(SettingsError, match="another Jackfield is running"):
        claim(tmp_path / "var")
    os.close(first)
    os.close(claim(tmp_path / "var"))


def test_a_server_that_was_killed_leaves_its_directory_free(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder.stdin, holder.stdout:
        assert holder.stdout.readline() == b"mine\n"
        with pytest.raises(SettingsError):
            claim(tmp_path)
        holder.kill()
        holder.wait()
    os.close(claim(tmp_path))


def test_a_second_server_leaves_the_first_alone_and_says_why(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = claim(tmp_path)
    assert supervise(Settings(paths=Paths(var=tmp_path)), None) == 2
    told = capfd.readouterr().err
    assert told == (
        f"jackfield: paths.var: another Jackfield is running in {tmp_path}. "
        "Stop it, or set paths.var for this one.\n"
    )
    assert [file.name for file in tmp_path.iterdir()] == ["running"]
    os.close(first)


def test_a_directory_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"cannot be written to \(Not a directory\)"):
        claim(tmp_path / "file" / "var")
