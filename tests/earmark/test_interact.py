"""Slices worth together and slices discovered, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.earmark.test_cli import earmark, recipe, recordings, said


@pytest.fixture
def store(here: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    recordings(here)
    earmark("init")
    earmark("ingest", "manifest.jsonl", "--name", "all")
    for split in ("train", "test"):
        earmark("set", split, "--of", "all", "--where", f"split = '{split}'")
    said(capsys)
    return here


@pytest.mark.slow
def test_what_two_slices_are_worth_together(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(recipe(store, epochs=1))
    asked = ("interact", path, "--slice", "accent=*", "--seeds", "2", "--workers", "1")
    earmark(*asked, "--json")
    made = json.loads(said(capsys))
    assert (made["method"], made["retrainings"], made["trained"]) == ("exact", 8, 8)
    earmark(*asked)
    told = said(capsys)
    assert "accent=north × accent=south" in told
    assert "interaction beside all others" in told  # leaving out both costs less than each, so not "beyond each alone"
    assert "Caution: splitting or merging slices changes the values" in told
    earmark(*asked, "--metric", "cer", "--metric", "loss")
    told = said(capsys)
    assert "CER" in told
    assert "WER" not in told
    earmark(*asked, "--metric", "wr", status=2)
    assert "choose of wer, loss" in capsys.readouterr().err
    earmark("sql", "SELECT DISTINCT measure FROM interactions ORDER BY 1")
    assert "shapley" in said(capsys)
    earmark("interact", path, "--slice", "accent=north", status=2)
    assert "two slices or more" in capsys.readouterr().err
    earmark(*asked[:4], "--slice", "licence=*", status=2)
    assert "disjoint" in capsys.readouterr().err


@pytest.mark.slow
def test_slices_that_nobody_thought_of(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    earmark("train", str(recipe(store, epochs=1)), "--json")
    model = json.loads(said(capsys))["model"]
    earmark("discover", model, "all")
    told = said(capsys)
    assert "tested on all-confirm" in told
    earmark("discover", model, "all", "--support", "0.99")
    assert "nothing that has 99% of the words or more errs more than the rest" in said(capsys)
    earmark("discover", model, "train", "--test", "test", "--json")
    found = json.loads(said(capsys))
    assert (found["searched"], found["tested"], found["shared_speakers"]) == ("train", "test", 4)
    earmark("discover", model, "all", "--depth", "4", status=2)
    assert "from 1 to 3" in capsys.readouterr().err
    earmark("discover", model, "test", "--test", "test", status=2)
    assert "other data" in capsys.readouterr().err
