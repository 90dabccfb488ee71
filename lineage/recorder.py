"""New samples on their way into a run: the public row, and beside it what belongs into the vault.

A sample that is on record is not written again. Where the new facts differ from those on record (another accent, a file
that moved) a further row is written, and the newest one holds. So ingesting the same manifest twice adds nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from lineage.ids import id_array
from lineage.runs import Run
from lineage.schema import TABLES

BATCH = 2_000  # samples between two looks at the record
BATCH_BYTES = 64 << 20

_PUBLIC = [name for name in TABLES["samples"].names if name != "run_id"]


@dataclass(frozen=True)
class NewSample:
    """Everything about a sample that goes on the record.

    `transcript` is None for what has no words. The sound lies at `path`, or in `clip` (an encoded file) if the store
    keeps it. `roots` are the recordings it was derived from; empty means that it is one.
    """

    id: uuid.UUID
    audio_digest: str
    kind: str
    duration_s: float
    rate: int
    channels: int
    transcript: str | None = None
    speaker_key: uuid.UUID | None = None
    source: str | None = None
    licence: str | None = None
    roots: tuple[uuid.UUID, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    particulars: Mapping[str, str] = field(default_factory=dict)
    path: str | None = None
    clip: bytes | None = None

    def row(self, audio_key: uuid.UUID) -> dict[str, Any]:
        """As a row of `samples`."""
        return {
            "sample_id": self.id,
            "audio_key": audio_key,
            "speaker_key": self.speaker_key,
            "source": self.source,
            "licence": self.licence,
            "kind": self.kind,
            "duration_s": self.duration_s,
            "sample_rate": self.rate,
            "channels": self.channels,
            "words": None if self.transcript is None else len(self.transcript.split()),
            "characters": None if self.transcript is None else len(self.transcript),
            "root_ids": sorted(self.roots) or [self.id],
            "attributes": sorted(self.attributes.items()),
        }


class Recorder:
    """Writes samples into a run, each once; `close` (or leaving the `with` block) writes what is still in memory."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._seen: set[bytes] = set()
        self._batch: list[NewSample] = []
        self._bytes = 0
        self._totals: list[pa.Table] = []
        self.new = 0  # samples that were not on record before

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.close()

    def add(self, sample: NewSample) -> None:
        """Take a sample; one that came before in the same run is passed over."""
        if sample.id.bytes in self._seen:
            return
        self._seen.add(sample.id.bytes)
        self._batch.append(sample)
        self._bytes += len(sample.clip or b"")
        if len(self._batch) >= BATCH or self._bytes >= BATCH_BYTES:
            self.close()

    def totals(self) -> pa.Table:
        """`sample_id`, `duration_s` and `words` of everything added, for `create_set`."""
        self.close()
        return pa.concat_tables(self._totals) if self._totals else _totals([])

    def close(self) -> None:
        """Write the samples taken so far into the run."""
        if not self._batch:
            return
        batch, self._batch, self._bytes = self._batch, [], 0
        store = self._run.store
        ids = id_array([s.id for s in batch])
        known = described(store, ids)
        recorded = store.vault.rows("recordings", ids).select(["sample_id", "path"]).to_pylist() if known else []
        places: dict[uuid.UUID, set[str | None]] = {}
        for row in recorded:
            places.setdefault(row["sample_id"], set()).add(row["path"])
        spoken = store.vault.transcripts(ids) if known else {}
        rows = [s.row(store.vault.audio_key(s.audio_digest)) for s in batch]
        self.new += sum(s.id not in known for s in batch)
        self._totals.append(_totals(rows))
        self._run.append("samples", [r for r in rows if known.get(r["sample_id"]) != r])
        vault = self._run.vault
        unplaced = [s for s in batch if s.path not in places.get(s.id, ())]
        vault.append(
            "recordings",
            [
                {"sample_id": s.id, "path": s.path, "audio_digest": s.audio_digest, "speaker_key": s.speaker_key}
                for s in unplaced
            ],
        )
        vault.append(
            "clips",
            [{"sample_id": s.id, "flac": s.clip, "speaker_key": s.speaker_key} for s in unplaced if s.clip is not None],
        )
        vault.append(
            "transcripts",
            [
                {"sample_id": s.id, "transcript": s.transcript, "speaker_key": s.speaker_key}
                for s in batch
                if s.transcript is not None and s.id not in spoken
            ],
        )
        vault.append(
            "particulars",
            [
                {"sample_id": s.id, "name": name, "value": value, "speaker_key": s.speaker_key}
                for s in batch
                if s.id not in known
                for name, value in s.particulars.items()
            ],
        )


def described(store: Any, ids: pa.Array) -> dict[uuid.UUID, dict[str, Any]]:
    """The newest public row of each sample that is on record, by id."""
    query = f"""
        SELECT {", ".join(_PUBLIC)} FROM samples JOIN wanted ON sample_id = id
        QUALIFY row_number() OVER (PARTITION BY sample_id ORDER BY run_id DESC) = 1"""
    rows = store.sql(query, tables={"wanted": pa.table({"id": ids})}).to_pylist()
    return {row["sample_id"]: row for row in rows}


def _totals(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.table(
        {
            "sample_id": id_array([r["sample_id"] for r in rows]),
            "duration_s": pa.array([r["duration_s"] for r in rows], pa.float64()),
            "words": pa.array([r["words"] for r in rows], pa.int32()),
        }
    )
