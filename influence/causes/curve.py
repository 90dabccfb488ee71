"""Learning curves: what more hours of a slice would do, from what fewer hours did.

A curve is an inverse power of the hours with an offset on either axis,

    WER(h) = floor + gain · (1 + h / τ)^−γ,        or  floor − gain · log(1 + h / τ)  as γ goes to 0

where τ stands for what the rest of the data is worth in hours of the slice, and the floor for what no hours of it can mend
(Hestness et al., arXiv 1712.00409; Rosenfeld et al., arXiv 1909.12673). For a given shape (τ, γ) the curve is fitted by least
squares in closed form, so a forecast is a weighted sum of the retrainings: a *contrast*, whose interval over test speakers ×
seeds is the one that audits use (`contrasts`).

No shape is chosen. All of a grid are kept, weighted by how well they explain the outcomes beside the scatter of the seeds; a
forecast is their average, a contrast itself, and its variance is that contrast's plus how far the shapes disagree (Buckland,
Burnham & Augustin, *Biometrics* 53, 1997). Inside the doses they agree; beyond, they part the faster the further: so intervals
widen with distance. Shapes whose floor is below zero errors are left out, as long as any is not. Where even the best shape is
further off than seeds explain at one time in twenty, the contrast's variance grows by as much (the scale factor of Birge,
*Phys. Rev.* 40, 1932, for the part that chance does not explain).

The grid is fine, for with a coarse one a true law between two shapes is missed by more than the shapes disagree: 95 %
intervals covered 65 to 100 %, by the law. Now they cover 95–99 % over laws drawn at random and 90 % at least of every kind,
and the check passes for 93–95 % of true laws (`benchmarks/forecast_simulation.py`). That most forecasts cover more than they
say has to be: from five doses a law that bends sharply, or never, looks like one in the middle, and intervals that cover 95 %
over all laws would fail those.

The check is part of the curve: the largest dose is left out, forecast from the others, and compared with what was measured.
Laws: scaling errors scales forecasts and intervals; a forecast of the hours there are lies within the interval of the measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from influence.statistics.contrasts import Contrast, contrasts
from influence.statistics.panels import Array, Panel
from training.statistics.bootstrap import LEVEL, REPLICATES

SCALES = (0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # τ, in units of the largest dose
POWERS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0)  # γ
CHANCE = 0.95  # share of the luck of the seeds that a shape may be off by before that counts as a misfit
FEWEST_DOSES = 4
NEGLIGIBLE = 1e-3  # of all weight
TINY = 1e-6  # WER squared: where outcomes scatter less, rounding is what they tell


@dataclass(frozen=True)
class Forecast:
    """WER at `hours`, and how it changes from the largest dose (negative: fewer errors), with intervals and standard errors."""

    hours: float
    level: Contrast
    change: Contrast


@dataclass(frozen=True)
class Check:
    """The largest dose forecast from the others; `low` and `high` are for what was measured. WER."""

    forecast: float
    measured: float
    low: float
    high: float

    @property
    def covered(self) -> bool:
        """Whether what was measured lies within the interval of what was forecast."""
        return bool(self.low <= self.measured <= self.high)


@dataclass(frozen=True)
class Shape:
    """One member of the grid with its weight; `floor` and `gain` as in the formula, WER."""

    scale: float
    power: float
    weight: float
    floor: float
    gain: float


@dataclass(frozen=True)
class Curve:
    """A learning curve through doses of `hours` [J], the largest first; `panel` holds what was measured, [J, K, B]."""

    hours: tuple[float, ...]
    panel: Panel
    shapes: tuple[Shape, ...]
    misfit: float

    def forecast(
        self, hours: Sequence[float], *, level: float = LEVEL, replicates: int = REPLICATES, seed: int = 0
    ) -> list[Forecast]:
        """WER at each of `hours`, beside what it is at the largest dose."""
        now = np.eye(len(self.hours))[0]
        rows = [part for h in hours for part in (self._smoothers(h), self._smoothers(h) - now)]
        found = self._average(self.panel, rows, level, replicates, seed)
        luck = _luck(self.panel)
        return [Forecast(h, _widened(found[2 * i], luck), found[2 * i + 1]) for i, h in enumerate(hours)]

    def _smoothers(self, hours: float) -> Array:
        """Weights over the doses by shape, [shapes, J]."""
        return np.array([_smoother(self.hours, s.scale, s.power, hours) for s in self.shapes])

    def _average(self, panel: Panel, rows: Sequence[Array], level: float, replicates: int, seed: int) -> list[Contrast]:
        """What the shapes say on average, each by its row of `rows[i]` [shapes, J], with how far they disagree."""
        weights = np.array([s.weight for s in self.shapes])
        averages = np.array([weights @ row for row in rows])
        found = contrasts(panel, averages, level=level, replicates=replicates, seed=seed)
        means = panel.outcomes.mean(axis=1)
        apart = [float(weights @ ((row - average) @ means) ** 2) for row, average in zip(rows, averages, strict=True)]
        return [_beside(c, self.misfit, a, level) for c, a in zip(found, apart, strict=True)]


def fit(hours: Sequence[float], panel: Panel) -> Curve:
    """The curve through J doses, the largest first.

    Raises:
        ValueError: fewer than three doses, or they do not differ.
    """
    if len(hours) != panel.values.shape[0] or len(set(hours)) < 3 or max(hours) != hours[0]:
        raise ValueError(f"doses {list(hours)} — three different ones at least, the largest first")
    means = panel.outcomes.mean(axis=1)
    noise = max(_noise(panel), TINY)
    found, residuals = [], []
    for scale in SCALES:
        for power in POWERS:
            basis = _basis(np.array(hours), hours[0] * scale, power)
            (floor, gain), *_ = np.linalg.lstsq(basis, means, rcond=None)
            found.append((hours[0] * scale, power, float(floor), float(gain)))
            residuals.append(float(((means - basis @ [floor, gain]) ** 2).sum()))
    rest = np.array(residuals)
    freedom = max(len(hours) - 2, 1)
    misfit = max(1.0, float(rest.min()) / (freedom * noise) / _most_by_chance(panel, freedom))
    weights = np.exp(-(rest - rest.min()) / (2 * noise * misfit))
    possible = np.array([not (power > 0 and floor < 0 < gain) for _, power, floor, gain in found])
    if possible.any():
        weights = np.where(possible, weights, 0.0)
    weights = weights / weights.sum()
    weights = np.where(weights < NEGLIGIBLE, 0.0, weights)
    weights = weights / weights.sum()
    shapes = tuple(
        Shape(scale, power, float(w), floor, gain)
        for (scale, power, floor, gain), w in zip(found, weights, strict=True)
        if w > 0
    )
    return Curve(tuple(hours), panel, shapes, misfit)


def check(
    hours: Sequence[float], panel: Panel, *, level: float = LEVEL, replicates: int = REPLICATES, seed: int = 0
) -> Check | None:
    """Forecast the largest dose from the others; None where fewer than `FEWEST_DOSES` would be left."""
    j = len(hours)
    if j - 1 < FEWEST_DOSES or len(set(hours[1:])) < 3:
        return None
    order = sorted(range(1, j), key=lambda i: -hours[i])
    less = fit([hours[i] for i in order], Panel(panel.values[order], panel.words, panel.step))
    rows = np.zeros((len(less.shapes), j))
    rows[:, order] = less._smoothers(hours[0])
    rows[:, 0] -= 1
    (error,) = less._average(panel, [rows], level, replicates, seed)
    measured = float(panel.outcomes[0].mean())
    middle = measured + error.estimate
    return Check(middle, measured, measured + error.low, measured + error.high)


def _beside(found: Contrast, misfit: float, variance: float, level: float) -> Contrast:
    """A contrast whose own variance grows by the factor `misfit`, and which has more `variance` beside it."""
    reach = float(special.stdtrit(found.freedom, (1 + level) / 2)) ** 2 * variance
    below, above = (np.sqrt(misfit * (end - found.estimate) ** 2 + reach) for end in (found.low, found.high))
    error = float(np.sqrt(misfit * found.error**2 + variance))
    return Contrast(found.estimate, float(found.estimate - below), float(found.estimate + above), error, found.freedom)


def _most_by_chance(panel: Panel, freedom: int) -> float:
    """How much more than the seeds' scatter a right shape's residuals hardly ever show: a quantile of F."""
    j, k = panel.outcomes.shape
    return float(special.fdtri(freedom, (j - 1) * (k - 1), CHANCE)) if k > 1 else 1.0


def _basis(hours: Array, scale: float, power: float) -> Array:
    reach = np.log1p(hours / scale)
    return np.column_stack([np.ones(len(hours)), -reach if power == 0 else np.exp(-power * reach)])


def _smoother(hours: Sequence[float], scale: float, power: float, at: float) -> Array:
    """The weights over the doses whose sum is the least-squares curve at `at` hours, [J]."""
    inverse = np.linalg.pinv(_basis(np.array(hours), scale, power))
    return np.asarray(_basis(np.array([at]), scale, power)[0] @ inverse)


def _noise(panel: Panel) -> float:
    """Variance of a dose's mean over seeds, without what a seed does to all doses alike."""
    j, k = panel.outcomes.shape
    if k < 2:
        return TINY
    rest = panel.outcomes - panel.outcomes.mean(axis=0) - panel.outcomes.mean(axis=1, keepdims=True)
    rest = rest + panel.outcomes.mean()
    return float((rest**2).sum() / ((j - 1) * (k - 1)) / k)


def _luck(panel: Panel) -> float:
    """Variance of the level by what a seed does to all doses alike, which cancels in changes and not here."""
    _, k = panel.outcomes.shape
    return float(panel.outcomes.mean(axis=0).var(ddof=1) / k) if k > 1 else 0.0


def _widened(found: Contrast, variance: float) -> Contrast:
    """A rate with more variance, none of it below zero errors."""
    error = float(np.sqrt(found.error**2 + variance))
    by = error / found.error if found.error > 0 else 1.0
    middle = max(found.estimate, 0.0)
    low, high = (middle + by * (end - found.estimate) for end in (found.low, found.high))
    return Contrast(middle, float(np.maximum(low, 0.0)), high, error, found.freedom)
