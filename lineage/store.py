"""The store: a folder in which everything that happened is kept as immutable Parquet, readable without Earmark.

    earmark.json          format version and hash names
    tables/<table>/<run>/<uuid7>.parquet
    manifests/<run>.json  what a run wrote
    log/                  the order in which runs became visible, signed (see `lineage.log`)
    vault/                the personal data (see `lineage.vault`)
    artifacts/<xx>/<digest>   weights, checkpoints, features: content-addressed files and folders

Writers take no lock: any number of processes may write runs while others read. Laws: a run's rows appear all at once, when
the log names its manifest; what has appeared is never changed, only taken away by a later run that says so (compaction,
erasure); a writer killed at any instant leaves nothing that a reader sees.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from lineage import environment, sql
from lineage.errors import AmbiguousName, EarmarkError, UnknownName
from lineage.identity import digest_of, file_digest, hex_prefix, uuid7
from lineage.log import Log
from lineage.schema import FORMAT_VERSION, TABLES, VAULT, Table
from lineage.segments import Rows, as_table, sync_folder, write_durably, write_segment
from lineage.vault import Vault

FLUSH_ROWS = 1_000_000
FLUSH_BYTES = 128 << 20
JSON_COLUMNS = ("config", "result", "environment")


@dataclass(frozen=True)
class Segment:
    """One Parquet file as its manifest lists it; `path` is relative to the store. A vault segment's digest is keyed."""

    table: str
    path: str
    rows: int
    bytes: int
    digest: str


@dataclass(frozen=True)
class RunInfo:
    """One run as its manifest tells it. Times are UTC; `cost` is in seconds and bytes."""

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
        """The inverse of `to_json`."""
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
        write_segment(path, table, rows)
        digest = self._store.vault.file_digest(path) if self._folder == "vault" else file_digest(path)
        relative = path.relative_to(self._store.root).as_posix()
        self.segments.append(Segment(name, relative, rows.num_rows, path.stat().st_size, digest))

    def discard(self) -> None:
        """Drop everything, written or not."""
        self._pending.clear()
        for segment in self.segments:
            (self._store.root / segment.path).unlink(missing_ok=True)
        self.segments.clear()
        for table in self._tables:
            folder = self._store.root / self._folder / table / self._run_id
            shutil.rmtree(folder, ignore_errors=True)

    def sync(self) -> None:
        """Make the folders' entries durable."""
        for folder in {(self._store.root / s.path).parent for s in self.segments}:
            sync_folder(folder)
            sync_folder(folder.parent)


@dataclass
class Run:
    """A run being written; made by `Store.run`.

    `outputs`, `result` and `cost` may be added to until the run ends; `status` stays 'completed' unless an exception says
    otherwise.
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
    outputs: list[str] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    artifacts: list[str] = field(default_factory=list)
    files: list[Segment] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._tables = _Buffer(self.store, "tables", TABLES, self.id)
        self.vault = _Buffer(self.store, "vault", VAULT, self.id)
        self._attributes: dict[str, str] = {}
        self._started = datetime.now(UTC)
        self._clock = time.perf_counter()
        self._cpu = sum(os.times()[:4])

    def append(self, table: str, rows: Rows) -> None:
        """Record rows of a public table: an Arrow table, a list of dicts, or a dict of columns.

        `run_id` is filled in, absent columns become null.

        Raises:
            ValueError: unknown table or column, or a null where none may stand.
        """
        data = self._tables.append(table, rows)
        if table == "samples" and data.num_rows:
            _note_attributes(self._attributes, data["attributes"])

    def put(self, content: Path | bytes) -> str:
        """Keep a file, a folder or bytes as an artifact; returns its digest."""
        digest = self.store.put(content)
        self.artifacts.append(digest)
        return digest

    def info(self, status: str) -> RunInfo:
        """The run as it stands now."""
        captured = environment.capture()
        wall = self.cost.get("wall_s", time.perf_counter() - self._clock)
        cpu = self.cost.get("cpu_s", sum(os.times()[:4]) - self._cpu)
        peak = int(self.cost.get("peak_bytes", environment.peak_bytes()))
        return RunInfo(
            self.id, self.kind, self.job, self.key, status, self.config, self.result, self.code, captured,
            captured["threads"], self.seed, self.inputs, self.outputs, self.parents, self._started, datetime.now(UTC),
            wall, cpu, peak,
        )  # fmt: skip

    def publish(self, status: str) -> None:
        """Make the run visible, with its rows if it completed and without them otherwise."""
        if status != "completed":
            self.discard()
            self._attributes, self.artifacts, self.outputs = {}, [], []
        info = self.info(status)
        self._tables.append("runs", [info.row()])
        for buffer in (self._tables, self.vault):
            buffer.flush()
            buffer.sync()
        self.store.publish(
            Manifest(
                info,
                tuple(self._tables.segments),
                tuple(self.vault.segments),
                tuple(sorted(set(self.artifacts))),
                self._attributes,
                tuple(self.files),
                tuple(self.removed),
            )
        )

    def discard(self) -> None:
        """Remove everything the run wrote so far."""
        self._tables.discard()
        self.vault.discard()


class Store:
    """An opened store. Cheap to make; safe to share between processes, one instance per process and thread."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = Log(root)
        self._manifests: dict[str, Manifest] = {}  # by run, in the order in which they became visible
        self._removed: set[str] = set()
        self._views = sql.Views()

    @classmethod
    def init(cls, root: str | Path) -> Store:
        """Make a new store at `root`.

        Raises:
            EarmarkError: there is one already, or the place cannot be written.
        """
        root = Path(root)
        if (root / "earmark.json").exists():
            raise EarmarkError(f"there is a store at {root} already — use it, or choose another folder")
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise EarmarkError(f"{root} is not an empty folder — choose another, or empty it")
        try:
            for name in ("tables", "manifests", "log", "vault", "artifacts"):
                (root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EarmarkError(f"cannot make {root}: {error.strerror} — choose a folder you may write to") from error
        marker = {
            "format": FORMAT_VERSION,
            "ids": "sha256/128",
            "sets": "earmark.set.v1",
            "log": "rfc6962/sha256",
            "public_key": Log.make_key(root),
            "key_check": Vault.make_key(root),
        }
        write_durably(root / "earmark.json", json.dumps(marker, indent=1).encode())
        store = cls(root)
        store.log.sign()
        return store

    @classmethod
    def open(cls, root: str | Path) -> Store:
        """Open the store at `root`.

        Raises:
            EarmarkError: there is none, or it was written by a newer version.
        """
        root = Path(root)
        try:
            marker = json.loads((root / "earmark.json").read_text())
        except FileNotFoundError:
            raise EarmarkError(f"there is no store at {root} — make one with: earmark init {root}") from None
        except (OSError, ValueError) as error:
            raise EarmarkError(f"{root / 'earmark.json'} cannot be read: {error} — restore it from a backup") from error
        if marker.get("format", 0) > FORMAT_VERSION:
            raise EarmarkError(f"{root} was written by a newer Earmark (format {marker['format']}) — upgrade earmark")
        return cls(root)

    @cached_property
    def vault(self) -> Vault:
        """The personal data of this store."""
        return Vault(self.root, self._vault_segments)

    # -- runs --------------------------------------------------------------------------------------------------------

    @contextmanager
    def run(
        self,
        kind: str,
        *,
        job: str | None = None,
        config: dict[str, Any] | None = None,
        key: str | None = None,
        inputs: Sequence[str] = (),
        parents: Sequence[str] = (),
        seed: int | None = None,
        package: str = "lineage",
    ) -> Iterator[Run]:
        """Write a run: what is appended inside becomes visible when the block ends.

        An exception publishes the run as 'failed' ('aborted' for Ctrl-C) with its error and without its rows, and is
        raised again. `package` is the one whose code did the work.
        """
        config = config or {}
        digest_of(config)  # a configuration that is not JSON is found before the work, not after
        code = environment.code_version(package)
        run = Run(self, uuid7(), kind, job, key, config, list(inputs), list(parents), seed, code)
        try:
            yield run
        except KeyboardInterrupt:
            run.publish("aborted")
            raise
        except BaseException as error:
            run.result = {"error": type(error).__name__}
            run.publish("failed")
            raise
        try:
            run.publish("completed")
        except BaseException:
            if run.id not in {e.run for e in self.log.entries()}:
                run.discard()
            raise

    def publish(self, manifest: Manifest) -> None:
        """Make a run visible, whole and durably: its manifest is written, then the log names it."""
        data = json.dumps(manifest.to_json(), indent=1, ensure_ascii=False, sort_keys=True).encode()
        write_durably(self.root / "manifests" / f"{manifest.run.id}.json", data)
        self.log.append(manifest.run.id, hashlib.sha256(data).hexdigest())

    def refresh(self) -> None:
        """See the runs published since the last look."""
        for entry in self.log.entries()[len(self._manifests) :]:
            path = self.root / "manifests" / f"{entry.run}.json"
            try:
                manifest = Manifest.from_json(json.loads(path.read_text()))
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise EarmarkError(f"{path} is damaged ({error!r}) — run: earmark verify") from error
            self._manifests[entry.run] = manifest
            self._removed.update(manifest.removed)

    def manifests(self) -> list[Manifest]:
        """All published manifests in the order in which they became visible."""
        self.refresh()
        return list(self._manifests.values())

    def runs(self) -> list[RunInfo]:
        """All published runs, oldest first."""
        return sorted((m.run for m in self.manifests()), key=lambda r: r.id)

    def find_run(self, key: str) -> RunInfo | None:
        """The newest completed run whose result `key` determines; None if it has to be computed."""
        return next((r for r in reversed(self.runs()) if r.key == key and r.status == "completed"), None)

    def resolve_run(self, ref: str) -> RunInfo:
        """The run whose id begins with `ref`.

        Raises:
            UnknownName, AmbiguousName: no such run, or several.
        """
        runs = self.runs()
        found = [r for r in runs if r.id.replace("-", "").startswith(hex_prefix(ref) or "?")]
        if not found:
            raise UnknownName("run", ref, (r.id for r in runs))
        if len(found) > 1:
            raise AmbiguousName("run", ref, (r.id for r in found))
        return found[0]

    # -- reading -----------------------------------------------------------------------------------------------------

    def segments(self, table: str) -> list[Segment]:
        """The segments of a public table that published runs list."""
        return [s for m in self.manifests() for s in m.segments if s.table == table and s.path not in self._removed]

    def _vault_segments(self, table: str) -> list[Path]:
        listed = (s for m in self.manifests() for s in m.vault)
        return [self.root / s.path for s in listed if s.table == table and s.path not in self._removed]

    def attributes(self) -> dict[str, str]:
        """All attribute keys on record; 'number' where every value ever seen is one, else 'text'."""
        kinds: dict[str, str] = {}
        for manifest in self.manifests():
            for name, kind in manifest.attributes.items():
                kinds[name] = kind if kinds.get(name, kind) == kind else "text"
        return kinds

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection with views and macros over everything published so far, and no other file in reach."""
        connection = sql.connect()
        sql.Views().update(connection, self, TABLES)
        sql.define_macros(connection)
        sql.confine(connection, self.root / "tables")
        return connection

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        return sql.connect()

    def sql(
        self,
        query: str,
        parameters: Sequence[Any] | dict[str, Any] | None = None,
        tables: Mapping[str, pa.Table] | None = None,
    ) -> pa.Table:
        """Rows of a query over the record as it is now, and over `tables` by their names.

        Ids come as `pa.uuid()`, times in UTC.
        """
        self._views.update(self._connection, self, [t for t in TABLES if t in query])
        for name, rows in (tables or {}).items():
            self._connection.register(name, rows)
        try:
            return self._connection.sql(query, params=parameters).to_arrow_table()
        finally:
            for name in tables or {}:
                self._connection.unregister(name)

    def read(
        self, table: str, columns: Sequence[str] = ("*",), where: str | None = None, parameters: Sequence[Any] = ()
    ) -> pa.Table:
        """Columns of one table, of the rows for which `where` (SQL text) holds."""
        clause = f" WHERE {where}" if where else ""
        return self.sql(f"SELECT {', '.join(columns)} FROM {table}{clause}", list(parameters))

    # -- artifacts ---------------------------------------------------------------------------------------------------

    def artifact(self, digest: str) -> Path:
        """Where the artifact of that digest lies.

        Raises:
            UnknownName: it is not in the store (never kept, or erased).
        """
        path = self.root / "artifacts" / digest[:2] / digest
        if not path.exists():
            raise UnknownName("artifact", digest, ())
        return path

    def put(self, content: Path | bytes) -> str:
        """Keep a file, a folder or bytes under its digest; keeping it twice is keeping it once."""
        if isinstance(content, Path) and content.is_dir():
            files = sorted(p for p in content.rglob("*") if p.is_file())
            digest = digest_of([[p.relative_to(content).as_posix(), file_digest(p)] for p in files])
        elif isinstance(content, Path):
            digest = file_digest(content)
        else:
            digest = hashlib.sha256(content).hexdigest()
        target = self.root / "artifacts" / digest[:2] / digest
        if target.exists():
            return digest
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            write_durably(target, content)
            return digest
        temporary = target.with_name(f".{digest[:16]}.{uuid7()}.tmp")
        try:
            (shutil.copytree if content.is_dir() else shutil.copyfile)(content, temporary)
            for path in [temporary] if temporary.is_file() else [p for p in temporary.rglob("*") if p.is_file()]:
                with path.open("rb") as stream:
                    os.fsync(stream.fileno())
            temporary.rename(target)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.unlink(missing_ok=True) if temporary.is_file() else None
            if target.exists():  # another process kept the same folder first
                return digest
            raise EarmarkError(
                f"cannot keep {content} in {target.parent}: {error.strerror} — free some space"
            ) from error
        sync_folder(target.parent)
        return digest


def _note_attributes(kinds: dict[str, str], column: pa.ChunkedArray) -> None:
    entries: dict[str, set[str]] = {}
    for chunk in column.chunks:
        # keys and items of the rows in view; a sliced map array's children are not sliced with it
        flat = pa.compute.list_flatten(chunk.cast(pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())]))))
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
