"""The retrain bank: many retrainings of one recipe that differ in seed and in the weights of samples, each done once.

A retraining is a run of `training.fit` and one evaluation per evaluation set, all of them under keys that cover whatever
determines their results. So the bank keeps no state of its own: what is finished is on record, whoever asked for it, and a
bank that was killed and is filled again with the same or overlapping retrainings computes what is missing, nothing else.

The recipe's name stays with the model that the recipe makes as it is; all others are called by what was done, as in
`six-accents[without accent=scot, seed 1]`, so that nobody who asks for `six-accents` gets one that lacks something.

Workers open the store, the base, the features and the tokenised transcripts once and keep them for their later retrainings;
all retrainings of a recipe share them, because only weights and seeds differ. Who asks in rounds holds the bank open over all
of them:

    with opened(store, recipe, [test_set], spread=Spread(workers=4)) as bank:
        first = bank.fill(some)                 # prepares, hires, warns of leaks
        second = bank.fill(others)              # the same workers, warm

Law: retrainings are begun in the order given, and what comes of them does not hang on it, nor on rounds, workers or kills.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from influence.executors.contract import Executor, Job
from influence.executors.shared import store_at
from influence.executors.spread import ALONE, Spread
from influence.watch import Watch
from lineage import leakage
from lineage.store import Store
from training.comparison.costs import in_force
from training.data.corpus import open_corpus
from training.determinism import pick_device
from training.evaluation.predict import predict
from training.fit import train
from training.loops.changes import changes
from training.models.recorded import Opened, open_model
from training.models.start import find_start
from training.prepare import prepare
from training.progress import Progress, silent
from training.recipe import Recipe


@dataclass(frozen=True)
class Retraining:
    """One model to train: seed, weight in the loss by set digest (0: left out), how many checkpoints to keep.

    `substitutes` and `augment` as `training.fit.train` takes them; `changes` are fields of the recipe that are otherwise.
    """

    seed: int
    weights: Mapping[str, float] = field(default_factory=dict)
    checkpoints: int = 0
    label: str = ""
    substitutes: str | None = None
    augment: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Retrained:
    """What came of a retraining; `predictions` are evaluation runs by set digest.

    `reused` says that the model was on record already; `wall_s` is 0 where its evaluations were, too.
    """

    model_id: str
    run_id: str
    predictions: Mapping[str, str]
    reused: bool
    wall_s: float


@dataclass(frozen=True)
class Filled:
    """The outcome of filling the bank: results in the order asked for, None where a retraining failed; then `errors`.

    `wall_s` is counted from where the bank was opened or last filled.
    """

    results: tuple[Retrained | None, ...]
    errors: Mapping[str, str]
    wall_s: float

    @property
    def trained(self) -> int:
        """How many retrainings were computed now."""
        return sum(1 for r in self.results if r is not None and not r.reused)

    @property
    def reused(self) -> int:
        """How many were on record already."""
        return sum(1 for r in self.results if r is not None and r.reused)


@dataclass
class Bank:
    """The bank while it is open for one recipe (already settled on its start) and the evaluation sets `evaluate`."""

    store: Store
    recipe: Recipe
    evaluate: Sequence[str]
    normalise: str
    parents: Sequence[str]
    team: Executor
    watch: Watch
    since: float

    def fill(self, retrainings: Sequence[Retraining]) -> Filled:
        """Have all `retrainings` on record, each evaluated.

        A retraining that fails twice is reported in `errors`, by its label, and the others are done all the same.
        """
        jobs = [self._job(r) for r in retrainings]
        place = {id(job): i for i, job in enumerate(jobs)}
        results: list[Retrained | None] = [None] * len(jobs)
        errors: dict[str, str] = {}
        gpus = int(pick_device(self.recipe.device) == "cuda")
        self.watch.expect(len(jobs))
        for outcome in self.team.run(jobs):
            if outcome.error is None:
                results[place[id(outcome.job)]] = Retrained(**outcome.value)
            else:
                errors[outcome.job.label] = outcome.error
            self.watch.note(0.0 if outcome.error else outcome.value["wall_s"], outcome.cpu_s, gpus=gpus)
        begun, self.since = self.since, time.perf_counter()
        return Filled(tuple(results), errors, self.since - begun)

    def _job(self, r: Retraining) -> Job:
        arguments = {
            "root": str(self.store.root.resolve()),
            "recipe": {**self.recipe.model_dump(mode="json"), **r.changes},
            "seed": r.seed,
            "weights": dict(r.weights),
            "substitutes": r.substitutes,
            "augment": dict(r.augment),
            "checkpoints": r.checkpoints,
            "called": _called(self.recipe, r),
            "evaluate": list(self.evaluate),
            "normalise": self.normalise,
            "parents": list(self.parents),
        }
        return Job("influence.bank:retrain", arguments, label=r.label or f"seed {r.seed}")


@contextmanager
def opened(
    store: Store,
    recipe: Recipe,
    evaluate: Sequence[str],
    *,
    normalise: str = "basic",
    spread: Spread = ALONE,
    parents: Sequence[str] = (),
    progress: Progress = silent,
) -> Iterator[Bank]:
    """The bank for retrainings of `recipe`, each to be evaluated on the sets `evaluate` (digests).

    Within, it may be filled several times: sets are checked, features computed and leaks warned of once, and workers kept.

    Raises:
        EarmarkError: the sets cannot be trained or evaluated on, whatever the weights.
    """
    begun = time.perf_counter()
    recipe = find_start(store, recipe).recipe  # whatever is registered meanwhile
    _prepare(store, recipe, evaluate, progress)
    with spread.team(recipe.threads, gpus=pick_device(recipe.device) == "cuda", root=store.root) as team:
        watch = Watch(team.workers, progress, "retraining", in_force(store))
        yield Bank(store, recipe, evaluate, normalise, parents, team, watch, begun)


def fill(
    store: Store,
    recipe: Recipe,
    retrainings: Sequence[Retraining],
    evaluate: Sequence[str],
    *,
    normalise: str = "basic",
    spread: Spread = ALONE,
    parents: Sequence[str] = (),
    progress: Progress = silent,
) -> Filled:
    """Open the bank, fill it once, and close it; see `opened` and `Bank.fill`.

    Raises:
        EarmarkError: as `opened`.
    """
    with opened(
        store, recipe, evaluate, normalise=normalise, spread=spread.at_most(len(retrainings)), parents=parents,
        progress=progress,
    ) as bank:  # fmt: skip
        return bank.fill(retrainings)


def _called(recipe: Recipe, r: Retraining) -> str:
    """The name of a retraining's model."""
    as_it_is = not (r.weights or r.substitutes or r.augment or r.changes)
    if as_it_is and r.seed == recipe.seed:
        return recipe.name
    return f"{recipe.name}[{r.label or f'seed {r.seed}'}]"


def recorded(store: Store, recipe: Recipe, retrainings: Sequence[Retraining]) -> tuple[str | None, ...]:
    """The run of each of `retrainings` that is on record, whoever asked for it; None where it has to be computed.

    Raises:
        EarmarkError: the recipe does not fit the sets, the base or this machine.
    """
    done = {run.key: run.id for run in store.runs() if run.kind == "train" and run.status == "completed"}
    found = []
    for r in retrainings:
        own = recipe.variant(**{**r.changes, "seed": r.seed, "checkpoints": r.checkpoints})
        job = prepare(store, own, changes(own, store, r.weights, r.substitutes, r.augment))
        found.append(done.get(job.key))
    return tuple(found)


def _prepare(store: Store, recipe: Recipe, evaluate: Sequence[str], progress: Progress) -> None:
    """What all retrainings share: features, computed once and not by every worker; mistakes, told once and now."""
    job = prepare(store, recipe)
    if job.mixture is not None:
        job.mixture.record(store)
    open_corpus(store, job.data.digest, job.family, transcripts=recipe.transcripts, progress=progress).check()
    leaks = leakage.judge(store, job.data.digest, evaluate, behind=job.behind)
    if leaks.refused:  # trainings judge their recipe's own evaluation sets, and these may be others
        raise leakage.LeakageRefused(leaks, {})
    leakage.warn(leaks)
    for digest in evaluate:
        open_corpus(store, digest, job.family, transcripts=recipe.transcripts, progress=progress)


def retrain(
    root: str,
    recipe: dict[str, Any],
    seed: int,
    weights: dict[str, float],
    substitutes: str | None,
    augment: dict[str, list[dict[str, Any]]],
    checkpoints: int,
    called: str,
    evaluate: list[str],
    normalise: str,
    parents: list[str],
) -> dict[str, Any]:
    """One retraining and its evaluations, in whatever process; fields of `Retrained`."""
    begun = time.perf_counter()
    store, parsed = store_at(root), Recipe.parse(recipe)
    trained = train(
        store, parsed, seed=seed, weights=weights, substitutes=substitutes, augment=augment, checkpoints=checkpoints,
        called=called, parents=parents,
    )  # fmt: skip
    fresh = not trained.reused
    predictions = {}
    opened: Opened | None = None
    for digest in evaluate:
        if opened is None and not trained.reused:
            opened = open_model(store, trained.model_id, attention=parsed.attention)
        found = predict(
            store,
            trained.model_id,
            digest,
            normalise=normalise,
            device=parsed.device,
            threads=parsed.threads,
            opened=opened,
        )
        predictions[digest] = found.run_id
        fresh = fresh or not found.reused
    return {
        "model_id": trained.model_id,
        "run_id": trained.run_id,
        "predictions": predictions,
        "reused": trained.reused,
        "wall_s": time.perf_counter() - begun if fresh else 0.0,
    }
