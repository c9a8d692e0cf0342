"""`jackfield run`: the whole product in the foreground, with a table that says what to dial."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from conf.demo import DemoPhone, ensure_demo
from conf.faults import SettingsError, Unavailable
from conf.settings import Settings
from conf.store import ConfigStore
from jackfield.supervisor import supervise


def run_server(settings: Settings, config: Path | None) -> int:
    """Make what is missing, show the demonstration's table, run until told to stop; the exit code."""
    try:
        phones = asyncio.run(_prepare(settings))
    except (SettingsError, Unavailable) as problem:
        print(f"jackfield: {problem}", file=sys.stderr)  # noqa: T201
        return 2 if isinstance(problem, SettingsError) else 1
    if phones:
        _show(settings, phones)
    return supervise(settings, config)


async def _prepare(settings: Settings) -> tuple[DemoPhone, ...]:
    store = await ConfigStore.open(settings)
    try:
        return await ensure_demo(store, settings)
    finally:
        await store.close()


def _show(settings: Settings, phones: tuple[DemoPhone, ...]) -> None:
    first = settings.sip.listeners[0]
    host = first.host if first.host not in ("0.0.0.0", "::") else _own_address()  # noqa: S104
    table = Table(title=f"Jackfield answers at sip:{host}:{first.port}", title_justify="left")
    for column in ("extension", "name", "password", "domain"):
        table.add_column(column)
    for phone in phones:
        table.add_row(phone.number, phone.name, phone.password, phone.realm)
    console = Console()
    console.print(table)
    console.print(
        "Register two phones, then dial the other's extension, *43 (echo test) or *41 (tone test).\n"
        "`jackfield try` proves the whole path without a phone. Ctrl-C ends.\n"
    )


def _own_address() -> str:
    """The address that the default route uses; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
