"""Verbs of audits: audit plan, audit check, audit run."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earmark.cli.options import DEFAULT_STORE, JsonOption, StoreOption
from earmark.cli.output import print_rows, progress, say, short
from lineage.store import Store

if TYPE_CHECKING:
    from influence.audit import AuditReport
    from influence.planfile import AuditPlan

WorkersOption = Annotated[int | None, typer.Option(help="Processes, of the recipe's threads each.", min=1)]
WORKERS = min(4, os.cpu_count() or 1)

SliceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--slice", help="PLAN is a recipe, and this is to leave out: accent=scot, 'long: duration_s > 4'; repeatable."
    ),
]
EvalOption = Annotated[
    list[str] | None, typer.Option("--eval", help="Slices of the errors; default: the same, and all.")
]
OnOption = Annotated[str | None, typer.Option(help="Evaluation set; default: the recipe's first.")]
SeedsOption = Annotated[int | None, typer.Option(help="Paired seeds; default 3.")]
ControlsOption = Annotated[int | None, typer.Option(help="Random removals of each size per seed; default 2.")]
MarginOption = Annotated[
    float | None, typer.Option(help="Largest change of WER that counts as none, in points; default 3.")
]
GeneraliseOption = Annotated[
    str | None, typer.Option(help="'speakers' like those tested (default), or 'utterances' of these.")
]
PlanArgument = Annotated[Path, typer.Argument(metavar="PLAN", help="The plan, a YAML file; with --slice, a recipe.")]

audit = typer.Typer(
    help="Change slices of the training data, retrain, and measure what that does.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    for verb in (run, check, plan):
        audit.command()(verb)
    app.add_typer(audit, name="audit")


def run(
    plan: PlanArgument,
    store: StoreOption = DEFAULT_STORE,
    slice_: SliceOption = None,
    evaluation: EvalOption = None,
    on: OnOption = None,
    seeds: SeedsOption = None,
    controls: ControlsOption = None,
    margin: MarginOption = None,
    generalise: GeneraliseOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do what a plan says: freeze it, retrain, judge. Status 1: what the plan says to fail on; 2: it cannot be done."""
    from influence.audit import run as carry_out

    wanted = _plan(plan, slice_, evaluation, on, seeds, controls, margin, generalise)
    processes = workers or (wanted.executor.workers if "executor" in wanted.model_fields_set else WORKERS)
    with progress("retraining") as report:
        done = carry_out(Store.open(store), wanted, workers=processes, progress=report)
    _print(done, as_json)
    if done.status:
        raise typer.Exit(done.status)


def check(
    plan: PlanArgument,
    store: StoreOption = DEFAULT_STORE,
    slice_: SliceOption = None,
    evaluation: EvalOption = None,
    on: OnOption = None,
    seeds: SeedsOption = None,
    controls: ControlsOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """What a plan would do: its family, its retrainings, how many are on record, how long the others take. Writes nothing."""
    from influence.outlook import outlook
    from influence.plan import sketch
    from influence.request import request

    opened = Store.open(store)
    asked = request(opened, _plan(plan, slice_, evaluation, on, seeds, controls, None, None))
    drawn = sketch(opened, asked)
    expected = outlook(opened, drawn)
    seconds = expected.seconds(workers or WORKERS)
    value = {
        "digest": asked.digest,
        "on_record": bool(drawn.run_id),
        "hypotheses": [str(h) for h in asked.hypotheses],
        "interventions": [c.phrase for c in drawn.comparisons],
        "retrainings": expected.retrainings,
        "retrainings_on_record": expected.on_record,
        "seconds": seconds,
    }
    if as_json:
        sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")
        return
    say(f"plan {short(asked.digest)}{', on record' if drawn.run_id else ''}: {len(drawn.comparisons)} interventions")
    for h in asked.hypotheses:
        say(f"  {h}")
    time = "how long is unknown: no comparable run is on record" if seconds is None else f"about {seconds / 60:.1f} min"
    say(f"{expected.retrainings} retrainings, {expected.on_record} of them on record; for the others {time}")


def plan(
    from_store: Annotated[bool, typer.Option("--from-store", help="Draft it from what is on record.")] = False,
    recipe: Annotated[Path | None, typer.Option(help="The recipe; default: that of the newest training.")] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Draft a plan with comments: attributes of few values as slices, a null slice, what it would cost."""
    from influence.draft import draft
    from lineage.errors import EarmarkError
    from training.recipe import Recipe

    if not from_store:
        raise EarmarkError("say what to draft a plan from — earmark audit plan --from-store > plan.yaml")
    loaded = None if recipe is None else Recipe.load(recipe)
    sys.stdout.write(draft(Store.open(store), loaded, None if recipe is None else str(recipe)))


def _plan(
    path: Path,
    slices: list[str] | None,
    evaluation: list[str] | None,
    on: str | None,
    seeds: int | None,
    controls: int | None,
    margin: float | None,
    generalise: str | None,
) -> AuditPlan:
    """The plan in the file; with slices, the plan that the options make of the recipe in it."""
    from influence.planfile import AuditPlan
    from lineage.errors import EarmarkError
    from training.recipe import Recipe

    if slices is None:
        given = {"--eval": evaluation, "--on": on, "--seeds": seeds, "--controls": controls, "--margin": margin,
                 "--generalise": generalise}  # fmt: skip
        for name, value in given.items():
            if value is not None:
                raise EarmarkError(f"{name} goes with --slice and a recipe — a plan says that itself")
        return AuditPlan.load(path)
    recipe = Recipe.load(path)
    statistics = {"margins": {"wer": 3.0 if margin is None else margin}, "generalise": generalise or "speakers"}
    fields: dict[str, Any] = {"name": recipe.name, "recipe": recipe, "slices": slices, "statistics": statistics}
    optional = {"look_at": evaluation, "evaluate": on, "seeds": seeds}
    fields |= {name: value for name, value in optional.items() if value is not None}
    if controls is not None:
        fields["controls"] = {"number": controls}
    return AuditPlan.parse(fields, "the options")


def _print(done: AuditReport, as_json: bool) -> None:
    if as_json:
        value: dict[str, Any] = {"audit": done.audit, "run": done.run_id, "plan": done.plan_run, "amends": done.amends}
        value |= {"retrainings": done.retrainings, "trained": done.trained, "failures": dict(done.failures)}
        value |= {"status": done.status, "failed": list(done.failed)}
        value |= {"hypotheses": [h.to_json() for h in done.hypotheses], "checks": [c.__dict__ for c in done.checks]}
        value |= {"effects": [e.__dict__ for e in done.effects]}
        sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")
        return
    rows = [
        {
            "intervention": e.phrase,
            "on": e.eval_slice,
            "Δ WER": f"{100 * e.estimate:+.1f}",
            "interval": _span(e.low, e.high),
            "random": "" if e.control is None else f"{100 * e.control:+.1f}",
            "p": f"{e.p_adjusted:.3f}",
            **({} if e.rank_p is None else {"p by rank": f"{e.rank_p:.3f}"}),
            "verdict": e.verdict,
        }
        for e in done.effects
        if e.metric == "wer"
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    print_rows([{name: row.get(name, "") for name in names} for row in rows])
    for h in done.hypotheses:
        say(f"{h.verdict}: {h.sentence} (p {h.p_adjusted:.3f}); {h.reason}")
    for c in done.checks:
        say(f"{c.slice}: {c.said} ({c.verdict})")
    say(f"points of WER; positive: worse under the intervention. audit {short(done.audit)}, {done.retrainings} retrainings, "
        f"{done.trained} of them new, {done.wall_s:.0f} s")  # fmt: skip
    if done.amends is not None:
        say(f"amends plan {short(done.amends)}: its hypotheses were written when results of that one were on record")
    for name, error in done.failures.items():
        say(f"failed: {name}: {error.strip().splitlines()[-1]}")
    if done.failed:
        say(f"status 1: {', '.join(done.failed)}")


def _span(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{100 * low:+.1f} to {100 * high:+.1f}"
