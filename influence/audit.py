"""An audit: change slices of the training data, one at a time, and measure what that does to slices of the errors.

    report = run(store, AuditPlan.load("plan.yaml"), spread=Spread(workers=2))
    report = audit(store, recipe, slices=["accent=*", "noise=*"], seeds=3)     # a plan made of options

Mostly each slice is left out by giving its samples weight zero in the loss, with initial weights, order, augmentation and
number of steps as they were, so that one thing moves; beside it as many samples taken at random are left out; all of it over
the same seeds. What else may be done to a slice says `interventions`. What comes out is one row of `effects` for every
intervention × evaluation slice × metric, with its interval, its control and a verdict in words (see `statistics`, `verdicts`),
and an answer to every hypothesis of the plan (see `hypotheses`). Where the plan has a causal graph, the effects that it asks
for are estimated on the errors of the models trained on all data, and attacked (see `causes.claims`).

The plan is on record before the first retraining (see `plan`); retrainings are on record as they finish (see `bank`). An
audit that is killed and started again goes on where it was; one that is finished is read back. Law: killed however often, an
audit's effects are the same to the last digit, and no finished retraining is ever repeated.

A sequential plan (see `sequential`) retrains in rounds: after each, comparisons whose answer is settled are dropped, and with
them the retrainings that nobody else needs. All data is trained in every round. When to stop is decided from recorded outcomes
alone and, where the plan has a budget (`plans.budget`), costs, so an audit that goes on after a kill decides as it had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from influence.causes.claims import judge as judge_claims
from influence.causes.compared import Judged
from influence.causes.refutation import require
from influence.executors.spread import ALONE, Spread
from influence.plans.checks import Check, check, met
from influence.plans.controls import Match
from influence.plans.hypotheses import Answer
from influence.plans.plan import freeze
from influence.plans.planfile import CONTROLS, AuditPlan
from influence.plans.request import Request, request
from influence.rounds import Rounds
from influence.statistics.effects import Effect
from influence.statistics.panels import USUAL, Generalise, Metric
from influence.statistics.sequential import Sequential
from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.machine.environment import code_version
from lineage.storage.manifest import RunInfo
from lineage.store import Store
from training.determinism import depends, pick_device
from training.progress import Progress, silent
from training.recipe import Recipe
from training.statistics.bootstrap import LEVEL, REPLICATES


@dataclass(frozen=True)
class AuditReport:
    """What an audit found; `failures` names retrainings that could not be done and what is missing therefore.

    `hypotheses` are the answers to the declared family, `checks` what became of the plan's own controls, `failed` the
    conditions of the plan's `fail_on` that are met. `retrainings` were needed of the `planned` ones, which is what asking every
    question with all seeds would take. `stopped` says which look the budget did not reach for, empty where it did for all.
    `causes` are the effects that the plan's causal graph asks for.
    """

    audit: str
    run_id: str
    plan_run: str
    effects: tuple[Effect, ...]
    retrainings: int
    trained: int
    wall_s: float
    failures: Mapping[str, str]
    reused: bool
    hypotheses: tuple[Answer, ...] = ()
    checks: tuple[Check, ...] = ()
    failed: tuple[str, ...] = ()
    amends: str | None = None
    planned: int = 0
    causes: tuple[Judged, ...] = ()
    stopped: str = ""

    @property
    def status(self) -> int:
        """Exit status: 1 if something happened on which the plan says to fail, else 0."""
        return 1 if self.failed else 0

    def effect(
        self, train_slice: str, eval_slice: str | None = None, metric: str = "wer", phrase: str | None = None
    ) -> Effect:
        """One cell, by default of leaving a slice out, and on itself; raises KeyError if it was not measured."""
        wanted = (phrase or f"removing {train_slice}", train_slice, eval_slice or train_slice, metric)
        for e in self.effects:
            if (e.phrase, e.train_slice, e.eval_slice, e.metric) == wanted:
                return e
        raise KeyError(wanted)


@dataclass(frozen=True)
class Finding:
    """A verdict beside what was expected of the slice; `holds` is None where nothing was expected."""

    effect: Effect
    expected: str | None

    @property
    def holds(self) -> bool | None:
        """Whether the verdict is the expected one ('no effect' stands for any margin)."""
        return None if self.expected is None else self.effect.verdict.startswith(self.expected)


def findings(report: AuditReport, expected: Mapping[str, str] | None = None, metric: str = "wer") -> list[Finding]:
    """What each slice does to itself, found beside planned, largest effect first.

    `expected` gives 'helps', 'hurts' or 'no effect' by training slice; slices without a counterpart among the evaluation
    slices are judged on all of it.
    """
    expected = expected or {}
    found = []
    for name in dict.fromkeys(e.train_slice for e in report.effects if e.intervention == "remove"):
        try:
            effect = report.effect(name, metric=metric)
        except KeyError:
            effect = report.effect(name, "all", metric)
        found.append(Finding(effect, expected.get(name)))
    unknown = set(expected) - {f.effect.train_slice for f in found}
    if unknown:
        raise EarmarkError(f"something is expected of {', '.join(sorted(unknown))}, which this audit did not leave out")
    return sorted(found, key=lambda f: -f.effect.estimate)


def audit(
    store: Store,
    recipe: Recipe,
    *,
    slices: Sequence[str],
    evaluation: Sequence[str] = (),
    evaluation_set: str | None = None,
    seeds: int | Sequence[int] | None = None,
    controls: int = CONTROLS,
    match: Match = "count",
    spread: Spread = ALONE,
    margin: float | Mapping[str, float] | None = None,
    level: float = LEVEL,
    replicates: int = REPLICATES,
    generalise: Generalise = "speakers",
    normalise: str = "basic",
    metrics: Sequence[Metric] = USUAL,
    sequential: Sequential | None = None,
    screening: bool = False,
    progress: Progress = silent,
) -> AuditReport:
    """Measure what leaving out each of `slices` does to each of `evaluation`: the plan of these options, run.

    Args:
        store: where the sets are and everything goes.
        recipe: how to train; its training set is what slices are cut out of.
        slices: training slices to leave out, e.g. 'accent=scot', 'accent=*', 'long: duration_s > 4'.
        evaluation: slices of the errors; by default the same, as far as the evaluation set has them, and 'all'.
        evaluation_set: name or digest; by default the first that the recipe names.
        seeds: how many, counted from the recipe's, or which; by default 3, or those of the last look.
        controls: random removals of each size per seed; 0: none, and verdicts speak of having less data, too.
        match: what controls are matched in besides count: 'hours', 'speakers', 'words'.
        spread: where retrainings are done, and by how many.
        margin: the largest change that counts as none, for WER (0.02 is 2 points), or by metric.
        level: confidence level of intervals, and 1 − the family-wise error of verdicts.
        replicates: of the bootstrap.
        generalise: whether claims are about 'speakers' like those tested or 'utterances' of these very speakers.
        normalise: normaliser of references and hypotheses.
        metrics: what is measured, see `panels`.
        sequential: looks at fewer seeds, so that clear effects cost less; by default one look at all of them.
        screening: bound the share of false discoveries instead of the probability of any.
        progress: told of retrainings, with an estimate of the time left.

    Raises:
        EarmarkError: see `run`.
    """
    margins = {"wer": margin} if isinstance(margin, int | float) else dict(margin or {})
    statistics = {
        "level": level, "generalise": generalise, "replicates": replicates, "normalise": normalise,
        "sequential": sequential.to_json() if sequential else None, "screening": screening, "metrics": list(metrics),
        "margins": {m: v if m == "loss" else 100 * v for m, v in margins.items()},
    }  # fmt: skip
    fields = {
        "name": recipe.name, "recipe": recipe, "evaluate": evaluation_set, "slices": list(slices),
        "look_at": list(evaluation), "controls": {"number": controls, "match": match}, "statistics": statistics,
    }  # fmt: skip
    if seeds is not None:
        fields["seeds"] = seeds if isinstance(seeds, int) else list(seeds)
    return run(store, AuditPlan.parse(fields, "audit"), spread=spread, progress=progress)


def run(
    store: Store,
    plan: AuditPlan,
    *,
    spread: Spread | None = None,
    progress: Progress = silent,
) -> AuditReport:
    """Do what a plan says, or read its results back if they are on record; `spread` over workers as the plan says by default.

    Raises:
        EarmarkError: something that was named does not exist or makes no sense, or hypotheses were chosen afterwards, or the
            budget does not suffice, or the plan has a causal graph and DoWhy is not installed, before any training; or the
            retrainings with all data failed, so that there is nothing to compare with.
    """
    asked = request(store, plan)
    place = pick_device(asked.recipe.device)
    key = digest_of(
        {
            "audit": asked.digest,
            "code": [code_version("training"), code_version("influence")],
            "environment": depends(place),
            "threads": asked.recipe.threads,
            "device": place,
        }
    )
    done = store.find_run(key)
    if done is not None:
        return _stored(store, done, asked)
    if asked.causes is not None:
        require()
    frozen = freeze(store, asked)
    done_by = Rounds(store, frozen, plan.order)
    found, answers = done_by.carry_out(spread or plan.executor.spread, progress)
    judged = _claimed(store, asked, [r.model_id for r in done_by.wholes], progress)
    config = {
        "audit": asked.digest,
        "about": asked.about,
        "plan": frozen.run_id,
        "declaration": asked.declaration.to_json(),
        "amends": asked.amends,
    }
    with store.run(
        "ablate",
        job=asked.recipe.name,
        config=config,
        key=None if done_by.errors else key,  # with retrainings missing it is to be tried again
        inputs=[asked.population.digest, asked.evaluation.digest],
        parents=[frozen.run_id, *sorted({r.run_id for r in done_by.results if r is not None})],
        package="influence",
    ) as made:
        made.append("effects", [asdict(e) for e in found])
        made.result = {
            "retrainings": len(done_by.tried),
            "planned": len(done_by.results),
            "trained": done_by.trained,
            "wall_s": done_by.wall_s,
            "failures": done_by.errors,
            "plan": frozen.run_id,
            "hypotheses": [a.to_json() for a in answers],
            "causes": [j.to_json() for j in judged],
            "stopped": done_by.stopped,
        }
    return _report(
        asked, made.id, frozen.run_id, found, answers, judged, len(done_by.tried), len(done_by.results), done_by.trained,
        done_by.wall_s, done_by.errors, done_by.stopped, reused=False,
    )  # fmt: skip


def _claimed(store: Store, asked: Request, models: Sequence[str], progress: Progress) -> tuple[Judged, ...]:
    """What became of the plan's causal graph."""
    if asked.causes is None:
        return ()
    stated = asked.declaration
    return judge_claims(
        store, asked.causes, asked.claims, models, asked.evaluation.digest, asked.recipe, normalise=asked.normalise,
        level=stated.level, replicates=stated.replicates, progress=progress,
    )  # fmt: skip


def _stored(store: Store, done: RunInfo, asked: Request) -> AuditReport:
    names = [f.name for f in fields(Effect)]
    rows: list[dict[str, Any]] = store.read("effects", names, "run_id = ?", [done.id]).to_pylist()
    found = [Effect(**row) for row in rows]
    result = done.result
    answers = [Answer(**a) for a in result["hypotheses"]]
    judged = [Judged.from_json(store, j) for j in result["causes"]]
    return _report(
        asked, done.id, result["plan"], found, answers, judged, result["retrainings"], result["planned"], 0,
        result["wall_s"], result["failures"], result["stopped"], reused=True,
    )  # fmt: skip


def _report(
    asked: Request,
    run_id: str,
    plan_run: str,
    found: Sequence[Effect],
    answers: Sequence[Answer],
    judged: Sequence[Judged],
    retrainings: int,
    planned: int,
    trained: int,
    wall_s: float,
    failures: Mapping[str, str],
    stopped: str,
    *,
    reused: bool,
) -> AuditReport:
    checks = check(found, planted=asked.planted is not None, null=asked.null)
    failed = met(asked.fail_on, found, answers, checks, failures, [j.report for j in judged])
    return AuditReport(
        asked.digest, run_id, plan_run, tuple(found), retrainings, trained, wall_s, dict(failures), reused,
        tuple(answers), checks, failed, asked.amends, planned, tuple(judged), stopped,
    )  # fmt: skip
