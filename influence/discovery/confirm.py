"""Whether a slice that was found for its errors errs more on data that did not find it.

A slice picked as the worst of thousands is bad on the data it was picked on, whether there is anything in it or not. It is
therefore frozen first and tested on utterances of other speakers: the gap is WER(slice) − WER(everybody else there), its
interval comes from resampling speakers as blocks (`training.statistics.bootstrap`), with the degrees of freedom of the
slice's own speakers, of which there are fewer than in the whole; p-values are corrected over all candidates.
*Confirmed* means that the gap is above zero at the family's level: by Holm, so that hardly any search confirms a slice that has
nothing in it; or, for `screening` many candidates that are to be tested further, by Benjamini and Hochberg, so that hardly any
of the confirmed slices has nothing in it. Few speakers confirm nothing: how those few differ is all there is to see.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from training.evaluation.figures import difference_of_rates
from training.statistics import bootstrap
from training.statistics.multiplicity import benjamini_hochberg, holm

FEWEST_SPEAKERS = 4
FEWEST_WORDS = 30

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Gap:
    """WER of a slice minus that of the rest; NaN where it cannot be known, and `reason` says why it is not confirmed."""

    value: float
    low: float
    high: float
    p: float
    p_adjusted: float
    samples: int
    words: int
    speakers: int
    confirmed: bool = False
    reason: str = ""


def gaps(
    errors: Array,
    words: Array,
    speakers: npt.NDArray[Any],
    masks: Sequence[npt.NDArray[np.bool_]],
    *,
    level: float = bootstrap.LEVEL,
    replicates: int = bootstrap.REPLICATES,
    seed: int = 0,
    screening: bool = False,
) -> list[Gap]:
    """The gap of every candidate, judged as one family.

    Args:
        errors: of each utterance [n].
        words: reference words of each.
        speakers: of each; None where unknown.
        masks: which utterances are in each candidate, [n] each.
        level: 1 − the probability that any slice is confirmed wrongly, and the level of intervals.
        replicates: of the bootstrap.
        seed: of the bootstrap.
        screening: 1 − `level` bounds the share of those confirmed that are so wrongly, not the probability of any.
    """
    found = [_gap(errors, words, speakers, m, level, replicates, seed) for m in masks]
    adjusted = (benjamini_hochberg if screening else holm)([g.p for g in found])
    return [_judged(g, float(p), level) for g, p in zip(found, adjusted, strict=True)]


def _gap(
    errors: Array,
    words: Array,
    speakers: npt.NDArray[Any],
    inside: npt.NDArray[np.bool_],
    level: float,
    replicates: int,
    seed: int,
) -> Gap:
    columns = np.column_stack([errors * inside, words * inside, errors * ~inside, words * ~inside])
    here = [s for s, i in zip(speakers, inside, strict=True) if i]
    known = {s for s in here if s is not None}
    blocks = len(known) + sum(s is None for s in here)
    value, drawn = bootstrap.statistic(
        columns, speakers, difference_of_rates, level=level, replicates=replicates, seed=seed
    )
    plain = Gap(value.value, math.nan, math.nan, math.nan, 1.0, int(inside.sum()), int(words[inside].sum()), len(known))
    if plain.words < FEWEST_WORDS:
        return replace(plain, reason=f"{plain.words} words in it, where {FEWEST_WORDS} are the least")
    if len(known) < FEWEST_SPEAKERS:
        return replace(plain, reason=f"{len(known)} speakers in it, where {FEWEST_SPEAKERS} are the least")
    if math.isnan(value.value):
        return replace(plain, reason="nothing outside it to compare with")
    error = float(np.nanstd(drawn)) * math.sqrt(blocks / (blocks - 1))
    low, high = bootstrap.percentiles(drawn, blocks, level)
    p = float(2 * stats.t.sf(abs(value.value) / error, blocks - 1)) if error > 0 else float(value.value == 0)
    return replace(plain, low=low, high=high, p=p)


def _judged(gap: Gap, p_adjusted: float, level: float) -> Gap:
    confirmed = gap.value > 0 and p_adjusted <= 1 - level
    reason = gap.reason
    if not confirmed and not reason:
        reason = "it errs less than the rest" if gap.value <= 0 else "its gap is not clear of chance"
    return replace(gap, p_adjusted=p_adjusted, confirmed=confirmed, reason=reason)
