from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from influence.games.interactions import asked_for, interaction, matrix, slices_of, total
from influence.games.shapley import BORROWED, Sampling, fitted, sampler, sampling_error
from tests.influence.games.test_interactions import game, of, shapley

HOW: list[Sampling] = ["permutations", "regression"]
Kind = Callable[[int, np.random.Generator], dict[int, float]]


def exact(n: int, v: dict[int, float]) -> list[float]:
    return [of(interaction(n, 1 << i), v) for i in range(n)]


def test_a_regression_on_all_coalitions_by_the_kernel_is_exact() -> None:
    n, v = 5, game(5)
    kernel = {}
    for c in range(1, (1 << n) - 1):
        k = c.bit_count()
        kernel[c] = 1 / (k * (n - k) * len([x for x in range(1 << n) if x.bit_count() == k]))
    assert [of(f, v) for f in fitted(n, kernel)] == pytest.approx(exact(n, v))


@pytest.mark.parametrize("how", HOW)
def test_values_add_up_to_the_total_however_few_the_pairs(how: Sampling) -> None:
    v = game(7)
    drawn = sampler(how, 7, 3)
    for pairs in range(1, 10):
        values = [of(f, v) for f in drawn.functionals(range(pairs))]
        assert sum(values) == pytest.approx(of(total(7), v))


@pytest.mark.parametrize("how", HOW)
def test_an_additive_game_is_told_without_error(how: Sampling) -> None:
    own = np.array([0.5, -1.0, 2.0, 0.0, 0.25, 3.0])
    v = {c: 1.0 + float(sum(own[i] for i in range(6) if c >> i & 1)) for c in range(64)}
    drawn = sampler(how, 6, 1)
    pairs = range(drawn.certain)
    assert [of(f, v) for f in drawn.functionals(pairs)] == pytest.approx(own.tolist())
    known = asked_for(drawn.functionals(pairs))
    assert sampling_error(drawn, pairs, known, np.array([v[c] for c in known])).max() < 1e-9


@pytest.mark.parametrize("how", HOW)
def test_the_error_told_is_the_error_made(how: Sampling) -> None:
    n, pairs = 5, range(40)
    v = game(n, 4)
    truth = np.array(shapley(n, v))
    missed, told = [], []
    for seed in range(30):
        drawn = sampler(how, n, seed)
        functionals = drawn.functionals(pairs)
        known = asked_for(functionals)
        values = np.array([v[c] for c in known])
        missed.append(matrix(functionals, known) @ values - truth)
        told.append(sampling_error(drawn, pairs, known, values))
    made = np.sqrt(np.mean(np.square(missed), axis=0))
    assert np.sqrt(np.mean(np.square(told))) == pytest.approx(np.sqrt(np.mean(made**2)), rel=0.3)
    assert np.abs(np.mean(missed, axis=0)).max() < 4 * made.max() / np.sqrt(30)  # no bias that the simulation sees


def saturating(n: int, rng: np.random.Generator) -> dict[int, float]:
    """Every slice adds less the more is there already."""
    hours = rng.lognormal(0, 0.7, n)
    return {c: float(np.log1p(sum(hours[i] for i in slices_of(c)))) for c in range(1 << n)}


def redundant(n: int, rng: np.random.Generator) -> dict[int, float]:
    """Of slices that say the same only the best counts, so that few orders make all the difference."""
    kind, worth = rng.integers(0, n // 2, n), rng.lognormal(0, 0.5, n)
    return {
        c: float(sum(max((worth[i] for i in slices_of(c) if kind[i] == k), default=0.0) for k in range(n // 2)))
        for c in range(1 << n)
    }


def erratic(n: int, rng: np.random.Generator) -> dict[int, float]:
    """Every coalition is worth whatever it is worth."""
    return {c: float(v) for c, v in enumerate(rng.normal(size=1 << n))}


def covered(how: Sampling, kind: Kind, pairs: int, n: int = 6, games: int = 60) -> float:
    """Share of the values in their 95 % intervals, over games and draws."""
    inside = []
    for seed in range(games):
        v, drawn = kind(n, np.random.default_rng(seed)), sampler(how, n, 7 * seed + 1)
        assert drawn.enough(pairs)
        functionals = drawn.functionals(range(pairs))
        known = asked_for(functionals)
        values = np.array([v[c] for c in known])
        half = sampling_error(drawn, range(pairs), known, values) * stats.t.ppf(0.975, drawn.freedom(pairs))
        inside.append(np.abs(matrix(functionals, known) @ values - exact(n, v)) <= half + 1e-12)
    return float(np.mean(inside))


@pytest.mark.slow
@pytest.mark.parametrize(("how", "times"), [("permutations", 1), ("permutations", 2), ("regression", 1)])
def test_intervals_of_few_pairs_cover_the_values(how: Sampling, times: int) -> None:
    """From the fewest pairs on that an error is told of."""
    pairs = times * sampler(how, 6, 0).certain
    found = [covered(how, kind, pairs) for kind in (saturating, redundant, erratic)]
    assert np.mean(found) >= 0.93
    assert min(found) >= 0.90  # 360 values of 60 games each: two standard errors of the simulation below


@pytest.mark.slow
def test_of_fewer_pairs_they_would_not() -> None:
    assert covered("permutations", redundant, sampler("permutations", 6, 0).certain - 1) < 0.9


def test_a_slice_whose_draws_agree_by_chance_is_not_thought_certain() -> None:
    """A slice that stands first or last in all of three orders has the same value in each, and yet it is not known."""
    n, pairs, v = 6, range(3), erratic(6, np.random.default_rng(0))
    agreed = 0
    for seed in range(40):
        drawn = sampler("permutations", n, seed)
        functionals = drawn.functionals(pairs)
        known = asked_for(functionals)
        values = np.array([v[c] for c in known])
        each = np.array([matrix(drawn.functionals([m]), known) @ values for m in pairs])
        scatter = each.var(axis=0, ddof=1) / len(pairs)
        told = sampling_error(drawn, pairs, known, values) ** 2
        own = drawn.freedom(len(pairs))
        least = (own * scatter + BORROWED * scatter.mean()) / (own + BORROWED)
        assert told == pytest.approx(np.maximum(scatter, least))
        agreed += int((scatter < 1e-12).sum())
        assert told.min() > 0
    assert agreed > 3


def test_opposite_orders_cancel_chance_where_slices_act_in_pairs() -> None:
    """In a game of pairwise interactions the mean over an order and its reverse is exact already."""
    rng = np.random.default_rng(2)
    bonds = np.triu(rng.normal(size=(7, 7)), 1)
    present = {c: np.array([c >> i & 1 for i in range(7)]) for c in range(128)}
    v = {c: float(x @ bonds @ x + x.sum()) for c, x in present.items()}
    assert [of(f, v) for f in sampler("permutations", 7, 5).functionals([0])] == pytest.approx(exact(7, v))


@pytest.mark.parametrize("how", HOW)
def test_more_pairs_add_to_what_fewer_trained(how: Sampling) -> None:
    drawn, again = sampler(how, 8, 9), sampler(how, 8, 9)
    assert [drawn.coalitions(m) for m in range(6)] == [again.coalitions(m) for m in range(6)]
    assert drawn.coalitions(0) != drawn.coalitions(1) or drawn.coalitions(1) != drawn.coalitions(2)
    assert set(asked_for(drawn.functionals(range(4)))) <= {c for m in range(4) for c in drawn.coalitions(m)}
    assert [sampler(how, 8, 10).coalitions(m) for m in range(6)] != [drawn.coalitions(m) for m in range(6)]


def test_splitting_a_slice_changes_its_value() -> None:
    """Why the caution stands beside every value: two slices that say the same share 1 as ½ + ½; one cut in two, ⅔ + ⅓."""
    whole = {c: float(c > 0) for c in range(4)}
    split = {c: float(c > 0) for c in range(8)}  # slice 0 is now slices 0 and 1
    assert exact(2, whole)[0] == pytest.approx(1 / 2)
    assert exact(3, split)[0] + exact(3, split)[1] == pytest.approx(2 / 3)
