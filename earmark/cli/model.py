"""Verbs that make models: train, crossvalidate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from earmark.cli.options import DEFAULT_STORE, JsonOption, PolicyOption, RecipeArgument, StoreOption, policy_in
from earmark.cli.output import percent, print_json, print_rows, progress, say, short
from lineage.people.policy import Policy
from lineage.store import Store

if TYPE_CHECKING:
    from training.recipe import Recipe


def register(app: typer.Typer) -> None:
    """Add these verbs to the command line."""
    app.command()(train)
    app.command()(crossvalidate)


def train(
    recipe: RecipeArgument,
    store: StoreOption = DEFAULT_STORE,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's seed.")] = None,
    threads: Annotated[int | None, typer.Option(help="Instead of the recipe's threads.")] = None,
    policy: PolicyOption = None,
    resume: Annotated[
        bool, typer.Option(help="Go on from where a killed run of the same was; else begin anew.")
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would run, how long and at what cost; write nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a model by a recipe, on the record, and evaluate it on the recipe's evaluation sets."""
    from training.evaluation.evaluate import evaluate as measure
    from training.fit import train as fit
    from training.recipe import Recipe
    from training.replays import differences

    opened = Store.open(store)
    plan = Recipe.load(recipe)
    if threads is not None:
        plan = plan.variant(threads=threads)
    rules = policy_in(policy)
    if dry_run:
        _foretell(opened, plan, seed, rules, as_json)
        return
    with progress(f"training {plan.name}") as report:
        trained = fit(opened, plan, seed=seed, policy=rules, resume=resume, progress=report)
    siblings = differences(opened, trained.run_id)
    with progress("evaluating") as report:
        evaluations = {ref: measure(opened, trained.model_id, ref, progress=report) for ref in plan.evaluate}
    if as_json:
        value = {"model": trained.model_id, "run": trained.run_id, "reused": trained.reused, "path": str(trained.path)}
        value |= {"wer": {ref: e.wer for ref, e in evaluations.items()}}
        value |= {"compared": [s.__dict__ for s in siblings]}
        print_json(value)
        return
    named = "" if trained.name == plan.name else f" under the name {trained.name}"
    say(f"model {trained.model_id}\n  run {trained.run_id}" + (f", on record already{named}" if trained.reused else ""))
    for sibling in siblings:
        say(f"  {sibling}")
    _say_course(opened.resolve_run(trained.run_id).result)
    for ref, e in evaluations.items():
        whole = e.figure().interval
        say(f"  WER on {ref}: {100 * whole.value:.1f} % ({100 * whole.low:.1f} to {100 * whole.high:.1f})")


def _foretell(store: Store, recipe: Recipe, seed: int | None, policy: Policy | None, as_json: bool) -> None:
    from training.forecast import forecast

    told = forecast(store, recipe, seed=seed, policy=policy)
    if as_json:
        print_json(told.to_json())
        return
    data, plan = told.data, told.plan
    hours = (data.duration_s or 0) / 3600
    say(f"{recipe.name}: {recipe.method} training of {recipe.base} ({recipe.family}) on {told.job.device}")
    say(f"  set {data.name}: {data.size} samples, {hours:.2f} hours, digest {short(data.digest)}")
    say(f"  {plan.epochs} epochs, {plan.steps} steps, {plan.exposed} utterances")
    say(f"  {told.trainable} of {told.parameters} parameters are trained")
    say(f"  policy: {f'{told.verdict.policy}, {told.verdict.outcome}' if told.verdict else 'none in force'}")
    for violation in told.verdict.violations if told.verdict else ():
        say(f"    {violation}")
    for behind in told.allowed.behind:
        say(f"  policy on set {short(behind.set_digest)}, which stands behind its base: {behind.outcome}")
        for violation in behind.violations:
            say(f"    {violation}")
    say(f"  leakage: {told.leaks.outcome}")
    for leak, action in told.leaks.leaks:
        say(f"    {leak} ({action})")
    if told.reuses is not None:
        say(f"  on record already: run {told.reuses.id}; nothing would be trained")
    elif told.goes_on_from is not None:
        say(f"  would go on from step {told.goes_on_from} of a run that was killed")
    cost = told.cost
    if cost is None:
        say("  time: no comparable run on record")
    else:
        span = f" ({cost.wall_low_s:.0f} to {cost.wall_high_s:.0f})" if cost.runs > 1 else ""
        say(f"  time: {cost.wall_s:.0f} s{span}, {cost.cpu_s:.0f} CPU seconds, by {cost.runs} comparable runs")
        if cost.money is not None:
            say(f"  money: {cost.money:.2g} {cost.currency}, at the prices in force")


def crossvalidate(
    recipe: RecipeArgument,
    store: StoreOption = DEFAULT_STORE,
    folds: Annotated[int, typer.Option(help="Parts of the training set, by speaker.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the folds.")] = 0,
    policy: PolicyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Word error rate of a recipe on speakers that its models never heard, by training one model a fold."""
    from training.comparison.crossvalidation import crossvalidate as validate
    from training.recipe import Recipe

    plan = Recipe.load(recipe)
    rules = policy_in(policy)
    with progress(f"cross-validating {plan.name}") as report:
        done = validate(Store.open(store), plan, folds=folds, seed=seed, policy=rules, progress=report)
    rows = [
        {
            "fold": number,
            "held out": f.held.size,
            "WER %": percent(f.wer),
            "model": short(f.model.model_id),
            "reused": f.model.reused,
        }
        for number, f in enumerate(done.folds, start=1)
    ]
    if as_json:
        value = {
            "run": done.run_id,
            "reused": done.reused,
            "wer": done.wer.__dict__,
            "words": done.words,
            "folds": rows,
        }
        print_json(value)
        return
    print_rows(rows)
    whole = done.wer
    span = f"({100 * whole.low:.1f} to {100 * whole.high:.1f}), {whole.blocks} speakers"
    say(f"WER on speakers not heard in training: {100 * whole.value:.1f} % {span}")


def _say_course(result: dict[str, Any]) -> None:
    """What happened on the way to a model, if it is worth a line."""
    for before in result.get("resumed", ()):
        say(f"  went on from step {before['step']} of run {before['run'][:13]}, which was killed")
    development = result.get("development")
    if development is not None:
        kept, last = development["kept"], development["curve"][-1]
        stopped = (
            f", stopped after step {last['step']} of {result['planned']['steps']}" if development["stopped"] else ""
        )
        say(f"  WER in development: {100 * kept['wer']:.1f} % after step {kept['step']}, which is kept{stopped}")
