from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from lineage.errors import EarmarkError
from lineage.machine import environment
from lineage.machine.environment import locked
from lineage.people.erase import erase
from lineage.people.policy import Policy, PolicyRefused
from lineage.people.reach import sample
from lineage.proof.verifier import verify
from lineage.selection.sets import SampleSet, create_set, members, resolve_set
from lineage.store import Store
from tests.training.conftest import tiny_voxtral
from tests.training.families.ctc_bases import KINDS as CTC
from tests.training.families.ctc_bases import tiny_ctc
from training.families.base import find_base
from training.fit import train
from training.forecast import forecast
from training.models import recorded as models
from training.recipe import Recipe
from training.replay import replay, replayed
from training.replays import differences

ALONE = """
import json, sys
from lineage.store import Store
from training.replay import replay
found = [replay(Store.open(sys.argv[1]), run).to_json() for run in sys.argv[2:]]
print(json.dumps(found))
"""
KINDS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora", "augment": [{"transform": "noise", "others": "hum", "parameters": {"snr_db": [0, 20]}}]},
    "full": {
        "development": "test", "patience": 2, "keep": "best", "evaluate_every": 2, "epochs": 2, "checkpoints": 1,
        "spec_augment": {"time_width": 5},
    },
}  # fmt: skip


@pytest.fixture
def fresh(store: Store, tmp_path: Path) -> Store:
    """A store of its own."""
    shutil.copytree(store.root, tmp_path / "store")
    return Store.open(tmp_path / "store")


def kinds(store: Store, run_id: str) -> list[str]:
    return [r.kind for r in store.runs() if run_id in r.parents]


def test_in_another_process_from_the_record_alone_it_is_identical(
    fresh: Store, recipe: Recipe, base: Path, tmp_path: Path, populate: Callable[..., SampleSet]
) -> None:
    populate(fresh, "hum", 4, seed=9)
    mine = tmp_path / "mine"
    shutil.copytree(base, mine)
    recipe = recipe.variant(base=str(mine), epochs=1, evaluate=["test"])
    with fresh.run("slice") as run:
        half = create_set(run, members(fresh, resolve_set(fresh, "train").digest).take(list(range(6))), name="left")
    made = []
    for fields in KINDS.values():
        r = recipe.variant(**{**fields, "evaluate": [] if "development" in fields else ["test"]})
        made.append(train(fresh, r, weights={half.digest: 0.0}))
    for name in ("train", "test", "hum", "left"):  # the names mean other sets by now, and the base is gone
        with fresh.run("set") as run:
            create_set(run, members(fresh, half.digest).take([0, 1]), name=name)
    shutil.rmtree(mine)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(fresh.root), *(m.run_id for m in made)],
        env={**os.environ, "PYTHONHASHSEED": "5", "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert [(f["verdict"], f["model_id"], f["differences"]) for f in found] == [
        ("identical", m.model_id, []) for m in made
    ]
    for m, f in zip(made, found, strict=True):
        again, verdict = fresh.resolve_run(f["retraining"]), fresh.resolve_run(f["run_id"])
        assert again.result["losses"] == fresh.resolve_run(m.run_id).result["losses"]
        assert again.config["experiment"] == fresh.resolve_run(m.run_id).config["experiment"]
        assert again.config["depends"] == fresh.resolve_run(m.run_id).config["depends"]
        assert (verdict.kind, verdict.parents) == ("replay", [m.run_id, again.id])
        assert fresh.read("models", where="model_id = ?", parameters=[m.model_id]).num_rows == 1
        told = replayed(fresh, m.model_id)
        assert told is not None
        assert told.identical
        assert json.loads(json.dumps(told.to_json())) == f
    assert verify(fresh.root).ok


def test_it_really_trains_each_time(fresh: Store, recipe: Recipe) -> None:
    made = train(fresh, recipe)
    assert replayed(fresh, made.model_id) is None
    first, second = replay(fresh, made.run_id), replay(fresh, made.model_id[:12])
    assert first.identical
    assert second.identical
    assert len({made.run_id, first.retraining, second.retraining}) == 3
    assert kinds(fresh, made.run_id) == ["train", "replay", "train", "replay"]
    assert train(fresh, recipe).run_id == made.run_id  # a replay is nobody's result
    assert forecast(fresh, recipe).reuses.id == made.run_id  # type: ignore[union-attr]
    assert differences(fresh, made.run_id) == []
    assert replayed(fresh, made.model_id) == second


@pytest.mark.parametrize("family", ["ctc", "voxtral"])
def test_every_family_is_replayed(fresh: Store, tmp_path: Path, family: str) -> None:
    base = tiny_ctc(tmp_path / "base", next(iter(CTC))) if family == "ctc" else tiny_voxtral(tmp_path / "base")
    spoken = {} if family == "ctc" else {"language": "en", "method": "lora"}
    made = train(
        fresh,
        Recipe(name=family, family=family, base=str(base), train="test", epochs=1, learning_rate=1e-3, **spoken),  # type: ignore[arg-type]
    )
    assert replay(fresh, made.run_id).identical


def test_other_threads_are_named_alone(fresh: Store, recipe: Recipe) -> None:
    made = train(fresh, recipe)
    found = replay(fresh, made.run_id, threads=2)
    assert [(d.kind, d.name, d.then, d.now) for d in found.differences] == [("threads", "threads", 1, 2)]
    assert str(found.differences[0]) == "threads: 2 instead of 1"
    assert found.identical == (found.replayed == made.model_id)
    assert replayed(fresh, made.model_id) is None  # it was no replay of the run as it was


def test_a_changed_base_that_is_not_kept_is_named_alone(
    fresh: Store, recipe: Recipe, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(base, mine)
    recipe = recipe.variant(base=str(mine), evaluate=["test"], epochs=1)
    monkeypatch.setattr(models, "KEPT_BASE", 0)
    made = train(fresh, recipe)
    tensors = load_file(mine / "model.safetensors")
    save_file({name: t * 1.5 for name, t in tensors.items()}, mine / "model.safetensors", {"format": "pt"})
    find_base.cache_clear()
    found = replay(fresh, made.run_id)
    assert found.verdict == "different"
    assert [(d.kind, d.name) for d in found.differences] == [("base", "base")]
    assert found.weights is not None
    assert 0.3 < found.weights.relative < 0.7
    assert found.weights.moved <= found.weights.tensors
    (moved,) = found.wer
    assert moved.set_name == "test"
    assert moved.difference == pytest.approx(moved.replayed - moved.recorded)  # type: ignore[operator]
    assert moved.speakers == 4
    assert moved.low is not None
    other = models.resolve_model(fresh, found.replayed or "")
    assert other.name == "replay of tiny"
    assert models.resolve_model(fresh, "tiny").model_id == made.model_id
    consumed = fresh.sql("SELECT count(*) AS n FROM exposures WHERE run_id = ?", [found.retraining])
    assert consumed["n"].to_pylist() == [24]
    shutil.rmtree(mine)
    find_base.cache_clear()
    gone = replay(fresh, made.run_id)
    assert (gone.verdict, gone.retraining) == ("impossible", None)
    assert gone.reason == "its base is neither where it was nor in the store"


def test_another_package_is_named_alone(fresh: Store, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    real = environment.lock()
    then = real.replace(f"numpy=={locked(real)['numpy']}\n", "numpy==1.0\n") + "zipper==3.0\n"
    with monkeypatch.context() as patched:
        patched.setattr(environment, "lock", lambda: then)
        patched.setattr("training.fit.lock", lambda: then)
        made = train(fresh, recipe)
    found = replay(fresh, made.run_id)
    assert found.identical
    assert [(d.kind, d.name, d.then, d.now) for d in found.differences] == [
        ("environment", "numpy", "1.0", locked(real)["numpy"]),
        ("environment", "zipper", "3.0", None),
    ]


def test_what_was_erased_cannot_be_replayed(fresh: Store, recipe: Recipe) -> None:
    made = train(fresh, recipe.variant(development="test"))
    ids = members(fresh, resolve_set(fresh, "test").digest).to_pylist()
    erase(fresh, sample(fresh, str(ids[0])))
    runs = len(fresh.runs())
    found = replay(fresh, made.run_id)
    assert (found.verdict, found.reason, found.retraining) == ("impossible", "1 sample was erased", None)
    assert len(fresh.runs()) == runs + 1
    told = replayed(fresh, made.model_id)
    assert told is not None
    assert not told.identical


def test_what_is_no_training_by_a_recipe_is_refused(fresh: Store, recipe: Recipe) -> None:
    with fresh.run("train", job="a script"):
        pass
    script = fresh.runs()[-1].id
    with pytest.raises(EarmarkError, match="was a script of its own"):
        replay(fresh, script)
    with pytest.raises(EarmarkError, match=r"is of kind 'ingest' — name a training run"):
        replay(fresh, fresh.runs()[0].id)
    with pytest.raises(EarmarkError, match="there is no base at"):
        train(fresh, recipe.variant(base="/nowhere"))
    with pytest.raises(EarmarkError, match="is failed, so there is nothing"):
        replay(fresh, fresh.runs()[-1].id)


def test_a_policy_holds_for_replays(fresh: Store, recipe: Recipe) -> None:
    made = train(fresh, recipe)
    with pytest.raises(PolicyRefused):
        replay(fresh, made.run_id, policy=Policy(name="strict", minimum_speakers={"all": 40}))
    assert replayed(fresh, made.model_id) is None
