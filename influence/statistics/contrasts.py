"""How much a contrast between retrainings is worth: hierarchical paired bootstrap over test speakers × seeds.

A contrast is a weighted sum of retrainings (without the slice minus with all data) whose seeds and test speakers are
crossed: every seed meets every speaker, and all retrainings share both, so everything is paired. Its error has two sources,
which speakers happen to be in the test set and which seeds happened to be drawn, and neither may be left out: with one
source alone intervals come out far too short.

* The **shape** of the error comes from resampling speakers and, independently, seeds, with replacement (the pigeonhole
  bootstrap: Owen, Ann. Appl. Stat. 1, 2007; speakers as blocks in speech recognition: Bisani & Ney, ICASSP 2004, and Liu &
  Peng, arXiv 1912.09508).
* Its **scale** is corrected, for resampling n things shows only (n−1)/n of their variance and counts the scatter of
  speaker × seed twice: variance = speakers + seeds − interaction, each unbiased, the seeds' part moderated over all
  retrainings (`moderation`), and never less than either part alone nor finer than one word.
* Its **tails** are those of Student's t, since that scale is itself an estimate: each replicate is stretched by draws of
  √(ν/χ²_ν), with ν what the scale is worth, maxima and all (`freedom`).

With many speakers and seeds all three corrections vanish and the plain percentile interval remains. Scaling the values scales
the interval; the order of speakers, of seeds and of retrainings does not matter beyond the bootstrap's chance.

**Tests are stricter than intervals.** p-values take Satterthwaite's degrees of freedom, which are fewer. Both choices were
simulated with known truth (`benchmarks/audit_simulation.py`). Were intervals as strict as the tests, those of 95 % would cover
98 % with five speakers; were tests as liberal as the intervals, the small p-values that Holm's correction reads would come up
twice as often as they should where the speakers' part has four degrees of freedom and is most of the error, for which of the
sources that is can itself only be guessed from so few. So 95 % intervals cover 93–97 % with 5, 12 or 40 speakers and 2 to 8
seeds, and up to 98 % where words are so few that nearly all error is the interaction's. What is significant is clear of zero,
but for the bootstrap's skew, and not the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from influence.statistics.freedom import together, worth
from influence.statistics.moderation import moderate
from influence.statistics.panels import Array, Panel
from training.statistics.bootstrap import LEVEL, REPLICATES, draws

STRETCHES = 4  # draws of the tail per replicate: they cost little and steady the interval's ends


@dataclass(frozen=True)
class Contrast:
    """An estimate with its interval, standard error and degrees of freedom; NaN where these cannot be known.

    `lasting` is the part of the standard error that no more seeds would take away; its square is part of the error's.
    """

    estimate: float
    low: float
    high: float
    error: float
    freedom: float
    lasting: float = 0.0

    @property
    def p(self) -> float:
        """Two-sided p-value of the hypothesis that the true value is zero."""
        return min(1.0, 2 * self._tail(abs(self.estimate)))

    def p_within(self, margin: float) -> float:
        """p-value of the hypothesis that the true value lies outside ±`margin`: two one-sided tests (Schuirmann 1987)."""
        return max(self._tail(margin - self.estimate), self._tail(margin + self.estimate))

    def p_beyond(self, bound: float) -> float:
        """p-value of the hypothesis that the true value is `bound` at most (one-sided)."""
        return self._tail(self.estimate - bound)

    def p_below(self, bound: float) -> float:
        """p-value of the hypothesis that the true value is `bound` at least (one-sided)."""
        return self._tail(bound - self.estimate)

    def span(self, level: float) -> tuple[float, float]:
        """The symmetric interval of another level; that of 1 − 2α goes with an equivalence test at α."""
        half = self.error * float(special.stdtrit(self.freedom, (1 + level) / 2))
        return self.estimate - half, self.estimate + half

    def detectable(self, alpha: float, power: float) -> float:
        """Smallest true value that a two-sided test at level `alpha` finds with probability `power`."""
        if not np.isfinite(self.error):
            return float("nan")
        quantiles = special.stdtrit(self.freedom, [1 - alpha / 2, power])
        return float(self.error * quantiles.sum())

    def _tail(self, distance: float) -> float:
        if not np.isfinite(self.error):
            return 1.0
        if self.error == 0:
            return 0.0 if distance > 0 else 1.0
        return float(special.stdtr(self.freedom, -distance / self.error))


@dataclass(frozen=True)
class _Scale:
    """Variance of each contrast's error, its degrees of freedom for tests and for intervals, what of it lasts, all [C]."""

    variance: Array
    freedom: Array
    worth: Array
    lasting: Array

    def beside(self, variance: Array, freedom: Array) -> _Scale:
        """With an independent source of error more (Satterthwaite's sum)."""
        whole = self.variance + variance
        known = []
        for own in (self.freedom, self.worth):
            parts = self.variance**2 / own + variance**2 / freedom
            known.append(np.divide(whole**2, parts, out=own.copy(), where=variance > 0))
        return _Scale(whole, known[0], known[1], self.lasting + variance)


def contrasts(
    panel: Panel,
    weights: npt.ArrayLike,
    *,
    level: float = LEVEL,
    replicates: int = REPLICATES,
    seed: int = 0,
    luck: Array | None = None,
) -> list[Contrast]:
    """The contrasts whose weights over retrainings are the rows of `weights` [C, J], in units of the panel's metric.

    All of them come from the same draws, which `seed` determines. `luck` [2, C]: variance from a source that neither speakers
    nor seeds show, and its degrees of freedom (see `set_luck`).
    """
    w = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    j, k, b = panel.values.shape
    if w.shape[1] != j:
        raise ValueError(f"{w.shape[1]} weights for {j} retrainings")
    estimate = w @ panel.outcomes.mean(axis=1)
    if k < 2 and b < 2:
        nan = float("nan")
        return [Contrast(float(e), nan, nan, nan, nan) for e in estimate]
    chance = np.random.Generator(np.random.Philox(key=np.array([seed, 3], dtype=np.uint64)))
    scale = _scale(panel, w) if luck is None else _scale(panel, w).beside(*luck)
    error = np.sqrt(scale.variance)
    ends = _quantiles(_shape(panel, w, replicates, seed, chance), scale.worth, level, chance)
    low, high = estimate + ends[0] * error, estimate + ends[1] * error
    rows = zip(estimate, low, high, error, scale.freedom, np.sqrt(scale.lasting), strict=True)
    return [Contrast(*(float(x) for x in row)) for row in rows]


def _scale(panel: Panel, w: Array) -> _Scale:
    """Two-way crossed variance of the contrasts, block shares of the words kept fixed."""
    _, k, b = panel.values.shape
    total = panel.words.sum()
    share = panel.words / total
    effective = 1 / float(share @ share)  # how many blocks of equal size would be worth as much
    x = np.tensordot(w, panel.values, axes=1) / total  # [C, K, B]
    by_block, by_seed = x.mean(axis=1), x.sum(axis=2)
    estimate = by_seed.mean(axis=1)
    zero = np.zeros(len(w))
    blocks, seeds, both = zero, zero, zero
    block_freedom = max(effective - 1, 1e-3)
    seed_freedom: Array = np.ones(len(w))
    spread = 1 / np.maximum(1 - share, 1 / b)  # a block pulls the mean towards itself: its residual comes out too small
    if b > 1:
        blocks = ((by_block - estimate[:, None] * share) ** 2 * spread).sum(axis=1)
    if k > 1:
        moderated = moderate(panel.outcomes)
        parts = w**2 * moderated.variance / k
        seeds = parts.sum(axis=1)
        spent = (parts**2 / moderated.freedom).sum(axis=1)
        seed_freedom = np.divide(seeds**2, spent, out=np.full(len(w), k - 1.0), where=spent > 0)
        seed_freedom = np.minimum(seed_freedom, moderated.most_freedom)
    if b > 1 and k > 1:
        rest = x - by_block[:, None, :] - (by_seed - estimate[:, None])[:, :, None] * share
        both = (rest**2 * spread).sum(axis=(1, 2)) / ((k - 1) * k)
    variance = together(blocks, seeds, both)
    terms = seeds**2 / seed_freedom
    if b > 1:
        terms = terms + blocks**2 / block_freedom
    if b > 1 and k > 1:
        terms = terms + both**2 / (block_freedom * (k - 1))
    least = np.minimum(block_freedom, seed_freedom) if b > 1 and k > 1 else block_freedom if b > 1 else seed_freedom
    freedom = np.divide(variance**2, terms, out=np.array(np.broadcast_to(least, len(w))), where=terms > 0)
    freedom = np.maximum(freedom, least)
    known = freedom
    if b > 1 and k > 1:
        known = np.maximum(worth(blocks, seeds, both, (block_freedom, seed_freedom, block_freedom * (k - 1))), freedom)
    variance = np.maximum(variance, (panel.step / total) ** 2)
    return _Scale(variance, freedom, known, np.minimum(np.maximum(blocks - both, 0.0), variance))


def _shape(panel: Panel, w: Array, replicates: int, seed: int, chance: np.random.Generator) -> Array:
    """Standardised deviations of the contrasts over bootstrap replicates, [R, C]."""
    j, k, b = panel.values.shape
    flat = panel.values.reshape(j * k, b).T
    of_seeds = np.concatenate(list(draws(k, replicates, seed + 1))) / k
    parts, done = [], 0
    for counts in draws(b, replicates, seed):
        of_blocks = counts.astype(np.float64)
        words = of_blocks @ panel.words
        sums = (of_blocks @ flat).reshape(-1, j, k)
        rates = np.einsum("rjk,rk->rj", sums, of_seeds[done : done + len(counts)])
        parts.append(np.divide(rates, words[:, None], out=np.zeros_like(rates), where=words[:, None] > 0))
        done += len(counts)
    drawn = np.concatenate(parts)
    deviation = (drawn - drawn.mean(axis=0)) @ w.T
    size = deviation.std(axis=0)
    flatlined = size <= 1e-12 * max(1.0, float(np.abs(drawn).max(initial=0.0)))
    shape = deviation / np.where(flatlined, 1.0, size)
    shape[:, flatlined] = chance.standard_normal((replicates, int(flatlined.sum())))
    return np.asarray(shape)


def _quantiles(shape: Array, freedom: Array, level: float, chance: np.random.Generator) -> Array:
    """Ends of the central interval of `level`, [2, C], of the standardised deviations stretched to t's tails."""
    stretch = np.sqrt(freedom / chance.chisquare(freedom, size=(STRETCHES, *shape.shape)))
    draws = (shape * stretch).reshape(-1, shape.shape[1])
    return np.asarray(np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0))
