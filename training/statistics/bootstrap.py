"""Intervals for ratios such as WER by resampling speakers, not utterances.

Utterances of one speaker share a voice, a room and a device, so they err together; resampling them one by one gives
intervals that are far too narrow. Speakers are therefore drawn as blocks, with replacement, and every replicate is
Σ errors / Σ words over the speakers drawn (Bisani & Ney, ICASSP 2004; Liu & Peng, arXiv 1912.09508). Two systems, or one
before and after, are compared on the *same* draws: most of the spread is how hard the speakers are, and cancels.

Slices often have few speakers, where plain percentile intervals are too short. The percentiles are therefore moved outwards
to the quantiles of Student's t with (speakers − 1) degrees of freedom and the variance's √(n/(n−1)) (expanded percentile
interval: Hesterberg, *The American Statistician* 69(4), 2015). With one speaker there is no interval.

Laws: the same numbers and seed give the same interval on every machine and in every store, for neither the order of
utterances nor the names of speakers matter; a difference of a system and itself is exactly [0, 0].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

REPLICATES = 2000
LEVEL = 0.95
CHUNK = 1 << 22  # draws in memory at a time


@dataclass(frozen=True)
class Interval:
    """A figure with its interval; `low` and `high` are NaN where fewer than two blocks stand behind it."""

    value: float
    low: float
    high: float
    level: float
    blocks: int
    replicates: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def block_sums(values: npt.ArrayLike, blocks: Sequence[Any] | npt.NDArray[Any]) -> Floats:
    """Sum `values` [n] or [n, k] within blocks; returns [blocks, k], blocks in the order of their labels.

    A block label of None stands for an utterance whose speaker is unknown: each is a block of its own.
    """
    data = np.asarray(values, dtype=np.float64)
    data = data[:, None] if data.ndim == 1 else data
    codes, count = _codes(blocks)
    if len(codes) != len(data):
        raise ValueError(f"{len(data)} values but {len(codes)} block labels")
    out = np.zeros((count, data.shape[1]))
    np.add.at(out, codes, data)
    return out


def draws(blocks: int, replicates: int = REPLICATES, seed: int = 0) -> Iterator[npt.NDArray[np.int64]]:
    """How often each block is drawn in each replicate: arrays [some replicates, blocks] of counts, `replicates` rows in all.

    The stream is Philox, which numpy keeps stable, so that a published interval can be recomputed.
    """
    generator = np.random.Philox(key=np.array([seed, blocks], dtype=np.uint64))
    step = max(1, CHUNK // max(blocks, 1))
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        raw = generator.random_raw(rows * blocks) >> np.uint64(11)
        picks = (raw.astype(np.float64) * (blocks * 2.0**-53)).astype(np.int64)
        flat = picks + np.repeat(np.arange(rows, dtype=np.int64) * blocks, blocks)
        yield np.bincount(flat, minlength=rows * blocks).reshape(rows, blocks)


def replicate_ratios(errors: Floats, words: Floats, replicates: int = REPLICATES, seed: int = 0) -> Floats:
    """Σ errors / Σ words of every replicate; NaN where the drawn blocks have no words.

    `errors` has shape [blocks] or [blocks, k] (k systems or metrics on the same draws), `words` [blocks]; the result
    [replicates] or [replicates, k].
    """
    parts = []
    for counts in draws(len(words), replicates, seed):
        below = counts @ words
        above = counts @ errors
        with np.errstate(invalid="ignore", divide="ignore"):
            parts.append(above / (below if above.ndim == 1 else below[:, None]))
    out = np.concatenate(parts)
    out[~np.isfinite(out)] = np.nan
    return out


def ratio(
    errors: npt.ArrayLike,
    words: npt.ArrayLike,
    blocks: Sequence[Any] | npt.NDArray[Any],
    *,
    level: float = LEVEL,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Interval:
    """Σ errors / Σ words with its interval; one entry per utterance in `errors`, `words` and `blocks` (its speaker)."""
    sums = block_sums(np.column_stack([errors, words]), blocks)
    sums = sums[np.lexsort(sums.T)]  # keys of speakers differ between stores; what they said and missed does not
    return ratio_of_sums(sums[:, 0], sums[:, 1], level=level, replicates=replicates, seed=seed)


def ratio_of_sums(
    errors: Floats, words: Floats, *, level: float = LEVEL, replicates: int = REPLICATES, seed: int = 0
) -> Interval:
    """The same from sums per block."""
    whole = float(words.sum())
    value = float(errors.sum()) / whole if whole else math.nan
    if len(words) < 2 or not whole:
        return Interval(value, math.nan, math.nan, level, len(words), 0)
    low, high = percentiles(replicate_ratios(errors, words, replicates, seed), len(words), level)
    return Interval(value, low, high, level, len(words), replicates)


def paired_difference(
    errors: npt.ArrayLike,
    baseline: npt.ArrayLike,
    words: npt.ArrayLike,
    blocks: Sequence[Any] | npt.NDArray[Any],
    *,
    level: float = LEVEL,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Interval:
    """(Σ errors − Σ baseline) / Σ words on the same utterances: positive where `errors` is the worse system."""
    difference = np.asarray(errors, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    return ratio(difference, words, blocks, level=level, replicates=replicates, seed=seed)


def paired_p(
    errors: npt.ArrayLike,
    baseline: npt.ArrayLike,
    words: npt.ArrayLike,
    blocks: Sequence[Any] | npt.NDArray[Any],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> float:
    """Two-sided p-value that `paired_difference` is zero: its size in bootstrap standard errors, by Student's t.

    NaN with fewer than two blocks. The standard error has the √(n/(n−1)) of the intervals.
    """
    difference = np.asarray(errors, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    sums = block_sums(np.column_stack([difference, words]), blocks)
    sums = sums[np.lexsort(sums.T)]
    n = len(sums)
    if n < 2 or not sums[:, 1].sum():
        return math.nan
    value = sums[:, 0].sum() / sums[:, 1].sum()
    error = float(np.nanstd(replicate_ratios(sums[:, 0], sums[:, 1], replicates, seed))) * math.sqrt(n / (n - 1))
    if error == 0:
        return 1.0 if value == 0 else 0.0
    return float(min(1.0, 2 * _student_cdf(-abs(value) / error, n - 1)))


def statistic(
    values: npt.ArrayLike,
    blocks: Sequence[Any] | npt.NDArray[Any],
    of: Callable[[Floats], Floats],
    *,
    level: float = LEVEL,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> tuple[Interval, Floats]:
    """Any statistic of sums over utterances, with its interval and its replicates.

    `values` [n, k] is what is summed, `of` takes sums [r, k] to the statistic [r], NaN where it is not defined.
    """
    sums = block_sums(values, blocks)
    sums = sums[np.lexsort(sums.T)]
    value = float(of(sums.sum(axis=0)[None])[0])
    if len(sums) < 2 or math.isnan(value):
        return Interval(value, math.nan, math.nan, level, len(sums), 0), np.empty(0)
    drawn = np.concatenate([of(counts @ sums) for counts in draws(len(sums), replicates, seed)])
    return Interval(value, *percentiles(drawn, len(sums), level), level, len(sums), replicates), drawn


def percentiles(replicates: Floats, blocks: int, level: float = LEVEL) -> tuple[float, float]:
    """Ends of the expanded percentile interval of a statistic's replicates over `blocks` blocks.

    NaN replicates (no words drawn) are left out.
    """
    if blocks < 2:
        return math.nan, math.nan
    tail = (1 - level) / 2
    expanded = NormalDist().cdf(math.sqrt(blocks / (blocks - 1)) * student_quantile(tail, blocks - 1))
    finite = replicates[np.isfinite(replicates)]
    if not len(finite):
        return math.nan, math.nan
    low, high = np.quantile(finite, [expanded, 1 - expanded])
    return float(low), float(high)


def student_quantile(p: float, degrees: int) -> float:
    """Quantile of Student's t, to 1e-5 or better: bisection on its closed form (Abramowitz & Stegun 26.7.3–4)."""
    if not 0 < p < 1:
        raise ValueError(f"p is {p}, not between 0 and 1")
    if p == 0.5:
        return 0.0
    if p > 0.5:
        return -student_quantile(1 - p, degrees)
    low, high = -1.0, 0.0
    while _student_cdf(low, degrees) > p:
        low *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if _student_cdf(middle, degrees) < p else (low, middle)
    return (low + high) / 2


def _student_cdf(t: float, degrees: int) -> float:
    if degrees > 1000:
        # Cornish–Fisher to two terms; the closed form below would add up a thousand terms for no visible gain
        z = t * (1 - 1 / (4 * degrees)) / math.sqrt(1 + t * t / (2 * degrees))
        return NormalDist().cdf(z)
    theta = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(theta), math.cos(theta)
    term = cosine if degrees % 2 else 1.0
    series = 0.0 if degrees == 1 else term
    for k in range(3 if degrees % 2 else 2, degrees - 1, 2):
        term *= (k - 1) / k * cosine * cosine
        series += term
    area = 2 / math.pi * (theta + sine * series) if degrees % 2 else sine * series
    return 0.5 * (1 + area)


def _codes(blocks: Sequence[Any] | npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], int]:
    order: dict[Any, int] = {}
    labels = blocks.tolist() if isinstance(blocks, np.ndarray) else list(blocks)
    named = [(("", i) if label is None else ("s", str(label))) for i, label in enumerate(labels)]
    for label in sorted(set(named)):
        order[label] = len(order)
    return np.fromiter((order[label] for label in named), dtype=np.int64, count=len(named)), len(order)
