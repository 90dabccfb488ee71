"""Compaction: many small segments become few large ones in a good order, and what nobody needs any more is cleared away.

A compaction is a run like any other. Its manifest lists the new segments and takes the old ones away, in one step, so that a
reader sees the one or the other; the old files stay for a grace period. No row is lost and none added (see
`lineage.compaction.merge`), which `earmark verify` checks by the numbers and `--deep` by the digests of the rows.

What was merged once is not merged again until as much as a quarter of it has come in since, so that a row is rewritten a
few times only, however large the store grows, and the store holds few batches of merged segments, each several times as
large as the next.

Only one compaction at a time is under way (`lineage.storage.lease`); killed at any instant it leaves nothing but
leftovers, which the next one clears away (`lineage.compaction.sweep`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lineage.compaction import merge
from lineage.compaction.sweep import GRACE_S, SPILL, Swept, sweep
from lineage.errors import Conflict
from lineage.identity import file_digest, uuid7
from lineage.ids import id_array
from lineage.proof.verifier import AGAIN, BY, ORIGINS
from lineage.runs import Run
from lineage.schema import TABLES, UUID, VAULT, Column, Table
from lineage.sql import quote
from lineage.storage import packed
from lineage.storage.lease import SECONDS, Lease, hold
from lineage.storage.manifest import Segment
from lineage.storage.segments import SegmentWriter
from lineage.store import Store

RATIO = 4  # a batch is merged again once what came after it is at least a quarter of it
MEMORY = "1GB"
VAULT_BYTES = 256 << 20  # of a vault segment: merged in memory, and rewritten as one when a speaker is erased
ATTEMPTS = 3

VOICES = Table(
    f"samples{BY}speaker",
    "Whose voice is in which sample, mixes of several speakers included; an index, made of `samples`.",
    (
        Column("speaker_key", UUID, "The speaker.", nullable=False),
        Column("sample_id", UUID, "The sample.", nullable=False),
    ),
    merge.ROW_GROUP,
)


@dataclass
class Merged:
    """What became of one table: segments before and after, rows, and how many repeat another row."""

    before: int = 0
    after: int = 0
    rows: int = 0
    repeats: int = 0


@dataclass
class Compaction:
    """What a compaction did; `run` is None if there was nothing to merge."""

    run: str | None = None
    tables: dict[str, Merged] = field(default_factory=dict)
    swept: Swept = field(default_factory=Swept)


def compact(
    store: Store,
    *,
    grace: float = GRACE_S,
    memory: str = MEMORY,
    lease: float = SECONDS,
    everything: bool = False,
    progress: Callable[[str], None] = lambda table: None,
) -> Compaction:
    """Merge small segments, and clear away what has been of no use for `grace` seconds.

    Args:
        memory: how much DuckDB may sort in; the rest goes to disk.
        lease: seconds for which the lease is taken; after a kill the next compaction waits that long.
        everything: merge what was merged before as well.
        progress: called with the name of each table before it is merged.

    Raises:
        Conflict: another compaction is under way.
    """
    with hold(store.root, "compact", lease) as held:
        done = Compaction(swept=sweep(store, grace))
        for attempt in range(ATTEMPTS):
            try:
                _merge_all(store, done, held, memory, everything, progress)
                break
            except Conflict:
                if attempt == ATTEMPTS - 1:
                    raise
                held.check()  # else an erasure rewrote a segment of the vault meanwhile; what it left is merged now
        if done.run is not None:
            packed.pack(store.root)
    return done


def _merge_all(
    store: Store, done: Compaction, lease: Lease, memory: str, everything: bool, progress: Callable[[str], None]
) -> None:
    work = {t: s for t in TABLES if (s := _due(store, t, everything))}
    vault = {t: s for t in VAULT if (s := _small(store.listed(f"vault/{t}")))}
    if not work and not vault:
        return
    done.tables.clear()
    with store.run("compact", job="compact") as run:
        spill = store.root / "running" / f".{run.id}{SPILL}"
        connection = merge.connect(memory, spill)
        try:
            for table, segments in work.items():
                progress(table)
                done.tables[table] = _merge(run, connection, table, segments)
                lease.check()
            for table, segments in vault.items():
                progress(f"vault/{table}")
                done.tables[f"vault/{table}"] = _merge_personal(run, VAULT[table], segments)
                lease.check()
        finally:
            connection.close()
            shutil.rmtree(spill, ignore_errors=True)
        run.result = {"tables": {name: merged.__dict__ for name, merged in done.tables.items()}}
    done.run = run.id


# -- what to merge -------------------------------------------------------------------------------------------------------


def _due(store: Store, table: str, everything: bool) -> list[Segment]:
    """Segments of a public table, its copies and indexes that are to be merged into one batch; none if it is not worth it."""
    segments = store.listed(f"tables/{table}")
    fresh = [s for s in segments if not s.order]
    batches: dict[str, list[Segment]] = {}
    for s in segments:
        if s.order:
            batches.setdefault(_run_of(s), []).append(s)
    known = table in merge.ORDERS
    few = not fresh if known else len(fresh) < 2
    if few and not (everything and len(fresh) + len(batches) > 1):
        return []
    rows = sum(s.rows for s in fresh)
    chosen = list(fresh)
    for run in sorted(batches, reverse=True):
        size = sum(s.rows for s in batches[run])
        if everything or size <= RATIO * rows or (known and _overlap(store, table, fresh, batches[run])):
            chosen += batches[run]
            rows += size
    return chosen


def _run_of(segment: Segment) -> str:
    return segment.path.split("/")[2]


def _overlap(store: Store, table: str, fresh: list[Segment], batch: list[Segment]) -> bool:
    """Whether a row may repeat one of an older batch: then they have to be merged for one of them to go."""
    order = next(iter(merge.orders(table).values()))
    if not (order.once or order.newest):
        return False
    key = order.columns[0]
    paths = [[str(store.root / s.path) for s in part] for part in (fresh, batch)]
    values = f"SELECT {key} FROM read_parquet(?, union_by_name = true)"
    return bool(store.sql(f"SELECT 1 FROM ({values}) WHERE {key} IN ({values}) LIMIT 1", [paths[1], paths[0]]).num_rows)


def _small(segments: list[Segment]) -> list[Segment]:
    """Segments of a vault table that are to be merged."""
    small = [s for s in segments if s.bytes < VAULT_BYTES // RATIO]
    return small if len(small) > 1 and any(not s.order for s in small) else []


# -- public tables -------------------------------------------------------------------------------------------------------


def _merge(run: Run, connection: duckdb.DuckDBPyConnection, name: str, segments: list[Segment]) -> Merged:
    store, table = run.store, TABLES[name]
    batches = {_run_of(s) for s in segments if s.order}
    repeats = [s for s in store.listed(f"tables/{name}{AGAIN}") if _run_of(s) in batches]
    merged = Merged(before=len(segments))
    for copy, order in merge.orders(name).items():
        merged.rows, again = merge.merge(run, connection, table, copy, order, [*segments, *repeats], copy == name)
        merged.repeats = again
    if name == "samples":
        _index_voices(run, connection, segments)
    for folder in (name, *store.companions(name)):
        for s in store.listed(f"tables/{folder}"):
            if s in segments or (s.order and _run_of(s) in batches):
                run.removed.append(s.path)
                if store.file(merge.origins_of(s.path).rpartition("/")[2]) is not None:
                    run.removed.append(merge.origins_of(s.path))
    merged.after = sum(1 for s in run.segments if s.table == name)
    return merged


def _index_voices(run: Run, connection: duckdb.DuckDBPyConnection, merged: list[Segment]) -> None:
    """Which samples a speaker's voice is in: those that bear the speaker's key, and mixes, which bear none, by their roots."""
    made = [s for s in run.segments if s.table == "samples"]
    here, everywhere = (
        f"read_parquet([{', '.join(quote(str(run.store.root / s.path)) for s in part)}], union_by_name = true)"
        for part in (made, [*made, *(s for s in run.store.segments("samples") if s not in merged)])
    )
    rows = merge.Rolling(run, VOICES, VOICES.name, merge.Order(("speaker_key", "sample_id"), row_group=merge.ROW_GROUP))
    query = f"""
        SELECT DISTINCT speaker_key, sample_id FROM (
            SELECT speaker_key, sample_id FROM {here} WHERE speaker_key IS NOT NULL
            UNION ALL
            SELECT r.speaker_key, m.sample_id
            FROM (SELECT sample_id, unnest(root_ids) AS root FROM {here} WHERE speaker_key IS NULL) m
            JOIN {everywhere} r ON r.sample_id = m.root WHERE r.speaker_key IS NOT NULL
        ) ORDER BY ALL"""
    for batch in connection.sql(query).to_arrow_reader(merge.BATCH):
        rows.write(pa.Table.from_batches([batch]))
    rows.close()


# -- the vault -----------------------------------------------------------------------------------------------------------


def _merge_personal(run: Run, table: Table, segments: list[Segment]) -> Merged:
    """In memory, a group of segments at a time: what is personal is not spilled to other places."""
    merged = Merged(before=len(segments))
    for group in _by_bytes(segments):
        rows = pa.concat_tables([_with_origins(run.store.root, table, s) for s in group])
        order = "run_id"
        if "speaker_key" in table.names and table.row_group >= merge.ROW_GROUP:  # not sound, which is too large to sort
            order = "speaker_key"
            keys = {n: rows[n].cast(pa.binary(16)) for n in ("speaker_key", "sample_id") if n in table.names}
            rows = rows.take(pc.sort_indices(pa.table(keys), [(n, "ascending") for n in keys]))
        _write_personal(run, table, rows, order)
        merged.rows += rows.num_rows
        merged.after += 1
        for s in group:
            run.removed.append(s.path)
            if s.order:
                run.removed.append(merge.origins_of(s.path))
    return merged


def _by_bytes(segments: list[Segment]) -> Iterator[list[Segment]]:
    group: list[Segment] = []
    for s in segments:
        if group and sum(g.bytes for g in group) + s.bytes > VAULT_BYTES:
            yield group
            group = []
        group.append(s)
    yield group


def _with_origins(root: Path, table: Table, segment: Segment) -> pa.Table:
    rows = pq.ParquetFile(root / segment.path).read()
    columns = [rows[c.name] if c.name in rows.column_names else pa.nulls(len(rows), c.type) for c in table.columns]
    if segment.order:
        origins = pq.ParquetFile(root / merge.origins_of(segment.path)).read()
        columns += [origins["segment"], origins["row"]]
    else:
        name = np.frombuffer(bytes.fromhex(Path(segment.path).stem.replace("-", "")), dtype=">u8").astype(np.uint64)
        columns += [id_array(np.tile(name, (len(rows), 1))), pa.array(np.arange(len(rows), dtype=np.int32))]
    return pa.table(columns, names=[*table.names, merge.SEGMENT, merge.ROW])


def _write_personal(run: Run, table: Table, rows: pa.Table, order: str) -> None:
    root = run.store.root
    path = root / "vault" / table.name / run.id / f"{uuid7()}.parquet"
    beside = path.with_name(path.stem + ORIGINS)
    with SegmentWriter(path, table, rows.num_rows, [order]) as writer:
        writer.write(merge.as_schema(rows, table))
    origins = pa.Table.from_arrays([rows[merge.SEGMENT], rows[merge.ROW]], names=["segment", "row"])
    shape = Table("origins", merge.ORIGIN.doc, merge.ORIGIN.columns, table.row_group)
    with SegmentWriter(beside, shape, 0) as writer:
        writer.write(merge.as_schema(origins, shape))
    size, digest = path.stat().st_size, run.store.vault.file_digest(path)
    run.adopt(Segment(table.name, path.relative_to(root).as_posix(), rows.num_rows, size, digest, order=order))
    run.files.append(
        Segment(
            "origins", beside.relative_to(root).as_posix(), rows.num_rows, beside.stat().st_size, file_digest(beside)
        )
    )
