from __future__ import annotations

import uuid

import pytest

from influence.causes.target import weighted
from influence.statistics.effects import EvalSlice


def test_a_mean_of_slices_is_the_weighted_mean_of_their_rates() -> None:
    a, b, c = (uuid.UUID(int=i) for i in range(3))
    parts = [
        EvalSlice("x", "x", {a: 10.0, b: 30.0}, {a: None, b: None}),
        EvalSlice("y", "y", {b: 30.0, c: 5.0}, {b: None, c: None}),
    ]
    errors = {a: 2.0, b: 3.0, c: 4.0}
    target = weighted(parts, [3.0, 1.0])
    found = sum(w * errors[s] for s, w in target.weights.items()) / sum(
        w * target.words[s] for s, w in target.weights.items()
    )
    assert found == pytest.approx(0.75 * 5 / 40 + 0.25 * 7 / 35)
    assert sum(w * target.words[s] for s, w in target.weights.items()) == pytest.approx(45)
    alone = weighted(parts[:1], [2.0])
    assert set(alone.weights.values()) == {1.0}
    assert alone.name == "x"
