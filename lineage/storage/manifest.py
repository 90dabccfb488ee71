"""A manifest: one JSON file that tells what a run was (`RunInfo`) and which files it wrote (`Segment`) or took away.

Readers see no file but those that manifests list. Law: `Manifest.from_json(m.to_json()) == m`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lineage.schema import FORMAT_VERSION

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
