"""Verbs that keep the store in order: compact."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from earmark.cli.options import DEFAULT_STORE, JsonOption, StoreOption
from earmark.cli.output import print_rows, say
from lineage.compaction.compact import MEMORY
from lineage.compaction.compact import compact as compact_now
from lineage.errors import EarmarkError
from lineage.store import Store

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command()(compact)


def compact(
    grace: Annotated[
        str, typer.Option(help="How long replaced files stay for readers at work, e.g. 30s, 10m, 1h, 2d.")
    ] = "1h",
    everything: Annotated[bool, typer.Option("--all", help="Merge what was merged before, too.")] = False,
    memory: Annotated[str, typer.Option(help="How much memory sorting may take; the rest goes to disk.")] = MEMORY,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Merge small segments into few large ones, sorted for quick answers, and clear away what is of no use any more.

    May run at any time beside writers and readers; a second one at the same time is told to wait.
    """
    opened = Store.open(store)
    done = compact_now(
        opened,
        grace=_seconds(grace),
        memory=memory,
        everything=everything,
        progress=(lambda table: None) if as_json else (lambda table: say(f"merging {table} …")),
    )
    if as_json:
        tables = {name: merged.__dict__ for name, merged in done.tables.items()}
        print_rows([{"run": done.run, "tables": tables, "swept": done.swept.__dict__}], as_json=True)
        return
    for name, merged in done.tables.items():
        repeats = f", {merged.repeats} repeats set aside" if merged.repeats else ""
        say(f"{name}: {merged.before} segments became {merged.after}, {merged.rows} rows{repeats}")
    say(f"run {done.run}" if done.run else "nothing to merge")
    swept = done.swept
    if swept.replaced or swept.leftovers:
        say(f"cleared away {swept.replaced} replaced files and {swept.leftovers} leftovers, {swept.bytes:,} bytes")


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if found is None:
        raise EarmarkError(f"'{text}' is no length of time — write e.g. 30s, 10m, 1h or 2d")
    return float(found[1]) * UNITS[found[2] or "s"]
