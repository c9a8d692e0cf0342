"""Both event loops, sides of a conversation, certificates; and that a test leaves nothing behind."""

import asyncio
import os

import pytest
import uvloop
from aio_peers import Authority, Side, eventually


def pytest_asyncio_loop_factories(config, item):
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def _descriptors():
    """How many files and sockets are open; libuv keeps a /dev/null for itself from its first stream on."""
    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return len([link for link in links if os.path.lexists(link) and os.readlink(link) != "/dev/null"])


@pytest.fixture(autouse=True)
async def complaints():
    """What reached the loop's exception handler: nothing may, whatever strangers do."""
    heard = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    before = _descriptors()
    yield heard
    await eventually(lambda: _descriptors() <= before)
    assert heard == []


@pytest.fixture
async def side(complaints):
    """Makes started sides, and closes them."""
    made = []

    async def make(*listens, **settings):
        one = Side(listens, settings)
        made.append(one)
        await one.transports.start()
        return one

    yield make
    for one in made:
        await one.transports.close()
        assert one.transports.open_connections == 0


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def stranger_authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("stranger"))
