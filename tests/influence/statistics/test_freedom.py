from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, special

from influence.statistics.freedom import together, worth

ONE = np.ones(1)


@pytest.mark.parametrize("seeds", [1.0, 2.0, 7.5, 40.0])
def test_a_single_source_keeps_its_degrees_of_freedom(seeds: float) -> None:
    assert worth(0 * ONE, 3 * ONE, 0 * ONE, (4, seeds, 8)) == pytest.approx(seeds, rel=1e-6)
    assert worth(3 * ONE, 0 * ONE, 0 * ONE, (seeds, 12, 8)) == pytest.approx(seeds, rel=0.1)  # from so many points
    assert worth(0 * ONE, 0 * ONE, 0 * ONE, (4, seeds, 8)) == pytest.approx(seeds, rel=1e-6)


def test_scaling_changes_nothing_and_contrasts_do_not_see_one_another() -> None:
    rng = np.random.default_rng(0)
    means, freedom = rng.gamma(2, size=(3, 6)), (4.0, rng.uniform(1, 12, 6), 8.0)
    found = worth(*means, freedom)
    assert worth(*(100 * means), freedom) == pytest.approx(found)
    assert worth(*means[:, :2], (4.0, freedom[1][:2], 8.0)) == pytest.approx(found[:2])


@pytest.mark.parametrize("components", [(1.0, 1.0, 1.0), (3.0, 1.0, 1.0), (1.0, 2.0, 0.5), (2.0, 2.0, 0.1)])
def test_it_is_how_the_logarithm_of_the_estimate_scatters(components: tuple[float, ...]) -> None:
    rng, freedom = np.random.default_rng(1), (4.0, 9.0, 8.0)
    drawn = [c * rng.chisquare(f, 200_000) / f for c, f in zip(components, freedom, strict=True)]
    scatter = np.log(together(*drawn)).var()
    expected = optimize.brentq(lambda f: special.polygamma(1, f / 2) - scatter, 0.5, 100)
    assert worth(*(c * ONE for c in components), freedom) == pytest.approx(expected, rel=0.1)


def test_where_everything_is_interaction_all_three_mean_squares_tell() -> None:
    """Satterthwaite's sum over all three would give two degrees of freedom, of which the least alone has four."""
    assert worth(ONE, ONE, ONE, (4, 9, 8))[0] > 8
    assert worth(0.5 * ONE, ONE, 2 * ONE, (4, 9, 8))[0] > 8
