"""The peers among themselves, without a server: each instrument works, and each can say no."""

from __future__ import annotations

from pathlib import Path

import pytest
from baresip_phone import Baresip
from sipp_ladder import Ladder
from softphones import hears, listen
from wire_accounts import fresh_phone
from wire_exchange import Exchange

pytestmark = pytest.mark.wire


def test_two_sipps_call_each_other(alone: Exchange) -> None:
    alice, bob = fresh_phone(), fresh_phone()
    callee = alone.wait_for_call(
        Ladder(bob)
        .is_called()
        .ring()
        .answer()
        .receive("INVITE")
        .reply(200, "OK", sdp=bob.sdp("recvonly", version=2))
        .receive("ACK")
        .hung_up(),
        at=alice.hostport,
    )
    caller = alone.run(
        Ladder(alice)
        .invite(bob.number, challenged=False)
        .rings()
        .connected()
        .request("INVITE", sdp=alice.sdp("sendonly", version=2))
        .receive(200)
        .ack()
        .bye(),
        at=bob.hostport,
    )
    assert "a=sendonly" in callee.ends_well().got("INVITE").body
    assert "a=recvonly" in caller.answers("INVITE", 200)[1].body


@pytest.mark.parametrize("said", [486, 200])
def test_a_ladder_with_a_wrong_rung_fails(alone: Exchange, said: int) -> None:
    """The caller wants to hear 180 and then 603."""
    alice, bob = fresh_phone(), fresh_phone()
    alone.wait_for_call(Ladder(bob).is_called().ring().reply(said, sdp=bob.sdp()), at=alice.hostport)
    caller = alone.start(
        Ladder(alice).invite(bob.number, challenged=False).rings().receive(603).ack_failure(), at=bob.hostport
    )
    with pytest.raises(AssertionError, match=f"while expecting '603'.*received 'SIP/2.0 {said}"):
        caller.ends_well()


def test_two_baresips_hear_each_other_and_a_cut_is_heard(tmp_path: Path) -> None:
    bob = Baresip(tmp_path / "bob", "<sip:bob@127.0.0.1:{port}>;regint=0;answermode=auto", tone_hz=700)
    alice = Baresip(tmp_path / "alice", "<sip:alice@127.0.0.1:{port}>;regint=0", tone_hz=1000)
    try:
        alice.command("dial", f"sip:bob@127.0.0.1:{bob.port}")
        hears(alice, bob)
        listen(alice, 1.5)
        assert alice.ear.heard().last(1.0).above_db(700, 1000) > 30
        assert alice.ear.heard().last(1.0).longest_gap_s(700) <= 0.04
        bob.command("mute")
        listen(alice, 0.5)
        bob.command("mute")
        listen(alice, 0.5)
        assert 0.3 < alice.ear.heard().last(1.5).longest_gap_s(700) < 0.8
    finally:
        alice.close()
        bob.close()
