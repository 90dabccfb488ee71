"""An audit: change slices of the training data, one at a time, and measure what that does to slices of the errors.

    report = run(store, AuditPlan.load("plan.yaml"), workers=2)
    report = audit(store, recipe, slices=["accent=*", "noise=*"], seeds=3, workers=2)     # a plan made of options

Mostly each slice is left out by giving its samples weight zero in the loss, with initial weights, order, augmentation and
number of steps as they were, so that one thing moves; beside it as many samples taken at random are left out; all of it over
the same seeds. What else may be done to a slice says `interventions`. What comes out is one row of `effects` for every
intervention × evaluation slice × metric, with its interval, its control and a verdict in words (see `statistics`, `verdicts`),
and an answer to every hypothesis of the plan (see `hypotheses`). Where the plan has a causal graph, the effects that it asks
for are estimated on the errors of the model trained on all data, and attacked (see `causes.claims`).

The plan is on record before the first retraining (see `plan`); retrainings are on record as they finish (see `bank`). An
audit that is killed and started again goes on where it was; one that is finished is read back. Law: killed however often, an
audit's effects are the same to the last digit, and no finished retraining is ever repeated.

A sequential plan (see `sequential`) retrains in rounds: after each, comparisons whose answer is settled are dropped, and with
them the retrainings that nobody else needs. All data is trained in every round. When to stop is decided from recorded
outcomes alone, so an audit that goes on after a kill decides as it had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from influence import bank
from influence.causes.claims import judge as judge_claims
from influence.causes.compared import Judged
from influence.causes.refutation import require
from influence.plans.controls import Match
from influence.plans.design import Comparison
from influence.plans.hypotheses import OPEN, Answer, answer
from influence.plans.outlook import outlook
from influence.plans.plan import Plan, freeze
from influence.plans.planfile import CONTROLS, AuditPlan, Executor
from influence.plans.request import Request, request
from influence.statistics.checks import Check, check, met
from influence.statistics.effects import Effect, EvalSlice, LeftOut, Questions
from influence.statistics.matched_pairs import MatchedPairs
from influence.statistics.outcomes import eval_slices, outcome
from influence.statistics.panels import USUAL, Generalise, Metric, Outcome
from influence.statistics.sequential import Sequential
from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.machine.environment import code_version
from lineage.runs import RunInfo
from lineage.store import Store
from training.loops.determinism import depends, pick_device
from training.progress import Progress, silent
from training.recipe import Recipe
from training.statistics.bootstrap import LEVEL, REPLICATES


@dataclass(frozen=True)
class AuditReport:
    """What an audit found; `failures` names retrainings that could not be done and what is missing therefore.

    `hypotheses` are the answers to the declared family, `checks` what became of the plan's own controls, `failed` the
    conditions of the plan's `fail_on` that are met. `retrainings` were needed of the `planned` ones, which is what asking every
    question with all seeds would take. `causes` are the effects that the plan's causal graph asks for.
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
    workers: int = 1,
    executor: str = "local",
    address: str | None = None,
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
        workers: processes to train in.
        executor: where they are, 'local' or 'ray'.
        address: of the Ray cluster, as `influence.executors.executor` takes it.
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
    spread = {"workers": workers, "kind": executor, "address": address}
    return run(store, AuditPlan.parse({**fields, "executor": spread}, "audit"), progress=progress)


def run(
    store: Store,
    plan: AuditPlan,
    *,
    workers: int | None = None,
    executor: str | None = None,
    address: str | None = None,
    progress: Progress = silent,
) -> AuditReport:
    """Do what a plan says, or read its results back if they are on record.

    `workers`, `executor` and `address` say how the work is spread, by default as the plan does.

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
    if asked.most is not None:
        needed = outlook(store, frozen).missing
        if needed > asked.most:
            raise EarmarkError(
                f"the plan needs {needed} retrainings more, its budget has {asked.most} — ask fewer questions, or raise budget"
            )
    chosen = {"workers": workers, "kind": executor, "address": address}
    spread = plan.executor.model_copy(update={name: value for name, value in chosen.items() if value is not None})
    done_by = _Rounds(store, frozen)
    found, answers = done_by.carry_out(spread, progress)
    judged = _claimed(store, asked, done_by.whole.model_id)
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
        }
    return _report(
        asked, made.id, frozen.run_id, found, answers, judged, len(done_by.tried), len(done_by.results), done_by.trained,
        done_by.wall_s, done_by.errors, reused=False,
    )  # fmt: skip


def _claimed(store: Store, asked: Request, model: str) -> tuple[Judged, ...]:
    """What became of the plan's causal graph."""
    if asked.causes is None:
        return ()
    stated = asked.declaration
    return judge_claims(
        store, asked.causes, asked.claims, model, asked.evaluation.digest, asked.recipe, normalise=asked.normalise,
        level=stated.level, replicates=stated.replicates,
    )  # fmt: skip


class _Rounds:
    """Retrains a plan's table, by seeds and as far as needed, and asks the questions after each round."""

    def __init__(self, store: Store, plan: Plan) -> None:
        self.results: list[bank.Retrained | None] = [None] * len(plan.retrainings())
        self.tried: set[int] = set()
        self.errors: dict[str, str] = {}
        self.trained = 0
        self.wall_s = 0.0
        self._store = store
        self._plan = plan
        self._seeds = len(plan.request.seeds)
        self._outcomes: dict[int, Outcome] = {}
        self._how = plan.request.normalise, plan.request.declaration.metrics

    def carry_out(self, spread: Executor, progress: Progress) -> tuple[list[Effect], list[Answer]]:
        """Effects and answers to the hypotheses."""
        asked = self._plan.request
        sequential = asked.declaration.sequential
        questions: Questions | None = None
        found: list[Effect] = []
        before: list[Effect] = []
        answers = answer(asked.hypotheses, found, level=asked.declaration.level)
        asked_with: dict[str, tuple[int, ...]] = {}
        open_: Sequence[Comparison] = self._plan.comparisons
        for seeds in sequential.looks if sequential else (self._seeds,):
            if not open_:
                break
            self._fill(open_, seeds, spread, progress)
            usable = self._usable(open_, seeds)
            questions = questions or Questions(self._tested(), asked.declaration, audit=asked.digest)
            place = {row: i for i, row in enumerate(usable.rows)}
            open_ = [c for c in open_ if c.row in place and c.against in place]
            if not open_:
                break
            asked_with |= {c.phrase: usable.seeds for c in open_}
            questions.ask(
                [[self._outcome(row, k) for k in usable.seeds] for row in usable.rows],
                [_left_out(c, place) for c in open_],
            )
            before += found
            found = questions.effects()
            answers = answer(asked.hypotheses, found, level=asked.declaration.level, before=before)
            unsettled = {s.phrase for s in questions.unsettled(found)}
            unsettled |= {h.phrase for h, a in zip(asked.hypotheses, answers, strict=True) if a.verdict == OPEN}
            open_ = [c for c in open_ if c.phrase in unsettled]
        return self._beside(found, asked_with), answers

    def _beside(self, found: Sequence[Effect], asked_with: Mapping[str, tuple[int, ...]]) -> list[Effect]:
        """With the second test beside, of the seeds that each comparison was last asked with."""
        test, targets = MatchedPairs(self._store, self._plan.request.normalise), self._tested()
        p = {}
        for c in self._plan.comparisons:
            if any(e.phrase == c.phrase for e in found):
                pairs = [(self._run(c.row, k), self._run(c.against, k)) for k in asked_with[c.phrase]]
                p[c.phrase] = test.p_values(pairs, targets)
        return [
            replace(e, mapsswe_p=p[e.phrase][e.eval_slice]) if e.metric == "wer" and e.phrase in p else e for e in found
        ]

    def _run(self, row: int, seed: int) -> str:
        """The run of predictions of one retraining."""
        trained = self.results[row * self._seeds + seed]
        if trained is None:
            raise ValueError("a usable retraining is missing")
        return trained.predictions[self._plan.request.evaluation.digest]

    def _fill(self, comparisons: Sequence[Comparison], seeds: int, spread: Executor, progress: Progress) -> None:
        """What these comparisons need of the first `seeds` seeds and nobody tried yet."""
        places = [r * self._seeds + k for r in _rows(comparisons) for k in range(seeds)]
        wanted = [i for i in places if i not in self.tried]
        if not wanted:
            return
        retrainings, asked = self._plan.retrainings(), self._plan.request
        filled = bank.fill(
            self._store,
            asked.recipe,
            [retrainings[i] for i in wanted],
            [asked.evaluation.digest],
            normalise=asked.normalise,
            workers=spread.workers,
            executor=spread.kind,
            address=spread.address,
            parents=[self._plan.run_id],
            progress=progress,
        )
        for i, result in zip(wanted, filled.results, strict=True):
            self.results[i] = result
        self.tried |= set(wanted)
        self.errors |= filled.errors
        self.trained += filled.trained
        self.wall_s += filled.wall_s

    def _usable(self, comparisons: Sequence[Comparison], among: int) -> _Usable:
        """The paired design needs every row in every seed: seeds without a whole-data model go, then rows with a gap."""
        seeds = tuple(k for k in range(among) if self.results[k] is not None)
        rows = tuple(r for r in _rows(comparisons) if all(self.results[r * self._seeds + k] is not None for k in seeds))
        if not seeds or (len(rows) < 2 and not self._outcomes):
            name, error = next(iter(self.errors.items()))
            raise EarmarkError(f"nothing to compare: retraining {name} failed: {error.strip().splitlines()[-1]}")
        return _Usable(seeds, rows)

    def _outcome(self, row: int, seed: int) -> Outcome:
        place = row * self._seeds + seed
        if place not in self._outcomes:
            self._outcomes[place] = outcome(self._store, self._run(row, seed), *self._how)
        return self._outcomes[place]

    @property
    def whole(self) -> bank.Retrained:
        """The model on all data, of the first seed that has one."""
        return next(r for r in self.results[: self._seeds] if r is not None)

    def _tested(self) -> list[EvalSlice]:
        run = self.whole.predictions[self._plan.request.evaluation.digest]
        return eval_slices(self._store, self._plan.tested, run, *self._how)


@dataclass(frozen=True)
class _Usable:
    """Seeds and rows without a missing retraining."""

    seeds: tuple[int, ...]
    rows: tuple[int, ...]


def _rows(comparisons: Sequence[Comparison]) -> list[int]:
    """The rows that these comparisons need, all data first."""
    return sorted({0, *(r for c in comparisons for r in (c.row, c.against, c.controls_against, *c.controls))})


def _left_out(c: Comparison, place: Mapping[int, int]) -> LeftOut:
    return LeftOut(
        c.slice, c.set_digest, place[c.row], *_control(c, place), intervention=c.intervention, dose=c.dose,
        phrase=c.phrase, harm=c.harm,
    )  # fmt: skip


def _control(c: Comparison, place: Mapping[int, int]) -> tuple[tuple[int, ...], int, tuple[float, ...] | None, int]:
    """Controls that were trained, what the case is held against, weights, and what the controls are held against.

    A line that has lost a point is no longer the line that was declared, so it is not drawn at all.
    """
    there = tuple(place[r] for r in c.controls if r in place)
    if c.controls_against not in place or (c.control_weights is not None and len(there) < len(c.controls)):
        there = ()
    weights = c.control_weights if there else None
    return there, place[c.against], weights, place.get(c.controls_against, 0)


def _stored(store: Store, done: RunInfo, asked: Request) -> AuditReport:
    names = [f.name for f in fields(Effect)]
    rows: list[dict[str, Any]] = store.read("effects", names, "run_id = ?", [done.id]).to_pylist()
    found = [Effect(**row) for row in rows]
    result = done.result
    answers = [Answer(**a) for a in result["hypotheses"]]
    judged = [Judged.from_json(store, j) for j in result["causes"]]
    return _report(
        asked, done.id, result["plan"], found, answers, judged, result["retrainings"], result["planned"], 0,
        result["wall_s"], result["failures"], reused=True,
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
    *,
    reused: bool,
) -> AuditReport:
    checks = check(found, planted=asked.planted is not None, null=asked.null)
    failed = met(asked.fail_on, found, answers, checks, failures)
    return AuditReport(
        asked.digest, run_id, plan_run, tuple(found), retrainings, trained, wall_s, dict(failures), reused,
        tuple(answers), checks, failed, asked.amends, planned, tuple(judged),
    )  # fmt: skip
