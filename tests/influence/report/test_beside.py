"""What else is on record of the same thing stands in the report; what is about another thing does not."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from influence.audit import AuditReport, run
from influence.causes.forecast import forecast
from influence.causes.gap import gap
from influence.discovery.discover import discover
from influence.games.coalitions import interact
from influence.plans.planfile import AuditPlan
from influence.report.machine import schema, to_json
from influence.report.page import page
from influence.report.record import AuditRecord, read
from lineage.store import Store
from tests.influence.conftest import make_store
from tests.influence.report.conftest import effect, put
from tests.influence.report.surroundings import surround
from tests.influence.report.test_page import HOSTILE, seen, tree
from training.recipe import Recipe

LONG = "note=" + 40 * "what somebody typed and never read again " + 300 * "x"
GRAPH = {
    "edges": [["home", "accent"], ["accent", "errors"], ["home", "noise"], ["noise", "errors"]],
    "unobserved": ["home"],
}
SECTIONS = [
    "Interactions between slices", "Causes of the gaps", "What to collect next", "Slices that were discovered",
]  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("beside") / "store")


@pytest.fixture(scope="module")
def short(recipe: Recipe) -> Recipe:
    return recipe.variant(epochs=1, checkpoints=0)


@pytest.fixture(scope="module")
def done(kept: Store, short: Recipe) -> AuditReport:
    fields: dict[str, Any] = {
        "name": "north", "recipe": short.model_dump(mode="json", exclude_defaults=True), "slices": ["accent=north"],
        "look_at": ["accent=north"], "seeds": 2, "controls": {"number": 0}, "statistics": {"replicates": 50},
        "causes": "duration_s -> accent -> errors; duration_s -> errors",
        "interventions": [{"kind": "remove", "variants": True}],
    }  # fmt: skip
    return run(kept, AuditPlan.parse(fields))


@pytest.fixture(scope="module")
def record(kept: Store, short: Recipe, done: AuditReport) -> AuditRecord:
    """The audit, after everything that may be asked was asked: of its subject, and of another."""
    alone = read(kept, "north")
    assert (alone.beside.games, alone.beside.forecasts, alone.beside.searches) == ((), (), ())
    model = done.causes[0].report
    assert model is not None
    own = kept.resolve_run(model.run_id).inputs[0]
    other = short.variant(learning_rate=1e-4)
    for one in (short.variant(name="under another name"), other):
        interact(kept, one, slices=["accent=north", "accent=west"], seeds=2, replicates=50)
        forecast(kept, one, ["accent=north"], seeds=2, replicates=50)
    gap(kept, own, "test", "noise=hum", adjust=["duration_s"], replicates=50)
    gap(kept, own, "train", "noise=hum", adjust=["duration_s"], replicates=50)
    for _ in range(2):
        discover(kept, own, "test", candidates=2, replicates=50)
    return read(kept, "north")


def test_each_is_found_once_and_is_what_was_found(record: AuditRecord, kept: Store, done: AuditReport) -> None:
    found = record.beside
    assert len(found.games) == len(found.forecasts) == len(found.searches) == 1
    game = found.games[0]
    rows = kept.read("interactions", where="run_id = ?", parameters=[game.run_id]).to_pylist()
    assert [(r["slices"], r["estimate"]) for r in rows] == [(r.slices, r.estimate) for r in game.rows]
    assert found.forecasts[0].rows[0].train_slice == "accent=north"
    search = found.searches[0]
    assert (search.searched.rpartition("-")[2], search.tested.rpartition("-")[2]) == ("discover", "confirm")
    assert [(g.slice, g.planned) for g in found.gaps] == [("accent=north", True), ("noise=hum", False)]
    assert found.gaps[0].report == done.causes[0].report


def test_the_page_tells_each_figure(record: AuditRecord) -> None:
    text = seen(tree(page(record)))
    places = [text.index(f"{title} ") for title in SECTIONS]
    assert places == sorted(places)
    for game in record.beside.games:
        for r in (r for r in game.rows if r.metric == "wer"):
            assert f"{r.slices} " in text
    for row in record.beside.forecasts[0].rows:
        assert row.train_slice in text
    for f in record.beside.searches[0].found:
        assert f.candidate.name in text
    assert "Causal graph duration_s → accent; accent → errors; duration_s → errors" in text


def test_fixed_steps_stand_beside_fixed_epochs(record: AuditRecord) -> None:
    """Their difference is the effect that was measured, and none of the three is taken for leaving out in place."""
    root = tree(page(record))
    section = next(s for s in root.iter("section") if s[0].text == "Fixed epochs and fixed steps")
    table = next(section.iter("table"))
    row = next(r for r in table.iter("tr") if "accent=north" in seen(r[1]))
    shown = [float(re.sub("−", "-", b.text or "")) for b in row.iter("b")]
    cells = {e.intervention: e for e in record.effects if e.metric == "wer" and e.eval_slice == "accent=north"}
    wanted = [cells[k] for k in ("remove", "remove:epochs", "remove:steps", "remove:steps-epochs")]
    if all(e.low is not None for e in wanted):
        assert shown == [round(100 * e.estimate, 1) for e in wanted]
    difference = wanted[2].estimate - wanted[1].estimate
    assert wanted[3].estimate == pytest.approx(difference)
    forests = [t for t in root.iter("table") if t.get("class") == "forest" and "on itself" in seen(t[0])]
    assert [len(t.findall("tbody/tr")) for t in forests] == [1, 1]


def test_the_document_has_the_shape_that_is_written_down(record: AuditRecord, bare: Store) -> None:
    check = Draft202012Validator(schema())
    surround(bare, [HOSTILE, LONG, "accent=scot"], GRAPH)
    for one in (record, read(bare, "audit")):
        document = to_json(one)
        check.validate(document)
        assert json.loads(json.dumps(document, allow_nan=False)) == document
        assert all(document[name] for name in ("games", "gaps", "forecasts", "discoveries"))
    assert "anna" not in json.dumps(document)


def test_hostile_names_do_nothing_anywhere(bare: Store) -> None:
    surround(bare, [HOSTILE, LONG, "accent=scot"], GRAPH)
    text = page(read(bare, "audit"))
    root = tree(text)
    assert [h.text for h in root.iter("h2")][2:6] == SECTIONS
    assert not {"script", "img", "a", "link", "iframe"} & {e.tag.rpartition("}")[2] for e in root.iter()}
    assert not [n for e in root.iter() for n in e.attrib if n.startswith("on") or n in ("href", "src")]
    quiet = ("bdi", "title", "pre")
    turned = [e for e in root.iter() if e.tag.rpartition("}")[2] not in quiet and "\u202e" in (e.text or "")]
    assert turned == []
    assert "The gap of device=<b> is not told: no overlap: 90% of <b> were said elsewhere." in seen(root)


def test_every_table_and_drawing_says_what_it_is(bare: Store) -> None:
    surround(bare, ["a", "b"], GRAPH)
    root = tree(page(read(bare, "audit")))
    assert all(t[0].tag == "caption" and seen(t[0]) for t in root.iter("table"))
    assert all(h.get("scope") in ("row", "col") for h in root.iter("th"))
    drawn = [s for s in root.iter() if s.tag.endswith("svg") and s.get("role") == "img"]
    assert all(s[0].tag.endswith("title") and s[0].text for s in drawn)
    graphs = [s for s in drawn if s.get("class") == "graph"]
    assert [s[0].text for s in graphs] == [
        "Causal graph: accent acts on errors; home acts on accent; home acts on noise; noise acts on errors"
    ]
    wrong = [e for e in root.iter() if {"good", "bad"} & set((e.get("class") or "").split())]
    assert {seen(e).split(" ")[-1] for e in wrong} <= {"stands", "falls", "holds", "fails", "confirmed"}
    assert wrong


def test_without_anything_beside_there_is_no_section(bare: Store) -> None:
    put(bare, [effect("a", "a", 0.1)], plan={})
    text = page(read(bare, "audit"))
    assert not [title for title in [*SECTIONS, "Fixed epochs", "Also on record"] if title in text]
