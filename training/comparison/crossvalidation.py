"""Cross-validation grouped by speaker: what a recipe is worth on people whom the model never heard.

The training set is cut into folds by speaker (`lineage.selection.splits`); for each fold a model is trained on all others
and asked about that one. Every utterance is thus heard by exactly one model, which did not know its speaker, and the
errors of all are added up. Folds, models and predictions are on record like any others and are never made twice, so a
cross-validation that was interrupted goes on.

The interval resamples speakers. It tells how the figure hangs on who happens to be in the set, not how it would move with
other folds or seeds: models of different folds share most of their data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lineage.errors import EarmarkError
from lineage.finite import finite
from lineage.identity import digest_of
from lineage.machine.environment import code_version
from lineage.people.policy import Policy
from lineage.selection.sets import SampleSet, resolve_set
from lineage.selection.splits import folds as cut
from lineage.store import Store
from training.evaluation.evaluate import word_errors
from training.evaluation.predict import Predictions, described, predict, speakers_of
from training.fit import TrainedModel, train
from training.prepare import prepare
from training.progress import Progress, silent
from training.recipe import Recipe
from training.statistics import bootstrap


@dataclass(frozen=True)
class Fold:
    """One fold: the model trained on `rest`, its word errors per reference word on `held`."""

    rest: SampleSet
    held: SampleSet
    model: TrainedModel
    wer: float


@dataclass(frozen=True)
class CrossValidation:
    """All folds, and the WER of every utterance by the model that did not know its speaker; `words` are behind it."""

    run_id: str
    reused: bool
    folds: tuple[Fold, ...]
    wer: bootstrap.Interval
    words: int


def crossvalidate(
    store: Store,
    recipe: Recipe,
    *,
    folds: int = 5,
    seed: int = 0,
    normalise: str = "basic",
    policy: Policy | None = None,
    progress: Progress = silent,
) -> CrossValidation:
    """Train and ask one model a fold; `seed` is of the folds, the models have the recipe's.

    Raises:
        EarmarkError: as `train` does; the recipe names a development set; fewer speakers than folds.
    """
    if recipe.development is not None:
        raise EarmarkError(
            f"recipe {recipe.name} has a development set, whose speakers would be in the folds — drop 'development'"
        )
    if recipe.evaluate:
        recipe = recipe.variant(evaluate=[])
    prepare(store, recipe)
    population = resolve_set(store, recipe.train)
    done: list[Fold] = []
    predictions: list[Predictions] = []
    for number, (rest, held) in enumerate(cut(store, population.digest, folds, seed=seed), start=1):
        fold = recipe.variant(name=f"{recipe.name} (fold {number} of {folds})", train=rest.digest)
        model = train(store, fold, policy=policy, progress=progress)
        found = predict(
            store,
            model.model_id,
            held.digest,
            normalise=normalise,
            device=recipe.device,
            threads=recipe.threads,
            progress=progress,
        )
        predictions.append(found)
        done.append(Fold(rest, held, model, _wer(found.table)))
    return _together(store, recipe, population, done, predictions, seed)


def _together(
    store: Store,
    recipe: Recipe,
    population: SampleSet,
    done: Sequence[Fold],
    predictions: Sequence[Predictions],
    seed: int,
) -> CrossValidation:
    rows = pa.concat_tables([p.table for p in predictions])
    speakers = [speakers_of(described(store, p.table["sample_id"].combine_chunks())) for p in predictions]
    interval = bootstrap.ratio(word_errors(rows), rows["words"].to_numpy(), np.concatenate(speakers), seed=seed)
    words = int(rows["words"].to_numpy().sum())
    settings = {
        "recipe": recipe.model_dump(mode="json"),
        "set": population.digest,
        "folds": [f.held.digest for f in done],
        "predictions": [p.run_id for p in predictions],
        "seed": seed,
    }
    key = digest_of({"crossvalidate": settings, "code": code_version("training")})
    known = store.find_run(key)
    if known is not None:
        return CrossValidation(known.id, True, tuple(done), interval, words)
    with store.run(
        "crossvalidate",
        job=recipe.name,
        config=settings,
        key=key,
        inputs=[population.digest, *(f.model.model_id for f in done)],
        parents=[*(f.model.run_id for f in done), *(p.run_id for p in predictions)],
        seed=seed,
        package="training",
    ) as run:
        run.result = {"wer": finite(interval.__dict__), "words": words, "by_fold": [f.wer for f in done]}
    return CrossValidation(run.id, False, tuple(done), interval, words)


def _wer(rows: pa.Table) -> float:
    words = rows["words"].to_numpy().sum()
    return float(word_errors(rows).sum() / words) if words else float("nan")
