"""How far one arm of an experiment is from another, looked at as often as one likes: bounds that hold at all times at once.

An ordinary interval is right at one moment; looked at after every batch, with stopping as soon as it excludes zero, it is wrong
in the end with certainty. The bounds here hold for every number of observations together (a confidence sequence): however often
one looks, and whyever one stops, the difference ever lies outside with probability α a side at most.

Observations are differences X ∈ [−b, b] whose mean, given all before, is Δ: where both arms heard the same unit the difference
of its two losses (b = 1); where chance sent a unit to one arm, its loss weighed by the inverse of the chance (`weighed`), so
that shares may change on the way and a drift that both arms share does no harm (Waudby-Smith, Wu, Ramdas, Karampatziakis &
Mineiro, *ACM/IMS J. Data Science*, 2024, arXiv 2210.10768). The bounds come from betting against each m: the capital
Π(1 + λᵢ(Xᵢ − m)) of a gambler who bets λᵢ ≥ 0, chosen before Xᵢ is seen, that Δ exceeds m is a nonnegative supermartingale if
it does not, so it ever reaches 1/α with probability α at most (Ville); m for which it has is excluded (Waudby-Smith & Ramdas,
*JRSS B* 86(1), 2024, arXiv 2010.09686, whose predictable bets these are).

Laws: bounds only ever close in; they depend on observations and their order alone; exchanging the arms exchanges the bounds
and their signs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BOLDEST = 0.75  # of what would ruin the gambler at the worst observation
STEPS = 50  # of bisection


@dataclass(frozen=True)
class Observation:
    """X, the bound b of |X|, and the variance that is expected of X before any is seen."""

    value: float
    bound: float
    variance: float


@dataclass(frozen=True)
class Bounds:
    """The difference after `count` observations: their mean, and bounds of `alpha` a side that hold at all times together."""

    mean: float
    low: float
    high: float
    alpha: float
    count: int


def paired(first: float, second: float) -> Observation:
    """A unit that both arms heard: the loss of the first minus that of the second, both from 0 to 1."""
    return Observation(_loss(first) - _loss(second), 1.0, 0.25)


def weighed(loss: float, in_first: bool, share: float, centre: float) -> Observation:
    """A unit that one arm heard, the first with the chance `share`; `loss` and `centre` are from 0 to 1.

    `centre` is any guess of the loss that was made before it was seen: it does not move the mean, and narrows the spread.
    """
    if not 0 < share < 1:
        raise ValueError(f"a share of {share} leaves nothing to compare with")
    off = _loss(loss) - _loss(centre)
    value = off / share if in_first else -off / (1 - share)
    return Observation(value, 1 / min(share, 1 - share), 0.25 / (share * (1 - share)))


def bounds(observations: list[Observation], alpha: float) -> Bounds:
    """Bounds of Δ, from −1 to 1, each of which ever fails with probability `alpha` at most."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}, not between 0 and 1")
    if not observations:
        return Bounds(math.nan, -1.0, 1.0, alpha, 0)
    x = np.array([o.value for o in observations])
    b = np.array([o.bound for o in observations])
    v = np.array([o.variance for o in observations])
    bets = _bets(x, b, v, alpha)
    return Bounds(float(x.mean()), _low(x, bets, alpha), -_low(-x, bets, alpha), alpha, len(x))


def _loss(value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"a loss of {value} is not between 0 and 1")
    return value


def _bets(x: Floats, bound: Floats, expected: Floats, alpha: float) -> Floats:
    """λ before each observation: √(2 ln(1/α) / (σ² t ln(1 + t))), σ² as it looks by then, in units of what was expected."""
    t = np.arange(1, len(x) + 1)
    scaled = x / np.sqrt(expected)
    mean = (np.cumsum(scaled)) / (t + 1)  # shrunk to 0, as if one observation of 0 had gone before
    spread = (1 + np.cumsum((scaled - mean) ** 2)) / (t + 1)
    before = np.concatenate([[1.0], spread[:-1]]) * expected
    bets = np.sqrt(2 * math.log(1 / alpha) / (before * t * np.log1p(t)))
    return np.asarray(np.minimum(bets, BOLDEST / (bound + 1)))


def _low(x: Floats, bets: Floats, alpha: float) -> float:
    """The largest m from −1 that is excluded at some time: below it the capital has reached 1/α."""

    def excluded(m: float) -> bool:
        return bool(np.cumsum(np.log1p(bets * (x - m))).max() >= math.log(1 / alpha))

    low, high = -1.0, 1.0
    if not excluded(low):
        return low
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if excluded(middle) else (low, middle)
    return low
