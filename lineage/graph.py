"""Questions about the lineage: where a sample came from, what was made of it, and which sets and models it reached.

Walks are frontier loops: one look-up a generation, in the copy of `edges` that is sorted in the direction of the walk
(`lineage.storage.lookup`). A recursive CTE would join all edges again at every hop, which is hundreds of times slower on
millions of them. Questions about all samples at once number the ids through and work on plain integers.

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

from lineage import sql
from lineage.errors import AmbiguousName, EarmarkError, UnknownName
from lineage.identity import hex_prefix
from lineage.ids import (
    BLOCK,
    Halves,
    distinct,
    halves,
    id_array,
    is_sorted,
    order,
    ranks,
    sort_unique,
    take,
    without,
)
from lineage.schema import TABLES
from lineage.store import Store

BY_PARENT = "edges_by_parent"
BY_SPEAKER = "samples_by_speaker"
MANY = 1 << 17  # ids from which on a join with all rows is faster than looking them up
HOPS = 64  # lineages are not as deep as that
ENDS = ["child_id", "parent_id"]
CIRCLE = (
    f"the edges on record lead in a circle, or through more than {HOPS} mixes of mixes, so some samples go back to no "
    "recording — see: earmark trace SAMPLE"
)
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
    """Which recordings samples go back to, in numbers.

    `samples[i]` goes back to `recordings[one[i]]` alone or, where `one[i]` is −1 − m, to the recordings
    `several[offsets[m] : offsets[m + 1]]` of mixture m. `samples` and `recordings` are sorted by id; samples from which no
    edge leads further up are the recordings.
    """

    samples: Halves
    recordings: Halves
    one: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    several: npt.NDArray[np.int32]

    def of(self, sample: uuid.UUID) -> list[uuid.UUID]:
        """The recordings that a sample goes back to, itself if it is one; sorted."""
        place = int(ranks(self.samples, halves([sample]))[0])
        if place < 0:
            return [sample]
        number = int(self.one[place])
        mixed = slice(self.offsets[-1 - number], self.offsets[-number]) if number < 0 else slice(0)
        found = self.recordings[self.several[mixed] if number < 0 else [number]]
        ids: list[uuid.UUID] = id_array(found).to_pylist()
        return ids

    def table(self) -> pa.Table:
        """As rows of sample_id and root_id."""
        mixed = np.flatnonzero(self.one < 0)
        m = -1 - self.one[mixed].astype(np.int64)
        counts = self.offsets[m + 1] - self.offsets[m]
        alone = np.flatnonzero(self.one >= 0)
        samples = np.concatenate([alone, np.repeat(mixed, counts)])
        recordings = np.concatenate([self.one[alone], self.several[_spread(self.offsets[m], counts)]])
        return pa.table(
            {"sample_id": id_array(self.samples[samples]), "root_id": id_array(self.recordings[recordings])}
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
    if not is_sorted(child):
        places = order(child)
        child, parent = take(child, places), take(parent, places)
    begins = distinct(child)
    samples = take(child, np.flatnonzero(begins))
    above = ranks(samples, parent)  # what lies above each edge: the number of a sample, or beyond those of a recording
    top = np.flatnonzero(above < 0)
    tops = take(parent, top)
    recordings = sort_unique(tops)
    above[top] = len(samples) + ranks(recordings, tops)
    return Roots(samples, recordings, *_resolve(begins, above.astype(np.int32), len(samples), len(recordings)))


def _all_edges(store: Store) -> tuple[Halves, Halves]:
    """(child, parent) of every edge; sorted by child if one compaction sorted them all."""
    segments = store.segments("edges")
    starts = np.cumsum([0, *(s.rows for s in segments)])
    child, parent = np.empty((starts[-1], 2), dtype=np.uint64), np.empty((starts[-1], 2), dtype=np.uint64)

    def read(number: int) -> None:
        place = int(starts[number])
        for batch in pq.ParquetFile(store.root / segments[number].path).iter_batches(1 << 16, columns=ENDS):
            child[place : place + len(batch)] = halves(batch["child_id"])
            parent[place : place + len(batch)] = halves(batch["parent_id"])
            place += len(batch)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(read, range(len(segments))))
    return child, parent


def _resolve(
    begins: npt.NDArray[np.bool_], above: npt.NDArray[np.int32], samples: int, recordings: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """`one`, `offsets` and `several` of `Roots`; an edge leads to what is `above`, and `begins` those of a further sample.

    A sample with one parent goes back to what its parent goes back to, so chains are jumped over, twice as far each
    time, until a recording or a mixture; only mixtures have to be followed upwards one by one.
    """
    alone = begins & np.append(begins[1:], True)[: len(begins)]  # edges that are the only ones of their sample
    single = alone[begins]
    mixtures = np.flatnonzero(~single)
    number = np.empty(samples, dtype=np.int32)  # of each mixture
    number[mixtures] = np.arange(len(mixtures), dtype=np.int32)
    stands = np.arange(samples + recordings, dtype=np.int32)  # what each goes back to, as far as known
    stands[:samples][single] = above[alone]
    one = np.empty(samples, dtype=np.int32)

    def follow(start: int) -> None:
        block = slice(start, start + BLOCK)
        going = start + np.flatnonzero(single[block] & (stands[:samples][block] < samples))
        for _ in range(HOPS):
            if not len(going):
                break
            here = stands[going]
            further = stands[here]  # be it of another block that is not as far, or farther
            stands[going] = further
            going = going[(further != here) & (further < samples)]
        else:
            raise EarmarkError(CIRCLE)
        found = stands[:samples][block]
        one[block] = found - samples
        mixed = np.flatnonzero(found < samples)
        if single[found[mixed]].any():  # it goes back to itself, and is no mixture
            raise EarmarkError(CIRCLE)
        one[start + mixed] = -1 - number[found[mixed]]

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(follow, range(0, samples, BLOCK)))
    return one, *_mixtures(begins[~alone], stands[above[~alone]], number, samples)


def _mixtures(
    begins: npt.NDArray[np.bool_], inner: npt.NDArray[np.int32], number: npt.NDArray[np.int32], samples: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """`offsets` and `several` of `Roots`; `inner` is what the mixtures are made of, and `begins` that of a further one."""
    starts = np.flatnonzero(begins)
    bounds = np.append(starts, len(inner))
    sizes = np.diff(bounds)

    def made_of(first: int) -> npt.NDArray[np.int64]:
        """Of a block of mixtures, in one word each pair of a mixture and a recording."""
        own = sizes[first : first + BLOCK]
        whole, part = (
            np.repeat(np.arange(first, first + len(own)), own),
            inner[bounds[first] : bounds[first + len(own)]],
        )
        most, found = 4 * len(part), []
        for _ in range(HOPS):
            ends = part >= samples
            found.append(whole[ends] << 32 | (part[ends] - samples))
            whole, further = whole[~ends], number[part[~ends]]
            if not len(whole):
                return _once(np.concatenate(found))
            if len(whole) > most:  # many ways lead to the same
                words = _once(whole << 32 | further)
                whole, further = words >> 32, words.astype(np.int32)
            # in the place of a mixture stands what it is made of
            part, whole = inner[_spread(starts[further], sizes[further])], np.repeat(whole, sizes[further])
        raise EarmarkError(CIRCLE)

    with ThreadPoolExecutor(2) as pool:
        words = np.concatenate([np.empty(0, dtype=np.int64), *pool.map(made_of, range(0, len(starts), BLOCK))])
    held = np.bincount(words >> 32, minlength=len(starts))
    return np.append(0, np.cumsum(held)), words.astype(np.int32)


def _once(words: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The words sorted and without repeats."""
    words.sort()
    once: npt.NDArray[np.int64] = words[np.append(True, words[1:] != words[:-1])[: len(words)]]
    return once


def _spread(starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """starts[0], starts[0] + 1, … (counts[0] of them), then from starts[1] on, and so forth."""
    ends = np.cumsum(counts)
    places: npt.NDArray[np.int64] = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + counts, counts)
    return places


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
        newest = (
            "SELECT sample_id, speaker_key, root_ids FROM read_parquet(?, union_by_name = true) "
            "QUALIFY row_number() OVER (PARTITION BY sample_id ORDER BY run_id DESC) = 1"
        )
        described = halves(store.sql(f"SELECT sample_id FROM ({newest})", [fresh])["sample_id"])
        named = without(sort_unique(named), sort_unique(described))
        found = store.sql(f"SELECT sample_id FROM ({newest}) WHERE speaker_key = ?", [fresh, speaker])
        named = np.concatenate([named, halves(found["sample_id"])])
        mixed = store.sql(
            f"SELECT sample_id FROM ({newest}) WHERE speaker_key IS NULL "
            "AND list_has_any(root_ids, (SELECT list(id) FROM named))",
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

    Those that were continued from such a model are among them, with the exposures of their own training, which may be none.
    Columns: model_id, name, run_id, exposures, samples (distinct ones among those asked for); oldest first.
    """
    if ids is None:
        wanted = samples_of(store, speaker=speaker, source=source, licence=licence)
    else:
        wanted = sort_unique(ids if isinstance(ids, np.ndarray) else halves(id_array(ids)))
    columns = ["sample_id", "weight", "run_id"]
    tables = {"wanted": pa.table({"id": id_array(wanted)})}
    taken = "exposures e SEMI JOIN wanted ON e.sample_id = id"
    if len(wanted) < MANY:
        tables = {"taken": store.lookup.rows("exposures", "sample_id", wanted, columns)}
        taken = "taken e"
    return store.sql(
        "WITH RECURSIVE consumed AS ("
        "SELECT m.model_id, m.name, m.run_id, sum(n)::BIGINT AS exposures, count(*) AS samples FROM ("
        f"SELECT run_id, sample_id, count(*) AS n FROM {taken} WHERE weight > 0 GROUP BY ALL) JOIN models m USING (run_id) "
        "GROUP BY m.model_id, m.name, m.run_id), "
        f"{sql.BUILT.format(start='SELECT model_id, name, run_id FROM consumed')} {sql.CONSUMERS}",
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
