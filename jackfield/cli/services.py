"""`jackfield service`: numbers that an application answers."""

from __future__ import annotations

from typing import Annotated

import typer

from jackfield.cli.house import TenantName, change, snapshot, tenant_named
from jackfield.cli.output import Json, Row, say, show

app = typer.Typer(
    help="Services: numbers that an application answers.", no_args_is_help=True, rich_markup_mode=None
)
Number = Annotated[str, typer.Argument(help="What is dialled, as in *43.")]


@app.command("list")
def list_(ctx: typer.Context, tenant: TenantName = "", json: Json = False) -> None:
    """List the services of one tenant, or of all."""
    found = snapshot(ctx)
    only = tenant_named(found, tenant).id if tenant else None
    rows: list[Row] = [
        {
            "tenant": found.tenants[service.tenant].name,
            "number": service.number,
            "app": service.app,
            "name": service.name,
        }
        for _, service in sorted(found.services.items())
        if only in (None, service.tenant)
    ]
    show(rows, json, ("tenant", "number", "app", "name"), "No service yet: `jackfield service add`.")


@app.command()
def add(
    ctx: typer.Context,
    number: Number,
    application: Annotated[str, typer.Argument(metavar="APP", help="echo, tone or time.")],
    tenant: TenantName = "",
    name: Annotated[str, typer.Option(help="Name for people.")] = "",
) -> None:
    """Add a service."""
    from conf.changes import AddService

    change(
        ctx,
        lambda found: [
            AddService(tenant=tenant_named(found, tenant).name, number=number, app=application, name=name)
        ],
    )
    say(f"Service {number} added.")


@app.command()
def remove(ctx: typer.Context, number: Number, tenant: TenantName = "") -> None:
    """Remove a service."""
    from conf.changes import RemoveService

    change(ctx, lambda found: [RemoveService(tenant=tenant_named(found, tenant).name, number=number)])
    say(f"Service {number} removed.")
