"""Croissant 1.1: a set described for people and programs that look for data, without the data that are personal.

    croissant.json    JSON-LD: name, licences, version (set digest), where it came from (PROV-O), files and their columns
    samples.parquet   the public facts of each sample: duration, rate, words, source, licence, attributes

Sound, words and speakers are not here: they go with the formats made for training. The file is checked with `mlcroissant`
before it is handed over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lineage import sql
from lineage.errors import EarmarkError
from lineage.exports import Format, need, register
from lineage.exports.parcel import Parcel
from lineage.exports.utterances import attribute_names
from lineage.identity import file_digest
from lineage.schema import TABLES
from lineage.storage.manifest import RunInfo
from lineage.subjects import without_folder

FILE, TABLE = "croissant.json", "samples.parquet"
CORE = ("sample_id", "source", "licence", "kind", "duration_s", "sample_rate", "channels", "words", "characters")
TYPES = {"DOUBLE": "cr:Float64", "INTEGER": "cr:Int32", "VARCHAR": "sc:Text", "UUID": "sc:Text"}
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{
        term: f"cr:{term}"
        for term in (
            "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileObject",
            "fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5",
            "parentField", "path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator",
            "source", "subField", "transform",
        )
    },
}  # fmt: skip


def _write(parcel: Parcel) -> None:
    need("mlcroissant")
    attributes = [name for name in attribute_names(parcel) if name not in TABLES["samples"].names]
    table = parcel.folder / TABLE
    rows = _rows(parcel, attributes)
    pq.write_table(rows, table, compression="zstd")
    parcel.result["samples"] = rows.num_rows
    path = parcel.write_json(FILE, _described(parcel, table, rows, attributes))
    _check(path)
    parcel.reading += [
        f"{FILE} is Croissant 1.1: mlcroissant.Dataset('{FILE}').records('samples') in this folder.",
        f"{TABLE} can be read by itself. Sound and words are not part of this export.",
    ]


def _rows(parcel: Parcel, attributes: list[str]) -> pa.Table:
    columns = ["sample_id::VARCHAR AS sample_id", *CORE[1:], *(sql.identifier(name) for name in attributes)]
    query = f"""
        SELECT {", ".join(columns)} FROM samples
        WHERE sample_id IN (SELECT sample_id FROM members WHERE set_digest = ?)
        QUALIFY row_number() OVER (PARTITION BY sample_id ORDER BY run_id DESC) = 1 ORDER BY sample_id"""
    return parcel.store.sql(query, [parcel.subject.digest])


def _described(parcel: Parcel, table: Path, rows: pa.Table, attributes: list[str]) -> dict[str, Any]:
    subject, facts = parcel.subject, parcel.subject.facts
    name = without_folder(subject.name or subject.digest)
    runs = parcel.history()
    origin = next(r for r in runs if r.id == subject.run)
    known = [licence for licence in rows["licence"].unique().to_pylist() if licence]
    hours = (facts["duration_s"] or 0) / 3600
    told = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": name,
        "description": f"{facts['size']} samples, {hours:.2f} hours, {facts['words'] or 0} words. A sample set of Earmark.",
        "identifier": f"urn:earmark:set:{subject.digest}",
        "version": f"1.0.0+{subject.digest[:12]}",
        "dateCreated": origin.started.date().isoformat(),
        "datePublished": origin.ended.date().isoformat(),
        "license": [_licence(text) for text in sorted(known)] or ["NOASSERTION"],
        "keywords": ["speech", "speech recognition"],
        "inLanguage": _values(rows, "language"),
        "citeAs": f"{name}, sample set {subject.digest}",
        "url": f"urn:earmark:set:{subject.digest}",
        "prov:wasDerivedFrom": [{"@id": f"urn:earmark:set:{digest}"} for digest in facts["parents"] or ()],
        "prov:wasGeneratedBy": [_activity(run) for run in runs],
        "rai:dataPreprocessingProtocol": _transforms(parcel),
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": TABLE,
                "name": TABLE,
                "contentUrl": TABLE,
                "contentSize": f"{table.stat().st_size} B",
                "encodingFormat": "application/x-parquet",
                "sha256": file_digest(table),
            }
        ],
        "recordSet": [_records(parcel, attributes)],
    }
    return {key: value for key, value in told.items() if value not in ([], None)}


def _records(parcel: Parcel, attributes: list[str]) -> dict[str, Any]:
    kinds = parcel.store.attributes()
    columns = {c.name: (TYPES[sql.type_name(c.type)], c.doc) for c in TABLES["samples"].columns if c.name in CORE}
    columns |= {a: ("cr:Float64" if kinds.get(a) == "number" else "sc:Text", "Attribute.") for a in attributes}
    return {
        "@type": "cr:RecordSet",
        "@id": "samples",
        "name": "samples",
        "description": TABLES["samples"].doc,
        "key": {"@id": "samples/sample_id"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"samples/{name}",
                "name": name,
                "description": doc,
                "dataType": type,
                "source": {"fileObject": {"@id": TABLE}, "extract": {"column": name}},
            }
            for name, (type, doc) in columns.items()
        ],
    }


def _licence(text: str) -> str:
    """The address of an SPDX licence; an expression of several stays as it is."""
    return f"https://spdx.org/licenses/{text}.html" if " " not in text else text


def _values(rows: pa.Table, column: str) -> list[str]:
    return sorted(v for v in rows[column].unique().to_pylist() if v) if column in rows.column_names else []


def _activity(run: RunInfo) -> dict[str, Any]:
    return {
        "@type": "prov:Activity",
        "@id": f"urn:earmark:run:{run.id}",
        "prov:label": run.kind,
        "prov:startedAtTime": run.started.isoformat(),
        "prov:endedAtTime": run.ended.isoformat(),
        "prov:wasAssociatedWith": {"@type": "prov:SoftwareAgent", "prov:label": f"Earmark {run.code_version}"},
    }


def _transforms(parcel: Parcel) -> list[str]:
    """What was done to the sound of the set's samples, at any remove."""
    query = """
        SELECT DISTINCT t.name, t.parameters FROM edges e JOIN transforms t USING (transform_id)
        WHERE e.child_id IN (SELECT sample_id FROM members WHERE set_digest = ?) ORDER BY ALL"""
    return [f"{r['name']} {r['parameters']}" for r in parcel.store.sql(query, [parcel.subject.digest]).to_pylist()]


def _check(path: Path) -> None:
    """Raise unless `mlcroissant` finds the description right."""
    import mlcroissant

    try:
        mlcroissant.Dataset(jsonld=str(path))
    except mlcroissant.ValidationError as error:
        raise EarmarkError(f"mlcroissant finds fault with the description: {error} — please report this") from error


register(Format("croissant", "Croissant 1.1 description of a set", ("set",), False, _write))
