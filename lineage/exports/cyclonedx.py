"""CycloneDX 1.6 ML-BOM: what a model consists of, and how well it does.

    metadata.component   the model: digest of its weights, files with their hashes, model card
      modelCard          architecture, training data, word error rates by slice with their intervals
      pedigree           the base that it was fine-tuned from
    components           the training set and each source in it, with licences; the Python packages that trained it
    dependencies         model → data, packages

Nothing in it speaks of a person or a single sample. The file is checked with `cyclonedx-python-lib` before it is handed
over.
"""

from __future__ import annotations

import json
from typing import Any

from lineage.errors import EarmarkError, UnknownName
from lineage.exports import Format, need, register
from lineage.exports.parcel import Parcel
from lineage.identity import file_digest
from lineage.machine.environment import package_versions
from lineage.storage import artifacts
from lineage.storage.manifest import RunInfo
from lineage.subjects import without_folder

FILE = "bom.cdx.json"
VERSION = "1.6"


def _write(parcel: Parcel) -> None:
    need("cyclonedx-python-lib")
    run = next(r for r in parcel.history() if r.id == parcel.subject.run)
    data, packages = _data(parcel), _packages(run)
    model = _model(parcel, run, [d["bom-ref"] for d in data])
    parts = [*data, *packages]
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": VERSION,
        "serialNumber": f"urn:uuid:{parcel.run.id}",
        "version": 1,
        "metadata": {
            "timestamp": run.ended.isoformat(),
            "tools": {"components": [{"type": "application", "name": "earmark", "version": _version()}]},
            "component": model,
        },
        "components": parts,
        "dependencies": [
            {"ref": model["bom-ref"], "dependsOn": [p["bom-ref"] for p in parts]},
            *({"ref": p["bom-ref"]} for p in parts),
        ],
    }
    text = json.dumps(bom, indent=1, ensure_ascii=False) + "\n"
    _check(text)
    parcel.write(FILE, text)
    parcel.reading.append(f"{FILE} is a CycloneDX {VERSION} bill of materials; any CycloneDX tool reads it.")


def _version() -> str:
    return package_versions("earmark").get("earmark", "0")


def _model(parcel: Parcel, run: RunInfo, data: list[str]) -> dict[str, Any]:
    facts = parcel.subject.facts
    told = {
        "type": "machine-learning-model",
        "bom-ref": f"model:{parcel.subject.digest}",
        "name": without_folder(facts["name"] or parcel.subject.digest),
        "version": parcel.subject.digest,
        "description": "version is the SHA-256 over the weights as tensors, in whatever file they are kept",
        "components": _files(parcel, facts["artifact"]),
        "properties": _properties(
            run=run.id, code=run.code_version, seed=facts["seed"], threads=run.threads,
            parameters=facts["parameters"], trainable=facts["trainable"], training_set=facts["set_digest"],
        ),
        "modelCard": {
            "modelParameters": {
                "approach": {"type": "supervised"},
                "task": "automatic speech recognition",
                "architectureFamily": facts["family"],
                "datasets": [{"ref": ref} for ref in data],
                "inputs": [{"format": "speech"}],
                "outputs": [{"format": "text"}],
            },
            "quantitativeAnalysis": {"performanceMetrics": _metrics(parcel)},
        },
    }  # fmt: skip
    if facts["base"]:
        base = {"type": "machine-learning-model", "name": without_folder(facts["base"])}
        told["pedigree"] = {"ancestors": [base]}
    return told


def _files(parcel: Parcel, artifact: str | None) -> list[dict[str, Any]]:
    """The model's files with their hashes; none if the store does not hold them any more."""
    try:
        place = artifacts.find(parcel.store.root, artifact or "")
    except UnknownName:
        return []
    files = [p for p in sorted(place.rglob("*")) if p.is_file()] if place.is_dir() else [place]
    return [
        {
            "type": "file",
            "name": p.relative_to(place).as_posix() if place.is_dir() else parcel.subject.name or "weights",
            "hashes": [{"alg": "SHA-256", "content": file_digest(p)}],
        }
        for p in files
    ]


def _metrics(parcel: Parcel) -> list[dict[str, Any]]:
    """The newest figure of each metric, slice and evaluation set."""
    query = """
        SELECT metric, slice, set_digest, value, low, high FROM metrics WHERE model_id = ?
        QUALIFY row_number() OVER (PARTITION BY metric, slice, set_digest ORDER BY run_id DESC) = 1
        ORDER BY set_digest, metric, slice"""
    told = []
    for row in parcel.store.sql(query, [parcel.subject.digest]).to_pylist():
        population = parcel.store.subjects.find(row["set_digest"])
        metric = {
            "type": row["metric"],
            "value": repr(row["value"]),
            "slice": f"{row['slice']} of {population.name or population.digest}",
        }
        if row["low"] is not None and row["high"] is not None:
            metric["confidenceInterval"] = {"lowerBound": repr(row["low"]), "upperBound": repr(row["high"])}
        told.append(metric)
    return told


def _data(parcel: Parcel) -> list[dict[str, Any]]:
    """The training set, and each source that its samples came from with its licences."""
    if not parcel.subject.facts["set_digest"]:
        return []
    whole = parcel.samples
    query = """
        SELECT source, licence, count(*) AS samples, sum(duration_s) AS duration_s FROM (
            SELECT * FROM samples WHERE sample_id IN (SELECT sample_id FROM members WHERE set_digest = ?)
            QUALIFY row_number() OVER (PARTITION BY sample_id ORDER BY run_id DESC) = 1)
        GROUP BY ALL ORDER BY ALL"""
    rows = parcel.store.sql(query, [whole.digest]).to_pylist()
    facts = whole.facts
    size = _properties(samples=facts.get("size"), duration_s=facts.get("duration_s"), words=facts.get("words"))
    told = [
        _component(f"set:{whole.digest}", whole.name or whole.digest, whole.digest, {r["licence"] for r in rows}, size)
    ]
    for source in dict.fromkeys(r["source"] for r in rows if r["source"] is not None):
        own = [r for r in rows if r["source"] == source]
        size = _properties(samples=sum(r["samples"] for r in own), duration_s=sum(r["duration_s"] for r in own))
        told.append(_component(f"source:{source}", source, None, {r["licence"] for r in own}, size))
    return told


def _component(
    ref: str, name: str, version: str | None, licences: set[str | None], properties: list[dict[str, str]]
) -> dict[str, Any]:
    given = sorted(text for text in licences if text)
    told: dict[str, Any] = {
        "type": "data",
        "bom-ref": ref,
        "name": without_folder(name),
        "data": [{"type": "dataset", "name": without_folder(name), "contents": {"properties": properties}}],
    }
    if version is not None:
        told["version"] = version
    if given:
        told["licenses"] = _licences(given)
    return told


def _licences(given: list[str]) -> list[dict[str, Any]]:
    """SPDX ids as such; one expression alone as such; anything else by name, which the schema allows beside others."""
    from cyclonedx.spdx import is_expression, is_supported_id

    if len(given) == 1 and not is_supported_id(given[0]) and is_expression(given[0]):
        return [{"expression": given[0]}]
    return [{"license": {"id" if is_supported_id(text) else "name": text}} for text in given]


def _packages(run: RunInfo) -> list[dict[str, Any]]:
    versions = run.environment.get("packages", {})
    return [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{version}",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version.replace('+', '%2B')}",
        }
        for name, version in sorted(versions.items())
    ]


def _properties(**facts: Any) -> list[dict[str, str]]:
    return [{"name": f"earmark:{name}", "value": str(value)} for name, value in facts.items() if value is not None]


def _check(text: str) -> None:
    """Raise unless `cyclonedx-python-lib` finds the bill right."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    error = JsonStrictValidator(SchemaVersion.from_version(VERSION)).validate_str(text)
    if error is not None:
        raise EarmarkError(f"cyclonedx-python-lib finds fault with the bill: {error} — please report this")


register(Format("cyclonedx", f"CycloneDX {VERSION} bill of materials of a model", ("model",), False, _write))
