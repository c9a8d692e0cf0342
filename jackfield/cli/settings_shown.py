"""`jackfield settings` and `jackfield check-config`: what is set, and whether it would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jackfield.cli.house import loaded, with_store
from jackfield.cli.output import Json, say, show

if TYPE_CHECKING:
    from conf.load import Explained


def settings(
    ctx: typer.Context,
    explain: Annotated[bool, typer.Option("--explain", help="With defaults, sources and meanings.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="As the page docs/settings.md.")] = False,
    json: Json = False,
) -> None:
    """Show every setting: its value, and where that comes from."""
    import msgspec

    from conf.load import explain as explained

    rows = explained(loaded(ctx))
    if markdown:
        say(page(rows))
    elif explain and not json:
        _show_explained(rows)
    else:
        show((msgspec.structs.asdict(row) for row in rows), json, ("key", "value", "source"))


def check_config(ctx: typer.Context) -> None:
    """Check the settings file, the database and the secret key, without starting anything."""
    from conf.certificate import ensure_certificate

    found = loaded(ctx)
    say(f"settings     {found.file or 'all defaults'}")
    snapshot = with_store(ctx, lambda store: store.load_snapshot())
    say(f"database     version {snapshot.version}, {len(snapshot.extensions)} extensions")
    say(f"secret key   {found.settings.key_file}")
    for listener in found.settings.sip.listeners:
        say(f"listens on   {listener.transport} {listener.host} port {listener.port}")
    if any(listener.transport in ("TLS", "WSS") for listener in found.settings.sip.listeners):
        say(f"certificate  {ensure_certificate(found.settings)[0]}")
    say("All is well.")


def _show_explained(rows: tuple[Explained, ...]) -> None:
    for row in rows:
        say(
            f"{row.key} = {row.value or '(empty)'}    from: {row.source}, default: {row.default or '(empty)'}"
        )
        say(f"    {row.meaning}")
        say(f"    environment: {row.variable}\n")


def page(rows: tuple[Explained, ...]) -> str:
    """docs/settings.md: a table for each section, of defaults and meanings."""
    from conf.load import section_model

    lines = [PAGE_HEAD]
    section = ""
    for row in rows:
        name, _, key = row.key.partition(".")
        if name != section:
            section = name
            lines += [f"\n## [{name}]\n", f"{section_model(name).__doc__}\n", TABLE_HEAD]
        default = f"`{row.default}`" if row.default else "empty"
        lines.append(f"| `{key}` | {default} | {row.meaning.replace('|', '/')} |")
    return "\n".join(lines)


TABLE_HEAD = "| key | default | meaning |\n| --- | --- | --- |"
PAGE_HEAD = """\
# Settings

Made by `jackfield settings --markdown` from `conf/settings.py`; a test fails when this page is not current.

Everything has a default, so that no file is needed. A file is given by `--config`, else by the variable
`JACKFIELD_CONFIG`, else it is `jackfield.toml` in the working directory. It is TOML:

```toml
[sip]
listen = ["udp:192.0.2.10:5060", "tcp:192.0.2.10:5060", "tls:*"]
advertised_host = "sip.example.com"

[media]
ports = "30000-39999"
```

An environment variable goes before the file: `JACKFIELD_SIP__T1_MS=250`, that is `JACKFIELD_`, the section,
two underscores, the key. Lists are written with commas. An unknown key or variable is an error that names
the nearest known one. `jackfield settings --explain` shows what holds on this machine and where it comes
from; `jackfield check-config` tries it out without starting anything. A change needs a restart; tenants,
extensions, services and trunks are in the database, and change while calls go on."""
