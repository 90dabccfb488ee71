"""Verbs that measure models: evaluate, compare, forgetting, calibrate, measure."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from earmark.cli.evaluation import MODEL, DeviceOption, ModelArgument, NormaliserOption, ThreadsOption
from earmark.cli.options import DEFAULT_STORE, JsonOption, StoreOption
from earmark.cli.output import percent, print_rows, progress, say, short, span
from lineage.finite import finite
from lineage.selection.sets import resolve_set
from lineage.store import Store

SliceOption = Annotated[list[str] | None, typer.Option("--slice", help="accent=scot, accent=*, or SQL; repeatable.")]

RATES = {"wer": "WER %", "cer": "CER %", "sentence_accuracy": "sentences %", "entity_accuracy": "entities %"}
MEANS = {"wer_by_speaker": "by speaker %", "wer_macro": "mean of slices %"}


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    for verb in (evaluate, compare, forgetting, calibrate, measure):
        app.command()(verb)


def evaluate(
    model: ModelArgument,
    set_ref: Annotated[str, typer.Argument(metavar="SET", help="The set to evaluate on.")],
    store: StoreOption = DEFAULT_STORE,
    slice_: SliceOption = None,
    normaliser: NormaliserOption = "basic",
    beside: Annotated[
        str | None, typer.Option(help="A second normaliser, to see how much of the WER is the normaliser's doing.")
    ] = None,
    entities: Annotated[
        list[Path] | None,
        typer.Option(help="A list of terms, one a line, in a file named after their kind; repeatable."),
    ] = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Error rates of a model on a set, by slice, with speaker-block bootstrap intervals; --json prints every figure."""
    from training.evaluation.evaluate import evaluate as measure_errors
    from training.evaluation.slices import wanted

    opened = Store.open(store)
    population = resolve_set(opened, set_ref)
    cuts = wanted(opened, slice_ or (), population.digest)
    with progress(f"evaluating on {population.name}") as report:
        done = measure_errors(
            opened, model, population.digest, slices=cuts, normalise=normaliser, beside=beside, entities=entities or (),
            device=device, threads=threads, progress=report,
        )  # fmt: skip
    for warning in done.warnings:
        sys.stderr.write(f"earmark: {warning}\n")
    if as_json:
        print_rows([_plain(figure) for figure in done.figures], as_json=True)
        return
    say(
        f"model {short(done.predictions.model_id)} on {population.name}, normaliser {done.predictions.normaliser}, "
        f"temperature {done.predictions.temperature:.3g}"
    )
    values = {(f.slice, f.metric): f for f in done.figures}
    there = {f.metric for f in done.figures}
    rows = []
    for name in dict.fromkeys(f.slice for f in done.figures if f.metric == "wer"):
        whole = values[name, "wer"]
        row: dict[str, Any] = {"slice": name, "WER %": percent(whole.interval.value), **_ends(whole.interval)}
        for metric, title in [*list(RATES.items())[1:], ("wer_by_speaker", MEANS["wer_by_speaker"])]:
            if metric in there:
                found = values.get((name, metric))
                row[title] = None if found is None else percent(found.interval.value)
        found = values.get((name, "ece_word"))
        row["ECE %"] = None if found is None else percent(found.interval.value)
        rows.append({**row, "utterances": whole.samples, "words": whole.words, "speakers": whole.interval.blocks})
    print_rows(rows)
    for f in done.figures:
        figure = f"{percent(f.interval.value)} % ({_span(f.interval)})"
        if f.metric == "wer_macro":
            say(f"mean over {f.slice}: WER {figure}")
        elif f.metric.startswith("entity_accuracy:") and f.slice == "all":
            say(f"entities of kind {f.metric.partition(':')[2]}: {figure} of {f.total} heard whole")
        elif f.metric == "wer_beside" and f.slice == "all":
            say(f"WER under {f.normaliser}: {figure}")
        elif f.metric == "wer_beside_difference" and f.slice == "all":
            say(
                f"  that is {100 * f.interval.value:+.2f} points beside {done.predictions.normaliser} ({_span(f.interval)})"
            )


def compare(
    first: Annotated[str, typer.Argument(metavar="MODEL_A", help=MODEL)],
    second: Annotated[str, typer.Argument(metavar="MODEL_B", help="Another.")],
    set_ref: Annotated[str, typer.Argument(metavar="SET", help="The set to compare them on.")],
    store: StoreOption = DEFAULT_STORE,
    slice_: SliceOption = None,
    normaliser: NormaliserOption = "basic",
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Which of two models is better on the same utterances, by slice: speaker-block bootstrap and MAPSSWE, with Holm."""
    from training.comparison.compare import compare as contrast
    from training.evaluation.slices import wanted

    opened = Store.open(store)
    population = resolve_set(opened, set_ref)
    cuts = wanted(opened, slice_ or (), population.digest)
    with progress(f"comparing on {population.name}") as report:
        done = contrast(
            opened, first, second, population.digest, slices=cuts, normalise=normaliser, device=device, threads=threads,
            progress=report,
        )  # fmt: skip
    if as_json:
        print_rows([finite(asdict(c)) for c in done.contrasts], as_json=True)
        return
    rows = [
        {
            "slice": c.slice,
            "A %": percent(c.first),
            "B %": percent(c.second),
            "A − B": percent(c.difference.value),
            **_ends(c.difference),
            "p": finite(c.p),
            "p Holm": finite(c.p_adjusted),
            "MAPSSWE p": finite(c.mapsswe.p),
            "p Holm (MAPSSWE)": finite(c.mapsswe_adjusted),
            "segments": c.mapsswe.segments,
            "words": c.words,
            "speakers": c.difference.blocks,
        }
        for c in done.contrasts
    ]
    say(f"A is {short(done.first.model_id)}, B is {short(done.second.model_id)}, on {population.name}")
    print_rows(rows)
    say("Points of WER; positive: A errs more. Corrected over the slices, the whole set apart.")


def forgetting(
    model: ModelArgument,
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on", metavar="SET", help="An old set; repeatable. Default: those that older recipes measured on."
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    slice_: SliceOption = None,
    normaliser: NormaliserOption = "basic",
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """What a model has forgotten of what those that it continues had learnt: WER before and after, by old set and slice."""
    from training.comparison.forgetting import forgetting as measured
    from training.evaluation.slices import wanted

    opened = Store.open(store)
    with progress("measuring what was forgotten") as report:
        done = measured(
            opened, model, on or (), slices=lambda s: wanted(opened, slice_ or (), s.digest), normalise=normaliser,
            device=device, threads=threads, progress=report,
        )  # fmt: skip
    if as_json:
        rows = [
            {"set": f.data.name, "set_digest": f.data.digest, "model": f.comparison.first.model_id}
            | {"before": f.before.model_id, **finite(asdict(c))}
            for f in done
            for c in f.comparison.contrasts
        ]
        print_rows(rows, as_json=True)
        return
    rows = [
        {
            "set": f.data.name,
            "slice": c.slice,
            "before": f.before.name,
            "before %": percent(c.second),
            "after %": percent(c.first),
            "forgotten": percent(c.difference.value),
            **_ends(c.difference),
            "p Holm": finite(c.p_adjusted),
            "words": c.words,
            "speakers": c.difference.blocks,
        }
        for f in done
        for c in f.comparison.contrasts
    ]
    say(f"model {short(done[0].comparison.first.model_id)} beside what it continues")
    print_rows(rows)
    say("Points of WER; positive: forgotten. Corrected over the slices of a set, the whole set apart.")


def calibrate(
    model: ModelArgument,
    set_ref: Annotated[str, typer.Argument(metavar="SET", help="A development set; not the one to be reported.")],
    store: StoreOption = DEFAULT_STORE,
    normaliser: NormaliserOption = "basic",
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Fit the temperature that makes a model's confidences honest, and put it on record for later evaluations."""
    from training.evaluation.temperature import calibrate as fit

    opened = Store.open(store)
    with progress("calibrating") as report:
        done = fit(opened, model, set_ref, normalise=normaliser, device=device, threads=threads, progress=report)
    if as_json:
        print_rows([done.__dict__], as_json=True)
        return
    say(f"model {short(done.model_id)}: temperature {done.temperature:.3f}, fitted on {done.words} words")
    say(f"  expected calibration error of words {100 * done.before:.1f} % before, {100 * done.after:.1f} % after")


def measure(
    model: ModelArgument,
    set_ref: Annotated[str, typer.Argument(metavar="SET", help="The set to take utterances from.")],
    store: StoreOption = DEFAULT_STORE,
    most: Annotated[int, typer.Option(help="Utterances at most.", min=1)] = 200,
    normaliser: NormaliserOption = "basic",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Latency, real-time factor, memory and WER of a model on this machine's CPU, at full precision and in int8."""
    from training.comparison.speed import measure as time_it

    opened = Store.open(store)
    with progress("measuring") as report:
        done = time_it(opened, model, set_ref, most=most, normalise=normaliser, threads=threads, progress=report)
    if as_json:
        print_rows([finite(asdict(s)) for s in done.speeds], as_json=True)
        return
    rows = [
        {
            "precision": s.precision,
            "p50 ms": round(1000 * s.latency_p50_s, 2),
            "p95 ms": round(1000 * s.latency_p95_s, 2),
            "real-time factor": round(s.real_time_factor, 5),
            "peak MB": round(s.peak_bytes / 1e6, 1),
            "weights MB": round(s.weight_bytes / 1e6, 2),
            "WER %": percent(s.wer.value),
            **_ends(s.wer),
        }
        for s in done.speeds
    ]
    print_rows(rows)
    say(
        f"{done.utterances} utterances one by one, {threads} thread(s), features included; int8 − float32: "
        f"{100 * done.difference.value:+.2f} points of WER ({_span(done.difference)})"
    )


def _plain(figure: Any) -> dict[str, Any]:
    interval = figure.interval
    return {
        "slice": figure.slice,
        "metric": figure.metric,
        "value": interval.value,
        "low": finite(interval.low),
        "high": finite(interval.high),
        "level": interval.level,
        "speakers": interval.blocks,
        "utterances": figure.samples,
        "words": figure.words,
        "total": figure.total,
        "normaliser": figure.normaliser,
    }


def _ends(interval: Any) -> dict[str, float | None]:
    return {"low %": percent(interval.low), "high %": percent(interval.high)}


def _span(interval: Any) -> str:
    return span(interval.low, interval.high, ".2f") or "no interval: one speaker"
