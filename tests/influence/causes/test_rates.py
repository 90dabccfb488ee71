from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from influence.causes.rates import design, mixed, population_averaged
from lineage.errors import EarmarkError
from tests.influence.causes.simulation import SPEAKER_SD, utterances


def test_the_two_fits_agree_whatever_the_scale_and_skew_of_a_number() -> None:
    heard = utterances(11, effect=0.4, confounded=0.3)
    seconds = np.random.default_rng(1).lognormal(0, 1.0, len(heard))
    gaps = []
    for scale in (1.0, 1e4):
        there = replace(heard, columns={**heard.columns, "duration_s": seconds * scale})
        made = design(there)
        beside = mixed(there, made)
        assert beside is not None
        interval = population_averaged(there, made).gap
        assert interval.low < beside.gap < interval.high
        assert beside.speaker_factor == pytest.approx(np.exp(SPEAKER_SD), rel=0.25)
        gaps.append((beside.gap, interval.value))
    assert gaps[0] == pytest.approx(gaps[1], rel=1e-3)


def test_more_words_are_more_exposure_not_a_higher_rate() -> None:
    heard = utterances(12, effect=0.4)
    double = replace(heard, errors=heard.errors * 2, words=heard.words * 2)
    one, two = (population_averaged(h, design(h)) for h in (heard, double))
    assert two.gap.value == pytest.approx(one.gap.value, rel=1e-6)


def test_a_condition_that_tells_the_slice_is_refused() -> None:
    heard = utterances(13)
    with pytest.raises(EarmarkError, match="told completely by device"):
        design(replace(heard, columns={"device": np.where(heard.inside, "a", "b").astype(object)}))
