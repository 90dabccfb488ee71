"""The views of a DuckDB connection, kept to what is published."""

from __future__ import annotations

from collections.abc import Iterable

import duckdb
import pyarrow as pa

from lineage.proof.verifier import leaf_hash
from lineage.schema import TABLES
from lineage.sql import LOG, view
from lineage.storage.lookup import Lookup
from lineage.storage.published import Published


class Views:
    """The views of one connection, redone only for tables to which something was added."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, published: Published, lookup: Lookup) -> None:
        self._connection = connection
        self._published = published
        self._lookup = lookup
        self._made: dict[str, tuple[object, ...]] = {}

    def update(self, tables: Iterable[str] = TABLES) -> None:
        """Make the views of `tables` show what is published now."""
        for name in tables:
            if name == LOG:
                self._update_log()
                continue
            attributes = self._published.attributes() if name == "samples" else {}
            state = (self._published.changes(name), tuple(sorted(attributes.items())))
            if self._made.get(name) == state:
                continue
            root = self._published.root.resolve()
            files = [f"{root}/{s.path}" for s in self._published.segments(name)]
            newest = name == "samples" and self._lookup.described_anew()
            shown = f"CREATE OR REPLACE VIEW {name} AS "
            try:
                self._connection.execute(shown + view(TABLES[name], files, attributes, newest))
            except duckdb.BinderException:  # files of earlier versions alone, which lack a column
                self._connection.execute(shown + view(TABLES[name], files, attributes, newest, whole=False))
            self._made[name] = state

    def _update_log(self) -> None:
        """The log is no segments but small files of its own, so its rows are put into a table."""
        ends = {m.run.id: m.run.ended for m in self._published.manifests()}
        entries = [e for e in self._published.log.entries() if e.run in ends]
        if self._made.get(LOG) == (len(entries),):
            return
        columns = {
            "position": [e.position for e in entries],
            "leaf": [leaf_hash(e.to_bytes()).hex() for e in entries],
            "manifest": [e.manifest for e in entries],
            "at": [ends[e.run] for e in entries],
            "run_id": [e.run for e in entries],
        }
        self._connection.register("logged", pa.table(columns, schema=TABLES[LOG].arrow))
        try:
            self._connection.execute(f"CREATE OR REPLACE TABLE {LOG} AS FROM logged")
        finally:
            self._connection.unregister("logged")
        self._made[LOG] = (len(entries),)
