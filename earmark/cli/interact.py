"""The verb that asks what slices of the training data are worth together: interact."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from earmark.cli.options import (
    DEFAULT_STORE,
    AddressOption,
    ExecutorOption,
    JsonOption,
    StoreOption,
    WorkersOption,
    spread,
)  # fmt: skip
from earmark.cli.output import print_rows, progress, say, short
from lineage.store import Store

SAID = {
    "total": "all of them together",
    "shapley": "Shapley value",
    "interaction": "interaction",
    "deletion": "left out (beyond each alone)",
}


def register(app: typer.Typer) -> None:
    """Add this verb to the command line."""
    app.command()(interact)


def interact(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    slice_: Annotated[
        list[str], typer.Option("--slice", help="The slices, disjoint: accent=scot, accent=*, or SQL; repeatable.")
    ],
    store: StoreOption = DEFAULT_STORE,
    order: Annotated[int, typer.Option(help="Interactions of up to so many slices.")] = 2,
    shapley: Annotated[
        bool, typer.Option("--shapley", help="Shapley values of more slices than can all be combined, by sampling.")
    ] = False,
    sampling: Annotated[str | None, typer.Option(help="permutations or regression; default: as affordable.")] = None,
    budget: Annotated[int | None, typer.Option(help="Retrainings at most, seeds counted.", min=1)] = None,
    standard_error: Annotated[
        float | None, typer.Option(help="Stop sampling when its standard error is so many points of WER.", min=0)
    ] = None,
    partition: Annotated[
        bool, typer.Option("--partition", help="Cut overlapping slices into disjoint parts instead of refusing them.")
    ] = False,
    evaluation: Annotated[list[str] | None, typer.Option("--eval", help="Slices of the errors; default: all.")] = None,
    on: Annotated[str | None, typer.Option(help="Evaluation set; default: the recipe's first.")] = None,
    seeds: Annotated[int, typer.Option(help="Paired seeds.")] = 3,
    generalise: Annotated[
        str, typer.Option(help="'speakers' like those tested, or 'utterances' of these.")
    ] = "speakers",
    workers: WorkersOption = None,
    executor: ExecutorOption = None,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Retrain on combinations of slices: their Shapley values, and whether one makes up for the lack of another."""
    from influence.games.coalitions import interact as run
    from training.recipe import Recipe

    options: dict[str, Any] = {"sampling": sampling, "generalise": generalise}
    with progress("retraining") as report:
        done = run(
            Store.open(store), Recipe.load(recipe), slices=slice_, order=order, shapley=shapley, budget=budget,
            standard_error=None if standard_error is None else standard_error / 100, partition=partition,
            evaluation=evaluation or (), evaluation_set=on, seeds=seeds, spread=spread(workers, executor, address),
            progress=report, **options,
        )  # fmt: skip
    if as_json:
        value: dict[str, Any] = {"game": done.game, "run": done.run_id, "method": done.method}
        value |= {"retrainings": done.retrainings, "trained": done.trained, "failures": dict(done.failures)}
        sys.stdout.write(json.dumps({**value, "rows": [asdict(r) for r in done.rows]}, indent=1) + "\n")
        return
    rows = [r for r in done.rows if r.metric == "wer"]
    print_rows(
        [
            {
                "measure": SAID[r.measure],
                "of": r.slices,
                "on": r.eval_slice,
                "points of WER": f"{100 * r.estimate:+.1f}",
                "interval": "" if r.low is None or r.high is None else f"{100 * r.low:+.1f} to {100 * r.high:+.1f}",
                "sampling ±": "" if r.sampling_error is None else f"{100 * r.sampling_error:.1f}",
                "p": "" if r.p_adjusted is None else f"{r.p_adjusted:.3f}",
            }
            for r in rows
        ]
    )
    say("Values: positive, the data lower the WER. Of two together: negative, either makes up for the other; positive, each "
        "needs the other.")  # fmt: skip
    for caution in dict.fromkeys(c for r in rows for c in r.caution.split("; ") if c):
        say(f"Caution: {caution}.")
    say(f"game {short(done.game)}, by {done.method}: {done.retrainings} retrainings, {done.trained} of them new, "
        f"{done.wall_s:.0f} s")  # fmt: skip
    for name, error in done.failures.items():
        say(f"failed: {name}: {error.strip().splitlines()[-1]}")
