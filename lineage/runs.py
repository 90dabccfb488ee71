"""A run being written; what it was and wrote, once it is published, stands in its manifest (`lineage.storage.manifest`).

Every fact on record was written by a run. While it is being written a run's rows are buffered and flushed into large
segments under its own folders; nothing of it is visible until `publish`, when the manifest that lists its files is named by
the log. Law: a run that does not complete leaves its `RunInfo` and not one row.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from lineage.durable import write_whole
from lineage.events.journal import Journal
from lineage.identity import file_digest, uuid7
from lineage.machine import environment
from lineage.machine.meter import Meter
from lineage.proof.verifier import rows_digest
from lineage.schema import TABLES, VAULT, Table
from lineage.storage import artifacts
from lineage.storage.manifest import Manifest, RunInfo, Segment
from lineage.storage.segments import Rows, as_table, write_segment
from lineage.subjects import KEYS

if TYPE_CHECKING:
    from lineage.store import Store

FLUSH_ROWS = 1_000_000
FLUSH_BYTES = 128 << 20


class _Buffer:
    """Rows of one run on their way into segments of one folder (`tables` or `vault`)."""

    def __init__(self, store: Store, folder: str, tables: dict[str, Table], run_id: str) -> None:
        self._store = store
        self._folder = folder
        self._tables = tables
        self._run_id = run_id
        self._pending: dict[str, list[pa.Table]] = {}
        self.segments: list[Segment] = []

    def append(self, table: str, rows: Rows) -> pa.Table:
        """Take rows of `table`; they reach the disk in large segments, and readers when the run is published."""
        if table not in self._tables:
            raise ValueError(f"no table {table}")
        data = as_table(self._tables[table], rows, self._run_id)
        if data.num_rows:
            pending = self._pending.setdefault(table, [])
            pending.append(data)
            if sum(p.num_rows for p in pending) >= FLUSH_ROWS or sum(p.nbytes for p in pending) >= FLUSH_BYTES:
                self._flush(table)
        return data

    def flush(self) -> None:
        """Write everything that is still in memory."""
        for table in list(self._pending):
            self._flush(table)

    def _flush(self, name: str) -> None:
        table = self._tables[name]
        rows = pa.concat_tables(self._pending.pop(name))
        path = self._store.root / self._folder / name / self._run_id / f"{uuid7()}.parquet"
        vault = self._store.vault if self._folder == "vault" else None
        with ThreadPoolExecutor(1) as beside:
            logical = beside.submit(vault.rows_digest if vault else rows_digest, rows)
            write_segment(path, table, rows)
        digest = vault.file_digest(path) if vault else file_digest(path)
        relative = path.relative_to(self._store.root).as_posix()
        self.segments.append(Segment(name, relative, rows.num_rows, path.stat().st_size, digest, logical.result()))

    def discard(self) -> None:
        """Drop everything, written or not."""
        self._pending.clear()
        for segment in self.segments:
            (self._store.root / segment.path).unlink(missing_ok=True)
        self.segments.clear()
        for folder in (self._store.root / self._folder).glob(f"*/{self._run_id}"):
            shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Run:
    """A run being written; made by `Store.run`.

    `outputs`, `result` and `cost` may be added to until the run ends; `status` stays 'completed' unless an exception says
    otherwise. `gpus` is how many GPUs it occupies.
    """

    store: Store
    id: str
    kind: str
    job: str | None
    key: str | None
    config: dict[str, Any]
    inputs: list[str]
    parents: list[str]
    seed: int | None
    code: str
    package: str
    outputs: list[str] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    artifacts: list[str] = field(default_factory=list)
    files: list[Segment] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    gpus: int = 0

    def __post_init__(self) -> None:
        self._tables = _Buffer(self.store, "tables", TABLES, self.id)
        self.vault = _Buffer(self.store, "vault", VAULT, self.id)
        self.events = Journal(self.store, self.store.subjects, self.id)
        self.attributes: dict[str, str] = {}  # of the samples so far: key → 'number' or 'text'
        self.condition: Callable[[], None] = lambda: None  # of publication, see `Store.publish`
        self._started = datetime.now(UTC)
        self._clock = time.perf_counter()
        self.meter = Meter()

    def start(self) -> None:
        """Tell that the run begins."""
        self.events.start(
            self._started, kind=self.kind, job=self.job, package=self.package, code=self.code, parents=self.parents,
            inputs=self.inputs,
        )  # fmt: skip

    def append(self, table: str, rows: Rows) -> None:
        """Record rows of a public table: an Arrow table, a list of dicts, or a dict of columns.

        `run_id` is filled in, absent columns become null.

        Raises:
            ValueError: unknown table or column, or a null where none may stand.
        """
        data = self._tables.append(table, rows)
        if table == "samples" and data.num_rows:
            _note_attributes(self.attributes, data["attributes"])
        if table in KEYS:
            self.events.note(table, data.to_pylist())
        self.events.alive()

    def put(self, content: Path | bytes) -> str:
        """Keep a file, a folder or bytes as an artifact; returns its digest."""
        digest = self.store.put(content)
        self.artifacts.append(digest)
        return digest

    def keep_on(self, digest: str) -> bool:
        """Keep an artifact that is there already; False if it is not."""
        there = artifacts.touch(self.store.root, digest)
        if there:
            self.artifacts.append(digest)
        return there

    def keep(self, table: str, name: str, data: bytes) -> None:
        """Keep a further file of the record, which is no table, beside the run's segments of `table`."""
        path = self.store.root / "tables" / table / self.id / name
        write_whole(path, data)
        relative = path.relative_to(self.store.root).as_posix()
        self.files.append(Segment(table, relative, 0, len(data), hashlib.sha256(data).hexdigest()))

    @property
    def segments(self) -> list[Segment]:
        """Public segments written so far."""
        return self._tables.segments

    def adopt(self, segment: Segment) -> None:
        """List a segment that was written into a folder of this run by other means than `append`."""
        (self.vault if segment.path.startswith("vault/") else self._tables).segments.append(segment)

    def info(self, status: str) -> RunInfo:
        """The run as it stands now."""
        captured = environment.capture()
        wall = self.cost.get("wall_s", time.perf_counter() - self._clock)
        used = {**self.meter.net(), **self.cost}
        peak = int(self.cost.get("peak_bytes", environment.peak_bytes()))
        return RunInfo(
            self.id, self.kind, self.job, self.key, status, self.config, self.result, self.code, captured,
            captured["threads"], self.seed, self.inputs, self.outputs, self.parents, self._started, datetime.now(UTC),
            wall, used["cpu_s"] or 0.0, peak, self.gpus * wall, _whole(used["read_bytes"]), _whole(used["written_bytes"]),
            used["energy_j"],
        )  # fmt: skip

    def publish(self, status: str) -> None:
        """Make the run visible, with its rows if it completed and without them otherwise."""
        if status != "completed":
            self.discard()
            self.attributes, self.artifacts, self.outputs, self.files, self.removed = {}, [], [], [], []
        warnings = self.events.warnings()
        if warnings:
            self.result["warnings"] = [*self.result.get("warnings", ()), *warnings]
        info = self.info(status)
        self.files.append(self.events.finish(info, self.attributes))
        self._tables.append("runs", [info.row()])
        self._tables.flush()
        self.vault.flush()
        self.store.publish(
            Manifest(
                info,
                tuple(self._tables.segments),
                tuple(self.vault.segments),
                tuple(sorted(set(self.artifacts))),
                self.attributes,
                tuple(self.files),
                tuple(self.removed),
            ),
            self.condition,
        )
        self.events.published()

    def discard(self) -> None:
        """Remove everything the run wrote so far."""
        self._tables.discard()
        self.vault.discard()


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _note_attributes(kinds: dict[str, str], column: pa.ChunkedArray) -> None:
    entries: dict[str, set[str]] = {}
    for chunk in column.chunks:
        # keys and items of the rows in view; a sliced map array's children are not sliced with it
        flat = pc.list_flatten(chunk.cast(pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())]))))
        for name, value in zip(flat.field("key").to_pylist(), flat.field("value").to_pylist(), strict=True):
            if value is not None:
                entries.setdefault(name, set()).add(value)
    for name, values in entries.items():
        kind = "number" if _all_numbers(values) else "text"
        kinds[name] = kind if kinds.get(name, kind) == kind else "text"


def _all_numbers(values: Iterable[str]) -> bool:
    try:
        for value in values:
            float(value)
    except ValueError:
        return False
    return True
