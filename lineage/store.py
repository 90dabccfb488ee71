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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from lineage.durable import write_durably, write_whole
from lineage.errors import Conflict, EarmarkError
from lineage.identity import digest_of, uuid7
from lineage.machine import environment
from lineage.people.places import check_publication
from lineage.people.vault import Vault
from lineage.proof.log import Log
from lineage.record import Record
from lineage.runs import Run
from lineage.schema import FORMAT_VERSION
from lineage.storage import artifacts
from lineage.storage.living import alive
from lineage.storage.manifest import Manifest
from lineage.subjects import Subjects


class Store(Record):
    """An opened store. Cheap to make; safe to share between processes, one instance per process and thread."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
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

    def _vault_segments(self, table: str) -> list[Path]:
        return [self.root / s.path for s in self.listed(f"vault/{table}")]

    @cached_property
    def subjects(self) -> Subjects:
        """What digests stand for."""
        return Subjects(self)

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
        self.refresh()
        gone = next((p for p in manifest.removed if p in self.removed), None)
        if gone is not None:
            raise Conflict(f"{gone} was taken away by another run meanwhile — nothing was changed, run it again")
        check_publication(self, manifest)
        condition()

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
