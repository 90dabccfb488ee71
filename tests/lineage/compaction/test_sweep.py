"""What is cleared away: only what nobody needs, and only when nobody can be using it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from lineage.compaction.sweep import sweep
from lineage.proof.verifier import verify
from lineage.storage import artifacts
from lineage.storage.living import alive, living
from lineage.store import Store
from tests.lineage.conftest import ids, rows


def age(path: Path, seconds: float) -> None:
    """Make a file or folder, and all in it, look as if it had been written so long ago."""
    for each in (path, *path.rglob("*")):
        os.utime(each, (time.time() - seconds,) * 2)


def test_artifacts_that_no_run_names_go_and_others_stay(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"a")
    orphan, young = store.put(folder), store.put(b"young")
    with store.run("train") as run:
        named = run.put(b"named")
    for digest in (orphan, named):
        age(store.artifact(digest), 100.0)
    swept = sweep(store, grace=10.0)
    assert (swept.replaced, swept.leftovers) == (0, 1)
    assert not artifacts.place(store.root, orphan).exists()
    assert store.artifact(young).read_bytes() == b"young"
    assert store.artifact(named).read_bytes() == b"named"
    assert verify(store.root).ok


def test_an_artifact_in_use_again_is_no_leftover(store: Store) -> None:
    digest = store.put(b"weights")
    age(store.artifact(digest), 100.0)
    with store.run("train") as run:
        assert run.put(b"weights") == digest  # a killed run had kept it; this one counts on it
        sweep(store, grace=0.0)
    assert store.artifact(digest).read_bytes() == b"weights"
    assert verify(store.root).ok


def test_nothing_younger_than_the_oldest_run_at_work_goes(store: Store) -> None:
    with store.run("train") as run:
        digest = store.put(b"not listed yet")
        temporary = store.root / "log" / ".x.tmp"
        temporary.write_bytes(b"half")
        sweep(store, grace=0.0)
        assert temporary.exists()
        run.artifacts.append(digest)
    temporary_of_the_dead = store.root / "artifacts" / ".y.tmp"
    temporary_of_the_dead.write_bytes(b"half")
    for path in (temporary, temporary_of_the_dead):
        age(path, 100.0)
    assert sweep(store, grace=10.0).leftovers == 2
    assert verify(store.root).ok


def test_folders_of_runs_that_were_never_logged_go_once_nobody_writes_them(store: Store) -> None:
    run = "0190aaaa-0000-7000-8000-000000000000"
    left = [store.root / "tables" / "samples" / run / "x.parquet", store.root / "vault" / "clips" / run / "y.parquet"]
    manifest = store.root / "manifests" / f"{run}.json"
    for path in (*left, manifest):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    assert sweep(store, grace=10.0).leftovers == 0  # too young
    for path in (*left, manifest):
        age(path.parent if path != manifest else path, 100.0)
    with alive(store.root, run):
        assert living(store.root) == {run}
        assert sweep(store, grace=10.0).leftovers == 0
    assert living(store.root) == set()
    assert sweep(store, grace=10.0).leftovers == 3
    assert not any(p.exists() for p in (*left, manifest))


def test_what_readers_see_is_never_touched(store: Store) -> None:
    for n in range(3):
        with store.run("ingest") as run:
            run.append("samples", rows(ids(5, seed=n)))
            run.put(b"%d" % n)
            run.keep("members", f"{n}.note", b"kept")
    for path in store.root.iterdir():
        age(path, 10_000.0)
    before = sorted(p for p in store.root.rglob("*") if p.is_file())
    swept = sweep(store, grace=0.0)
    assert (swept.replaced, swept.leftovers, swept.bytes) == (0, 0, 0)
    assert sorted(p for p in store.root.rglob("*") if p.is_file()) == before
