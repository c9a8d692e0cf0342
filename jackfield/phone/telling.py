"""How a trial is told: marks, sentences and the ladder for people, JSON lines for programs."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.console import Console

from jackfield.phone.trial import Check, Verdict


class Telling:
    """How the run is told while it goes on, for people."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, what: str) -> None:
        self._console.print(what)

    def check(self, check: Check) -> None:
        mark = {True: "[green]✔[/]", False: "[red]✘[/]", None: "[dim]-[/]"}[check.ok]
        self._console.print(f" {mark} {check.name}: [dim]{_plain(check.saw)}[/]", soft_wrap=True)
        if check.advice:
            self._console.print(f"   {_plain(check.advice)}", style="yellow", soft_wrap=True)

    def end(self, verdict: Verdict) -> None:
        for check in verdict.checks:
            if check.ok is None:
                check.saw = "not tried"
                self.check(check)
        self._console.print()
        if verdict.ladder.rows:
            self._console.print(verdict.ladder.text(), soft_wrap=True)
        for number, heard in verdict.heard.items():
            self._console.print(f"{number} heard: {heard}", highlight=False, soft_wrap=True)
        result = "[green]All is well.[/]" if verdict.ok else "[red]Something is wrong, see ✘ above.[/]"
        self._console.print(result)


class JsonTelling(Telling):
    """The same as one JSON object a line: checks, messages, what was heard, the result."""

    def begin(self, what: str) -> None:
        self._line("trial", {"what": what})

    def check(self, check: Check) -> None:
        self._line("check", asdict(check))

    def end(self, verdict: Verdict) -> None:
        for check in verdict.checks:
            if check.ok is None:
                self.check(check)
        began = verdict.ladder.rows[0].at if verdict.ladder.rows else 0.0
        for row in sorted(verdict.ladder.rows, key=lambda row: row.at):
            names = verdict.ladder.names
            first_line = row.data.partition(b"\r\n")[0].decode(errors="replace")
            ends = {"from": names.get(row.src, str(row.src)), "to": names.get(row.dst, str(row.dst))}
            self._line("message", {"at_s": round(row.at - began, 6), **ends, "first_line": first_line})
        for number, heard in verdict.heard.items():
            self._line("heard", {"number": number, **asdict(heard)})
        self._line("result", {"ok": verdict.ok})

    def _line(self, kind: str, values: dict[str, object]) -> None:
        self._console.file.write(json.dumps({"kind": kind, **values}, ensure_ascii=False) + "\n")


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
