"""Promises of the store: what is acknowledged survives any kill, and a reader never sees half a run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from lineage.errors import EarmarkError, UnknownName
from lineage.proof.verifier import verify
from lineage.store import Store
from tests.lineage.conftest import ids, rows

KILLS = int(os.environ.get("EARMARK_KILLS", "12"))


def test_a_run_appears_whole_or_not_at_all(store: Store) -> None:
    reader = Store.open(store.root)
    with store.run("test", key="k") as run:
        run.append("samples", rows(ids(5)))
        assert reader.sql("SELECT count(*) AS n FROM samples")["n"].to_pylist() == [0]
        assert reader.find_run("k") is None
    assert reader.sql("SELECT count(*) AS n FROM samples")["n"].to_pylist() == [5]
    found = reader.find_run("k")
    assert found is not None
    assert found.status == "completed"


@pytest.mark.parametrize(("error", "status"), [(ValueError, "failed"), (KeyboardInterrupt, "aborted")])
def test_a_run_that_breaks_leaves_its_name_and_no_rows(store: Store, error: type[BaseException], status: str) -> None:
    with pytest.raises(error), store.run("test", key="k") as run:
        run.append("samples", rows(ids(5)))
        run.vault.append("transcripts", [{"sample_id": ids(1)[0], "transcript": "secret words"}])
        raise error
    assert [r.status for r in store.runs()] == [status]
    assert store.find_run("k") is None
    assert store.sql("SELECT count(*) AS n FROM samples")["n"].to_pylist() == [0]
    assert not store.vault.transcripts()
    assert verify(store.root).ok


def test_all_that_a_run_wrote_is_on_the_disk_before_the_log_names_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut leaves cannot be tried here, but what was asked of the disk, and when, can be watched."""
    asked: list[tuple[int, int] | str] = []
    fsync, link = os.fsync, os.link

    def watched(handle: int) -> None:
        fsync(handle)
        asked.append((os.fstat(handle).st_dev, os.fstat(handle).st_ino))

    def named(source: Path, target: Path) -> None:
        asked.append("named")
        link(source, target)

    (tmp_path / "weights" / "deep").mkdir(parents=True)
    (tmp_path / "weights" / "deep" / "a.bin").write_bytes(b"weights")
    (tmp_path / "weights" / "b.json").write_text("{}")
    monkeypatch.setattr(os, "fsync", watched)
    monkeypatch.setattr(os, "link", named)
    with store.run("test") as run:
        run.append("samples", rows(ids(5)))
        run.vault.append("transcripts", [{"sample_id": s, "transcript": "x"} for s in ids(5)])
        run.keep("members", "beside", b"more")
        artifact = run.put(tmp_path / "weights")
        assert run.put(b"text") == run.put(b"text")
    (manifest,) = store.manifests()
    assert {s.table for s in manifest.files} == {"members", "openlineage"}
    kept = store.artifact(artifact)
    listed = [
        store.root / "manifests" / f"{run.id}.json",
        *(store.root / p for p in manifest.paths),
        kept,
        *kept.rglob("*"),
    ]
    assert len(listed) == 12
    folders = [folder for path in listed for folder in path.parents if store.root in folder.parents]
    log = store.root / "log"
    before, after = asked[: asked.index("named")], asked[asked.index("named") :]
    for path in [*listed, *folders, log / "00000000.json"]:
        assert (path.stat().st_dev, path.stat().st_ino) in before, path
    for path in [log, log / "checkpoint.json"]:
        assert (path.stat().st_dev, path.stat().st_ino) in after, path


WRITER = """
import sys, uuid
from lineage.store import Store
from tests.lineage.conftest import ids, rows
store = Store.open(sys.argv[1])
n = 0
while True:
    samples = ids(50, seed=int(sys.argv[2]) * 100_000 + n)
    with store.run("test", config={"writer": int(sys.argv[2]), "n": n}) as run:
        run.append("samples", rows(samples))
        run.vault.append("transcripts", [{"sample_id": s, "transcript": "x"} for s in samples])
    print(n, flush=True)
    n += 1
"""


def test_a_writer_killed_at_any_instant_loses_nothing_acknowledged(store: Store) -> None:
    """`EARMARK_KILLS=200` kills as often as you like; the delays are drawn from a printed seed."""
    seed = random.SystemRandom().randrange(1_000_000)
    print("seed", seed)  # noqa: T201
    rng = random.Random(seed)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    reader = Store.open(store.root)
    for kill in range(KILLS):
        command = [sys.executable, "-c", WRITER, str(store.root), str(kill)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline())]
        time.sleep(rng.random() * 0.15)
        writer.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in writer.stdout.read().split()]
        writer.wait()
        counts = reader.sql("SELECT run_id, count(*) AS n FROM samples GROUP BY run_id").to_pylist()
        assert {c["n"] for c in counts} == {50}
        mine = {r.config["n"] for r in reader.runs() if r.config["writer"] == kill}
        assert set(acknowledged) <= mine
        assert len(reader.vault.transcripts()) == 50 * len(reader.runs())
    report = verify(store.root)
    # a kill between an entry and its signature leaves the newest entry to be signed by whoever writes next
    assert [f for f in report.findings if f.kind != "inserted"] == []
    with store.run("test"):
        pass
    assert verify(store.root).ok


def test_queries_reach_the_public_tables_and_nothing_else(store: Store) -> None:
    with store.run("test") as run:
        run.append("samples", rows(ids(3)))
        run.vault.append("transcripts", [{"sample_id": ids(1)[0], "transcript": "secret words"}])
    connection = store.connect(speaker_key=store.vault.speaker_key)
    assert connection.sql("SELECT count(*) FROM samples").fetchall() == [(3,)]
    assert connection.sql("SELECT speaker_key('ann')").fetchall() == [(store.vault.speaker_key("ann"),)]
    hidden = next((store.root / "vault").rglob("*.parquet"))
    for query in (
        f"FROM read_parquet('{hidden}')",
        "FROM read_csv('/etc/passwd')",
        f"COPY samples TO '{store.root}/x'",
    ):
        with pytest.raises(duckdb.Error):
            connection.sql(query)
    with pytest.raises(duckdb.Error):
        connection.sql("SET enable_external_access = true")


def test_artifacts_are_kept_once_and_found_by_content(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.bin").write_bytes(b"a")
    digest = store.put(folder)
    assert store.put(folder) == digest
    assert (store.artifact(digest) / "deep" / "a.bin").read_bytes() == b"a"
    assert store.put(b"bytes") == store.put(b"bytes")
    (folder / "deep" / "a.bin").write_bytes(b"b")
    assert store.put(folder) != digest
    with pytest.raises(UnknownName, match="artifact"):
        store.artifact("0" * 64)


def test_rows_must_fit_the_schema(store: Store) -> None:
    with store.run("test") as run:
        with pytest.raises(ValueError, match="no column colour"):
            run.append("samples", [{"colour": "red"}])
        with pytest.raises(ValueError, match=r"samples\.kind may not be null"):
            run.append("samples", [{"sample_id": ids(1)[0]}])
        with pytest.raises(ValueError, match="no table"):
            run.append("sample", [])


def test_opening_what_is_no_store_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match="earmark init"):
        Store.open(tmp_path)
    Store.init(tmp_path / "s")
    with pytest.raises(EarmarkError, match="already"):
        Store.init(tmp_path / "s")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").touch()
    with pytest.raises(EarmarkError, match="not an empty folder"):
        Store.init(tmp_path / "full")
    (tmp_path / "s" / "earmark.json").write_text('{"format": 99}')
    with pytest.raises(EarmarkError, match="newer Earmark"):
        Store.open(tmp_path / "s")


def test_a_full_disk_leaves_nothing_half_visible(store: Store) -> None:
    """A real full disk: a limit on file size makes the kernel refuse the write."""
    code = """
import resource, signal, sys
from lineage.errors import EarmarkError
from lineage.store import Store
from tests.lineage.conftest import ids, rows
store = Store.open(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, resource.RLIM_INFINITY))
try:
    with store.run("test") as run:
        run.append("samples", rows(ids(5_000)))
except EarmarkError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code, str(store.root)], capture_output=True, text=True, env=environment, check=False
    )
    assert "cannot write" in done.stdout, done.stderr
    assert store.sql("SELECT count(*) AS n FROM samples")["n"].to_pylist() == [0]
    assert verify(store.root).ok
    with store.run("test") as run:
        run.append("samples", rows(ids(5)))
    assert verify(store.root).ok


def test_people_get_sums_as_numbers(store: Store) -> None:
    with store.run("test") as run:
        run.append("samples", rows(ids(3)))
    assert store.connect().sql("SELECT sum(words) AS n FROM samples").to_arrow_table()["n"].to_pylist() == [9]
