from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from training.statistics.multiplicity import benjamini_hochberg, holm, merged

values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(values)
def test_never_below_the_raw_value_and_in_the_same_order(p: list[float]) -> None:
    adjusted = holm(p)
    assert (adjusted >= np.array(p)).all()
    assert (adjusted <= 1).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()


@given(values, st.randoms())
def test_the_order_of_questions_does_not_matter(p: list[float], rng: object) -> None:
    order = list(range(len(p)))
    rng.shuffle(order)  # type: ignore[attr-defined]
    assert holm([p[i] for i in order]) == pytest.approx(holm(p)[order])


def test_one_question_is_not_corrected_and_an_unasked_one_counts() -> None:
    assert holm([0.03])[0] == 0.03
    assert holm([0.03, float("nan")])[0] == 0.06
    assert len(holm([])) == 0


def test_between_bonferroni_and_none() -> None:
    p = stats.uniform(0, 0.1).rvs(20, random_state=1)
    assert (holm(p) <= np.minimum(1, p * 20)).all()


@pytest.mark.parametrize("p", [[-0.1], [1.1], [[0.1]]])
def test_what_is_no_list_of_probabilities_is_refused(p: list[float]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm(p)


def test_tests_of_one_question_are_merged_however_they_depend() -> None:
    assert merged([0.02]) == 0.02
    assert merged([0.02, 0.04]) == pytest.approx(0.06)
    assert merged([0.9, 0.8]) == 1
    same = np.random.default_rng(0).uniform(size=20_000)
    assert np.mean([merged([p, p, p]) <= 0.05 for p in same]) <= 0.05
    opposite = [merged([p, 1 - p]) for p in same]
    assert np.mean(np.array(opposite) <= 0.05) <= 0.05
    for wrong in ([], [1.2], [float("nan")]):
        with pytest.raises(ValueError, match="between 0 and 1"):
            merged(wrong)


@given(values)
def test_screening_is_that_of_scipy_and_asks_less_than_holm(p: list[float]) -> None:
    adjusted = benjamini_hochberg(p)
    assert adjusted == pytest.approx(stats.false_discovery_control(p))
    assert (adjusted <= holm(p) + 1e-12).all()
    assert benjamini_hochberg([*p, float("nan")]) == pytest.approx(benjamini_hochberg([*p, 1.0]))


def test_screening_bounds_the_share_of_what_is_found_wrongly() -> None:
    rng = np.random.default_rng(0)
    false, found = [], []
    for _ in range(2000):
        p = 2 * stats.norm.sf(np.abs(rng.normal(np.repeat([0.0, 3.5], [30, 10]))))
        told = benjamini_hochberg(p) <= 0.05
        false.append(told[:30].sum() / max(told.sum(), 1))
        found.append(told[30:].sum() - (holm(p) <= 0.05)[30:].sum())
    assert np.mean(false) <= 0.05
    assert np.mean(found) > 1
