"""A plan with a causal graph: registered first, its effects told with the audit, whatever becomes of the process between."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from influence.audit import AuditReport, run
from influence.causes.claims import claims_of
from influence.causes.compared import plain, read_back
from influence.causes.graph import CausalGraph
from influence.causes.refutation import COMMON_CAUSE, PLACEBO, SUBSET
from influence.plans.planfile import AuditPlan
from influence.plans.request import request
from influence.report.causes import line
from influence.report.page import page
from influence.report.record import read
from lineage.errors import EarmarkError
from lineage.selection.slices import WHOLE, Slice
from lineage.store import Store
from tests.influence.conftest import make_store
from training.recipe import Recipe

GRAPH = "duration_s -> noise -> errors; duration_s -> errors; accent -> errors"
LOOKED_AT = ["noise=hum", "accent=north", "loud: noise = 'hum'"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("claims") / "store")


def plan_of(recipe: Recipe, **fields: Any) -> AuditPlan:
    short = recipe.variant(epochs=1, checkpoints=0).model_dump(mode="json", exclude_defaults=True)
    plain_plan = {
        "name": "why", "recipe": short, "slices": ["noise=hum"], "look_at": LOOKED_AT, "seeds": 2,
        "controls": {"number": 0}, "statistics": {"replicates": 50}, "causes": GRAPH,
    }  # fmt: skip
    return AuditPlan.parse({**plain_plan, **fields})


@pytest.fixture(scope="module")
def done(kept: Store, recipe: Recipe) -> AuditReport:
    return run(kept, plan_of(recipe))


def test_each_slice_that_the_graph_is_about_is_judged(done: AuditReport) -> None:
    found = {j.slice: j.report for j in done.causes}
    assert list(found) == ["noise=hum", "accent=north"]
    noise, accent = found["noise=hum"], found["accent=north"]
    assert noise is not None
    assert accent is not None
    assert (noise.gaps.adjusted_for, accent.gaps.adjusted_for) == (("duration_s",), ())
    assert accent.gaps.adjusted is not None  # nothing has to be made equal, which is an answer, too
    assert accent.gaps.adjusted.gap.value == pytest.approx(accent.gaps.raw.value, abs=0.05)
    assert noise.models == accent.models
    assert len(set(noise.models)) == 2  # one a seed
    for report in (noise, accent):
        assert [r.attack for r in report.refutations] == [PLACEBO, COMMON_CAUSE, SUBSET]
        assert report.gaps.adjusted is not None
        assert [r.estimate for r in report.refutations] == pytest.approx([report.gaps.adjusted.gap.value] * 3)


def test_of_how_many_models_a_gap_is_stands_in_the_report(done: AuditReport, kept: Store) -> None:
    said = "mean of 2 models, alike but for their seeds"
    assert line(done.causes[0]).startswith(f"gap of noise=hum, {said}: raw ")
    assert f"hollow: raw; {said}." in page(read(kept, done.audit))


def test_the_graph_is_in_the_log_before_anything_is_trained(done: AuditReport, kept: Store) -> None:
    registered = kept.resolve_run(done.plan_run)
    assert CausalGraph.parse(registered.config["causes"]) == CausalGraph.parse(GRAPH)
    place = {e.run: e.position for e in kept.log.entries()}
    later = [r for r in kept.runs() if r.kind in ("train", "evaluate", "gap", "ablate")]
    assert len(later) > 5
    assert all(place[done.plan_run] < place[r.id] for r in later)


def test_gaps_are_answered_from_the_record(done: AuditReport, kept: Store, recipe: Recipe) -> None:
    before = len(kept.runs())
    again = run(kept, plan_of(recipe))
    assert (again.reused, len(kept.runs())) == (True, before)
    for one, other in zip(done.causes, again.causes, strict=True):
        assert one.report is not None
        assert other.report is not None
        assert plain(one.report) == plain(other.report)
        assert read_back(kept.resolve_run(one.report.run_id)) == other.report


def test_a_killed_audit_repeats_no_gap(done: AuditReport, kept: Store, recipe: Recipe) -> None:
    """Another budget makes another plan, whose retrainings and gaps are all on record."""
    other = run(kept, plan_of(recipe, budget={"retrainings": 50}, amends=done.audit))
    assert (other.reused, other.trained) == (False, 0)
    assert [j.report for j in other.causes] == [j.report for j in done.causes]


def test_another_graph_is_another_plan_and_layout_is_not(kept: Store, recipe: Recipe) -> None:
    digests = [
        request(kept, plan_of(recipe, causes=graph)).digest
        for graph in (GRAPH, {"edges": sorted(GRAPH.split("; "))}, GRAPH + "; duration_s -> accent", None)
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.usefixtures("done")
def test_a_graph_cannot_be_drawn_afterwards(kept: Store, recipe: Recipe) -> None:
    with pytest.raises(EarmarkError, match=r"causes cannot be chosen afterwards.*amends: [0-9a-f]{12}"):
        run(kept, plan_of(recipe, causes=GRAPH + "; duration_s -> accent"))


def test_what_cannot_be_told_is_said_in_its_place(kept: Store, recipe: Recipe, done: AuditReport) -> None:
    """Every clip has its own take, so nobody else was heard in the slice's."""
    graph = "take -> noise -> errors; take -> errors"
    told = run(kept, plan_of(recipe, causes=graph, fail_on=["causes"], amends=done.audit))
    assert [(j.slice, j.report) for j in told.causes] == [("noise=hum", None)]
    assert told.causes[0].error.startswith("no overlap")
    assert (told.failed, told.status) == (("causes",), 1)
    assert read(kept, told.audit).failed == ("causes",)


def test_the_status_is_that_of_the_gaps(kept: Store, recipe: Recipe, done: AuditReport) -> None:
    asked = run(kept, plan_of(recipe, fail_on=["causes"], amends=done.audit))
    assert [j.report for j in asked.causes] == [j.report for j in done.causes]
    stand = all(j.report is not None and j.report.stands for j in done.causes)
    assert asked.status == (0 if stand else 1)
    assert read(kept, asked.audit).failed == asked.failed


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        ("nose -> noise -> errors", "'nose', which is no column of samples — did you mean 'noise'"),
        ("zzz -> errors", "'zzz'.*ingest it, or list it as unobserved"),
        ({"edges": "home -> noise -> errors; home -> errors", "unobserved": ["home"]}, "back door stays open"),
        ("duration_s -> errors", "look at slices of duration_s, such as duration_s=*"),
        ({"edges": "home -> errors", "unobserved": ["home"]}, "nothing that is observed acts on errors"),
        ("noise -> errors -> noise", "the plan: causes: a circle"),
        (17, "the plan: causes"),
    ],
)
def test_mistakes_are_told_before_anything_is_recorded(kept: Store, recipe: Recipe, graph: Any, said: str) -> None:
    before = len(kept.runs())
    with pytest.raises(EarmarkError, match=said) as caught:
        run(kept, plan_of(recipe, causes=graph))
    assert "\n" not in str(caught.value)
    assert len(kept.runs()) == before


def test_without_dowhy_nothing_begins(kept: Store, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dowhy", None)
    before = len(kept.runs())
    with pytest.raises(EarmarkError, match=r"pip install 'earmark\[causal\]'"):
        run(kept, plan_of(recipe, seeds=3))
    assert len(kept.runs()) == before


def test_a_name_is_no_claim(kept: Store) -> None:
    """A slice that is called like a value and is cut by something else is not what the graph is about."""
    graph = CausalGraph.parse("noise -> errors")
    posing = Slice("noise=hum", "duration_s > 0.1")
    honest = Slice.parse("noise=hum")
    assert [c.slice for c in claims_of(kept, graph, [WHOLE, posing, honest])] == [honest]
