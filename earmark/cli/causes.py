"""Verbs that ask for causes: gap, whatif, collect."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from earmark.cli.evaluation import DeviceOption, ModelArgument, NormaliserOption, OnOption, SeedsOption, ThreadsOption
from earmark.cli.options import DEFAULT_STORE, JsonOption, RecipeArgument, StoreOption
from earmark.cli.output import percent, print_json, print_rows, progress, say, short, span
from earmark.cli.spreading import AddressOption, ExecutorOption, WorkersOption, spread
from lineage.errors import EarmarkError
from lineage.store import Store

EvalOption = Annotated[
    list[str] | None, typer.Option("--eval", help="Slices of the errors that the target is made of; default: all.")
]
WeightOption = Annotated[
    list[float] | None, typer.Option("--weight", help="Weight of each --eval in the target's mean, in their order.")
]
WorstOption = Annotated[bool, typer.Option("--worst", help="The target is the --eval slice that is served worst now.")]


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    for verb in (gap, whatif, collect):
        app.command()(verb)


def gap(
    model: ModelArgument,
    set_ref: Annotated[str, typer.Argument(metavar="SET", help="The set to compare on.")],
    slice_: Annotated[str, typer.Option("--slice", help="The slice; it is compared with the rest of the set.")],
    store: StoreOption = DEFAULT_STORE,
    adjust: Annotated[
        str | None,
        typer.Option(help="Columns to make equal, e.g. noise,device; default: what is on record of the usual."),
    ] = None,
    causes: Annotated[
        Path | None, typer.Option(help="A causal graph, YAML or DOT; it says what has to be made equal.")
    ] = None,
    refute: Annotated[
        int, typer.Option(help="Simulations for each attempt to refute the adjusted gap through DoWhy; 0: none.", min=0)
    ] = 0,
    draw: Annotated[Path | None, typer.Option(help="Draw the causal graph to this file, .svg or .dot.")] = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="Of this very model, even if others differ from it in their seeds alone.")
    ] = False,
    normaliser: NormaliserOption = "basic",
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """The gap between a slice of the errors and the rest: raw, and with recording conditions made equal.

    Where models that differ from it in their seeds alone were evaluated on the set, it is that of their mean.
    """
    from influence.causes.compared import plain
    from influence.causes.gap import gap as run
    from influence.causes.graph import CausalGraph
    from influence.report import drawing

    graph = None if causes is None else CausalGraph.load(causes)
    if draw is not None and (graph is None or draw.suffix not in (".svg", ".dot")):
        raise EarmarkError(f"{draw}: drawing takes a causal graph (--causes) and a file that ends in .svg or .dot")
    chosen = None if adjust is None else [name.strip() for name in adjust.split(",") if name.strip()]
    with progress(f"gap of {slice_}") as report:
        done = run(
            Store.open(store), [model] if alone else model, set_ref, slice_, adjust=chosen, causes=graph, refutations=refute,
            normalise=normaliser, device=device, threads=threads, progress=report,
        )  # fmt: skip
    found = done.gaps
    if draw is not None and graph is not None:
        drawn = drawing.svg if draw.suffix == ".svg" else drawing.dot
        text = drawn(graph, [slice_.partition("=")[0].strip()], found.adjusted_for)
        try:
            draw.write_text(text, encoding="utf-8")
        except OSError as error:
            raise EarmarkError(f"cannot write {draw}: {error.strerror} — choose another place") from error
    if as_json:
        print_json({"run": done.run_id, **plain(done)})
        return
    rows = [_gap_row("raw", found.raw)]
    if not found.overlap.whole:
        rows.append(_gap_row("raw, where both were heard", found.raw_kept))
    if found.adjusted is not None:
        rows.append(_gap_row(f"adjusted for {', '.join(found.adjusted_for) or 'nothing'}", found.adjusted.gap))
    print_rows(rows)
    say(
        f"WER of {found.slice} − WER of the others, in points; positive: {found.slice} is worse served. run {done.run_id}"
    )
    if len(done.models) == 1:
        say("of one model")
    else:
        each = ", ".join(f"{100 * value:+.2f}" for value in done.each)
        say(f"of {len(done.models)} models that differ in their seeds, errors averaged; the raw gap of each: {each}")
    if found.adjusted is not None and found.mixed is not None:
        say(f"rate ratio {found.adjusted.ratio:.2f}; mixed-effects model {100 * found.mixed.gap:+.2f} points, speakers one "
            f"standard deviation apart differ by a factor of {found.mixed.speaker_factor:.2f}")  # fmt: skip
    for r in done.refutations:
        say(f"{r.attack}: {100 * r.estimate:+.2f} becomes {100 * r.attacked:+.2f} points, p {r.p:.2f}: "
            f"{'stands' if r.stands else 'FALLS'}")  # fmt: skip
    if found.left_aside:
        say(f"left aside, for it says nothing new: {', '.join(found.left_aside)}")
    for caution in found.cautions:
        say(f"beware: {caution}")


def whatif(
    recipe: RecipeArgument,
    slice_: Annotated[str, typer.Option("--slice", help="The training slice that there would be more of.")],
    hours: Annotated[list[float], typer.Option(help="Hours more; repeatable.")],
    store: StoreOption = DEFAULT_STORE,
    evaluation: EvalOption = None,
    weight: WeightOption = None,
    worst: WorstOption = False,
    on: OnOption = None,
    seeds: SeedsOption = 3,
    workers: WorkersOption = None,
    executor: ExecutorOption = None,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """What the error rate would be with more hours of a slice, by a learning curve through retrainings on fewer."""
    from influence.causes.forecast import forecast
    from training.recipe import Recipe

    with progress("retraining") as report:
        done = forecast(
            Store.open(store), Recipe.load(recipe), [slice_], hours, evaluation=evaluation or (), weights=weight or (),
            goal="worst" if worst else "mean", evaluation_set=on, seeds=seeds,
            spread=spread(workers, executor, address), progress=report,
        )  # fmt: skip
    _print(done, as_json)


def collect(
    recipe: RecipeArgument,
    slice_: Annotated[
        list[str], typer.Option("--slice", help="What could be collected: accent=scot, accent=*, …; repeatable.")
    ],
    store: StoreOption = DEFAULT_STORE,
    hours: Annotated[
        float | None, typer.Option(help="Hours more of each; default: as many as there are of the smallest.")
    ] = None,
    evaluation: EvalOption = None,
    weight: WeightOption = None,
    worst: WorstOption = False,
    on: OnOption = None,
    seeds: SeedsOption = 3,
    workers: WorkersOption = None,
    executor: ExecutorOption = None,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """What to collect next: training slices by expected reduction of the error rate per hour."""
    from influence.causes.forecast import forecast
    from training.recipe import Recipe

    with progress("retraining") as report:
        done = forecast(
            Store.open(store), Recipe.load(recipe), slice_, () if hours is None else [hours], evaluation=evaluation or (),
            weights=weight or (), goal="worst" if worst else "mean", evaluation_set=on, seeds=seeds,
            spread=spread(workers, executor, address), progress=report,
        )  # fmt: skip
    _print(done, as_json)


def _print(done: Any, as_json: bool) -> None:
    if as_json:
        value = {"run": done.run_id, "target": done.target, "coverage": done.coverage, "measured": done.measured}
        value |= {"forecasts": [asdict(r) for r in done.rows]}
        print_json(value)
        return
    print_rows(
        [
            {
                "more of": r.train_slice,
                "hours": f"{r.hours_now:.3g} + {r.hours_more:.3g}",
                "WER % now": round(100 * r.wer_now, 2),
                "then": round(100 * r.wer_then, 2),
                "interval": span(r.wer_then_low, r.wer_then_high, ".1f"),
                "points per hour": f"{100 * r.per_hour:.3g}",
                "interval per hour": span(r.per_hour_low, r.per_hour_high, ".3g"),
                "beware": r.caution,
            }
            for r in sorted(done.rows, key=lambda r: r.hours_more)  # of as many hours, as they are ranked
        ]
    )
    say(f"target {done.target}; run {short(done.run_id)}, {done.trained} models trained now. Points per hour: fewer errors are "
        "positive.")  # fmt: skip
    if done.coverage is not None:
        say(f"check: the hours there are lay within what fewer hours forecast for {done.coverage:.0%} of the slices")
    say("It holds for hours like those there are, and for this recipe's number of steps.")


def _gap_row(name: str, interval: Any) -> dict[str, Any]:
    points = {"points": percent(interval.value), "low": percent(interval.low), "high": percent(interval.high)}
    return {"gap": name, **points, "speakers": interval.blocks}
