"""Data sets in a script's memory, and the samples that their rows are.

A row says which sample it is in a column, `sample_id` by default; `export --format datasets` and
`lineage.derivation.pipelines` write it. A data set that has none, but sound and words, is put on the record by the rules
of ingestion, and gets the column by that. The columns of sound and words go by the names that manifests may use. Nothing
here imports `datasets`: what a data set is called and how it is read are told by its own methods, so lists of dicts will
do.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lineage.errors import EarmarkError
from lineage.ids import Halves, halves, id_array, sort_unique
from lineage.ingestion.intake import Accepted, Job, Options, outcomes
from lineage.machine.pool import in_order
from lineage.manifests.carried import PASSED_OVER
from lineage.manifests.columns import AUDIO, TEXT, canonical
from lineage.manifests.entries import entry
from lineage.people.erase import barred
from lineage.proof.merkle import Boughs
from lineage.recorder import Recorder
from lineage.selection.sets import SampleSet, create_set, resolve_set, sample_sets
from lineage.sound.audio import Waveform, encode
from lineage.store import Store

COLUMN = "sample_id"


def as_uuid(value: Any) -> uuid.UUID:
    """A sample id as rows carry it: a UUID, its text, or its 16 bytes.

    Raises:
        EarmarkError: it is none of these.
    """
    try:
        if isinstance(value, uuid.UUID):
            return value
        return uuid.UUID(bytes=value) if isinstance(value, bytes) else uuid.UUID(str(value))
    except ValueError:
        raise EarmarkError(f"'{value!s:.40}' is no sample id — write it as `earmark sql` shows it") from None


def columns(data: Any) -> list[str]:
    """Names of the columns of a data set, or of the first of a list of rows; none if it cannot be told."""
    if isinstance(data, (list, tuple)):
        return list(data[0]) if data and isinstance(data[0], Mapping) else []
    return list(getattr(data, "column_names", None) or ())


def sample_ids(data: Any, column: str = COLUMN) -> list[uuid.UUID] | None:
    """The sample of each row, in order; None where only going through the data would tell.

    Raises:
        EarmarkError: a row has none.
    """
    if column not in columns(data):
        return None
    if isinstance(data, (list, tuple)):
        values = [item.get(column) for item in data]
    elif hasattr(data, "select_columns") and hasattr(data, "__len__"):
        values = data.select_columns([column]).with_format("arrow")[:][column].to_pylist()
    else:
        return None
    missing = next((i for i, v in enumerate(values) if v is None), None)
    if missing is not None:
        raise EarmarkError(f"row {missing} of the data has no '{column}' — every row needs the id of its sample")
    return [as_uuid(v) for v in values]


def identify(store: Store, data: Any, *, name: str, column: str = COLUMN) -> tuple[Any, list[uuid.UUID]]:
    """`data` with the column of ids, and the ids; rows that have none are recorded as samples first, in a run of `name`.

    Raises:
        EarmarkError: samples are not on record in this store; or there is neither an id, nor sound and words; or a row
            cannot be recorded: then none is.
    """
    ids = sample_ids(data, column)
    if ids is not None:
        check_recorded(store, ids)
        return data, ids
    meant = {canonical(c) for c in columns(data)}
    if not {AUDIO, TEXT} <= meant:
        there = ", ".join(columns(data)[:8]) or "none that can be told without going through it"
        raise EarmarkError(
            f"the data has no column '{column}', nor columns of audio and text to record it by (columns: {there}) — "
            "put it on the record before features are made of it: track(store, data)"
        )
    ids = _record(store, data, name)
    values = [str(i) for i in ids]
    if hasattr(data, "add_column"):
        return data.add_column(column, values), ids
    return [{**row, column: value} for row, value in zip(data, values, strict=True)], ids


def check_recorded(store: Store, ids: Iterable[uuid.UUID]) -> None:
    """Whether all samples are on record.

    Raises:
        EarmarkError: some are not; says how many and the first.
    """
    wanted = id_array(sort_unique(halves(list(ids))))
    query = "SELECT id FROM wanted WHERE id NOT IN (SELECT sample_id FROM samples) ORDER BY id"
    unknown = store.sql(query, tables={"wanted": pa.table({"id": wanted})})["id"].to_pylist()
    if unknown:
        raise EarmarkError(
            f"{len(unknown)} of {len(wanted)} samples of the data are not on record in {store.root.name} "
            f"(first: {unknown[0]}) — ingest them there, or name the store that they came from"
        )


def set_of(store: Store, ids: Sequence[uuid.UUID] | Halves, name: str, parents: Sequence[str] = ()) -> SampleSet:
    """The set of these samples: the one on record, else a new one called `name`.

    Raises:
        EarmarkError: there are none.
    """
    if not len(ids):
        raise EarmarkError(f"the data of '{name}' is empty — give it rows")
    members = sort_unique(ids if isinstance(ids, np.ndarray) else halves(ids))
    digest = Boughs.of(members).set_digest
    if any(s.digest == digest for s in sample_sets(store)):
        return resolve_set(store, digest)
    with store.run("set", job=name, config={"name": name}, inputs=list(parents)) as run:
        return create_set(run, members, name=name, parents=parents)


# -- recording rows ------------------------------------------------------------------------------------------------------


def _record(store: Store, data: Any, name: str) -> list[uuid.UUID]:
    """Put every row on the record as a recording; their ids in order."""
    erased = barred(store)
    ids: list[uuid.UUID] = []
    with store.run("ingest", job=name, config={"from": "rows"}) as run, Recorder(run) as recorder:
        for job, decided in in_order(partial(outcomes, store.vault, Options(allow_outside=True)), _jobs(data)):
            ((_, outcome),) = decided
            row = job.rows[0][0]
            if not isinstance(outcome, Accepted):
                raise EarmarkError(f"row {row} of the data cannot go on the record: {outcome}")
            if erased(outcome.sample.id, outcome.sample.speaker_key):
                raise EarmarkError(f"row {row} of the data was erased from the record, or its speaker was — drop it")
            recorder.add(outcome.sample)
            ids.append(outcome.sample.id)
        recorder.flush()
        made = create_set(run, ids, name=name, samples=recorder.totals())
        run.result = {"accepted": made.size, "new": recorder.new}
    return ids


def _jobs(data: Any) -> Iterator[Job]:
    for number, row in enumerate(rows(data)):
        heard = next(c for c in row if canonical(c) == AUDIO)
        plain = {c: v for c, v in row.items() if isinstance(v, (str, int, float, bool)) and c not in PASSED_OVER}
        path, sound = place_of(row[heard])
        try:
            read = entry({**plain, heard: path or f"row {number}"})
        except EarmarkError as error:
            raise EarmarkError(f"row {number} of the data cannot go on the record: {error}") from error
        yield Job(Path(read.audio), ((number, read),), sound=sound)


def rows(data: Any) -> Iterator[Mapping[str, Any]]:
    """The rows, with sound as bytes or as a path, however the data set would decode it; labels by their names."""
    features = getattr(data, "features", None) or {}
    labels = {c: f.names for c, f in features.items() if hasattr(f, "names") and hasattr(f, "int2str")}
    for row in undecoded(data):
        yield {c: labels[c][v] if c in labels and v is not None else v for c, v in row.items()}


def undecoded(data: Any) -> Any:
    """The data set with its columns of sound as they are stored, so that reading a row decodes nothing."""
    for column, feature in (getattr(data, "features", None) or {}).items():
        if getattr(feature, "decode", False):
            data = data.cast_column(column, type(feature)(decode=False))
    return data


def place_of(value: Any) -> tuple[str | None, Callable[[], bytes] | None]:
    """Where a row's sound lies, or what reads its bytes: of a path, `bytes`, `{bytes, path}` or `{array, sampling_rate}`."""
    if isinstance(value, str):
        return value, None
    if isinstance(value, bytes):
        return None, lambda: value
    if isinstance(value, Mapping) and value.get("array") is not None:
        pcm = np.asarray(value["array"], dtype=np.float32)
        wave = Waveform(pcm[:, None] if pcm.ndim == 1 else pcm.T.copy(), int(value["sampling_rate"]))
        return value.get("path"), lambda: encode(wave)
    if isinstance(value, Mapping):
        data, path = value.get("bytes"), value.get("path")
        return path, None if data is None else lambda: data
    return None, None
