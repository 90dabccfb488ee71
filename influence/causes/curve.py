"""Learning curves: what more hours of a slice would do, from what fewer hours did.

A curve is an inverse power of the hours with an offset on either axis,

    WER(h) = floor + gain · (1 + h / τ)^−γ,        or  floor − gain · log(1 + h / τ)  as γ goes to 0

where τ stands for what the rest of the data is worth in hours of the slice, and the floor for what no hours of it can mend
(Hestness et al., arXiv 1712.00409; Rosenfeld et al., arXiv 1909.12673). For a given shape (τ, γ) the curve is fitted by least
squares in closed form, so a forecast is a weighted sum of the retrainings: a *contrast*, whose interval over test speakers ×
seeds is the one that audits use (`contrasts`).

No shape is chosen. All of a grid are kept, weighted by how well they explain the outcomes beside the scatter of the seeds, and
a forecast's variance is what they say on average plus how far they disagree. Inside the doses they agree; beyond, they part
the faster the further: so intervals widen with distance. Shapes whose floor is below zero errors are left out, as long as any
is not.

The check is part of the curve: the largest dose is left out, forecast from the others, and compared with what was measured.
Laws: scaling errors scales forecasts and intervals; a forecast of the hours there are lies within the interval of the measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from influence.statistics.contrasts import Contrast, contrasts
from influence.statistics.panels import Array, Panel
from training.statistics.bootstrap import LEVEL, REPLICATES

SCALES = (0.125, 0.5, 2.0, 8.0)  # τ, in units of the largest dose
POWERS = (0.0, 0.5, 1.0, 2.0)  # γ
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
        j = len(self.hours)
        now = np.eye(j)[0]
        rows = np.concatenate([[s, s - now] for s in self._smoothers(hours)])
        mixtures = self._mix(self.panel, rows.reshape(-1, j), level, replicates, seed, len(hours) * 2)
        luck = _luck(self.panel)
        return [Forecast(h, _widened(mixtures[2 * i], luck, level), mixtures[2 * i + 1]) for i, h in enumerate(hours)]

    def _smoothers(self, hours: Sequence[float]) -> Array:
        """Weights over the doses, [hours, shapes, J]."""
        return np.array([[_smoother(self.hours, s.scale, s.power, h) for s in self.shapes] for h in hours])

    def _mix(self, panel: Panel, rows: Array, level: float, replicates: int, seed: int, count: int) -> list[Contrast]:
        found = contrasts(panel, rows, level=level, replicates=replicates, seed=seed)
        weights = np.array([s.weight for s in self.shapes])
        each = len(weights)
        return [mixture(found[i * each : (i + 1) * each], weights, self.misfit, level) for i in range(count)]


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
    misfit = max(1.0, float(rest.min()) / (freedom * noise))
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
    rows[:, order] = less._smoothers([hours[0]])[0]
    rows[:, 0] -= 1
    (error,) = less._mix(panel, rows, level, replicates, seed, 1)
    measured = float(panel.outcomes[0].mean())
    middle = measured + error.estimate
    return Check(middle, measured, measured + error.low, measured + error.high)


def mixture(found: Sequence[Contrast], weights: Array, misfit: float, level: float) -> Contrast:
    """One contrast of several that estimate the same: their variance on average, plus how far they disagree."""
    estimates = np.array([c.estimate for c in found])
    middle = float(weights @ estimates)
    own = np.array([c.error for c in found]) ** 2 * misfit
    if not np.isfinite(own).all():
        nan = float("nan")
        return Contrast(middle, nan, nan, nan, nan)
    average, apart = float(weights @ own), float(weights @ (estimates - middle) ** 2)
    error = float(np.sqrt(average + apart))
    freedom = float(weights @ np.array([c.freedom for c in found]))
    half = error * float(stats.t.ppf((1 + level) / 2, freedom))
    return Contrast(middle, middle - half, middle + half, error, freedom)


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


def _widened(found: Contrast, variance: float, level: float) -> Contrast:
    """A rate with more variance, none of it below zero errors."""
    error = float(np.sqrt(found.error**2 + variance))
    half = error * float(stats.t.ppf((1 + level) / 2, found.freedom)) if np.isfinite(error) else float("nan")
    middle = max(found.estimate, 0.0)
    return Contrast(middle, float(np.maximum(middle - half, 0.0)), middle + half, error, found.freedom)
