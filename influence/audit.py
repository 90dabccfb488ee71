"""An audit: leave slices of the training data out, one at a time, and measure what that does to slices of the errors.

    report = audit(store, recipe, slices=["accent=*", "noise=*"], seeds=3, workers=2)

Each slice is left out by giving its samples weight zero in the loss, with initial weights, order, augmentation and number of
steps as they were, so that one thing moves; beside it as many samples taken at random are left out; all of it over the same
seeds. What comes out is one row of `effects` for every training slice × evaluation slice × metric, with its interval, its
control and a verdict in words (see `statistics`, `verdicts`).

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
from influence.panels import Generalise, Outcome
from influence.plan import Plan, freeze, request
from influence.statistics import MARGINS, Declaration, Effect, EvalSlice, LeftOut, effects
from lineage.environment import code_version
from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.runs import RunInfo
from lineage.sets import members
from lineage.store import Store
from training.bootstrap import LEVEL, REPLICATES
from training.determinism import depends, pick_device
from training.progress import Progress, silent
from training.recipe import Recipe

SEEDS = 3
CONTROLS = 2  # random removals of each size per seed


@dataclass(frozen=True)
class AuditReport:
    """What an audit found; `failures` names retrainings that could not be done and what is missing therefore."""

    audit: str
    run_id: str
    plan_run: str
    effects: tuple[Effect, ...]
    retrainings: int
    trained: int
    wall_s: float
    failures: Mapping[str, str]
    reused: bool

    def effect(self, train_slice: str, eval_slice: str | None = None, metric: str = "wer") -> Effect:
        """One cell, by default a slice's effect on itself; raises KeyError if it was not measured."""
        wanted = (train_slice, eval_slice or train_slice, metric)
        for e in self.effects:
            if (e.train_slice, e.eval_slice, e.metric) == wanted:
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
    for name in dict.fromkeys(e.train_slice for e in report.effects):
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
    """Measure what each of `slices` does to each of `evaluation`, or read it back if it is on record.

    Args:
        store: where the sets are and everything goes.
        recipe: how to train; its training set is what slices are cut out of.
        slices: training slices to leave out, e.g. 'accent=scot', 'accent=*', 'long: duration_s > 4'.
        evaluation: slices of the errors; by default the same, as far as the evaluation set has them, and 'all'.
        evaluation_set: name or digest; by default the first that the recipe names.
        seeds: how many, counted from the recipe's, or which.
        controls: random removals of each size per seed; 0: none, and verdicts speak of having less data, too.
        match: what controls are matched in: 'count', or 'hours' in addition.
        workers: processes to train in.
        margin: the largest change that counts as none, for WER (0.02 is 2 points), or by metric.
        level: confidence level of intervals, and 1 − the family-wise error of verdicts.
        replicates: of the bootstrap.
        generalise: whether claims are about 'speakers' like those tested or 'utterances' of these very speakers.
        normalise: normaliser of references and hypotheses.
        progress: told of retrainings, with an estimate of the time left.

    Raises:
        EarmarkError: something that was named does not exist or makes no sense, before any training; or the retrainings
            with all data failed, so that there is nothing to compare with.
    """
    margins = {"wer": margin} if isinstance(margin, int | float) else dict(margin or {})
    declaration = Declaration(level, {**MARGINS, **margins}, generalise, replicates)
    asked = request(
        store, recipe, leave_out=slices, look_at=evaluation, evaluation_set=evaluation_set, seeds=seeds,
        number_of_controls=controls, match=match, declaration=declaration, normalise=normalise,
    )  # fmt: skip
    place = pick_device(recipe.device)
    key = digest_of(
        {
            "audit": asked.digest,
            "code": [code_version("training"), code_version("influence")],
            "environment": depends(place),
            "threads": recipe.threads,
            "device": place,
        }
    )
    done = store.find_run(key)
    if done is not None:
        return _stored(store, done)
    plan = freeze(store, asked)
    retrainings = plan.retrainings()
    filled = bank.fill(
        store,
        recipe,
        retrainings,
        [asked.evaluation.digest],
        normalise=normalise,
        workers=workers,
        parents=[plan.run_id],
        progress=progress,
    )
    usable = _usable(plan, filled)
    found = _measure(store, plan, usable, filled)
    config = {"audit": asked.digest, "plan": plan.run_id, "declaration": declaration.to_json()}
    with store.run(
        "ablate",
        job=recipe.name,
        config=config,
        key=None if filled.errors else key,  # with retrainings missing it is to be tried again
        inputs=[asked.population.digest, asked.evaluation.digest],
        parents=[plan.run_id, *sorted({r.run_id for r in filled.results if r is not None})],
        package="influence",
    ) as run:
        run.append("effects", [asdict(e) for e in found])
        run.result = {
            "retrainings": len(retrainings),
            "trained": filled.trained,
            "wall_s": filled.wall_s,
            "failures": dict(filled.errors),
            "plan": plan.run_id,
        }
    return AuditReport(
        asked.digest, run.id, plan.run_id, tuple(found), len(retrainings), filled.trained, filled.wall_s,
        dict(filled.errors), False,
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
            frozen.name,
            frozen.set_digest,
            place[row],
            tuple(place[c] for c in plan.control_rows[i] if c in place),
        )
        for i, (frozen, row) in enumerate(zip(plan.train, plan.slice_rows, strict=True))
        if row in place
    ]
    baseline = next(r for r in filled.results[:n] if r is not None)
    tested = _tested(store, plan, baseline.predictions[plan.request.evaluation.digest])
    return effects(outcomes, left_out, tested, plan.request.declaration, audit=plan.request.digest)


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


def _stored(store: Store, done: RunInfo) -> AuditReport:
    names = [f.name for f in fields(Effect)]
    rows: list[dict[str, Any]] = store.read("effects", names, "run_id = ?", [done.id]).to_pylist()
    found = tuple(Effect(**row) for row in rows)
    result = done.result
    return AuditReport(
        done.config["audit"], done.id, result["plan"], found, result["retrainings"], 0, result["wall_s"],
        result["failures"], True,
    )  # fmt: skip
