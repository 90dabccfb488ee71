from __future__ import annotations

import os
from pathlib import Path

import pytest

from lineage.errors import EarmarkError
from lineage.people.policy import Policy
from lineage.selection.sets import create_set, members, resolve_set
from lineage.store import Store
from training.fit import train
from training.forecast import forecast
from training.recipe import Recipe


def everything(root: Path) -> set[tuple[str, int]]:
    return {(str(p), p.stat().st_mtime_ns) for p in root.rglob("*")} | {(str(root), os.stat(root).st_mtime_ns)}


def test_it_foretells_what_then_happens_and_writes_nothing(store: Store, recipe: Recipe) -> None:
    recipe = recipe.variant(method="lora", gradient_accumulation=2, evaluate=["test"])
    before = everything(store.root)
    told = forecast(store, recipe)
    assert everything(store.root) == before
    assert told.cost is None
    assert told.reuses is None
    made = train(store, recipe)
    run = store.resolve_run(made.run_id)
    assert run.key == told.job.key
    assert told.plan.steps == run.result["steps"]
    assert told.to_json()["exposures"] == run.result["exposures"]
    assert (told.parameters, told.trainable) == (run.result["parameters"], run.result["trainable"])
    assert not told.refused
    again = forecast(store, recipe)
    assert again.reuses is not None
    assert again.reuses.id == made.run_id
    longer = forecast(store, recipe.variant(epochs=4)).cost
    assert longer is not None
    assert longer.runs == 1
    assert longer.wall_s == longer.wall_low_s == longer.wall_high_s == pytest.approx(2 * run.wall_s)
    assert forecast(store, recipe.variant(method="full", lora=None)).cost is None


def test_it_tells_of_refusals(store: Store, recipe: Recipe) -> None:
    with store.run("set") as run:
        create_set(run, members(store, resolve_set(store, "train").digest)[:2], name="two of it")
    told = forecast(store, recipe.variant(evaluate=["two of it"]))
    assert told.leaks.to_json()["leaks"][0]["tested"] == 2
    assert told.refused
    policy = Policy(name="strict", minimum_speakers={"all": 40})
    assert forecast(store, recipe, policy=policy).refused
    assert not forecast(store, recipe).refused
    with pytest.raises(EarmarkError, match="there is no base at"):
        forecast(store, recipe.variant(base="/nowhere"))
