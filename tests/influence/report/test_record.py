"""A real audit, reported: registered before it was trained, checked against the log, the same for programs as for people."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from influence.audit import AuditReport, run
from influence.plans.planfile import AuditPlan
from influence.report.conduct import instant
from influence.report.machine import schema, to_json
from influence.report.page import page
from influence.report.record import AuditRecord, checkpoint_of, read
from lineage.errors import AmbiguousName, UnknownName
from lineage.proof.verifier import verify
from lineage.store import Store
from tests.influence.conftest import make_store
from tests.influence.report.conftest import effect, put
from training.recipe import Recipe

CLAIM = "removing accent=north raises WER on accent=north by more than 0 points"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("report") / "store")


@pytest.fixture(scope="module")
def done(kept: Store, recipe: Recipe) -> AuditReport:
    short = recipe.variant(epochs=1, checkpoints=0).model_dump(mode="json", exclude_defaults=True)
    fields: dict[str, Any] = {
        "name": "north", "recipe": short, "slices": ["accent=north"], "seeds": 2, "hypotheses": [CLAIM],
        "controls": {"number": 1}, "statistics": {"replicates": 100, "margins": {"wer": 90}}, "null": ["accent=north"],
    }  # fmt: skip
    return run(kept, AuditPlan.parse(fields))


@pytest.fixture(scope="module")
def record(kept: Store, done: AuditReport) -> AuditRecord:
    return read(kept, "north")


def test_what_is_read_is_what_was_found(record: AuditRecord, done: AuditReport) -> None:
    assert (record.audit, record.entry.run, record.effects) == (done.audit, done.run_id, done.effects)
    assert (record.answers, record.checks, record.failed) == (done.hypotheses, done.checks, done.failed)
    assert record.train is not None
    assert record.evaluation is not None
    assert (record.train.name, record.train.size, record.evaluation.name) == ("train", 36, "test")


def test_the_plan_stands_before_the_first_retraining(record: AuditRecord, kept: Store, done: AuditReport) -> None:
    assert record.plan is not None
    assert record.first is not None
    assert record.plan.run == done.plan_run
    assert record.plan.position < record.first.position < record.entry.position
    assert record.plan.ended <= record.first.started
    entry = kept.log.entries()[record.plan.position]
    assert (entry.run, entry.manifest) == (record.plan.run, record.plan.manifest)
    text = page(record)
    for shown in (instant(record.plan.ended), instant(record.first.started), record.plan.manifest, CLAIM, record.audit):
        assert shown in text


def test_costs_count_each_run_once(record: AuditRecord, kept: Store) -> None:
    spent = sum(r.cpu_s for r in kept.runs() if r.kind in ("train", "evaluate"))
    assert (record.costs.retrainings, record.costs.before, record.costs.saved.runs) == (6, 0, 0)
    assert record.costs.spent.cpu_s == pytest.approx(spent)
    assert [s.retrainings for s in record.settings] == [6]
    whole = kept.resolve_run(record.model or "")
    assert (whole.config["weights"], whole.inputs[0]) == ({}, record.train and record.train.digest)


def test_retrainings_that_were_there_before_are_told_apart(record: AuditRecord, kept: Store, recipe: Recipe) -> None:
    """The same retrainings for another question: their results could be known when it was asked."""
    short = recipe.variant(epochs=1, checkpoints=0).model_dump(mode="json", exclude_defaults=True)
    again = {"name": "again", "recipe": short, "slices": ["accent=north"], "seeds": 2, "controls": {"number": 1}}
    run(kept, AuditPlan.parse({**again, "statistics": {"replicates": 50}}))
    found = read(kept, "again")
    assert (found.costs.before, found.costs.spent.runs, found.first) == (6, 0, None)
    assert found.costs.saved == record.costs.spent
    assert "all of them were on record when it was registered" in page(found)


def test_the_checkpoint_in_the_report_verifies_the_store(record: AuditRecord, kept: Store, tmp_path: Path) -> None:
    kept_apart = tmp_path / "checkpoint.json"
    kept_apart.write_text(checkpoint_of(record))
    assert verify(kept.root, kept_apart).ok
    assert json.loads(checkpoint_of(record))["size"] > record.entry.position


def test_the_document_has_the_shape_that_is_written_down(record: AuditRecord, bare: Store) -> None:
    Draft202012Validator.check_schema(schema())
    check = Draft202012Validator(schema(), format_checker=FormatChecker())
    document = to_json(record)
    check.validate(document)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert datetime.fromisoformat(document["plan"]["ended"]) == record.plan.ended if record.plan else False
    assert set(document) == set(schema()["required"]) == set(schema()["properties"])
    old = {"intervention": None, "phrase": None, "low": None, "high": None, "control": None}
    put(bare, [effect("a", "a", 0.1, **old)], failures={"x": "KeyError"})
    check.validate(to_json(read(bare, "audit")))


def test_nothing_of_this_machine_or_of_a_sample_is_told(record: AuditRecord, kept: Store, base: Path) -> None:
    text = page(record) + json.dumps(to_json(record))
    assert str(kept.root) not in text
    assert str(base.parent) not in text
    ids = kept.read("samples", ["sample_id"])["sample_id"].to_pylist()
    assert not [i for i in ids if str(i) in text]


def test_an_audit_is_found_by_name_digest_and_run(record: AuditRecord, kept: Store, bare: Store) -> None:
    assert record.plan is not None
    for ref in (record.audit, record.audit[:8], record.entry.run, record.plan.run):
        assert read(kept, ref).entry == record.entry
    for ref in ("south", "", "abc", "0" * 64):
        with pytest.raises(UnknownName, match=r"no audit '.*on record: "):
            read(kept, ref)
    with pytest.raises(UnknownName, match="no audit on record yet"):
        read(bare, "north")
    put(bare, [effect("a", "a", 0.1)], name="one", plan={})
    put(bare, [effect("a", "a", 0.2)], name="one", plan={})
    assert read(bare, "one").effects[0].estimate == 0.2  # the newest results of the same plan
    with pytest.raises(AmbiguousName):
        read(kept, "tiny")  # the recipe's name, which two audits have
