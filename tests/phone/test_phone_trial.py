"""`jackfield try`: what it says when all is well, and what it advises when something is not."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import random
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from jackfield.phone.telling import JsonTelling, Telling
from jackfield.phone.trial import Account, Trial, Verdict
from jackfield.trial import run_trial
from tests.memory_network import Address, MemoryNetwork, Weather
from tests.memory_phone import MemoryTransport
from tests.phone.corner_exchange import CornerExchange

SERVER = ("10.0.0.1", 5060)
ANNA, BORIS = Account("101", "anna's"), Account("102", "boris's")


class Town:
    """A corner exchange and room for the two phones of a trial."""

    def __init__(self) -> None:
        self.network = MemoryNetwork(asyncio.get_running_loop(), random.Random(1), Weather(delay_s=0.02))
        self.exchange = CornerExchange(SERVER, self._send, {"101": "anna's", "102": "boris's"})
        self.network.attach(SERVER, self._receive)
        self.page = io.StringIO()
        self._hosts = (f"10.0.0.{n}" for n in itertools.count(2))

    def _send(self, data: bytes, dst: Address) -> None:
        self.network.send(SERVER, dst, data)

    def _receive(self, data: bytes, src: Address, dst: Address) -> None:
        self.exchange.receive(data, src)

    async def tries(self, callee: Account = BORIS, telling: type[Telling] = Telling) -> Verdict:
        trial = Trial(SERVER, ANNA, callee, carrier=lambda: MemoryTransport(self.network, next(self._hosts)))
        told = telling(Console(file=self.page, width=200))
        verdict = await trial.run(told)
        told.end(verdict)
        return verdict


async def test_all_is_well_within_fifteen_seconds() -> None:
    town = Town()
    began = asyncio.get_running_loop().time()
    verdict = await town.tries()
    assert [check.saw for check in verdict.checks if not check.ok] == []
    assert verdict.ok
    assert asyncio.get_running_loop().time() - began < 12
    assert (verdict.heard["102"].digits, verdict.heard["101"].digits) == ("159#", "*0")
    assert verdict.heard["101"].delay_ms == pytest.approx(20, abs=2)
    assert [hz for hz, _ in verdict.heard["101"].tones][:1] == [660]
    assert town.exchange.bindings == {}


async def test_the_page_shows_marks_the_ladder_and_what_was_heard() -> None:
    town = Town()
    await town.tries()
    page = town.page.getvalue()
    assert page.count("✔") == 13
    assert "│── INVITE 102 ──────────▶│" in page
    assert "102 heard: 440 Hz at -13 dBov" in page
    assert "All is well." in page
    assert "anna's" not in page


async def test_json_has_one_object_a_line() -> None:
    town = Town()
    await town.tries(telling=JsonTelling)
    lines = [json.loads(line) for line in town.page.getvalue().splitlines()]
    kinds = [line["kind"] for line in lines]
    assert (kinds.count("check"), kinds.count("heard"), kinds[-1]) == (13, 2, "result")
    assert lines[-1]["ok"] is True
    invite = next(line for line in lines if line.get("first_line", "").startswith("INVITE"))
    assert (invite["from"], invite["to"]) == ("101", "server")


def nobody_is_there(town: Town) -> None:
    town.network.detach(SERVER)


def calls_are_refused(town: Town) -> None:
    town.exchange.answers["INVITE"] = 503


def registering_is_unknown(town: Town) -> None:
    town.exchange.answers["REGISTER"] = 404


def sound_is_blocked(town: Town) -> None:
    real = town.network.send

    def send(src: Address, dst: Address, data: bytes) -> None:
        if src[1] == 5060:
            real(src, dst, data)

    town.network.send = send  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("trouble", "failed", "advice"),
    [
        (nobody_is_there, "the caller registers", "Is Jackfield running there"),
        (registering_is_unknown, "the caller registers", "Does this extension exist"),
        (calls_are_refused, "the call rings", "it is overloaded"),
        (sound_is_blocked, "the callee hears the caller", "Is a firewall between"),
    ],
)
async def test_a_failed_check_says_what_to_look_at(
    trouble: Callable[[Town], None], failed: str, advice: str
) -> None:
    town = Town()
    trouble(town)
    verdict = await town.tries()
    assert not verdict.ok
    broken = next(check for check in verdict.checks if check.ok is False)
    assert broken.name == failed
    assert advice in broken.advice
    assert "not tried" in town.page.getvalue()
    assert not any(address[0] != SERVER[0] for address in town.network.attached)


async def test_a_wrong_password_is_named() -> None:
    verdict = await Town().tries(callee=Account("102", "mistyped"))
    assert [check.ok for check in verdict.checks[:3]] == [True, False, None]
    assert verdict.checks[1].saw == "403: the server refuses 102's password"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "demo-passwords.toml is not there; name two phones, --phone number:password"),
        (["--phone", "101:x"], "two phones are needed"),
        (["--phone", "1:a", "--phone", "2:b", "--server", "256.0.0.1:99"], "Nothing was tried"),
    ],
)
def test_what_the_command_lacks_it_says(
    args: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "jackfield.toml"
    file.write_text("")
    assert run_trial(args, config=file) == 1
    assert said in capsys.readouterr().out


@pytest.mark.slow
def test_over_real_sockets_and_nobody_there_it_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        assert run_trial(["--server", f"127.0.0.1:{port}", "--phone", "1:a", "--phone", "2:b"]) == 1
    assert "✘ the caller registers: nobody answers" in capsys.readouterr().out
