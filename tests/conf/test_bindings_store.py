"""Registrations on disk: the last word per key holds, a killed process loses next to nothing."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.bindings_store import BindingsStore
from conf.faults import Unavailable

ANNA, BORIS = (1, "101"), (1, "102")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "registrations.db"


@pytest.fixture
def store(file: Path) -> Iterator[BindingsStore]:
    store = BindingsStore(file)
    yield store
    store.close()


def kept(file: Path) -> dict[tuple[int, str], bytes]:
    store = BindingsStore(file)
    found = store.load_all()
    store.close()
    return found


def test_what_was_saved_is_there_for_the_next_process(store: BindingsStore, file: Path) -> None:
    store.save(ANNA, b"anna's phone")
    store.save(BORIS, b"boris's phone")
    store.close()
    assert kept(file) == {ANNA: b"anna's phone", BORIS: b"boris's phone"}


def test_the_last_word_about_a_key_holds(store: BindingsStore, file: Path) -> None:
    store.save(ANNA, b"old")
    store.save(BORIS, b"gone")
    store.flush()
    store.save(ANNA, b"older")
    store.save(ANNA, b"new")
    store.delete(BORIS)
    store.close()
    assert kept(file) == {ANNA: b"new"}


def test_a_key_deleted_and_saved_again_is_there(store: BindingsStore, file: Path) -> None:
    store.delete(ANNA)
    store.save(ANNA, b"back")
    store.close()
    assert kept(file) == {ANNA: b"back"}


def test_flush_returns_only_when_all_is_committed(store: BindingsStore) -> None:
    for number in range(12_000):  # more than two batches
        store.save((7, str(number)), b"x")
    store.flush()
    assert len(store.load_all()) == 12_000


def test_two_tenants_with_one_number_stay_apart(store: BindingsStore) -> None:
    store.save((1, "101"), b"one")
    store.save((2, "101"), b"two")
    store.flush()
    assert store.load_all() == {(1, "101"): b"one", (2, "101"): b"two"}


def test_registrations_flushed_before_sigkill_are_all_there(file: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from conf.bindings_store import BindingsStore\n"
        "store = BindingsStore(Path(sys.argv[1]))\n"
        "for n in range(1000): store.save((1, str(n)), b'phone')\n"
        "store.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    died = subprocess.run([sys.executable, "-c", script, str(file)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert len(kept(file)) == 1000


def test_a_damaged_file_is_put_aside(file: Path) -> None:
    file.write_bytes(b"this was never a database" * 100)
    assert kept(file) == {}
    assert file.with_suffix(".damaged").read_bytes().startswith(b"this was never")


def test_a_directory_that_is_not_there_is_said_to_be_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"registrations\.db"):
        BindingsStore(tmp_path / "nowhere" / "registrations.db")


def test_a_full_queue_is_refused_but_known_keys_still_change(file: Path) -> None:
    store = BindingsStore(file, limit=2)
    locked = sqlite3.connect(file, isolation_level=None)
    locked.execute("BEGIN EXCLUSIVE")  # the disk, as it were, hangs

    def register_ten() -> None:
        for number in range(200, 210):
            store.save((1, str(number)), b"x")

    with pytest.raises(Unavailable, match="wait to be written"):
        register_ten()
    store.save((1, "200"), b"changed")
    locked.execute("ROLLBACK")
    locked.close()
    store.close()
    assert kept(file)[(1, "200")] == b"changed"
