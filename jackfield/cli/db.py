"""`jackfield db`: the configuration database itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from jackfield.cli.house import loaded, with_store
from jackfield.cli.output import Json, Row, say, show

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

Result = TypeVar("Result")
app = typer.Typer(
    help="The configuration database. A start upgrades it by itself.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def info(ctx: typer.Context, json: Json = False) -> None:
    """Show where the database is and which step its tables are at."""
    from conf.database import revision, shown
    from conf.migrations import HEAD

    async def work(engine: AsyncEngine) -> Row:
        return {"database": shown(engine), "step": await revision(engine), "newest": HEAD}

    show([_with_engine(ctx, work)], json, ("database", "step", "newest"))


@app.command()
def upgrade(ctx: typer.Context) -> None:
    """Bring the tables up to date."""
    from conf.database import upgrade as up

    _make_var(ctx)
    _with_engine(ctx, up)
    say("The tables are up to date.")


@app.command()
def downgrade(
    ctx: typer.Context,
    step: Annotated[str, typer.Argument(help='Step to go back to, or "base", which loses everything.')],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take the tables back to an older step, for an older Jackfield. What it did not know is lost."""
    from conf.database import downgrade as down

    if not yes:
        typer.confirm(f"Take the tables back to {step}, and lose what that step did not know?", abort=True)
    _with_engine(ctx, lambda engine: down(engine, step))
    say(f"The tables are at {step}.")


@app.command("rotate-key")
def rotate_key(ctx: typer.Context) -> None:
    """Encrypt all secrets under a new key; old keys stay in the key file. Running servers follow."""
    count = with_store(ctx, lambda store: store.rotate_key())
    say(f"{count} secrets are under a new key. Back up {loaded(ctx).settings.key_file}.")


@app.command()
def history(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(help="How many lines.")] = 50,
    json: Json = False,
) -> None:
    """Show who changed what, the latest first."""
    lines = with_store(ctx, lambda store: store.history(limit))
    rows: list[Row] = [
        {
            "version": line.version,
            "at": line.at.isoformat(timespec="seconds"),
            "by": line.by,
            "action": line.action,
            "kind": line.kind,
            "name": line.name,
            "tenant_id": line.tenant_id,
        }
        for line in lines
    ]
    show(rows, json, ("version", "at", "by", "action", "kind", "name", "tenant_id"))


def _with_engine(ctx: typer.Context, work: Callable[[AsyncEngine], Awaitable[Result]]) -> Result:
    import asyncio

    from conf.database import open_engine

    url = loaded(ctx).settings.database_url

    async def run() -> Result:
        engine = open_engine(url)
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    return asyncio.run(run())


def _make_var(ctx: typer.Context) -> None:
    loaded(ctx).settings.paths.var.mkdir(mode=0o700, parents=True, exist_ok=True)
