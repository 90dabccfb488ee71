"""Rows by id; that they are the same whether compacted or not is tested in `test_compact`."""

from __future__ import annotations

from lineage.store import Store
from tests.lineage.conftest import ids, rows


def test_samples_in_no_order_were_not_described_anew(store: Store) -> None:
    for seed in range(1, 13):
        with store.run("ingest") as run:
            run.append("samples", rows(ids(50, seed)))
    assert not store.lookup.described_anew()
    with store.run("ingest") as run:
        run.append("samples", rows(ids(1, 2), words=4))
    assert store.lookup.described_anew()
    assert store.sql("SELECT count(*) AS n, max(words) AS words FROM samples").to_pylist() == [{"n": 600, "words": 4}]
