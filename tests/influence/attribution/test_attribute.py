from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from influence.attribution import attribute as module
from influence.attribution.attribute import Attribution, attribute
from influence.attribution.methods import NAMES, method
from lineage.errors import EarmarkError, UnknownName
from lineage.ids import halves
from lineage.store import Store
from tests.influence.conftest import make_store
from tests.training.conftest import tiny_voxtral
from training.fit import TrainedModel, train
from training.recipe import Lora, Recipe

TARGETS = ["accent=north", "noise=hum", "all"]


@pytest.fixture(scope="module")
def trained(store: Store, recipe: Recipe) -> TrainedModel:
    return train(store, recipe)


@pytest.fixture(scope="module")
def found(store: Store, trained: TrainedModel) -> dict[str, Attribution]:
    return {name: attribute(store, trained.model_id, method=name, targets=TARGETS) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_every_training_sample_has_an_influence_on_every_target(
    store: Store, found: dict[str, Attribution], name: str
) -> None:
    made = found[name]
    assert made.values.shape == (36, 3)
    assert made.targets == tuple(TARGETS)
    rows = store.read("influences", where="run_id = ?", parameters=[made.run_id]).to_pylist()
    assert len(rows) == 36 * 3
    assert {r["unit"] for r in rows} == {"nats per reference word"}
    by = {(r["target"], r["sample_id"]): r["value"] for r in rows}
    assert by["all", made.ids[4].as_py()] == made.values[4, 2]
    assert np.isfinite(made.values).all()


@pytest.mark.parametrize("name", NAMES)
def test_all_samples_together_explain_at_most_the_drop(found: dict[str, Attribution], name: str) -> None:
    """The loss of the random base falls in training; what samples are credited with is of that size and sign."""
    total = found[name].values.sum(axis=0)
    assert 0 < total[2] < 10


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("changes", [{"batch_size": 5}, {"block": 7}, {"block": 36, "batch_size": 36}])
def test_neither_batch_size_nor_blocks_matter(
    store: Store, trained: TrainedModel, found: dict[str, Attribution], name: str, changes: dict[str, int]
) -> None:
    other = attribute(store, trained.model_id, method=name, targets=TARGETS, **changes)  # type: ignore[arg-type]
    scale = np.abs(found[name].values).max()
    assert np.abs(other.values - found[name].values).max() < 1e-4 * scale


def test_the_order_of_targets_does_not_matter(
    store: Store, trained: TrainedModel, found: dict[str, Attribution]
) -> None:
    turned = attribute(store, trained.model_id, method="tracin", targets=TARGETS[::-1])
    scale = np.abs(found["tracin"].values).max()
    assert np.abs(turned.values[:, ::-1] - found["tracin"].values).max() < 1e-4 * scale


def test_asking_again_reads_it_back(store: Store, trained: TrainedModel, found: dict[str, Attribution]) -> None:
    runs = len(store.runs())
    again = attribute(store, trained.model_id, method="adam_tracin", targets=TARGETS)
    assert again.reused
    assert (again.values == found["adam_tracin"].values).all()
    assert (halves(again.ids) == halves(found["adam_tracin"].ids)).all()
    assert len(store.runs()) == runs


def test_finished_units_are_not_computed_again(
    store: Store, trained: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Break off in the middle, go on: the same digits as without a break, and every unit once."""
    real, done = module.gradients, 0

    def broken(**arguments: object) -> str:
        nonlocal done
        done += 1
        if done > 2:
            raise EarmarkError("the power went")
        return real(**arguments)  # type: ignore[arg-type]

    asked = {"method": "tracin", "targets": ["accent=south"], "block": 20}
    monkeypatch.setattr(module, "gradients", broken)
    with pytest.raises(EarmarkError, match="the power went"):
        attribute(store, trained.model_id, **asked)  # type: ignore[arg-type]
    monkeypatch.undo()
    made = attribute(store, trained.model_id, **asked)  # type: ignore[arg-type]
    units = [
        r for r in store.runs()
        if r.kind == "gradients" and r.status == "completed" and r.config["targets"][0][0] == "accent=south"
    ]  # fmt: skip
    assert len(units) == len({r.key for r in units}) == 6
    whole = attribute(store, trained.model_id, method="tracin", targets=["accent=south"], block=36)
    assert np.abs(made.values - whole.values).max() < 1e-4 * np.abs(whole.values).max()


def test_what_a_method_needs_is_said(store: Store, recipe: Recipe) -> None:
    bare = train(store, recipe.variant(seed=77), checkpoints=0)
    with pytest.raises(EarmarkError, match="checkpoints: 6"):
        attribute(store, bare.model_id, method="tracin")
    assert attribute(store, bare.model_id, method="grad_dot").values.shape == (36, 1)


def test_mistakes_are_told(store: Store, trained: TrainedModel) -> None:
    with pytest.raises(UnknownName, match="adam_tracin"):
        attribute(store, trained.model_id, method="adam_trac")
    with pytest.raises(UnknownName):
        attribute(store, trained.model_id, targets=["acent=*"])
    assert attribute(store, trained.model_id, method="grad_dot", targets=[]).targets == ("all",)
    with pytest.raises(UnknownName):
        method("nothing")


def test_adapters_too(store: Store, recipe: Recipe) -> None:
    made = train(store, recipe.variant(method="lora", learning_rate=1e-2))
    found = attribute(store, made.model_id, method="adam_tracin", targets=TARGETS)
    assert np.abs(found.values).min(axis=1).max() > 0


SCRIPT = """
import sys
from influence.attribution.attribute import attribute
from influence.executors.spread import Spread
from lineage.store import Store
attribute(Store.open(sys.argv[1]), sys.argv[2], method="tracin", targets=["all"], spread=Spread(workers=2), block=2)
"""


@pytest.mark.slow
def test_a_killed_attribution_goes_on_and_repeats_nothing(recipe: Recipe, tmp_path: Path) -> None:
    store = make_store(tmp_path / "store")
    model = train(store, recipe).model_id
    command = [sys.executable, "-c", SCRIPT, str(store.root), model]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[3], start_new_session=True)
    deadline = time.monotonic() + 60
    while len(_units(store)) < 3 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.5)
    before = _units(store)
    assert 3 <= len(before) < 54
    made = attribute(store, model, method="tracin", targets=["all"], block=2)
    after = _units(store)
    assert before < after
    assert len(after) == 3 * 18
    whole = attribute(store, model, method="tracin", targets=["all"])
    assert np.abs(made.values - whole.values).max() < 1e-4 * np.abs(whole.values).max()


def _units(store: Store) -> set[str]:
    return {r.id for r in store.runs() if r.kind == "gradients" and r.status == "completed"}


def test_adapters_of_a_voxtral(store: Store, tmp_path: Path) -> None:
    recipe = Recipe(
        name="hears", family="voxtral", base=str(tiny_voxtral(tmp_path / "base")), train="train", evaluate=("test",),
        language="en", method="lora", lora=Lora(rank=2), epochs=1, batch_size=12, learning_rate=5e-3, checkpoints=1,
    )  # fmt: skip
    made = train(store, recipe)
    found = attribute(store, made.model_id, method="grad_dot", targets=["all"])
    assert found.values.shape == (36, 1)
    assert np.isfinite(found.values).all()
    assert found.values.sum() > 0  # training together lowered the loss
