"""The game between slices, played: models retrained on coalitions of them, and what the slices are worth together.

    report = interact(store, recipe, slices=["accent=scot", "accent=rp", "noise=hum & accent=us"], seeds=3)

The game (slices, evaluation, seeds, what is asked) is on record before the first retraining. Each coalition is trained over
the same seeds, the data of absent slices at weight zero in the loss; all of it is in the retrain bank under the keys that an
audit uses, so games, audits and larger games share their models and a killed one goes on where it was.

* Up to five slices **every coalition** is trained: Shapley values and interaction indices are exact but for seeds and speakers.
* Beyond, or where the budget is less, `shapley=True` **samples** coalitions (`shapley`) until the budget of retrainings or the
  wanted standard error is reached, and otherwise the **deletion** indices are told: by how much leaving out two slices costs
  less than leaving out each.

Intervals are those of contrasts between retrainings (seeds × test speakers), widened by the error of sampling where there is
one (Zou & Donner, Stat. Med. 27, 2008: half-widths of independent parts add in squares); where pairs are too few for that error
to be told (`shapley`), values have no interval. Signs: positive values lower the error; a negative interaction means that
either slice makes up for the other.

Laws: the same game on the same sets gives the same figures to the last digit, whatever was in the bank; the sampled values add
up to the total exactly. The budget counts all retrainings of the game, whether they are on record already or not, for what
is found may not depend on who trained before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace

from scipy import stats

from influence import bank
from influence.executors.spread import ALONE, Spread
from influence.games.game import draw_up, freeze
from influence.games.interactions import (
    asked_for,
    matrix,
    slices_of,
)
from influence.games.play import SHAPLEY, TOTAL, Asked, Play
from influence.games.shapley import CAUTION, Sampler, Sampling, sampler, sampling_error
from influence.games.worth import Interaction, InteractionReport, read_back
from influence.statistics.contrasts import Contrast, contrasts
from influence.statistics.effects import EvalSlice, blocks_of, counted
from influence.statistics.outcomes import eval_slices
from influence.statistics.panels import USUAL, Blocks, Generalise, Metric, panel
from lineage.identity import digest_of
from lineage.machine.environment import code_version
from lineage.selection.slices import FrozenSlice
from lineage.store import Store
from training.determinism import depends, pick_device
from training.progress import Progress, silent
from training.recipe import Recipe
from training.statistics.bootstrap import LEVEL, REPLICATES
from training.statistics.multiplicity import holm

SEEDS = 3


def interact(
    store: Store,
    recipe: Recipe,
    *,
    slices: Sequence[str],
    order: int = 2,
    shapley: bool = False,
    sampling: Sampling | None = None,
    budget: int | None = None,
    standard_error: float | None = None,
    partition: bool = False,
    evaluation: Sequence[str] = (),
    evaluation_set: str | None = None,
    seeds: int | Sequence[int] = SEEDS,
    spread: Spread = ALONE,
    level: float = LEVEL,
    replicates: int = REPLICATES,
    generalise: Generalise = "speakers",
    normalise: str = "basic",
    metrics: Sequence[Metric] = USUAL,
    progress: Progress = silent,
) -> InteractionReport:
    """Measure what slices of the training data are worth together, or read it back if it is on record.

    Args:
        store: where the sets are and everything goes.
        recipe: how to train; its training set is what slices are cut out of.
        slices: the slices that play, disjoint; what is in none of them is always trained on.
        order: interactions of up to so many slices.
        shapley: whether Shapley values are wanted where not every coalition can be trained.
        sampling: how coalitions are drawn for them: 'permutations' (where None is given, if all are too many) or 'regression'.
        budget: retrainings at most, seeds counted.
        standard_error: of sampling, in WER on all of the evaluation set (0.01 is a point): when it is reached, enough is drawn.
        partition: cut overlapping slices into disjoint parts instead of refusing them.
        evaluation: slices of the errors, by default all of it.
        evaluation_set: name or digest; by default the first that the recipe names.
        seeds: how many, counted from the recipe's, or which.
        spread: where retrainings are done, and by how many.
        level: confidence level of intervals.
        replicates: of the bootstrap.
        generalise: whether claims are about 'speakers' like those tested or 'utterances' of these very speakers.
        normalise: normaliser of references and hypotheses.
        metrics: what is measured, see `influence.statistics.panels`.
        progress: told of retrainings.

    Raises:
        EarmarkError: slices overlap, do not exist or are fewer than two; the budget is too small; or retrainings failed in
            every seed.
    """
    chosen = tuple(range(recipe.seed, recipe.seed + seeds)) if isinstance(seeds, int) else tuple(seeds)
    game = draw_up(
        store, recipe, slices, evaluation, evaluation_set, chosen, order, shapley, sampling, budget, partition,
        {"standard_error": standard_error, "generalise": generalise, "level": level, "replicates": replicates,
         "normalise": normalise, "metrics": tuple(metrics)},
    )  # fmt: skip
    place = pick_device(recipe.device)
    made_by = [code_version("training"), code_version("influence"), depends(place), recipe.threads, place]
    key = digest_of({"interact": game.digest, "by": made_by})
    done = store.find_run(key)
    if done is not None:
        return read_back(store, done)
    plan_run, players, looked_at = freeze(store, game)
    with bank.opened(
        store, game.recipe, [game.evaluation.digest], normalise=normalise, spread=spread.at_most(game.budget),
        parents=[plan_run], progress=progress,
    ) as opened:  # fmt: skip
        play = Play(game, players, opened)
        asked, pairs = play.through()
    rows = _measure(play, looked_at, asked, pairs)
    with store.run(
        "interact",
        job=recipe.name,
        config={"game": game.digest, "about": game.about, "plan": plan_run, "method": game.method},
        key=None if play.failures else key,  # with retrainings missing it is to be tried again
        inputs=[game.population.digest, game.evaluation.digest],
        parents=[plan_run, *sorted(play.runs)],
        package="influence",
    ) as run:
        run.append("interactions", [asdict(r) for r in rows])
        run.result = {
            "retrainings": len(play.done) * len(game.seeds),
            "trained": play.trained,
            "wall_s": play.wall_s,
            "failures": play.failures,
        }
    return InteractionReport(
        game.digest, run.id, game.method, tuple(rows), len(play.done) * len(game.seeds), play.trained, play.wall_s,
        play.failures, False,
    )  # fmt: skip


def _measure(
    play: Play, looked_at: Sequence[FrozenSlice], asked: Sequence[Asked], pairs: int | None
) -> list[Interaction]:
    game, coalitions = play.game, asked_for(a.functional for a in asked)
    outcomes = play.outcomes(coalitions)
    weights = -matrix([a.functional for a in asked], coalitions)  # values are −metric
    with_all = play.predictions((1 << play.n) - 1, play.usable()[0])
    targets = eval_slices(play.store, looked_at, with_all, game.normalise, game.metrics)
    drawn = None if pairs is None else sampler(game.method, play.n, game.chance)  # type: ignore[arg-type]
    few = "" if drawn is None or pairs is None else _too_few(drawn, pairs, game.method)
    rows: list[Interaction] = []
    for metric in game.metrics:
        found = []
        for whole in targets:
            target = counted(whole, outcomes[0][0].scored(metric), metric)
            held = blocks_of(target, game.generalise)
            if not held.words.sum():
                continue
            parts = panel(outcomes, held, metric)
            results = contrasts(
                parts, weights, level=game.level, replicates=game.replicates,
                seed=int(digest_of([target.set_digest, metric])[:12], 16),
            )  # fmt: skip
            unknown = _known_how(held, len(outcomes[0]), game.generalise)
            chance: list[float | None] = [None] * len(asked)
            if drawn is not None and pairs is not None and not few:
                spread = sampling_error(drawn, range(pairs), coalitions, -parts.outcomes.mean(axis=1))
                chance = [float(spread[slices_of(a.subset)[0]]) if a.measure == SHAPLEY else 0.0 for a in asked]
                free = drawn.freedom(pairs)
                results = [widened(r, s, free, game.level) if s else r for r, s in zip(results, chance, strict=True)]
            for a, r, s in zip(asked, results, chance, strict=True):
                lack = unknown or (few if a.measure == SHAPLEY else "")
                found.append(_row(play, a, r, s, target, metric, len(coalitions), pairs, lack))
        rows += _corrected(found)
    return rows


def widened(contrast: Contrast, sampling: float, freedom: int, level: float) -> Contrast:
    """A contrast whose estimate has an independent error of sampling besides, `sampling` with `freedom` degrees of freedom."""
    half = sampling * float(stats.t.ppf((1 + level) / 2, freedom))
    error = math.hypot(contrast.error, sampling)
    spent = contrast.error**4 / contrast.freedom + sampling**4 / freedom
    return replace(
        contrast,
        low=contrast.estimate - math.hypot(contrast.estimate - contrast.low, half),
        high=contrast.estimate + math.hypot(contrast.high - contrast.estimate, half),
        error=error,
        freedom=error**4 / spent,
    )


def _known_how(held: Blocks, seeds: int, generalise: Generalise) -> str:
    """Why intervals cannot be told; empty where they can."""
    if seeds < 2:
        return "one seed only: nothing tells an effect from the luck of one training"
    if generalise == "speakers" and held.speakers < 2:
        return "fewer than two test speakers: how voices differ is unknown"
    return "" if held.count > 1 else "one utterance only"


def _too_few(drawn: Sampler, pairs: int, method: str) -> str:
    """Why the error of sampling cannot be told; empty where it can."""
    if pairs >= drawn.certain:
        return ""
    other = ", or sample by regression, whose pairs take two combinations each" if method == "permutations" else ""
    return (
        f"too few pairs of {method} to tell the error of having drawn just these: {pairs}, where {drawn.certain} are the "
        f"least — raise the budget{other}"
    )


def _row(
    play: Play,
    asked: Asked,
    told: Contrast,
    chance: float | None,
    target: EvalSlice,
    metric: str,
    coalitions: int,
    pairs: int | None,
    unknown: str,
) -> Interaction:
    game = play.game
    who = slices_of(asked.subset)
    said = [unknown] if unknown else []
    if asked.measure != TOTAL:
        said.append(CAUTION)

    def known(value: float) -> float | None:
        return None if unknown or not math.isfinite(value) else float(value)

    return Interaction(
        game=game.digest,
        measure=asked.measure,
        slices="all together" if asked.measure == TOTAL else " × ".join(play.players[i].name for i in who),
        sets=[play.players[i].set_digest for i in who],
        size=len(who),
        method=game.method,
        eval_slice=target.name,
        eval_set=target.set_digest,
        metric=metric,
        estimate=told.estimate,
        low=known(told.low),
        high=known(told.high),
        level=game.level,
        error=known(told.error),
        sampling_error=chance,
        seeds=len(play.usable()),
        coalitions=coalitions,
        pairs=pairs,
        replicates=game.replicates,
        p=known(told.p),
        p_adjusted=None,
        caution="; ".join(said),
    )


def _corrected(rows: Sequence[Interaction]) -> list[Interaction]:
    """With Holm's correction: for each measure, its figures of one size on all evaluation slices are a family."""
    adjusted: dict[int, float] = {}
    for family in {(r.measure, r.size) for r in rows}:
        own = [i for i, r in enumerate(rows) if (r.measure, r.size) == family and r.p is not None]
        if own:
            adjusted |= zip(own, holm([rows[i].p or 0.0 for i in own]).tolist(), strict=True)
    return [replace(r, p_adjusted=adjusted.get(i)) for i, r in enumerate(rows)]
