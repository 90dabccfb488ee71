from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from influence.statistics.contrasts import Contrast
from influence.statistics.sequential import ALPHAS, ONLY, SPENDINGS, Look, Sequential, Spending, parse_looks
from influence.statistics.verdicts import HELPS, NOT_IDENTIFIABLE, Cell, judge
from lineage.errors import EarmarkError


@pytest.mark.parametrize("spending", SPENDINGS)
@pytest.mark.parametrize("looks", [(2, 3), (2, 3, 5, 8), (4, 30)])
@pytest.mark.parametrize("alpha", [0.05, 0.2, 1e-4])
def test_a_look_spends_no_less_than_by_bonferroni_and_no_more_than_all(
    spending: Spending, looks: tuple[int, ...], alpha: float
) -> None:
    plan = Sequential(looks, spending)
    levels = [plan.look(i).level(alpha) for i in range(len(looks))]
    assert sum(levels) >= alpha * (1 - 1e-6)
    assert 0 < min(levels) <= max(levels) < alpha
    for i, level in enumerate(levels):
        assert plan.look(i).p(level) == pytest.approx(alpha)  # one is the inverse of the other


@given(st.floats(1e-12, 1), st.floats(1e-12, 1))
def test_a_smaller_p_value_is_worth_no_more(one: float, other: float) -> None:
    for i in range(4):
        look = Sequential().look(i)
        assert (look.p(one) <= look.p(other)) == (one <= other) or look.p(one) == look.p(other)
        assert look.p(one) >= one


def test_early_looks_are_strict_as_the_spending_says() -> None:
    first = {spending: Sequential((2, 3, 5, 8), spending).look(0).level(0.05) for spending in SPENDINGS}
    assert first["obrien-fleming"] == pytest.approx(2 * stats.norm.sf(stats.norm.ppf(0.975) / np.sqrt(2 / 8)), rel=0.01)
    assert first["kim-demets"] == pytest.approx(0.05 * (2 / 8) ** 2, rel=1e-3)
    assert first["pocock"] == pytest.approx(0.05 * np.log(1 + (np.e - 1) * 2 / 8), rel=1e-3)


@pytest.mark.parametrize("looks", [(), (1, 3), (3, 3), (5, 2)])
def test_looks_that_make_no_sense_are_refused(looks: tuple[int, ...]) -> None:
    with pytest.raises(EarmarkError, match="looks after"):
        Sequential(looks)


def test_looks_as_people_write_them() -> None:
    assert parse_looks("2,3, 5") == (2, 3, 5)
    with pytest.raises(EarmarkError, match="give numbers of seeds"):
        parse_looks("two")
    with pytest.raises(EarmarkError, match="give a chance below"):
        Sequential(futility=1.5)
    with pytest.raises(EarmarkError, match="cannot spend"):
        Sequential(spending="all")  # type: ignore[arg-type]


def looked(estimates: list[float], shares: list[float], error: float = 0.01, margin: float = 0.02) -> Cell:
    """One question at several looks."""
    cells: tuple[Cell, ...] = ()
    for estimate, share in zip(estimates, shares, strict=True):
        bare = Contrast(estimate, 0, 0, error, 400)
        c = Contrast(estimate, *bare.span(1 - 0.05 * share), error, 400)
        look = Look(tuple(share * alpha for alpha in ALPHAS))
        cells = (*cells, Cell(c, c, "wer", margin, look=look, before=cells))
    return cells[-1]


def test_one_look_is_no_sequence() -> None:
    assert Sequential((8,)).look(0) == ONLY
    c = Contrast(0.03, 0.01, 0.05, 0.01, 400)
    cell = Cell(c, c, "wer", 0.02)
    assert (cell.p, cell.p_within) == (c.p, c.p_within(0.02))


@pytest.mark.parametrize("spending", SPENDINGS)
def test_looking_four_times_is_wrong_five_times_in_a_hundred_at_most(spending: Spending) -> None:
    """A walk that is looked at after 2, 3, 5 and 8 steps and stopped at the first success, and the same with naive p-values."""
    plan, rng = Sequential((2, 3, 5, 8), spending), np.random.default_rng(0)
    levels = [plan.look(i).level(0.05) for i in range(4)]
    steps = rng.normal(size=(20_000, 8))
    p = np.stack([2 * stats.norm.sf(np.abs(steps[:, :k].sum(axis=1)) / np.sqrt(k)) for k in plan.looks], axis=1)
    assert (p <= levels).any(axis=1).mean() == pytest.approx(0.05, abs=0.005)
    together = np.min([[plan.look(i).p(float(at)) for i, at in enumerate(walk)] for walk in p[:2000]], axis=1)
    assert (together <= 0.05).tolist() == (p[:2000] <= levels).any(axis=1).tolist()
    assert (p.min(axis=1) <= 0.05).mean() > 0.09


def test_what_was_settled_stays_settled_when_others_are_asked_again() -> None:
    early = looked([0.05, 0.03], [0.4, 0.6])
    assert early.p <= looked([0.05], [0.4]).p
    family = [early, looked([0.01, 0.01], [0.4, 0.6], error=0.02)]
    assert [v.words for v in judge(family, level=0.95)] == [HELPS, NOT_IDENTIFIABLE]


def test_no_effect_may_be_shown_by_an_earlier_look_and_spends_as_well() -> None:
    cell = looked([0.0, 0.012], [0.4, 0.6], error=0.007)
    verdict = judge([cell], level=0.95)[0]
    assert verdict.words == "no effect larger than 2 points"
    assert "96% interval" in verdict.reason
    once = looked([0.0], [0.05], error=0.009)
    assert once.tested.p_within(0.02) <= 0.05
    assert judge([once], level=0.95)[0].words == NOT_IDENTIFIABLE


def test_screening_bounds_the_share_of_false_discoveries() -> None:
    family = [looked([e], [1.0]) for e in (0.05, 0.024, 0.023, 0.022, 0.0)]
    holm = judge(family, level=0.95)
    screened = judge(family, level=0.95, correction="benjamini-hochberg")
    raw = [c.tested.p for c in family]
    assert [v.p_adjusted for v in screened] == pytest.approx(list(stats.false_discovery_control(raw)))
    assert sum(v.words == HELPS for v in screened) > sum(v.words == HELPS for v in holm) > 0
    assert judge([], level=0.95, correction="benjamini-hochberg") == []
