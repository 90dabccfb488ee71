"""What is done to slices: one thing moves, a change that changes nothing is none, killed or not the effects are the same."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from influence import bank
from influence.audit import AuditReport, run
from influence.interventions import Making
from influence.interventions.replace import partners
from influence.plans.outlook import outlook
from influence.plans.plan import freeze, sketch
from influence.plans.planfile import AuditPlan
from influence.plans.request import request
from lineage.derivation.substitutes import pairs, substitutes
from lineage.errors import EarmarkError
from lineage.ids import id_array
from lineage.recorder import described
from lineage.selection.sets import members, resolve_set
from lineage.selection.slices import Slice, select
from lineage.store import Store
from tests.influence.conftest import make_store, populate
from training.recipe import Recipe

ALL = [
    {"kind": "remove", "variants": True},
    {"kind": "reweight", "doses": [0, 0.5, 1, 2]},
    {"kind": "corrupt", "shares": [0.5]},
    {"kind": "augment", "by": [{"transform": "tempo", "parameters": {"factor": 1.1}}]},
    {"kind": "replace", "by": "accent=south"},
    {"kind": "swap", "by": "studio", "taken_from": "more"},
    {"kind": "add", "taken_from": "more", "slices": ["accent=west"], "variants": True},
]
PHRASES = {
    "removing accent=north", "removing accent=north, epochs fixed", "removing accent=north, steps fixed",
    "fixing steps instead of epochs, removing accent=north", "weighting accent=north by 0",
    "weighting accent=north by 0.5", "weighting accent=north by 2", "corrupting 50 % of the words of accent=north",
    "augmenting accent=north by tempo", "replacing accent=north by accent=south",
    "swapping the source of accent=north for studio", "adding accent=west", "adding accent=west, epochs fixed",
    "adding accent=west, steps fixed",
    "fixing steps instead of epochs, adding accent=west",
}  # fmt: skip


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = make_store(tmp_path_factory.mktemp("interventions") / "store")
    populate(store, "more", 12, seed=3, source="studio")
    return store


@pytest.fixture(scope="module")
def fields(recipe: Recipe) -> dict[str, Any]:
    return {
        "recipe": recipe.variant(epochs=1, checkpoints=0), "slices": ["accent=north"], "seeds": 1,
        "controls": {"number": 1}, "statistics": {"replicates": 100}, "interventions": ALL, "look_at": ["accent=north"],
    }  # fmt: skip


@pytest.fixture(scope="module")
def report(fresh: Store, fields: dict[str, Any]) -> AuditReport:
    return run(fresh, AuditPlan.parse(fields))


def test_every_intervention_is_measured_under_its_name(report: AuditReport, fresh: Store) -> None:
    assert {e.phrase for e in report.effects} == PHRASES
    assert not report.failures
    assert report.effect("accent=north", "all").phrase == "removing accent=north"
    zero = report.effect("accent=north", "all", phrase="weighting accent=north by 0")
    assert zero.estimate == report.effect("accent=north", "all").estimate  # one training, two names
    rows = fresh.read("effects", ["phrase", "dose", "intervention"], "run_id = ?", [report.run_id]).to_pylist()
    assert {(r["intervention"], r["dose"]) for r in rows} >= {
        ("reweight", 0.5),
        ("corrupt", 0.5),
        ("remove:steps", None),
    }


def test_steps_and_epochs_differ_by_what_is_reported(report: AuditReport) -> None:
    for said, who in (("removing accent=north", "accent=north"), ("adding accent=west", "accent=west")):
        steps, epochs, both = (
            report.effect(who, "all", "loss", phrase).estimate
            for phrase in (f"{said}, steps fixed", f"{said}, epochs fixed", f"fixing steps instead of epochs, {said}")
        )
        expected = steps - epochs if said.startswith("removing") else epochs - steps
        assert both == pytest.approx(expected)


def test_everything_else_is_equal(report: AuditReport, fresh: Store) -> None:
    """Trainings on the set itself have the order, the seeds and the steps of the training on all data."""
    trained = [r for r in fresh.runs() if r.kind == "train" and r.status == "completed" and r.seed == 0]
    same = [
        r for r in trained if r.config["set"] == resolve_set(fresh, "train").digest and not r.config["recipe"]["steps"]
    ]
    assert len(same) > 6
    columns = ["step", "position", "seed", "coalesce(instead_of, sample_id) AS place"]
    rows = [fresh.read("exposures", columns, "run_id = ? ORDER BY step, position", [r.id]).to_pylist() for r in same]
    assert all(r == rows[0] for r in rows)
    steps = {r.id: r.result["steps"] for r in trained}
    by_steps = [r for r in trained if r.config["recipe"]["steps"]]
    assert {steps[r.id] for r in by_steps} == {6, 7}  # 24 samples in as many steps as 36 take, 36 in as many as 40


def test_an_audit_with_interventions_is_resumed_without_repeating_a_retraining(
    fresh: Store, fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path / "store")
    populate(store, "more", 12, seed=3)
    fields = {**fields, "interventions": ["corrupt", {"kind": "replace", "by": "accent=south"}]}
    whole = run(fresh, AuditPlan.parse(fields))
    real, done = bank.retrain, []

    def killed(**arguments: Any) -> dict[str, Any]:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(real(**arguments))
        return done[-1]

    monkeypatch.setattr(bank, "retrain", killed)
    with pytest.raises(KeyboardInterrupt):
        run(store, AuditPlan.parse(fields))
    monkeypatch.undo()
    ahead = outlook(store, sketch(store, request(store, AuditPlan.parse(fields))))
    assert (ahead.on_record, ahead.retrainings) == (3, whole.retrainings)
    after = run(store, AuditPlan.parse(fields))
    assert after.trained == whole.retrainings - 3
    keys = [r.key for r in store.runs() if r.kind == "train" and r.status == "completed"]
    assert len(set(keys)) == len(keys)
    assert [asdict(e) for e in after.effects] == [asdict(e) for e in whole.effects]


def test_what_changes_nothing_is_no_change(fresh: Store, fields: dict[str, Any]) -> None:
    recipe: Recipe = fields["recipe"]
    population = resolve_set(fresh, "train")
    ids = select(fresh, Slice.parse("accent=north"), population.digest)
    assert set(partners(fresh, ids, ids).items()) == {(i, i) for i in ids.to_pylist()}
    with pytest.raises(EarmarkError, match="replaces no sample by another"):
        freeze(
            fresh,
            request(fresh, AuditPlan.parse({**fields, "interventions": [{"kind": "replace", "by": "accent=north"}]})),
        )
    with pytest.raises(EarmarkError, match="augments accent=north in just this way"):
        sketch(fresh, request(fresh, AuditPlan.parse({**fields, "interventions": ["augment"]})))
    with pytest.raises(EarmarkError, match="not 1 alone"):
        AuditPlan.parse({**fields, "interventions": [{"kind": "reweight", "doses": [1]}]})
    making = Making(fresh, recipe, population, None)
    assert making.set_of(members(fresh, population.digest), "x") == population.digest


def test_partners_are_alike_and_shared_evenly(fresh: Store) -> None:
    population = resolve_set(fresh, "train").digest
    north, south = (select(fresh, Slice.parse(f"accent={a}"), population) for a in ("north", "south"))
    found = partners(fresh, north, south)
    assert sorted(found) == north.to_pylist()
    assert sorted(found.values()) == south.to_pylist()  # as many as there are: each once
    noise = {s: dict(row["attributes"])["noise"] for s, row in described(fresh, south).items()}
    few = id_array([s for kind in ("hum", "clean") for s in south.to_pylist() if noise[s] == kind][4:8])
    counts = [list(partners(fresh, north, few).values()).count(s) for s in few.to_pylist()]
    assert counts == [3, 3, 3, 3]
    seconds = {s: row["duration_s"] for s, row in described(fresh, members(fresh, population)).items()}
    apart = sum(abs(seconds[a] - seconds[b]) for a, b in found.items())
    assert apart <= sum(abs(seconds[a] - seconds[b]) for a, b in zip(north.to_pylist(), south.to_pylist(), strict=True))


def test_partners_are_recorded_alike(fresh: Store) -> None:
    """South and west have as many clips with hum as north, so each clip of north finds one that sounds as it does."""
    population = resolve_set(fresh, "train").digest
    north = select(fresh, Slice.parse("accent=north"), population)
    others = select(fresh, Slice.parse("accent <> 'north'"), population)
    found = partners(fresh, north, others)
    noise = {s: dict(r["attributes"])["noise"] for s, r in described(fresh, members(fresh, population)).items()}
    assert [noise[a] for a in found] == [noise[b] for b in found.values()]
    assert set(noise.values()) == {"hum", "clean"}


def test_a_swap_takes_the_same_from_another_source(fresh: Store, fields: dict[str, Any]) -> None:
    swap = {"kind": "swap", "by": "studio", "taken_from": "more"}
    plan = freeze(fresh, request(fresh, AuditPlan.parse({**fields, "interventions": [swap]})))
    (case,) = plan.comparisons
    found = pairs(substitutes(fresh, plan.rows[case.row].variations[0].substitutes))
    rows = described(fresh, id_array([*found, *found.values()]))
    attributes = {s: dict(row["attributes"]) for s, row in rows.items()}
    assert {rows[s]["source"] for s in found.values()} == {"studio"}
    assert {rows[s]["source"] for s in found} == {None}
    assert all(attributes[a][n] == attributes[b][n] for a, b in found.items() for n in ("accent", "noise"))
    with pytest.raises(EarmarkError, match="source=attic"):
        sketch(fresh, request(fresh, AuditPlan.parse({**fields, "interventions": [{**swap, "by": "attic"}]})))


def test_corrections_come_from_a_file(fresh: Store, fields: dict[str, Any], tmp_path: Path) -> None:
    population = resolve_set(fresh, "train").digest
    ids = select(fresh, Slice.parse("accent=north"), population).to_pylist()
    said = fresh.vault.transcripts(ids)
    file = tmp_path / "corrections.jsonl"
    wanted = {**fields, "interventions": [{"kind": "correct", "file": str(file)}], "controls": {"number": 0}}

    def written(texts: dict[Any, str]) -> str:
        file.write_text("\n".join(json.dumps({"sample_id": str(i), "text": text}) for i, text in texts.items()))
        return request(fresh, AuditPlan.parse(wanted)).digest

    first = written({ids[0]: "nine nine", ids[1]: said[ids[1]]})
    assert written({ids[1]: said[ids[1]], ids[0]: "nine nine"}) == first
    assert written({ids[0]: "nine"}) != first
    plan = freeze(fresh, request(fresh, AuditPlan.parse(wanted)))
    assert [c.phrase for c in plan.comparisons] == ["correcting accent=north"]
    assert "nine" not in json.dumps(fresh.resolve_run(plan.run_id).to_json())
    written({ids[0]: said[ids[0]]})
    with pytest.raises(EarmarkError, match="corrects no sample of accent=north"):
        sketch(fresh, request(fresh, AuditPlan.parse(wanted)))
    file.write_text('{"sample_id": "x"}')
    with pytest.raises(EarmarkError, match="line 1: no correction"):
        request(fresh, AuditPlan.parse(wanted))


def test_what_is_added_must_be_new(fresh: Store, fields: dict[str, Any]) -> None:
    again = {**fields, "interventions": [{"kind": "add", "taken_from": "train", "slices": ["accent=west"]}]}
    with pytest.raises(EarmarkError, match="are in the training set already"):
        sketch(fresh, request(fresh, AuditPlan.parse(again)))
