"""The examples, run as a reader would run them, and what the record then says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from earmark.cli import app
from lineage.selection.consumed import consumption
from lineage.store import Store
from training.models.recorded import open_model

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, store: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(EXAMPLES / name), str(store)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=store.parent, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize(
    ("name", "model", "size"), [("trainer.py", "digits-whisper", 36), ("loop.py", "digits-loop", 32)]
)
def test_training_is_on_record(tmp_path: Path, name: str, model: str, size: int) -> None:
    said = run(name, tmp_path / "store")
    assert f"earmark consumed {model}" in said
    store = Store.open(tmp_path / "store")
    held = consumption(store, model)
    assert held.as_planned
    assert (held.planned.size, held.exposures, held.epochs) == (size, 2 * size, 2)
    assert held.run.config["script"]["path"].endswith(name)
    assert open_model(store, model).family.name == "whisper"
    checked = CliRunner().invoke(app, ["verify", "--store", str(store.root)])
    assert checked.exit_code == 0, checked.output


def test_a_pipeline_is_on_record(tmp_path: Path) -> None:
    said = run("pipeline.py", tmp_path / "store")
    assert "datasets.map: 24 samples changed" in said
    assert "resample: 24 samples changed" in said
    store = Store.open(tmp_path / "store")
    assert [r.kind for r in store.runs()] == ["ingest"] + ["transform"] * 6
    traced = CliRunner().invoke(app, ["trace", said.split("earmark trace ")[1].split()[0], "--store", str(store.root)])
    assert traced.exit_code == 0, traced.output
    assert "resample" in traced.output
