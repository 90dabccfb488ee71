"""Formats that describe: Croissant, PROV and CycloneDX, each held against its own tools."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lineage.exports.share import export
from lineage.selection.sets import members, resolve_set
from lineage.store import Store
from tests.lineage.exports.conftest import MODEL


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_croissant_is_read_by_mlcroissant_without_a_warning(corpus: Store, tmp_path: Path) -> None:
    import mlcroissant

    export(corpus, "slow", "croissant", tmp_path / "out")
    loaded = mlcroissant.Dataset(jsonld=str(tmp_path / "out" / "croissant.json"))
    assert not loaded.metadata.ctx.issues.errors
    assert not loaded.metadata.ctx.issues.warnings
    records = list(loaded.records("samples"))
    wanted = [str(i) for i in members(corpus, resolve_set(corpus, "slow").digest).to_pylist()]
    assert [r["samples/sample_id"].decode() for r in records] == wanted
    assert {r["samples/accent"] for r in records} == {b"scot", None}
    assert sum(r["samples/duration_s"] for r in records) == pytest.approx(resolve_set(corpus, "slow").duration_s)


def test_croissant_tells_version_licences_and_history(corpus: Store, tmp_path: Path) -> None:
    export(corpus, "slow", "croissant", tmp_path / "out")
    told = read(tmp_path / "out" / "croissant.json")
    words, slow = resolve_set(corpus, "words").digest, resolve_set(corpus, "slow").digest
    assert told["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert told["identifier"] == f"urn:earmark:set:{slow}"
    assert told["version"].endswith(slow[:12])
    assert told["license"] == [f"https://spdx.org/licenses/{i}.html" for i in ("CC-BY-4.0", "CC0-1.0")]
    assert told["prov:wasDerivedFrom"] == [{"@id": f"urn:earmark:set:{words}"}]
    assert [a["prov:label"] for a in told["prov:wasGeneratedBy"]] == ["ingest", "transform"]
    assert told["inLanguage"] == ["en"]
    assert told["rai:dataPreprocessingProtocol"] == ['speed {"factor":0.9}']


@pytest.mark.parametrize(("ref", "activities"), [("slow", 2), ("tiny", 3)])
def test_prov_is_read_by_the_prov_library_and_back(corpus: Store, tmp_path: Path, ref: str, activities: int) -> None:
    model = pytest.importorskip("prov.model")
    export(corpus, ref, "prov", tmp_path / "out")
    document = model.ProvDocument.deserialize(tmp_path / "out" / "prov.json", format="json")
    again = model.ProvDocument.deserialize(content=document.serialize(format="json"), format="json")
    assert again == document
    count = Counter(type(r).__name__ for r in document.records)
    assert (count["ProvActivity"], count["ProvMembership"], count["ProvDerivation"]) == (activities, 5, 5)


def test_prov_leads_from_the_model_to_every_recording(corpus: Store, tmp_path: Path) -> None:
    export(corpus, "tiny", "prov", tmp_path / "out")
    told = read(tmp_path / "out" / "prov.json")
    made_by = {g["prov:entity"]: g["prov:activity"] for g in told["wasGeneratedBy"].values()}
    used = {u["prov:activity"]: u["prov:entity"] for u in told["used"].values()}
    slow = used[made_by[f"earmark:model-{MODEL}"]]
    assert slow == f"earmark:set-{resolve_set(corpus, 'slow').digest}"
    held = {m["prov:entity"] for m in told["hadMember"].values() if m["prov:collection"] == slow}
    parents = {d["prov:generatedEntity"]: d["prov:usedEntity"] for d in told["wasDerivedFrom"].values()}
    recordings = {parents[sample] for sample in held}
    words = members(corpus, resolve_set(corpus, "words").digest).to_pylist()
    assert recordings == {f"earmark:sample-{i}" for i in words}
    assert recordings | held <= told["entity"].keys()
    assert "transform transformed" not in json.dumps(told)


def test_prov_names_people_only_when_asked(corpus: Store, tmp_path: Path) -> None:
    export(corpus, "slow", "prov", tmp_path / "out", personal=True)
    told = read(tmp_path / "out" / "prov.json")
    people = {a["prov:label"] for n, a in told["agent"].items() if "speaker" in n}
    assert people == {"Ottilie", "Walburga"}
    assert len(told["wasAttributedTo"]) == 8
    assert corpus.runs()[-1].config["personal"]


def test_the_bill_of_a_model(corpus: Store, tmp_path: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    export(corpus, "tiny", "cyclonedx", tmp_path / "out")
    text = (tmp_path / "out" / "bom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    told = json.loads(text)
    model = told["metadata"]["component"]
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "tiny", MODEL)
    assert [f["name"] for f in model["components"]] == ["model.safetensors"]
    assert model["pedigree"]["ancestors"][0]["name"] == "base"
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert [(m["slice"], m["value"]) for m in metrics] == [("accent=scot of slow", "0.2"), ("all of slow", "0.12")]
    assert metrics[1]["confidenceInterval"] == {"lowerBound": "0.1", "upperBound": "0.14"}
    data = {c["bom-ref"]: c for c in told["components"] if c["type"] == "data"}
    slow = resolve_set(corpus, "slow").digest
    assert data.keys() == {f"set:{slow}", "source:corpus"}
    assert [entry["license"] for entry in data["source:corpus"]["licenses"]] == [{"id": "CC-BY-4.0"}, {"id": "CC0-1.0"}]
    purls = [c["purl"] for c in told["components"] if c["type"] == "library"]
    assert any(p.startswith("pkg:pypi/numpy@") for p in purls)
    assert {d["ref"] for d in told["dependencies"]} == {c["bom-ref"] for c in (model, *told["components"])}


@pytest.mark.parametrize(
    ("licences", "told"),
    [
        (["CC0-1.0"], [{"license": {"id": "CC0-1.0"}}]),
        (["CC-BY-4.0 AND CC0-1.0"], [{"expression": "CC-BY-4.0 AND CC0-1.0"}]),
        (["A AND B", "CC0-1.0"], [{"license": {"name": "A AND B"}}, {"license": {"id": "CC0-1.0"}}]),
        (["our own terms"], [{"license": {"name": "our own terms"}}]),
    ],
)  # fmt: skip
def test_licences_of_a_bill(licences: list[str], told: list[dict[str, Any]]) -> None:
    from lineage.exports.cyclonedx import _licences

    assert _licences(licences) == told
