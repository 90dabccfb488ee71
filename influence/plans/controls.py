"""Controls: random removals as large as a slice, so that its effect can be told from that of having less data.

A control of a slice of n samples is n samples drawn at random from the same population. What is matched, and what is not:

* **count**: exactly. With `match="hours"` or `"words"` the total duration, or number of words, is also brought within 1 % of
  the slice's (rounded to 5 % steps, so that slices of about the same length still share their controls) by swapping samples.
* **speakers**: with `match="speakers"` whole speakers are drawn, in random order, for as long as that brings the count nearer;
  a sample without one stands for itself. So the count is met only as far as speakers allow. Otherwise speakers and strata
  are not matched: a slice often is a stratum (all of an accent, a few whole speakers), a random removal spreads over all of
  them, and the contrast between the two is the question, not a nuisance.
* **disjointness**: successive draws do not overlap until the population is used up (`match="count"`), so that several draws
  see more of the data than as many independent ones. A control may overlap the *slice*, by n/N on average: only so can slices
  of equal size share controls, which saves retrainings, and it errs on the safe side, for it draws the control towards the
  slice's effect by the factor n/N.

Two uses of them. A few (other ones in every seed) show on average what less data does. From nineteen on, the same in every
seed, they also show by *rank* how unusual the slice is among random sets of its size (`set_luck.rank_p`): with n sets no
p-value is below 1/(n + 1), before it is corrected for the family. Where slices differ in size, a *curve* is cheaper than
nineteen of each: random removals of a few sizes, and a line through nothing removed, nothing changed, fitted to them (`line`),
which stands for the control at every size. What luck the sets had, the same in every seed, is counted among the errors
(`influence.statistics.set_luck`).

Law: a control depends on (population, count, what is matched, draw, salt) alone; equal arguments give the same set in every
plan, so the retrain bank never trains it twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.recorder import described
from lineage.runs import Run
from lineage.selection.sets import SampleSet, create_set, members
from lineage.store import Store

Match = Literal["count", "hours", "speakers", "words"]
MATCHES = ("count", "hours", "speakers", "words")

HOURS_STEP = 0.05  # relative; lengths closer than that share controls
HOURS_TOLERANCE = 0.01
SWAPS_PER_SAMPLE = 40


@dataclass(frozen=True)
class Removal:
    """What identifies a random removal: `duration_s` and `words` (rounded) are None where they are not matched."""

    population: str
    count: int
    duration_s: float | None
    draw: int
    salt: str = ""
    words: int | None = None
    speakers: bool = False

    @property
    def seed(self) -> int:
        """64 bits from all of it."""
        return self._seed(self.draw)

    def _seed(self, draw: int) -> int:
        parts: list[Any] = ["earmark.control.v1", self.population, self.count, self.duration_s, draw, self.salt]
        parts += [["words", self.words]] if self.words is not None else []
        parts += ["speakers"] if self.speakers else []
        return int(digest_of(parts)[:16], 16)

    @property
    def name(self) -> str:
        """Name under which the set goes on record."""
        return f"random-{self.count}-{self.draw}"


def removal(
    population: SampleSet, count: int, duration_s: float, draw: int, *, match: Match, salt: str = "", words: int = 0
) -> Removal:
    """The random removal that is draw number `draw` for a slice of `count` samples, `duration_s` seconds and `words` words.

    Raises:
        EarmarkError: the slice is the whole population, so nothing can be matched to it.
    """
    if match not in MATCHES:
        raise EarmarkError(f"controls cannot be matched by '{match}' — choose one of {', '.join(MATCHES)}")
    if not 0 < count < population.size:
        raise EarmarkError(
            f"a slice of {count} out of {population.size} samples of {population.name} has no random counterpart — "
            "leave out less than everything"
        )
    seconds = _rounded(duration_s) if match == "hours" and duration_s > 0 else None
    spoken = round(_rounded(words)) if match == "words" and words > 0 else None
    return Removal(population.digest, count, seconds, draw, salt, spoken, match == "speakers")


def _rounded(amount: float) -> float:
    """To steps of 5 %."""
    steps = round(math.log(amount) / math.log1p(HOURS_STEP))
    return round(math.exp(steps * math.log1p(HOURS_STEP)), 3)


def draw(store: Store, wanted: Removal) -> pa.Array:
    """Ids of the removal's members, as an Arrow array of `pa.uuid()`."""
    ids = members(store, wanted.population)
    n, per_round = len(ids), max(1, len(ids) // wanted.count)
    if wanted.speakers:
        return ids.take(pa.array(_whole_speakers(store, wanted, ids)))
    if wanted.duration_s is None and wanted.words is None:
        # the draws of one round are consecutive pieces of one permutation
        order = _permutation(wanted._seed(wanted.draw // per_round), n)
        start = wanted.draw % per_round * wanted.count
        return ids.take(pa.array(order[start : start + wanted.count]))
    order = _permutation(wanted.seed, n)
    column, target = ("words", wanted.words) if wanted.words is not None else ("duration_s", wanted.duration_s)
    amounts = np.array([row or 0.0 for row in _column(store, column, ids)], dtype=np.float64)
    return ids.take(pa.array(_match_amount(order, wanted, amounts, float(target or 0.0))))


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


def line(sizes: Sequence[int], size: int) -> list[float]:
    """Weights of random removals of `sizes` samples whose weighted sum is the effect of `size` by the line fitted to them.

    Least squares through the origin: effect = slope · samples removed.
    """
    x = np.asarray(sizes, dtype=np.float64)
    return [float(w) for w in size * x / (x @ x)]


def _column(store: Store, column: str, ids: pa.Array) -> list[Any]:
    """One column of the newest row of each sample."""
    rows = described(store, ids)
    return [rows[i][column] for i in ids.to_pylist()]


def _whole_speakers(store: Store, wanted: Removal, ids: pa.Array) -> list[int]:
    by_speaker: dict[Any, list[int]] = {}
    for place, (sample, speaker) in enumerate(zip(ids.to_pylist(), _column(store, "speaker_key", ids), strict=True)):
        by_speaker.setdefault(speaker or sample, []).append(place)
    groups = [by_speaker[key] for key in sorted(by_speaker)]
    chosen: list[int] = []
    for which in _permutation(wanted.seed, len(groups)):
        more = len(chosen) + len(groups[which])
        if abs(more - wanted.count) < abs(len(chosen) - wanted.count) and more < len(ids):
            chosen += groups[which]
    return sorted(chosen)


def _match_amount(
    order: npt.NDArray[np.int64], wanted: Removal, seconds: npt.NDArray[np.float64], target: float
) -> npt.NDArray[np.int64]:
    """The first `count` of `order`, then swaps of random pairs as long as they bring the total nearer to the target."""
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
