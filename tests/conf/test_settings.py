"""The settings file and the environment: what holds, and what an operator's slip is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.faults import SettingsError
from conf.load import explain, load, load_settings
from conf.settings import Settings
from conf.values import Listen, Listener, PortRange


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "jackfield.toml"
    file.write_text(text)
    return file


def test_without_any_file_all_defaults_hold(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.sip.t1_ms == 500
    assert settings.media.ports == PortRange(20000, 29999)
    assert settings.database_url == f"sqlite+aiosqlite:///{tmp_path}/var/jackfield.db"


def test_the_default_listens_on_every_address_by_udp_and_tcp() -> None:
    assert Settings().sip.listeners == (
        Listener("UDP", "0.0.0.0", 5060),
        Listener("UDP", "::", 5060, optional=True),
        Listener("TCP", "0.0.0.0", 5060),
        Listener("TCP", "::", 5060, optional=True),
    )


def test_a_file_in_the_working_directory_is_found(tmp_path: Path) -> None:
    written(tmp_path, "[sip]\nt1_ms = 250\n")
    assert load_settings().sip.t1_ms == 250


def test_a_file_named_by_the_environment_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.toml").write_text("[sip]\nt1_ms = 300\n")
    monkeypatch.setenv("JACKFIELD_CONFIG", "other.toml")
    assert load_settings().sip.t1_ms == 300


def test_a_file_named_on_the_command_line_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.toml").write_text("[sip]\nt1_ms = 300\n")
    monkeypatch.setenv("JACKFIELD_CONFIG", "other.toml")
    assert load_settings(written(tmp_path, "[sip]\nt1_ms = 200\n")).sip.t1_ms == 200


def test_the_environment_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKFIELD_SIP__T1_MS", "100")
    monkeypatch.setenv("JACKFIELD_SIP__LISTEN", "udp:127.0.0.1:5080, tls:[::1]")
    settings = load_settings(written(tmp_path, '[sip]\nt1_ms = 250\nserver_name = "Field"\n'))
    assert settings.sip.t1_ms == 100
    assert settings.sip.server_name == "Field"
    assert settings.sip.listen == (Listen("udp", "127.0.0.1", 5080), Listen("tls", "::1", 5071))


def test_a_relative_var_starts_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "my.toml").write_text('[paths]\nvar = "state"\n')
    assert load_settings(Path("etc/my.toml")).paths.var == tmp_path / "etc" / "state"


def test_postgresql_gets_its_asynchronous_driver(tmp_path: Path) -> None:
    file = written(tmp_path, '[database]\nurl = "postgresql://u:p@db/x"\n')
    assert load_settings(file).database_url == "postgresql+asyncpg://u:p@db/x"


@pytest.mark.parametrize(
    ("text", "where", "problem", "remedy"),
    [
        ("[sip]\n\nt1ms = 5", "line 3, sip.t1ms", 'no setting is called "t1ms"', "Did you mean t1_ms?"),
        ("[spi]\nt1_ms = 5", "line 1, spi", 'no setting is called "spi"', "Did you mean sip?"),
        ("zebra = 1", "line 1, zebra", 'no setting is called "zebra"', "`jackfield settings --explain`"),
        ("[sip]\nt1_ms = 5", "line 2, sip.t1_ms", "greater than or equal to 50", "The default is 500"),
        ("sip.t1_ms = 5", "line 1, sip.t1_ms", "greater than or equal to 50", "The default is 500"),
        ('[sip]\nlisten = ["upd:*"]', "line 2, sip.listen", "must begin with one of udp", "is udp:*:5060"),
        ('[sip]\nlisten = ["udp:nonsense"]', "line 2", "nor an IP address", "The default"),
        ('[sip]\nlisten = ["udp:*:70000"]', "line 2", '"70000" is not a port', "The default"),
        ("[sip]\nlisten = []", "line 2", "at least 1 item", "The default"),
        ('[sip]\ntls_key = "x.pem"', "line 1, sip", "must be set together", "--explain"),
        ('[media]\nports = "30000"', "line 2, media.ports", "not a range of ports", "20000-29999"),
        ('[media]\nports = "9-1"', "line 2, media.ports", "not a rising range", "20000-29999"),
        ('[log]\nlevel = "loud"', "line 2, log.level", "'loud' will not do", "The default is info"),
        ('[database]\nurl = "mysql://x"', "line 2, database.url", "will not do", "postgresql://"),
        (
            '[sip]\ntrusted_networks = ["10.0.0.300"]',
            "line 2",
            "is not an IP address",
            "The default is empty",
        ),
        ("[registrar]\nmin_expires_s = 4000", "line 1, registrar", "must rise in that order", "--explain"),
        ("[sip\nt1_ms = 5", "jackfield.toml", "is not valid TOML", "quotes"),
        ("sip = 3", "line 1, sip", "'3' will not do", "--explain"),
    ],
)
def test_a_slip_in_the_file_is_told_with_its_place_and_remedy(
    tmp_path: Path, text: str, where: str, problem: str, remedy: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(written(tmp_path, text))
    assert where in caught.value.where
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "value", "problem", "remedy"),
    [
        ("JACKFIELD_SIP__T1MS", "5", "no setting is called", "Did you mean t1_ms?"),
        ("JACKFIELD_SPI__T1_MS", "5", "no setting has this name", "Did you mean JACKFIELD_SIP__T1_MS?"),
        ("JACKFIELD_SIP", "5", "no setting has this name", "?"),
        ("JACKFIELD_SIP__T1_MS", "soon", "'soon' will not do", "The default is 500"),
        ("JACKFIELD_SECURITY__ALGORITHMS", "MD5,ROT13", "'ROT13' will not do", "The default is SHA-256,MD5"),
    ],
)
def test_a_slip_in_the_environment_is_told_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, problem: str, remedy: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert name in caught.value.where
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_a_file_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"--config: there is no file nowhere\.toml"):
        load_settings(Path("nowhere.toml"))
    monkeypatch.setenv("JACKFIELD_CONFIG", "gone.toml")
    with pytest.raises(SettingsError, match="JACKFIELD_CONFIG: there is no file"):
        load_settings()


def test_explain_says_where_each_value_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKFIELD_SIP__T1_MS", "100")
    file = written(tmp_path, '[sip]\nt2_ms = 2000\n[database]\nurl = "postgresql://jack:secret@db/x"\n')
    rows = {row.key: row for row in explain(load(file))}
    assert (rows["sip.t1_ms"].value, rows["sip.t1_ms"].source) == ("100", "environment")
    assert (rows["sip.t2_ms"].value, rows["sip.t2_ms"].source) == ("2000", "file")
    assert (rows["sip.t4_ms"].value, rows["sip.t4_ms"].source) == ("5000", "default")
    assert rows["database.url"].value == "postgresql://jack:***@db/x"


def test_every_setting_has_a_meaning() -> None:
    assert [row.key for row in explain(load()) if len(row.meaning) < 20] == []


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().sip.t1_ms = 100  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "streams"), [("20000-29999", 5000), ("20001-20004", 1), ("20000-20001", 1), ("20000-20002", 1)]
)
def test_a_port_range_knows_how_many_streams_fit(text: str, streams: int) -> None:
    assert PortRange.parse(text).streams == streams
