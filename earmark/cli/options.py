"""Options that several verbs share, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lineage.people.policy import Policy

StoreOption = Annotated[
    Path, typer.Option("--store", "-s", envvar="EARMARK_STORE", help="The store's folder.", show_default=True)
]
DEFAULT_STORE = Path("earmark-store")
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV.")]

SetArgument = Annotated[str, typer.Argument(metavar="SET", help="A set: name, digest, or the beginning of one.")]
TrainingArgument = Annotated[
    str, typer.Argument(help="A training run, or its model: name, id, or the beginning of one.")
]
RecipeArgument = Annotated[Path, typer.Argument(help="The recipe, a YAML file.")]
SampleOption = Annotated[str | None, typer.Option(help="A sample id, or the beginning of one.")]
SourceOption = Annotated[str | None, typer.Option(help="A source: everything that came from it.")]
ReasonOption = Annotated[str | None, typer.Option(help="Why; it stays on record, so name nobody.")]
PolicyOption = Annotated[Path | None, typer.Option(help="What it may use (YAML), instead of the policy in force.")]


def policy_in(path: Path | None) -> Policy | None:
    """The policy in a file; None, where no file was given, means the one in force."""
    from lineage.people.policy import Policy

    return None if path is None else Policy.load(path)
