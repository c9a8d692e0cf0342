"""What takes a minute: session timers that run out or are kept (RFC 4028), in parallel."""

from __future__ import annotations

import pytest
from sipp_ladder import Ladder
from wire_accounts import fresh_phone
from wire_exchange import Exchange

pytestmark = [pytest.mark.wire, pytest.mark.slow]

PATIENT = ("-recv_timeout", "100000", "-timeout", "110s")
TIMER = "Supported: timer"


def test_a_session_is_refreshed_by_us_and_ended_when_the_peer_forgets_to(sipp: Exchange) -> None:
    """90 s is the shortest session: we refresh at 45 s; without a refresh of the peer's it ends at 60 s."""
    alice, bob, carol, dave = (fresh_phone() for _ in range(4))
    sipp.register(bob, dave)
    answers = sipp.wait_for_call(Ladder(bob).is_called().answer().hung_up(), *PATIENT)
    we_refresh = (TIMER, "Session-Expires: 90;refresher=uas")
    refreshed = sipp.start(
        Ladder(alice)
        .invite(bob.number, headers=we_refresh)
        .connected()
        .receive("INVITE")
        .reply(200, "OK", sdp=alice.sdp(), headers=("Require: timer", "Session-Expires: 90;refresher=uac"))
        .receive("ACK")
        .bye(),
        *PATIENT,
    )
    promises = ("Require: timer", TIMER, "Session-Expires: 90;refresher=uas")
    forgets = sipp.wait_for_call(Ladder(dave).is_called().answer(headers=promises).hung_up(), *PATIENT)
    left_alone = sipp.start(Ladder(carol).invite(dave.number).connected().hung_up(), *PATIENT)

    trace = refreshed.ends_well(within_s=55)
    answers.ends_well()
    assert 44 < trace.got("INVITE").at_s - trace.sent("ACK")[-2].at_s < 47
    assert trace.got("INVITE").header("Session-Expires").replace(" ", "") == "90;refresher=uac"
    left_alone.ends_well(within_s=50)
    ended = forgets.ends_well()
    assert 58 < ended.got("BYE").at_s - ended.got("ACK").at_s < 91
