"""Erasure: every personal byte of a speaker, a sample or a source goes, and the record of everybody else stays provable.

    found = reach(store, speaker(store, "Ada"))      what it touches; show it to a person before anything is done
    done = erase(store, found.scope, reason="request of 3 May")

An erasure is a run like any other. It writes the rows of the vault that survive into new segments (each row keeps the
`run_id` of the run that wrote it), names in its manifest the files that it takes away, and is signed into the log: that
is the tombstone. Then the files are deleted. Rows of public tables stay, and so do their digests and proofs: they hold
hashes and numbers, and without the vault nobody can tell whose. What goes besides the vault's rows: artifacts with
features of a sample, which can be turned back into speech; and blocks of gradients, which can be too in part and are only
a cache of `influences`. Weights stay, and their models are marked as owing a retrain; exports, which left the store, as
owing a withdrawal (`lineage.people.obligations`). Every named set gets a successor of the same name without the erased, so the
same recipe trains without them.

Laws: once `erase` returns, no published file under the store holds a byte of it, nor anything that killed writers left; a
crash after publication is made good by `finish`, which every erasure begins with; a run that was at work meanwhile (it is
named) and holds anything of it cannot be published (`lineage.people.places`), and what it leaves goes with the next
`finish`, as does what may be its; erasing again finds nothing. What was erased does not come back by ingesting it again,
unless consent was given anew (see `barred`).

Out of reach, and for people to see to: recordings that were ingested where they lie, the manifests that listed them, exports,
backups. The speaker's key, a keyed hash, stays in public tables, and so do the attributes that manifests gave (accent, age …):
whoever has the vault's key *and* knows the name can compute the key again.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lineage.compaction.merge import ORIGIN
from lineage.compaction.sweep import sweep
from lineage.durable import sync
from lineage.errors import Conflict, EarmarkError
from lineage.identity import file_digest, uuid7
from lineage.ids import id_array, without
from lineage.people.obligations import mark_late, owe
from lineage.people.places import holds, vault_places
from lineage.people.reach import Reach, Scope, reach
from lineage.proof.verifier import ORIGINS
from lineage.runs import Run
from lineage.schema import VAULT, Table
from lineage.selection.sets import create_set, sample_sets
from lineage.storage import artifacts
from lineage.storage.living import living
from lineage.storage.manifest import Segment
from lineage.storage.segments import SegmentWriter
from lineage.store import Store

ATTEMPTS = 5
VERSIONED = ("set", "split")  # kinds of sets that get a successor without the erased


@dataclass(frozen=True)
class Erasure:
    """What was done: the run (None if nothing was left to erase), what it reached, successors of sets by old digest.

    `working` are runs that were being written meanwhile; if they hold anything of it they will not be published.
    """

    run_id: str | None
    reach: Reach
    successors: dict[str, str]
    working: tuple[str, ...] = ()


def erase(store: Store, scope: Scope, *, reason: str | None = None) -> Erasure:
    """Erase everything that `reach` lists for the scope.

    Raises:
        EarmarkError: the reason names the speaker.
        Conflict: other runs kept coming in between; nothing was changed.
    """
    finish(store)
    for attempt in range(ATTEMPTS):
        found = reach(store, scope)
        if found.empty:
            return Erasure(None, found, {})
        _check_reason(store, found, reason)
        try:
            return _erase(store, found, reason)
        except Conflict:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def finish(store: Store) -> int:
    """Delete what earlier erasures took away and a crash left lying, and what killed writers left; how many files.

    Models that were still in training while something was erased, or were built on such since, are marked here, too.
    """
    left = [
        path
        for m in store.manifests()
        if m.run.kind == "erase"
        for path in m.removed
        if path in store.removed and (store.root / path).exists()
    ]
    _delete(store.root, left)
    swept = sweep(store, 0.0, ("vault", "artifacts"))
    mark_late(store)
    return len(left) + swept.replaced + swept.leftovers


def _erase(store: Store, found: Reach, reason: str | None) -> Erasure:
    at = datetime.now(UTC)
    with store.run("erase", job=found.scope.kind, config=found.scope.config) as run:
        for table in VAULT:
            _rewrite(run, table, found)
        run.removed += [artifacts.place(store.root, d).relative_to(store.root).as_posix() for d in found.caches]
        _tombstones(run, found, at, reason)
        owe(run, found, at)
        successors = _successors(run, found)
        run.inputs += list(dict.fromkeys(s.digest for s in found.sets))
        run.result = {
            "samples": len(found.samples),
            "rows": {t: n for t, n in found.vault.items() if n},
            "artifacts": len(found.caches),
            "models": [m["model_id"] for m in found.models],
            "exports": [e["digest"] for e in found.exports],
            "sets": successors,
        }
        run.condition = _nothing_came(store, found)
        working = tuple(sorted(living(store.root) - {run.id}))
    _delete(store.root, run.removed)
    finish(store)
    return Erasure(run.id, found, successors, working)


# -- the vault -----------------------------------------------------------------------------------------------------------


def _rewrite(run: Run, table: str, found: Reach) -> None:
    """Write the surviving rows of every segment that holds one of the others, and take that segment away."""
    store = run.store
    segments = {s.path: s for s in store.listed(f"vault/{table}")}
    for path, gone in vault_places(store, table, found.samples, found.speakers).items():
        run.removed.append(path)
        segment = segments[path]
        if gone < segment.rows:
            run.adopt(_survivors(run, segment, found, gone))


def _survivors(run: Run, segment: Segment, found: Reach, gone: int) -> Segment:
    """What is left of a segment, in its order, and of the file of origins beside it if a compaction wrote it."""
    store, shape = run.store, VAULT[segment.table]
    path = store.root / "vault" / segment.table / run.id / f"{uuid7()}.parquet"
    old, beside = store.root / segment.path, path.with_name(path.stem + ORIGINS)
    data = pq.ParquetFile(old)
    origins = pq.ParquetFile(old.with_name(old.stem + ORIGINS)) if segment.order else None
    with ExitStack() as stack:
        writer = stack.enter_context(SegmentWriter(path, shape, segment.rows, [segment.order] if segment.order else ()))
        placer = stack.enter_context(SegmentWriter(beside, ORIGIN, 0)) if origins else None
        for i in range(data.num_row_groups):
            rows = _shaped(data.read_row_group(i), shape)
            kept = pc.invert(_concerned(rows, found))
            writer.write(rows.filter(kept))
            if origins and placer:
                placer.write(origins.read_row_group(i).filter(kept))
    if writer.rows != segment.rows - gone:
        raise EarmarkError(f"{segment.path} does not hold the rows that it was listed with — run: earmark verify")
    if segment.order:
        run.removed.append(segment.path.removesuffix(".parquet") + ORIGINS)
        run.files.append(_listed(store, "origins", beside, writer.rows, file_digest(beside)))
    return _listed(store, segment.table, path, writer.rows, store.vault.file_digest(path), segment.order)


def _listed(store: Store, table: str, path: Path, rows: int, digest: str, order: str = "") -> Segment:
    return Segment(table, path.relative_to(store.root).as_posix(), rows, path.stat().st_size, digest, order=order)


def _shaped(rows: pa.Table, shape: Table) -> pa.Table:
    """Rows that may be of an older version, which had fewer columns."""
    columns = [rows[c.name] if c.name in rows.column_names else pa.nulls(len(rows), c.type) for c in shape.columns]
    return pa.Table.from_arrays(columns, schema=shape.arrow)


def _concerned(rows: pa.Table, found: Reach) -> Any:
    """Which rows are of one of the samples or speakers."""
    key = pa.binary(16)
    mask = pc.is_in(rows["speaker_key"].cast(key), value_set=id_array(found.speakers).cast(key))
    if "sample_id" in rows.column_names:
        mask = pc.or_(mask, pc.is_in(rows["sample_id"].cast(key), value_set=found.ids.cast(key)))
    return mask


def _delete(root: Path, paths: Iterable[str]) -> None:
    """Delete files and folders for good, and folders that are empty then."""
    folders = set()
    for relative in paths:
        path = root / relative
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        folders.add(path.parent)
    for folder in folders:
        if folder.is_dir():
            sync([folder])
            if not os.listdir(folder):
                folder.rmdir()


# -- what goes on the record -----------------------------------------------------------------------------------------------


def _check_reason(store: Store, found: Reach, reason: str | None) -> None:
    names = store.vault.speakers(found.speakers).values() if reason and found.speakers else ()
    if any(name in (reason or "") for name in names):
        raise EarmarkError("the reason names the speaker, and it stays on record — word it without the name")


def _tombstones(run: Run, found: Reach, at: datetime, reason: str | None) -> None:
    keys = run.store.sql(
        "SELECT id, arg_max(speaker_key, run_id) AS speaker_key FROM wanted LEFT JOIN samples ON sample_id = id GROUP BY id",
        tables={"wanted": pa.table({"id": found.ids})},
    )
    count, more = keys.num_rows, len(found.speakers)
    both = {
        "scope": [found.scope.kind] * (count + more),
        "at": [at] * (count + more),
        "reason": [reason] * (count + more),
    }
    run.append(
        "erasures",
        {
            "sample_id": [*keys["id"].to_pylist(), *[None] * more],
            "speaker_key": [*keys["speaker_key"].to_pylist(), *found.speakers],
            **both,
        },
    )


def _successors(run: Run, found: Reach) -> dict[str, str]:
    """The sets that now go by the names of those that held erased samples: what is left of them."""
    newest = {s.name: s.digest for s in sample_sets(run.store)}
    made: dict[str, str] = {}
    for s in found.sets:
        if s.kind not in VERSIONED or newest[s.name] != s.digest:
            continue
        newest[s.name] = ""  # a set recorded twice under one name
        rest = without(run.store.lookup.members(s.digest), found.samples)
        if len(rest):
            made[s.digest] = create_set(run, rest, name=s.name, kind=s.kind, parents=[s.digest]).digest
    return made


# -- runs that were at work meanwhile --------------------------------------------------------------------------------------


def _nothing_came(store: Store, found: Reach) -> Callable[[], None]:
    """A condition of publication: no run that was published since `found` was looked up holds anything of it."""
    holders = {s.digest for s in found.sets} | {m["model_id"] for m in found.models}

    def check() -> None:
        for manifest in store.manifests()[found.position :]:
            if holds(store, manifest, found.samples, found.speakers, holders):
                raise Conflict(f"run {manifest.run.id} came in between — nothing was erased, run it again")

    return check


# -- keeping it out --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Barred:
    """Samples and speakers that were erased and for whom no consent was given since."""

    samples: frozenset[uuid.UUID]
    speakers: frozenset[uuid.UUID]

    def __call__(self, sample: uuid.UUID, speaker: uuid.UUID | None) -> bool:
        """Whether the sample must not come back."""
        return sample in self.samples or speaker in self.speakers


def barred(store: Store) -> Barred:
    """Who and what must not be ingested again: erased, and no consent given since.

    What a speaker had erased only the speaker's own consent brings back; else that of the whole source does, too.
    """
    if not store.erasures:
        return Barred(frozenset(), frozenset())
    rows = store.sql(
        """
        SELECT DISTINCT t.sample_id, t.speaker_key, t.scope FROM erasures t
        LEFT JOIN (SELECT sample_id, any_value(source) AS source FROM samples GROUP BY sample_id) s USING (sample_id)
        WHERE NOT EXISTS (FROM consents c WHERE c.event = 'given' AND c.at > t.at
                          AND (c.speaker_key = t.speaker_key
                               OR (t.scope <> 'speaker' AND c.speaker_key IS NULL AND c.source = s.source)))"""
    ).to_pylist()
    return Barred(
        frozenset(r["sample_id"] for r in rows if r["sample_id"] is not None),
        frozenset(r["speaker_key"] for r in rows if r["sample_id"] is None and r["scope"] == "speaker"),
    )
