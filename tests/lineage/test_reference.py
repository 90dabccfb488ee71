"""The SQL reference in docs/ is the one that the schema gives."""

from __future__ import annotations

from pathlib import Path

from lineage import reference
from lineage.schema import TABLES, VAULT
from lineage.store import Store

PERSONAL = {"speaker", "transcript", "hypothesis", "path", "audio_digest", "text"}


def test_the_reference_in_docs_is_not_stale() -> None:
    docs = Path(__file__).parents[2] / "docs" / "sql.md"
    assert docs.read_text(encoding="utf-8") == reference.markdown(), "stale: run `make docs`"


def test_every_table_can_be_asked_even_of_an_empty_store(store: Store) -> None:
    connection = store.connect()
    for table in TABLES.values():
        assert set(table.names) <= set(connection.sql(f"FROM {table.name}").columns)


def test_no_public_column_is_called_like_something_personal() -> None:
    public = {c.name for t in TABLES.values() for c in t.columns}
    personal = {c.name for t in VAULT.values() for c in t.columns}
    assert personal >= PERSONAL - {"text"}
    assert not public & PERSONAL
