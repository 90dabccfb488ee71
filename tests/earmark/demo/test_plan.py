"""The demo's plan can be held to account: it is to fail where a control of its own does."""

from __future__ import annotations

from earmark.demo.corpus import CORPUS_ACCENTS, NOISES, NULL_ACCENT
from earmark.demo.job import plan
from influence.statistics.set_luck import ENOUGH
from lineage.selection.slices import Slice


def test_the_plan_checks_itself() -> None:
    asked = plan()
    assert asked.null == (f"accent={NULL_ACCENT}",)
    assert asked.planted is not None
    assert {"power", "null"} <= set(asked.fail_on)
    assert 0 < asked.controls.number < ENOUGH


def test_it_asks_about_every_accent_and_noise_of_the_corpus() -> None:
    every, *noises = (Slice.parse(str(s)) for s in plan().slices)
    assert every.name == "accent=*"
    assert {s.name for s in noises} == {f"noise={noise}" for noise in NOISES}
    assert len(CORPUS_ACCENTS) >= 6
