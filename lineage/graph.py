"""Questions about the lineage: where a sample came from, what was made of it, and which sets and models it reached.

Walks are frontier loops: one look-up a generation, in the copy of `edges` that is sorted in the direction of the walk
(`lineage.lookup`). A recursive CTE would join all edges again at every hop, which is hundreds of times slower on millions of
them. Questions about all samples at once number the ids through and work on plain integers.

Laws: the answers are those of a naive walk over all published edges, whether compacted or not; a sample is not among its own
ancestors or descendants.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from lineage.errors import AmbiguousName, EarmarkError, UnknownName
from lineage.identity import hex_prefix
from lineage.ids import Halves, distinct, halves, id_array, order, ranks, sort_unique, take, without
from lineage.schema import TABLES
from lineage.store import Store

BY_PARENT = "edges_by_parent"
BY_SPEAKER = "samples_by_speaker"
MANY = 1 << 17  # ids from which on a join with all rows is faster than looking them up
HOPS = 64  # lineages are not as deep as that
NOBODY: Halves = np.empty((0, 2), dtype=np.uint64)


# -- walks ---------------------------------------------------------------------------------------------------------------


def ancestors(store: Store, ids: Iterable[uuid.UUID] | pa.Array) -> pa.Table:
    """Edges from the samples up to their recordings, nearest generation (1) first.

    Columns of `edges`, then the transform's name as `transform`, its `parameters`, and `generation`.
    """
    return _named(store, _walk(store, ids, "child_id", "parent_id", "edges"))


def descendants(store: Store, ids: Iterable[uuid.UUID] | pa.Array) -> pa.Table:
    """Edges from the samples down to everything made of them, nearest generation (1) first; columns as of `ancestors`."""
    return _named(store, _walk(store, ids, "parent_id", "child_id", BY_PARENT))


def _walk(
    store: Store, start: Iterable[uuid.UUID] | pa.Array, known: str, wanted: str, copy: str, *columns: str
) -> list[pa.Table]:
    """The edges of each generation; all columns, or the ids and those."""
    names = [known, wanted, *columns] if columns else TABLES["edges"].names
    frontier = seen = sort_unique(halves(id_array(start)))
    generations: list[pa.Table] = []
    while len(frontier) and len(generations) < HOPS:
        found = store.lookup.rows("edges", known, frontier, names, copy)
        if not found.num_rows:
            break
        generations.append(found)
        frontier = without(sort_unique(halves(found[wanted])), seen)
        seen = sort_unique(np.concatenate([seen, frontier]))
    return generations


def _named(store: Store, generations: list[pa.Table]) -> pa.Table:
    """The generations as one table, with names and parameters of the transforms."""
    found = pa.concat_tables(generations) if generations else TABLES["edges"].arrow.empty_table()
    known = store.lookup.transforms(found["transform_id"].unique().to_pylist())
    said = [known.get(t, (None, None)) for t in found["transform_id"].to_pylist()]
    numbers = np.repeat(np.arange(1, len(generations) + 1, dtype=np.int32), [g.num_rows for g in generations])
    for name, values in (
        ("transform", pa.array([s[0] for s in said], pa.string())),
        ("parameters", pa.array([s[1] for s in said], pa.string())),
        ("generation", pa.array(numbers)),
    ):
        found = found.append_column(name, values)
    return found


# -- roots of everything ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Roots:
    """Which recordings samples go back to, in numbers: `recordings[which[offsets[i] : offsets[i + 1]]]` are those of
    `samples[i]`. Both are sorted by id; samples from which nothing leads further up are not among `samples`."""

    samples: Halves
    recordings: Halves
    offsets: npt.NDArray[np.int64]
    which: npt.NDArray[np.int32]

    def of(self, sample: uuid.UUID) -> list[uuid.UUID]:
        """The recordings that a sample goes back to, itself if it is one; sorted."""
        place = int(ranks(self.samples, halves([sample]))[0])
        if place < 0:
            return [sample]
        found = self.recordings[np.sort(self.which[self.offsets[place] : self.offsets[place + 1]])]
        ids: list[uuid.UUID] = id_array(found).to_pylist()
        return ids

    def table(self) -> pa.Table:
        """As rows of sample_id and root_id."""
        samples = np.repeat(np.arange(len(self.samples)), np.diff(self.offsets))
        return pa.table(
            {"sample_id": id_array(take(self.samples, samples)), "root_id": id_array(self.recordings[self.which])}
        )


def roots(store: Store, ids: Iterable[uuid.UUID] | pa.Array | None = None) -> Roots:
    """The recordings that the samples, or all samples on record, go back to by their edges.

    Raises:
        EarmarkError: the edges lead in a circle.
    """
    if ids is None:
        child, parent = store.steadily(lambda: _all_edges(store))
    else:
        found = _walk(store, ids, "child_id", "parent_id", "edges", "position")
        child, parent = (
            np.concatenate([NOBODY, *(halves(g[name]) for g in found)]) for name in ("child_id", "parent_id")
        )
    if not (child[1:, 0] > child[:-1, 0]).all():
        places = order(child)
        child, parent = take(child, places), take(parent, places)
    begins = distinct(child)
    samples = child[begins]
    above = ranks(samples, parent)  # −1 where the parent is a recording
    recordings = sort_unique(take(parent, np.flatnonzero(above < 0)))
    above[above < 0] = len(samples) + ranks(recordings, take(parent, np.flatnonzero(above < 0)))
    offsets = np.append(np.flatnonzero(begins), len(child))
    offsets, which = _resolved(offsets, above.astype(np.int32), len(samples))
    return Roots(samples, recordings, offsets, which - np.int32(len(samples)))


def _all_edges(store: Store) -> tuple[Halves, Halves]:
    """(child, parent) of every edge; sorted by child if one compaction sorted them all."""

    def read(path: str) -> list[Halves]:
        rows = pq.ParquetFile(store.root / path).read(["child_id", "parent_id"], use_threads=False)
        return [halves(rows["child_id"]), halves(rows["parent_id"])]

    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(read, (s.path for s in store.segments("edges"))))
    child, parent = (
        (np.concatenate([NOBODY, *column]) for column in zip(*parts, strict=True)) if parts else (NOBODY,) * 2
    )
    return child, parent


def _resolved(
    offsets: npt.NDArray[np.int64], above: npt.NDArray[np.int32], samples: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """`above[offsets[i] : offsets[i + 1]]` is what lies above sample i; the same with recordings (from `samples` on) alone.

    Each round puts in the place of a sample what is known to lie above it, so the distance covered doubles.
    """
    for _ in range(HOPS.bit_length()):
        inner = above < samples
        if not inner.any():
            return offsets, above
        counts = np.ones(len(above), dtype=np.int64)
        here = above[inner]
        counts[inner] = offsets[here + 1] - offsets[here]
        ends = np.cumsum(counts)
        starts = np.full(len(above), -1, dtype=np.int64)
        starts[inner] = offsets[here]
        source = np.arange(ends[-1]) - np.repeat(ends - counts, counts) + np.repeat(starts, counts)
        single = np.repeat(~inner, counts)
        spread = above.take(source, mode="clip")
        spread[single] = above[~inner]
        offsets = np.concatenate([[0], ends])[offsets]
        offsets, above = _once(offsets, spread)
    raise EarmarkError("the edges on record lead in a circle — run: earmark verify --deep")


def _once(
    offsets: npt.NDArray[np.int64], above: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """The same without repeats, where a sample has more than one above it."""
    lengths = np.diff(offsets)
    many = np.repeat(lengths > 1, lengths)
    if not many.any():
        return offsets, above
    owner = np.repeat(np.arange(len(lengths)), lengths)[many]
    words = np.unique(owner << 32 | above[many])
    single = np.repeat(np.arange(len(lengths)), lengths)[~many]
    words = np.concatenate([words, single << 32 | above[~many]])
    words.sort(kind="stable")
    counts = np.bincount(words >> 32, minlength=len(lengths))
    return np.concatenate([[0], np.cumsum(counts)]), (words & 0xFFFFFFFF).astype(np.int32)


# -- sets and models ---------------------------------------------------------------------------------------------------------


def samples_of(
    store: Store, *, speaker: uuid.UUID | None = None, source: str | None = None, licence: str | None = None
) -> Halves:
    """Ids of the samples of a speaker (by key), a source, or under a licence; sorted.

    In a speaker's samples are mixes with others; under a licence is what it is one of several terms of.
    """
    if speaker is not None:
        return _voices(store, speaker)
    condition, value = (
        ("source = ?", source) if source is not None else ("list_contains(split(licence, ' AND '), ?)", licence)
    )
    return sort_unique(halves(store.read("samples", ["sample_id"], condition, [value])["sample_id"]))


def _voices(store: Store, speaker: uuid.UUID) -> Halves:
    key = halves([speaker])
    named = store.lookup.index("samples", "speaker_key", key, "sample_id", BY_SPEAKER)
    fresh = [str(store.root / s.path) for s in store.segments("samples") if not s.order]
    if fresh:
        query = "SELECT sample_id FROM read_parquet(?, union_by_name = true) WHERE "
        found = store.sql(f"{query} speaker_key = ?", [fresh, speaker])
        named = np.concatenate([named, halves(found["sample_id"])])
        mixed = store.sql(
            f"{query} speaker_key IS NULL AND list_has_any(root_ids, (SELECT list(id) FROM named))",
            [fresh],
            tables={"named": pa.table({"id": id_array(named)})},
        )
        named = np.concatenate([named, halves(mixed["sample_id"])])
    return sort_unique(named)


def models_of(
    store: Store,
    ids: Iterable[uuid.UUID] | pa.Array | Halves | None = None,
    *,
    speaker: uuid.UUID | None = None,
    source: str | None = None,
    licence: str | None = None,
) -> pa.Table:
    """Models that consumed any of the samples, or of a speaker's, a source's, a licence's, with a weight above zero.

    Columns: model_id, name, run_id, exposures, samples (distinct ones among those asked for); oldest first.
    """
    if ids is None:
        wanted = samples_of(store, speaker=speaker, source=source, licence=licence)
    else:
        wanted = sort_unique(ids if isinstance(ids, np.ndarray) else halves(id_array(ids)))
    columns = ["sample_id", "weight", "run_id"]
    tables = {"wanted": pa.table({"id": id_array(wanted)})}
    consumed = "exposures e SEMI JOIN wanted ON e.sample_id = id"
    if len(wanted) < MANY:
        tables = {"consumed": store.lookup.rows("exposures", "sample_id", wanted, columns)}
        consumed = "consumed e"
    return store.sql(
        "SELECT m.model_id, m.name, m.run_id, sum(n)::BIGINT AS exposures, count(*) AS samples FROM ("
        f"SELECT run_id, sample_id, count(*) AS n FROM {consumed} WHERE weight > 0 GROUP BY ALL) JOIN models m USING (run_id) "
        "GROUP BY m.model_id, m.name, m.run_id ORDER BY m.run_id",
        tables=tables,
    )


@dataclass(frozen=True)
class Affected:
    """What would be affected if samples were withdrawn. `samples` are those and everything made of them, `derived` the
    latter alone; `sets` rows of set_digest, name, kind, size and samples, `models` as of `models_of`, `predictions` rows of
    model_id, set_digest and samples."""

    samples: Halves
    derived: Halves
    sets: pa.Table
    models: pa.Table
    predictions: pa.Table

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "samples": len(self.samples),
            "derived": [str(i) for i in id_array(self.derived).to_pylist()],
            **{name: getattr(self, name).to_pylist() for name in ("sets", "models", "predictions")},
        }


def affected_by(store: Store, ids: Iterable[uuid.UUID] | pa.Array | Halves) -> Affected:
    """What would be affected if these recordings or samples were withdrawn."""
    own = sort_unique(ids if isinstance(ids, np.ndarray) else halves(id_array(ids)))
    below = _walk(store, id_array(own), "parent_id", "child_id", BY_PARENT, "position")
    derived = without(sort_unique(np.concatenate([NOBODY, *(halves(g["child_id"]) for g in below)])), own)
    samples = sort_unique(np.concatenate([own, derived]))
    tables = {"wanted": pa.table({"id": id_array(samples)})}
    sets = store.sql(
        "SELECT s.set_digest, s.name, s.kind, s.size, n AS samples FROM (SELECT set_digest, count(DISTINCT sample_id) AS n "
        "FROM members SEMI JOIN wanted ON sample_id = id GROUP BY set_digest) JOIN sample_sets s USING (set_digest) "
        "ORDER BY s.run_id, s.name",
        tables=tables,
    )
    predictions = store.sql(
        "SELECT model_id, set_digest, count(DISTINCT sample_id) AS samples FROM predictions "
        "SEMI JOIN wanted ON sample_id = id GROUP BY ALL ORDER BY ALL",
        tables=tables,
    )
    return Affected(samples, derived, sets, models_of(store, samples), predictions)


def resolve_sample(store: Store, ref: str) -> uuid.UUID:
    """The sample whose id begins with `ref`, hyphens optional.

    Raises:
        UnknownName, AmbiguousName: no such sample, or several.
    """
    prefix = hex_prefix(ref)
    if prefix is None or len(prefix) > 32:
        raise UnknownName(
            "sample", ref, (), "ids are hexadecimal; list some with: earmark sql 'SELECT sample_id FROM samples'"
        )
    low, high = (uuid.UUID(hex=prefix.ljust(32, fill)) for fill in "0f")
    found = store.sql(
        "SELECT DISTINCT sample_id FROM samples WHERE sample_id BETWEEN ? AND ? ORDER BY sample_id LIMIT 5", [low, high]
    )["sample_id"].to_pylist()
    if not found:
        raise UnknownName("sample", ref, (), "list some with: earmark sql 'SELECT sample_id FROM samples LIMIT 10'")
    if len(found) > 1:
        raise AmbiguousName("sample", ref, map(str, found))
    result: uuid.UUID = found[0]
    return result
