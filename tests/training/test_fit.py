from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lineage.errors import EarmarkError, UnknownName
from lineage.leakage import LeakageRefused
from lineage.people.policy import Policy
from lineage.selection.sets import create_set, members, resolve_set
from lineage.store import Store
from training.fit import train
from training.models.weights import weights_digest
from training.recipe import Recipe
from training.replays import differences, other_seeds

ALONE = """
import json, sys
from lineage.store import Store
from training.fit import train
from training.recipe import Recipe
recipes = [Recipe.parse(fields) for fields in json.loads(sys.argv[2])]
made = [train(Store.open(sys.argv[1]), recipe) for recipe in recipes]
print(json.dumps([[m.model_id, m.reused] for m in made]))
"""


def test_the_same_recipe_gives_the_same_weights_in_another_process(
    store: Store, recipe: Recipe, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(store.root, copy)  # before training, so that nothing can be reused
    recipes = [recipe, recipe.variant(method="lora"), recipe]
    here = [train(store, r).model_id for r in recipes]
    given = json.dumps([r.model_dump(mode="json") for r in recipes])
    environment = {**os.environ, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "2"}  # the recipe's threads win
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(copy), given],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    there = json.loads(done.stdout.splitlines()[-1])
    assert there == [[here[0], False], [here[1], False], [here[2], True]]


def test_a_run_is_never_done_twice(store: Store, recipe: Recipe) -> None:
    first = train(store, recipe)
    runs = len(store.runs())
    again = train(store, recipe.variant(name="another name", evaluate=["test"]))
    assert again.reused
    assert again.name == first.name == "tiny"
    assert (again.model_id, again.run_id) == (first.model_id, first.run_id)
    assert train(store, recipe, weights={resolve_set(store, "train").digest: 1.0}).reused  # ones are no weights
    assert len(store.runs()) == runs


def test_the_record_of_a_run(store: Store, recipe: Recipe) -> None:
    made = train(store, recipe.variant(seed=5, name="noted"))
    run = store.resolve_run(made.run_id)
    data = resolve_set(store, "train")
    assert (run.kind, run.job, run.status, run.seed, run.threads) == ("train", "noted", "completed", 5, 1)
    assert run.inputs[0] == data.digest
    assert made.model_id in run.outputs
    assert run.wall_s > 0
    assert run.cpu_s > 0
    assert run.result["exposures"] == 2 * 24
    assert len(run.result["losses"]) == 2
    (row,) = store.read("models", where="run_id = ?", parameters=[run.id]).to_pylist()
    assert (row["model_id"], row["set_digest"], row["family"], row["seed"]) == (
        made.model_id,
        data.digest,
        "whisper",
        5,
    )
    assert row["trainable"] == row["parameters"] - 20 * 32  # Whisper's encoder positions are fixed
    assert weights_digest(made.path) == made.model_id
    assert store.sql("SELECT count(*) AS n FROM exposures WHERE run_id = ?", [run.id])["n"].to_pylist() == [48]


def test_training_learns(store: Store, recipe: Recipe) -> None:
    made = train(store, recipe.variant(epochs=12, learning_rate=1e-2, dropout=0.0))
    losses = store.resolve_run(made.run_id).result["losses"]
    assert losses[-1] < 0.7 * losses[0]


def test_seeds_threads_and_what_they_change_are_said(store: Store, recipe: Recipe) -> None:
    recipe = recipe.variant(weight_decay=0.01, epochs=1)  # an experiment of its own
    first = train(store, recipe)
    assert differences(store, first.run_id) == []
    other = train(store, recipe, seed=1)
    threads = train(store, recipe.variant(threads=2))
    newest, oldest = differences(store, threads.run_id)
    assert (newest.run_id, oldest.run_id) == (other.run_id, first.run_id)
    assert newest.changed == {"seed": (0, 1), "threads": (2, 1)}
    assert not newest.same_weights
    assert oldest.changed == {"threads": (2, 1)}
    assert oldest.same_weights == (threads.model_id == first.model_id)
    assert "threads 1 instead of 2" in str(oldest)
    assert other.model_id != first.model_id
    kept = train(store, recipe, checkpoints=1)
    same = next(s for s in differences(store, kept.run_id) if s.run_id == first.run_id)
    assert same.same_weights
    assert same.changed == {}
    assert [r.id for r in other_seeds(store, first.run_id)] == [other.run_id]
    assert [r.id for r in other_seeds(store, other.run_id)] == [kept.run_id]  # the newest of each seed
    assert other_seeds(store, threads.run_id) == []


def test_weights_of_sets(store: Store, recipe: Recipe) -> None:
    data = resolve_set(store, "train")
    ids = members(store, data.digest)
    with store.run("slice") as run:
        left, right = (
            create_set(run, ids.take(list(range(6))), name="left"),
            create_set(run, ids.slice(4, 6), name="right"),
        )
    made = train(store, recipe, weights={left.digest: 0.0, right.digest: 0.5})
    rows = store.read("exposures", where="run_id = ?", parameters=[made.run_id]).to_pylist()
    weight = {r["sample_id"]: r["weight"] for r in rows}
    expected = [0.0] * 6 + [0.5] * 4 + [1.0] * 14  # 4 and 5 are in both
    assert [weight[i] for i in ids.to_pylist()] == expected
    assert made.model_id != train(store, recipe).model_id
    assert store.resolve_run(made.run_id).config["weights"] == {left.digest: 0.0, right.digest: 0.5}


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_impossible_weights_are_refused(store: Store, recipe: Recipe, weight: float) -> None:
    with pytest.raises(EarmarkError, match="give a number from 0"):
        train(store, recipe, weights={resolve_set(store, "train").digest: weight})


def test_wrong_requests_are_refused_before_any_work(store: Store, recipe: Recipe) -> None:
    runs = len(store.runs())
    with pytest.raises(UnknownName, match="no set 'trian' — did you mean 'train'"):
        train(store, recipe.variant(train="trian"))
    with pytest.raises(EarmarkError, match="there is no base at"):
        train(store, recipe.variant(base="/nowhere"))
    if not torch.cuda.is_available():
        with pytest.raises(EarmarkError, match="there is no CUDA device here"):
            train(store, recipe.variant(device="cuda"))
        assert train(store, recipe.variant(device="auto")).model_id == train(store, recipe).model_id
    refused = [r for r in store.runs()[runs:] if r.status != "completed"]
    assert {(r.kind, r.job, r.status) for r in refused} == {("train", "tiny", "failed")}
    assert [r.result for r in refused][:2] == [{"error": "UnknownName"}, {"error": "EarmarkError"}]


def test_a_set_that_shares_nothing_is_refused_on_record(store: Store, recipe: Recipe) -> None:
    with pytest.raises(EarmarkError, match=r"no member of set .* give a slice of that set"):
        train(store, recipe, weights={resolve_set(store, "test").digest: 0.0})
    assert store.runs()[-1].status == "failed"


def test_a_loss_that_diverges_fails_the_run(store: Store, recipe: Recipe) -> None:
    with pytest.raises(EarmarkError, match=r"the loss became (nan|inf) at step \d+ of 10 — lower learning_rate"):
        train(store, recipe.variant(learning_rate=10, max_grad_norm=0, warmup=0, weight_decay=0.999, schedule="constant"),
              weights={resolve_set(store, "train").digest: 1e38})  # fmt: skip
    assert nothing_of(store)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_run_leaves_nothing(store: Store, recipe: Recipe, error: type[BaseException]) -> None:
    def interrupt(done: int, total: int, label: str) -> None:
        if (label, done) == ("training", 4):
            raise error

    aborted = error is KeyboardInterrupt
    recipe = recipe.variant(seed=404 + aborted)
    with pytest.raises(error):
        train(store, recipe, checkpoints=5, progress=interrupt)
    assert store.runs()[-1].status == ("aborted" if aborted else "failed")
    assert nothing_of(store)
    assert not train(store, recipe).reused


def test_evaluation_sets_are_judged_for_leaks_before_any_work(
    store: Store, recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    own = recipe.variant(evaluate=["test", "train"], seed=77)
    with pytest.raises(LeakageRefused, match=r"audio leakage: 24 of 24 samples .* — take the shared recordings out"):
        train(store, own)
    assert nothing_of(store)
    assert store.runs()[-1].result["leakage"]["outcome"] == "refused"
    allowed = Policy.parse({"name": "own", "leakage": {"audio": "allow", "speaker": "allow"}})
    trained = train(store, own, policy=allowed)
    assert [m.split(":")[0] for m in caplog.messages] == ["text leakage"] * 2
    leaks = store.resolve_run(trained.run_id).result["leakage"]["leaks"]
    assert {(leak["kind"], leak["action"]) for leak in leaks} == {
        ("audio", "allow"), ("speaker", "allow"), ("text", "warn"),
    }  # fmt: skip
    with pytest.raises(LeakageRefused):
        train(store, own)  # on record already, and still not allowed
    caplog.clear()
    assert not train(store, recipe.variant(evaluate=["test"], seed=78), parents=[trained.run_id]).reused
    assert not caplog.messages


def nothing_of(store: Store) -> bool:
    """Whether the newest run left no row but its own."""
    run = store.runs()[-1]
    return (
        not any(
            store.sql(f"SELECT 1 FROM {table} WHERE run_id = ?", [run.id]).num_rows for table in ("exposures", "models")
        )
        and run.outputs == []
    )


def test_progress_tells_features_and_steps(store: Store, recipe: Recipe) -> None:
    said: list[tuple[int, int, str]] = []
    train(store, recipe.variant(seed=9), progress=lambda *a: said.append(a))
    assert [s for s in said if s[2] == "training"] == [(i, 10, "training") for i in range(1, 11)]
