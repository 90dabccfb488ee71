from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from influence.statistics.boundaries import nominal_levels


def test_one_look_is_tested_at_alpha() -> None:
    assert nominal_levels([1.0], [0.05]) == pytest.approx((0.05,))


def test_boundaries_are_those_that_textbooks_print() -> None:
    """Pocock-like spending, five equal looks, α = 5 % (R's ldbounds: 2.4380, 2.4268, 2.4101, 2.3966, 2.3859)."""
    times = np.arange(1, 6) / 5
    levels = nominal_levels(times.tolist(), (0.05 * np.log(1 + (np.e - 1) * times)).tolist())
    assert stats.norm.isf(np.array(levels) / 2) == pytest.approx([2.4380, 2.4268, 2.4101, 2.3966, 2.3859], abs=2e-4)


@pytest.mark.parametrize("alpha", [0.2, 0.01])
@pytest.mark.parametrize("times", [(0.25, 0.375, 0.625, 1.0), (0.5, 1.0), (0.1, 0.11, 1.0)])
def test_walks_cross_as_often_as_may_be_spent(times: tuple[float, ...], alpha: float) -> None:
    walks, rng = 200_000, np.random.default_rng(1)
    spent = [alpha * t**2 for t in times]
    levels = nominal_levels(times, spent)
    steps = rng.normal(size=(walks, len(times))) * np.sqrt(np.diff([0.0, *times]))
    p = 2 * stats.norm.sf(np.abs(steps.cumsum(axis=1)) / np.sqrt(times))
    crossed = np.maximum.accumulate(p <= levels, axis=1).mean(axis=0)
    assert crossed == pytest.approx(spent, abs=4 * np.sqrt(alpha / walks))
    assert all(a >= b - 1e-12 for a, b in zip(levels, np.diff([0.0, *spent]), strict=True))  # Bonferroni


def test_next_to_nothing_can_be_spent() -> None:
    levels = nominal_levels([0.01, 1.0], [1e-200, 0.05])
    assert levels[0] == pytest.approx(1e-200)
    assert levels[1] == pytest.approx(0.05)
