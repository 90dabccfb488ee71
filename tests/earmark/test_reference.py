"""The reference of the command line in docs/ is the one that the verbs give."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_reference_in_docs_is_not_stale(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "typer", "earmark.cli", "utils", "docs", "--name", "earmark"]
    subprocess.run([*command, "--output", str(tmp_path / "cli.md")], check=True, stdout=subprocess.DEVNULL)
    assert DOCS.read_text(encoding="utf-8") == (tmp_path / "cli.md").read_text(encoding="utf-8"), (
        "stale: run `make docs`"
    )
