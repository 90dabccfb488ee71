"""Segments: immutable Parquet files, durable before anybody can see them.

A segment is written under a temporary name and renamed; a writer killed at any instant leaves either a complete file or a
leftover ending in `.tmp`. It becomes part of the record only when a manifest lists it and the log names that, and before the
log does, `Store.publish` brings all that is listed to the disk (`lineage.durable`). Ids carry bloom filters; dictionaries
stand on low-cardinality columns alone, because building them for distinct values costs most of the writing time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from lineage import ids
from lineage.durable import disk_error
from lineage.schema import Table

BLOOM_FALSE_POSITIVES = 0.01

Rows: TypeAlias = pa.Table | Sequence[Mapping[str, Any]] | Mapping[str, Any]


def as_table(table: Table, rows: Rows, run_id: str) -> pa.Table:
    """Rows in any of the accepted forms as an Arrow table of exactly `table`'s schema.

    Raises:
        ValueError: an unknown column, or a null where none may stand; the writer is at fault.
    """
    columns: dict[str, Any]
    if isinstance(rows, pa.Table):
        columns = {name: rows[name] for name in rows.column_names}
    elif isinstance(rows, Mapping):
        columns = dict(rows)
    else:
        names = {name for row in rows for name in row}
        columns = {name: [row.get(name) for row in rows] for name in names}
    unknown = set(columns) - set(table.names)
    if unknown:
        raise ValueError(f"table {table.name} has no column {', '.join(sorted(unknown))}")
    length = len(next(iter(columns.values()))) if columns else 0
    columns["run_id"] = pa.repeat(pa.scalar(run_id), length)
    arrays = []
    for c in table.columns:
        values = columns.get(c.name)
        array = pa.nulls(length, c.type) if values is None else ids.column(values, c.type)
        if not c.nullable and array.null_count:
            raise ValueError(f"{table.name}.{c.name} may not be null")
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=table.arrow)


def empty(table: Table) -> pa.Table:
    """No rows of `table`."""
    return as_table(table, {name: [] for name in table.names if name != "run_id"}, "")


class SegmentWriter:
    """Writes one segment in pieces; a context manager that leaves nothing behind if it breaks.

    `rows` is how many are expected in a row group at most; ids of `table` then get bloom filters of that size. `order` names
    the columns by which the rows come sorted.
    """

    def __init__(self, path: Path, table: Table, rows: int, order: Sequence[str] = ()) -> None:
        self.path = path
        self.rows = 0
        self._row_group = table.row_group
        self._temporary = path.with_name(f".{path.name}.tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        distinct = max(1, min(rows, table.row_group))
        blooms = {c.name: {"ndv": distinct, "fpp": BLOOM_FALSE_POSITIVES} for c in table.columns if c.bloom}
        try:
            self._stream = self._temporary.open("wb")
        except OSError as error:
            raise disk_error(path, error) from error
        self._writer = pq.ParquetWriter(
            self._stream,
            table.arrow,
            compression={
                leaf: "zstd" for c in table.columns if c.type != pa.uuid() for leaf in _leaves(c.name, c.type)
            },
            use_dictionary=[c.name for c in table.columns if c.dictionary],
            bloom_filter_options=blooms or None,
            sorting_columns=pq.SortingColumn.from_ordering(table.arrow, [(c, "ascending") for c in order]) or None,
        )

    def __enter__(self) -> SegmentWriter:
        return self

    def write(self, rows: pa.Table) -> None:
        """Write rows; each call begins a new row group."""
        self._writer.write_table(rows, row_group_size=self._row_group)
        self.rows += rows.num_rows

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            with suppress(OSError) if error is not None else nullcontext():
                self._writer.close()  # even of a broken segment, else its destructor would try
            if error is None:
                self._stream.close()
                self._temporary.rename(self.path)
        except OSError as caught:
            raise disk_error(self.path, caught) from caught
        finally:
            with suppress(OSError):
                self._stream.close()
            self._temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise disk_error(self.path, error) from error


def _leaves(name: str, type: pa.DataType) -> list[str]:
    """Names of a column's leaves as Parquet has them. (Ids are digests, which no compression makes smaller.)"""
    if pa.types.is_map(type):
        return [f"{name}.key_value.key", f"{name}.key_value.value"]
    return [f"{name}.list.element" if pa.types.is_list(type) else name]


def write_segment(path: Path, table: Table, rows: pa.Table) -> None:
    """Write one segment."""
    with SegmentWriter(path, table, rows.num_rows) as writer:
        writer.write(rows)
