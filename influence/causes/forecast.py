"""What more hours would bring: "what would WER on S be with n more hours of T?", and which T to collect next.

    forecasts = forecast(store, recipe, ["accent=*"], goal="worst", evaluation=["accent=*"], seeds=3)

For each training slice T the recipe is retrained on less of it (`doses`), a learning curve is drawn through the outcomes
(`curve`) and followed beyond the hours there are. The target is one word error rate: that of the whole evaluation set, of one
slice, of the slice that is served worst now, or a weighted mean of several slices' rates. Every T is asked about with the
same numbers of more hours, and they are ranked by expected reduction of the target per hour.

What every forecast takes for granted: the new hours are like those there are (as many new speakers per hour, the same
conditions), the recipe stays, and the curve goes on as it began. Where the check on the largest dose fails, the row says so.
Law: the same request on the same record is answered from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import get_args

import numpy as np

from influence.about import about
from influence.causes import curve as curves
from influence.causes.curve import Check, Forecast
from influence.causes.doses import Doses, retrain
from influence.causes.foreseen import Expectation, Forecasts, of_run, read_back
from influence.causes.target import Goal, panels, target_of
from influence.executors.spread import ALONE, Spread
from influence.statistics.contrasts import Contrast
from influence.statistics.panels import Panel
from lineage.errors import EarmarkError
from lineage.finite import finite
from lineage.identity import digest_of
from lineage.machine.environment import code_version
from lineage.selection.sets import SampleSet, resolve_set
from lineage.selection.slices import WHOLE, Slice, parse_slices, select
from lineage.store import Store
from training.determinism import depends, pick_device
from training.progress import Progress, silent
from training.recipe import Recipe
from training.statistics.bootstrap import LEVEL, REPLICATES

SEEDS = 3
FAR = 2.0  # times the hours there are: beyond, the caution is said


def forecast(
    store: Store,
    recipe: Recipe,
    slices: Sequence[str],
    hours: Sequence[float] = (),
    *,
    evaluation: Sequence[str] = (),
    weights: Sequence[float] = (),
    goal: Goal = "mean",
    evaluation_set: str | None = None,
    seeds: int = SEEDS,
    level: float = LEVEL,
    replicates: int = REPLICATES,
    normalise: str = "basic",
    spread: Spread = ALONE,
    progress: Progress = silent,
) -> Forecasts:
    """The target's WER with each of `hours` more hours of each slice: the greatest expected reduction per hour first.

    Args:
        store: where everything is and goes.
        recipe: what is trained.
        slices: training slices that could be collected, as people write them.
        hours: more hours of each; default: once, as many as there are of the smallest, which at most doubles any.
        evaluation: evaluation slices that the target is made of; default: the whole set.
        weights: of each of them in the target's mean; default: equal.
        goal: 'mean' of the evaluation slices' rates, or the one that is 'worst' with all data.
        evaluation_set: default: the recipe's first.
        seeds: paired seeds, two at least.
        level: of the intervals.
        replicates: bootstrap replicates.
        normalise: normaliser of references and hypotheses.
        spread: where retrainings are done, and by how many.
        progress: told of retrainings.

    Raises:
        EarmarkError: something named does not exist or makes no sense, or a retraining failed.
    """
    if not slices:
        raise EarmarkError("no slice to collect — name some, such as accent=scot, or accent=* for all of them")
    asked = _Asked(
        recipe, tuple(slices), tuple(hours), tuple(evaluation), tuple(weights), goal, seeds, level, replicates
    )
    return _forecasts(store, asked, evaluation_set, normalise, spread, progress)


@dataclass(frozen=True)
class _Asked:
    recipe: Recipe
    slices: tuple[str, ...]
    hours: tuple[float, ...]
    evaluation: tuple[str, ...]
    weights: tuple[float, ...]
    goal: Goal
    seeds: int
    level: float
    replicates: int

    def __post_init__(self) -> None:
        if any(not (np.isfinite(h) and h > 0) for h in self.hours):
            raise EarmarkError(f"{', '.join(f'{h:g}' for h in self.hours)} more hours — give a number above 0")
        if self.seeds < 2:
            raise EarmarkError("one seed only: nothing tells a gain from the luck of one training — use two or more")
        if self.goal not in get_args(Goal):
            raise EarmarkError(f"goal '{self.goal}' — choose mean or worst")
        if self.goal == "worst" and (len(self.evaluation) == 0 or self.weights):
            raise EarmarkError("the worst of which slices? — name evaluation slices, without weights")
        if any(not (np.isfinite(w) and w > 0) for w in self.weights):
            raise EarmarkError("weights of evaluation slices have to be above 0")
        if not 0.5 < self.level < 1:
            raise EarmarkError(f"confidence level {self.level} — give one between 0.5 and 1, e.g. 0.95")


def _forecasts(
    store: Store, asked: _Asked, evaluation_set: str | None, normalise: str, spread: Spread, progress: Progress
) -> Forecasts:
    recipe = asked.recipe
    population = resolve_set(store, recipe.train)
    evaluation = resolve_set(store, recipe.tested_on(evaluation_set))
    wanted = parse_slices(store, asked.slices, population.digest)
    looked_at = parse_slices(store, asked.evaluation, evaluation.digest) or [WHOLE]
    for s, where in [*((s, population) for s in wanted), *((s, evaluation) for s in looked_at)]:
        select(store, s, where.digest)  # a mistake in any of them is said before anything is recorded
    if asked.weights and len(asked.weights) != len(looked_at):
        raise EarmarkError(f"{len(asked.weights)} weights for {len(looked_at)} evaluation slices — give one for each")
    key = _key(asked, population, evaluation, wanted, looked_at, normalise)
    done = store.find_run(key)
    if done is not None:
        return read_back(store, done)
    seeds = range(recipe.seed, recipe.seed + asked.seeds)
    made = retrain(
        store,
        recipe,
        wanted,
        evaluation,
        looked_at,
        seeds=seeds,
        normalise=normalise,
        spread=spread,
        progress=progress,
    )
    config = {
        "recipe": recipe.name, "about": about(recipe, population.digest, evaluation.digest),
        "slices": [s.name for s in wanted], "evaluation": [s.name for s in looked_at], "weights": list(asked.weights),
        "goal": asked.goal, "hours": list(asked.hours), "seeds": list(seeds), "level": asked.level,
        "replicates": asked.replicates,
    }  # fmt: skip
    with store.run(
        "forecast", job=recipe.name, config=config, key=key, inputs=[population.digest, evaluation.digest],
        parents=[made.run_id], package="influence",
    ) as run:  # fmt: skip
        target = target_of(store, made, asked.goal, asked.weights)
        outcomes = panels(store, made, target)
        more = asked.hours or (min(d.hours for d in made.doses),)
        rows = expectations(made.doses, outcomes, more, target.name, asked.level, asked.replicates)
        run.append("forecasts", [asdict(r) for r in rows])
        measured = {
            d.slice.name: [[h, float(w)] for h, w in zip(_hours(d), p.outcomes.mean(axis=1), strict=True)]
            for d, p in zip(made.doses, outcomes, strict=True)
        }
        run.result = {"target": target.name, "measured": measured, "trained": made.trained, "reused": made.reused}
    return of_run(run.id, run.result, rows, reused=False)


def _key(
    asked: _Asked,
    population: SampleSet,
    evaluation: SampleSet,
    wanted: Sequence[Slice],
    looked_at: Sequence[Slice],
    normalise: str,
) -> str:
    place = pick_device(asked.recipe.device)
    return digest_of(
        {
            "forecast": 1,
            "recipe": asked.recipe.essence,
            "sets": [population.digest, evaluation.digest],
            "slices": [[asdict(s) for s in part] for part in (wanted, looked_at)],
            "hours": list(asked.hours),
            "weights": list(asked.weights),
            "goal": asked.goal,
            "seeds": [asked.recipe.seed, asked.seeds],
            "statistics": [asked.level, asked.replicates],
            "normalise": normalise,
            "code": [code_version("training"), code_version("influence")],
            "environment": depends(place),
            "threads": asked.recipe.threads,
            "device": place,
        }
    )


def expectations(
    doses: Sequence[Doses],
    outcomes: Sequence[Panel],
    hours: Sequence[float],
    target: str,
    level: float = LEVEL,
    replicates: int = REPLICATES,
) -> list[Expectation]:
    """What each of `hours` more of each slice brings to the target, the greatest reduction per hour first.

    `outcomes[i]` holds the outcomes of slice i's doses, the whole first.
    """
    found = []
    for part, measured in zip(doses, outcomes, strict=True):
        held = _hours(part)
        seed = int(digest_of([part.slice.set_digest, target])[:12], 16)
        options = {"level": level, "replicates": replicates, "seed": seed}
        line = curves.fit(held, measured)
        checked = curves.check(held, measured, level=level, replicates=replicates, seed=seed)
        forecasts = line.forecast([held[0] + h for h in hours], **options)  # type: ignore[arg-type]
        wer_now = float(measured.outcomes[0].mean())
        found += [
            _row(part, target, h, wer_now, f, checked, measured, level) for h, f in zip(hours, forecasts, strict=True)
        ]
    found.sort(key=lambda r: (-r.per_hour, r.train_slice, r.hours_more))
    return [replace(r, rank=i + 1) for i, r in enumerate(found)]


def _row(
    part: Doses,
    target: str,
    more: float,
    now: float,
    forecast: Forecast,
    checked: Check | None,
    measured: Panel,
    level: float,
) -> Expectation:
    change: Contrast = forecast.change
    cautions = []
    if part.hours + more > FAR * part.hours * (1 + 1e-9):
        cautions.append(f"{(part.hours + more) / part.hours:.1f} times the hours there are: far beyond what was tried")
    if checked is not None and not checked.covered:
        cautions.append(
            f"the check failed: the hours there are were forecast at {100 * checked.forecast:.1f} %, and are at "
            f"{100 * checked.measured:.1f} %"
        )
    if measured.values.shape[2] < 2:
        cautions.append("one test speaker: the figures speak of that voice only")
    elif change.low <= 0 <= change.high:
        cautions.append("no gain at all is within the interval")
    held = [None] * 4 if checked is None else [checked.forecast, checked.measured, checked.low, checked.high]
    low, high = finite(-change.high), finite(-change.low)
    return Expectation(
        train_slice=part.slice.name,
        train_set=part.slice.set_digest,
        target=target,
        rank=0,
        hours_now=part.hours,
        hours_more=more,
        wer_now=now,
        wer_then=forecast.level.estimate,
        wer_then_low=finite(forecast.level.low),
        wer_then_high=finite(forecast.level.high),
        reduction=-change.estimate,
        low=low,
        high=high,
        level=level,
        per_hour=-change.estimate / more,
        per_hour_low=None if low is None else low / more,
        per_hour_high=None if high is None else high / more,
        seeds=measured.values.shape[1],
        held_forecast=held[0],
        held_measured=held[1],
        held_low=held[2],
        held_high=held[3],
        caution="; ".join(cautions),
    )


def _hours(doses: Doses) -> list[float]:
    return [doses.hours, *(p.hours for p in doses.parts)]
