"""Whether a confidence means what it says: of the words heard with confidence 0.8, about 80 % should be right.

A confidence is the geometric mean probability of the tokens, see `training.families.Decoded`. Of a word, right or wrong is
told by the alignment that the WER comes from; of an utterance, the share of its decoded words that are right. The reliability
curve is the mean accuracy within ten bins of confidence; the expected calibration error (ECE) the mean distance between the
two, weighted by how many fall into each bin (Naeini, Cooper & Hauskrecht, AAAI 2015; Guo et al., ICML 2017).

Resampling adds noise to every bin, so the replicates of an ECE lie above it. Its interval is their spread, put around the
figure itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.evaluation.wer import align
from training.normalise import Normaliser
from training.statistics import bootstrap

BINS = 10
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bin:
    """One point of a reliability curve: `count` things heard with confidences in (low, high]."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Outcomes:
    """Confidences [n], how right each was [n] (0 to 1), and the utterance it is of [n]."""

    confidence: Floats
    right: Floats
    utterance: npt.NDArray[np.int64]

    def within(self, mask: npt.NDArray[np.bool_]) -> Outcomes:
        """Those of some utterances, given as a mask over utterances."""
        chosen = mask[self.utterance]
        return Outcomes(self.confidence[chosen], self.right[chosen], self.utterance[chosen])


def word_outcomes(
    references: Sequence[str], hypotheses: Sequence[str], confidences: Sequence[Sequence[float]], text: Normaliser
) -> Outcomes:
    """Every decoded word's confidence and whether it is right.

    `references` are normalised, `hypotheses` as decoded. A word that the normaliser splits lends its confidence to each part.
    An utterance in which words only make sense together (`one hundred` → `100`) has no confidence a word and is left out.
    """
    rows: list[tuple[float, float, int]] = []
    for i, (reference, hypothesis, sure) in enumerate(zip(references, hypotheses, confidences, strict=True)):
        raw = hypothesis.split()
        if len(raw) != len(sure):
            continue
        parts = [(part, c) for word, c in zip(raw, sure, strict=True) for part in text(word).split()]
        heard = text(hypothesis)
        if [p for p, _ in parts] != heard.split():
            continue
        right = [a.operation == "hit" for a in align(reference, heard) if a.hypothesis is not None]
        rows += [(c, float(r), i) for (_, c), r in zip(parts, right, strict=True)]
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return Outcomes(table[:, 0], table[:, 1], table[:, 2].astype(np.int64))


def utterance_outcomes(confidence: Floats, hits: Floats, substitutions: Floats, insertions: Floats) -> Outcomes:
    """Every utterance's confidence and the share of its decoded words that are right; silence decoded as such is right."""
    decoded = hits + substitutions + insertions
    right = np.divide(hits, decoded, out=np.ones_like(hits), where=decoded > 0)
    return Outcomes(confidence, right, np.arange(len(confidence)))


def reliability(outcomes: Outcomes, bins: int = BINS) -> list[Bin]:
    """The points of the reliability curve; empty bins are not there."""
    sums = _sums(outcomes, bins)
    counts, sure, right = np.split(sums.sum(axis=0), 3)
    return [
        Bin(k / bins, (k + 1) / bins, int(counts[k]), float(sure[k] / counts[k]), float(right[k] / counts[k]))
        for k in range(bins)
        if counts[k]
    ]


def gap(outcomes: Outcomes, bins: int = BINS) -> float:
    """Expected calibration error without its interval; NaN where nothing was decoded."""
    return float(_gap(_sums(outcomes, bins).sum(axis=0)[None])[0])


def ece(
    outcomes: Outcomes,
    speakers: npt.NDArray[Any],
    *,
    bins: int = BINS,
    level: float = bootstrap.LEVEL,
    replicates: int = bootstrap.REPLICATES,
    seed: int = 0,
) -> bootstrap.Interval:
    """Expected calibration error with a speaker-block interval; `speakers` [utterances]. NaN where nothing was decoded."""
    found, drawn = bootstrap.statistic(
        _sums(outcomes, bins), speakers[outcomes.utterance], _gap, level=level, replicates=replicates, seed=seed
    )
    if math.isnan(found.low):
        return found
    shift = found.value - float(np.nanmedian(drawn))
    low, high = max(0.0, min(found.value, found.low + shift)), min(1.0, max(found.value, found.high + shift))
    return bootstrap.Interval(found.value, low, high, found.level, found.blocks, found.replicates)


def contributions(outcomes: Outcomes, bins: int = BINS) -> Floats:
    """What each outcome adds to Σ over bins of |Σ (confidence − rightness)|, [n]: its own gap, in its bin's direction.

    Divided by their number they sum up to `gap`.
    """
    off = outcomes.confidence - outcomes.right
    which = _bins(outcomes, bins)
    sign = np.sign(np.bincount(which, weights=off, minlength=bins))
    return np.asarray(sign[which] * off)


def surprise(outcomes: Outcomes) -> float:
    """Mean cross-entropy of the confidences, nats: the proper score that temperatures are fitted by."""
    sure = np.clip(outcomes.confidence, 1e-6, 1 - 1e-6)
    return float(-np.mean(outcomes.right * np.log(sure) + (1 - outcomes.right) * np.log1p(-sure)))


def lowest(of: Callable[[float], float], low: float, high: float, tolerance: float) -> float:
    """Where a function with one valley is lowest between two points: golden-section search."""
    golden = (math.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = of(left), of(right)
    while high - low > tolerance:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = of(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = of(right)
    return left if at_left <= at_right else right


def _sums(outcomes: Outcomes, bins: int) -> Floats:
    """One row an outcome: count, confidence and rightness, each in the column of its bin, [n, 3 × bins]."""
    n = len(outcomes.confidence)
    which = _bins(outcomes, bins)
    sums = np.zeros((n, 3 * bins))
    for k, column in enumerate((np.ones(n), outcomes.confidence, outcomes.right)):
        sums[np.arange(n), which + k * bins] = column
    return sums


def _bins(outcomes: Outcomes, bins: int) -> npt.NDArray[np.int64]:
    return np.clip(np.ceil(outcomes.confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def _gap(sums: Floats) -> Floats:
    """ECE of sums [r, 3 × bins], [r]."""
    counts, sure, right = np.split(sums, 3, axis=1)
    total = counts.sum(axis=1)
    return np.asarray(
        np.divide(np.abs(sure - right).sum(axis=1), total, out=np.full(len(sums), np.nan), where=total > 0)
    )
