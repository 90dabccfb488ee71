from __future__ import annotations

import numpy as np
import pytest

from influence.statistics.contrasts import Contrast
from influence.statistics.verdicts import HELPS, HURTS, NOT_IDENTIFIABLE, Cell, judge


def contrast(estimate: float, error: float = 0.01, freedom: float = 20) -> Contrast:
    bare = Contrast(estimate, 0, 0, error, freedom)
    low, high = bare.span(0.95)
    return Contrast(estimate, low, high, error, freedom)


def cell(estimate: Contrast, difference: Contrast | None = None, **about: str) -> Cell:
    return Cell(estimate, difference, "wer", 0.02, **about)


def words(*family: Cell) -> list[str]:
    return [v.words for v in judge(family, level=0.95)]


def test_the_four_verdicts() -> None:
    assert words(cell(contrast(0.1), contrast(0.09))) == [HELPS]
    assert words(cell(contrast(-0.1), contrast(-0.09))) == [HURTS]
    assert words(cell(contrast(0.001, 0.005), contrast(0.002, 0.008))) == ["no effect larger than 2 points"]
    assert words(cell(contrast(0.02, 0.02), contrast(0.02, 0.03))) == [NOT_IDENTIFIABLE]


def test_what_any_data_of_that_size_would_do_is_no_help() -> None:
    assert words(cell(contrast(0.1), contrast(0.001, 0.005))) == ["no effect larger than 2 points"]
    assert words(cell(contrast(0.1), contrast(0.03, 0.03))) == [NOT_IDENTIFIABLE]


def test_an_estimate_that_may_be_zero_is_no_help_whatever_its_control() -> None:
    assert words(cell(contrast(0.02, 0.02), contrast(0.2))) == [NOT_IDENTIFIABLE]


def test_opposite_signs_are_no_verdict() -> None:
    assert words(cell(contrast(0.1), contrast(-0.1))) == [NOT_IDENTIFIABLE]


def test_without_a_control_the_estimate_decides() -> None:
    verdict = judge([cell(contrast(0.1))], level=0.95)[0]
    assert verdict.words == HELPS
    assert "random" not in verdict.reason


def test_at_the_margin_no_effect_is_claimed_five_times_in_a_hundred() -> None:
    rng = np.random.default_rng(0)
    claimed = 0
    for _ in range(2000):
        estimates = 0.02 + 0.005 * rng.standard_normal(2)  # the true change is exactly what counts as none
        found = words(cell(contrast(estimates[0], 0.005, 500), contrast(estimates[1], 0.005, 500)))
        claimed += found[0].startswith("no effect")
    assert claimed / 2000 == pytest.approx(0.05, abs=0.01)


def test_the_whole_family_may_be_held_to_the_level_of_one_claim_of_no_effect() -> None:
    """Eight true changes of just what counts as none: any claim is false."""
    rng = np.random.default_rng(1)
    claimed = {"each": 0, "family": 0}
    for _ in range(800):
        family = [cell(contrast(e, 0.005, 500), contrast(e, 0.005, 500)) for e in 0.02 + 0.005 * rng.standard_normal(8)]
        for how in claimed:
            said = judge(family, level=0.95, equivalence=how)  # type: ignore[arg-type]
            claimed[how] += any(v.words.startswith("no effect") for v in said)
    assert claimed["each"] / 800 > 0.25
    assert claimed["family"] / 800 <= 0.05 + 0.02


def test_a_significant_trifle_counts_as_none() -> None:
    assert words(cell(contrast(0.01, 0.001), contrast(0.01, 0.001))) == ["no effect larger than 2 points"]


def test_the_family_is_corrected_for() -> None:
    borderline = cell(contrast(0.025, 0.0115), contrast(0.03, 0.0115))
    assert words(borderline) == [HELPS]
    assert words(*[borderline] * 1, *[cell(contrast(0.02, 0.02), contrast(0.02, 0.03))] * 5)[0] == NOT_IDENTIFIABLE


def test_an_obstacle_comes_first_and_counts_in_the_family() -> None:
    blocked = cell(contrast(0.1), contrast(0.1), obstacle="one test speaker")
    verdict = judge([blocked], level=0.95)[0]
    assert (verdict.words, verdict.reason, verdict.p) == (NOT_IDENTIFIABLE, "one test speaker", 1.0)


def test_reasons_say_the_figures_and_the_caution() -> None:
    found = judge([cell(contrast(0.1), contrast(0.09), caution="holds for these test speakers")], level=0.95)[0]
    assert "+7.91 to +12.09 points" in found.reason
    assert found.reason.endswith("holds for these test speakers")
    loss = judge([Cell(contrast(0.4, 0.05), None, "loss", 0.05)], level=0.95)[0]
    assert "nats per word" in loss.reason


def test_an_open_question_says_what_the_design_would_have_found() -> None:
    found = judge([cell(contrast(0.02, 0.02), contrast(0.02, 0.03))], level=0.95)[0]
    assert found.detectable == pytest.approx(contrast(0, 0.03).detectable(0.05, 0.8))
    assert "more seeds or test speakers would tell" in found.reason


def test_no_family_no_verdicts() -> None:
    assert judge([], level=0.95) == []
