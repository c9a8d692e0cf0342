"""`jackfield prompt`: sound files made ready to be played."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jackfield.cli.output import say

app = typer.Typer(help="Prompts: sound that callers hear.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def prepare(
    sources: Annotated[list[Path], typer.Argument(metavar="FILE...", help="WAV or Ogg/Opus.")],
    to: Annotated[Path, typer.Option("--to", help="The folder for what is made.")],
) -> None:
    """Make prompts of sound files: WAVs of 16 kHz, each with its forms in A-law, mu-law and G.722 beside it.

    A prompt goes out to nearly every phone as it is, without being encoded again.
    """
    from conf.faults import SettingsError
    from jackfield.cli.progress import progress_bar
    from media._core import prepare_prompt

    try:
        to.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(str(to), str(error), "name a folder that can be written to") from error
    with progress_bar("Preparing") as moved:
        for done, source in enumerate(sources, 1):
            try:
                prepare_prompt(str(source), str(to / f"{source.stem}.wav"))
            except ValueError as error:
                remedy = "name a WAV or Ogg/Opus file that can be read"
                raise SettingsError(str(source), str(error), remedy) from error
            moved(done, len(sources))
    say(f"{len(sources)} prompts in {to}")
