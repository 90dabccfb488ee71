"""What is owed and consumed, as a person asks for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lineage.selection.sets import create_set
from lineage.store import Store
from tests.earmark.test_cli import earmark
from tests.lineage.conftest import ids, rows

SAMPLES = ids(14)


@pytest.fixture
def store(here: Path) -> Store:
    """A model that took one sample too many and dropped others, in the store of the working folder."""
    made = Store.init(here / "earmark-store")
    with made.run("ingest") as run:
        run.append("samples", rows(SAMPLES, source="booth"))
        planned = create_set(run, SAMPLES[:13], name="train")
    for n, taken in enumerate((SAMPLES[12:], SAMPLES[:13])):
        with made.run("train", inputs=[planned.digest]) as run:
            run.append("exposures", [{"step": 0, "position": 0, "sample_id": s, "weight": 1.0} for s in taken])
            run.append("models", [{"model_id": "ab"[n] * 64, "name": ("hasty", "true")[n]}])
            run.result["planned"] = {"epochs": 1.0}
    return made


def test_what_was_consumed_is_held_against_the_plan(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    earmark("consumed", "hasty", status=1)
    told = capsys.readouterr().out
    for line in (
        "planned: 13 samples of train", "1 passes", "never consumed: 12", "… and 2 more", "not planned: 1",
        f"  {SAMPLES[13]}  1 exposures", "weight zero: 0", "NOT as planned",
    ):  # fmt: skip
        assert line in told
    earmark("consumed", "hasty", "--json", status=1)
    assert len(json.loads(capsys.readouterr().out)[0]["differences"]["never consumed"]) == 12
    earmark("consumed", "true")
    assert capsys.readouterr().out.endswith("as planned\n")
    earmark("consumed", "true", "--epochs", "2", status=1)
    earmark("consumed", "nothing", status=2)


def test_what_is_owed_is_listed_and_settled(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    earmark("owing")
    assert capsys.readouterr().out == "nothing is owed\n"
    earmark("erase", "--sample", str(SAMPLES[12]), "--yes")
    capsys.readouterr()
    earmark("owing")
    told = capsys.readouterr().out
    assert "hasty" in told
    assert "earmark settle" in told
    for words in (
        ("settle", "hasty"),
        ("settle", "hasty", "--retired"),
        ("settle", "hasty", "--retired", "--withdrawn", "--by", "dpo"),
        ("settle", "nobody", "--retired", "--by", "dpo"),
        ("settle", "hasty", "--retrained-by", "true", "--by", "dpo"),
    ):
        earmark(*words, status=2)
        assert capsys.readouterr().err.count("\n") == 1
    earmark("settle", "hasty", "--retired", "--by", "dpo", "--reason", "out of use")
    assert "retired says dpo (out of use)" in capsys.readouterr().out
    earmark("settle", "true", "--withdrawn", "--by", "dpo", "--json")
    assert json.loads(capsys.readouterr().out)[0]["settled"]["event"] == "withdrawn"
    earmark("owing", "--json")
    assert json.loads(capsys.readouterr().out) == []
    earmark("owing", "--everything")
    assert capsys.readouterr().out.count("says dpo") == 2


def test_verification_reads_every_row_when_asked_to(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    earmark("compact")
    earmark("verify", "--deep")
    assert "intact" in capsys.readouterr().out
