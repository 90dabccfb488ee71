from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from influence.statistics.contrasts import Contrast
from influence.statistics.futility import chance

figures = st.floats(-0.2, 0.2)
sizes = st.floats(0.001, 0.1)


def now(estimate: float, error: float, lasting: float = 0.0, freedom: float = 12.0) -> Contrast:
    return Contrast(estimate, 0, 0, error, freedom, lasting)


@given(figures, sizes, sizes)
def test_with_all_seeds_there_the_tests_have_been_made(estimate: float, error: float, margin: float) -> None:
    c = now(estimate, error)
    passed = c.p <= 0.05 or c.p_within(margin) <= 0.05
    assert chance(c, margin, seeds=8, most=8, alpha=0.05) == passed


@given(figures, sizes, st.floats(0, 1), st.integers(2, 8), st.floats(0.1, 10))
def test_a_chance_has_no_unit(estimate: float, error: float, part: float, seeds: int, scale: float) -> None:
    one = chance(now(estimate, error, part * error), 0.03, seeds=seeds, most=8, alpha=0.04)
    assert 0 <= one <= 1
    scaled = now(scale * estimate, scale * error, scale * part * error)
    assert chance(scaled, scale * 0.03, seeds=seeds, most=8, alpha=0.04) == pytest.approx(one, abs=1e-6)


def test_what_test_speakers_hide_more_seeds_do_not_show() -> None:
    hidden, unclear = now(0.02, 0.02, lasting=0.0199), now(0.02, 0.02, lasting=0.001)
    assert chance(hidden, 0.03, seeds=2, most=8, alpha=0.05) < 0.01
    assert chance(unclear, 0.03, seeds=2, most=8, alpha=0.05) > 0.5


def test_the_chance_is_how_often_it_happens() -> None:
    """Four of eight seeds are there, the trend goes on: how many of the ends pass?"""
    rng, freedom = np.random.default_rng(2), 30.0
    c = now(0.02, 0.012, lasting=0.008, freedom=freedom)
    shrinking = np.sqrt(c.error**2 - c.lasting**2)
    ends = c.estimate + shrinking * np.sqrt(0.5) * rng.standard_t(freedom, 100_000)
    error = np.sqrt(c.lasting**2 + shrinking**2 / 2)
    passes = [now(end, error, freedom=freedom).p <= 0.05 for end in ends[:5000]]
    assert chance(c, 0.001, seeds=4, most=8, alpha=0.05) == pytest.approx(np.mean(passes), abs=0.03)


def test_nothing_is_given_up_that_is_not_known() -> None:
    assert chance(now(0.0, float("nan"), freedom=float("nan")), 0.01, seeds=1, most=8, alpha=0.05) == 1
