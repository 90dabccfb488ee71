"""New samples on their way into a run: the public row, its edges, and beside them what belongs into the vault.

What is on record is not written again. Where new facts differ from those on record (another accent, a file that moved) a
further row is written, and the newest one holds. So recording the same thing twice adds nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from lineage.ids import id_array
from lineage.languages import language_tag, scripts
from lineage.runs import Run
from lineage.schema import TABLES
from lineage.sound.facts import HEARD, Facts
from lineage.store import Store

BATCH = 2_000  # samples between two looks at the record
BATCH_BYTES = 64 << 20

Rows = list[dict[str, Any]]

_PUBLIC = [name for name in TABLES["samples"].names if name != "run_id"]
_EDGE = ("child_id", "parent_id", "transform_id", "position", "parent_start_s", "child_start_s")


@dataclass(frozen=True)
class NewSample:
    """Everything about a sample that goes on the record.

    `transcript` is None for what has no words. `speaker` is the name behind `speaker_key`, where it may be new. The sound
    lies at `path`, unless the store keeps it as `clip` (an encoded file). `roots` are the recordings that the sample was
    derived from; empty means that it is one. `facts` are what listening to it told; without them those on record stand.
    """

    id: uuid.UUID
    audio_digest: str
    kind: str
    duration_s: float
    rate: int
    channels: int
    transcript: str | None = None
    speaker: str | None = None
    speaker_key: uuid.UUID | None = None
    source: str | None = None
    licence: str | None = None
    roots: tuple[uuid.UUID, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    particulars: Mapping[str, str] = field(default_factory=dict)
    path: str | None = None
    clip: bytes | None = None
    facts: Facts | None = None

    def row(self, audio_key: uuid.UUID) -> dict[str, Any]:
        """As a row of `samples`."""
        words = None if self.transcript is None else len(self.transcript.split())
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
            "words": words,
            "characters": None if self.transcript is None else len(self.transcript),
            "root_ids": sorted(self.roots) or [self.id],
            "attributes": sorted(self.attributes.items()),
            **(dict.fromkeys(HEARD) if self.facts is None else self.facts.row()),
            "speaking_rate": None
            if self.facts is None or words is None
            else self.facts.rate_of(words, self.duration_s),
            "language_tag": language_tag(self.attributes),
            "scripts": None if self.transcript is None else scripts(self.transcript),
        }


class Recorder:
    """Writes samples into a run, each once. Use it in a `with` block, whose end writes what is still in memory."""

    def __init__(self, run: Run) -> None:
        self.new = 0  # samples that were not on record before
        self._run = run
        self._lines: dict[bytes, int] = {}
        self._batch: list[NewSample] = []
        self._edges: Rows = []
        self._bytes = 0
        self._totals: list[pa.Table] = []
        self._transforms: set[str] = set()
        self._speakers: set[uuid.UUID] = set()
        self._sources: set[tuple[str, str | None]] = set()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.flush()

    def line_of(self, sample: uuid.UUID) -> int:
        """The line of the manifest with which a sample came in this run; 0 if it did not come with one."""
        return self._lines.get(sample.bytes, 0)

    def add(self, sample: NewSample, edges: Iterable[dict[str, Any]] = (), line: int = 0) -> None:
        """Take a sample and the rows of `edges` that lead to it; if it came before in this run, the edges only."""
        self._edges += edges
        if sample.id.bytes in self._lines:
            self._lines[sample.id.bytes] = self._lines[sample.id.bytes] or line
            return
        self._lines[sample.id.bytes] = line
        self._batch.append(sample)
        self._bytes += len(sample.clip or b"")
        if len(self._batch) >= BATCH or self._bytes >= BATCH_BYTES:
            self.flush()

    def use(self, transform: dict[str, Any]) -> None:
        """Record a row of `transforms` unless it is on record."""
        digest = transform["transform_id"]
        if digest not in self._transforms:
            self._transforms.add(digest)
            if not self._run.store.read("transforms", ["name"], "transform_id = ?", [digest]).num_rows:
                self._run.append("transforms", [transform])

    def totals(self) -> pa.Table:
        """`sample_id`, `duration_s` and `words` of everything added, for `create_set`."""
        self.flush()
        return pa.concat_tables([_totals([]), *self._totals])

    def flush(self) -> None:
        """Hand what was taken so far to the run."""
        batch, self._batch, self._bytes = self._batch, [], 0
        edges, self._edges = self._edges, []
        if batch:
            self._write_samples(batch)
        if edges:
            known = _recorded_edges(self._run.store, edges)
            fresh = {_edge_key(e): e for e in edges}
            self._run.append("edges", [e for key, e in fresh.items() if key not in known])

    def _write_samples(self, batch: Sequence[NewSample]) -> None:
        run, store, vault = self._run, self._run.store, self._run.vault
        ids = id_array([s.id for s in batch])
        known = described(store, ids)
        places: dict[uuid.UUID, set[str | None]] = {}
        for row in store.vault.rows("recordings", ids).to_pylist() if known else ():
            places.setdefault(row["sample_id"], set()).add(row["path"])
        spoken = store.vault.transcripts(ids) if known else {}
        rows = [_row(store, s, known.get(s.id)) for s in batch]
        self.new += sum(s.id not in known for s in batch)
        self._totals.append(_totals(rows))
        run.append("samples", [r for r in rows if known.get(r["sample_id"]) != r])
        unplaced = [s for s in batch if s.path not in places.get(s.id, ())]
        silent = [s for s in batch if s.transcript is not None and s.id not in spoken]
        vault.append("recordings", [_personal(s, path=s.path, audio_digest=s.audio_digest) for s in unplaced])
        vault.append("clips", [_personal(s, flac=s.clip) for s in unplaced if s.clip is not None])
        vault.append("fingerprints", _fingerprints(store, ids, batch, bool(known)))
        vault.append("transcripts", [_personal(s, transcript=s.transcript) for s in silent])
        vault.append(
            "particulars",
            [_personal(s, name=n, value=v) for s in batch if s.id not in places for n, v in s.particulars.items()],
        )
        self._write_speakers(batch)
        self._write_sources(batch)

    def _write_speakers(self, batch: Sequence[NewSample]) -> None:
        named = {s.speaker_key: s.speaker for s in batch if s.speaker_key and s.speaker}
        fresh = {key: name for key, name in named.items() if key not in self._speakers}
        if fresh:
            known = self._run.store.vault.speakers(fresh)
            self._run.vault.append(
                "speakers", [{"speaker_key": k, "speaker": n} for k, n in fresh.items() if k not in known]
            )
            self._speakers.update(fresh)

    def _write_sources(self, batch: Sequence[NewSample]) -> None:
        fresh = {(s.source, s.licence) for s in batch if s.source is not None and not s.roots} - self._sources
        if fresh:
            rows = self._run.store.read("sources", ["source", "licence"]).to_pylist()
            known = {(row["source"], row["licence"]) for row in rows}
            missing = sorted(fresh - known, key=lambda pair: (pair[0], pair[1] or ""))
            self._run.append("sources", [{"source": source, "licence": licence} for source, licence in missing])
            self._sources |= fresh


def described(store: Store, ids: pa.Array) -> dict[uuid.UUID, dict[str, Any]]:
    """The newest public row of each sample that is on record, by id."""
    query = f"""
        SELECT {", ".join(_PUBLIC)} FROM samples JOIN wanted ON sample_id = id
        QUALIFY row_number() OVER (PARTITION BY sample_id ORDER BY run_id DESC) = 1"""
    rows = store.sql(query, tables={"wanted": pa.table({"id": ids})}).to_pylist()
    return {row["sample_id"]: row for row in rows}


def _row(store: Store, sample: NewSample, known: Mapping[str, Any] | None) -> dict[str, Any]:
    row = sample.row(store.vault.audio_key(sample.audio_digest))
    if sample.facts is None and known is not None:
        row |= {name: known[name] for name in (*HEARD, "speaking_rate")}
    return row


def _fingerprints(store: Store, ids: pa.Array, batch: Sequence[NewSample], known: bool) -> Rows:
    """Rows of `fingerprints` for those that were listened to and have none yet."""
    there = set(store.vault.rows("fingerprints", ids)["sample_id"].to_pylist()) if known else set()
    return [
        _personal(
            s,
            words_key=None if s.transcript is None else store.vault.words_key(s.transcript),
            fingerprint=s.facts.fingerprint,
        )
        for s in batch
        if s.facts is not None and s.id not in there
    ]


def _personal(sample: NewSample, **columns: Any) -> dict[str, Any]:
    return {"sample_id": sample.id, "speaker_key": sample.speaker_key, **columns}


def _edge_key(edge: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(edge[name] for name in _EDGE)


def _recorded_edges(store: Store, edges: Rows) -> set[tuple[Any, ...]]:
    children = pa.table({"id": id_array(list({e["child_id"] for e in edges}))})
    query = f"SELECT {', '.join(_EDGE)} FROM edges JOIN wanted ON child_id = id"
    return {_edge_key(row) for row in store.sql(query, tables={"wanted": children}).to_pylist()}


def _totals(rows: Rows) -> pa.Table:
    return pa.table(
        {
            "sample_id": id_array([r["sample_id"] for r in rows]),
            "duration_s": pa.array([r["duration_s"] for r in rows], pa.float64()),
            "words": pa.array([r["words"] for r in rows], pa.int32()),
        }
    )
