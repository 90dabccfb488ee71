"""Exports appear whole, are on record, say nothing personal unless they must, and are checked by outsiders."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lineage.errors import EarmarkError, UnknownName
from lineage.exports import check, find, formats
from lineage.exports.share import export
from lineage.ids import halves, id_array
from lineage.ingestion.ingest import ingest
from lineage.proof.merkle import set_digest
from lineage.proof.verifier import verify
from lineage.selection.sets import members, resolve_set
from lineage.store import Store
from tests.lineage.conftest import ids
from tests.lineage.exports.conftest import MODEL, PERSONAL, files
from tests.lineage.sounds import sound, write

EVERY = [("croissant", "slow"), ("cyclonedx", "tiny"), ("datasets", "slow"), ("lhotse", "slow"), ("nemo", "slow"),
         ("prov", "slow"), ("prov", "tiny")]  # fmt: skip


def test_every_format_registers_itself() -> None:
    assert {f.name for f in formats()} == {name for name, _ in EVERY}
    with pytest.raises(UnknownName, match="did you mean 'nemo'"):
        find("nemmo")


@pytest.mark.parametrize(("format", "ref"), EVERY)
def test_an_export_is_on_record_and_proves_itself(corpus: Store, tmp_path: Path, format: str, ref: str) -> None:
    done = export(corpus, ref, format, tmp_path / "out")
    run = corpus.resolve_run(done.run_id)
    slow = resolve_set(corpus, "slow").digest
    assert (run.kind, run.job, run.outputs) == ("export", format, [done.digest])
    assert (run.config["format"], run.config["set"], run.config["to"]) == (format, slow, "out")
    assert run.config["model"] == (MODEL if ref == "tiny" else None)
    assert run.config["personal"] == find(format).personal
    for script in ("verifier.py", "check.py"):
        assert (tmp_path / "out" / script).exists()
    report = check.Check(tmp_path / "out").run()
    assert report.ok, report.findings
    assert verify(corpus.root, tmp_path / "out" / "proof" / "checkpoint.json").ok
    assert not [p for p in tmp_path.iterdir() if p.name != "out"]


@pytest.mark.parametrize(("format", "ref"), [(f, r) for f, r in EVERY if not find(f).personal])
def test_nothing_personal_leaves_in_formats_that_do_not_need_it(
    corpus: Store, tmp_path: Path, format: str, ref: str
) -> None:
    export(corpus, ref, format, tmp_path / "out")
    keys = [str(k) for k in corpus.read("samples", ["speaker_key"])["speaker_key"].to_pylist() if k]
    for name, content in files(tmp_path / "out").items():
        for word in (*PERSONAL, *keys):
            assert word.encode() not in content.lower(), (name, word)


def test_training_formats_carry_words_and_names_and_no_particulars(corpus: Store, tmp_path: Path) -> None:
    export(corpus, "words", "nemo", tmp_path / "out")
    content = b"".join(files(tmp_path / "out").values())
    assert b"hush hush 0" in content
    assert b"Ottilie" in content
    assert b"ottilie@example.org" not in content
    accesses = corpus.read("accesses", ["role", "action", "subjects"]).to_pylist()
    assert {"role": "export", "action": "export nemo", "subjects": 5} in accesses


def test_outsiders_check_with_two_files_and_any_change_is_found(corpus: Store, tmp_path: Path) -> None:
    export(corpus, "words", "nemo", tmp_path / "out")
    command = [sys.executable, str(tmp_path / "out" / "check.py")]
    good = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (good.returncode, "intact" in good.stdout) == (0, True), good.stderr
    shutil.rmtree(tmp_path / "out" / "__pycache__", ignore_errors=True)
    rng = random.Random(3)
    known = files(tmp_path / "out")
    for name in known:
        for _ in range(3):
            changed = bytearray(known[name])
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            (tmp_path / "out" / name).write_bytes(bytes(changed))
            findings = check.Check(tmp_path / "out").run().findings
            assert findings, name
            if not name.startswith("proof/"):
                assert [(f.file, f.kind) for f in findings] == [(name, "changed")]
        (tmp_path / "out" / name).write_bytes(known[name])
    (tmp_path / "out" / "more.txt").write_text("more")
    (tmp_path / "out" / "README.txt").unlink()
    found = {(f.file, f.kind) for f in check.Check(tmp_path / "out").run().findings}
    assert found == {("more.txt", "inserted"), ("README.txt", "missing")}
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


def test_an_export_of_another_store_or_with_another_key_is_told(corpus: Store, tmp_path: Path) -> None:
    export(corpus, "words", "nemo", tmp_path / "out")
    key = corpus.root.joinpath("earmark.json").read_text().split('"public_key": "')[1].split('"')[0]
    assert check.Check(tmp_path / "out").run(key).ok
    assert not check.Check(tmp_path / "out").run("A" * 43 + "=").ok
    other = Store.init(tmp_path / "store")
    with other.run("test"):
        pass
    shutil.copyfile(other.root / "earmark.json", tmp_path / "out" / "proof" / "earmark.json")
    assert {f.kind for f in check.Check(tmp_path / "out").run().findings} >= {"unsigned"}
    shutil.copyfile(other.root / "log" / "checkpoint.json", tmp_path / "out" / "proof" / "checkpoint.json")
    assert not check.Check(tmp_path / "out").run().ok


@pytest.mark.parametrize("size", [1, 15, 16, 17, 500])
def test_the_checker_computes_the_digest_of_a_set_as_the_store_does(size: int) -> None:
    samples = ids(size, seed=size)
    assert check.set_digest([s.bytes for s in samples]) == set_digest(halves(id_array(samples)))


def test_the_same_set_gives_the_same_files(corpus: Store, tmp_path: Path) -> None:
    for format in ("datasets", "lhotse", "nemo"):
        made = []
        for name in ("a", "b"):
            export(corpus, "words", format, tmp_path / format / name)
            made.append({n: c for n, c in files(tmp_path / format / name).items() if not n.startswith("proof/")})
            made[-1].pop("README.txt")  # it names the run
        assert made[0] == made[1]


def test_a_folder_in_use_is_left_alone(corpus: Store, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").write_text("mine")
    before = len(corpus.runs())
    with pytest.raises(EarmarkError, match="not an empty folder"):
        export(corpus, "words", "nemo", tmp_path / "full")
    with pytest.raises(UnknownName, match="no set 'wrds'"):
        export(corpus, "wrds", "nemo", tmp_path / "out")
    with pytest.raises(UnknownName, match="no model 'words'"):
        export(corpus, "words", "cyclonedx", tmp_path / "out")
    assert len(corpus.runs()) == before
    assert [p.name for p in tmp_path.iterdir()] == ["full"]
    (tmp_path / "empty").mkdir()
    export(corpus, "words", "nemo", tmp_path / "empty")


def test_a_recording_that_is_gone_stops_the_export(store: Store, tmp_path: Path) -> None:
    for i in range(2):
        write(tmp_path / "c" / f"{i}.wav", sound(seed=i))
    (tmp_path / "c" / "m.csv").write_text("file,text\n0.wav,zero\n1.wav,one\n")
    ingest(store, tmp_path / "c", name="c")
    (tmp_path / "c" / "1.wav").unlink()
    with pytest.raises(EarmarkError, match=r"1\.wav"):
        export(store, "c", "nemo", tmp_path / "out")
    assert store.runs()[-1].status == "failed"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "store"]


def test_members_of_the_proof_are_those_of_the_set(corpus: Store, tmp_path: Path) -> None:
    export(corpus, "words", "croissant", tmp_path / "out")
    listed = (tmp_path / "out" / "proof" / "members.txt").read_text().split()
    assert listed == [str(i) for i in members(corpus, resolve_set(corpus, "words").digest).to_pylist()]
    assert np.all(np.array(listed) == np.sort(listed))


def test_what_was_erased_is_left_out_and_its_exports_are_known(store: Store, tmp_path: Path) -> None:
    from lineage.people.erase import erase
    from lineage.people.reach import reach, speaker

    for i in range(3):
        write(tmp_path / "c" / f"{i}.wav", sound(seed=i))
    lines = ["file,text,speaker", "0.wav,zero,Ada", "1.wav,one,Bob", "2.wav,two,Bob"]
    (tmp_path / "c" / "m.csv").write_text("\n".join(lines))
    before = ingest(store, tmp_path / "c", name="c").set
    first = export(store, "c", "nemo", tmp_path / "first")
    ada = speaker(store, "Ada")
    assert [e["digest"] for e in reach(store, ada).exports] == [first.digest]
    erase(store, ada)
    again = export(store, before.digest, "nemo", tmp_path / "again")
    assert (again.samples, again.erased) == (2, 1)
    assert "erased before this export, and are not here: 1." in (tmp_path / "again" / "README.txt").read_text()
    assert b"zero" not in files(tmp_path / "again")["manifest.jsonl"]
    assert check.Check(tmp_path / "again").run().ok
    assert export(store, "c", "nemo", tmp_path / "successor").erased == 0
