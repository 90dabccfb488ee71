"""No effect without its interval, no influence without its fidelity."""

from __future__ import annotations

import inspect
import math

import pytest

from dashboard import measures
from dashboard.measures import Change, Ends, Fidelity, Prediction, Rate, change, ends

INTERVAL = Ends(0.032, 0.09, 0.95)


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


@pytest.mark.parametrize("low", [None, math.nan, math.inf])
def test_half_an_interval_is_none(low: float | None) -> None:
    assert ends(low, 0.1, 0.95) is None
    assert ends(0.1, low, 0.95) is None
    with pytest.raises(ValueError, match="two ends"):
        Ends(math.nan if low is None else low, 0.1, 0.95)


def test_an_effect_without_interval_does_not_exist() -> None:
    assert change("wer", 0.06, None) is None
    assert change("wer", None, INTERVAL) is None
    parameters = inspect.signature(Change).parameters
    assert all(p.default is inspect.Parameter.empty for p in parameters.values())


def test_an_influence_without_fidelity_does_not_exist() -> None:
    parameters = inspect.signature(Prediction).parameters
    assert parameters["fidelity"].annotation == "Fidelity"
    assert all(p.default is inspect.Parameter.empty for p in parameters.values())


def test_every_sentence_carries_its_uncertainty() -> None:
    fidelity = Fidelity("Spearman", 0.71, Ends(0.52, 0.83, 0.95), 72, "cells")
    assert plain(Change("wer", 0.061, INTERVAL).sentence()) == "+6.1 points (95 % interval +3.2 to +9.0)"
    assert plain(Prediction(0.3121, "nats per word", fidelity).sentence()) == (
        "+0.312 nats per word (fidelity: Spearman 0.71 (0.52 to 0.83))"
    )
    assert plain(fidelity.sentence()) == "Spearman 0.71 (95 % interval 0.52 to 0.83) over 72 cells"


def test_a_rate_of_one_speaker_says_that_it_has_no_interval() -> None:
    assert plain(Rate("wer", 0.25, None).short()) == "25.0 % (no interval: one speaker)"
    assert plain(Rate("wer", 0.25, Ends(0.2, 0.3, 0.95)).short()) == "25.0 % (20.0 to 30.0)"


@pytest.mark.parametrize(("low", "word"), [(0.8, "strong"), (0.5, "fair"), (0.1, "weak"), (-0.1, "not shown")])
def test_fidelity_is_judged_by_the_lower_end(low: float, word: str) -> None:
    assert Fidelity("Spearman", 0.9, Ends(low, 0.95, 0.95), 9, "cells").word().startswith(word)


def test_units_are_known_for_every_metric() -> None:
    assert measures.METRICS.keys() == measures.UNITS.keys()
