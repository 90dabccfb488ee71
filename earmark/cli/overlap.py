"""Verbs that find the same thing twice: duplicates, leakage."""

from __future__ import annotations

from typing import Annotated

import typer

from earmark.cli.options import DEFAULT_STORE, JsonOption, SetArgument, StoreOption
from earmark.cli.output import print_rows, say, short
from lineage.selection.sets import resolve_set
from lineage.store import Store

SHOWN = 20  # groups printed; all of them with --json


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command()(duplicates)
    app.command()(leakage)


def duplicates(
    set_ref: SetArgument,
    across_speakers: Annotated[
        bool, typer.Option("--across-speakers", help="Compare the same words of different speakers, too.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Samples of a set with the same sound and other words, and copies that are not equal to the bit."""
    from lineage.selection.duplicates import duplicates as find

    opened = Store.open(store)
    chosen = resolve_set(opened, set_ref)
    found = find(opened, chosen.digest, across_speakers=across_speakers)
    kinds = {"exact": found.exact, "near": found.near}
    if as_json:
        rows = [{"kind": kind, **group.to_json()} for kind, groups in kinds.items() for group in groups]
        print_rows(rows, as_json=True)
        return
    say(f"set {chosen.name} ({short(chosen.digest)}) of {chosen.size} samples")
    titles = {"exact": "with the sound of another and other words", "near": "near copies of another"}
    for kind, groups in kinds.items():
        say(f"{found.count(groups)} samples {titles[kind]}, groups: {len(groups)}")
        for group in groups[:SHOWN]:
            alike = "" if kind == "exact" else f"  alike by {group.likeness:.3f}"
            say(f"  {' '.join(map(str, group.samples))}{alike}{'  (made of one recording)' if group.derived else ''}")
        if len(groups) > SHOWN:
            say(f"  … and {len(groups) - SHOWN} more; all with --json")
    if found.unheard:
        say(f"{found.unheard} samples were recorded without a fingerprint: ingest them again to compare them")


def leakage(
    train: Annotated[str, typer.Argument(help="The training set: name, digest, or the beginning of one.")],
    test: Annotated[list[str], typer.Argument(help="Evaluation sets.")],
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """What of a training set is in evaluation sets, too: by audio, recording, speaker and text; changes nothing."""
    from lineage.leakage import leakage as find

    opened = Store.open(store)
    source = resolve_set(opened, train)
    rows = []
    for ref in test:
        into = resolve_set(opened, ref)
        for leak in find(opened, source.digest, into.digest):
            if as_json:
                ids = {"tested": leak.tested.to_pylist(), "trained": leak.trained.to_pylist()}
                rows.append({"test": into.digest, "kind": leak.kind, "of": leak.size, **ids})
                continue
            counts = {"samples": len(leak.tested), "of": leak.size, "in training": len(leak.trained)}
            rows.append({"test": into.name, "leaks by": leak.kind, **counts, "example": leak.to_json()["example"]})
    print_rows(rows, as_json=as_json)
