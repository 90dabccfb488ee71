from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from lineage.compaction.sweep import sweep
from lineage.people.erase import erase
from lineage.people.reach import sample
from lineage.selection.sets import members, resolve_set
from lineage.storage import unfinished
from lineage.store import Store
from training.fit import TrainedModel, train
from training.recipe import Recipe

PLAIN: dict[str, Any] = {"save_steps": 2, "save_seconds": 0}
QUIETER = {"transform": "level", "probability": 0.5, "parameters": {"gain_db": [-12, 0]}}
KINDS: dict[str, tuple[dict[str, Any], list[tuple[int, str]], list[int]]] = {  # fields, deaths, states gone on from
    "full": ({"checkpoints": 3}, [(3, "step"), (5, "step")], [2, 4]),
    "lora": (
        {"method": "lora", "gradient_accumulation": 2, "spec_augment": {"time_width": 5}, "augment": [QUIETER]},
        [(99, "in a file"), (5, "step")],
        [4],
    ),
    "development": (
        {"development": "test", "patience": 2, "keep": "best", "evaluate_every": 2, "epochs": 3, "checkpoints": 2},
        [(99, "before commit"), (5, "step")],
        [4],
    ),
    "held and replayed": (
        {
            "gradient_accumulation": 2,
            "replay": {"sets": ["test"], "share": 0.2},
            "ewc": {"set": "test", "strength": 10.0, "samples": 4},
        },
        [(5, "step")],
        [4],
    ),
}

pytestmark = pytest.mark.usefixtures("plain_main")


def die(*args: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def half_a_file(work: unfinished.Unfinished, name: str, write: Any) -> None:
    work.file(name).write_bytes(b"half")
    die()


def train_and_die(root: Path, recipe: Recipe, step: int, where: str) -> None:
    if where == "before commit":
        unfinished.Unfinished.commit = die
    if where == "in a file":
        unfinished.Unfinished.add = half_a_file

    def told(done: int, total: int, label: str) -> None:
        if (done, label) == (step, "training"):
            die()

    train(Store.open(root), recipe, progress=told)


def killed(root: Path, recipe: Recipe, step: int, where: str = "step") -> None:
    """Train in a process of its own that is killed with SIGKILL at a step, or while a state is being written."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training.fit", "training.families.whisper"])
    process = context.Process(target=train_and_die, args=(root, recipe, step, where))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


def traces(store: Store, made: TrainedModel) -> dict[str, Any]:
    """Everything that has to be the same, whether the run was killed or not."""
    run = store.resolve_run(made.run_id)
    columns = ["step", "position", "epoch", "sample_id", "weight", "seed", "replayed_from"]
    rows = store.read("exposures", columns, "run_id = ? ORDER BY step, position", [run.id]).to_pylist()
    result = {name: run.result.get(name) for name in ("steps", "exposures", "losses", "checkpoints", "development")}
    result["penalty"] = run.result.get("ewc", {}).get("penalty")
    return {"model": made.model_id, "rows": rows, **result}


@pytest.fixture
def root(store: Store, tmp_path: Path) -> Path:
    """A copy of the store, for runs that are killed."""
    shutil.copytree(store.root, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_ends_as_if_it_had_not_been(store: Store, root: Path, recipe: Recipe, kind: str) -> None:
    fields, deaths, resumed = KINDS[kind]
    recipe = recipe.variant(**PLAIN, **fields)
    for step, where in deaths:
        killed(root, recipe, step, where)
    copy = Store.open(root)
    made = train(copy, recipe)
    assert [b["step"] for b in copy.resolve_run(made.run_id).result["resumed"]] == resumed
    assert traces(copy, made) == traces(store, train(store, recipe))
    assert not list((root / "unfinished").glob("*"))


@pytest.fixture(scope="module")
def halfway(store: Store, base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recipe]:
    """A store in which a run was killed after step 5, with its state after step 4, and the recipe."""
    recipe = Recipe(name="halfway", base=str(base), train="train", epochs=2, batch_size=5, learning_rate=3e-3, **PLAIN)
    place = tmp_path_factory.mktemp("halfway") / "store"
    shutil.copytree(store.root, place)
    killed(place, recipe, 5)
    return place, recipe


@pytest.fixture
def interrupted(halfway: tuple[Path, Recipe], tmp_path: Path) -> tuple[Path, Recipe, Path]:
    """A copy of that store, the recipe, and the folder of the state."""
    place, recipe = halfway
    shutil.copytree(place, tmp_path / "store")
    (folder,) = (tmp_path / "store" / "unfinished").glob("*")
    assert json.loads((folder / "state.json").read_text())["facts"]["step"] == 4
    return tmp_path / "store", recipe, folder


@pytest.mark.parametrize("harm", ["torn", "changed", "absent", "no statement", "half a statement"])
def test_a_state_that_is_not_whole_is_never_used(interrupted: tuple[Path, Recipe, Path], harm: str) -> None:
    root, recipe, folder = interrupted
    victim = next(folder.glob("optimiser-*"))
    if harm == "torn":
        victim.write_bytes(victim.read_bytes()[:-100])
    elif harm == "changed":
        data = bytearray(victim.read_bytes())
        data[-5] ^= 1
        victim.write_bytes(data)
    elif harm == "absent":
        victim.unlink()
    elif harm == "no statement":
        (folder / "state.json").unlink()
    else:
        (folder / "state.json").write_bytes((folder / "state.json").read_bytes()[:200])
    store = Store.open(root)
    run = store.resolve_run(train(store, recipe).run_id)
    assert run.result["resumed"] == []
    assert run.result["exposures"] == 48
    assert not folder.exists()


def test_beginning_anew_is_possible(interrupted: tuple[Path, Recipe, Path]) -> None:
    root, recipe, folder = interrupted
    store = Store.open(root)
    assert store.resolve_run(train(store, recipe, resume=False).run_id).result["resumed"] == []
    assert not folder.exists()


def test_a_sweep_keeps_what_can_go_on_and_takes_what_nobody_wants(
    interrupted: tuple[Path, Recipe, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, recipe, folder = interrupted
    store = Store.open(root)
    sweep(store, grace=0.0)
    assert folder.exists()
    copy = folder.with_name("of-nobody")
    shutil.copytree(folder, copy)
    (copy / "state.json").unlink()
    sweep(store, grace=0.0)
    assert folder.exists()
    assert not copy.exists()
    with monkeypatch.context() as patched:
        patched.setattr(unfinished, "KEPT_S", 0.0)
        with unfinished.claim(store, folder.name, []):
            sweep(store, grace=0.0)
            assert folder.exists()  # somebody is at it
        sweep(store, grace=0.0)
    assert not folder.exists()
    assert train(store, recipe).reused is False


def test_an_erasure_removes_the_states_of_what_it_touched(interrupted: tuple[Path, Recipe, Path]) -> None:
    root, _, folder = interrupted
    store = Store.open(root)
    other = members(store, resolve_set(store, "test").digest)[0].as_py()
    erase(store, sample(store, str(other)))
    assert folder.exists()
    one = members(store, resolve_set(store, "train").digest)[0].as_py()
    erase(store, sample(store, str(one)))
    assert not folder.exists()


def test_work_of_one_process_is_left_alone_by_another(interrupted: tuple[Path, Recipe, Path]) -> None:
    root, recipe, folder = interrupted
    store = Store.open(root)
    with unfinished.claim(store, folder.name, []) as work:
        assert work is not None
        made = train(store, recipe)
        assert store.resolve_run(made.run_id).result["resumed"] == []
        assert work.load() is not None


def test_time_spent_before_counts(interrupted: tuple[Path, Recipe, Path]) -> None:
    root, recipe, folder = interrupted
    statement = json.loads((folder / "state.json").read_text())
    assert 0 < statement["facts"]["spent"]["wall_s"] < 100
    statement["facts"]["spent"]["wall_s"] += 1000
    (folder / "state.json").write_text(json.dumps(statement))
    store = Store.open(root)
    assert store.resolve_run(train(store, recipe).run_id).wall_s > 1000
