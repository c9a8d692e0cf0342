"""The phone's tests run in virtual time, except in files that say `REAL_TIME = True`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from tests.phone.street import Street
from tests.virtual_loop import VirtualLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if getattr(getattr(item, "module", None), "REAL_TIME", False):
        return {"real": asyncio.new_event_loop}
    return {"virtual": VirtualLoop}


@pytest.fixture
async def street() -> AsyncIterator[Street]:
    """Ends by checking that nobody complained and that no address is still open."""
    street = Street()
    yield street
    street.close()
    assert street.complaints() == []
    assert street.network.attached == frozenset()
