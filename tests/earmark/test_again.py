"""Replaying a run, building its environment again, and what it cost, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lineage.people.erase import erase
from lineage.people.reach import sample
from lineage.selection.sets import members, resolve_set
from lineage.store import Store
from tests.earmark.test_cli import earmark, recipe, recordings, said


@pytest.mark.slow
def test_from_a_run_to_its_replay_its_environment_and_its_cost(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recordings(here)
    earmark("init")
    earmark("ingest", "manifest.jsonl", "--name", "all")
    earmark("split", "all", "--shares", "train=0.5,test=0.5")
    (here / "rates.yaml").write_text("currency: EUR\ncpu_hour: 3.6\nkwh: 0.3\n")
    earmark("rates", "adopt", "rates.yaml")
    assert "rate card rates" in said(capsys)
    earmark("rates", "show")
    assert json.loads(said(capsys)) == {"currency": "EUR", "cpu_hour": 3.6, "kwh": 0.3}
    path = recipe(here, train="all-train", evaluate=["all-test"], epochs=1)
    earmark("train", str(path), "--json")
    made = json.loads(said(capsys))

    earmark("replay", made["run"])
    told = said(capsys)
    assert f"identical: model {made['model']}" in told
    assert "differs" not in told
    earmark("replay", made["model"][:12], "--json")
    found = json.loads(said(capsys))
    assert (found["verdict"], found["replayed_run"]) == ("identical", made["run"])

    earmark("environment", made["run"], "--lock")
    assert "\nnumpy==" in said(capsys)
    earmark("environment", made["run"], "--dockerfile")
    assert said(capsys).startswith("# syntax=docker/dockerfile:1\n")
    earmark("environment", made["run"], "--lock", "--dockerfile", status=2)
    assert "one at a time" in capsys.readouterr().err
    earmark("environment", made["run"])
    assert "python" in said(capsys)

    earmark("costs", "--by", "model", "--json")
    spent = json.loads(said(capsys))
    assert spent["currency"] == "EUR"
    assert spent["all"]["money"] == pytest.approx(sum(c["money"] for c in spent["costs"]))
    earmark("costs")
    assert "train" in said(capsys)
    earmark("costs", "--by", "colour", status=2)
    assert "nothing to add up by" in capsys.readouterr().err
    earmark("train", str(recipe(here, train="all-train", evaluate=[], epochs=2)), "--dry-run")
    assert "EUR, at the prices in force" in said(capsys)
    earmark("costs", "--benefit")
    assert "no two models of one recipe" in said(capsys)
    earmark("train", str(recipe(here, train="all", evaluate=[], epochs=1)))
    capsys.readouterr()
    earmark("evaluate", _newest(here), "all-test")
    capsys.readouterr()
    earmark("costs", "--benefit")
    told = said(capsys)
    assert "history, not an experiment" in told
    assert "all-train" in told

    store = Store.open(here / "earmark-store")
    erase(store, sample(store, str(members(store, resolve_set(store, "all-train").digest)[0].as_py())))
    earmark("replay", made["run"], status=2)
    assert "cannot be replayed: 1 sample was erased" in said(capsys)


def _newest(here: Path) -> str:
    found = Store.open(here / "earmark-store").sql("SELECT model_id FROM models ORDER BY run_id DESC LIMIT 1")
    return str(found["model_id"][0].as_py())
