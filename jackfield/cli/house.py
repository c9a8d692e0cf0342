"""What the commands about the configuration share: settings, the open database, the tenant that is meant."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from conf.changes import Change
    from conf.load import Loaded
    from conf.snapshot import Snapshot, Tenant
    from conf.store import ConfigStore

Result = TypeVar("Result")
TenantName = Annotated[
    str,
    typer.Option(
        "--tenant", "-t", help="Name of the tenant; the default tenant when left out.", show_default=False
    ),
]


class Given:
    """The options that stand before the command."""

    def __init__(self, config: Path | None) -> None:
        self.config = config


def loaded(ctx: typer.Context) -> Loaded:
    """The settings that this command runs with, and where they came from."""
    from conf.load import load

    return load(ctx.ensure_object(Given).config)


def with_store(ctx: typer.Context, work: Callable[[ConfigStore], Awaitable[Result]]) -> Result:
    """Open the configuration database, do `work`, close it."""
    import asyncio

    from conf.demo import ensure_demo
    from conf.store import ConfigStore

    settings = loaded(ctx).settings

    async def run() -> Result:
        store = await ConfigStore.open(settings)
        try:
            await ensure_demo(store, settings)
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def snapshot(ctx: typer.Context) -> Snapshot:
    return with_store(ctx, lambda store: store.load_snapshot())


def only_given(**options: Any) -> dict[str, Any]:
    """The options that were named on the command line."""
    return {name: value for name, value in options.items() if value is not None}


def change(ctx: typer.Context, make: Callable[[Snapshot], list[Change]]) -> None:
    """Carry out the changes that `make` names, in the name of whoever types."""

    async def work(store: ConfigStore) -> None:
        await store.apply(make(await store.load_snapshot()), by=typist())

    with_store(ctx, work)


def typist() -> str:
    import getpass

    try:
        return f"cli {getpass.getuser()}"
    except (KeyError, OSError):  # a container without a user database
        return "cli"


def tenant_named(snapshot: Snapshot, name: str) -> Tenant:
    """The tenant called `name`, or the default one for "". Raises SettingsError."""
    from conf.faults import SettingsError

    if name:
        for tenant in snapshot.tenants.values():
            if tenant.name == name:
                return tenant
        raise SettingsError(f"tenant {name}", "there is none", "`jackfield tenant list` shows what there is.")
    if snapshot.default_tenant is None:
        raise SettingsError("--tenant", "there is no default tenant", "Say which one, with --tenant.")
    return snapshot.tenants[snapshot.default_tenant]
