"""Dose–response: a recipe retrained on parts of a slice, so that a learning curve can be drawn through the outcomes.

For each slice T, models are trained with all, three quarters, half, a quarter and nothing of T's hours, the rest of the data in
full; what is left out has weight zero in the loss. The part that stays is drawn at random for each seed and nested over the
doses, so that the luck of the draw is part of the scatter over seeds, and a dose differs from the next by what was added alone.
The model with all data serves all slices.

The steps of training stay as they were, so fewer samples mean that each counts in fewer effective steps: the curve says what
hours of T bring to this recipe, not to one with a longer schedule.

Law: a part depends on (population, members of T, share, draw) alone, so asking again, or for another slice, retrains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from influence import bank
from influence.bank import Retraining
from influence.executors.spread import ALONE, Spread
from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.ids import id_array
from lineage.runs import Run
from lineage.selection import slices
from lineage.selection.sets import SampleSet, create_set, resolve_set
from lineage.selection.slices import FrozenSlice, Slice
from lineage.store import Store
from training.progress import Progress, silent
from training.recipe import Recipe

SHARES = (0.75, 0.5, 0.25, 0.0)  # beside the whole
HOUR = 3600.0


@dataclass(frozen=True)
class Part:
    """A slice at one dose: by seed, the set that is left out, and mean hours that stay."""

    share: float
    hours: float
    removed: tuple[str, ...]


@dataclass(frozen=True)
class Doses:
    """A slice and its parts; `hours` is what there is of it."""

    slice: FrozenSlice
    parts: tuple[Part, ...]

    @property
    def hours(self) -> float:
        """Hours of the whole slice."""
        return self.slice.duration_s / HOUR


@dataclass(frozen=True)
class Retrained:
    """Evaluation runs by slice, dose and seed; `baseline[k]` is the whole's with the k-th seed, `tested` what is looked at."""

    run_id: str
    tested: tuple[FrozenSlice, ...]
    doses: tuple[Doses, ...]
    seeds: tuple[int, ...]
    baseline: tuple[str, ...]
    predictions: tuple[tuple[tuple[str, ...], ...], ...]
    trained: int
    reused: int


def retrain(
    store: Store,
    recipe: Recipe,
    wanted: Sequence[Slice],
    evaluation: SampleSet,
    looked_at: Sequence[Slice],
    *,
    seeds: Sequence[int],
    normalise: str = "basic",
    spread: Spread = ALONE,
    progress: Progress = silent,
) -> Retrained:
    """Have the models of all doses of the slices `wanted` of the recipe's training set on record, evaluated.

    `looked_at` are the slices of the evaluation set that will be asked about; they are frozen with the doses.

    Raises:
        EarmarkError: a slice is empty or everything, has no duration, or a retraining failed twice.
    """
    population = resolve_set(store, recipe.train)
    run_id, drawn, tested = _freeze(store, population, wanted, evaluation, looked_at, len(seeds))
    asked = [Retraining(seed, label=f"all data, seed {seed}") for seed in seeds]
    for doses in drawn:
        asked += [
            Retraining(seed, {part.removed[k]: 0.0}, label=f"{part.share:.0%} of {doses.slice.name}, seed {seed}")
            for part in doses.parts
            for k, seed in enumerate(seeds)
        ]
    filled = bank.fill(
        store, recipe, asked, [evaluation.digest], normalise=normalise, spread=spread, parents=[run_id],
        progress=progress,
    )  # fmt: skip
    if filled.errors:
        name, error = next(iter(filled.errors.items()))
        raise EarmarkError(
            f"{len(filled.errors)} retrainings failed, {name} with: {error.strip().splitlines()[-1]} — the others are kept; "
            "mend it and ask again"
        )
    heard = [r.predictions[evaluation.digest] for r in filled.results if r is not None]
    k, each = len(seeds), len(SHARES) * len(seeds)
    blocks = [heard[k + i * each : k + (i + 1) * each] for i in range(len(drawn))]
    tables = tuple(tuple(tuple(b[j * k : (j + 1) * k]) for j in range(len(SHARES))) for b in blocks)
    return Retrained(run_id, tested, drawn, tuple(seeds), tuple(heard[:k]), tables, filled.trained, filled.reused)


def _freeze(
    store: Store,
    population: SampleSet,
    wanted: Sequence[Slice],
    evaluation: SampleSet,
    looked_at: Sequence[Slice],
    draws: int,
) -> tuple[str, tuple[Doses, ...], tuple[FrozenSlice, ...]]:
    """Put the parts on record, or find them there."""
    key = digest_of(
        {
            "doses": 1,
            "population": population.digest,
            "slices": [asdict(s) for s in wanted],
            "evaluation": evaluation.digest,
            "tested": [asdict(s) for s in looked_at],
            "shares": list(SHARES),
            "draws": draws,
        }
    )
    done = store.find_run(key)
    if done is None:
        config = {"slices": [s.name for s in wanted], "shares": list(SHARES), "draws": draws}
        with store.run(
            "plan",
            job="doses",
            config=config,
            key=key,
            inputs=[population.digest, evaluation.digest],
            package="influence",
        ) as run:
            run.result = {
                "doses": [_draw(run, s, population, draws) for s in wanted],
                "tested": [asdict(slices.freeze(run, s, evaluation)) for s in looked_at],
            }
        done = store.resolve_run(run.id)
    drawn = tuple(
        Doses(FrozenSlice(**d["slice"]), tuple(Part(p["share"], p["hours"], tuple(p["removed"])) for p in d["parts"]))
        for d in done.result["doses"]
    )
    return done.id, drawn, tuple(FrozenSlice(**t) for t in done.result["tested"])


def _draw(run: Run, wanted: Slice, population: SampleSet, draws: int) -> dict[str, Any]:
    frozen = slices.freeze(run, wanted, population)
    if frozen.size == population.size:
        raise EarmarkError(f"{wanted.name} is all of {population.name}: nothing would be left to train on without it")
    if not frozen.duration_s:
        raise EarmarkError(f"the samples of {wanted.name} have no duration — ingest them again")
    ids = slices.select(run.store, wanted, population.digest)
    seconds = _durations(run.store, ids)
    removed: dict[float, list[str]] = {share: [] for share in SHARES}
    stays: dict[float, list[float]] = {share: [] for share in SHARES}
    for draw in range(draws):
        seed = int(digest_of(["earmark.doses.v1", population.digest, frozen.set_digest, draw])[:16], 16)
        raw = np.random.Philox(key=np.array([seed, 0], dtype=np.uint64)).random_raw(len(ids))
        order = np.argsort(raw, kind="stable")
        reach = np.cumsum(seconds[order])
        for share in SHARES:
            count = int(np.searchsorted(reach, share * reach[-1] * (1 + 1e-9), side="right"))
            count = min(count, len(ids) - 1)
            stays[share].append(float(reach[count - 1]) / HOUR if count else 0.0)
            if not count:
                removed[share].append(frozen.set_digest)
                continue
            made = create_set(
                run,
                id_array(ids.take(pa.array(np.sort(order[count:])))),
                name=f"{population.name}[{wanted.name}, all but {share:g}, {draw}]",
                kind="control",
                population=population.digest,
                parents=[frozen.set_digest],
            )
            removed[share].append(made.digest)
    parts = [{"share": s, "hours": float(np.mean(stays[s])), "removed": removed[s]} for s in SHARES]
    return {"slice": asdict(frozen), "parts": parts}


def _durations(store: Store, ids: pa.Array) -> Any:
    rows = store.sql(
        "SELECT id, any_value(duration_s) AS duration_s FROM wanted JOIN samples ON sample_id = id GROUP BY id ORDER BY id",
        tables={"wanted": pa.table({"id": ids})},
    )
    by_id = dict(zip(rows["id"].to_pylist(), rows["duration_s"].to_pylist(), strict=True))
    return np.array([by_id[i] for i in ids.to_pylist()], dtype=np.float64)
