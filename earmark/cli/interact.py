"""The verb that asks what slices of the training data are worth together: interact."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earmark.cli.evaluation import MetricOption, OnOption, SeedsOption
from earmark.cli.options import DEFAULT_STORE, JsonOption, RecipeArgument, StoreOption
from earmark.cli.output import print_json, print_rows, progress, say, say_failures, short
from earmark.cli.spreading import AddressOption, ExecutorOption, WorkersOption, spread
from lineage.store import Store

if TYPE_CHECKING:
    from influence.games.worth import Interaction

SAID = {
    "total": "all of them together",
    "shapley": "Shapley value",
    "interaction": "interaction",
    "deletion": "left out",
}


def register(app: typer.Typer) -> None:
    """Add this verb to the command line."""
    app.command()(interact)


def interact(
    recipe: RecipeArgument,
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
    on: OnOption = None,
    seeds: SeedsOption = 3,
    generalise: Annotated[
        str, typer.Option(help="'speakers' like those tested, or 'utterances' of these.")
    ] = "speakers",
    metric: MetricOption = None,
    workers: WorkersOption = None,
    executor: ExecutorOption = None,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Retrain on combinations of slices: their Shapley values, and whether one makes up for the lack of another."""
    from influence.games.coalitions import interact as run
    from influence.plans.hypotheses import NAMES
    from influence.report.games import PAIRED
    from lineage.selection.slices import WHOLE
    from training.recipe import Recipe

    options: dict[str, Any] = {"sampling": sampling, "generalise": generalise}
    options |= {"metrics": metric} if metric else {}
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
        print_json({**value, "rows": [asdict(r) for r in done.rows]})
        return
    rows = [r for r in done.rows if r.metric in (metric or ["wer"])]
    sequence = list(SAID)
    rows.sort(key=lambda r: (r.metric, r.eval_slice != WHOLE.name, r.eval_slice, sequence.index(r.measure), r.size))
    print_rows(
        [
            {
                "measure": PAIRED if r.measure == "deletion" and r.size > 1 else SAID[r.measure],
                "of": r.slices,
                "on": r.eval_slice,
                **({} if metric is None else {"metric": NAMES[r.metric]}),
                "points of WER" if metric is None else "value": _number(r.metric, r.estimate),
                "interval": ""
                if None in (r.low, r.high)
                else f"{_number(r.metric, r.low)} to {_number(r.metric, r.high)}",
                "sampling ±": _sampling(r),
                "p": "" if r.p_adjusted is None else f"{r.p_adjusted:.3f}",
            }
            for r in rows
        ]
    )
    what = "WER" if metric is None else "metric"
    say(f"Values: positive, the data lower the {what}. Of two together: negative, either makes up for the other; positive, "
        "each needs the other.")  # fmt: skip
    for caution in dict.fromkeys(c for r in rows for c in r.caution.split("; ") if c):
        say(f"Caution: {caution}.")
    say(f"game {short(done.game)}, by {done.method}: {done.retrainings} retrainings, {done.trained} of them new, "
        f"{done.wall_s:.0f} s")  # fmt: skip
    say_failures(done.failures)


def _sampling(row: Interaction) -> str:
    """The error of having drawn just these coalitions, where some were drawn."""
    if row.measure == "total" or row.pairs is None:
        return ""
    return "too few" if row.sampling_error is None else _number(row.metric, row.sampling_error).lstrip("+")


def _number(metric: str, value: float | None) -> str:
    """Points, or nats per word of loss; empty where it is not known."""
    from influence.plans.hypotheses import SCALE

    return "" if value is None else f"{SCALE[metric] * value:+.{3 if SCALE[metric] == 1 else 1}f}"
