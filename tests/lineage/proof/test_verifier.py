"""Whatever is changed in a store is found, and named."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lineage.proof.verifier
from lineage.proof.verifier import verify
from lineage.store import Store
from tests.lineage.conftest import ids, rows
from tests.lineage.golden.test_golden import unpack

CHANGES = int(os.environ.get("EARMARK_CHANGES", "60"))
NO_RECORD = ("cache", "leases")  # a cache is believed only if it is signed, a lease is over when its time is


@pytest.fixture
def recorded(store: Store) -> Store:
    for n in range(4):
        with store.run("test", config={"n": n}) as run:
            samples = ids(20, seed=n)
            run.append("samples", rows(samples, attributes={"accent": "scot"}))
            run.vault.append("transcripts", [{"sample_id": s, "transcript": "turn it off"} for s in samples])
            run.put(f"artifact {n}".encode())
    return store


def kinds(root: Path) -> dict[str, str]:
    return {f.file: f.kind for f in verify(root).findings}


def test_an_untouched_store_is_intact(recorded: Store) -> None:
    report = verify(recorded.root)
    assert report.ok
    assert report.runs == 4


@pytest.mark.parametrize("everything", [False, True])
def test_any_changed_byte_is_found_and_its_file_named(recorded: Store, tmp_path: Path, everything: bool) -> None:
    """`EARMARK_CHANGES=1000` changes as often as you like; `everything` is a store in which all has happened."""
    root = unpack(tmp_path / "golden").root if everything else recorded.root
    seed = random.SystemRandom().randrange(1_000_000)
    print("seed", seed)  # noqa: T201
    rng = random.Random(seed)
    files = sorted(p for p in root.rglob("*") if p.is_file() and p.parent.name not in NO_RECORD)
    for _ in range(CHANGES):
        path = rng.choice(files)
        original = path.read_bytes()
        changed = bytearray(original)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(changed))
        found = kinds(root)
        relative = path.relative_to(root).as_posix()
        assert relative in found or (relative.startswith("log/") and "log" in found), (seed, relative)
        path.write_bytes(original)
    assert kinds(root) == {}


def test_removal_truncation_insertion_and_reordering_are_told_apart(recorded: Store) -> None:
    segment = recorded.root / recorded.segments("samples")[0].path
    original = segment.read_bytes()
    segment.write_bytes(original[:-10])
    assert kinds(recorded.root) == {segment.relative_to(recorded.root).as_posix(): "truncated"}
    segment.unlink()
    assert kinds(recorded.root) == {segment.relative_to(recorded.root).as_posix(): "missing"}
    segment.write_bytes(original)
    stranger = segment.with_name("00000000-0000-7000-8000-000000000000.parquet")
    stranger.write_bytes(original)
    assert kinds(recorded.root) == {stranger.relative_to(recorded.root).as_posix(): "inserted"}
    stranger.unlink()
    first, second = recorded.root / "log/00000000.json", recorded.root / "log/00000001.json"
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b)
    second.write_bytes(a)
    assert kinds(recorded.root) == {
        "log": "changed", "log/00000000.json": "re-ordered", "log/00000001.json": "re-ordered",
    }  # fmt: skip
    first.write_bytes(a)
    second.write_bytes(b)
    (recorded.root / "log/00000003.json").unlink()
    assert kinds(recorded.root)["log"] == "truncated"


def test_an_entry_appended_without_the_key_is_found(recorded: Store) -> None:
    checkpoint = (recorded.root / "log/checkpoint.json").read_bytes()
    with recorded.run("test", config={"n": "slipped in"}):
        pass
    (recorded.root / "log/checkpoint.json").write_bytes(checkpoint)
    assert kinds(recorded.root) == {"log": "inserted"}


def test_leftovers_of_a_killed_writer_are_no_finding(recorded: Store) -> None:
    folder = recorded.root / "tables/samples/0190aaaa-0000-7000-8000-000000000000"
    folder.mkdir(parents=True)
    (folder / "0190aaaa-0000-7000-8000-000000000001.parquet").write_bytes(b"half a run")
    (folder / ".x.parquet.tmp").write_bytes(b"half a file")
    report = verify(recorded.root)
    assert report.ok
    assert len(report.leftovers) == 2


def test_the_verifier_runs_alone_and_tells_by_its_exit_status(recorded: Store, tmp_path: Path) -> None:
    alone = tmp_path / "verifier.py"
    shutil.copyfile(lineage.proof.verifier.__file__, alone)
    command = [sys.executable, "-S", "-c", RUN_ALONE, str(alone), str(recorded.root), *sys.path]
    good = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (good.returncode, "intact" in good.stdout) == (0, True), good.stderr
    (recorded.root / recorded.segments("samples")[0].path).unlink()
    bad = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert bad.returncode == 1
    assert "missing" in bad.stdout


RUN_ALONE = """
import builtins, runpy, sys
script, store, *path = sys.argv[1:]
sys.path, sys.argv = path, [script, store]
plain = builtins.__import__
def guarded(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get("__file__")
    top = name.split(".")[0]
    allowed = top in sys.stdlib_module_names or top == "cryptography"
    if importer == script and not allowed:
        raise ImportError(name)
    return plain(name, globals, locals, fromlist, level)
builtins.__import__ = guarded
runpy.run_path(script, run_name="__main__")
"""
