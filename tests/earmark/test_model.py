"""Splitting, forecasting, training with a development set and cross-validating, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.earmark.test_cli import earmark, recipe, recordings, said


@pytest.mark.slow
def test_from_a_split_to_a_model_that_was_watched(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recordings(here)
    earmark("init")
    earmark("ingest", "manifest.jsonl", "--name", "all")
    earmark("split", "all", "--shares", "train=0.5,development=0.25,test=0.25")
    assert said(capsys).count("set all-") == 3
    earmark("split", "all", "--shares", "train=much,test=0.5", status=2)
    assert "the share of 'train' is 'much'" in capsys.readouterr().err

    fields = {"train": "all-train", "development": "all-development", "keep": "best", "patience": 2}
    path = recipe(here, **fields, evaluate=["all-test"])
    earmark("train", str(path), "--dry-run")
    told = said(capsys)
    assert "policy: none in force" in told
    assert "time: no comparable run on record" in told
    earmark("train", str(path), "--json")
    made = json.loads(said(capsys))
    earmark("train", str(path), "--no-resume")
    printed = said(capsys)
    assert "on record already" in printed
    assert "WER in development" in printed
    earmark("train", str(path), "--dry-run", "--json")
    foretold = json.loads(said(capsys))
    assert foretold["reuses"] == made["run"]
    assert foretold["cost"]["runs"] == 1
    earmark("train", str(recipe(here, **{**fields, "development": "all"}, evaluate=[])), status=2)
    assert "audio leakage: " in capsys.readouterr().err

    path = recipe(here, train="all", evaluate=[], epochs=1)
    earmark("crossvalidate", str(path), "--folds", "2", "--json")
    done = json.loads(said(capsys))
    assert [f["held out"] for f in done["folds"]] == [10, 10]
    assert done["wer"]["blocks"] == 4
