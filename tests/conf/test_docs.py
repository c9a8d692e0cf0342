"""The documentation says what the code does: settings are listed as they are, links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conf.load import explain, load
from jackfield.cli.settings_shown import page

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


def test_the_page_of_settings_is_current() -> None:
    """Mend with: jackfield settings --markdown > docs/settings.md"""
    assert (ROOT / "docs" / "settings.md").read_text() == page(explain(load())) + "\n"


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_links_inside_the_documentation_lead_somewhere(file: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", file.read_text())
    assert [link for link in links if not (file.parent / link).exists()] == []


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    others = [file.name for file in (ROOT / "docs").glob("*.md") if file.name != "README.md"]
    assert [name for name in others if f"({name})" not in index] == []


def test_every_command_in_the_documentation_exists() -> None:
    import typer

    from jackfield.cli.app import app

    group = typer.main.get_command(app)
    known = set(getattr(group, "commands", {}))
    text = "\n".join(file.read_text() for file in PAGES)
    used = set(re.findall(r"(?:`|/bin/)jackfield ([a-z][a-z-]+)", text))
    assert used
    assert used - known == set()
