"""Verbs of audits: audit plan, audit check, audit run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earmark.cli.evaluation import MetricOption, OnOption
from earmark.cli.options import DEFAULT_STORE, JsonOption, StoreOption
from earmark.cli.output import print_json, print_rows, progress, say, say_failures, short
from earmark.cli.spreading import WORKERS, AddressOption, ExecutorOption, WorkersOption, spread
from lineage.store import Store

if TYPE_CHECKING:
    from influence.audit import AuditReport
    from influence.causes.compared import Judged
    from influence.plans.outlook import Outlook
    from influence.plans.plan import Plan
    from influence.plans.planfile import AuditPlan
    from influence.plans.request import Request

SliceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--slice", help="PLAN is a recipe, and this is to leave out: accent=scot, 'long: duration_s > 4'; repeatable."
    ),
]
EvalOption = Annotated[
    list[str] | None, typer.Option("--eval", help="Slices of the errors; default: the same, and all.")
]
SeedsOption = Annotated[int | None, typer.Option(help="Paired seeds; default 3.")]
ControlsOption = Annotated[int | None, typer.Option(help="Random removals of each size per seed; default 2.")]
MarginOption = Annotated[
    float | None, typer.Option(help="Largest change of WER that counts as none, in points; default 3.")
]
GeneraliseOption = Annotated[
    str | None, typer.Option(help="'speakers' like those tested (default), or 'utterances' of these.")
]
LooksOption = Annotated[
    str | None, typer.Option(help="Seeds after which what is settled gets no more of them: 2,3,5,8; default: one look.")
]
SpendingOption = Annotated[
    str | None,
    typer.Option(help="How the error allowed is spent on looks: kim-demets (default), pocock or obrien-fleming."),
]
ScreeningOption = Annotated[
    bool | None, typer.Option("--screening", help="Bound the share of false discoveries, not the chance of any.")
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
    looks: LooksOption = None,
    spending: SpendingOption = None,
    metric: MetricOption = None,
    screening: ScreeningOption = None,
    workers: WorkersOption = None,
    executor: ExecutorOption = None,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Do what a plan says: freeze it, retrain, judge. Status 1: what the plan says to fail on; 2: it cannot be done."""
    from influence.audit import run as carry_out

    wanted = _plan(
        plan, slice_, eval=evaluation, on=on, seeds=seeds, controls=controls, margin=margin, generalise=generalise,
        looks=looks, spending=spending, metric=metric, screening=screening,
    )  # fmt: skip
    planned = wanted.executor.spread if "executor" in wanted.model_fields_set else None
    chosen = spread(workers, executor, address, planned)
    with progress("retraining") as report:
        done = carry_out(Store.open(store), wanted, spread=chosen, progress=report)
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
    looks: LooksOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """What a plan would do: its family, its retrainings, how many are on record, how long the others take. Writes nothing."""
    from influence.plans.outlook import outlook
    from influence.plans.plan import sketch
    from influence.plans.request import request
    from influence.rounds import Rounds

    opened = Store.open(store)
    wanted = _plan(plan, slice_, eval=evaluation, on=on, seeds=seeds, controls=controls, looks=looks)
    asked = request(opened, wanted)
    drawn = sketch(opened, asked)
    expected = outlook(opened, drawn)
    seconds = expected.seconds(workers or WORKERS)
    value = {
        "digest": asked.digest,
        "on_record": bool(drawn.run_id),
        "hypotheses": [str(h) for h in asked.hypotheses],
        "interventions": [c.phrase for c in drawn.comparisons],
        "causes": [{"slice": c.slice.name, "adjusted_for": list(c.adjusted_for)} for c in asked.claims],
        "retrainings": expected.retrainings,
        "retrainings_on_record": expected.on_record,
        "seconds": seconds,
        "cpu_seconds": expected.cpu_s,
        "budget": asked.budget.model_dump(exclude_none=True),
    }
    if as_json:
        print_json(value)
    else:
        _say_outlook(asked, drawn, expected, seconds)
    Rounds(opened, drawn).check_budget()


def _say_outlook(asked: Request, drawn: Plan, expected: Outlook, seconds: float | None) -> None:
    say(f"plan {short(asked.digest)}{', on record' if drawn.run_id else ''}: {len(drawn.comparisons)} interventions")
    for h in asked.hypotheses:
        say(f"  {h}")
    for c in asked.claims:
        say(f"  the gap of {c.slice.name}, adjusted for {', '.join(c.adjusted_for) or 'nothing'}")
    time = "how long is unknown: no comparable run is on record"
    if seconds is not None:
        time = f"about {seconds / 60:.1f} min, {(expected.cpu_s or 0.0) / 3600:.2g} CPU-hours"
    most = "at most " if asked.declaration.sequential else ""
    say(f"{most}{expected.retrainings} retrainings, {expected.on_record} of them on record; for the others {time}")


def plan(
    from_store: Annotated[bool, typer.Option("--from-store", help="Draft it from what is on record.")] = False,
    recipe: Annotated[Path | None, typer.Option(help="The recipe; default: that of the newest training.")] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Draft a plan with comments: attributes of few values as slices, a null slice, what it would cost."""
    from influence.plans.draft import draft
    from lineage.errors import EarmarkError
    from training.recipe import Recipe

    if not from_store:
        raise EarmarkError("say what to draft a plan from — earmark audit plan --from-store > plan.yaml")
    loaded = None if recipe is None else Recipe.load(recipe)
    sys.stdout.write(draft(Store.open(store), loaded, None if recipe is None else str(recipe)))


def _plan(path: Path, slices: list[str] | None, **options: Any) -> AuditPlan:
    """The plan in the file; with slices, the plan that the options make of the recipe in it."""
    from influence.plans.planfile import AuditPlan
    from influence.statistics.sequential import parse_looks
    from lineage.errors import EarmarkError
    from training.recipe import Recipe

    given = {name: value for name, value in options.items() if value is not None}
    if slices is None:
        for name in given:
            raise EarmarkError(f"--{name} goes with --slice and a recipe — a plan says that itself")
        return AuditPlan.load(path)
    recipe = Recipe.load(path)
    statistics: dict[str, Any] = {"margins": {"wer": given.get("margin", 3.0)}}
    statistics |= {name: given[name] for name in ("generalise", "screening") if name in given}
    if "metric" in given:
        statistics["metrics"] = given["metric"]
    if "looks" in given:
        statistics["sequential"] = {"looks": parse_looks(given["looks"])}
        statistics["sequential"] |= {"spending": given["spending"]} if "spending" in given else {}
    elif "spending" in given:
        raise EarmarkError("--spending goes with --looks — say after how many seeds, e.g. --looks 2,3,5,8")
    fields: dict[str, Any] = {"name": recipe.name, "recipe": recipe, "slices": slices, "statistics": statistics}
    names = {"look_at": "eval", "evaluate": "on", "seeds": "seeds"}
    fields |= {field: given[name] for field, name in names.items() if name in given}
    if "controls" in given:
        fields["controls"] = {"number": given["controls"]}
    return AuditPlan.parse(fields, "the options")


def _print(done: AuditReport, as_json: bool) -> None:
    from influence.report import words
    from influence.report.causes import line

    if as_json:
        value: dict[str, Any] = {"audit": done.audit, "run": done.run_id, "plan": done.plan_run, "amends": done.amends}
        value |= {
            "retrainings": done.retrainings,
            "planned": done.planned,
            "trained": done.trained,
            "stopped": done.stopped or None,
            "failures": dict(done.failures),
        }
        value |= {"status": done.status, "failed": list(done.failed)}
        value |= {"hypotheses": [h.to_json() for h in done.hypotheses], "checks": [c.__dict__ for c in done.checks]}
        value |= {"effects": [e.__dict__ for e in done.effects]}
        value |= {"causes": [_caused(j) for j in done.causes]}
        print_json(value)
        return
    measured = {e.metric for e in done.effects}
    shown = "wer" if "wer" in measured or not measured else done.effects[0].metric
    rows = [
        {
            "intervention": e.phrase,
            "on": e.eval_slice,
            f"Δ {words.metric_name(shown)}": words.number(shown, e.estimate),
            "interval": "" if not words.known(e) else words.interval(shown, e.low, e.high),
            "random": "" if e.control is None else words.number(shown, e.control),
            "p": f"{e.p_adjusted:.3f}",
            **({} if e.looks is None else {"seeds": str(e.seeds)}),
            **({} if e.mapsswe_p is None else {"MAPSSWE": f"{e.mapsswe_p:.3f}"}),
            **({} if e.rank_p is None else {"p by rank": f"{e.rank_p:.3f}"}),
            "verdict": e.verdict,
        }
        for e in done.effects
        if e.metric == shown
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    print_rows([{name: row.get(name, "") for name in names} for row in rows])
    for h in done.hypotheses:
        say(f"{h.verdict}: {h.sentence} (p {h.p_adjusted:.3f}); {h.reason}")
    for c in done.checks:
        say(str(c))
    for j in done.causes:
        say(line(j))
    say(f"{words.unit(shown)} of {words.metric_name(shown)}; positive: worse under the intervention. "
        f"audit {short(done.audit)}, {done.retrainings} retrainings, "
        f"{done.trained} of them new, {done.wall_s:.0f} s")  # fmt: skip
    if done.retrainings < done.planned:
        saved = 1 - done.retrainings / done.planned
        say(
            f"the fixed design takes {done.planned} retrainings: {saved:.0%} were saved by stopping where all was settled"
        )
    if done.stopped:
        say(f"stopped by the budget: {done.stopped}; what is open then is not identifiable")
    if done.amends is not None:
        say(f"amends plan {short(done.amends)}: its hypotheses were written when results of that one were on record")
    say_failures(done.failures)
    say_status(done)


def say_status(done: AuditReport) -> None:
    """Why the exit status is 1, where it is."""
    if done.failed:
        say(f"status 1: {', '.join(done.failed)}")


def _caused(judged: Judged) -> dict[str, Any]:
    """A gap that the plan's causal graph asks for, as JSON."""
    from influence.causes.compared import plain

    return {**judged.to_json(), "found": None if judged.report is None else plain(judged.report)}
