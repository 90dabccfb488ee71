"""The verb that hands things on: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from earmark.cli.options import DEFAULT_STORE, JsonOption, StoreOption
from earmark.cli.output import print_json, print_rows, progress, say, short
from lineage.errors import EarmarkError
from lineage.store import Store


def register(app: typer.Typer) -> None:
    """Add this verb to the command line."""
    app.command()(export)


def export(
    ref: Annotated[str | None, typer.Argument(help="A set or model: name, or the beginning of its digest.")] = None,
    out: Annotated[Path | None, typer.Argument(help="A new or empty folder.")] = None,
    format_: Annotated[
        str | None, typer.Option("--format", "-f", help="One of those listed without arguments.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    personal: Annotated[bool, typer.Option(help="Add names and words to a format that carries none.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Hand on a set or a model in another form, with the evidence beside it; the formats, if nothing is given."""
    from lineage.exports import formats
    from lineage.exports.share import export as run

    if ref is None:
        print_rows(
            [
                {"format": f.name, "of": " or ".join(f.of), "personal data": "yes" if f.personal else "no", "is": f.doc}
                for f in formats()
            ],
            as_json=as_json,
        )
        return
    if out is None or format_ is None:
        names = ", ".join(f.name for f in formats())
        raise EarmarkError(f"say in which form and where to: earmark export {ref} FOLDER --format … ({names})")
    with progress(f"exporting {ref}") as report:
        done = run(
            Store.open(store), ref, format_, out, personal=personal, progress=lambda n, total: report(n, total, "")
        )
    if as_json:
        value = {"folder": str(done.folder), "run": done.run_id, "digest": done.digest, "samples": done.samples}
        print_json({**value, "erased": done.erased, "format": done.format})
        return
    carried = f", {done.samples} samples" if done.samples is not None else ""
    say(
        f"{done.subject.kind} {done.subject.name or short(done.subject.digest)} as {done.format}{carried}: {done.folder}"
    )
    if done.erased:
        say(f"samples that were erased since the set was made, and left out: {done.erased}")
    say(f"run {done.run_id}; how it is opened and checked stands in {done.folder / 'README.txt'}")
