"""Rows of a table by id, out of segments that a compaction sorted: only the row groups in which an id can be are read.

Row groups of a sorted segment cover ranges of ids that hardly overlap, and the footer of the file says which. A few ids are
therefore found in about a millisecond each however many rows there are. What was recorded since the last compaction lies
in segments that are not sorted; there DuckDB looks, helped by their bloom filters.

Law: what is found depends on what is published alone, not on whether or when it was compacted.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from lineage.ids import Halves, halves, id_array, sort_unique
from lineage.proof.verifier import BY
from lineage.schema import TABLES
from lineage.sql import completed, identifier
from lineage.storage.manifest import Segment
from lineage.storage.published import Published

FEW = 64  # ids that are written into a query rather than joined with it
FEW_GROUPS = 8  # that are read faster without threads
GROUPS = 128  # row groups that are in memory at a time
OPEN = 512  # files that are kept open
SETS, SMALL = 64, 1 << 16  # so many sets are kept in memory, of at most so many members
EVERYWHERE = (uuid.UUID(int=0), uuid.UUID(int=(1 << 128) - 1))


class Lookup:
    """Looks rows up in one store; keeps its files' footers, which never change.

    `connection` is one of the types that ids have on record (`lineage.sql.connect`), used while no other is at it.
    """

    def __init__(self, published: Published, connection: duckdb.DuckDBPyConnection) -> None:
        self._published = published
        self._connection = connection
        self._files: dict[str, _File] = {}
        self._transforms: dict[str, tuple[str, str]] = {}
        self._sets: dict[str, Halves] = {}

    def rows(self, table: str, key: str, ids: Halves, columns: Sequence[str], copy: str | None = None) -> pa.Table:
        """`columns` of the rows of `table` whose `key` is one of `ids` (sorted, distinct), sorted by nothing.

        `copy` is the table's copy that is sorted by `key`, if it is not the table itself.
        """
        return self._published.steadily(lambda: self._rows(table, key, ids, columns, copy or table))

    def _rows(self, table: str, key: str, ids: Halves, columns: Sequence[str], copy: str) -> pa.Table:
        schema = pa.schema([TABLES[table].arrow.field(c) for c in columns])
        files = [self._file(s, key) for s in self._published.listed(f"tables/{copy}") if s.order == key]
        if len(ids) > FEW:
            with ThreadPoolExecutor(2) as pool:
                parts = [p for found in pool.map(lambda f: f.rows(ids, columns), files) for p in found]
        else:
            parts = [p for f in files for p in f.rows(ids, columns)]
        rest = [s for s in self._published.segments(table) if not s.order]
        if rest and len(ids):
            parts.append(self._unsorted(table, rest, key, ids, columns))
        return pa.concat_tables([p.cast(schema) for p in parts]) if parts else schema.empty_table()

    def transforms(self, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Name and parameters of transforms; the id being their digest, what is known once need not be asked again."""
        unknown = [i for i in ids if i not in self._transforms]
        if unknown:
            for row in self._published.steadily(lambda: self._named(unknown)).to_pylist():
                self._transforms[row["transform_id"]] = (row["name"], row["parameters"])
        return self._transforms

    def _named(self, ids: Sequence[str]) -> pa.Table:
        segments = self._published.segments("transforms")
        if not segments:
            return TABLES["transforms"].arrow.empty_table()
        query = """
            SELECT DISTINCT transform_id, name, parameters FROM read_parquet(?, union_by_name = true)
            SEMI JOIN wanted ON transform_id = id"""
        return self._query(query, segments, pa.array(ids, pa.string()))

    def index(self, table: str, key: str, ids: Halves, column: str, copy: str) -> Halves:
        """Ids in `column` of an index of `table` that is sorted by `key`; of what is compacted, for the rest is not indexed."""

        def read() -> Halves:
            parts = [
                part
                for segment in self._published.listed(f"tables/{copy}")
                if segment.order
                for part in self._file(segment, key).rows(ids, [column])
            ]
            return np.concatenate([np.empty((0, 2), np.uint64), *(halves(p[column]) for p in parts)])

        return self._published.steadily(read)

    def described_anew(self) -> bool:
        """Whether some sample was described more than once, anew or by two writers at once, since the last compaction."""
        segments = self._published.segments("samples")
        fresh = [s for s in segments if not s.order]
        if not fresh or len(segments) < 2:
            return False
        query = "SELECT sample_id AS id FROM read_parquet(?)"
        try:
            found = halves(self._published.steadily(lambda: self._query(query, fresh))["id"])
        except duckdb.Error:
            return True  # a damaged file is told of by the query that needs it, not by those that do not
        distinct = sort_unique(found)
        return (
            len(distinct) < len(found) or len(self.index("samples", "sample_id", distinct, "sample_id", "samples")) > 0
        )

    def _unsorted(self, table: str, segments: list[Segment], key: str, ids: Halves, columns: Sequence[str]) -> pa.Table:
        wanted = id_array(ids)
        few = ", ".join(f"'{i}'::UUID" for i in wanted.to_pylist()) if len(ids) <= FEW else "SELECT id FROM wanted"
        listed = ", ".join(identifier(c) for c in columns)
        source = completed(TABLES[table], "read_parquet(?, union_by_name = true)")
        return self._query(f"SELECT {listed} FROM {source} WHERE {key} IN ({few})", segments, wanted)

    def _query(self, query: str, segments: Sequence[Segment], wanted: pa.Array | None = None) -> pa.Table:
        """Rows of a query over the files of these segments, its only parameter, and over the ids `wanted`."""
        paths = [str(self._published.root / s.path) for s in segments]
        if wanted is not None:
            self._connection.register("wanted", pa.table({"id": wanted}))
        try:
            return self._connection.sql(query, params=[paths]).to_arrow_table()
        finally:
            if wanted is not None:
                self._connection.unregister("wanted")

    def members(self, digest: str, reach: tuple[uuid.UUID, uuid.UUID] = EVERYWHERE) -> Halves:
        """Ids of a set, sorted; only those from the first to the second of `reach`, which differ in leading bits alone."""
        if reach == EVERYWHERE and digest in self._sets:
            return self._sets[digest]
        found = self._published.steadily(lambda: self._members(digest, *(np.uint64(end.int >> 64) for end in reach)))
        if reach == EVERYWHERE and 0 < len(found) <= SMALL:
            found.flags.writeable = False
            self._sets[digest] = found  # no digest ever comes to mean another set
            for oldest in list(self._sets)[:-SETS]:
                del self._sets[oldest]
        return found

    def _members(self, digest: str, low: np.uint64, high: np.uint64) -> Halves:
        files = [self._file(segment, "sample_id") for segment in self._published.segments("members")]
        found = [file.members(digest, low, high) for file in files]
        return sort_unique(np.concatenate([np.empty((0, 2), np.uint64), *found]))

    def _file(self, segment: Segment, key: str) -> _File:
        if segment.path not in self._files:
            stale = [
                *(set(self._files) & self._published.removed),
                *list(self._files)[: max(0, len(self._files) - OPEN)],
            ]
            for path in set(stale):
                self._files.pop(path).parquet.close()
            self._files[segment.path] = _File.open(str(self._published.root / segment.path), segment.table, key)
        return self._files[segment.path]


@dataclass
class _File:
    parquet: pq.ParquetFile
    columns: frozenset[str]
    key: str
    low: npt.NDArray[np.uint64]  # of each row group, the first half of the least id
    high: npt.NDArray[np.uint64]
    rows_before: npt.NDArray[np.int64]  # of each row group, and in the end of all

    @classmethod
    def open(cls, path: str, table: str, key: str) -> _File:
        footer = pq.read_metadata(path)
        there = footer.schema.to_arrow_schema().names
        names = [c.name for c in TABLES[table.split(BY)[0]].columns if c.dictionary and c.name in there]
        parquet = pq.ParquetFile(path, metadata=footer, read_dictionary=names)
        column = parquet.schema_arrow.get_field_index(key)
        statistics = [footer.row_group(i).column(column).statistics for i in range(footer.num_row_groups)]
        rows = [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
        return cls(
            parquet,
            frozenset(there),
            key,
            np.array([int.from_bytes(s.min[:8], "big") for s in statistics], dtype=np.uint64),
            np.array([int.from_bytes(s.max[:8], "big") for s in statistics], dtype=np.uint64),
            np.concatenate([[0], np.cumsum(rows)]),
        )

    def rows(self, ids: Halves, columns: Sequence[str]) -> list[pa.Table]:
        """Rows with one of `ids`, in a file that is sorted by them."""
        first = np.searchsorted(ids[:, 0], self.low, side="left")
        last = np.searchsorted(ids[:, 0], self.high, side="right")
        fitting = np.flatnonzero(last > first)
        return [
            part
            for start in range(0, len(fitting), GROUPS)
            if (part := self._matching(fitting[start : start + GROUPS], ids, columns)) is not None
        ]

    def _matching(self, groups: npt.NDArray[np.int64], ids: Halves, columns: Sequence[str]) -> pa.Table | None:
        keys = self._read(groups, [self.key])
        places = _places(keys[self.key], ids)
        if not len(places):
            return None
        ends = np.cumsum(self.rows_before[groups + 1] - self.rows_before[groups])
        which = np.searchsorted(ends, places, side="right")  # group of each place
        hit = np.unique(which)
        begin = np.concatenate([[0], ends[:-1]])
        shift = np.zeros(len(groups), dtype=np.int64)
        shift[hit] = np.concatenate([[0], np.cumsum((ends - begin)[hit])[:-1]])
        found = keys.take(pa.array(places))
        others = [c for c in columns if c != self.key]
        if others:  # only of groups in which something was found
            rest = self._read(groups[hit], others).take(pa.array(places - begin[which] + shift[which]))
            for name in others:
                found = found.append_column(name, rest[name] if name in rest.column_names else pa.nulls(len(places)))
        return found.select(list(columns))

    def _read(self, groups: npt.NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
        there = [c for c in columns if c in self.columns]
        return self.parquet.read_row_groups(groups.tolist(), columns=there, use_threads=len(groups) > FEW_GROUPS)

    def members(self, digest: str, low: np.uint64, high: np.uint64) -> Halves:
        """Ids of the set `digest` whose first half is from `low` to `high`, in a file of `members` in any order."""
        footer = self.parquet.metadata
        column = self.parquet.schema_arrow.get_field_index("set_digest")
        groups = []
        for i in range(footer.num_row_groups):
            s = footer.row_group(i).column(column).statistics
            if s.min <= digest <= s.max and (s.min != s.max or (self.high[i] >= low and self.low[i] <= high)):
                groups.append(i)
        if not groups:
            return np.empty((0, 2), dtype=np.uint64)
        rows = self.parquet.read_row_groups(groups, columns=["set_digest", "sample_id"], use_threads=False)
        ids = halves(rows["sample_id"])
        return ids[_equal(rows["set_digest"], digest) & (ids[:, 0] >= low) & (ids[:, 0] <= high)]


def _places(column: pa.ChunkedArray, ids: Halves) -> npt.NDArray[np.int64]:
    """Places in a sorted column at which one of `ids` stands. Compares bytes where they lie, nothing is converted."""
    wanted = ids.astype(">u8").view("S16").ravel()
    found, before = [], 0
    for chunk in column.chunks:
        storage = chunk.storage
        data = np.frombuffer(storage.buffers()[1], dtype="S16")[storage.offset : storage.offset + len(storage)]
        some = wanted[np.searchsorted(wanted, data[0]) : np.searchsorted(wanted, data[-1], side="right")]
        first = np.searchsorted(data, some, side="left")
        count = np.searchsorted(data, some, side="right") - first
        ends = np.cumsum(count)
        found.append(np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - ends + count + before, count))
        before += len(storage)
    return np.concatenate(found)


def _equal(column: pa.ChunkedArray, value: str) -> npt.NDArray[np.bool_]:
    parts = []
    for chunk in column.chunks:
        wanted = chunk.dictionary.index(value).as_py()
        parts.append(chunk.indices.to_numpy() == wanted)
    return np.concatenate(parts)
