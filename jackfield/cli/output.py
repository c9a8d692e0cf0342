"""How results are shown: a table for people, one JSON object a line for programs."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Row = Mapping[str, Any]
GAP = "   "


def show(
    rows: Iterable[Row], as_json: bool, columns: Sequence[str], empty: str = "Nothing there yet."
) -> None:
    """Print `rows`: their `columns` as a table, or all that they have as JSON."""
    if as_json:
        show_json(rows)
        return
    cells = [[spelled(row[column]) for column in columns] for row in rows]
    if cells:
        show_table([column.replace("_", " ") for column in columns], cells)
    else:
        say(empty)


def show_json(rows: Iterable[Row]) -> None:
    import msgspec

    for row in rows:
        sys.stdout.write(msgspec.json.encode(row).decode() + "\n")


def show_table(head: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; quick for a hundred thousand rows too."""
    widths = [max(map(width, column)) for column in zip(head, *cells, strict=True)]
    say(_line(head, widths))
    say(GAP.join("-" * each for each in widths))
    sys.stdout.writelines(_line(row, widths) + "\n" for row in cells)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


def spelled(value: object) -> str:
    """A value as a cell: lists with commas, yes and no, nothing for nothing."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def width(text: str) -> int:
    """Places that a text takes on a terminal: East Asian characters two, combining ones none."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell + " " * (places - width(cell)) for cell, places in zip(row, widths, strict=True))
    return GAP.join(padded).rstrip()
