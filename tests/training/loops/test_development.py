from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lineage.errors import EarmarkError, UnknownName
from lineage.selection.sets import create_set, members, resolve_set
from lineage.store import Store
from training.evaluation.predict import predict
from training.fit import train
from training.loops import development
from training.loops.development import Measured
from training.recipe import Recipe


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """WERs that are measured one after the other, whatever the model."""
    rates: list[float] = []
    queue = iter(rates)

    def measure(self: development.Development, model: object, step: int) -> Measured:
        return Measured(step, next(queue), 1.0, 1, 10)

    monkeypatch.setattr(development.Development, "measure", measure)
    return rates


def test_measuring_changes_no_weights(store: Store, recipe: Recipe) -> None:
    watched = train(store, recipe.variant(development="test", evaluate_every=3))
    assert watched.model_id == train(store, recipe).model_id
    found = store.resolve_run(watched.run_id).result["development"]
    assert [m["step"] for m in found["curve"]] == [3, 6, 9, 10]
    assert found["set"] == resolve_set(store, "test").digest
    assert found["kept"] == found["curve"][-1]
    assert not found["stopped"]


def test_the_curve_is_what_evaluation_finds(store: Store, recipe: Recipe) -> None:
    made = train(store, recipe.variant(development="test", learning_rate=2e-2, dropout=0.0))
    last = store.resolve_run(made.run_id).result["development"]["curve"][-1]
    found = predict(store, made.model_id, "test")
    table = found.table
    errors = sum(sum(table[f].to_pylist()) for f in ("substitutions", "deletions", "insertions"))
    assert (last["errors"], last["words"]) == (errors, sum(table["words"].to_pylist()))
    assert last["wer"] == pytest.approx(errors / last["words"])
    assert last["loss"] == pytest.approx(sum(table["loss"].to_pylist()) / last["words"], rel=1e-4)


def test_the_best_weights_are_those_of_a_run_that_ends_there(
    store: Store, recipe: Recipe, scripted: list[float]
) -> None:
    """With a constant rate, stopping after an epoch and keeping that epoch are the same."""
    recipe = recipe.variant(schedule="constant", warmup=0, epochs=4)
    scripted += [0.9, 0.5, 0.5, 0.7]
    best = train(store, recipe.variant(development="test", keep="best"))
    run = store.resolve_run(best.run_id)
    assert run.result["development"]["kept"]["step"] == 10  # the earlier of two that are as good
    assert run.result["steps"] == 20
    assert best.model_id == train(store, recipe.variant(epochs=2)).model_id
    steps = store.read("exposures", ["max(step) AS last"], "run_id = ?", [run.id])["last"].to_pylist()
    assert steps == [19]  # what came after is on record all the same


@pytest.mark.parametrize("keep", ["last", "best"])
def test_patience_ends_a_run(store: Store, recipe: Recipe, scripted: list[float], keep: str) -> None:
    scripted += [0.9, 0.5, 0.6, 0.5, 0.1]
    made = train(store, recipe.variant(epochs=5, development="test", patience=2, keep=keep, seed=3))
    run = store.resolve_run(made.run_id)
    assert run.result["development"]["stopped"]
    assert [m["wer"] for m in run.result["development"]["curve"]] == [0.9, 0.5, 0.6, 0.5]
    assert (run.result["steps"], run.result["planned"]["steps"], run.result["exposures"]) == (20, 25, 4 * 24)
    assert run.result["development"]["kept"]["step"] == (10 if keep == "best" else 20)


@pytest.mark.parametrize("keep", ["last", "best"])
def test_a_run_that_had_stopped_when_it_was_killed_stays_stopped(
    store: Store, recipe: Recipe, scripted: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: str
) -> None:
    shutil.copytree(store.root, tmp_path / "copy")
    copy = Store.open(tmp_path / "copy")
    recipe = recipe.variant(epochs=4, development="test", patience=1, keep=keep, seed=4, save_steps=1)
    scripted += [0.5, 0.6] * 2
    whole = train(store, recipe)
    with monkeypatch.context() as patched, pytest.raises(OSError, match="gone"):
        patched.setattr("training.fit.record_model", fail)
        train(copy, recipe)
    again = train(copy, recipe)
    assert again.model_id == whole.model_id
    run = copy.resolve_run(again.run_id)
    assert run.result["resumed"][-1]["step"] == run.result["steps"] == 10
    assert run.result["development"] == store.resolve_run(whole.run_id).result["development"]


def fail(*args: object, **kwargs: object) -> None:
    raise OSError("gone")


def test_development_on_what_is_trained_on_is_refused_on_record(store: Store, recipe: Recipe) -> None:
    ids = members(store, resolve_set(store, "train").digest)
    mixed = [*ids.to_pylist()[:3], *members(store, resolve_set(store, "test").digest).to_pylist()]
    with store.run("set") as run:
        create_set(run, ids, name="the same")
        create_set(run, mixed, name="mixed")
    with pytest.raises(UnknownName, match="no set 'dev'"):
        train(store, recipe.variant(development="dev", seed=6))
    with pytest.raises(EarmarkError, match="'development' the same is the training set"):
        train(store, recipe.variant(development="the same", seed=6))
    for field in ("development", "evaluate"):
        with pytest.raises(EarmarkError, match=r"audio leakage: 3 of 19 samples of evaluation set"):
            train(store, recipe.variant(**{field: "mixed"}, seed=6))
        assert store.runs()[-1].status == "failed"
