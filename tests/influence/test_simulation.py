"""Audits with known truth, at the size of a test; `benchmarks/audit_simulation.py` is the whole of it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.audit_simulation import DEMO, World, audit, fixed, panels, rates
from influence.statistics.sequential import Sequential

NUMBER, FEW = 60, {"replicates": 40}
LOOKS = Sequential((2, 4, 8))


def most(rate: float, number: int = NUMBER) -> float:
    """What a share of simulated audits may come to by chance: three standard errors above."""
    return rate + 3 * float(np.sqrt(rate * (1 - rate) / number))


@pytest.mark.parametrize("speakers", [5, 20])
@pytest.mark.parametrize("design", [fixed(3), LOOKS])
def test_without_effects_hardly_any_audit_claims_one_and_intervals_cover(speakers: int, design: Sequential) -> None:
    found = rates(World((0.0,) * 6, speakers=speakers), design, NUMBER, seed=1, **FEW)
    assert found.false <= found.significant <= most(0.05)
    assert found.covers()


def test_intervals_cover_effects_of_all_sizes_wherever_their_slices_were_stopped() -> None:
    found = rates(World((0.02, 0.04, 0.06, 0.09, 0.13), margin=0.005), LOOKS, NUMBER, seed=5, **FEW)
    assert found.retrainings < 0.9
    assert found.covers()


def test_power_grows_with_the_effect_and_with_seeds() -> None:
    world = World((0.02, 0.05, 0.12), margin=0.005)
    few, many = (rates(world, fixed(k), NUMBER, seed=2, **FEW).effect for k in (2, 6))
    assert many[0] < many[1] <= many[2] == 1
    assert few[1] < many[1]


@pytest.mark.parametrize("design", [fixed(4), LOOKS])
def test_at_the_margin_no_effect_is_hardly_ever_said_and_without_effect_often(design: Sequential) -> None:
    found = rates(World((0.03, 0.03, 0.0, 0.0), speakers=30), design, NUMBER, seed=3, **FEW)
    assert found.none[:2].mean() <= most(0.05)
    assert found.none[2:].mean() > 0.5


def test_clear_effects_cost_less_and_are_found_as_well() -> None:
    rng, world = np.random.default_rng(4), World(DEMO, margin=0.05)
    spent, same = [], []
    for _ in range(12):
        made = panels(world, 8, rng)
        stopped, whole = audit(world, Sequential(), made, 40), audit(world, fixed(8), made, 40)
        spent.append(stopped.retrainings / whole.retrainings)
        same += [a == b for a, b in zip(stopped.verdicts, whole.verdicts, strict=True)]
    assert np.mean(spent) <= 0.65
    assert np.mean(same) >= 0.95
