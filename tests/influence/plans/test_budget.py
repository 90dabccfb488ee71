"""Budgets: what does not fit is refused before it begins, or not begun; whatever was paid for counts in full."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from influence.audit import run
from influence.plans.budget import HOUR, Purse
from influence.plans.outlook import outlook
from influence.plans.plan import freeze
from influence.plans.planfile import AuditPlan, Budget
from influence.plans.request import request
from lineage.errors import EarmarkError
from lineage.store import Store
from tests.influence.conftest import make_store
from training.fit import train
from training.recipe import Recipe

CLAIM = "removing accent=north raises WER on all by more than 0 points"


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("budget") / "store")


@pytest.fixture(scope="module")
def fields(recipe: Recipe) -> dict[str, Any]:
    """Two looks at one slice that is never settled: 2 × 2 retrainings, then one more of each."""
    short = recipe.variant(epochs=1, checkpoints=0).model_dump(mode="json", exclude_defaults=True)
    looks = {
        "sequential": {"looks": [2, 3], "metric": "loss", "futility": 0},
        "margins": {"loss": 1e-9},
        "replicates": 50,
    }
    return {
        "name": "accents", "recipe": short, "slices": ["accent=north"], "controls": {"number": 0}, "statistics": looks,
        "hypotheses": [CLAIM],
    }  # fmt: skip


def test_a_budget_in_hours_refuses_what_it_foresees(fresh: Store, fields: dict[str, Any]) -> None:
    plan = AuditPlan.parse({**fields, "budget": {"hours": 1e-6}})
    with pytest.raises(EarmarkError, match=r"nobody knows how many hours.* — train its recipe once") as told:
        run(fresh, plan)
    assert "(earmark train RECIPE; the plan uses that training)" in str(told.value)
    assert "budget: {retrainings: 4} is what it needs first" in str(told.value)
    trained = train(fresh, plan.recipe)
    runs = sum(r.kind == "train" for r in fresh.runs())
    with pytest.raises(EarmarkError, match=r"the plan needs about .* hours of work more, its budget has 1e-06"):
        run(fresh, plan)
    assert sum(r.kind == "train" for r in fresh.runs()) == runs
    count = AuditPlan.parse({**fields, "budget": {"retrainings": 3}})  # the fourth is the one that was trained
    done = run(fresh, count)
    assert (done.retrainings, done.trained) == (4, 3)
    assert trained.run_id in fresh.resolve_run(done.run_id).parents


def test_a_look_that_does_not_fit_is_not_begun_and_the_report_says_so(fresh: Store, fields: dict[str, Any]) -> None:
    with pytest.raises(EarmarkError, match="needs 4 retrainings more, its budget has 3"):
        run(fresh, AuditPlan.parse({**fields, "budget": {"retrainings": 3}}))
    found = run(fresh, AuditPlan.parse({**fields, "budget": {"retrainings": 5}}))
    assert (found.retrainings, found.planned, found.trained) == (4, 6, 4)
    assert found.stopped == "the look after 3 seeds needs 2 retrainings more, its budget has 1"
    assert all(e.seeds == 2 for e in found.effects)
    assert all(found.stopped in e.reason for e in found.effects if e.verdict == "not identifiable")
    assert any(e.verdict == "not identifiable" for e in found.effects)
    (claim,) = found.hypotheses
    assert claim.reason.endswith(found.stopped) == (claim.verdict == "not identifiable")
    again = run(fresh, AuditPlan.parse({**fields, "budget": {"retrainings": 5}}))
    assert (again.reused, again.stopped, again.effects) == (True, found.stopped, found.effects)
    # a verdict of the first look is what it is without a budget
    whole = run(fresh, AuditPlan.parse({**fields, "hypotheses": [], "amends": found.audit}))
    assert (whole.retrainings, whole.trained, whole.stopped) == (6, 2, "")


def test_time_spent_decides_and_a_resumed_audit_decides_as_it_had(fresh: Store, fields: dict[str, Any]) -> None:
    asked = request(fresh, AuditPlan.parse({**fields, "hypotheses": []}))
    done = run(fresh, AuditPlan.parse({**fields, "hypotheses": []}))
    plan = freeze(fresh, asked)
    first, second = [0, 1, 3, 4], [2, 5]
    assert (done.trained, done.plan_run) == (6, plan.run_id)

    def lack(before: list[int], wanted: list[int], **most: Any) -> str:
        return Purse(fresh, replace(plan, request=replace(asked, budget=Budget(**most)))).lacks(before, wanted)

    spent = _spent(fresh, plan.run_id, 2)
    needed = 1.5 * spent / HOUR  # of all three seeds, at what those two took
    assert not lack(first, second, hours=needed * 1.0001)
    assert "hours of work more" in lack(first, second, hours=needed * 0.9999)
    assert not lack([], first, hours=1e-9)  # it had begun
    assert not lack(first, second, retrainings=6)
    assert lack(first, second, retrainings=5)
    other = freeze(fresh, request(fresh, AuditPlan.parse({**fields, "hypotheses": [], "statistics": {}})))
    poor = replace(other, request=replace(other.request, budget=Budget(retrainings=1, hours=1e-9)))
    assert not Purse(fresh, poor).lacks([], list(range(6)))  # others have paid for it
    expected = outlook(fresh, plan)
    assert (expected.missing, expected.seconds(), expected.cpu_s) == (0, 0, 0)
    assert expected.evaluation_s > 0


def _spent(store: Store, plan: str, seeds: int) -> float:
    """Seconds of a plan's retrainings with the first seeds."""
    rows = store.sql(
        """SELECT sum(r.wall_s) AS seconds FROM runs r LEFT JOIN runs t ON list_contains(r.parents, t.run_id)
        WHERE (r.kind = 'train' AND r.seed < ? AND list_contains(r.parents, ?))
           OR (r.kind = 'evaluate' AND t.kind = 'train' AND t.seed < ? AND list_contains(t.parents, ?))""",
        [seeds, plan, seeds, plan],
    )
    return float(rows["seconds"][0].as_py())
