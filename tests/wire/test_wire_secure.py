"""Encrypted sound through the server, judged on samples: baresips with libsrtp on one side or on both."""

from __future__ import annotations

import pytest
from softphones import Softphones, hears, listen
from wire_accounts import BEST_EFFORT, ENCRYPTED, ORDINARY
from wire_server import Account

pytestmark = pytest.mark.wire

ALICE_HZ, BOB_HZ = 1000, 700
TALK_S = 2.0


@pytest.mark.parametrize(
    ("alice", "of_alice", "bob", "of_bob"),
    [
        (ENCRYPTED[0], "srtp-mand", ORDINARY[90], ""),
        (ORDINARY[91], "", ENCRYPTED[1], "srtp-mand"),
        (ENCRYPTED[2], "srtp-mand", ENCRYPTED[3], "srtp-mand"),
        (BEST_EFFORT[0], "srtp", BEST_EFFORT[1], "srtp"),
        (BEST_EFFORT[2], "", BEST_EFFORT[3], "srtp"),
    ],
    ids=["SRTP to RTP", "RTP to SRTP", "SRTP to SRTP", "who can, does", "who cannot, need not"],
)
def test_each_side_is_encrypted_as_it_must_be_and_both_hear(
    softphones: Softphones, alice: Account, of_alice: str, bob: Account, of_bob: str
) -> None:
    phone_of_bob, _ = softphones.make(BOB_HZ, account=bob, mediaenc=of_bob)
    phone_of_alice, _ = softphones.make(ALICE_HZ, account=alice, mediaenc=of_alice)
    phone_of_alice.command("dial", bob.number)
    phone_of_alice.sees("CALL_ESTABLISHED")
    hears(phone_of_alice, phone_of_bob)
    hears(phone_of_bob, phone_of_alice)
    listen(phone_of_alice, TALK_S)
    for listener, speaker in ((phone_of_alice, phone_of_bob), (phone_of_bob, phone_of_alice)):
        heard = listener.ear.heard().last(TALK_S - 0.5)
        assert heard.above_db(speaker.tone_hz, listener.tone_hz) > 30
        assert heard.longest_gap_s(speaker.tone_hz) <= 0.04


def test_a_phone_without_encryption_is_told_that_it_must(softphones: Softphones) -> None:
    alice, _ = softphones.make(ALICE_HZ, account=ENCRYPTED[4])
    alice.command("dial", ORDINARY[92].number)
    closed = alice.sees("CALL_CLOSED")
    assert "488" in closed["param"]
