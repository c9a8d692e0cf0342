"""When a connection is pinged and when it is given up, in virtual time."""

import msgspec
import pytest

from sipcore.aio import Limits
from sipcore.aio.keepalive import Due, Liveness, Origin

LIMITS = Limits(ping_s=100.0, pong_s=10.0, idle_s=900.0, first_message_s=30.0, websocket_ping_s=30.0)


def life(origin, limits=LIMITS, jitter=1.0):
    return Liveness(limits, origin, 0.0, jitter)


def test_an_opened_connection_is_pinged_again_and_again():
    alive = life(Origin.OPENED)
    assert [second for second in range(320) if alive.due(float(second))] == [100, 200, 300]


@pytest.mark.parametrize(("jitter", "first"), [(0.0, 80), (0.5, 90), (1.0, 100)])
def test_pings_are_spread_over_the_last_fifth_of_the_interval(jitter, first):
    alive = life(Origin.OPENED, jitter=jitter)
    assert next(second for second in range(320) if alive.due(float(second))) == first


def test_a_peer_that_has_ponged_before_must_pong_again():
    alive = life(Origin.OPENED)
    alive.ponged()
    assert alive.due(100.0) is Due.PING
    assert alive.due(109.9) is None
    assert alive.due(110.0) == "no answer to a keep-alive in 10 s"


def test_a_peer_that_never_ponged_may_not_know_how():
    alive = life(Origin.OPENED)
    assert alive.due(100.0) is Due.PING
    assert alive.due(110.0) is None


def test_a_ping_that_is_not_answered_yet_is_not_followed_by_the_next():
    alive = life(Origin.WEBSOCKET, msgspec.structs.replace(LIMITS, websocket_ping_s=4.0))
    alive.proven()
    answers = [alive.due(float(second)) for second in range(4, 15)]
    assert answers == [Due.PING, *[None] * 9, "no answer to a keep-alive in 10 s"]


def test_pongs_can_be_demanded_from_the_first_ping_on():
    alive = life(Origin.OPENED, msgspec.structs.replace(LIMITS, pong_required=True))
    assert alive.due(100.0) is Due.PING
    assert alive.due(110.0) == "no answer to a keep-alive in 10 s"


def test_a_browser_must_pong_from_the_first_ping_on():
    alive = life(Origin.WEBSOCKET)
    alive.proven()
    assert alive.due(30.0) is Due.PING
    assert alive.due(40.0) == "no answer to a keep-alive in 10 s"


def test_anything_heard_after_a_ping_answers_it():
    alive = life(Origin.WEBSOCKET)
    alive.proven()
    assert alive.due(30.0) is Due.PING
    alive.heard(30.1)
    assert alive.due(40.0) is None


def test_an_accepted_connection_is_not_pinged_and_ends_when_nothing_is_heard():
    alive = life(Origin.ACCEPTED)
    alive.proven()
    alive.heard(50.0)
    assert {alive.due(float(second)) for second in range(51, 950)} == {None}
    assert alive.due(950.0) == "nothing heard for 900 s"


def test_a_stranger_who_brings_no_message_is_given_up_though_bytes_drip_in():
    alive = life(Origin.ACCEPTED)
    alive.heard(29.0)
    assert alive.due(29.9) is None
    assert alive.due(30.0) == "no message in 30 s"


def test_without_an_interval_there_are_no_pings():
    alive = life(Origin.OPENED, msgspec.structs.replace(LIMITS, ping_s=0.0))
    assert {alive.due(float(second)) for second in range(900)} == {None}
