"""A disk that is full in the middle: one clear line, a failed run on record, nothing half-registered."""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from lineage.errors import EarmarkError
from lineage.proof.verifier import verify
from lineage.store import Store
from training.fit import train
from training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("plain_main")

LIMIT = 48 << 10  # bytes in one file: a manifest fits, weights do not


def train_on_a_full_disk(root: Path, recipe: Recipe, told: Any) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill(done: int, total: int, label: str) -> None:
        if label == "training":
            resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))

    try:
        train(Store.open(root), recipe, progress=fill)
    except EarmarkError as error:
        told.put(str(error))
    except BaseException as error:  # noqa: BLE001
        told.put(repr(error))


@pytest.mark.parametrize(
    "fields",
    [{}, {"checkpoints": 2}, {"save_steps": 2}, {"development": "test", "keep": "best"}],
    ids=["model", "checkpoint", "state", "best weights"],
)
def test_a_full_disk_is_one_line_and_leaves_nothing(
    store: Store, recipe: Recipe, tmp_path: Path, fields: dict[str, Any]
) -> None:
    recipe = recipe.variant(**fields, epochs=1, seed=31)
    train(store, recipe.variant(seed=30))  # features are there
    shutil.copytree(store.root, tmp_path / "copy")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training.fit", "training.families.whisper"])
    told = context.Queue()
    process = context.Process(target=train_on_a_full_disk, args=(tmp_path / "copy", recipe, told))
    process.start()
    said = told.get(timeout=120)
    process.join(120)
    assert said.startswith("cannot write"), said
    assert "File too large — free some space" in said
    assert "\n" not in said
    copy = Store.open(tmp_path / "copy")
    assert (copy.runs()[-1].kind, copy.runs()[-1].status) == ("train", "failed")
    assert copy.runs()[-1].outputs == []
    assert not copy.sql("SELECT 1 FROM models WHERE run_id = ?", [copy.runs()[-1].id]).num_rows
    events = (copy.root / "openlineage" / f"{copy.runs()[-1].id}.ndjson").read_text()
    assert '"eventType": "FAIL"' in events or '"eventType":"FAIL"' in events
    assert not verify(copy.root).findings
    assert not train(copy, recipe).reused
