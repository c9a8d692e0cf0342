"""`jackfield trunk`: peers that are known by their address."""

from __future__ import annotations

from typing import Annotated

import typer

from jackfield.cli.house import TenantName, change, only_given, snapshot, tenant_named
from jackfield.cli.output import Json, Row, say, show

app = typer.Typer(
    help="Trunks: peers known by their address, calling without a password.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
COLUMNS = ("tenant", "name", "networks", "trusted_identity", "max_calls", "srtp")


@app.command("list")
def list_(ctx: typer.Context, tenant: TenantName = "", json: Json = False) -> None:
    """List the trunks of one tenant, or of all."""
    found = snapshot(ctx)
    only = tenant_named(found, tenant).id if tenant else None
    rows: list[Row] = [
        {
            "tenant": found.tenants[trunk.tenant].name,
            "name": trunk.name,
            "networks": [str(network) for network in trunk.networks],
            "trusted_identity": trunk.trusted_identity,
            "max_calls": trunk.max_calls,
            "srtp": trunk.srtp,
        }
        for trunk in found.trunks
        if only in (None, trunk.tenant)
    ]
    show(rows, json, COLUMNS, "No trunk yet: `jackfield trunk add`.")


@app.command()
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Short name, as in carrier-1.")],
    networks: Annotated[list[str], typer.Argument(help="Addresses or networks, as in 192.0.2.0/28.")],
    tenant: TenantName = "",
    trusted_identity: Annotated[bool, typer.Option(help="Believe its P-Asserted-Identity.")] = True,
    max_calls: Annotated[int, typer.Option(help="Calls at a time; 0: no limit.")] = 0,
    srtp: Annotated[str, typer.Option(help="Encrypted sound: off, best-effort or required.")] = "off",
) -> None:
    """Add a trunk: calls from its networks are taken for the tenant without a password."""
    from conf.changes import AddTrunk

    change(
        ctx,
        lambda found: [
            AddTrunk(
                tenant=tenant_named(found, tenant).name,
                name=name,
                networks=tuple(networks),
                trusted_identity=trusted_identity,
                max_calls=max_calls,
                srtp=srtp,
            )
        ],
    )
    say(f"Trunk {name} added.")


@app.command("change")
def change_(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the trunk.")],
    tenant: TenantName = "",
    trusted_identity: Annotated[
        bool | None, typer.Option(help="Believe its P-Asserted-Identity.", show_default=False)
    ] = None,
    max_calls: Annotated[
        int | None, typer.Option(help="Calls at a time; 0: no limit.", show_default=False)
    ] = None,
    srtp: Annotated[
        str | None,
        typer.Option(help="Encrypted sound: off, best-effort or required.", show_default=False),
    ] = None,
) -> None:
    """Change a trunk; what is not named stays."""
    from conf.changes import ChangeTrunk

    values = only_given(trusted_identity=trusted_identity, max_calls=max_calls, srtp=srtp)
    change(ctx, lambda found: [ChangeTrunk(tenant=tenant_named(found, tenant).name, name=name, **values)])
    say(f"Trunk {name} changed.")


@app.command()
def remove(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the trunk.")],
    tenant: TenantName = "",
) -> None:
    """Remove a trunk."""
    from conf.changes import RemoveTrunk

    change(ctx, lambda found: [RemoveTrunk(tenant=tenant_named(found, tenant).name, name=name)])
    say(f"Trunk {name} removed.")
