"""The media process as it runs: real sockets on loopback, its control socket, its end."""

import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from media_house import HOST, Engine, MediaProcess, Phone

from media.client import FrameReader, pack
from media.messages import (
    VERSION,
    AskMemos,
    ClosePort,
    DetectTones,
    Hear,
    Hello,
    KeepMemo,
    Memos,
    Negotiated,
    OpenPlayer,
    OpenPort,
    Payload,
    Play,
    PlayTone,
    PortFailed,
    Refused,
    Report,
    Started,
    Unhear,
    Welcome,
)

FIRST_PORT = 30000


@pytest.fixture
def media(tmp_path: Path) -> Iterator[MediaProcess]:
    process = MediaProcess(tmp_path, FIRST_PORT)
    yield process
    assert process.stop() == 0
    assert not Path(process.path).exists()


@pytest.fixture
def engine(media: MediaProcess) -> Engine:
    return Engine(media)


def call(engine: Engine, first: int, call_id: int = 1) -> tuple[Phone, Phone]:
    """Two phones that hear each other, on ports `first` and `first` + 1."""
    alice, bob = engine.opens(first, call_id), engine.opens(first + 1, call_id)
    engine.joins(first, first + 1)
    engine.settle(first)
    return alice, bob


def test_a_hundred_ports_relay(engine):
    calls = [call(engine, 2 * n, n) for n in range(50)]
    for n, (alice, bob) in enumerate(calls):
        for turn in range(4):
            alice.says(b"alice %d %d" % (n, turn))
            bob.says(b"bob %d %d" % (n, turn))
    for n, (alice, bob) in enumerate(calls):
        assert [bob.hears() for _ in range(4)] == [b"alice %d %d" % (n, turn) for turn in range(4)]
        assert [alice.hears() for _ in range(4)] == [b"bob %d %d" % (n, turn) for turn in range(4)]


def test_a_burst_at_the_start_keeps_its_order(media, engine):
    """Its first packet makes media connect a second socket, while the others wait in the first one."""
    alice, bob = call(engine, 0)
    media.process.send_signal(signal.SIGSTOP)
    for n in range(60):
        alice.says(b"%d" % n)
    media.process.send_signal(signal.SIGCONT)
    first = bob.hears()
    for n in range(60, 100):
        alice.says(b"%d" % n)
    assert [first] + [bob.hears() for _ in range(99)] == [b"%d" % n for n in range(100)]


def test_events_come_with_the_monotonic_clock(engine):
    alice, _ = call(engine, 0)
    alice.says(b"x")
    started = engine.hears(Started)
    assert (started.remote_host, started.remote_port) == alice.address
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert started.clock_s == pytest.approx(uptime, abs=5)


def test_strangers_are_refused_and_counted_before_and_after_the_peer_is_known(engine):
    alice, bob = call(engine, 0)
    stranger = engine.media.udp()
    alice.says(b"injected", source=stranger)
    alice.says(b"sound")
    assert bob.hears() == b"sound"
    for _ in range(5):
        alice.says(b"injected", source=stranger)
        alice.says(b"sound")
        assert bob.hears() == b"sound"
    assert engine.settle(0).refused_packets == 6


def test_a_peer_that_moves_by_negotiation_is_heard_and_answered(engine):
    alice, bob = call(engine, 0)
    alice.says(b"one")
    assert bob.hears() == b"one"
    moved = Phone(engine.media, alice.local_port)
    engine.negotiates(0, moved)
    engine.settle(0)
    moved.says(b"two")
    assert bob.hears() == b"two"
    bob.says(b"three")
    assert moved.hears() == b"three"
    alice.says(b"stale")
    assert bob.hears_nothing()


def test_a_tone_keeps_its_time(engine):
    alice, _ = call(engine, 0)
    engine.tell(Unhear(0, 1), OpenPlayer(9, 1), Play(9, 1, (PlayTone((1000.0,), -10.0),)), Hear(0, 9))
    first = alice.socket.recv(2048)
    for _ in range(24):
        last = alice.socket.recv(2048)
    assert (int.from_bytes(last[4:8], "big") - int.from_bytes(first[4:8], "big")) % 2**32 == 24 * 160


def test_sound_outlives_the_engine(media):
    engine = Engine(media)
    alice, bob = call(engine, 0)
    engine.tell(KeepMemo(1, b"dialog state"))
    engine.settle(0)
    engine.hang_up()
    alice.says(b"still here")
    assert bob.hears() == b"still here"
    successor = Engine(media)
    welcome = successor.welcome
    assert welcome == Welcome(VERSION, FIRST_PORT, FIRST_PORT + 999, 1, 2, welcome.fingerprint)
    assert len(welcome.fingerprint) == len("sha-256 ") + 95
    successor.tell(AskMemos())
    ports = ((0, 1, HOST, FIRST_PORT), (1, 1, HOST, FIRST_PORT + 2))
    assert successor.hears(Memos) == Memos(((1, b"dialog state"),), ports)
    bob.says(b"here too")
    assert alice.hears() == b"here too"


def test_without_an_engine_everything_closes_in_time(media):
    engine = Engine(media, orphan_s=0.3)
    files = media.open_files
    alice, bob = call(engine, 0)
    alice.says(b"x")
    assert bob.hears() == b"x"
    goodbye = media.udp(bob.address[1] + 1)
    engine.hang_up()
    assert goodbye.recv(2048)[-8:-4] == b"\x81\xcb\x00\x01", "RTCP BYE"
    successor = Engine(media)
    assert successor.welcome.open_ports == 0
    successor.tell(AskMemos())
    assert successor.hears(Memos) == Memos((), ())
    assert media.open_files == files


def test_a_new_engine_replaces_the_old_one(media):
    first = Engine(media)
    call(first, 0)
    second = Engine(media)
    assert first.socket.recv(65536) == b""
    assert second.settle(0).received_packets == 0


def test_another_version_is_told_ours_and_let_go(media):
    connection = media.connect()
    connection.sendall(pack([Hello(VERSION + 1, 1.0), AskMemos()]))
    data = b""
    while received := connection.recv(65536):
        data += received
    welcome, refused = FrameReader().feed(data)
    assert isinstance(welcome, Welcome)
    assert welcome.version == VERSION
    assert refused == Refused(10, "Hello comes first")


def test_files_are_given_back(media, engine):
    call(engine, 900)
    for phone_port in (900, 901):
        engine.tell(ClosePort(phone_port))
    engine.hears(Report)
    engine.hears(Report)
    start = media.open_files
    for round_ in range(20):
        ports = range(1000 + 100 * round_, 1100 + 100 * round_)
        engine.tell(*(OpenPort(port, port, HOST, FIRST_PORT + 2 * (port % 100)) for port in ports))
        engine.tell(*(ClosePort(port) for port in ports))
        reports = [engine.hears(Report) for _ in ports]
        assert [report.port for report in reports] == list(ports)
        assert all(report.closed for report in reports)
    assert media.open_files == start


def test_ten_thousand_calls_leave_nothing_behind(media, engine):
    """Each with a mix, a player, digits looked for, and something said: files and memory come back."""
    phones = [Phone(media, FIRST_PORT + 2 * n) for n in range(100)]
    law = {0: (Payload(0, "pcmu", 8000),), 1: (Payload(8, "pcma", 8000),)}

    def fifty_calls() -> None:
        for n, phone in enumerate(phones):
            host, number = phone.address
            engine.tell(
                OpenPort(n, n // 2, HOST, phone.local_port),
                Negotiated(n, host, number, number + 1, True, True, law[n % 2], law[n % 2]),
            )
        for n in range(50):
            player = 1000 + n
            engine.tell(
                OpenPlayer(player, n),
                Play(player, 1, (PlayTone((440.0,), -10.0),)),
                *(Hear(2 * n, 2 * n + 1), Hear(2 * n + 1, 2 * n), Hear(2 * n, player)),
                DetectTones(2 * n + 1, on=True),
            )
            phones[2 * n].says(bytes(160))
        engine.tell(*(ClosePort(port) for n in range(50) for port in (2 * n, 2 * n + 1, 1000 + n)))
        for _ in range(150):
            engine.hears(Report)

    def memory_kib() -> int:
        status = Path(f"/proc/{media.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    files = media.open_files
    for _ in range(20):
        fifty_calls()
    before = memory_kib()
    for _ in range(180):
        fifty_calls()
    assert media.open_files == files
    assert memory_kib() < before + 2048


def test_a_port_number_in_use_is_told(engine):
    engine.media.udp(FIRST_PORT + 100)
    engine.tell(OpenPort(1, 1, HOST, FIRST_PORT + 100), OpenPort(2, 1, HOST, FIRST_PORT + 98))
    failed = engine.hears(PortFailed)
    assert failed.port == 1
    assert "in use" in failed.why
    engine.tell(OpenPort(3, 1, HOST, FIRST_PORT + 98))
    assert engine.hears(PortFailed).port == 3, "not even by a port of our own"


@pytest.mark.parametrize(
    "junk", [b"\x00\x00\x00\x01\xc1", b"\x00\x00\x00\x03\x92\x94\x04", b"\x00\x00\x00\x00"]
)
def test_malformed_frames_are_refused_and_nothing_else(engine, junk):
    alice, bob = call(engine, 0)
    engine.socket.sendall(junk)
    engine.hears(Refused)
    alice.says(b"x")
    assert bob.hears() == b"x"


def test_a_frame_without_end_ends_the_connection_alone(media):
    engine = Engine(media)
    alice, bob = call(engine, 0)
    engine.socket.sendall(b"\xff\xff\xff\xff")
    assert engine.socket.recv(65536) == b""
    alice.says(b"x")
    assert bob.hears() == b"x"
    Engine(media).hang_up()


def test_a_frame_may_hold_more_orders_than_wait_at_a_worker(engine):
    call(engine, 0)
    engine.tell(*[Hear(0, 1), Unhear(0, 1)] * 10_000)
    assert engine.settle(0).port == 0


def test_frames_may_come_byte_by_byte(engine):
    for byte in pack([OpenPort(1, 1, HOST, FIRST_PORT)]):
        engine.socket.sendall(bytes([byte]))
    assert engine.settle(1).port == 1


def test_only_this_user_may_connect(media):
    Engine(media).hang_up()
    assert stat.S_IMODE(Path(media.path).stat().st_mode) == 0o600


def test_a_second_process_does_not_take_the_socket(media):
    Engine(media).hang_up()
    command = [sys.executable, "-m", "media", "--socket", media.path]
    second = subprocess.run(command, capture_output=True, text=True, timeout=10)
    assert second.returncode == 1
    assert second.stderr == f"media: {media.path}: another media process listens there\n"
    Engine(media).hang_up()


def test_a_socket_that_a_dead_process_left_is_replaced(tmp_path):
    first = MediaProcess(tmp_path, FIRST_PORT)
    Engine(first).hang_up()
    first.process.kill()
    first.ended()
    second = MediaProcess(tmp_path, FIRST_PORT)
    Engine(second).hang_up()
    assert second.stop() == 0


def test_the_end_says_goodbye_and_reports(tmp_path):
    media = MediaProcess(tmp_path, FIRST_PORT)
    engine = Engine(media)
    alice, bob = call(engine, 0)
    alice.says(b"x")
    assert bob.hears() == b"x"
    media.process.terminate()
    reports = [engine.hears(Report), engine.hears(Report)]
    assert [(report.port, report.closed) for report in reports] == [(0, True), (1, True)]
    assert engine.socket.recv(65536) == b""
    assert media.ended() == 0


@pytest.mark.parametrize(
    "arguments", [[], ["--socket"], ["--socket", "x", "--color", "red"], ["--socket", "x", "--ports", "many"]]
)
def test_wrong_options_are_explained(arguments):
    run = subprocess.run(
        [sys.executable, "-m", "media", *arguments], capture_output=True, text=True, timeout=10
    )
    assert run.returncode == 1
    assert run.stderr.startswith("usage: python -m media --socket PATH")


def test_calls_on_two_workers_are_brought_together(tmp_path):
    media = MediaProcess(tmp_path, FIRST_PORT, workers=2)
    engine = Engine(media)
    alice, bob = call(engine, 0, call_id=1)
    carol, dave = call(engine, 2, call_id=2)
    for one, other in ((alice, bob), (bob, alice), (carol, dave), (dave, carol)):
        one.says(b"before")
        assert other.hears() == b"before"
    engine.tell(Unhear(0, 1), Unhear(1, 0), Unhear(2, 3), Unhear(3, 2))
    engine.joins(1, 2)
    engine.settle(1)
    bob.says(b"to carol")
    assert carol.hears() == b"to carol"
    carol.says(b"to bob")
    assert bob.hears() == b"to bob"
    alice.says(b"to nobody")
    assert bob.hears_nothing()
    assert dave.hears_nothing()
    assert media.stop() == 0
