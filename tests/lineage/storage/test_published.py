"""What is published is what the log names, from whatever it is read."""

from __future__ import annotations

import pytest

from lineage.compaction.compact import compact
from lineage.errors import AmbiguousName, UnknownName
from lineage.storage import packed
from lineage.store import Store
from tests.lineage.conftest import ids, rows


def test_runs_are_found_by_the_beginning_of_their_id(store: Store) -> None:
    for _ in range(2):
        with store.run("test"):
            pass
    first, second = store.runs()
    assert store.resolve_run(first.id) == first
    assert store.resolve_run(second.id.replace("-", "")[:-2]) == second
    with pytest.raises(AmbiguousName):
        store.resolve_run(first.id[:2])
    with pytest.raises(UnknownName, match=first.id):
        store.resolve_run("zz")


def test_a_store_opens_alike_with_its_cache_without_and_with_a_forged_one(store: Store) -> None:
    with store.run("ingest") as run:
        run.append("samples", rows(ids(4)))
    with store.run("train"):
        pass
    compact(store)
    cache = store.root / packed.NAME
    expected = [m.to_json() for m in store.manifests()]
    assert len(packed.unpack(store.root)) == 3
    with store.run("more") as run:
        run.append("samples", rows(ids(5, seed=9)))
    original = cache.read_bytes()
    for forged in (
        original,
        original.replace(b"train", b"brain"),
        original[:-20],
        b"",
        original[:200] + original[400:],
    ):
        cache.write_bytes(forged)
        opened = Store.open(store.root)
        assert [m.to_json() for m in opened.manifests()][:3] == expected
        assert opened.read("samples").num_rows == 9
    cache.unlink()
    assert [m.to_json() for m in Store.open(store.root).manifests()][:3] == expected
    other = Store.init(store.root.with_name("other"))
    cache.write_bytes(original)
    (other.root / "cache").mkdir()
    (other.root / packed.NAME).write_bytes(original)  # of another store: signed with another key
    assert other.manifests() == []
