from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from influence.causes.graph import CausalGraph
from influence.causes.rates import design, population_averaged
from influence.causes.refutation import COMMON_CAUSE, PLACEBO, SUBSET, refute
from lineage.errors import EarmarkError
from tests.influence.causes.simulation import true_gap, utterances

GRAPH = CausalGraph.parse("noise -> accent -> errors; noise -> errors")


def test_without_dowhy_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dowhy", None)
    with pytest.raises(EarmarkError, match=r"earmark\[causal\]"):
        refute(utterances(1), GRAPH, "accent")


@pytest.mark.slow
def test_dowhy_identifies_the_same_set_recovers_the_truth_and_cannot_break_it() -> None:
    pytest.importorskip("dowhy")
    from influence.causes.refutation import identify

    assert identify(GRAPH, "accent").get_backdoor_variables() == list(GRAPH.adjustment("accent"))
    heard = utterances(3, effect=0.4)
    attacks = {r.attack: r for r in refute(heard, GRAPH, "accent", simulations=10, seed=1)}
    ours = population_averaged(heard, design(heard)).gap
    raw = (heard.errors[heard.inside].sum() / heard.words[heard.inside].sum()) - (
        heard.errors[~heard.inside].sum() / heard.words[~heard.inside].sum()
    )
    assert attacks[PLACEBO].estimate == pytest.approx(ours.value)
    assert abs(attacks[PLACEBO].estimate - true_gap(heard, 0.4)) < abs(raw - true_gap(heard, 0.4)) / 2
    assert abs(attacks[PLACEBO].attacked) < abs(ours.value) / 4
    for attack in (COMMON_CAUSE, SUBSET):
        assert attacks[attack].attacked == pytest.approx(ours.value, rel=0.1)
    told: list[tuple[int, int, str]] = []
    again = refute(heard, GRAPH, "accent", simulations=10, seed=1, progress=lambda *step: told.append(step))
    assert told == [(done, 31, "attacking") for done in range(1, 32)]
    assert [a.attacked for a in again] == [a.attacked for a in attacks.values()]
    assert all(np.isfinite(a.p) for a in again)


@pytest.mark.slow
def test_a_gap_with_nothing_to_adjust_for_is_attacked_too() -> None:
    pytest.importorskip("dowhy")
    heard = replace(utterances(3, confounded=0.0, effect=0.6), columns={})
    graph = CausalGraph.parse("accent -> errors; noise -> errors")
    attacks = {r.attack: r for r in refute(heard, graph, "accent", simulations=10)}
    assert attacks[PLACEBO].estimate == pytest.approx(population_averaged(heard, design(heard)).gap.value)
    assert abs(attacks[PLACEBO].attacked) < abs(attacks[PLACEBO].estimate) / 3
