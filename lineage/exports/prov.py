"""W3C PROV-JSON: what a set or a model was made of, by which runs, back to the first recordings.

    entities    sets, models and artifacts that runs read or made; samples of the set, and all that they were made of
    activities  runs, with their times
    agents      the versions of the code that did the work; with `personal`, the speakers by name
    relations   used, wasGeneratedBy, wasAssociatedWith, wasInformedBy; wasDerivedFrom from sample to sample, with the
                transform and where the part lies; hadMember

Without `personal` nothing in it leads to a person: samples stand there by their ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lineage import graph
from lineage.exports import Format, register
from lineage.exports.parcel import Parcel
from lineage.ids import id_array
from lineage.recorder import described
from lineage.selection.sets import members
from lineage.storage.manifest import RunInfo
from lineage.subjects import Subject, without_folder

FILE = "prov.json"
PREFIXES = {"earmark": "urn:earmark:", "prov": "http://www.w3.org/ns/prov#", "xsd": "http://www.w3.org/2001/XMLSchema#"}
FACTS = ("size", "duration_s", "words", "family", "parameters", "trainable", "seed")
PLACES = ("role", "position", "parent_start_s", "child_start_s", "duration_s", "gain_db")
CHUNK = 10_000


class _Document:
    """A PROV document under construction."""

    def __init__(self) -> None:
        self.value: dict[str, Any] = {"prefix": PREFIXES}

    def add(self, kind: str, name: str, facts: Mapping[str, Any]) -> str:
        """Add an element or say more of it; returns its name."""
        known = self.value.setdefault(kind, {}).setdefault(name, {})
        known |= {key: _literal(v) for key, v in facts.items() if v is not None}
        return name

    def relate(self, kind: str, facts: Mapping[str, Any]) -> None:
        """Add a relation, which needs no name."""
        known = self.value.setdefault(kind, {})
        self.add(kind, f"_:{kind}{len(known)}", facts)


def _literal(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    return {"$": repr(value), "type": "xsd:double" if isinstance(value, float) else "xsd:long"}


def _write(parcel: Parcel) -> None:
    document = _Document()
    find = parcel.store.subjects.find
    runs = parcel.history()
    for run in runs:
        _run(document, run, {r.id for r in runs})
        for digest in run.inputs:
            document.relate(
                "used", {"prov:activity": _activity(run.id), "prov:entity": _entity(document, find(digest))}
            )
        for digest in run.outputs:
            made = {"prov:entity": _entity(document, find(digest)), "prov:activity": _activity(run.id)}
            document.relate("wasGeneratedBy", made)
    if parcel.run.config["set"]:
        _samples(document, parcel)
    parcel.write_json(FILE, document.value)
    parcel.reading.append(f"{FILE} is PROV-JSON: prov.model.ProvDocument.deserialize('{FILE}', format='json').")


def _activity(run: str) -> str:
    return f"earmark:run-{run}"


def _run(document: _Document, run: RunInfo, shown: set[str]) -> None:
    facts = {
        "prov:startTime": run.started.isoformat(),
        "prov:endTime": run.ended.isoformat(),
        "prov:type": run.kind,
        "prov:label": f"{run.kind} {without_folder(run.job)}" if run.job else run.kind,
        "earmark:threads": run.threads,
        "earmark:seed": run.seed,
    }
    activity = document.add("activity", _activity(run.id), facts)
    software = {"prov:type": {"$": "prov:SoftwareAgent", "type": "prov:QUALIFIED_NAME"}, "prov:label": "Earmark"}
    agent = document.add("agent", f"earmark:software-{run.code_version}", software)
    document.relate("wasAssociatedWith", {"prov:activity": activity, "prov:agent": agent})
    for parent in run.parents:
        if parent in shown:
            document.relate("wasInformedBy", {"prov:informed": activity, "prov:informant": _activity(parent)})


def _entity(document: _Document, subject: Subject) -> str:
    facts: dict[str, Any] = {f"earmark:{name}": subject.facts.get(name) for name in FACTS}
    if subject.kind == "set":
        facts["prov:type"] = {"$": "prov:Collection", "type": "prov:QUALIFIED_NAME"}
    if subject.name:
        facts["prov:label"] = without_folder(subject.name)
    return document.add("entity", f"earmark:{subject.kind}-{subject.digest}", facts)


def _samples(document: _Document, parcel: Parcel) -> None:
    ids = members(parcel.store, parcel.samples.digest)
    whole = _entity(document, parcel.samples)
    for sample in ids.to_pylist():
        document.relate("hadMember", {"prov:collection": whole, "prov:entity": _sample(sample)})
    seen = set(ids.to_pylist())
    for edge in graph.ancestors(parcel.store, ids).to_pylist():
        seen |= {edge["child_id"], edge["parent_id"]}
        document.relate(
            "wasDerivedFrom",
            {
                "prov:generatedEntity": _sample(edge["child_id"]),
                "prov:usedEntity": _sample(edge["parent_id"]),
                "earmark:transform": edge["transform"] or edge["transform_id"],
                **{f"earmark:{name}": edge[name] for name in PLACES},
            },
        )
    _describe(document, parcel, sorted(seen))


def _describe(document: _Document, parcel: Parcel, ids: list[Any]) -> None:
    """Say what the samples are, and with `personal` whose voice and which words."""
    vault = parcel.store.vault
    for start in range(0, len(ids), CHUNK):
        chunk = id_array(ids[start : start + CHUNK])
        facts = described(parcel.store, chunk)
        words = vault.transcripts(chunk) if parcel.personal else {}
        keys: Iterable[Any] = {f["speaker_key"] for f in facts.values()} - {None}
        names = vault.speakers(keys) if parcel.personal and keys else {}
        for sample, row in facts.items():
            told = {name: row[name] for name in ("kind", "duration_s", "sample_rate", "source", "licence")}
            told["transcript"] = words.get(sample)
            name = document.add("entity", _sample(sample), {f"earmark:{k}": v for k, v in told.items()})
            if row["speaker_key"] in names:
                person: dict[str, Any] = {"prov:type": {"$": "prov:Person", "type": "prov:QUALIFIED_NAME"}}
                person["prov:label"] = names[row["speaker_key"]]
                agent = document.add("agent", f"earmark:speaker-{row['speaker_key']}", person)
                document.relate("wasAttributedTo", {"prov:entity": name, "prov:agent": agent})


def _sample(sample: Any) -> str:
    return f"earmark:sample-{sample}"


register(Format("prov", "W3C PROV-JSON", ("set", "model"), False, _write))
