"""The store: a folder in which everything that happened is kept as immutable Parquet, readable without Earmark.

    earmark.json          format version and hash names
    tables/<table>/<run>/<uuid7>.parquet
    manifests/<run>.json  what a run wrote
    log/                  the order in which runs became visible, signed (see `lineage.proof.log`)
    openlineage/<run>.ndjson   how it went, in the words of OpenLineage (see `lineage.events`)
    vault/                the personal data (see `lineage.people.vault`)
    artifacts/<xx>/<digest>   weights, checkpoints, features: content-addressed files and folders
    unfinished/<key>/     from where a killed run goes on, no part of the record (see `lineage.storage.unfinished`)

Writers take no lock: any number of processes may write runs while others read. Laws: a run's rows appear all at once, when
the log names its manifest; what has appeared is never changed, only taken away by a later run that says so (compaction,
erasure); a writer killed at any instant leaves nothing that a reader sees.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa
from duckdb.sqltypes import UUID as DUCKDB_UUID
from duckdb.sqltypes import VARCHAR

from lineage import sql
from lineage.errors import AmbiguousName, Conflict, EarmarkError, UnknownName
from lineage.identity import digest_of, hex_prefix, uuid7
from lineage.machine import environment
from lineage.people.vault import Vault
from lineage.proof.log import Entry, Log
from lineage.runs import Run
from lineage.schema import FORMAT_VERSION, TABLES
from lineage.storage import artifacts, packed
from lineage.storage.living import alive
from lineage.storage.lookup import Lookup
from lineage.storage.manifest import Manifest, RunInfo, Segment
from lineage.storage.segments import write_durably, write_whole
from lineage.subjects import Subjects

T = TypeVar("T")


class Store:
    """An opened store. Cheap to make; safe to share between processes, one instance per process and thread."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = Log(root)
        self._manifests: dict[str, Manifest] = {}  # by run, in the order in which they became visible
        self._live: dict[str, dict[str, Segment]] = {}  # by folder, e.g. 'tables/edges': the segments that readers see
        self._changes: Counter[str] = Counter()  # of those, by folder
        self._files: dict[str, Segment] = {}  # further files of the record by name
        self.removed: set[str] = set()  # files that were listed once; some may still lie there
        self.erasures: list[Manifest] = []
        self._attributes: dict[str, str] = {}
        self._views = sql.Views()
        self._lasting: dict[tuple[str, Any], tuple[int, Any]] = {}
        self._working: list[Run] = []  # runs being written, each within the one before

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
            for name in ("tables", "manifests", "log", "vault", "artifacts", "openlineage"):
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

    @cached_property
    def lookup(self) -> Lookup:
        """Finds rows by id."""
        return Lookup(self)

    @cached_property
    def subjects(self) -> Subjects:
        """What digests stand for."""
        return Subjects(self)

    @cached_property
    def origin(self) -> str:
        """SHA-256 of `earmark.json`, which holds the public key: which store this is, wherever it lies."""
        return hashlib.sha256((self.root / "earmark.json").read_bytes()).hexdigest()

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
        run = Run(self, uuid7(), kind, job, key, config, list(inputs), list(parents), seed, code, package)
        with alive(self.root, run.id), self._within(run):
            run.start()
            try:
                yield run
            except KeyboardInterrupt:
                run.publish("aborted")
                raise
            except BaseException as error:
                run.result = {"error": type(error).__name__, **getattr(error, "on_record", {})}
                run.publish("failed")
                raise
            try:
                run.publish("completed")
            except BaseException:
                if run.id not in {e.run for e in self.log.entries()}:
                    run.discard()
                    run.events.abandon()
                raise

    @contextmanager
    def _within(self, run: Run) -> Iterator[None]:
        """What `run` costs stands apart from what the run around it costs."""
        around = self._working[-1] if self._working else None
        self._working.append(run)
        try:
            yield
        finally:
            self._working.remove(run)
            if around is not None:
                around.meter.inner(run.meter.gross())

    def publish(self, manifest: Manifest, condition: Callable[[], None] = lambda: None) -> None:
        """Make a run visible, whole and durably: its manifest is written, then the log names it.

        `condition` is called with everything published before in view, and may refuse by raising `Conflict`.
        """
        data = json.dumps(manifest.to_json(), indent=1, ensure_ascii=False, sort_keys=True).encode()
        path = self.root / "manifests" / f"{manifest.run.id}.json"
        write_whole(path, data)
        told = {f"manifests/{path.name}", *manifest.paths}
        told |= {name[:end] for name in told for end, sign in enumerate(name) if sign == "/"}  # and the folders above
        try:
            self.log.append(
                manifest.run.id,
                hashlib.sha256(data).hexdigest(),
                [self.root / name for name in told],
                lambda: self._check(manifest, condition),
            )
        except Conflict:
            path.unlink()
            raise

    def _check(self, manifest: Manifest, condition: Callable[[], None]) -> None:
        """Raise if the run worked on what is there no more: a file that another run took away, a sample that was erased."""
        from lineage.people.erase import check_publication

        self.refresh()
        gone = next((p for p in manifest.removed if p in self.removed), None)
        if gone is not None:
            raise Conflict(f"{gone} was taken away by another run meanwhile — nothing was changed, run it again")
        check_publication(self, manifest)
        condition()

    def refresh(self) -> None:
        """See the runs published since the last look."""
        if not self._manifests:
            known = packed.unpack(self.root)
            self.log.foresee([entry for entry, _ in known])
            for entry, data in known:
                self._admit(entry, data)
        for entry in self.log.entries()[len(self._manifests) :]:
            self._admit(entry)

    def _admit(self, entry: Entry, data: bytes | None = None) -> None:
        name = f"manifests/{entry.run}.json"
        try:
            manifest = Manifest.from_json(json.loads((self.root / name).read_bytes() if data is None else data))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EarmarkError(f"{self.root / name} is damaged ({error!r}) — run: earmark verify") from error
        self._manifests[entry.run] = manifest
        for top, segments in (("tables", manifest.segments), ("vault", manifest.vault)):
            for segment in segments:
                folder = f"{top}/{segment.table}"
                self._live.setdefault(folder, {})[segment.path] = segment
                self._changes[folder] += 1
        self._files.update({f.path.rpartition("/")[2]: f for f in manifest.files})
        self.removed.difference_update(f"artifacts/{d[:2]}/{d}" for d in manifest.artifacts)  # kept again
        if manifest.run.kind == "erase" and manifest.run.status == "completed":
            self.erasures.append(manifest)
        for gone in manifest.removed:
            folder = "/".join(gone.split("/", 2)[:2])
            self._live.get(folder, {}).pop(gone, None)
            self._changes[folder] += 1
        self.removed.update(manifest.removed)
        for name, kind in manifest.attributes.items():
            self._attributes[name] = kind if self._attributes.get(name, kind) == kind else "text"

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
        self.refresh()
        if ref in self._manifests:
            return self._manifests[ref].run
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
        return self.listed(f"tables/{table}")

    def listed(self, folder: str) -> list[Segment]:
        """The segments below `folder` ('tables/samples', 'vault/clips') that published runs list and none took away."""
        self.refresh()
        return list(self._live.get(folder, {}).values())

    def companions(self, table: str) -> list[str]:
        """Names of what compactions keep of a public table besides it, e.g. 'edges_by_parent'; no view shows it."""
        self.refresh()
        names = (folder.split("/")[1] for folder in self._live if folder.startswith(f"tables/{table}_"))
        return [n for n in names if n not in TABLES]

    def changes(self, table: str) -> int:
        """How often the list of a public table's segments has changed; the same number means the same list."""
        self.refresh()
        return self._changes[f"tables/{table}"]

    def file(self, name: str) -> Path | None:
        """A further file of the record by its name; None if no run listed one."""
        self.refresh()
        found = self._files.get(name)
        return None if found is None else self.root / found.path

    def _vault_segments(self, table: str) -> list[Path]:
        return [self.root / s.path for s in self.listed(f"vault/{table}")]

    def attributes(self) -> dict[str, str]:
        """All attribute keys on record; 'number' where every value ever seen is one, else 'text'."""
        self.refresh()
        return dict(self._attributes)

    def connect(self, speaker_key: Callable[[str], uuid.UUID] | None = None) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection with views and macros over everything published so far, and no other file in reach.

        Give `speaker_key` (the vault's) to those who may ask for speakers by name.
        """
        connection = sql.connect(exact=False)
        if speaker_key is not None:
            connection.create_function("speaker_key", speaker_key, [VARCHAR], DUCKDB_UUID)
        self.steadily(lambda: sql.Views().update(connection, self, TABLES))
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
        return self.steadily(lambda: self._sql(query, parameters, tables or {}))

    def _sql(
        self, query: str, parameters: Sequence[Any] | dict[str, Any] | None, tables: Mapping[str, pa.Table]
    ) -> pa.Table:
        self._views.update(self._connection, self, [t for t in TABLES if t in query])
        for name, rows in tables.items():
            self._connection.register(name, rows)
        try:
            return self._connection.sql(query, params=parameters).to_arrow_table()
        finally:
            for name in tables:
                self._connection.unregister(name)

    def steadily(self, read: Callable[[], T]) -> T:
        """The result of `read`; begun again if a compaction took a file away under its hands."""
        while True:
            seen = len(self.removed)
            try:
                return read()
            except (duckdb.IOException, FileNotFoundError):
                self.refresh()
                if len(self.removed) == seen:
                    raise

    def read(
        self, table: str, columns: Sequence[str] = ("*",), where: str | None = None, parameters: Sequence[Any] = ()
    ) -> pa.Table:
        """Columns of one table, of the rows for which `where` (SQL text) holds."""
        clause = f" WHERE {where}" if where else ""
        return self.sql(f"SELECT {', '.join(columns)} FROM {table}{clause}", list(parameters))

    def lasting(self, table: str, read: Callable[[Store], T]) -> T:
        """What `read` makes of one public table alone; read anew only when the table has changed."""
        state = self.changes(table)
        known = self._lasting.get((table, read))
        if known is None or known[0] != state:
            known = self._lasting[table, read] = (state, read(self))
        return known[1]

    # -- artifacts ---------------------------------------------------------------------------------------------------

    def artifact(self, digest: str) -> Path:
        """Where the artifact of that digest lies.

        Raises:
            UnknownName: it is not in the store (never kept, or erased).
        """
        return artifacts.find(self.root, digest)

    def put(self, content: Path | bytes) -> str:
        """Keep a file, a folder or bytes under its digest; keeping it twice is keeping it once."""
        return artifacts.keep(self.root, content)
