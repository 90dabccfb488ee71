"""How far a voice reached: everything on record that holds, was made of, or has learnt from somebody's recordings.

What has to go when a person asks to be forgotten:

- the samples under the speaker's key, and everything derived from them: a mix with another speaker is made of both voices;
- the recordings that they were cut from, as far as nobody else is named as their speaker, and what else was made of those,
  but not the parts in which another speaker is named: an interview goes, the other's answers stay;
- whatever else has the very same sound, under whatever name or words.

What holds a trace that stays on record, and is listed: sets, models that consumed any of it with a weight above zero and
models that stand on those, predictions, exports. Law: what was erased once is not counted again, unless it came back.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Set
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from lineage.chain import beside
from lineage.errors import AmbiguousName, UnknownName
from lineage.graph import models_of, resolve_sample
from lineage.identity import hex_prefix
from lineage.ids import Halves, halves, id_array, sort_unique, without
from lineage.people.places import CACHES, any_in, present, vault_places
from lineage.schema import VAULT
from lineage.selection.sets import SampleSet, sample_sets
from lineage.store import Store

NOBODY: Halves = np.empty((0, 2), dtype=np.uint64)

SAME_SOUND = """
    SELECT s.sample_id AS id FROM samples s JOIN samples t ON s.audio_key = t.audio_key JOIN frontier ON t.sample_id = id"""
MADE_OF_IT = f"SELECT child_id AS id FROM edges JOIN frontier ON parent_id = id UNION {SAME_SOUND}"
CUT_FROM = """
    SELECT parent_id AS id FROM edges JOIN frontier ON child_id = id JOIN samples ON sample_id = parent_id
    WHERE role <> 'noise' AND (speaker_key IS NULL OR speaker_key = $speaker)"""
NOBODY_ELSES = """
    SELECT child_id AS id FROM edges JOIN frontier ON parent_id = id JOIN samples ON sample_id = child_id
    WHERE speaker_key IS NULL OR speaker_key = $speaker"""


@dataclass(frozen=True)
class Scope:
    """Who or what is asked about: `kind` is 'speaker', 'sample', 'source' or 'retention'.

    A speaker goes by key, a source by name; `samples` are the sample itself, or none.
    """

    kind: str
    speaker: uuid.UUID | None = None
    source: str | None = None
    sample: uuid.UUID | None = None

    @property
    def config(self) -> dict[str, Any]:
        """As JSON, without anything personal."""
        given = {"speaker_key": self.speaker, "source": self.source, "sample_id": self.sample}
        return {"scope": self.kind, **{k: str(v) for k, v in given.items() if v is not None}}


@dataclass(frozen=True, eq=False)
class Reach:
    """What a scope's recordings reached. Counts are of rows unless said otherwise.

    `samples` are sorted; `derived` of them were made of others. `speakers` are the keys of those who have no other sample
    left. `vault` are rows by vault table, `models` rows of model_id, name, run_id, exposures and samples; `exports` are
    runs. `caches` are artifacts that hold features or gradients of single samples. `outside` are files of recordings that
    were ingested where they lie; the store does not own them.
    """

    scope: Scope
    samples: Halves
    derived: int
    speakers: tuple[uuid.UUID, ...]
    vault: dict[str, int]
    sets: tuple[SampleSet, ...]
    models: tuple[dict[str, Any], ...]
    predictions: int
    influences: int
    caches: tuple[str, ...]
    exports: tuple[dict[str, Any], ...]
    outside: tuple[str, ...]
    traces: tuple[str, ...] = ()
    position: int = 0  # runs on record when it was asked

    @property
    def ids(self) -> pa.Array:
        """The samples as an Arrow array of `pa.uuid()`."""
        return id_array(self.samples)

    @property
    def empty(self) -> bool:
        """Whether nothing is left to erase."""
        return not len(self.samples) and not any(self.vault.values())


def speaker(store: Store, ref: str) -> Scope:
    """The speaker meant by a name, a key, or the beginning of a key of at least 8 digits.

    Raises:
        UnknownName, AmbiguousName: nobody of that name or key is on record, or several.
    """
    named = store.vault.speaker_key(ref)
    prefix = hex_prefix(ref)
    low, high = (named, named)
    if prefix is not None and 8 <= len(prefix) <= 32:
        low, high = (uuid.UUID(hex=prefix.ljust(32, fill)) for fill in "0f")
    query = "SELECT DISTINCT speaker_key FROM samples WHERE speaker_key = ? OR speaker_key BETWEEN ? AND ?"
    found: set[uuid.UUID] = set(store.sql(query, [named, low, high])["speaker_key"].to_pylist())
    found |= {key for key in store.vault.speakers() if key == named or low <= key <= high}
    if named in found:
        return Scope("speaker", speaker=named)
    if not found:
        raise UnknownName("speaker", ref, (), "give the name as it was ingested, or the speaker_key")
    if len(found) > 1:
        raise AmbiguousName("speaker", ref, map(str, sorted(found)))
    return Scope("speaker", speaker=found.pop())


def sample(store: Store, ref: str) -> Scope:
    """The sample whose id begins with `ref`."""
    return Scope("sample", sample=resolve_sample(store, ref))


def source(store: Store, name: str, kind: str = "source") -> Scope:
    """The source of that name.

    Raises:
        UnknownName: no sample has it.
    """
    if not store.read("samples", ["source"], "source = ? LIMIT 1", [name]).num_rows:
        known = store.sql("SELECT DISTINCT source FROM samples WHERE source IS NOT NULL")["source"].to_pylist()
        raise UnknownName("source", name, known)
    return Scope(kind, source=name)


def reach(store: Store, scope: Scope) -> Reach:
    """Everything that the scope's recordings reached and that has not been erased yet."""
    position = len(store.manifests())
    touched = samples_of(store, scope)
    ids = _not_erased(store, touched)
    speakers = _left_without(store, scope, touched)
    wanted = {"wanted": pa.table({"id": id_array(ids)})}
    derived = _count(store, "SELECT count(DISTINCT child_id) AS n FROM edges JOIN wanted ON child_id = id", wanted)
    sets = _sets(store, wanted)
    models = _models(store, ids, {s.digest for s in sets})
    counts = {
        table: _count(store, f"SELECT count(*) AS n FROM {table} JOIN wanted ON sample_id = id", wanted)
        for table in ("predictions", "influences")
    }
    held = {t: vault_places(store, t, ids, speakers) for t in VAULT}
    return Reach(
        scope=scope,
        samples=ids,
        derived=derived,
        speakers=speakers,
        vault={table: sum(places.values()) for table, places in held.items()},
        sets=sets,
        models=models,
        predictions=counts["predictions"],
        influences=counts["influences"],
        caches=_caches(store, ids, {s.digest for s in sets}, {m["model_id"] for m in models}),
        exports=_exports(store, {s.digest for s in sets}, {m["model_id"] for m in models}),
        outside=tuple(sorted({p for p in store.vault.paths(id_array(ids)).values() if p is not None})),
        traces=_traces(store, speakers),
        position=position,
    )


def _count(store: Store, query: str, tables: dict[str, pa.Table]) -> int:
    return int(store.sql(query, tables=tables)["n"][0].as_py())


def samples_of(store: Store, scope: Scope) -> Halves:
    """Ids of all samples concerned, sorted, erased ones included."""
    if scope.sample is not None:
        return _spread(store, halves([scope.sample]), MADE_OF_IT)
    if scope.source is not None:
        own = store.sql("SELECT DISTINCT sample_id FROM samples WHERE source = ?", [scope.source])
        return _spread(store, halves(own["sample_id"]), MADE_OF_IT)
    own = store.sql("SELECT DISTINCT sample_id FROM samples WHERE speaker_key = ?", [scope.speaker])
    mine = halves(own["sample_id"])
    key = {"speaker": scope.speaker}
    above = without(_spread(store, mine, CUT_FROM, key), sort_unique(mine))
    shared = _spread(store, above, NOBODY_ELSES, key)
    # the same sound as one that goes may lie under another name, and things may have been made of that
    return _joined(_spread(store, mine, MADE_OF_IT), _spread(store, shared, SAME_SOUND))


def _spread(store: Store, start: Halves, step: str, parameters: dict[str, Any] | None = None) -> Halves:
    """`start` and everything that any number of steps leads to, sorted."""
    reached = frontier = sort_unique(start)
    while len(frontier):
        found = store.sql(step, parameters, tables={"frontier": pa.table({"id": id_array(frontier)})})
        frontier = without(sort_unique(halves(found["id"])), reached)
        reached = _joined(reached, frontier)
    return reached


def _joined(a: Halves, b: Halves) -> Halves:
    return sort_unique(np.concatenate([a, b]))


def _not_erased(store: Store, ids: Halves) -> Halves:
    """Those of which there is no tombstone, or that came back after it."""
    erased = sort_unique(halves(store.sql("SELECT sample_id FROM erasures WHERE sample_id IS NOT NULL")["sample_id"]))
    back = sort_unique(halves(store.vault.rows("recordings", id_array(ids))["sample_id"])) if len(ids) else NOBODY
    return _joined(without(ids, erased), back)


def _left_without(store: Store, scope: Scope, gone: Halves) -> tuple[uuid.UUID, ...]:
    """Speakers whose name has to go, being meant or having no sample that stays."""
    tables = {"gone": pa.table({"id": id_array(gone)})}
    heard = (
        "SELECT DISTINCT speaker_key FROM samples WHERE speaker_key IS NOT NULL AND sample_id IN (SELECT id FROM gone)"
    )
    keys = set(store.sql(heard, tables=tables)["speaker_key"].to_pylist()) if len(gone) else set()
    paths = present(store, "recordings")
    if keys and paths:
        query = f"""
            SELECT DISTINCT speaker_key FROM read_parquet(?, union_by_name = true)
            WHERE speaker_key IN ({heard}) AND sample_id NOT IN (SELECT id FROM gone)"""
        keys -= set(store.sql(query, [list(paths)], tables=tables)["speaker_key"].to_pylist())
    if scope.speaker is not None:
        keys.add(scope.speaker)
    return tuple(sorted(keys))


def _sets(store: Store, wanted: dict[str, pa.Table]) -> tuple[SampleSet, ...]:
    digests = store.sql("SELECT DISTINCT set_digest FROM members JOIN wanted ON sample_id = id", tables=wanted)
    found = set(digests["set_digest"].to_pylist())
    return tuple(s for s in sample_sets(store) if s.digest in found)


def _models(store: Store, ids: Halves, sets: Set[str]) -> tuple[dict[str, Any], ...]:
    """Models that consumed any of the samples, or drew from a set with them; then models that stand on those."""
    found = models_of(store, id_array(ids)).to_pylist()
    reached = {m["model_id"] for m in found}
    drew = [m for m in drawing_from(store, sets) if m["model_id"] not in reached]
    further = built_on(store, reached | {m["model_id"] for m in drew})
    return (*found, *({**m, "exposures": 0, "samples": 0} for m in (*drew, *further)))


def drawing_from(store: Store, sets: Set[str]) -> list[dict[str, Any]]:
    """Models whose augmentation drew from any of these sets, or whose weights were held to one: model_id, name and run_id.

    Sets go by digest; oldest first.
    """
    runs = {r.id for r in store.runs() if r.kind == "train" and not sets.isdisjoint(beside(r))}
    known = store.sql("SELECT model_id, name, run_id FROM models ORDER BY run_id DESC").to_pylist()
    drew = {m["model_id"]: m for m in known if m["run_id"] in runs}
    return list(drew.values())[::-1]


def built_on(store: Store, models: Set[str]) -> list[dict[str, Any]]:
    """Further models that were trained from any of these or from one another: model_id, name and run_id, oldest first."""
    known = store.sql("SELECT model_id, name, run_id, artifact FROM models ORDER BY run_id").to_pylist()
    inputs = {r.id: set(r.inputs) for r in store.runs() if r.kind == "train"}
    tainted = {*models, *(m["artifact"] for m in known if m["model_id"] in models)}
    found = {}
    for m in known:  # in the order of their runs: none stands on a later one
        if m["model_id"] not in models and inputs.get(m["run_id"], set()) & tainted:
            tainted |= {m["model_id"], m.pop("artifact")}
            found[m["model_id"]] = m
    return list(found.values())


def _caches(store: Store, ids: Halves, sets: set[str], models: set[str]) -> tuple[str, ...]:
    """Artifacts that hold features of any of the samples, or gradients in which any of them may have a row."""
    found = []
    for m in store.manifests():
        for digest in m.artifacts if m.run.kind in CACHES else ():
            index = store.root / "artifacts" / digest[:2] / digest / "index.parquet"
            if f"artifacts/{digest[:2]}/{digest}" in store.removed:
                continue
            if any_in(store, [index], "sample_id", ids) if index.exists() else {*m.run.inputs} & (sets | models):
                found.append(digest)
    return tuple(dict.fromkeys(found))


def _exports(store: Store, sets: set[str], models: set[str]) -> tuple[dict[str, Any], ...]:
    """Exports of any of the sets or models: run, digest, format, the name of the folder, when."""
    found = []
    for run in store.runs():
        if run.kind != "export" or run.status != "completed":
            continue
        carried = run.config.get("samples", True) and run.config.get("set") in sets
        if (carried or run.config.get("model") in models) and run.outputs:
            where = {"format": run.config.get("format"), "to": run.config.get("to"), "at": run.ended.isoformat()}
            found.append({"run_id": run.id, "digest": run.outputs[-1], **where})
    return tuple(found)


def _traces(store: Store, speakers: tuple[uuid.UUID, ...]) -> tuple[str, ...]:
    """Where in the public record, which is not rewritten, a name stands because somebody wrote it there."""
    names = [n for n in store.vault.speakers(speakers).values() if len(n) > 2] if speakers else []
    texts: list[tuple[str, Callable[[str], pa.Table]]] = [
        (f"{table}.{column}", partial(_holding, store, table, column))
        for table, column in (
            ("sample_sets", "name"), ("sample_sets", "predicate"), ("slices", "slice"), ("models", "name"),
            ("runs", "job"), ("runs", "config"), ("samples", "source"),
        )
    ]  # fmt: skip
    texts.append(("samples.attributes", partial(_in_attributes, store)))
    return tuple(sorted({where for name in names for where, look in texts if look(name).num_rows}))


def _holding(store: Store, table: str, column: str, name: str) -> pa.Table:
    return store.read(table, [column], f"contains({column}, ?) LIMIT 1", [name])


def _in_attributes(store: Store, name: str) -> pa.Table:
    return store.read("samples", ["sample_id"], "list_contains(map_values(attributes), ?) LIMIT 1", [name])
