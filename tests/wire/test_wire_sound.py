"""Sound through the server, judged on samples: two baresips speak sines and listen (RFC 3550, RFC 3264)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from baresip_phone import G722, OPUS, PCMA, PCMU, Baresip, Codec
from wire_accounts import ORDINARY
from wire_server import Account, Server
from wire_waiting import until

pytestmark = pytest.mark.wire

ALICE_HZ, BOB_HZ, CAROL_HZ = 1000, 700, 1400
TALK_S = 3.0
accounts = iter(ORDINARY[100:])

NewPhone = Callable[..., tuple[Baresip, Account]]


@pytest.fixture
def phone(server: Server, tmp_path: Path) -> Iterator[NewPhone]:
    """Makes baresips that are registered as fresh extensions; all end with the test."""
    phones: list[Baresip] = []

    def make(tone_hz: int, codec: Codec = PCMU, transport: str = "udp") -> tuple[Baresip, Account]:
        account = next(accounts)
        port = server.tls_port if transport == "tls" else server.port
        line = (
            f"<sip:{account.number}@{account.realm}>;auth_pass={account.password};answermode=auto;regint=600"
            f';outbound="sip:{server.host}:{port};transport={transport}"'
        )
        made = Baresip(tmp_path / account.number, line, tone_hz=tone_hz, codec=codec)
        phones.append(made)
        made.is_registered()
        return made, account

    yield make
    for each in phones:
        each.close()
        print(f"---- {each.directory.name}\n{each.log[-8000:]}")


def listen(phone: Baresip, seconds: float) -> None:
    """Let the phone hear for this long."""
    begin = phone.ear.seconds
    until(lambda: phone.ear.seconds >= begin + seconds, seconds + 5, f"{phone.directory.name} plays")


def hears(listener: Baresip, speaker: Baresip, within_s: float = 5.0) -> None:
    """Wait until the listener's last 200 ms have the speaker's tone."""
    until(
        lambda: listener.ear.heard().last(0.2).level_db(speaker.tone_hz) > -30,
        within_s,
        f"{listener.directory.name} hears {speaker.tone_hz} Hz",
    )


@pytest.mark.parametrize(
    ("codec", "transport"),
    [(PCMU, "udp"), (PCMA, "tcp"), (G722, "tls"), (OPUS, "udp")],
    ids=lambda value: getattr(value, "name", value),
)
def test_two_phones_hear_each_other_and_nothing_else(phone: NewPhone, codec: Codec, transport: str) -> None:
    bob, bobs = phone(BOB_HZ, codec, transport)
    alice, _ = phone(ALICE_HZ, codec, transport)
    alice.command("dial", bobs.number)
    alice.sees("CALL_ESTABLISHED")
    hears(alice, bob)
    hears(bob, alice)
    listen(alice, TALK_S)
    for listener, speaker in ((alice, bob), (bob, alice)):
        heard = listener.ear.heard().last(TALK_S - 0.5)
        assert heard.above_db(speaker.tone_hz, listener.tone_hz) > 30, "its own voice comes back"
        assert heard.above_db(speaker.tone_hz, CAROL_HZ) > 30
        assert heard.longest_gap_s(speaker.tone_hz) <= 0.04
        assert heard.drift_s() <= 0.04, "the delay is not steady"


def test_hold_is_silence_and_resuming_brings_the_sound_back(phone: NewPhone) -> None:
    bob, bobs = phone(BOB_HZ)
    alice, _ = phone(ALICE_HZ)
    alice.command("dial", bobs.number)
    hears(alice, bob)
    hears(bob, alice)
    alice.command("hold")
    until(lambda: bob.ear.heard().last(0.3).level_db(ALICE_HZ) < -60, 5, "Bob hears silence")
    until(lambda: alice.ear.heard().last(0.3).level_db(BOB_HZ) < -60, 5, "Alice hears silence")
    alice.command("resume")
    hears(alice, bob)
    hears(bob, alice)


def test_a_blind_transfer_leaves_no_gap_for_the_one_who_stays(phone: NewPhone) -> None:
    """Alice calls Bob, Bob sends her to Carol: Alice hears Bob, then Carol; Carol hears Alice."""
    bob, bobs = phone(BOB_HZ)
    carol, carols = phone(CAROL_HZ)
    alice, _ = phone(ALICE_HZ)
    alice.command("dial", bobs.number)
    hears(alice, bob)
    hears(bob, alice)
    bob.command("transfer", f"sip:{carols.number}@{carols.realm}")
    hears(alice, carol)
    hears(carol, alice)
    until(lambda: alice.ear.heard().last(0.3).level_db(BOB_HZ) < -60, 3, "Alice no longer hears Bob")
    heard = alice.ear.heard()
    last_of_bob = heard.stretches(BOB_HZ)[-1][1]
    first_of_carol = heard.stretches(CAROL_HZ)[0][0]
    assert first_of_carol - last_of_bob <= 0.1
