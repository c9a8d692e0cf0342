"""`jackfield extension`: the accounts that phones register as."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jackfield.cli.house import (
    TenantName,
    change,
    loaded,
    only_given,
    snapshot,
    tenant_named,
    typist,
    with_store,
)
from jackfield.cli.output import Json, Row, say, show

if TYPE_CHECKING:
    from conf.snapshot import Extension, Snapshot
    from conf.store import ConfigStore

app = typer.Typer(
    help="Extensions: accounts that phones register as.", no_args_is_help=True, rich_markup_mode=None
)
Number = Annotated[str, typer.Argument(help="The extension's number, as in 201.")]
FullName = Annotated[str | None, typer.Option("--name", help="Name for people.", show_default=False)]
GivenPassword = Annotated[
    str | None,
    typer.Option("--password", help="SIP password; a strong one is made when left out.", show_default=False),
]
Contact = Annotated[
    str | None, typer.Option(help="SIP URI that gets the calls in place of phones.", show_default=False)
]
MaxCalls = Annotated[int | None, typer.Option(help="Calls at a time; 0: no limit.", show_default=False)]
MaxContacts = Annotated[int | None, typer.Option(help="Phones at a time.", show_default=False)]
RingSeconds = Annotated[
    int | None, typer.Option("--ring-s", help="How long phones ring.", show_default=False)
]
SrtpWish = Annotated[
    str | None,
    typer.Option(help="Encrypted sound: off, best-effort or required.", show_default=False),
]
COLUMNS = ("tenant", "number", "name", "enabled", "max_calls", "max_contacts", "ring_s", "contact", "srtp")


@app.command("list")
def list_(ctx: typer.Context, tenant: TenantName = "", json: Json = False) -> None:
    """List the extensions of one tenant, or of all."""
    found = snapshot(ctx)
    only = tenant_named(found, tenant).id if tenant else None
    rows = [_row(found, each) for each in found.extensions.values() if only in (None, each.tenant)]
    rows.sort(key=lambda row: (row["tenant"], row["number"]))
    show(rows, json, COLUMNS, "No extension yet: `jackfield extension add`.")


@app.command("show")
def show_(ctx: typer.Context, number: Number, tenant: TenantName = "", json: Json = False) -> None:
    """Show one extension. Its password cannot be shown: only digests of it are kept."""
    from conf.faults import SettingsError

    found = snapshot(ctx)
    owner = tenant_named(found, tenant)
    extension = found.extensions.get((owner.id, number))
    if extension is None:
        raise SettingsError(
            f"extension {number} of tenant {owner.name}",
            "there is none",
            "`jackfield extension list` shows them.",
        )
    row = {**_row(found, extension), "realm": owner.realm}
    lines = [{"setting": key.replace("_", " "), "value": value} for key, value in row.items()]
    show([row] if json else lines, json, ("setting", "value"))


@app.command()
def add(
    ctx: typer.Context,
    number: Number,
    tenant: TenantName = "",
    name: FullName = None,
    password: GivenPassword = None,
    contact: Contact = None,
    max_calls: MaxCalls = None,
    max_contacts: MaxContacts = None,
    ring_s: RingSeconds = None,
    srtp: SrtpWish = None,
) -> None:
    """Add an extension, and say its password if one was made."""
    from conf.changes import AddExtension, Password
    from conf.demo import make_password

    settings = loaded(ctx).settings
    secret = password or make_password()
    given = only_given(
        name=name,
        contact=contact,
        max_calls=max_calls,
        max_contacts=max_contacts,
        ring_s=ring_s,
        srtp=srtp,
    )
    values = {"ring_s": settings.calls.ring_s, "max_contacts": settings.registrar.max_contacts, **given}
    change(
        ctx,
        lambda found: [
            AddExtension(
                tenant=tenant_named(found, tenant).name, number=number, password=Password(secret), **values
            )
        ],
    )
    say(f"Extension {number} added." if password else f"Extension {number} added. Password: {secret}")


@app.command("set-password")
def set_password(
    ctx: typer.Context,
    number: Number,
    tenant: TenantName = "",
    password: GivenPassword = None,
    ask: Annotated[bool, typer.Option("--ask", help="Type it, unseen, instead.")] = False,
) -> None:
    """Give an extension a new password. Phones are asked for it when they register next."""
    from conf.changes import ChangeExtension, Password
    from conf.demo import make_password

    typed = typer.prompt("Password", hide_input=True, confirmation_prompt=True) if ask else password
    secret = typed or make_password()
    change(
        ctx,
        lambda found: [
            ChangeExtension(tenant=tenant_named(found, tenant).name, number=number, password=Password(secret))
        ],
    )
    say(f"Password of {number} changed." if typed else f"Password of {number} changed to {secret}")


@app.command("change")
def change_(
    ctx: typer.Context,
    number: Number,
    tenant: TenantName = "",
    name: FullName = None,
    contact: Contact = None,
    max_calls: MaxCalls = None,
    max_contacts: MaxContacts = None,
    ring_s: RingSeconds = None,
    srtp: SrtpWish = None,
    enabled: Annotated[bool | None, typer.Option(help="Whether it may register and call.")] = None,
) -> None:
    """Change an extension; what is not named stays."""
    from conf.changes import ChangeExtension

    values = only_given(
        name=name,
        contact=contact,
        max_calls=max_calls,
        max_contacts=max_contacts,
        ring_s=ring_s,
        srtp=srtp,
        enabled=enabled,
    )
    change(
        ctx,
        lambda found: [ChangeExtension(tenant=tenant_named(found, tenant).name, number=number, **values)],
    )
    say(f"Extension {number} changed.")


@app.command()
def remove(ctx: typer.Context, number: Number, tenant: TenantName = "") -> None:
    """Remove an extension."""
    from conf.changes import RemoveExtension

    change(ctx, lambda found: [RemoveExtension(tenant=tenant_named(found, tenant).name, number=number)])
    say(f"Extension {number} removed.")


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV with a header: number, and any of name, password, ...")],
    tenant: TenantName = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Name each bad line, change nothing.")] = False,
    passwords_to: Annotated[
        Path | None,
        typer.Option(
            help="New CSV for the passwords that are made for lines without one.", show_default=False
        ),
    ] = None,
) -> None:
    """Add many extensions, all or none.

    Columns: number, name, password, contact, max_calls, max_contacts, ring_s, srtp, enabled.
    """
    from jackfield.cli.importing import read_lines, write_passwords
    from jackfield.cli.progress import progress_bar

    async def work(store: ConfigStore) -> int:
        owner = tenant_named(await store.load_snapshot(), tenant).name
        lines = read_lines(file, owner, loaded(ctx).settings)
        lines.must_be_good(await store.check(lines.changes))
        if dry_run:
            return len(lines.changes)
        write_passwords(passwords_to, lines)
        with progress_bar("Adding extensions") as progress:
            await store.apply(lines.changes, typist(), progress)
        return len(lines.changes)

    count = with_store(ctx, work)
    say(
        f"{count} extensions would be added; nothing was changed."
        if dry_run
        else f"{count} extensions added."
    )


def _row(found: Snapshot, extension: Extension) -> Row:
    return {
        "tenant": found.tenants[extension.tenant].name,
        **{column: getattr(extension, column) for column in COLUMNS[1:]},
    }
