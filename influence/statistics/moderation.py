"""Few seeds, many retrainings: variances that lend each other strength.

Three seeds tell very little about one retraining's scatter, but an audit retrains dozens of times and the scatters
resemble each other. Each variance is therefore drawn towards what they have in common, by as much as the data say they
agree: the empirical-Bayes variance of Smyth (Stat. Appl. Genet. Mol. Biol. 3, 2004, "limma"), long used where replicates are
dear. What they have in common is scatter *relative to their level*: error counts behave like counts, so a slice at 30 % WER
scatters about three times the variance of one at 10 % (its "trend" in limma's words).

No variance is ever assumed to be zero, and the degrees of freedom grow with what was borrowed, but never by more than
`MOST_BORROWED`: agreement among a handful of variances is itself uncertain, and simulation shows that without the bound
the family-wise error rate is passed when retrainings do differ in scatter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[np.float64]

MOST_BORROWED = 8.0  # prior degrees of freedom
LEAST_LEVEL = 0.1  # of the mean level: below it scatter is not taken to shrink any further


@dataclass(frozen=True)
class Moderated:
    """Variances [J] of single retrainings, the degrees of freedom of each, and of any sum of them."""

    variance: Array
    freedom: Array
    most_freedom: float


def prior(variances: Array, freedom: float) -> float:
    """How many degrees of freedom the variances' agreement is worth: those of the inverse-χ² prior that explains them best.

    By moments of the logs (Smyth 2004, section 6.2). Infinite if they scatter no more than chance makes equal variances
    scatter. Of the prior's location no use is made: drawing towards the mean keeps the variances unbiased on average, and
    errs towards too large ones where they differ.
    """
    logs = np.log(np.maximum(variances, 1e-5 * variances.mean()))
    excess = logs.var(ddof=1) - float(special.polygamma(1, freedom / 2)) if len(logs) > 2 else 0.0
    return 2 * inverse_trigamma(excess) if excess > 0 else np.inf


def moderate(outcomes: Array) -> Moderated:
    """Variance over seeds of each retraining's outcome.

    `outcomes` has shape [J, K]: J retrainings (all data, slices left out, controls), each with the same K ≥ 2 seeds. What
    a seed does to all of them alike cancels in every contrast, so seed means are taken out first.
    """
    j, k = outcomes.shape
    if j < 2 or k < 2:
        raise ValueError("variances over seeds need two retrainings and two seeds at least")
    means = np.abs(outcomes.mean(axis=1))
    trend = np.maximum(means, LEAST_LEVEL * means.mean())
    trend = trend / trend.mean() if trend.any() else np.ones(j)
    residual = outcomes - outcomes.mean(axis=0)
    own = residual.var(axis=1, ddof=1) * j / (j - 1) / trend
    own_freedom, all_freedom = k - 1.0, (j - 1.0) * (k - 1.0)
    if not own.any():
        return Moderated(own, np.full(j, own_freedom), all_freedom)
    d0 = min(prior(own, own_freedom), MOST_BORROWED, all_freedom - own_freedom)
    variance = (d0 * own.mean() + own_freedom * own) / (d0 + own_freedom)
    return Moderated(variance * trend, np.full(j, d0 + own_freedom), min(MOST_BORROWED + own_freedom, all_freedom))


def inverse_trigamma(value: float) -> float:
    """x > 0 with trigamma(x) = value, by Newton's method on 1/trigamma (Smyth 2004, appendix)."""
    if value > 1e7:
        return float(1 / np.sqrt(value))
    if value < 1e-6:
        return 1 / value
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(special.polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(special.polygamma(2, x))
        x += step
        if abs(step) < 1e-9 * x:
            break
    return x
