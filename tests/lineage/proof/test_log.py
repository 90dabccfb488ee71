"""The log's Merkle tree against RFC 6962's definitions, and appending from many processes at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lineage.proof.log import consistency_path, inclusion_path
from lineage.proof.verifier import consistency_holds, inclusion_holds, leaf_hash, tree_root, verify
from lineage.store import Store

LEAVES = [leaf_hash(bytes([i])) for i in range(20)]


@pytest.mark.parametrize("size", range(1, 20))
def test_every_inclusion_and_consistency_proof_holds_and_no_other(size: int) -> None:
    leaves = LEAVES[:size]
    root = tree_root(leaves)
    for index in range(size):
        path = inclusion_path(leaves, index)
        assert inclusion_holds(leaves[index], index, size, path, root)
        assert not inclusion_holds(leaf_hash(b"other"), index, size, path, root)
        assert not inclusion_holds(leaves[index], size, size, path, root)
        assert not inclusion_holds(leaves[index], index, size, [*path, root], root)
    for first in range(1, size + 1):
        path = consistency_path(leaves, first)
        old = tree_root(leaves[:first])
        assert consistency_holds(first, size, path, old, root)
        assert not consistency_holds(first, size, path, leaf_hash(b"rewritten"), root)
        if path:
            assert not consistency_holds(first, size, path[:-1], old, root)


def test_root_of_rfc_6962_test_vectors() -> None:
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    leaves = [leaf_hash(bytes.fromhex(i)) for i in inputs]
    assert tree_root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert tree_root(leaves[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert tree_root(leaves).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


WRITER = """
import sys
from lineage.store import Store
store = Store.open(sys.argv[1])
for n in range(int(sys.argv[3])):
    with store.run("test", config={"writer": sys.argv[2], "n": n}):
        pass
"""


def test_many_writers_lose_nothing_and_sign_everything(store: Store) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(store.root), str(w), "6"]) for w in range(4)]
    assert [w.wait(timeout=60) for w in writers] == [0] * 4
    found = {(r.config["writer"], r.config["n"]) for r in store.runs()}
    assert found == {(str(w), n) for w in range(4) for n in range(6)}
    assert [e.position for e in store.log.entries()] == list(range(24))
    report = verify(store.root)
    assert report.ok, report.findings


def test_a_checkpoint_kept_elsewhere_catches_a_rewritten_history(store: Store, tmp_path: Path) -> None:
    for n in range(3):
        with store.run("test", config={"n": n}):
            pass
    kept = tmp_path / "kept.json"
    kept.write_bytes((store.root / "log" / "checkpoint.json").read_bytes())
    assert verify(store.root, kept).ok
    for path in (store.root / "log").glob("*.json"):
        path.unlink()
    for path in (store.root / "manifests").glob("*.json"):
        path.unlink()
    for path in (store.root / "tables").rglob("*.parquet"):
        path.unlink()
    forged = Store.open(store.root)
    forged.log.sign()
    for n in (0, 2, 3):
        with forged.run("test", config={"n": n}):
            pass
    assert verify(store.root).ok  # whoever holds the key can tell a consistent lie …
    assert [f.kind for f in verify(store.root, kept).findings] == ["changed"]  # … but not to one who kept a checkpoint
