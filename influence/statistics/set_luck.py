"""The luck of random sets: a few of them, the same in every seed, are not all the sets that might have been drawn.

A slice is held against what leaving out a random set of its size does on average (`influence.plans.controls`). Where every seed
leaves out other sets, which ones they happened to be is part of the scatter over seeds, and `contrasts` counts it. Where the
sets stay the same in every seed, for a rank or for a line through several sizes, no number of seeds tells their luck; it shows
in how the sets differ among each other. `of_sets` estimates its part in the control from the residuals of the sets around
their mean or line, less what seeds explain of them. A line hangs on few points, so that for a slice larger than most of them
this may be the greater part of the error: without it, one simulated family of eight nulls in seven had a false p-value.

`rank` needs no variance: if a slice is like a random set, it is as likely as each of them to be the farthest from all. Its
p-values are for sets that are the same in every seed only, cannot fall below 1/(n + 1), and are corrected by Holm over the
family like all others, so that a family of m needs 20 m − 1 random sets before a rank alone can decide anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from influence.statistics.moderation import moderate
from influence.statistics.panels import Array
from training.statistics.multiplicity import holm

ENOUGH = 19  # random sets for a p-value of 0.05 by rank
NONE = (0.0, 1.0)  # no variance, and whatever degrees of freedom


def of_sets(outcomes: Array, controls: Sequence[int], weights: Sequence[float], against: int) -> tuple[float, float]:
    """Variance of the weighted sum of controls' effects that the luck of their sets adds, and its degrees of freedom.

    `outcomes` [J, K] are those of all retrainings; `weights` are those of a mean or of a line through nothing removed, nothing
    changed. Zero with one seed or one set, which tell nothing of it.
    """
    rows, w = list(controls), np.asarray(weights, dtype=np.float64)
    if len(rows) < 2 or outcomes.shape[1] < 2:
        return NONE
    effects = (outcomes[rows] - outcomes[against]).mean(axis=1)
    residuals = effects - w * float(w @ effects) / float(w @ w)
    freedom = len(rows) - 1
    by_seeds = float(moderate(outcomes).variance[rows].mean()) / outcomes.shape[1]
    return float(w @ w) * max(0.0, float(residuals @ residuals) / freedom - by_seeds), float(freedom)


def rank(outcomes: Array, row: int, against: int, controls: Sequence[int], controls_against: int) -> float:
    """How extreme what `row` does is among what the random sets do, see `rank_p`; outcomes [J, K]."""
    metric = outcomes.mean(axis=1)
    return rank_p(metric[row] - metric[against], metric[list(controls)] - metric[controls_against])


def rank_p(effect: float, controls: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """p-value of a slice's effect by its rank among those of random sets, two-sided.

    If the slice is like a random set of its size, it is as likely as each of them to lie farthest from the mean of all.
    """
    everyone = np.append(np.asarray(controls, dtype=np.float64), effect)
    distance = np.abs(everyone - everyone.mean())
    return float((distance >= distance[-1] - 1e-12).sum() / len(everyone))


def corrected(ranks: Mapping[int, float | None]) -> dict[int, float]:
    """p-values by rank of one family by Holm; those that there are."""
    known = {i: p for i, p in ranks.items() if p is not None}
    return dict(zip(known, holm(list(known.values())).tolist() if known else (), strict=True))
