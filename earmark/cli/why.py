"""Verbs that ask why: audit, attribute."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from earmark.cli.options import DEFAULT_STORE, JsonOption, StoreOption
from earmark.cli.output import print_rows, progress, say, short
from lineage.store import Store

WorkersOption = Annotated[int, typer.Option(help="Processes, of the recipe's threads each.")]
WORKERS = min(4, os.cpu_count() or 1)


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command()(audit)
    app.command()(attribute)


def audit(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    slice_: Annotated[
        list[str],
        typer.Option("--slice", help="To leave out: accent=scot, accent=*, 'long: duration_s > 4'; repeatable."),
    ],
    store: StoreOption = DEFAULT_STORE,
    evaluation: Annotated[
        list[str] | None, typer.Option("--eval", help="Slices of the errors; default: the same, and all.")
    ] = None,
    on: Annotated[str | None, typer.Option(help="Evaluation set; default: the recipe's first.")] = None,
    seeds: Annotated[int, typer.Option(help="Paired seeds.")] = 3,
    controls: Annotated[int, typer.Option(help="Random removals of each size per seed.")] = 2,
    margin: Annotated[float, typer.Option(help="Largest change of WER that counts as none, in points.")] = 3.0,
    generalise: Annotated[
        str, typer.Option(help="'speakers' like those tested, or 'utterances' of these.")
    ] = "speakers",
    workers: WorkersOption = WORKERS,
    as_json: JsonOption = False,
) -> None:
    """Leave slices of the training data out, one at a time, and measure what that does to slices of the errors."""
    from influence.audit import audit as run
    from training.recipe import Recipe

    if generalise not in ("speakers", "utterances"):
        raise typer.BadParameter("give 'speakers' or 'utterances'", param_hint="--generalise")
    with progress("retraining") as report:
        done = run(
            Store.open(store), Recipe.load(recipe), slices=slice_, evaluation=evaluation or (), evaluation_set=on,
            seeds=seeds, controls=controls, margin=margin / 100, workers=workers, progress=report,
            generalise="utterances" if generalise == "utterances" else "speakers",
        )  # fmt: skip
    rows = [
        {
            "without": e.train_slice,
            "on": e.eval_slice,
            "Δ WER": f"{100 * e.estimate:+.1f}",
            "interval": _span(e.low, e.high),
            "random": "" if e.control is None else f"{100 * e.control:+.1f}",
            "p": f"{e.p_adjusted:.3f}",
            "verdict": e.verdict,
        }
        for e in done.effects
        if e.metric == "wer"
    ]
    if as_json:
        value: dict[str, Any] = {"audit": done.audit, "run": done.run_id, "failures": dict(done.failures)}
        value |= {"retrainings": done.retrainings, "trained": done.trained}
        value |= {"effects": [e.__dict__ for e in done.effects]}
        sys.stdout.write(json.dumps(value, indent=1) + "\n")
        return
    print_rows(rows)
    say(f"points of WER; positive: worse without it. audit {short(done.audit)}, {done.retrainings} retrainings, "
        f"{done.trained} of them new, {done.wall_s:.0f} s")  # fmt: skip
    for name, error in done.failures.items():
        say(f"failed: {name}: {error.strip().splitlines()[-1]}")


def attribute(
    model: Annotated[str, typer.Argument(help="A model: name, id, or the beginning of an id.")],
    target: Annotated[list[str] | None, typer.Option(help="Evaluation slices: accent=*, or SQL; repeatable.")] = None,
    on: Annotated[str | None, typer.Option(help="Evaluation set; default: the recipe's first.")] = None,
    method: Annotated[str, typer.Option(help="grad_dot, tracin or adam_tracin.")] = "adam_tracin",
    store: StoreOption = DEFAULT_STORE,
    workers: WorkersOption = WORKERS,
    as_json: JsonOption = False,
) -> None:
    """Split each evaluation slice's loss among the training samples by gradients."""
    from influence.attribute import attribute as run

    with progress("attributing") as report:
        done = run(
            Store.open(store), model, method=method, targets=target or (), evaluation_set=on,
            workers=workers, progress=report,
        )  # fmt: skip
    if as_json:
        value = {"run": done.run_id, "model": done.model_id, "method": method, "targets": done.targets}
        sys.stdout.write(json.dumps({**value, "samples": done.samples}, indent=1) + "\n")
        return
    say(f"{done.samples} samples × {len(done.targets)} targets by {method}, run {done.run_id}")


def _span(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{100 * low:+.1f} to {100 * high:+.1f}"
