"""Killed in mid-call: what must outlive the engine, and what must outlive everything."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sipp_ladder import Ladder
from softphones import Softphones, hears, listen
from wire_accounts import MD5_ONLY, ORDINARY, fresh_phone
from wire_exchange import Exchange
from wire_loopback import SERVER_HOST
from wire_server import REALM, Server
from wire_waiting import until

pytestmark = [pytest.mark.wire, pytest.mark.slow]

CALLS = 50
MANY = ("-m", str(CALLS), "-r", str(CALLS))
HOLD_MS = 12_000
ENGINE = "jackfield.engine_process"


@pytest.fixture(scope="module")
def doomed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for these tests alone: it gets killed, and must end in order all the same."""
    server = Server(tmp_path_factory.mktemp("doomed"), SERVER_HOST, settings=[MD5_ONLY])
    server.add_tenant("house", REALM, "--default")
    server.add_accounts("house", ORDINARY)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def exchange(doomed: Server, tmp_path: Path) -> Iterator[Exchange]:
    exchange = Exchange(doomed.hostport, tmp_path / "sipp")
    yield exchange
    exchange.close()


@pytest.fixture
def phones(doomed: Server, tmp_path: Path) -> Iterator[Softphones]:
    phones = Softphones(doomed, tmp_path / "baresip")
    yield phones
    phones.close()


def assert_databases_are_sound(server: Server) -> None:
    databases = sorted((server.directory / "var").glob("*.db"))
    assert len(databases) >= 2
    for file in databases:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)], file


def test_calls_and_sound_go_on_when_the_engine_is_killed(
    doomed: Server, exchange: Exchange, phones: Softphones
) -> None:
    alice, bob, waiting = fresh_phone(), fresh_phone(), fresh_phone()
    exchange.register(bob, waiting)
    callee = exchange.wait_for_call(Ladder(bob).is_called().answer().hung_up(), *MANY)
    caller = exchange.start(Ladder(alice).invite(bob.number).connected().pause(HOLD_MS).bye(), *MANY)
    until(lambda: len(callee.trace.received("ACK")) == CALLS, 10, f"{CALLS} calls are up")
    speaker, speakers = phones.make(700)
    listener, _ = phones.make(1000)
    listener.command("dial", speakers.number)
    hears(listener, speaker)
    hears(speaker, listener)

    killed_at_s = listener.ear.seconds
    before = doomed.part(ENGINE)
    before.kill()
    until(lambda: not before.is_running(), 5, "the engine is dead")
    doomed.wait_until_it_answers()
    assert doomed.part(ENGINE).pid != before.pid

    second = exchange.wait_for_call(Ladder(waiting).is_called().answer().hung_up())
    exchange.run(Ladder(fresh_phone()).invite(waiting.number).connected().bye())
    second.ends_well()
    listen(listener, 0.5)
    heard = listener.ear.heard()
    assert heard.part(killed_at_s - 0.5, heard.seconds).longest_gap_s(700) <= 0.06
    listener.command("hangup")
    speaker.sees("CALL_CLOSED")
    caller.ends_well(within_s=40)
    callee.ends_well(within_s=10)
    assert_databases_are_sound(doomed)


def test_registrations_outlive_a_power_failure(doomed: Server, exchange: Exchange) -> None:
    """Everything is killed with 50 calls up; what comes back knows the phones and takes calls at once."""
    alice, bob, waiting = fresh_phone(), fresh_phone(), fresh_phone()
    exchange.register(bob, waiting)
    callee = exchange.wait_for_call(Ladder(bob).is_called().answer().hung_up(), *MANY)
    exchange.start(Ladder(alice).invite(bob.number).connected().pause(60_000).bye(), *MANY)
    until(lambda: len(callee.trace.received("ACK")) == CALLS, 10, f"{CALLS} calls are up")

    doomed.kill_all()
    assert_databases_are_sound(doomed)
    doomed.start()

    second = exchange.wait_for_call(Ladder(waiting).is_called().answer().hung_up())
    exchange.run(Ladder(fresh_phone()).invite(waiting.number).connected().bye())
    second.ends_well()
    assert_databases_are_sound(doomed)
