"""The references in docs/ are those that the verbs and the classes give."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from earmark.cli.fields import documents
from lineage.fields import markdown

DOCS = Path(__file__).parents[2] / "docs"


def test_the_reference_of_the_command_line_is_not_stale(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "typer", "earmark.cli", "utils", "docs", "--name", "earmark"]
    subprocess.run([*command, "--output", str(tmp_path / "cli.md")], check=True, stdout=subprocess.DEVNULL)
    assert (DOCS / "cli.md").read_text(encoding="utf-8") == (tmp_path / "cli.md").read_text(encoding="utf-8"), (
        "stale: run `make docs`"
    )


def test_the_reference_of_files_is_not_stale() -> None:
    assert (DOCS / "files.md").read_text(encoding="utf-8") == markdown(documents().values()), "stale: run `make docs`"
