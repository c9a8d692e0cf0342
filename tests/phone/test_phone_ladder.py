"""The ladder as people read it."""

from __future__ import annotations

from jackfield.phone import Ladder, Phone
from tests.memory_network import Weather
from tests.phone.street import Street

A, B, SERVER = ("10.0.0.1", 5060), ("10.0.0.2", 5060), ("10.0.0.9", 5060)
OPTIONS = (
    b"OPTIONS sip:102@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx\r\n"
    b"From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 7 OPTIONS\r\n"
    b"Authorization: Digest secret\r\n\r\n"
)


def ladder() -> Ladder:
    ladder = Ladder()
    ladder.name(A, "anna", ours=True)
    ladder.name(B, "boris", ours=True)
    ladder.name(SERVER, "server")
    return ladder


def test_a_message_between_two_phones_is_one_row() -> None:
    drawn = ladder()
    drawn.sent(5.0, A, B, OPTIONS)
    drawn.arrived(5.01, A, B, OPTIONS)
    assert str(drawn).splitlines() == [
        "    time  anna                      boris",
        "   0.000  │── OPTIONS 102 ─────────▶│ 7 OPTIONS",
    ]


def test_one_that_never_arrives_is_marked() -> None:
    drawn = ladder()
    drawn.sent(5.0, B, A, OPTIONS)
    assert "✗" in str(drawn)
    assert drawn.text().spans[-1].style == "yellow"


def test_the_server_stands_between_the_phones_and_secrets_stay_out() -> None:
    drawn = ladder()
    drawn.sent(1.0, A, SERVER, OPTIONS)
    drawn.arrived(1.2, SERVER, B, OPTIONS)
    drawn.arrived(1.3, ("10.0.0.9", 40_001), B, b"\xff\xfe")
    lines = str(drawn).splitlines()
    assert lines[0].split() == ["time", "anna", "server", "boris"]
    assert "── 2 bytes" in lines[3]
    assert "secret" not in str(drawn)


async def test_loss_shows_in_the_ladder_of_a_call() -> None:
    street = Street(3, Weather(loss=0.3))
    alice: Phone = street.phone("101", sound=False)
    await alice.dials(street.phone("102", sound=False))
    await alice.progresses(180, within_s=60)
    lost = [row for row in street.ladder.rows if row.arrived_at is None]
    assert len(lost) == street.network.lost
    street.close()
