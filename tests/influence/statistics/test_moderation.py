from __future__ import annotations

import numpy as np
import pytest

from influence.statistics.moderation import MOST_BORROWED, moderate, prior


def scatter(j: int, k: int, sigma: float | np.ndarray = 1.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 10 + rng.normal(size=(1, k)) + rng.normal(size=(j, k)) * np.broadcast_to(sigma, j)[:, None]


def test_equal_variances_are_pooled_and_unbiased() -> None:
    found = [moderate(scatter(12, 3, seed=s)).variance.mean() for s in range(300)]
    assert np.mean(found) == pytest.approx(1.0, rel=0.03)


def test_what_a_seed_does_to_all_does_not_count() -> None:
    outcomes = scatter(6, 4)
    shifted = outcomes + np.array([0, 3, -2, 5.0])
    shifted -= shifted.mean() - outcomes.mean()
    assert moderate(shifted).variance == pytest.approx(moderate(outcomes).variance)


def test_order_of_retrainings_and_seeds_does_not_matter() -> None:
    outcomes = scatter(6, 4)
    order = [3, 1, 5, 0, 2, 4]
    assert moderate(outcomes[order]).variance == pytest.approx(moderate(outcomes).variance[order])
    assert moderate(outcomes[:, ::-1]).variance == pytest.approx(moderate(outcomes).variance)


def test_scaling_scales() -> None:
    outcomes = scatter(6, 4)
    assert moderate(3 * outcomes).variance == pytest.approx(9 * moderate(outcomes).variance)


def test_borrowing_is_bounded_and_never_more_than_there_is() -> None:
    rich, poor = moderate(scatter(30, 3)), moderate(scatter(2, 3))
    assert rich.freedom.max() <= MOST_BORROWED + 2
    assert poor.freedom == pytest.approx([2, 2])
    assert poor.most_freedom == 2


def test_two_retrainings_with_two_rows_give_the_paired_variance() -> None:
    outcomes = scatter(2, 5)
    paired = (outcomes[0] - outcomes[1]).var(ddof=1)
    assert moderate(outcomes).variance.sum() == pytest.approx(paired)


def test_heterogeneous_variances_borrow_less_than_equal_ones() -> None:
    rng = np.random.default_rng(0)
    equal = rng.chisquare(4, 40) / 4
    unequal = equal * np.exp(rng.normal(0, 1.5, 40))
    assert prior(unequal, 4) < 4 < prior(equal, 4)


def test_no_scatter_at_all() -> None:
    assert moderate(np.ones((3, 3))).variance == pytest.approx([0, 0, 0])


def test_one_seed_or_one_retraining_is_refused() -> None:
    for shape in ((3, 1), (1, 3)):
        with pytest.raises(ValueError, match="two"):
            moderate(np.ones(shape))
