"""Controls: random removals as large as a slice, so that its effect can be told from that of having less data.

A control of a slice of n samples is n samples drawn at random from the same population. What is matched, and what is not:

* **count**: exactly. With `match="hours"` the total duration is also brought within 1 % of the slice's (rounded to 5 %
  steps, so that slices of about the same length still share their controls) by swapping samples.
* **speakers and strata**: not matched. A slice often is a stratum (all of an accent, a few whole speakers); a random removal
  spreads over all of them. The contrast between the two is the question, not a nuisance.
* **disjointness**: successive draws do not overlap until the population is used up (`match="count"`), so that several draws
  see more of the data than as many independent ones. A control may overlap the *slice*, by n/N on average: only so can slices
  of equal size share controls, which saves retrainings, and it errs on the safe side, for it draws the control towards the
  slice's effect by the factor n/N.

Law: a control depends on (population, count, hours if matched, draw, salt) alone; equal arguments give the same set in every
plan, so the retrain bank never trains it twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.ids import id_array
from lineage.runs import Run
from lineage.sets import SampleSet, create_set, members
from lineage.sql import quote
from lineage.store import Store

Match = Literal["count", "hours"]

HOURS_STEP = 0.05  # relative; lengths closer than that share controls
HOURS_TOLERANCE = 0.01
SWAPS_PER_SAMPLE = 40


@dataclass(frozen=True)
class Removal:
    """What identifies a random removal: `duration_s` (rounded) is None where hours are not matched."""

    population: str
    count: int
    duration_s: float | None
    draw: int
    salt: str = ""

    @property
    def seed(self) -> int:
        """64 bits from all of it."""
        return self._seed(self.draw)

    def _seed(self, draw: int) -> int:
        parts = ["earmark.control.v1", self.population, self.count, self.duration_s, draw, self.salt]
        return int(digest_of(parts)[:16], 16)

    @property
    def name(self) -> str:
        """Name under which the set goes on record."""
        return f"random-{self.count}-{self.draw}"


def removal(
    population: SampleSet, count: int, duration_s: float, draw: int, *, match: Match, salt: str = ""
) -> Removal:
    """The random removal that is draw number `draw` for a slice of `count` samples and `duration_s` seconds.

    Raises:
        EarmarkError: the slice is the whole population, so nothing can be matched to it.
    """
    if match not in ("count", "hours"):
        raise EarmarkError(f"controls cannot be matched by '{match}' — choose count or hours")
    if not 0 < count < population.size:
        raise EarmarkError(
            f"a slice of {count} out of {population.size} samples of {population.name} has no random counterpart — "
            "leave out less than everything"
        )
    rounded = None
    if match == "hours" and duration_s > 0:
        steps = round(math.log(duration_s) / math.log1p(HOURS_STEP))
        rounded = round(math.exp(steps * math.log1p(HOURS_STEP)), 3)
    return Removal(population.digest, count, rounded, draw, salt)


def draw(store: Store, wanted: Removal) -> pa.Array:
    """Ids of the removal's members, as an Arrow array of `pa.uuid()`."""
    ids = members(store, wanted.population)
    n, per_round = len(ids), max(1, len(ids) // wanted.count)
    if wanted.duration_s is None:
        # the draws of one round are consecutive pieces of one permutation
        order = _permutation(wanted._seed(wanted.draw // per_round), n)
        start = wanted.draw % per_round * wanted.count
        return ids.take(pa.array(order[start : start + wanted.count]))
    order = _permutation(wanted.seed, n)
    return ids.take(pa.array(_match_hours(order, wanted, _durations(store, wanted.population, ids))))


def freeze(run: Run, wanted: Removal, population: SampleSet) -> SampleSet:
    """Draw the removal and put it on record as a set of kind 'control'."""
    return create_set(
        run,
        draw(run.store, wanted),
        name=f"{population.name}[{wanted.name}]",
        kind="control",
        population=population.digest,
        parents=[population.digest],
    )


def _permutation(seed: int, n: int) -> npt.NDArray[np.int64]:
    raw = np.random.Philox(key=np.array([seed, 0], dtype=np.uint64)).random_raw(n)
    return np.argsort(raw, kind="stable").astype(np.int64)


def _durations(store: Store, population: str, ids: pa.Array) -> npt.NDArray[np.float64]:
    rows = store.sql(
        "SELECT DISTINCT ON (sample_id) sample_id, duration_s FROM samples WHERE sample_id IN "
        f"(SELECT sample_id FROM members WHERE set_digest = {quote(population)})"
    )
    by_id = dict(zip(rows["sample_id"].to_pylist(), rows["duration_s"].to_pylist(), strict=True))
    return np.array([by_id[i] for i in id_array(ids).to_pylist()])


def _match_hours(
    order: npt.NDArray[np.int64], wanted: Removal, seconds: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """The first `count` of `order`, then swaps of random pairs as long as they bring the total nearer to the target."""
    target = wanted.duration_s or 0.0
    inside, outside = order[: wanted.count].copy(), order[wanted.count :].copy()
    gap = target - float(seconds[inside].sum())
    tries = SWAPS_PER_SAMPLE * wanted.count
    picks = np.random.Philox(key=np.array([wanted.seed, 1], dtype=np.uint64)).random_raw(2 * tries).reshape(tries, 2)
    for a, b in picks:
        if abs(gap) <= HOURS_TOLERANCE * target:
            break
        i, o = int(a % np.uint64(len(inside))), int(b % np.uint64(len(outside)))
        change = float(seconds[outside[o]] - seconds[inside[i]])
        if abs(gap - change) < abs(gap):
            inside[i], outside[o] = outside[o], inside[i]
            gap -= change
    return inside
