"""Merging the segments of one table into few large ones, in an order that makes questions fast.

DuckDB sorts, on disk where memory does not suffice, and streams the rows back; they are written as they come. Beside each
merged segment lies a file of origins: for every row of it the segment and the row where it was first recorded. With it
`verify --deep` puts every segment ever recorded together again and checks it against the digest that it was logged with.

Of rows that agree in everything but the run that wrote them (two writers recorded the same edge at once) the first stays in
the table, and of several descriptions of one sample the newest; the others go to a table of their own, e.g.
`samples_again`, which no view shows. So a compaction takes away no row and adds none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lineage.identity import file_digest, uuid7
from lineage.ids import halves
from lineage.proof.verifier import AGAIN, ORIGINS
from lineage.runs import Run
from lineage.schema import I32, UUID, Column, Table
from lineage.sql import empty, identifier, quote
from lineage.storage.manifest import Segment
from lineage.storage.segments import SegmentWriter

ROW_GROUP = 1 << 14  # rows of a group where rows are looked up by id: about a millisecond's reading
SEGMENT_ROWS = 1 << 22
BATCH = 1 << 17  # rows in memory at a time
SEGMENT, ROW = "#segment", "#row"

ORIGIN = Table(
    "origins",
    "Where each row of a merged segment was first recorded.",
    (
        Column("segment", UUID, "Name of the segment.", nullable=False, dictionary=True),
        Column("row", I32, "Row in it, from 0.", nullable=False),
    ),
)


@dataclass(frozen=True)
class Order:
    """How a table is sorted: by `columns`. Of rows that agree in these one stays: with `once` the first, if they agree in
    all else too, with `newest` the one of the newest run, whatever the others say."""

    columns: tuple[str, ...]
    once: bool = False
    newest: bool = False
    row_group: int | None = None


NATURAL = Order(("run_id", SEGMENT, ROW))
ORDERS: dict[str, dict[str, Order]] = {
    "edges": {
        "edges": Order(("child_id", "parent_id", "position"), once=True, row_group=ROW_GROUP),
        "edges_by_parent": Order(("parent_id", "child_id", "position"), once=True, row_group=ROW_GROUP),
    },
    "samples": {"samples": Order(("sample_id",), newest=True, row_group=ROW_GROUP)},
    "members": {"members": Order(("set_digest", "sample_id"), once=True, row_group=ROW_GROUP)},
    "exposures": {"exposures": Order(("sample_id",), row_group=4 * ROW_GROUP)},  # asked for by the thousand
    "transforms": {"transforms": Order(("transform_id",), once=True)},
}


def orders(table: str) -> dict[str, Order]:
    """The copies of a table that a compaction keeps, by name, and the order of each."""
    return ORDERS.get(table, {table: NATURAL})


def connect(memory: str, spill: Path) -> duckdb.DuckDBPyConnection:
    """A connection that keeps within `memory` (e.g. '1GB') and sorts what is larger in `spill`."""
    connection = duckdb.connect()
    connection.execute("SET arrow_lossless_conversion = true")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET memory_limit = {quote(memory)}")
    connection.execute(f"SET temp_directory = {quote(str(spill))}")
    connection.execute("SET enable_progress_bar = false")
    return connection


def origins_of(path: str) -> str:
    """Where the origins of the rows of a merged segment lie."""
    return path.removesuffix(".parquet") + ORIGINS


def rows_of(connection: duckdb.DuckDBPyConnection, root: Path, table: Table, segments: Sequence[Segment]) -> str:
    """SELECT of all rows of segments with their origins; columns of few values come as numbers in the order of the values."""
    fresh = [str(root / s.path) for s in segments if not s.order]
    parts = [f"{empty(table)}"]
    if fresh:
        listed = ", ".join(map(quote, fresh))
        name = "parse_filename(filename, true)"
        parts.append(
            f"SELECT * EXCLUDE (filename, file_row_number), {name}::UUID AS {identifier(SEGMENT)}, "
            f"file_row_number::INTEGER AS {identifier(ROW)} FROM read_parquet([{listed}], union_by_name = true, "
            f"filename = true, file_row_number = true)"
        )
    for s in segments:
        if s.order:
            rows, origins = str(root / s.path), str(root / origins_of(s.path))
            parts.append(
                f"SELECT d.*, o.segment AS {identifier(SEGMENT)}, o.row AS {identifier(ROW)} "
                f"FROM read_parquet({quote(rows)}) d POSITIONAL JOIN read_parquet({quote(origins)}) o"
            )
    body = " UNION ALL BY NAME ".join(f"({p})" for p in parts)
    few = [c.name for c in table.columns if c.dictionary and c.type == pa.string()]
    if few:
        listed = ", ".join(f"list(DISTINCT {identifier(c)}) AS {identifier(c)}" for c in few)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE occurring AS SELECT {listed} FROM ({body})")
    replaced = []
    for name in few:
        kind, values = identifier(f"{table.name}.{name}"), f"SELECT unnest({identifier(name)}) AS value FROM occurring"
        connection.execute(
            f"CREATE OR REPLACE TYPE {kind} AS ENUM (SELECT value FROM ({values}) WHERE value IS NOT NULL ORDER BY value)"
        )
        replaced.append(f"{identifier(name)}::{kind} AS {identifier(name)}")
    return f"SELECT * REPLACE ({', '.join(replaced)}) FROM ({body})" if replaced else f"SELECT * FROM ({body})"


def merge(
    run: Run, connection: duckdb.DuckDBPyConnection, table: Table, name: str, order: Order, segments: Sequence[Segment],
    keep_repeats: bool,
) -> tuple[int, int]:  # fmt: skip
    """Write the rows of `segments` in `order` into segments of the copy `name`; returns rows and how many are repeats.

    Repeats are written with the first copy of a table only (`keep_repeats`).
    """
    single = order.once or order.newest
    columns = [*order.columns, *(c for c in NATURAL.columns if single and c not in order.columns)]
    query = rows_of(connection, run.store.root, table, segments)
    query += f" ORDER BY {', '.join(map(identifier, columns))}"
    reader = connection.sql(query).to_arrow_reader(BATCH)
    rows = Rolling(run, table, name, order)
    repeats = Rolling(run, table, table.name + AGAIN, order)
    again = 0
    for batch in _groups(reader, order) if single else map(_table, reader):
        repeated = _repeated(batch, order, table) if single else np.zeros(batch.num_rows, dtype=bool)
        if repeated.any():
            again += int(repeated.sum())
            if keep_repeats:
                repeats.write(batch.filter(pa.array(repeated)))
            batch = batch.filter(pa.array(~repeated))
        rows.write(batch)
    rows.close()
    repeats.close()
    return rows.rows, again


def _table(batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch])


def _groups(reader: pa.RecordBatchReader, order: Order) -> Iterator[pa.Table]:
    """The rows of a sorted stream in pieces, those that agree in the order's columns together."""
    carried: pa.Table | None = None
    for batch in reader:
        rows = _table(batch)
        rows = pa.concat_tables([carried, rows]).combine_chunks() if carried is not None else rows
        begins = np.flatnonzero(~_as_before(rows, order.columns))
        last = int(begins[-1])
        if last:
            yield rows.slice(0, last)
        carried = rows.slice(last)
    if carried is not None:
        yield carried


def _as_before(rows: pa.Table, columns: Sequence[str]) -> npt.NDArray[np.bool_]:
    """For each row whether it agrees in `columns`, ids or numbers, with the row before."""
    same = np.ones(rows.num_rows, dtype=bool)
    same[:1] = False
    for name in columns:
        column = rows[name]
        if column.type == pa.uuid():
            ids = halves(column)
            same[1:] &= (ids[1:, 0] == ids[:-1, 0]) & (ids[1:, 1] == ids[:-1, 1])
        else:
            column = column.combine_chunks()
            values = column.indices if pa.types.is_dictionary(column.type) else column
            same[1:] &= pc.equal(values[1:], values[:-1]).to_numpy(zero_copy_only=False)
    return same


def _repeated(rows: pa.Table, order: Order, table: Table) -> npt.NDArray[np.bool_]:
    """For each row whether another one stands for it: an earlier that agrees with it in everything but the run, or a newer."""
    repeated = _as_before(rows, order.columns)
    if order.newest:
        return np.append(repeated[1:], False)
    places = np.flatnonzero(repeated)
    if not len(places):
        return repeated
    others = [c.name for c in table.columns if c.name != "run_id" and c.name not in order.columns]
    here, before = rows.select(others).take(places), rows.select(others).take(places - 1)
    same = np.ones(len(places), dtype=bool)
    for name in others:
        same &= _equal(here[name], before[name])
    repeated[places] = same
    # in a group of several kinds of rows the one before need not be the one that is repeated
    for place in places[~same]:
        first = place
        while first and _as_before(rows.slice(first - 1, 2), order.columns)[1]:
            first -= 1
        earlier = rows.select(others).slice(first, place - first).to_pylist()
        repeated[place] = rows.select(others).slice(place, 1).to_pylist()[0] in earlier
    return repeated


def _equal(a: pa.ChunkedArray, b: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    if pa.types.is_nested(a.type):
        return np.array([x == y for x, y in zip(a.to_pylist(), b.to_pylist(), strict=True)], dtype=bool)
    if a.type == pa.uuid():
        a, b = a.cast(pa.binary(16)), b.cast(pa.binary(16))
    if pa.types.is_dictionary(a.type):
        a, b = a.cast(a.type.value_type), b.cast(b.type.value_type)
    equal = pc.or_(pc.fill_null(pc.equal(a, b), False), pc.and_(pc.is_null(a), pc.is_null(b)))
    found: npt.NDArray[np.bool_] = equal.to_numpy(zero_copy_only=False)
    return found


@dataclass
class Rolling:
    """Segments of one copy of a table, begun anew whenever one is large enough; their origins beside them."""

    run: Run
    table: Table
    name: str
    order: Order
    rows: int = 0
    _open: list[SegmentWriter] = field(default_factory=list)
    _pending: list[pa.Table] = field(default_factory=list)

    @property
    def _group(self) -> int:
        return self.order.row_group or self.table.row_group

    def write(self, rows: pa.Table) -> None:
        """Take rows with their origins, or without where the table has none."""
        self._pending.append(rows)
        held = sum(p.num_rows for p in self._pending)
        while held >= self._group:
            joined = pa.concat_tables(self._pending)
            whole = held // self._group * self._group
            self._write(joined.slice(0, whole))
            self._pending = [joined.slice(whole)]
            held -= whole

    def close(self) -> None:
        """Write what is left and list the last segment."""
        left = pa.concat_tables(self._pending) if self._pending else None
        if left is not None and left.num_rows:
            self._write(left)
        self._pending = []
        self._finish()

    def _write(self, rows: pa.Table) -> None:
        if not self._open:
            self._begin(SEGMENT in rows.column_names)
        self._open[0].write(as_schema(rows, self.table))
        if len(self._open) > 1:
            origins = pa.Table.from_arrays([rows[SEGMENT], rows[ROW]], names=["segment", "row"])
            self._open[1].write(as_schema(origins, ORIGIN))
        self.rows += rows.num_rows
        if self._open[0].rows >= SEGMENT_ROWS:
            self._finish()

    def _begin(self, with_origins: bool) -> None:
        path = self.run.store.root / "tables" / self.name / self.run.id / f"{uuid7()}.parquet"
        shape = Table(self.name, self.table.doc, self._columns(), self._group)
        by = [c for c in self.order.columns if not c.startswith("#")]
        self._open = [SegmentWriter(path, shape, self._group, by)]
        if with_origins:
            beside = path.with_name(origins_of(path.name))
            self._open.append(SegmentWriter(beside, Table("origins", ORIGIN.doc, ORIGIN.columns, self._group), 0))

    def _columns(self) -> tuple[Column, ...]:
        """Bloom filters help where rows are not found by their order."""
        return tuple(
            Column(c.name, c.type, c.doc, c.nullable, c.dictionary, c.bloom and self.name == self.table.name)
            for c in self.table.columns
        )

    def _finish(self) -> None:
        for writer in self._open:
            writer.__exit__(None, None, None)
            relative = writer.path.relative_to(self.run.store.root).as_posix()
            size, digest = writer.path.stat().st_size, file_digest(writer.path)
            if relative.endswith(ORIGINS):
                self.run.files.append(Segment("origins", relative, writer.rows, size, digest))
            else:
                self.run.adopt(Segment(self.name, relative, writer.rows, size, digest, order=self.order.columns[0]))
        self._open = []


def as_schema(rows: pa.Table, table: Table) -> pa.Table:
    """Rows as DuckDB gives them in exactly `table`'s schema."""
    return pa.Table.from_arrays([_cast(rows[c.name], c.type) for c in table.columns], schema=table.arrow)


def _cast(column: pa.ChunkedArray, type: pa.DataType) -> Any:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column if column.type == type else column.cast(type)
