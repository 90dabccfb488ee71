"""The store that `graph.py` asks, and beside it the same rows in a native DuckDB table."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from tools import TRANSFORMS, Lineage, edge_rows, lineage

from lineage.compaction.compact import compact
from lineage.ids import Halves, id_array
from lineage.schema import UUIDS
from lineage.selection.sets import create_set
from lineage.store import Store

MODELS = 20
SMALL_RUNS = 250  # as years of work leave behind: each is a manifest to be read
SPEAKERS = 10_000
CHUNK = 500_000
TABLES = {
    "edges": "child_id, parent_id",
    "samples": "sample_id, speaker_key",
    "exposures": "run_id, sample_id, weight",
    "models": "model_id, run_id",
    "members": "set_digest, sample_id",
}


@dataclass(frozen=True)
class World:
    """Where it lies, and whom to ask about: samples of the last generation, recordings, speakers; the digests of the sets."""

    folder: Path
    deep: list[uuid.UUID]
    recordings: list[uuid.UUID]
    speakers: list[uuid.UUID]
    sets: dict[str, str]

    @property
    def root(self) -> Path:
        """Of the store."""
        return self.folder / "store"

    def store(self) -> Store:
        """The store, opened anew."""
        return Store.open(self.root)

    def native(self) -> duckdb.DuckDBPyConnection:
        """The native tables, opened anew."""
        return duckdb.connect(str(self.folder / "native.duckdb"), read_only=True)


def world(folder: Path, edges: int) -> World:
    """The world in `folder`, made if it is not there."""
    plan = folder / f"world-{edges}.json"
    if not plan.exists():
        folder.mkdir(parents=True, exist_ok=True)
        told = _record(Store.init(folder / "store"), lineage(edges))
        _copy(told.store(), folder / "native.duckdb")
        plan.write_text(json.dumps(asdict(told) | {"folder": ""}, default=str))
    kept = json.loads(plan.read_text())
    ids = {name: [uuid.UUID(i) for i in kept[name]] for name in ("deep", "recordings", "speakers")}
    return World(folder, **ids, sets=kept["sets"])


def _record(store: Store, made: Lineage) -> World:
    """Record it all, in many runs, and compact."""
    rng = np.random.default_rng(2)
    speakers = rng.integers(0, 2**64, (min(SPEAKERS, len(made.recordings) // 10), 2), dtype=np.uint64)
    with store.run("ingest") as run:
        run.append(
            "transforms",
            [{"transform_id": t, "name": "speed", "parameters": "{}", "code_version": "1"} for t in TRANSFORMS],
        )
        for rows in _samples(made, speakers):
            run.append("samples", rows)
    for rows in edge_rows(made, CHUNK):
        with store.run("transform") as run:
            run.append("edges", rows)
    derived = np.concatenate([g.ids for g in made.generations])
    part = len(derived) // 16
    for number in range(MODELS):
        with store.run("train", seed=number) as run:
            consumed = derived[rng.choice(len(derived), part, replace=False)]
            run.append("models", [{"model_id": f"{number:064x}", "name": f"model {number}"}])
            run.append("exposures", _exposures(consumed))
    drawn = derived[rng.choice(len(derived), part + part // 10, replace=False)]
    parts = {
        "left": drawn[:part],
        "right": drawn[part // 10 :],
        "everything": np.concatenate([made.recordings, derived]),
    }
    sets = {}
    for name, ids in parts.items():
        with store.run("set") as run:
            sets[name] = create_set(run, ids, name=name).digest
    for number in range(SMALL_RUNS):
        with store.run("monitor", config={"number": number}):
            pass
    compact(store)
    some = [i[rng.integers(0, len(i), 50)] for i in (made.generations[-1].ids, made.recordings, speakers)]
    return World(store.root.parent, *(id_array(i).to_pylist() for i in some), sets)


def _samples(made: Lineage, speakers: Halves) -> Iterator[pa.Table]:
    """Rows of `samples`: recordings, noises, and what was made of them with its roots; a mix has no one speaker."""
    first, last = len(made.recordings), len(made.recordings) + len(made.noises)
    known = np.concatenate([made.recordings, made.noises])
    roots = np.full((last, 1 + len(made.generations)), -1, dtype=np.int32)  # places in `known`, of each sample so far
    roots[:, 0] = np.arange(last)
    yield from _rows(known, roots, known, speakers, first)
    roots = roots[:first]
    for number, g in enumerate(made.generations, 1):
        roots = roots[g.parents]
        roots[g.mixed, number] = first + g.noises
        yield from _rows(g.ids, roots, known, speakers, first)


def _rows(
    ids: Halves, roots: npt.NDArray[np.int32], known: Halves, speakers: Halves, recordings: int
) -> Iterator[pa.Table]:
    for start in range(0, len(ids), CHUNK):
        some = roots[start : start + CHUNK]
        there = some >= 0
        offsets = np.append(0, np.cumsum(there.sum(axis=1))).astype(np.int32)
        flat = id_array(known[some[there]])
        keys = id_array(speakers[some[:, 0] % len(speakers)])
        mixed = pa.array(there[:, 1:].any(axis=1) | (some[:, 0] >= recordings))
        n = len(some)
        yield pa.table(
            {
                "sample_id": id_array(ids[start : start + CHUNK]),
                "speaker_key": pa.ExtensionArray.from_storage(pa.uuid(), _without(keys.storage, mixed)),
                "kind": pa.repeat("speech", n),
                "duration_s": pa.array(np.ones(n)),
                "sample_rate": pa.array(np.full(n, 16_000, dtype=np.int32)),
                "channels": pa.array(np.ones(n, dtype=np.int32)),
                "root_ids": pa.ListArray.from_arrays(pa.array(offsets), flat, type=UUIDS),
            }
        )


def _without(values: pa.Array, gone: pa.Array) -> pa.Array:
    """The values, null where `gone`."""
    valid = pc.invert(gone)
    return pa.Array.from_buffers(values.type, len(values), [valid.buffers()[1], values.buffers()[1]])


def _exposures(ids: Halves) -> dict[str, object]:
    places = np.arange(len(ids), dtype=np.int32)
    ones = np.ones(len(ids), dtype=np.float32)
    return {"step": places // 32, "position": places % 32, "sample_id": id_array(ids), "weight": ones}


def _copy(store: Store, path: Path) -> None:
    """The public rows as native tables, sorted as the store's are."""
    connection = duckdb.connect(str(path))
    for table, columns in TABLES.items():
        files = [str(store.root / s.path) for s in store.segments(table)]
        connection.execute(f"CREATE TABLE {table} AS SELECT {columns} FROM read_parquet(?)", [files])
    connection.close()
