"""A card says what is on record, says where nothing is, and cannot be led astray by what things are called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from lineage.people import rights
from lineage.people.policy import Policy, PolicyRefused
from lineage.schema import TABLES
from lineage.selection.sets import SampleSet, members, resolve_set
from lineage.store import Store
from tests.training.hub_server import Hub
from training.models.recorded import adopt_base, resolve_model
from training.publishing import terms
from training.publishing.card import gaps, model_card
from training.publishing.datacard import withdrawn
from training.publishing.findings import Findings, findings
from training.publishing.publish import publish_model

SPDX = {
    "CC-BY-4.0": "cc-by-4.0",
    "GPL-3.0-or-later": "gpl-3.0",
    "ODbL-1.0": "odbl",
    "CC0-1.0 AND MIT": "other",
    "LicenseRef-ours": "other",
}


def row(slice: str, value: float, low: float | None, high: float | None, speakers: int, **more: Any) -> dict[str, Any]:
    interval = {"value": value, "low": low, "high": high, "level": 0.95, "speakers": speakers}
    return {"slice": slice, "metric": "wer", **interval, "samples": 9, "words": 90, "normaliser": "basic@0", **more}


@pytest.fixture(scope="module")
def found(able: Store) -> Findings:
    """Findings of a model with an evaluation and an audit, as rows on record."""
    model = resolve_model(able, "able")
    tested, trained = resolve_set(able, "test").digest, model.set_digest
    rows = [
        row("all", 0.10, 0.08, 0.12, 20),
        row("accent=<b>|north", 0.30, 0.20, 0.40, 9),
        row("accent=south", 0.12, 0.07, 0.16, 9),
        row("accent=west", 0.5, None, None, 1),
        row("accent=*", 0.2, 0.1, 0.3, 20, metric="wer_macro"),
        row("all", 0.01, 0.0, 0.02, 20, metric="wer_difference", baseline="other"),
    ]
    with able.run("evaluate") as run:
        run.append("metrics", [{"model_id": model.model_id, "set_digest": tested, **r} for r in rows])
    with able.run("ablate", job=able.resolve_run(model.run_id).job, inputs=[str(trained)]) as run:
        effect = {
            "audit": "a", "train_slice": "accent=north", "train_set": "s", "eval_slice": "accent=north", "eval_set": "e",
            "metric": "wer", "estimate": 0.041, "low": 0.02, "high": 0.06, "level": 0.95, "control": -0.003, "seeds": 4,
            "verdict": "helps",
        }  # fmt: skip
        planted = {"train_slice": "planted", "eval_slice": "all", "intervention": "planted", "verdict": "hurts"}
        run.append(
            "effects", [effect, {**effect, "train_slice": "noise=hum", "verdict": "hurts"}, {**effect, **planted}]
        )
    return findings(able, model)


def test_figures_gaps_and_findings_stand_on_the_card(found: Findings) -> None:
    text = model_card(found, "ann/able")
    for line in (
        "| all | 10.0 % | 8.0 % to 12.0 % | 20 | 9 | 90 |",
        "| accent=west | 50.0 % | too few speakers | 1 | 9 | 90 |",
        "| WER, mean over slices | accent=\\* | 20.0 % | 10.0 % to 30.0 % |",
        "| accent=north | accent=north | +4.1 | +2.0 to +6.0 | -0.3 | helps |",
        "over 4 paired seeds",
        f"`{found.model.model_id}`",
        f"up to entry {found.position}, where its root is `{found.root}`",
    ):
        assert line in text, line
    assert "noise=hum" not in text  # measured on another slice than its own
    assert "planted" not in text  # this model never learnt from corrupted words
    assert "1.0 %" not in text.replace("1.0 % to", "")  # a difference between models is no rate of this one


def test_gaps_are_slices_of_few_and_slices_that_are_clearly_worse(found: Findings) -> None:
    told = gaps(found)
    assert [t.split(" of set")[0] for t in told if "clearly worse" in t] == ["accent=\\<b\\>\\|north"]
    assert [t for t in told if "1 speaker only" in t]
    assert not [t for t in told if "south" in t]
    assert "nothing is known" in gaps(replace(found, metrics=()))[0]


def test_the_same_record_gives_the_same_card_and_another_run_changes_nothing(able: Store, found: Findings) -> None:
    before = model_card(found, "ann/able")
    with able.run("note"):
        pass
    assert model_card(findings(able, found.model), "ann/able") == before


def test_metadata_is_yaml_that_the_hub_reads(found: Findings) -> None:
    hostile = replace(found, model=replace(found.model, name="a: b\n---\n# <script>"))
    card = ModelCard(model_card(hostile, "ann/able", licence="GPL-3.0-or-later"))
    told = yaml.safe_load(card.data.to_yaml())
    assert (told["license"], told["pipeline_tag"]) == ("gpl-3.0", "automatic-speech-recognition")
    results = {r["dataset"]["config"]: r for r in told["model-index"][0]["results"]}
    whole = results["all"]["metrics"][0]
    assert (whole["type"], whole["value"], whole["args"]["low"], whole["args"]["speakers"]) == ("wer", 10.0, 8.0, 20)
    assert "<script>" not in card.text


def test_a_base_that_nobody_here_trained_says_so(able: Store, base: Path) -> None:
    text = model_card(findings(able, adopt_base(able, str(base))), "ann/base")
    for said in ("a copy of `base", "Nobody here trained it", "was not evaluated", "Nothing is on record of the data"):
        assert said in text, said
    assert str(base.parent) not in text


@pytest.mark.parametrize(("licence", "hub"), SPDX.items())
def test_licences_as_hubs_spell_them(licence: str, hub: str) -> None:
    told = terms.metadata(licence)
    assert told == ({"license": hub} if hub != "other" else {"license": "other", "license_name": licence})


def test_what_is_stated_of_a_source_outweighs_what_its_rows_said(
    tmp_path: Path, populate: Callable[..., SampleSet]
) -> None:
    store = Store.init(tmp_path / "store")
    said = populate(store, "said", 4, seed=3)
    with store.run("ingest") as run:
        rows = store.read("samples", TABLES["samples"].names).to_pylist()
        run.append("samples", [{**r, "source": "booth", "licence": "MIT"} for r in rows])
    assert terms.behind_set(store, said.digest) == [terms.Origin("booth", "MIT", 4, 4)]
    rights.state(store, "booth", licence="CC-BY-4.0")
    assert terms.joint(terms.behind_set(store, said.digest)) == "CC-BY-4.0"
    assert withdrawn(store, said.digest, []).of_all == 0


def test_what_augmentation_mixes_in_and_earlier_models_count_among_what_a_model_is_made_of(
    tmp_path: Path, populate: Callable[..., SampleSet], hub: Hub
) -> None:
    store = Store.init(tmp_path / "store")
    sets = {name: populate(store, name, 4, seed=i) for i, name in enumerate(("first", "second", "noises"))}
    with store.run("ingest") as run:
        for name, licence in (("first", "MIT"), ("noises", "CC0-1.0"), ("second", "CC-BY-4.0")):
            wanted = f"sample_id IN (SELECT sample_id FROM members WHERE set_digest = '{sets[name].digest}')"
            rows = store.read("samples", TABLES["samples"].names, wanted).to_pylist()
            run.append("samples", [{**r, "source": name, "licence": licence} for r in rows])
    for model, name, inputs, augment in (
        ("a" * 64, "first", [], []),
        ("b" * 64, "second", ["a" * 64], [{"name": "noise", "others": sets["noises"].digest}]),
    ):
        ids = members(store, sets[name].digest).to_pylist()
        with store.run("train", job=name, config={"augment": augment}, inputs=[sets[name].digest, *inputs]) as run:
            run.append(
                "exposures", [{"step": 0, "position": i, "sample_id": s, "weight": 1.0} for i, s in enumerate(ids)]
            )
            row = {"model_id": model, "name": name, "family": "whisper", "base": "base", "artifact": model[::-1]}
            run.append("models", [{**row, "set_digest": sets[name].digest}])
            run.outputs.append(model)
    told = findings(store, resolve_model(store, "second"))
    assert terms.joint(told.origins) == "CC-BY-4.0 AND CC0-1.0 AND MIT"
    assert {s.name for s in told.sets.values()} == {"first", "second"}
    assert "training of an earlier model | first" in model_card(told, "ann/second")
    with pytest.raises(PolicyRefused, match=r"CC0-1\.0 is not allowed"):
        publish_model(store, "second", "ann/second", policy=Policy(name="p", licences=("MIT", "CC-BY-4.0")))
    assert not hub.requests
