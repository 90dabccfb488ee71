"""Audits as a person types them: draft, look, run; and what the exit status says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from earmark.cli.audit import _plan, _print
from influence.audit import AuditReport
from influence.statistics.sequential import Sequential
from lineage.errors import EarmarkError
from tests.earmark.test_cli import earmark, recipe, recordings, said
from tests.influence.report.conftest import effect

CLAIM = "removing accent=north changes WER on all by less than 99 points"


@pytest.mark.slow
def test_a_plan_is_drafted_looked_at_and_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recordings(here)
    store = ("--store", "my-store")
    earmark("init", "my-store")
    earmark("ingest", "manifest.jsonl", "--name", "all", *store)
    earmark("set", "train", "--of", "all", "--where", "split = 'train'", *store)
    earmark("set", "test", "--of", "all", "--where", "split = 'test'", *store)
    path = recipe(here, epochs=1)
    said(capsys)

    earmark("audit", "plan", *store, status=2)
    assert "--from-store > plan.yaml" in capsys.readouterr().err
    earmark("audit", "plan", "--from-store", "--recipe", str(path), *store)
    drafted = yaml.safe_load(said(capsys))
    assert drafted["slices"] == ["accent=*"]
    plan = here / "plan.yaml"
    fields = {**drafted, "slices": ["accent=north"], "seeds": 2, "controls": {"number": 0}, "hypotheses": [CLAIM]}
    fields |= {"causes": "accent -> errors", "budget": {"retrainings": 9}}
    plan.write_text(yaml.safe_dump(fields))

    earmark("audit", "check", str(plan), *store)
    shown = said(capsys)
    assert CLAIM in shown
    assert "the gap of accent=north, adjusted for nothing" in shown
    assert "4 retrainings, 0 of them on record" in shown
    short = here / "short.yaml"
    short.write_text(yaml.safe_dump({**fields, "budget": {"retrainings": 3}}))
    for verb in ("check", "run"):
        earmark("audit", verb, str(short), *store, status=2)
        assert "the plan needs 4 retrainings more, its budget has 3" in capsys.readouterr().err
    earmark("audit", "run", str(plan), "--workers", "1", *store)
    told = said(capsys)
    assert CLAIM in told
    assert "gap of accent=north: " in told
    earmark("audit", "check", str(plan), "--json", *store)
    looked = json.loads(said(capsys))
    assert looked["causes"] == [{"slice": "accent=north", "adjusted_for": []}]
    assert (looked["retrainings_on_record"], looked["on_record"], looked["seconds"]) == (4, True, 0.0)
    assert (looked["cpu_seconds"], looked["budget"]) == (0.0, {"retrainings": 9})
    earmark("audit", "run", str(plan), "--json", *store)
    done = json.loads(said(capsys))
    assert (done["status"], done["trained"], done["audit"]) == (0, 0, looked["digest"])
    assert [c["slice"] for c in done["causes"]] == ["accent=north"]

    plan.write_text(yaml.safe_dump({**fields, "fail_on": ["unsupported"]}))
    earmark("audit", "run", str(plan), *store, status=2)
    assert "cannot be chosen afterwards" in capsys.readouterr().err
    strict = {
        **fields,
        "fail_on": ["unsupported"],
        "amends": done["audit"],
        "hypotheses": [CLAIM.replace("99", "0.001")],
    }
    plan.write_text(yaml.safe_dump(strict))
    earmark("audit", "run", str(plan), *store, status=1)
    shown = said(capsys)
    assert "status 1: unsupported" in shown
    assert f"amends plan {done['audit'][:12]}" in shown
    earmark("audit", "run", str(plan), "--seeds", "2", *store, status=2)
    assert "--seeds goes with --slice" in capsys.readouterr().err


def test_a_table_is_of_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    found = (effect("a", "a", 0.0512, metric="loss"),)
    _print(AuditReport("0" * 64, "run", "plan", found, 4, 0, 1.0, {}, True, planned=4), as_json=False)
    told = said(capsys)
    assert "Δ loss" in told
    assert "+0.051" in told
    assert "nats per word of loss; positive: worse" in told


def test_looks_are_options_of_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("{name: r, base: nowhere, train: t, epochs: 1, learning_rate: 1e-3}")
    path = tmp_path / "recipe.yaml"
    plan = _plan(path, ["accent=*"], looks="2,4", spending="obrien-fleming", metric=["wer", "cer"], screening=True)
    declared = plan.statistics.declaration
    assert declared.sequential == Sequential((2, 4), "obrien-fleming")
    assert (declared.metrics, declared.screening, len(plan.chosen_seeds())) == (("wer", "cer"), True, 4)
    assert _plan(path, ["accent=*"]).statistics.declaration.sequential is None
    for wrong, said_ in ({"spending": "pocock"}, "goes with --looks"), ({"looks": "few"}, "give numbers of seeds"):
        with pytest.raises(EarmarkError, match=said_):
            _plan(path, ["accent=*"], **wrong)
    with pytest.raises(EarmarkError, match="--looks goes with --slice"):
        _plan(path, None, looks="2,3")
