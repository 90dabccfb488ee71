"""When a plan fails on its causal graph: gaps of simulated, confounded data, attacked for real."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from influence.causes.compared import GapReport
from influence.causes.gap import judge
from influence.causes.graph import CausalGraph
from influence.causes.refutation import PLACEBO, SUBSET, Refutation, refute
from influence.causes.utterances import Utterances
from influence.plans.checks import met
from lineage.errors import EarmarkError
from tests.influence.causes.simulation import utterances

GRAPH = CausalGraph.parse("noise -> accent -> errors; noise -> errors")


def attacked(heard: Utterances, simulations: int = 10) -> GapReport:
    attacks = refute(heard, GRAPH, "accent", simulations=simulations, seed=0)
    return told(heard, attacks)


def told(heard: Utterances, attacks: tuple[Refutation, ...] = ()) -> GapReport:
    found = judge(heard, "accent=scot", replicates=50, claimed=True)
    return GapReport("", found, attacks, ("model",), (found.raw.value,))


def failed(*gaps: GapReport | None) -> tuple[str, ...]:
    return met(["failures", "causes"], (), (), (), {}, gaps)


@pytest.mark.slow
def test_it_is_met_by_a_gap_that_falls_whatever_stands_beside_it() -> None:
    pytest.importorskip("dowhy")
    heard = utterances(0, effect=0.4)
    stands, falls = attacked(heard), attacked(heard, simulations=2)  # of two draws no attack can tell
    assert [r.attack for r in stands.refutations if not r.stands] == []
    assert [r.attack for r in falls.refutations if not r.stands] == [PLACEBO, SUBSET]
    assert (failed(stands), failed(falls), failed(stands, falls)) == ((), ("causes",), ("causes",))
    assert met(["failures"], (), (), (), {}, [falls]) == ()


def test_it_is_met_by_a_gap_that_cannot_be_told() -> None:
    heard = utterances(1)
    apart = replace(heard, columns={"device": np.where(heard.inside, "phone", "studio").astype(object)})
    with pytest.raises(EarmarkError, match="no overlap"):
        judge(apart, "accent=scot", claimed=True)
    assert failed(None) == ("causes",)
    lonely = replace(heard, inside=heard.speakers == 0)
    one = told(lonely)
    assert one.gaps.adjusted is not None
    assert np.isnan(one.gaps.adjusted.gap.low)
    assert failed(one) == ("causes",)


def test_without_gaps_it_is_not_met() -> None:
    assert failed() == ()
    assert failed(told(utterances(2, effect=0.4))) == ()
