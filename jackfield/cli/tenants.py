"""`jackfield tenant`: customers, each in a world of their own."""

from __future__ import annotations

from typing import Annotated

import typer

from jackfield.cli.house import change, snapshot
from jackfield.cli.output import Json, Row, say, show

app = typer.Typer(
    help="Tenants: customers whose extension numbers never meet.", no_args_is_help=True, rich_markup_mode=None
)
Name = Annotated[str, typer.Argument(help="Short name, as in acme.")]
COLUMNS = ("name", "realm", "domains", "default", "extensions", "max_calls")


@app.command("list")
def list_(ctx: typer.Context, json: Json = False) -> None:
    """List the tenants."""
    found = snapshot(ctx)
    counts: dict[int, int] = {}
    for tenant_id, _ in found.extensions:
        counts[tenant_id] = counts.get(tenant_id, 0) + 1
    rows: list[Row] = [
        {
            "name": tenant.name,
            "realm": tenant.realm,
            "domains": tenant.domains,
            "default": tenant.id == found.default_tenant,
            "extensions": counts.get(tenant.id, 0),
            "max_calls": tenant.max_calls,
        }
        for tenant in found.tenants.values()
    ]
    show(rows, json, COLUMNS, "No tenant yet: `jackfield tenant add`.")


@app.command()
def add(
    ctx: typer.Context,
    name: Name,
    realm: Annotated[
        str, typer.Argument(help="SIP domain and digest realm, as in sip.acme.example; for good.")
    ],
    domain: Annotated[list[str] | None, typer.Option(help="Further domain; may be repeated.")] = None,
    default: Annotated[
        bool, typer.Option(help="Takes phones and calls that name an address of ours.")
    ] = False,
    max_calls: Annotated[int, typer.Option(help="Calls at a time; 0: no limit.")] = 0,
) -> None:
    """Add a tenant."""
    from conf.changes import AddTenant

    domains = tuple(domain or ())
    change(
        ctx,
        lambda _: [AddTenant(name=name, realm=realm, domains=domains, default=default, max_calls=max_calls)],
    )
    say(f"Tenant {name} added.")


@app.command("change")
def change_(
    ctx: typer.Context,
    name: Name,
    domain: Annotated[list[str] | None, typer.Option(help="The further domains, all of them.")] = None,
    no_domains: Annotated[bool, typer.Option("--no-domains", help="Take all further domains away.")] = False,
    default: Annotated[bool | None, typer.Option(help="Make it the default tenant, or no longer.")] = None,
    max_calls: Annotated[int | None, typer.Option(help="Calls at a time; 0: no limit.")] = None,
) -> None:
    """Change a tenant; what is not named stays."""
    from msgspec import UNSET

    from conf.changes import ChangeTenant

    domains = tuple(domain or ()) if domain or no_domains else UNSET
    wanted = ChangeTenant(
        name=name,
        domains=domains,
        default=UNSET if default is None else default,
        max_calls=UNSET if max_calls is None else max_calls,
    )
    change(ctx, lambda _: [wanted])
    say(f"Tenant {name} changed.")


@app.command()
def remove(
    ctx: typer.Context,
    name: Name,
    with_content: Annotated[
        bool, typer.Option("--with-content", help="Its extensions and trunks too.")
    ] = False,
) -> None:
    """Remove a tenant."""
    from conf.changes import RemoveTenant

    change(ctx, lambda _: [RemoveTenant(name=name, with_content=with_content)])
    say(f"Tenant {name} removed.")
