"""An audit: change slices of the training data, one at a time, and measure what that does to slices of the errors.

    report = run(store, AuditPlan.load("plan.yaml"), workers=2)
    report = audit(store, recipe, slices=["accent=*", "noise=*"], seeds=3, workers=2)     # a plan made of options

Mostly each slice is left out by giving its samples weight zero in the loss, with initial weights, order, augmentation and
number of steps as they were, so that one thing moves; beside it as many samples taken at random are left out; all of it over
the same seeds. What else may be done to a slice says `interventions`. What comes out is one row of `effects` for every
intervention × evaluation slice × metric, with its interval, its control and a verdict in words (see `statistics`, `verdicts`),
and an answer to every hypothesis of the plan (see `hypotheses`).

The plan is on record before the first retraining (see `plan`); retrainings are on record as they finish (see `bank`). An
audit that is killed and started again goes on where it was; one that is finished is read back. Law: killed however often, an
audit's effects are the same to the last digit, and no finished retraining is ever repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any
from uuid import UUID

from influence import bank
from influence.controls import Match
from influence.design import PLANTED, Comparison
from influence.hypotheses import REFUTED, SUPPORTED, Answer, answer
from influence.outlook import outlook
from influence.panels import Generalise, Outcome
from influence.plan import Plan, freeze
from influence.planfile import CONTROLS, SEEDS, AuditPlan
from influence.request import Request, request
from influence.statistics import Effect, EvalSlice, LeftOut, effects
from influence.verdicts import HURTS, NO_EFFECT
from lineage.environment import code_version
from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.runs import RunInfo
from lineage.sets import members
from lineage.slices import WHOLE
from lineage.store import Store
from training.bootstrap import LEVEL, REPLICATES
from training.determinism import depends, pick_device
from training.progress import Progress, silent
from training.recipe import Recipe


@dataclass(frozen=True)
class Check:
    """A control of the audit itself: `kind` 'power' (a planted slice has to hurt) or 'null' (a null slice to do nothing)."""

    kind: str
    slice: str
    verdict: str
    holds: bool
    said: str


@dataclass(frozen=True)
class AuditReport:
    """What an audit found; `failures` names retrainings that could not be done and what is missing therefore.

    `hypotheses` are the answers to the declared family, `checks` what became of the plan's own controls, `failed` the
    conditions of the plan's `fail_on` that are met.
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
    seeds: int | Sequence[int] = SEEDS,
    controls: int = CONTROLS,
    match: Match = "count",
    workers: int = 1,
    margin: float | Mapping[str, float] | None = None,
    level: float = LEVEL,
    replicates: int = REPLICATES,
    generalise: Generalise = "speakers",
    normalise: str = "basic",
    progress: Progress = silent,
) -> AuditReport:
    """Measure what leaving out each of `slices` does to each of `evaluation`: the plan of these options, run.

    Args:
        store: where the sets are and everything goes.
        recipe: how to train; its training set is what slices are cut out of.
        slices: training slices to leave out, e.g. 'accent=scot', 'accent=*', 'long: duration_s > 4'.
        evaluation: slices of the errors; by default the same, as far as the evaluation set has them, and 'all'.
        evaluation_set: name or digest; by default the first that the recipe names.
        seeds: how many, counted from the recipe's, or which.
        controls: random removals of each size per seed; 0: none, and verdicts speak of having less data, too.
        match: what controls are matched in besides count: 'hours', 'speakers', 'words'.
        workers: processes to train in.
        margin: the largest change that counts as none, for WER (0.02 is 2 points), or by metric.
        level: confidence level of intervals, and 1 − the family-wise error of verdicts.
        replicates: of the bootstrap.
        generalise: whether claims are about 'speakers' like those tested or 'utterances' of these very speakers.
        normalise: normaliser of references and hypotheses.
        progress: told of retrainings, with an estimate of the time left.

    Raises:
        EarmarkError: see `run`.
    """
    margins = {"wer": margin} if isinstance(margin, int | float) else dict(margin or {})
    statistics = {
        "level": level, "generalise": generalise, "replicates": replicates, "normalise": normalise,
        "margins": {m: 100 * v if m == "wer" else v for m, v in margins.items()},
    }  # fmt: skip
    fields = {
        "name": recipe.name, "recipe": recipe, "evaluate": evaluation_set, "slices": list(slices),
        "look_at": list(evaluation), "seeds": seeds if isinstance(seeds, int) else list(seeds),
        "controls": {"number": controls, "match": match}, "statistics": statistics,
    }  # fmt: skip
    return run(store, AuditPlan.parse(fields, "audit"), workers=workers, progress=progress)


def run(store: Store, plan: AuditPlan, *, workers: int | None = None, progress: Progress = silent) -> AuditReport:
    """Do what a plan says, or read its results back if they are on record.

    `workers` are processes to train in, by default as the plan says.

    Raises:
        EarmarkError: something that was named does not exist or makes no sense, or hypotheses were chosen afterwards, or the
            budget does not suffice, before any training; or the retrainings with all data failed, so that there is nothing
            to compare with.
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
    frozen = freeze(store, asked)
    if asked.most is not None:
        needed = outlook(store, frozen).missing
        if needed > asked.most:
            raise EarmarkError(
                f"the plan needs {needed} retrainings more, its budget has {asked.most} — ask fewer questions, or raise budget"
            )
    retrainings = frozen.retrainings()
    filled = bank.fill(
        store,
        asked.recipe,
        retrainings,
        [asked.evaluation.digest],
        normalise=asked.normalise,
        workers=plan.executor.workers if workers is None else workers,
        parents=[frozen.run_id],
        progress=progress,
    )
    usable = _usable(frozen, filled)
    found = _measure(store, frozen, usable, filled)
    answers = answer(asked.hypotheses, found, level=asked.declaration.level)
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
        key=None if filled.errors else key,  # with retrainings missing it is to be tried again
        inputs=[asked.population.digest, asked.evaluation.digest],
        parents=[frozen.run_id, *sorted({r.run_id for r in filled.results if r is not None})],
        package="influence",
    ) as made:
        made.append("effects", [asdict(e) for e in found])
        made.result = {
            "retrainings": len(retrainings),
            "trained": filled.trained,
            "wall_s": filled.wall_s,
            "failures": dict(filled.errors),
            "plan": frozen.run_id,
            "hypotheses": [a.to_json() for a in answers],
        }
    return _report(
        asked, made.id, frozen.run_id, found, answers, len(retrainings), filled.trained, filled.wall_s, filled.errors,
        reused=False,
    )  # fmt: skip


@dataclass(frozen=True)
class _Usable:
    """Seeds and rows without a missing retraining."""

    seeds: tuple[int, ...]
    rows: tuple[int, ...]


def _usable(plan: Plan, filled: bank.Filled) -> _Usable:
    """The paired design needs every row in every seed: seeds without a whole-data model go, then rows with a gap."""
    n = len(plan.request.seeds)
    there = [[filled.results[r * n + k] is not None for k in range(n)] for r in range(len(plan.rows))]
    seeds = tuple(k for k in range(n) if there[0][k])
    rows = tuple(r for r in range(len(plan.rows)) if all(there[r][k] for k in seeds))
    if not seeds or len(rows) < 2:
        name, error = next(iter(filled.errors.items()))
        raise EarmarkError(f"nothing to compare: retraining {name} failed: {error.strip().splitlines()[-1]}")
    return _Usable(seeds, rows)


def _measure(store: Store, plan: Plan, usable: _Usable, filled: bank.Filled) -> list[Effect]:
    n = len(plan.request.seeds)
    outcomes = [[_outcome(store, plan, filled.results[row * n + k]) for k in usable.seeds] for row in usable.rows]
    place = {row: i for i, row in enumerate(usable.rows)}
    left_out = [
        LeftOut(
            c.slice, c.set_digest, place[c.row], *_control(c, place), intervention=c.intervention, dose=c.dose,
            phrase=c.phrase, harm=c.harm,
        )
        for c in plan.comparisons
        if c.row in place and c.against in place
    ]  # fmt: skip
    baseline = next(r for r in filled.results[:n] if r is not None)
    tested = _tested(store, plan, baseline.predictions[plan.request.evaluation.digest])
    return effects(outcomes, left_out, tested, plan.request.declaration, audit=plan.request.digest)


def _control(c: Comparison, place: Mapping[int, int]) -> tuple[tuple[int, ...], int, tuple[float, ...] | None, int]:
    """Controls that were trained, what the case is held against, weights, and what the controls are held against.

    A line that has lost a point is no longer the line that was declared, so it is not drawn at all.
    """
    there = tuple(place[r] for r in c.controls if r in place)
    if c.controls_against not in place or (c.control_weights is not None and len(there) < len(c.controls)):
        there = ()
    weights = c.control_weights if there else None
    return there, place[c.against], weights, place.get(c.controls_against, 0)


def _outcome(store: Store, plan: Plan, trained: bank.Retrained | None) -> Outcome:
    if trained is None:
        raise ValueError("a usable retraining is missing")
    rows = store.read(
        "predictions",
        ["sample_id", "substitutions + deletions + insertions AS errors", "loss"],
        "run_id = ?",
        [trained.predictions[plan.request.evaluation.digest]],
    )
    ids = rows["sample_id"].to_pylist()
    errors = dict(zip(ids, rows["errors"].to_pylist(), strict=True))
    losses = zip(ids, rows["loss"].to_pylist(), strict=True)
    return Outcome(errors, {sample: value for sample, value in losses if value is not None})


def _tested(store: Store, plan: Plan, predictions: str) -> list[EvalSlice]:
    """Words and speakers of the evaluation slices; words as the normaliser of the `predictions` run counts them."""
    rows = store.sql(
        "SELECT p.sample_id, p.words, s.speaker_key FROM predictions p LEFT JOIN samples s USING (sample_id) "
        "WHERE p.run_id = ? QUALIFY row_number() OVER (PARTITION BY p.sample_id ORDER BY s.run_id DESC) = 1",
        [predictions],
    )
    ids = rows["sample_id"].to_pylist()
    words: dict[UUID, float] = dict(zip(ids, rows["words"].to_pylist(), strict=True))
    speakers: dict[UUID, UUID | None] = dict(zip(ids, rows["speaker_key"].to_pylist(), strict=True))
    tested = []
    for frozen in plan.tested:
        ids = members(store, frozen.set_digest).to_pylist()
        tested.append(
            EvalSlice(frozen.name, frozen.set_digest, {i: words[i] for i in ids}, {i: speakers[i] for i in ids})
        )
        if not sum(tested[-1].words.values()):
            raise EarmarkError(f"evaluation slice {frozen.name} has no reference words — leave it out of the audit")
    return tested


def _stored(store: Store, done: RunInfo, asked: Request) -> AuditReport:
    names = [f.name for f in fields(Effect)]
    rows: list[dict[str, Any]] = store.read("effects", names, "run_id = ?", [done.id]).to_pylist()
    found = [Effect(**row) for row in rows]
    result = done.result
    answers = [Answer(**a) for a in result["hypotheses"]]
    return _report(
        asked, done.id, result["plan"], found, answers, result["retrainings"], 0, result["wall_s"], result["failures"],
        reused=True,
    )  # fmt: skip


def _report(
    asked: Request,
    run_id: str,
    plan_run: str,
    found: Sequence[Effect],
    answers: Sequence[Answer],
    retrainings: int,
    trained: int,
    wall_s: float,
    failures: Mapping[str, str],
    *,
    reused: bool,
) -> AuditReport:
    checks = tuple(_checks(asked, found))
    met = {
        "refuted": any(a.verdict == REFUTED for a in answers),
        "unsupported": any(a.verdict != SUPPORTED for a in answers),
        "hurts": any(e.verdict == HURTS and e.intervention != PLANTED for e in found),
        "failures": bool(failures),
        "power": any(c.kind == "power" and not c.holds for c in checks),
        "null": any(c.kind == "null" and not c.holds for c in checks),
    }
    failed = tuple(name for name in asked.fail_on if met[name])
    return AuditReport(
        asked.digest, run_id, plan_run, tuple(found), retrainings, trained, wall_s, dict(failures), reused,
        tuple(answers), checks, failed, asked.amends,
    )  # fmt: skip


def _checks(asked: Request, found: Sequence[Effect]) -> list[Check]:
    """What became of the plan's own controls: the planted slice is found to hurt, the null slices to do nothing."""
    cells = {
        (e.train_slice, e.eval_slice): e for e in found if e.metric == "wer" and e.intervention in ("remove", PLANTED)
    }
    out = []
    if asked.planted is not None:
        cell = cells.get((PLANTED, WHOLE.name))
        verdict = cell.verdict if cell else "not measured"
        said = "the planted slice is found" if verdict == HURTS else "the audit's power is not shown"
        out.append(Check("power", PLANTED, verdict, verdict == HURTS, said))
    for name in asked.null:
        cell = cells.get((name, name)) or cells.get((name, WHOLE.name))
        verdict = cell.verdict if cell else "not measured"
        holds = verdict.startswith(NO_EFFECT)
        said = "no effect, as expected" if holds else "not shown to be without effect"
        out.append(Check("null", name, verdict, holds, said))
    return out
