"""A real server, and phones that nobody here wrote: SIPp and baresip, on loopback addresses of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from softphones import Softphones
from wire_accounts import MD5_ONLY, introduce
from wire_exchange import Exchange
from wire_loopback import SERVER_HOST
from wire_server import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that do not kill theirs."""
    server = Server(tmp_path_factory.mktemp("server"), SERVER_HOST, settings=[MD5_ONLY])
    introduce(server)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def sipp(server: Server, tmp_path: Path) -> Iterator[Exchange]:
    """SIPps that talk to the session's server; what they saw is shown when the test fails."""
    exchange = Exchange(server.hostport, tmp_path)
    yield exchange
    exchange.close()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Exchange]:
    """SIPps without a server between them: `at` says whom they talk to."""
    exchange = Exchange("127.0.0.1:9", tmp_path)
    yield exchange
    exchange.close()


@pytest.fixture
def softphones(server: Server, tmp_path: Path) -> Iterator[Softphones]:
    """Softphones that are registered at the session's server; their logs are shown when the test fails."""
    phones = Softphones(server, tmp_path)
    yield phones
    phones.close()
