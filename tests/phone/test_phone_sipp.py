"""The phone against SIPp, which nobody here wrote: as caller and as callee, and what it says of SIPp."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jackfield.phone import Answers, Phone

REAL_TIME = True
pytestmark = [
    pytest.mark.wire,
    pytest.mark.skipif(shutil.which("sipp") is None, reason="SIPp is not installed"),
]
NO_RPORT = "rport was asked for and not filled in (RFC 3581 4)"


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def sipp(directory: Path, *args: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        "sipp",
        *args,
        "-i",
        "127.0.0.1",
        "-m",
        "1",
        "-nostdin",
        cwd=directory,
        env={"TERM": "xterm", "PATH": "/usr/bin:/bin"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_sipp_calls_the_phone(tmp_path: Path) -> None:
    async with Phone("102") as bob:
        bob.when_called = Answers()
        host, port = bob.transport.local
        async with sipp(tmp_path, "-sn", "uac", "-s", "102", "-d", "300", f"{host}:{port}") as caller:
            assert await asyncio.wait_for(caller.wait(), 10) == 0
        assert bob.calls[0].ended_because == "the far side hung up"
        assert bob.complaints == []


async def test_the_phone_calls_sipp(tmp_path: Path) -> None:
    port = free_port()
    async with Phone("101") as alice, sipp(tmp_path, "-sn", "uas", "-p", str(port)):
        call = await alice.dials(f"sip:service@127.0.0.1:{port}")
        await call.talks(within_s=10)
        await call.hangs_up()
        assert {complaint.split(": ")[-1] for complaint in alice.complaints} == {NO_RPORT}
