"""Views show what is published now, each sample once, with a column for every attribute."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from lineage.compaction.compact import compact
from lineage.schema import TABLES, Table
from lineage.sound.facts import HEARD
from lineage.store import Store
from tests.lineage.conftest import ids, rows


def test_a_view_follows_what_is_published_and_what_is_taken_away(store: Store) -> None:
    for n in range(3):
        with store.run("ingest") as run:
            run.append("samples", rows(ids(5, seed=n)))
        assert store.sql("SELECT count(*) AS n FROM samples")["n"].to_pylist() == [5 * (n + 1)]
        compact(store, grace=0.0)
        compact(store, grace=0.0)
        assert store.sql("SELECT count(*) AS n FROM samples")["n"].to_pylist() == [5 * (n + 1)]


def test_every_attribute_is_a_column_and_numbers_compare_as_numbers(store: Store) -> None:
    one, two = ids(2)
    with store.run("test") as run:
        run.append("samples", rows([one], attributes={"accent": "scot", "age": "9", "duration_s": "shadow"}))
        run.append("samples", rows([two], attributes={"accent": "us", "age": "10"}))
    found = store.read("samples", ["sample_id", "duration_s"], "accent = 'us' AND age > 9")
    assert found.to_pylist() == [{"sample_id": two, "duration_s": 1.0}]
    with store.run("test") as run:
        run.append("samples", rows(ids(1, seed=5), attributes={"age": "old"}))
    assert store.attributes()["age"] == "text"
    assert store.read("samples", ["age"], "age = 'old'").num_rows == 1


def test_a_sample_described_anew_is_shown_once_as_it_is_now(store: Store) -> None:
    one, two = ids(2)
    for accent in ("scot", "irish"):
        with store.run("test") as run:
            run.append("samples", rows([one, two], attributes={"accent": accent}))
    assert store.read("samples", ["sample_id", "accent"], "true ORDER BY sample_id").to_pylist() == [
        {"sample_id": i, "accent": "irish"} for i in sorted((one, two))
    ]


def test_a_column_that_no_file_has_yet_is_null(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = TABLES["samples"]
    older = Table("samples", samples.doc, tuple(c for c in samples.columns if c.name not in HEARD))
    with monkeypatch.context() as patch:
        patch.setitem(TABLES, "samples", older)
        with store.run("ingest") as run:
            run.append("samples", rows(ids(2)))
    written = pq.read_schema(store.root / store.segments("samples")[0].path).names
    assert not set(HEARD) & set(written)
    opened = Store.open(store.root)
    assert opened.read("samples", ["level_dbfs", "kind"]).to_pylist() == [{"level_dbfs": None, "kind": "speech"}] * 2
    assert opened.connect().sql("SELECT count(snr_estimate_db) FROM samples").fetchall() == [(0,)]
    with opened.run("ingest") as run:  # described anew, with a fact
        run.append("samples", rows(ids(2)[:1], level_dbfs=-20.0))
    assert opened.read("samples", ["level_dbfs"], "sample_id = ?", [ids(2)[0]])["level_dbfs"].to_pylist() == [-20.0]
