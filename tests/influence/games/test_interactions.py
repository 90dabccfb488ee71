from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest

from influence.games.interactions import (
    Functional,
    asked_for,
    coalition,
    deletion,
    interaction,
    matrix,
    slices_of,
    subsets,
    total,
    within,
)


def game(n: int, seed: int = 0) -> dict[int, float]:
    rng = np.random.default_rng(seed)
    return {c: float(v) for c, v in enumerate(rng.normal(size=1 << n))}


def of(functional: Functional, v: dict[int, float]) -> float:
    return math.fsum(weight * v[c] for c, weight in functional.items())


def shapley(n: int, v: dict[int, float]) -> list[float]:
    """By the definition that needs no weights: the mean over all orders of joining."""
    values = [0.0] * n
    for order in permutations(range(n)):
        for k, i in enumerate(order):
            values[i] += v[coalition(order[: k + 1])] - v[coalition(order[:k])]
    return [x / math.factorial(n) for x in values]


def index(n: int, i: int) -> Functional:
    return interaction(n, 1 << i)


def test_the_index_of_one_slice_is_its_shapley_value() -> None:
    for n in (1, 2, 3, 5):
        v = game(n, n)
        assert [of(index(n, i), v) for i in range(n)] == pytest.approx(shapley(n, v))


def test_efficiency_values_add_up_to_the_total() -> None:
    v = game(5)
    assert sum(of(index(5, i), v) for i in range(5)) == pytest.approx(of(total(5), v))


def test_symmetry_slices_that_do_the_same_get_the_same() -> None:
    v = game(4)
    swap = {c: coalition({0: 1, 1: 0}.get(i, i) for i in slices_of(c)) for c in v}
    alike = {c: v[c] + v[swap[c]] for c in v}
    assert of(index(4, 0), alike) == pytest.approx(of(index(4, 1), alike))
    assert of(index(4, 0), v) == pytest.approx(of(index(4, 1), {c: v[swap[c]] for c in v}))


def test_a_dummy_gets_what_it_adds_and_interacts_with_nobody() -> None:
    small = game(3)
    v = {c: small[c & 7] + (0.7 if c & 8 else 0.0) for c in range(16)}
    assert of(index(4, 3), v) == pytest.approx(0.7)
    for other in (1, 2, 4, 3, 7):
        assert of(interaction(4, 8 | other), v) == pytest.approx(0)


def test_additivity_of_a_sum_of_games() -> None:
    a, b = game(4, 1), game(4, 2)
    both = {c: 2 * a[c] + b[c] for c in a}
    for subset in subsets(4, 4):
        assert of(interaction(4, subset), both) == pytest.approx(
            2 * of(interaction(4, subset), a) + of(interaction(4, subset), b)
        )


def test_recursion_an_interaction_is_the_change_of_a_value_by_another_s_presence() -> None:
    """Grabisch & Roubens' recursive axiom: I(ij) = value of i with j always there − value of i with j never there."""
    v = game(4)
    others = {c: coalition(i if i < 2 else i + 1 for i in slices_of(c)) for c in range(8)}  # bit 2 is never set
    present = {c: v[others[c] | 4] for c in others}
    absent = {c: v[others[c]] for c in others}
    assert of(interaction(4, 0b101), v) == pytest.approx(of(index(3, 0), present) - of(index(3, 0), absent))


def test_the_interaction_of_all_is_their_dividend() -> None:
    v = game(3)
    dividend = v[7] - v[3] - v[5] - v[6] + v[1] + v[2] + v[4] - v[0]
    assert of(interaction(3, 7), v) == pytest.approx(dividend)
    assert of(deletion(3, 7), v) == pytest.approx(dividend)


def test_substitutes_are_negative_and_complements_positive() -> None:
    either = {0: 0.0, 1: 1.0, 2: 1.0, 3: 1.0}
    needed = {0: 0.0, 1: 0.0, 2: 0.0, 3: 1.0}
    assert of(interaction(2, 3), either) == -1
    assert of(interaction(2, 3), needed) == 1
    assert of(deletion(2, 3), either) == -1


def test_deletion_is_leaving_out_and_asks_for_few_coalitions() -> None:
    v = game(4)
    assert of(deletion(4, 2), v) == pytest.approx(v[15] - v[13])
    assert of(deletion(4, 3), v) == pytest.approx(v[15] - v[14] - v[13] + v[12])
    few = asked_for([deletion(9, s) for s in subsets(9, 2)])
    assert len(few) == 1 + 9 + 36
    assert few[0] == (1 << 9) - 1


def test_coalitions_are_sets() -> None:
    assert [slices_of(c) for c in within(0b101)] == [(), (0,), (2,), (0, 2)]
    assert subsets(3, 2) == [1, 2, 4, 3, 5, 6]
    weights = matrix([total(2)], [3, 2, 1, 0])
    assert weights.tolist() == [[1, 0, 0, -1]]
    with pytest.raises(KeyError):
        matrix([total(2)], [3])
