"""The command line as people and programs use it: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from jackfield.cli import main


class Ran(msgspec.Struct, frozen=True):
    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, object]]:
        """What --json printed: one object a line."""
        return [json.loads(line) for line in self.out.splitlines()]


Jackfield = Callable[[str], Ran]


@pytest.fixture
def jackfield(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Jackfield:
    """Runs `jackfield ...` in an empty directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JACKFIELD_CONFIG", raising=False)

    def run(arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["jackfield", *arguments.split()])
        capsys.readouterr()
        try:
            main()
            code: object = 0
        except SystemExit as ended:
            code = ended.code or 0
        out, err = capsys.readouterr()
        assert isinstance(code, int)
        assert "Traceback" not in err
        return Ran(code, out, err)

    return run


def test_help_names_the_exit_codes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from jackfield.cli import main; main()", "--help"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "Exit codes: 0 done, 1 failed, 2 wrong use" in done.stdout


def test_help_imports_no_heavy_library() -> None:
    script = "import sys, jackfield.cli.app; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["sqlalchemy", "alembic", "pydantic", "cryptography", "asyncio", "rich.console", "msgspec"]
    done = subprocess.run([sys.executable, "-c", script, *heavy], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_the_demonstration_is_there_from_the_first_command(jackfield: Jackfield) -> None:
    listed = jackfield("extension list --json")
    assert listed.code == 0
    assert [(row["tenant"], row["number"]) for row in listed.objects] == [
        ("demo", "101"),
        ("demo", "102"),
        ("demo", "103"),
        ("demo", "104"),
    ]


def test_a_table_for_people(jackfield: Jackfield) -> None:
    assert jackfield("service list").out.splitlines() == [
        "tenant   number   app    name",
        "------   ------   ----   ---------",
        "demo     *41      tone   Tone test",
        "demo     *43      echo   Echo test",
    ]


def test_a_tenant_comes_changes_and_goes(jackfield: Jackfield) -> None:
    assert jackfield("tenant add acme sip.acme.example --domain acme.example --max-calls 7").code == 0
    acme = jackfield("tenant list --json").objects[-1]
    assert acme == {
        "name": "acme",
        "realm": "sip.acme.example",
        "domains": ["acme.example"],
        "default": False,
        "extensions": 0,
        "max_calls": 7,
    }
    assert jackfield("tenant change acme --no-domains --default").code == 0
    changed = jackfield("tenant list --json").objects[-1]
    assert (changed["domains"], changed["default"], changed["max_calls"]) == ([], True, 7)
    assert jackfield("tenant remove acme").code == 0
    assert [row["name"] for row in jackfield("tenant list --json").objects] == ["demo"]


def test_an_extension_comes_changes_and_goes(jackfield: Jackfield) -> None:
    added = jackfield("extension add 201 --name Otto --ring-s 30")
    assert added.code == 0
    assert len(added.out.split()[-1]) == 16, "the password that was made is told"
    shown = jackfield("extension show 201 --json").objects
    assert (shown[0]["name"], shown[0]["ring_s"], shown[0]["realm"]) == ("Otto", 30, "jackfield.local")
    assert jackfield("extension change 201 --no-enabled --contact sip:otto@192.0.2.9").code == 0
    changed = jackfield("extension show 201 --json").objects[0]
    assert (changed["enabled"], changed["contact"], changed["name"]) == (False, "sip:otto@192.0.2.9", "Otto")
    assert (
        jackfield("extension set-password 201 --password correct-horse").out == "Password of 201 changed.\n"
    )
    assert jackfield("extension remove 201").code == 0
    assert jackfield("extension show 201").code == 2


def test_a_service_and_a_trunk_come_and_go(jackfield: Jackfield) -> None:
    assert jackfield("service add 600 echo --name Again").code == 0
    assert jackfield("trunk add carrier 192.0.2.0/28 2001:db8::1 --no-trusted-identity").code == 0
    assert jackfield("service list --json").objects[-1]["app"] == "echo"
    [trunk] = jackfield("trunk list --json").objects
    assert trunk["networks"] == ["192.0.2.0/28", "2001:db8::1/128"]
    assert trunk["trusted_identity"] is False
    assert trunk["srtp"] == "off"
    assert jackfield("trunk change carrier --srtp required --max-calls 3").code == 0
    [trunk] = jackfield("trunk list --json").objects
    assert (trunk["srtp"], trunk["max_calls"], trunk["trusted_identity"]) == ("required", 3, False)
    assert jackfield("service remove 600").code == 0
    assert jackfield("trunk remove carrier").code == 0
    assert jackfield("trunk list --json").objects == []


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ("frobnicate", 2, "No such command"),
        ("extension add", 2, "Missing argument"),
        ("extension add 101", 2, "101 is taken by an extension"),
        ("extension add 201 --tenant nobody", 2, "tenant nobody: there is none"),
        ("extension add 201 --password short", 2, "8 to 128"),
        ("extension list --tenant nobody", 2, "`jackfield tenant list` shows"),
        ("service add *44 juggle", 2, "Choose one of: echo, tone"),
        ("trunk add x example.com", 2, "is not an IP address"),
        ("extension change 101 --srtp maybe", 2, "Choose one of: off, best-effort, required"),
        ("tenant remove demo", 2, "--with-content"),
        ("--config nowhere.toml settings", 2, "there is no file nowhere.toml"),
        ("extension import nowhere.csv", 2, "nowhere.csv"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    jackfield: Jackfield, arguments: str, code: int, told: str
) -> None:
    ran = jackfield(arguments)
    assert ran.code == code
    assert told in ran.err


def test_a_database_that_is_away_ends_with_1(jackfield: Jackfield, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKFIELD_DATABASE__URL", "postgresql://jack:secret@127.0.0.1:1/field")
    ran = jackfield("tenant list")
    assert ran.code == 1
    assert "unavailable" in ran.err
    assert "secret" not in ran.err


def test_settings_show_where_values_come_from(jackfield: Jackfield, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("jackfield.toml").write_text("[sip]\nt1_ms = 250\n")
    monkeypatch.setenv("JACKFIELD_SIP__T2_MS", "2000")
    rows = {row["key"]: row for row in jackfield("settings --json").objects}
    assert (rows["sip.t1_ms"]["value"], rows["sip.t1_ms"]["source"]) == ("250", "file")
    assert (rows["sip.t2_ms"]["value"], rows["sip.t2_ms"]["source"]) == ("2000", "environment")
    explained = jackfield("settings --explain").out
    assert "sip.t1_ms = 250    from: file, default: 500" in explained
    assert "environment: JACKFIELD_SIP__T1_MS" in explained


def test_check_config_says_what_would_be_used(jackfield: Jackfield, tmp_path: Path) -> None:
    Path("jackfield.toml").write_text('[sip]\nlisten = ["udp:127.0.0.1:5080", "tls:127.0.0.1"]\n')
    ran = jackfield("check-config")
    assert ran.code == 0
    assert "listens on   UDP 127.0.0.1 port 5080" in ran.out
    assert f"certificate  {tmp_path / 'var' / 'tls-certificate.pem'}" in ran.out
    assert ran.out.endswith("All is well.\n")


def test_the_database_goes_down_and_up(jackfield: Jackfield) -> None:
    assert jackfield("db upgrade").code == 0
    [info] = jackfield("db info --json").objects
    assert info["step"] == info["newest"]
    assert jackfield("db downgrade base --yes").code == 0
    assert jackfield("db info --json").objects[0]["step"] is None


def test_history_tells_who_typed(jackfield: Jackfield) -> None:
    jackfield("tenant add acme sip.acme.example")
    latest = jackfield("db history --limit 1 --json").objects[0]
    assert (latest["action"], latest["kind"], latest["name"]) == ("add", "tenant", "acme")
    assert str(latest["by"]).startswith("cli")


def test_a_new_key_leaves_everything_readable(jackfield: Jackfield) -> None:
    before = jackfield("extension list").out
    assert jackfield("db rotate-key").out.startswith("4 secrets are under a new key")
    assert jackfield("extension list").out == before


CSV = """\
number,name,password,ring_s
301,"Zoë, Ltd",correct horse,30
302,Two,,
"""
BAD_CSV = (
    CSV
    + """\
303,Short,short,
301,Twice,correct horse,
304,Slow,correct horse,soon
*44,Star,correct horse,
305
"""
)


def test_an_import_adds_all_and_writes_down_the_passwords_it_made(jackfield: Jackfield) -> None:
    Path("people.csv").write_text(CSV)
    assert jackfield("extension import people.csv --passwords-to made.csv").out == "2 extensions added.\n"
    assert jackfield("extension show 301 --json").objects[0]["name"] == "Zoë, Ltd"
    header, made = Path("made.csv").read_text().splitlines()
    assert (header, made.partition(",")[0]) == ("number,password", "302")
    assert stat.S_IMODE(Path("made.csv").stat().st_mode) == 0o600


def test_an_import_never_makes_passwords_that_nobody_would_know(jackfield: Jackfield) -> None:
    Path("people.csv").write_text(CSV)
    ran = jackfield("extension import people.csv")
    assert ran.code == 2
    assert "1 lines have no password" in ran.err
    assert jackfield("extension show 301").code == 2


@pytest.mark.parametrize("options", ["", "--dry-run"])
def test_an_import_names_each_bad_line_and_changes_nothing(jackfield: Jackfield, options: str) -> None:
    Path("people.csv").write_text(BAD_CSV)
    ran = jackfield(f"extension import people.csv {options}")
    assert ran.code == 2
    told = [line.strip() for line in ran.err.splitlines() if line.startswith("  line")]
    assert [line.partition(":")[0] for line in told] == ["line 4", "line 5", "line 6", "line 7", "line 8"]
    assert "taken by an extension" in told[1]
    assert len(jackfield("extension list --json").objects) == 4


def test_a_dry_run_of_a_good_file_changes_nothing(jackfield: Jackfield) -> None:
    Path("people.csv").write_text(CSV)
    assert jackfield("extension import people.csv --dry-run").out.startswith("2 extensions would be added")
    assert len(jackfield("extension list --json").objects) == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name\nBob\n", 'the column "number" is missing'),
        ("number,colour\n1,red\n", 'there is no column "colour"'),
        ("", 'the column "number" is missing'),
        ('number\n"1\n', "cannot be read as CSV"),
    ],
)
def test_a_file_that_is_no_list_of_extensions_is_told(jackfield: Jackfield, text: str, told: str) -> None:
    Path("people.csv").write_text(text)
    ran = jackfield("extension import people.csv")
    assert ran.code == 2
    assert told in ran.err


def test_a_shell_can_complete_what_is_typed() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv = ['jackfield']; from jackfield.cli import main; main()",
        ],
        check=False,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "_JACKFIELD_COMPLETE": "complete_bash",
            "COMP_WORDS": "jackfield ext",
            "COMP_CWORD": "1",
        },
    )
    assert done.stdout.split() == ["extension"]


# ---------------------------------------------------------------- prompts


def test_a_prompt_is_prepared_with_its_forms(jackfield: Jackfield, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "hello.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
    ran = jackfield("prompt prepare hello.wav --to ready")
    assert (ran.code, ran.out) == (0, "1 prompts in ready\n")
    assert sorted(path.name for path in Path("ready").iterdir()) == [
        "hello.g722",
        "hello.pcma",
        "hello.pcmu",
        "hello.wav",
    ]


def test_what_is_no_sound_is_no_prompt(jackfield: Jackfield, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear sirs")
    ran = jackfield("prompt prepare letter.txt --to ready")
    assert ran.code == 2
    assert "letter.txt: neither WAV nor Ogg/Opus" in ran.err
    assert "Traceback" not in ran.err
