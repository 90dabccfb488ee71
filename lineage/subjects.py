"""What the digests in a run's inputs and outputs stand for: a set of samples, a model, or another artifact.

The answer comes from the run that made it: its manifest names the few small files in which its sets and models stand, so
that no table has to be read whole. What was learnt is kept, since no digest ever comes to mean something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow.parquet as pq

from lineage.record import Record
from lineage.storage.manifest import Manifest

KEYS = {"sample_sets": "set_digest", "models": "model_id"}
KINDS = {"sample_sets": "set", "models": "model"}


@dataclass(frozen=True)
class Subject:
    """A set, a model or an artifact; `facts` are its row in `sample_sets` or `models`, `run` is the one that made it."""

    digest: str
    kind: str = "artifact"
    name: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    run: str | None = None


def without_folder(name: str) -> str:
    """A name that may be a path, without the folders above it, which may tell of a person; `owner/name` stays whole."""
    plain = name.replace("\\", "/").rstrip("/")
    is_path = plain.startswith(("/", ".", "~")) or plain[1:3] == ":/" or plain.count("/") > 1
    return plain.rsplit("/", 1)[-1] if is_path else plain


def from_row(table: str, row: Mapping[str, Any]) -> Subject:
    """The subject that a row of `sample_sets` or `models` describes."""
    return Subject(row[KEYS[table]], KINDS[table], row["name"], row, row["run_id"])


class Subjects:
    """Looks up digests of one store."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._origins: dict[str, Manifest] = {}
        self._known: dict[str, Subject] = {}
        self._seen = 0

    def find(self, digest: str) -> Subject:
        """The set or model of that digest under its newest name; an artifact if no run says that it is either."""
        self._look()
        if digest not in self._known and digest in self._origins:
            self._read(self._origins[digest])
        if digest not in self._known:
            origin = self._origins.get(digest)
            return Subject(digest, run=origin.run.id if origin else None)
        return self._known[digest]

    def _look(self) -> None:
        for manifest in self._record.manifests()[self._seen :]:
            self._seen += 1
            describes = any(s.table in KEYS for s in manifest.segments)
            for digest in manifest.run.outputs:
                if describes or digest not in self._origins:
                    self._origins[digest] = manifest
                    self._known.pop(digest, None)  # it may have a new name

    def _read(self, origin: Manifest) -> None:
        for table in KEYS:
            for row in self._record.steadily(partial(self._rows, table, origin)):
                if self._origins.get(row[KEYS[table]]) is origin:
                    self._known[row[KEYS[table]]] = from_row(table, row)

    def _rows(self, table: str, origin: Manifest) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        segments = [s for s in origin.segments if s.table == table]
        present = {s.path for s in self._record.segments(table)} if segments else set()
        for segment in segments:
            if segment.path not in present:  # merged into another since
                rows = self._record.read(table, where="run_id = ?", parameters=[origin.run.id])
            else:
                rows = pq.read_table(self._record.root / segment.path, partitioning=None)
            found += rows.to_pylist()
        return found
