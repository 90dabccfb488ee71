"""The verbs that measure models, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lineage.store import Store
from tests.earmark.test_cli import earmark, recipe, recordings, said
from training.models.recorded import adopt_base


@pytest.mark.slow
def test_evaluate_compare_calibrate_and_measure(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recordings(here)
    store = ("--store", "my-store")
    earmark("init", "my-store")
    earmark("ingest", "manifest.jsonl", "--name", "train", *store)
    adopt_base(Store.open("my-store"), "earmark:whisper-tiny")
    earmark("train", str(recipe(here, evaluate=[], epochs=1)), *store)
    (here / "digits.txt").write_text("one\ntwo\n")
    said(capsys)

    words = (
        "evaluate",
        "tones",
        "train",
        "--slice",
        "accent=*",
        "--beside",
        "none",
        "--entities",
        "digits.txt",
        *store,
    )
    earmark(*words)
    shown = said(capsys)
    for part in ("WER %", "CER %", "sentences %", "entities %", "by speaker %", "ECE %", "accent=north", "WER under none@",
                 "mean over accent=*", "entities of kind digits"):  # fmt: skip
        assert part in shown
    earmark(*words, "--json")
    figures = {(f["slice"], f["metric"]): f for f in json.loads(said(capsys))}
    assert figures["all", "wer"]["words"] == figures["all", "wer"]["total"] == 40
    assert ("accent=south", "ece_word") in figures

    earmark("compare", "earmark:whisper-tiny", "tones", "train", *store)
    assert "MAPSSWE p" in said(capsys)
    earmark("compare", "earmark:whisper-tiny", "tones", "train", "--slice", "accent=north", "--json", *store)
    assert [c["slice"] for c in json.loads(said(capsys))] == ["all", "accent=north"]
    earmark("compare", "tones", "tones", "train", *store, status=2)
    assert "are one model" in capsys.readouterr().err

    earmark("calibrate", "tones", "train", *store)
    assert "expected calibration error of words" in said(capsys)
    earmark("measure", "tones", "train", "--most", "2", *store)
    shown = said(capsys)
    assert "float32" in shown
    assert "int8" in shown


@pytest.mark.slow
def test_a_model_is_continued_and_what_it_forgot_is_shown(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recordings(here)
    store = ("--store", "my-store")
    earmark("init", "my-store")
    earmark("ingest", "manifest.jsonl", "--name", "all", *store)
    earmark("set", "old", "--of", "all", "--where", "accent = 'north' AND split = 'train'", *store)
    earmark("set", "new", "--of", "all", "--where", "accent = 'south' AND split = 'train'", *store)
    earmark("set", "test", "--of", "all", "--where", "split = 'test'", *store)
    earmark("train", str(recipe(here, train="old", epochs=1)), *store)
    replay, ewc = {"sets": ["old"], "share": 0.25}, {"set": "old", "strength": 1, "samples": 2}
    fields = {"name": "more", "base": "model:tones", "train": "new", "replay": replay, "ewc": ewc, "epochs": 1}
    said(capsys)
    earmark("train", str(recipe(here, **fields)), "--json", *store)
    made = json.loads(said(capsys))

    earmark("forgetting", "more", *store)
    shown = said(capsys)
    for part in ("before %", "after %", "forgotten", "tones", "test", "accent=north"):
        assert part in shown
    earmark("forgetting", "more", "--on", "test", "--slice", "accent=north", "--json", *store)
    rows = json.loads(said(capsys))
    assert [(r["set"], r["slice"], r["model"]) for r in rows] == [
        ("test", s, made["model"]) for s in ("all", "accent=north")
    ]
    earmark("forgetting", "tones", *store, status=2)
    assert "continues no other" in capsys.readouterr().err
    earmark("trace", made["model"][:12], *store)
    shown = said(capsys)
    assert "continues model" in shown
    assert "12 recordings of 4 speakers" in shown
    earmark("consumed", "more", *store)
    assert "as planned" in said(capsys)
