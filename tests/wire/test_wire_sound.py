"""Sound through the server, judged on samples: two baresips speak sines and listen (RFC 3550, RFC 3264)."""

from __future__ import annotations

import pytest
from baresip_phone import G722, OPUS, PCMA, PCMU, Baresip, Codec
from softphones import Softphones, hears, hears_no_more, listen

pytestmark = pytest.mark.wire

ALICE_HZ, BOB_HZ, CAROL_HZ = 1000, 700, 1400
TALK_S = 3.0


def they_hear_each_other_and_nothing_else(alice: Baresip, bob: Baresip, number: str) -> None:
    """Alice calls Bob: each hears the other without a gap, and neither itself nor anybody else."""
    alice.command("dial", number)
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


@pytest.mark.parametrize(
    ("codec", "transport"),
    [(PCMU, "udp"), (PCMA, "tcp"), (G722, "tls"), (OPUS, "udp")],
    ids=lambda value: getattr(value, "name", value),
)
def test_two_phones_hear_each_other_and_nothing_else(
    softphones: Softphones, codec: Codec, transport: str
) -> None:
    bob, bobs = softphones.make(BOB_HZ, codec, transport)
    alice, _ = softphones.make(ALICE_HZ, codec, transport)
    they_hear_each_other_and_nothing_else(alice, bob, bobs.number)


@pytest.mark.parametrize(
    ("of_alice", "of_bob"), [(PCMU, OPUS), (OPUS, PCMA), (G722, PCMU)], ids=lambda codec: codec.name
)
def test_phones_without_a_common_codec_hear_each_other(
    softphones: Softphones, of_alice: Codec, of_bob: Codec
) -> None:
    bob, bobs = softphones.make(BOB_HZ, of_bob)
    alice, _ = softphones.make(ALICE_HZ, of_alice)
    they_hear_each_other_and_nothing_else(alice, bob, bobs.number)


def test_hold_is_silence_and_resuming_brings_the_sound_back(softphones: Softphones) -> None:
    bob, bobs = softphones.make(BOB_HZ)
    alice, _ = softphones.make(ALICE_HZ)
    alice.command("dial", bobs.number)
    hears(alice, bob)
    hears(bob, alice)
    alice.command("hold")
    hears_no_more(bob, alice)
    hears_no_more(alice, bob)
    alice.command("resume")
    hears(alice, bob)
    hears(bob, alice)


def test_a_blind_transfer_leaves_no_gap_for_the_one_who_stays(softphones: Softphones) -> None:
    """Alice calls Bob, Bob sends her to Carol: Alice hears Bob, then Carol; Carol hears Alice."""
    bob, bobs = softphones.make(BOB_HZ)
    carol, carols = softphones.make(CAROL_HZ)
    alice, _ = softphones.make(ALICE_HZ)
    alice.command("dial", bobs.number)
    hears(alice, bob)
    hears(bob, alice)
    bob.command("transfer", f"sip:{carols.number}@{carols.realm}")
    hears(alice, carol)
    hears(carol, alice)
    hears_no_more(alice, bob)
    heard = alice.ear.heard()
    last_of_bob = heard.stretches(BOB_HZ)[-1][1]
    first_of_carol = heard.stretches(CAROL_HZ)[0][0]
    assert first_of_carol - last_of_bob <= 0.1
