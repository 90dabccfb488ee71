"""The record in SQL: questions to everything that is published, for programs and for people."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

import duckdb
import pyarrow as pa
from duckdb.sqltypes import UUID as DUCKDB_UUID
from duckdb.sqltypes import VARCHAR

from lineage import sql
from lineage.schema import TABLES
from lineage.storage.lookup import Lookup
from lineage.storage.published import Published
from lineage.views import Views

T = TypeVar("T")


class Record(Published):
    """What is published, to be asked in SQL or for rows by id."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._lasting: dict[tuple[str, Any], tuple[int, Any]] = {}

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        return sql.connect()

    @cached_property
    def _views(self) -> Views:
        return Views(self._connection, self, self.lookup)

    @cached_property
    def lookup(self) -> Lookup:
        """Finds rows by id."""
        return Lookup(self, self._connection)

    def sql(
        self,
        query: str,
        parameters: Sequence[Any] | dict[str, Any] | None = None,
        tables: Mapping[str, pa.Table] | None = None,
    ) -> pa.Table:
        """Rows of a query over the record as it is now, and over `tables` by their names.

        Ids come as `pa.uuid()`, times in UTC.
        """
        return self.steadily(lambda: self._sql(query, parameters, tables or {}))

    def _sql(
        self, query: str, parameters: Sequence[Any] | dict[str, Any] | None, tables: Mapping[str, pa.Table]
    ) -> pa.Table:
        self._views.update([t for t in TABLES if t in query])
        for name, rows in tables.items():
            self._connection.register(name, rows)
        try:
            return self._connection.sql(query, params=parameters).to_arrow_table()
        finally:
            for name in tables:
                self._connection.unregister(name)

    def read(
        self, table: str, columns: Sequence[str] = ("*",), where: str | None = None, parameters: Sequence[Any] = ()
    ) -> pa.Table:
        """Columns of one table, of the rows for which `where` (SQL text) holds."""
        clause = f" WHERE {where}" if where else ""
        return self.sql(f"SELECT {', '.join(columns)} FROM {table}{clause}", list(parameters))

    def lasting(self, table: str, read: Callable[[Self], T]) -> T:
        """What `read` makes of one public table alone; read anew only when the table has changed."""
        state = self.changes(table)
        known = self._lasting.get((table, read))
        if known is None or known[0] != state:
            known = self._lasting[table, read] = (state, read(self))
        return known[1]

    def connect(self, speaker_key: Callable[[str], uuid.UUID] | None = None) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection with views and macros over everything published so far, and no other file in reach.

        Give `speaker_key` (the vault's) to those who may ask for speakers by name.
        """
        connection = sql.connect(exact=False)
        if speaker_key is not None:
            connection.create_function("speaker_key", speaker_key, [VARCHAR], DUCKDB_UUID)
        views = Views(connection, self, self.lookup)
        self.steadily(views.update)
        sql.define_macros(connection)
        sql.confine(connection, self.root / "tables")
        return connection

    def write_catalog(self, path: Path) -> None:
        """Write the views and macros into a DuckDB file, for people with a plain DuckDB client. Rebuildable at any time."""
        path.unlink(missing_ok=True)
        connection = duckdb.connect(str(path))
        try:
            self.steadily(Views(connection, self, self.lookup).update)
            sql.define_macros(connection)
        finally:
            connection.close()
