"""Counting what is in use (`pbx/limits.py`)."""

from __future__ import annotations

from conf.snapshot import TenantId
from pbx.api import Party
from pbx.limits import Limits, place_of


def test_as_many_places_as_there_may_be() -> None:
    limits = Limits()
    assert [limits.take([("tenant", 2)]) for _ in range(3)] == [None, None, "tenant"]
    limits.give_back(["tenant"])
    assert limits.take([("tenant", 2)]) is None


def test_zero_means_any_number() -> None:
    limits = Limits()
    assert [limits.take([("server", 0)]) for _ in range(100)] == [None] * 100
    assert limits.held("server") == 100


def test_all_places_or_none() -> None:
    limits = Limits()
    limits.take([("extension", 1)])
    assert limits.take([("server", 5), ("extension", 1)]) == "extension"
    assert limits.held("server") == 0


def test_the_first_that_is_full_is_named() -> None:
    limits = Limits()
    limits.take([("server", 1), ("tenant", 1)])
    assert limits.take([("server", 1), ("tenant", 1)]) == "server"


def test_nothing_is_remembered_of_what_nobody_holds() -> None:
    limits = Limits()
    limits.take([("server", 0), ("tenant", 3)])
    limits.give_back(["server", "tenant"])
    assert len(limits) == 0
    limits.give_back(["never taken"])
    assert len(limits) == 0


def test_places_may_come_from_anywhere_that_can_be_walked_once() -> None:
    limits = Limits()
    limits.take((key, 0) for key in ("a", "b"))
    assert (limits.held("a"), limits.held("b")) == (1, 1)


def test_a_party_counts_as_its_extension_or_its_trunk() -> None:
    tenant = TenantId(1)
    assert place_of(Party(tenant, "101", "Anna")) == place_of(Party(tenant, "101"))
    assert place_of(Party(tenant, "101")) != place_of(Party(TenantId(2), "101"))
    outside = Party(tenant, "101", trunk="carrier")
    assert place_of(outside) == place_of(Party(tenant, "+4930123", trunk="carrier"))
    assert place_of(outside) != place_of(Party(tenant, "101"))
