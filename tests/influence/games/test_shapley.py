from __future__ import annotations

import numpy as np
import pytest

from influence.games.interactions import asked_for, interaction, matrix, total
from influence.games.shapley import Sampling, fitted, sampler, sampling_error
from tests.influence.games.test_interactions import game, of, shapley

HOW: list[Sampling] = ["permutations", "regression"]


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
    pairs = range(next(m for m in range(1, 40) if drawn.enough(m)))
    assert [of(f, v) for f in drawn.functionals(pairs)] == pytest.approx(own.tolist())
    known = asked_for(drawn.functionals(pairs))
    assert sampling_error(drawn, pairs, known, np.array([v[c] for c in known])).max() < 1e-9


@pytest.mark.parametrize("how", HOW)
def test_the_error_told_is_the_error_made(how: Sampling) -> None:
    n, pairs = 5, range(16)
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
