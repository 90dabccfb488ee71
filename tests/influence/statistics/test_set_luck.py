from __future__ import annotations

import numpy as np
import pytest

from influence.plans.controls import line
from influence.statistics.contrasts import contrasts
from influence.statistics.panels import Panel
from influence.statistics.set_luck import NONE, corrected, of_sets, rank
from training.statistics.multiplicity import holm

SIZES, SIZE = [4, 8, 8], 12
WEIGHTS = np.array(line(SIZES, SIZE))
CONTROLS = [9, 10, 11]


def outcomes(rng: np.random.Generator, sets: int, seeds: int, luck: float, by_seed: float = 0.01) -> np.ndarray:
    """All data, then random sets of one size: each has its luck, the same in every seed."""
    made = rng.normal(0.2, by_seed, (1 + sets, seeds))
    made[1:] += 0.03 + luck * rng.normal(size=(sets, 1))
    return made


def test_the_variance_of_sets_around_their_mean_is_found_and_what_seeds_do_is_not_counted() -> None:
    rng = np.random.default_rng(0)
    found = [of_sets(outcomes(rng, 20, 4, 0.02), range(1, 21), [1 / 20] * 20, 0)[0] for _ in range(200)]
    assert np.mean(found) == pytest.approx(0.02**2 / 20, rel=0.1)
    none = [of_sets(outcomes(rng, 20, 4, 0.0), range(1, 21), [1 / 20] * 20, 0)[0] for _ in range(200)]
    assert np.mean(none) < 0.2 * 0.01**2 / 4 / 20


def test_scaling_scales_and_what_happens_to_all_does_not_count() -> None:
    made = outcomes(np.random.default_rng(1), 5, 3, 0.02)
    rows, w = range(1, 6), [0.2] * 5
    assert of_sets(3 * made, rows, w, 0)[0] == pytest.approx(9 * of_sets(made, rows, w, 0)[0])
    assert of_sets(made[[0, 3, 1, 5, 2, 4]], rows, w, 0) == pytest.approx(of_sets(made, rows, w, 0))


def test_one_set_and_one_seed_tell_nothing() -> None:
    made = outcomes(np.random.default_rng(2), 5, 3, 0.02)
    assert of_sets(made, [1], [1.0], 0) == NONE
    assert of_sets(made[:, :1], [1, 2], [0.5, 0.5], 0) == NONE


def family(rng: np.random.Generator, luck: float) -> tuple[list[float], list[float]]:
    """p-values of eight nulls beside a line through three random sets: without and with the luck of these."""
    by_row = rng.normal(0, 0.01, (12, 3, 1)) + rng.normal(0, 0.01, (1, 3, 1))
    of_set = luck * rng.normal(size=3) * np.sqrt(np.array(SIZES) / SIZE)
    w = np.zeros((1, 12))
    w[0, CONTROLS], w[0, 0] = -WEIGHTS, WEIGHTS.sum() - 1
    plain, told = [], []
    for i in range(8):
        rate = 0.2 + by_row + rng.normal(0, 0.05, (12, 3, 12))
        rate[CONTROLS] += of_set[:, None, None]
        rate[1 + i] += rng.normal(0, 0.02, 12)
        made, own = Panel(90 * rate, np.full(12, 90.0)), w.copy()
        own[0, 1 + i] = 1
        plain.append(contrasts(made, own, replicates=20)[0].p)
        extra = np.array([of_sets(made.outcomes, CONTROLS, WEIGHTS.tolist(), 0)]).T
        told.append(contrasts(made, own, replicates=20, luck=extra)[0].p)
    return plain, told


def test_beside_a_line_through_few_sets_a_family_is_right_only_if_their_luck_counts() -> None:
    rng, runs = np.random.default_rng(3), 60
    found = [family(rng, 0.04) for _ in range(runs)]
    plain, told = (np.mean([holm(p).min() <= 0.05 for p in each]) for each in zip(*found, strict=True))
    assert told <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs) < plain


def test_ranks_of_a_family_are_corrected() -> None:
    rng, rows = np.random.default_rng(4), list(range(8, 27))
    raw, right = 0, 0
    for _ in range(300):
        made = rng.normal(size=(27, 3))
        ranks = {i: rank(made, i, 0, rows, 0) for i in range(1, 8)}
        raw += min(ranks.values()) <= 0.05
        right += min(corrected({**ranks, 9: None}).values()) <= 0.05
    assert right / 300 <= 0.05 < raw / 300
    assert corrected({1: None}) == {}
