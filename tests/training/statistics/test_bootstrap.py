from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from training.statistics import bootstrap


def simulate(rng: np.random.Generator, speakers: int, each: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors, words and speakers where speakers differ in skill: true WER 0.2."""
    skill = np.clip(rng.normal(0.2, 0.06, speakers), 0.01, 0.9)
    who = np.repeat(np.arange(speakers), each)
    return rng.binomial(6, skill[who]), np.full(len(who), 6), who


@pytest.mark.parametrize(("speakers", "least"), [(4, 0.8), (12, 0.88), (24, 0.9)])
def test_intervals_cover_the_truth(speakers: int, least: float) -> None:
    rng = np.random.default_rng(7)
    inside = narrow = 0
    for i in range(200):  # coverage is known to about 0.02
        errors, words, who = simulate(rng, speakers, 20)
        found = bootstrap.ratio(errors, words, who, replicates=300, seed=i)
        inside += found.low <= 0.2 <= found.high
        alone = bootstrap.ratio(errors, words, np.arange(len(who)), replicates=200, seed=i)
        narrow += alone.low <= 0.2 <= alone.high
    assert least <= inside / 200 <= 0.99
    assert narrow < inside - 20  # utterances of a speaker are no independent evidence


def test_the_value_is_the_ratio_of_sums() -> None:
    found = bootstrap.ratio([1, 0, 3], [2, 5, 3], ["a", "b", "b"])
    assert found.value == 4 / 10
    assert found.low <= found.value <= found.high
    assert (found.blocks, found.replicates) == (2, bootstrap.REPLICATES)


def test_the_same_numbers_give_the_same_interval_in_any_order() -> None:
    rng = np.random.default_rng(0)
    errors, words, who = simulate(rng, 9, 5)
    shuffled = rng.permutation(len(who))
    one = bootstrap.ratio(errors, words, who, seed=3)
    other = bootstrap.ratio(errors[shuffled], words[shuffled], who[shuffled], seed=3)
    assert one == other
    renamed = np.array(list("qwertyuio"))[who]
    assert bootstrap.ratio(errors, words, renamed, seed=3) == one
    assert bootstrap.ratio(errors, words, who, seed=4) != one


def test_a_published_interval_can_be_recomputed() -> None:
    # Golden: fails if the stream of draws or the definition of the interval ever changes.
    found = bootstrap.ratio([3, 1, 4, 1, 5, 9, 2, 6], [10] * 8, list("aabbccdd"), seed=1, replicates=500)
    assert (found.value, round(found.low, 6), round(found.high, 6)) == GOLDEN


GOLDEN = (0.3875, 0.2, 0.7)


def test_a_system_does_not_differ_from_itself() -> None:
    rng = np.random.default_rng(1)
    errors, words, who = simulate(rng, 6, 4)
    found = bootstrap.paired_difference(errors, errors, words, who)
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert not found.excludes_zero


def test_pairing_cancels_how_hard_the_speakers_are() -> None:
    rng = np.random.default_rng(2)
    errors, words, who = simulate(rng, 12, 20)
    worse = errors + rng.binomial(1, 0.3, len(errors))
    paired = bootstrap.paired_difference(worse, errors, words, who)
    alone = bootstrap.ratio(worse, words, who)
    assert paired.excludes_zero
    assert paired.value == pytest.approx((worse.sum() - errors.sum()) / words.sum())
    assert paired.high - paired.low < (alone.high - alone.low) / 3


def test_too_little_gives_no_interval() -> None:
    assert math.isnan(bootstrap.ratio([1, 2], [3, 3], ["a", "a"]).low)
    nothing = bootstrap.ratio([1, 0], [0, 0], ["a", "b"])
    assert math.isnan(nothing.value)
    assert math.isnan(nothing.low)
    assert math.isnan(bootstrap.ratio([], [], []).value)


def test_unknown_speakers_are_blocks_of_their_own() -> None:
    assert bootstrap.ratio([1, 2, 3], [4, 4, 4], [None, None, "a"]).blocks == 3


def test_draws_are_draws_with_replacement() -> None:
    counts = np.concatenate(list(bootstrap.draws(7, 4000, seed=1)))
    assert counts.shape == (4000, 7)
    assert (counts.sum(axis=1) == 7).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(7), abs=0.06)
    assert counts.var(axis=0) == pytest.approx(np.full(7, 6 / 7), abs=0.08)


def test_blocks_in_chunks_are_blocks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(bootstrap.draws(5, 100)))
    monkeypatch.setattr(bootstrap, "CHUNK", 64)
    # one generator feeds all chunks, so cutting them otherwise changes nothing
    assert (np.concatenate(list(bootstrap.draws(5, 100))) == whole).all()


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 30, 199, 1001])
@pytest.mark.parametrize("p", [0.0005, 0.025, 0.4, 0.975])
def test_quantiles_of_student(degrees: int, p: float) -> None:
    assert bootstrap.student_quantile(p, degrees) == pytest.approx(stats.t.ppf(p, degrees), rel=1e-5)


def test_a_statistic_of_sums_is_the_ratio_where_it_is_one() -> None:
    rng = np.random.default_rng(3)
    errors, words, who = simulate(rng, 8, 5)
    found, drawn = bootstrap.statistic(np.column_stack([errors, words]), who, lambda s: s[:, 0] / s[:, 1], seed=2)
    assert found == bootstrap.ratio(errors, words, who, seed=2)
    assert len(drawn) == bootstrap.REPLICATES
    alone, nothing = bootstrap.statistic(np.ones((3, 1)), ["a"] * 3, lambda s: s[:, 0])
    assert (alone.value, len(nothing)) == (3, 0)
    assert math.isnan(alone.low)


def test_p_values_are_even_where_nothing_differs_and_agree_with_intervals() -> None:
    rng = np.random.default_rng(5)
    small = agree = 0
    for i in range(200):
        errors, words, who = simulate(rng, 10, 8)
        other = rng.permuted(errors.reshape(10, 8), axis=1).ravel()  # the same speakers, another system of equal skill
        other = np.where(rng.random(80) < 0.5, other, rng.binomial(6, 0.2, 80))
        swap = np.repeat(rng.random(10) < 0.5, 8)
        first, second = np.where(swap, errors, other), np.where(swap, other, errors)
        p = bootstrap.paired_p(first, second, words, who, replicates=300, seed=i)
        found = bootstrap.paired_difference(first, second, words, who, replicates=300, seed=i)
        small += p < 0.05
        agree += (p < 0.05) == found.excludes_zero
    assert 0.01 <= small / 200 <= 0.1
    assert agree >= 185
    assert bootstrap.paired_p(errors, errors, words, who) == 1
    assert math.isnan(bootstrap.paired_p([1], [2], [3], ["a"]))
