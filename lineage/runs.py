"""Runs: what they wrote (`Manifest`), what they were (`RunInfo`), and one being written (`Run`).

Every fact on record was written by a run. While it is being written a run's rows are buffered and flushed into large
segments under its own folders; nothing of it is visible until `publish`, when the manifest that lists its files is named by
the log. Law: a run that does not complete leaves its `RunInfo` and not one row.
"""

from __future__ import annotations

import hashlib
import json
import re
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

from lineage.events.journal import Journal
from lineage.identity import file_digest, uuid7
from lineage.machine import environment
from lineage.machine.meter import Meter
from lineage.proof.verifier import rows_digest
from lineage.schema import FORMAT_VERSION, TABLES, VAULT, Table
from lineage.storage import artifacts
from lineage.storage.segments import Rows, as_table, write_segment, write_whole
from lineage.subjects import KEYS

if TYPE_CHECKING:
    from lineage.store import Store

FLUSH_ROWS = 1_000_000
FLUSH_BYTES = 128 << 20
PLACE = re.compile(r"(?:tables|vault|artifacts|openlineage)/[A-Za-z0-9_./-]+")
JSON_COLUMNS = ("config", "result", "environment")


@dataclass(frozen=True)
class Segment:
    """One Parquet file as its manifest lists it; `path` is relative to the store.

    `digest` is of the file, `logical` of its rows in their order (`lineage.proof.verifier.rows_digest`), which stays true
    of the rows when a compaction moves them; both are keyed for a vault segment. `logical` is empty where rows were only
    moved. `order` is the column by which the rows are sorted, if they are.
    """

    table: str
    path: str
    rows: int
    bytes: int
    digest: str
    logical: str = ""
    order: str = ""


@dataclass(frozen=True)
class RunInfo:
    """One run as its manifest tells it. Times are UTC; costs are in seconds, bytes and joules, see `lineage.machine.meter`.

    Those that a run of an earlier version did not note, or this machine cannot measure, are None.
    """

    id: str
    kind: str
    job: str | None
    key: str | None
    status: str
    config: dict[str, Any]
    result: dict[str, Any]
    code_version: str
    environment: dict[str, Any]
    threads: int
    seed: int | None
    inputs: list[str]
    outputs: list[str]
    parents: list[str]
    started: datetime
    ended: datetime
    wall_s: float
    cpu_s: float
    peak_bytes: int
    gpu_s: float | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    energy_j: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON, times in ISO 8601."""
        return {**self.__dict__, "started": self.started.isoformat(), "ended": self.ended.isoformat()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> RunInfo:
        """The inverse of `to_json`."""
        times = {name: datetime.fromisoformat(value[name]) for name in ("started", "ended")}
        return cls(**{**value, **times})

    def row(self) -> dict[str, Any]:
        """As a row of the `runs` table."""
        row: dict[str, Any] = {**self.__dict__, **{name: json.dumps(getattr(self, name)) for name in JSON_COLUMNS}}
        del row["id"]
        return row


@dataclass(frozen=True)
class Manifest:
    """What one run published."""

    run: RunInfo
    segments: tuple[Segment, ...]
    vault: tuple[Segment, ...]
    artifacts: tuple[str, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)  # key → 'number' or 'text', of this run's samples
    files: tuple[Segment, ...] = ()  # further files of the record that are no tables
    removed: tuple[str, ...] = ()  # paths that this run took away

    @property
    def paths(self) -> list[str]:
        """Everything that it names and that is there, relative to the store."""
        return [s.path for s in (*self.segments, *self.vault, *self.files)] + [
            f"artifacts/{d[:2]}/{d}" for d in self.artifacts
        ]

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "format": FORMAT_VERSION,
            "run": self.run.to_json(),
            "segments": [s.__dict__ for s in self.segments],
            "vault": [s.__dict__ for s in self.vault],
            "artifacts": list(self.artifacts),
            "attributes": self.attributes,
            "files": [s.__dict__ for s in self.files],
            "removed": list(self.removed),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Manifest:
        """The inverse of `to_json`.

        Raises:
            ValueError: it names a file that is not one of a store's; what is named as removed will be deleted.
        """
        paths = [s["path"] for kind in ("segments", "vault", "files") for s in value[kind]]
        paths += [*value["removed"], *(f"artifacts/{digest}" for digest in value["artifacts"])]
        for path in paths:
            if not PLACE.fullmatch(path) or ".." in path.split("/"):
                raise ValueError(f"{path!r} is no place in a store")
        return cls(
            RunInfo.from_json(value["run"]),
            tuple(Segment(**s) for s in value["segments"]),
            tuple(Segment(**s) for s in value["vault"]),
            tuple(value["artifacts"]),
            value["attributes"],
            tuple(Segment(**s) for s in value["files"]),
            tuple(value["removed"]),
        )


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
        self.events = Journal(self)
        self.attributes: dict[str, str] = {}  # of the samples so far: key → 'number' or 'text'
        self.condition: Callable[[], None] = lambda: None  # of publication, see `Store.publish`
        self._started = datetime.now(UTC)
        self._clock = time.perf_counter()
        self.meter = Meter()

    def start(self) -> None:
        """Tell that the run begins."""
        self.events.start(self._started)

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
        self.files.append(self.events.finish(info))
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
