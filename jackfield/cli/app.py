"""The commands that are about the server as a whole, and the tree of all the others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from jackfield.cli import DONE, extensions, prompts, services, settings_shown, tenants, trunks
from jackfield.cli import db as db_commands
from jackfield.cli.house import Given, loaded
from jackfield.cli.output import say

app = typer.Typer(
    help="Jackfield, a SIP B2BUA and PBX feature server.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong use or settings to mend.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: half a second of imports less
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(tenants.app, name="tenant")
app.add_typer(extensions.app, name="extension")
app.add_typer(services.app, name="service")
app.add_typer(trunks.app, name="trunk")
app.add_typer(prompts.app, name="prompt")
app.add_typer(db_commands.app, name="db")
app.command("settings")(settings_shown.settings)
app.command("check-config")(settings_shown.check_config)


@app.callback()
def _before(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="Settings file; else $JACKFIELD_CONFIG, else ./jackfield.toml, else all defaults.",
            show_default=False,
        ),
    ] = None,
) -> None:
    ctx.obj = Given(config)


@app.command()
def run(ctx: typer.Context) -> None:
    """Start the server; Ctrl-C ends it."""
    found = loaded(ctx)
    from jackfield.supervisor import supervise

    sys.exit(supervise(found.settings, found.file))


@app.command(
    "try",
    add_help_option=False,  # it has options of its own, and explains them itself
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def try_(ctx: typer.Context) -> None:
    """Prove that calls work on this machine: phones inside this command register and call each other."""
    from jackfield.trial import run_trial

    sys.exit(run_trial(ctx.args, config=ctx.ensure_object(Given).config))


@app.command()
def version() -> None:
    """Show the versions of Jackfield and of what it runs on."""
    import platform
    from importlib.metadata import version as of

    say(f"jackfield {of('jackfield')}")
    say(f"python {platform.python_version()} on {platform.system().lower()} {platform.machine()}")
    sys.exit(DONE)
