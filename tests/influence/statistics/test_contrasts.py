from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats

from influence.statistics.contrasts import Contrast, contrasts
from influence.statistics.panels import Panel
from training.statistics.multiplicity import holm

PAIR = np.array([[-1.0, 1.0]])


def simulate(
    rng: np.random.Generator,
    retrainings: int,
    seeds: int,
    speakers: int,
    *,
    effect: float = 0.0,
    by_speaker: float = 0.0,
    by_seed: float = 0.01,
    by_cell: float = 0.05,
) -> Panel:
    """Word errors with known truth: retraining 1 makes `effect` more errors per word than the others, on average."""
    words = rng.integers(20, 60, speakers).astype(float)
    rate = 0.3 + rng.normal(0, 0.08, speakers)
    rate = (
        rate + rng.normal(0, by_seed, (retrainings, seeds, 1)) + rng.normal(0, by_cell, (retrainings, seeds, speakers))
    )
    rate[1] += effect + rng.normal(0, by_speaker, speakers)
    return Panel(rng.binomial(words.astype(int), rate.clip(0.01, 0.99)).astype(float), words, 1.0)


def each_against_first(n: int) -> np.ndarray:
    return np.hstack([-np.ones((n - 1, 1)), np.eye(n - 1)])


@pytest.mark.parametrize(("seeds", "speakers"), [(3, 6), (3, 20), (5, 12)])
def test_false_positives_of_a_family_stay_below_five_percent(seeds: int, speakers: int) -> None:
    rng = np.random.default_rng(seeds * 100 + speakers)
    w = each_against_first(7)
    false = 0
    for _ in range(300):
        found = contrasts(simulate(rng, 7, seeds, speakers, by_seed=0.02), w, replicates=20)
        false += bool(holm([c.p for c in found]).min() <= 0.05)
    assert false / 300 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)  # two standard errors of the simulation


@pytest.mark.parametrize(("seeds", "speakers", "by_speaker"), [(3, 8, 0.08), (3, 20, 0.1), (5, 10, 0.05)])
def test_intervals_cover_the_truth(seeds: int, speakers: int, by_speaker: float) -> None:
    rng = np.random.default_rng(seeds * 100 + speakers)
    runs, effect = 300, 0.12
    hits = 0
    for _ in range(runs):
        made = simulate(rng, 6, seeds, speakers, effect=effect, by_speaker=by_speaker)
        found = contrasts(made, PAIR @ np.eye(2, 6), replicates=200)[0]
        hits += found.low <= effect <= found.high
    assert 0.93 - 2 * 0.0126 <= hits / runs <= 0.995


def test_three_seeds_are_not_taken_for_certainty() -> None:
    """Speakers who all agree leave the seeds' scatter as the only error, and it has to show."""
    rng = np.random.default_rng(1)
    outcomes = rng.normal(0.3, 0.05, (2, 3, 1))
    words = np.full(40, 50.0)
    made = Panel(np.broadcast_to(outcomes * 50, (2, 3, 40)).copy(), words)
    paired = (outcomes[1] - outcomes[0])[:, 0]
    found = contrasts(made, PAIR)[0]
    expected = stats.t.interval(0.95, 2, paired.mean(), paired.std(ddof=1) / np.sqrt(3))
    assert found.error == pytest.approx(paired.std(ddof=1) / np.sqrt(3))
    assert found.freedom == pytest.approx(2)
    assert found.p == pytest.approx(stats.ttest_1samp(paired, 0).pvalue)
    assert found.span(0.95) == pytest.approx(expected)


def test_many_speakers_and_seeds_give_the_plain_percentile_interval() -> None:
    rng = np.random.default_rng(2)
    made = simulate(rng, 2, 40, 400, effect=0.1, by_speaker=0.05, by_cell=0.0, by_seed=0.0)
    found = contrasts(made, PAIR, replicates=4000)[0]
    x = (made.values[1] - made.values[0]).mean(axis=0)
    drawn = rng.multinomial(400, np.full(400, 1 / 400), 4000)
    low, high = np.quantile(drawn @ x / (drawn @ made.words), [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.001)


def test_scaling_the_values_scales_everything() -> None:
    made = simulate(np.random.default_rng(3), 4, 3, 8)
    one = contrasts(Panel(made.values, made.words), each_against_first(4))
    ten = contrasts(Panel(10 * made.values, made.words), each_against_first(4))
    for a, b in zip(one, ten, strict=True):
        assert (10 * a.estimate, 10 * a.low, 10 * a.high, a.p) == pytest.approx((b.estimate, b.low, b.high, b.p))


def test_turning_a_contrast_round_changes_the_sign_only() -> None:
    made = simulate(np.random.default_rng(4), 2, 3, 8)
    plus, minus = contrasts(made, PAIR)[0], contrasts(made, -PAIR)[0]
    assert plus.estimate == -minus.estimate
    assert plus.p == pytest.approx(minus.p)


def test_order_of_speakers_and_seeds_moves_nothing_but_chance() -> None:
    made = simulate(np.random.default_rng(5), 3, 4, 9)
    order = np.random.default_rng(0).permutation(9)
    turned = Panel(made.values[:, ::-1][:, :, order], made.words[order], 1.0)
    a, b = contrasts(made, PAIR @ np.eye(2, 3))[0], contrasts(turned, PAIR @ np.eye(2, 3))[0]
    assert (a.estimate, a.error, a.freedom) == pytest.approx((b.estimate, b.error, b.freedom))


def test_the_same_seed_gives_the_same_digits() -> None:
    made = simulate(np.random.default_rng(6), 3, 3, 9)
    assert contrasts(made, PAIR @ np.eye(2, 3), seed=7) == contrasts(made, PAIR @ np.eye(2, 3), seed=7)


def test_difference_to_a_control_is_the_difference_of_the_estimates() -> None:
    made = simulate(np.random.default_rng(7), 4, 3, 9)
    w = np.array([[-1, 1, 0, 0], [-1, 0, 0.5, 0.5], [0, 1, -0.5, -0.5]])
    estimate, control, difference = contrasts(made, w)
    assert difference.estimate == pytest.approx(estimate.estimate - control.estimate)


def test_an_interval_is_never_finer_than_a_word() -> None:
    made = Panel(np.zeros((2, 3, 5)), np.full(5, 20.0), 1.0)
    found = contrasts(made, PAIR)[0]
    assert found.error == pytest.approx(1 / 100)
    assert found.low < 0 < found.high
    assert found.p == 1


def test_one_seed_and_one_block_tell_nothing() -> None:
    found = contrasts(Panel(np.ones((2, 1, 1)), np.ones(1)), PAIR)[0]
    assert np.isnan([found.low, found.high, found.error]).all()
    assert found.p == 1
    assert np.isnan(found.detectable(0.05, 0.8))


@pytest.mark.parametrize("shape", [(2, 1, 8), (2, 4, 1)])
def test_one_seed_or_one_block_leaves_the_other_source(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(8)
    found = contrasts(Panel(rng.poisson(9, shape).astype(float), np.full(shape[2], 30.0), 1.0), PAIR)[0]
    assert found.low < found.estimate < found.high


def test_equivalence_and_power_agree_with_the_t_distribution() -> None:
    c = Contrast(0.01, -0.02, 0.04, 0.015, 10)
    assert c.p_within(0.05) == pytest.approx(stats.t.sf(0.04 / 0.015, 10))
    assert c.p_within(0.01) == pytest.approx(0.5)
    power = stats.nct.sf(stats.t.ppf(0.975, 10), 10, c.detectable(0.05, 0.8) / c.error)
    assert power == pytest.approx(0.8, abs=0.02)


def test_equivalence_is_the_two_one_sided_tests_of_scipy() -> None:
    """Where seeds are the only source of error and two rows are compared, ours are the textbook's tests on paired values."""
    rng = np.random.default_rng(10)
    outcomes = rng.normal(0.3, 0.01, (2, 6, 1))
    c = contrasts(Panel(np.broadcast_to(outcomes * 50, (2, 6, 40)).copy(), np.full(40, 50.0)), PAIR)[0]
    paired = (outcomes[1] - outcomes[0])[:, 0]
    below = stats.ttest_1samp(paired, 0.02, alternative="less").pvalue
    above = stats.ttest_1samp(paired, -0.02, alternative="greater").pvalue
    assert c.p_within(0.02) == pytest.approx(max(below, above))
    assert c.p == pytest.approx(stats.ttest_rel(outcomes[1, :, 0], outcomes[0, :, 0]).pvalue)


def test_a_hundred_slices_in_two_seconds() -> None:
    rng = np.random.default_rng(9)
    made = Panel(rng.poisson(9, (101, 5, 1000)).astype(float), rng.integers(20, 40, 1000).astype(float), 1.0)
    begun = time.process_time()
    contrasts(made, each_against_first(101), replicates=2000)
    assert time.process_time() - begun < 2
