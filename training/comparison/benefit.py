"""What more data bought: WER points per hour of speech and per unit of money, from the models on record.

Models are put on one curve if all but their data is the same (recipe, base, evaluation set, normaliser); models with the same
data and other seeds are one point, their mean. Between one point and the next larger one stands the gain, positive where the
WER went down.

This is history, not an experiment. Larger sets differ from smaller ones in more than their size: in who speaks, in what noise,
in when they were collected. Where the smaller set lies wholly within the larger (`nested`), the gain is that of exactly the
speech that was added; whether other speech would have done as much is a question for an audit (`earmark audit`).

The money of a gain is that of the hours added (`data_hour`) and of the training's growth, not of what came before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from lineage.identity import digest_of
from lineage.storage.manifest import RunInfo
from lineage.store import Store
from training.comparison.costs import RateCard, in_force
from training.recipe import NOT_IN_WEIGHTS

CAVEAT = (
    "history, not an experiment: sets of different size also differ in what they hold; only where one lies within the other "
    "is the gain that of the speech added"
)
DATA = (
    "train",
    "seed",
    "threads",
    "device",
    *NOT_IN_WEIGHTS,
)  # of a recipe, what two points of one curve may differ in
CONSUMED = """
    SELECT e.run_id, sum(s.duration_s) / 3600 AS hours, count(*) AS samples
    FROM (SELECT DISTINCT run_id, sample_id FROM exposures WHERE weight > 0) e
    JOIN (SELECT sample_id, any_value(duration_s) AS duration_s FROM samples GROUP BY sample_id) s USING (sample_id)
    GROUP BY e.run_id"""
OUTSIDE = """
    SELECT count(*) AS n FROM (SELECT DISTINCT sample_id FROM exposures WHERE run_id = $small AND weight > 0)
    ANTI JOIN (SELECT DISTINCT sample_id FROM exposures WHERE run_id = $large AND weight > 0) USING (sample_id)"""


@dataclass(frozen=True)
class Point:
    """Models trained on the same data: hours and samples that counted, mean WER, mean cost of one training."""

    data: str
    hours: float
    samples: int
    models: int
    wer: float
    cpu_s: float
    gpu_s: float
    money: float | None
    run_id: str  # of one of them


@dataclass(frozen=True)
class Gain:
    """From one point to the next: WER `points` gained (0.01 is one percentage point), by hour, and by unit of money."""

    smaller: Point
    larger: Point
    points: float
    per_hour: float
    money: float | None
    per_money: float | None
    nested: bool


@dataclass(frozen=True)
class Curve:
    """The points of one recipe on one evaluation set, fewest hours first, and the gains between them."""

    recipe: str
    set_digest: str
    set_name: str
    normaliser: str
    points: tuple[Point, ...]
    gains: tuple[Gain, ...]
    currency: str | None


def benefit(store: Store, rates: RateCard | None = None) -> list[Curve]:
    """The learning curves on record that have at least two points; `rates` instead of those in force."""
    prices = rates or in_force(store)
    runs = {r.result["model_id"]: r for r in store.runs() if _trained(r)}
    consumed = {row["run_id"]: row for row in store.sql(CONSUMED).to_pylist()}
    named = {row["set_digest"]: row["name"] for row in store.read("sample_sets", ["set_digest", "name"]).to_pylist()}
    curves: dict[tuple[str, str, str], dict[str, list[tuple[RunInfo, float]]]] = {}
    for (model, measured, normaliser), value in _measured(store).items():
        run = runs.get(model)
        if run is not None and run.id in consumed:
            place = curves.setdefault((_alike(run), measured, normaliser), {})
            place.setdefault(digest_of([run.config["set"], run.config["weights"]]), []).append((run, value))
    found = []
    for (_, measured, normaliser), groups in curves.items():
        points = sorted((_point(g, consumed, named, prices) for g in groups.values()), key=lambda p: p.hours)
        if len(points) > 1:
            gains = tuple(_gain(store, a, b, prices) for a, b in pairwise(points))
            job, name = next(iter(groups.values()))[0][0].job or "", named.get(measured, measured[:12])
            currency = prices.currency if prices else None
            found.append(Curve(job, measured, name, normaliser, tuple(points), gains, currency))
    return found


def _trained(run: RunInfo) -> bool:
    by_recipe = "recipe" in run.config and "depends" in run.config
    return run.kind == "train" and run.status == "completed" and by_recipe and run.key is not None


def _alike(run: RunInfo) -> str:
    recipe = {k: v for k, v in run.config["recipe"].items() if k not in DATA}
    return digest_of({"recipe": recipe, "base": run.config["depends"]["base"]})


def _measured(store: Store) -> dict[tuple[str, str, str], float]:
    """The newest WER of each model on each set under each normaliser."""
    rows = store.sql(
        "SELECT model_id, set_digest, normaliser, value FROM metrics WHERE metric = 'wer' AND slice = 'all' ORDER BY run_id"
    ).to_pylist()
    return {(r["model_id"], r["set_digest"], r["normaliser"] or ""): r["value"] for r in rows}


def _point(
    group: list[tuple[RunInfo, float]],
    consumed: Mapping[str, Mapping[str, Any]],
    named: Mapping[str, str],
    prices: RateCard | None,
) -> Point:
    runs = [run for run, _ in group]
    cpu_s, gpu_s = fmean(r.cpu_s for r in runs), fmean(r.gpu_s or 0.0 for r in runs)
    money = None if prices is None else fmean(prices.money(r.cpu_s, r.gpu_s or 0.0, r.energy_j) for r in runs)
    first, heard = runs[0], consumed[runs[0].id]
    data = named.get(first.config["set"], first.config["set"][:12]) + (" in part" if first.config["weights"] else "")
    wer = fmean(value for _, value in group)
    return Point(data, heard["hours"], heard["samples"], len(runs), wer, cpu_s, gpu_s, money, first.id)


def _gain(store: Store, small: Point, large: Point, prices: RateCard | None) -> Gain:
    hours, points = large.hours - small.hours, small.wer - large.wer
    money = None
    if prices is not None and small.money is not None and large.money is not None:
        money = large.money - small.money + hours * prices.data_hour
    outside = store.sql(OUTSIDE, {"small": small.run_id, "large": large.run_id})["n"][0].as_py()
    return Gain(
        small,
        large,
        points,
        points / hours if hours > 0 else 0.0,
        money,
        points / money if money is not None and money > 0 else None,
        outside == 0,
    )
