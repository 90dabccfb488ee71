"""The queue: gradients may say what begins first, and nothing else."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from influence.attribution.attribute import attribute
from influence.audit import run
from influence.plans.plan import freeze, sketch
from influence.plans.planfile import AuditPlan
from influence.plans.queue import promised
from influence.plans.request import request
from lineage.store import Store
from tests.influence.conftest import make_store
from training.fit import train
from training.recipe import Recipe

SLICES = ["accent=south", "accent=west"]


@pytest.fixture(scope="module")
def plan(recipe: Recipe) -> dict[str, Any]:
    short = recipe.variant(epochs=1, checkpoints=1).model_dump(mode="json", exclude_defaults=True)
    return {
        "recipe": short, "slices": SLICES, "seeds": 2, "controls": {"number": 0}, "statistics": {"replicates": 50},
    }  # fmt: skip


@pytest.mark.slow
def test_the_largest_effects_foretold_begin_first_and_change_nothing(plan: dict[str, Any], tmp_path: Path) -> None:
    stores = [make_store(tmp_path / "declared"), tmp_path / "gradients"]
    shutil.copytree(stores[0].root, stores[1])
    declared, gradients = stores[0], Store.open(stores[1])
    model = train(gradients, AuditPlan.parse(plan).recipe).model_id
    values = attribute(gradients, model, method="grad_dot", targets=["all", "noise=hum"])
    asked = AuditPlan.parse({**plan, "order": "gradients"})

    drawn = freeze(gradients, request(gradients, asked))
    found = promised(gradients, drawn)
    by_slice = {
        row["name"]: row["effect"]
        for row in gradients.sql(
            """SELECT name, max(abs(effect)) AS effect FROM (
                SELECT 'accent=' || s.accent AS name, target, sum(value) AS effect
                FROM influences i JOIN samples s USING (sample_id) WHERE i.run_id = ? GROUP BY ALL) GROUP BY name""",
            [values.run_id],
        ).to_pylist()
    }
    cases = {c.slice: found[c.row] for c in drawn.comparisons}
    assert cases == pytest.approx({name: by_slice[name] for name in SLICES})
    assert found[0] == max(found) > 0

    first = run(declared, AuditPlan.parse(plan))
    second = run(gradients, asked)
    assert second.audit == first.audit
    assert second.effects == first.effects
    largest_first = sorted(cases, key=lambda name: -cases[name])
    assert largest_first != SLICES
    assert _begun(declared, first.plan_run, cases) == SLICES
    assert _begun(gradients, second.plan_run, cases) == largest_first


def _begun(store: Store, plan_run: str, names: dict[str, float]) -> list[str]:
    """The slices left out, in the order in which that began."""
    sets = {s["set_digest"]: s["name"] for s in store.resolve_run(plan_run).result["train"]}
    runs = sorted((r for r in store.runs() if plan_run in r.parents and r.kind == "train"), key=lambda r: r.started)
    left_out = [sets[d] for r in runs for d in r.config["weights"]]
    assert left_out[::2] == left_out[1::2]  # both seeds, one after the other
    return left_out[::2]


def test_without_influences_on_record_the_declared_order_stands(
    store: Store, plan: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    other = {**plan, "train": "test", "evaluate": "train"}  # nobody attributes that
    drawn = sketch(store, request(store, AuditPlan.parse(other)))
    with caplog.at_level(logging.WARNING, "earmark"):
        assert set(promised(store, drawn)) == {0.0}
    assert "earmark attribute MODEL" in caplog.text
