"""Promises of compaction: nothing is lost, nothing added, nobody disturbed, whatever is killed and whoever is at work."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lineage.compaction import merge
from lineage.compaction.compact import compact
from lineage.compaction.sweep import sweep
from lineage.errors import Conflict
from lineage.ids import id_array
from lineage.proof.log import Entry
from lineage.proof.verifier import verify
from lineage.selection import sets
from lineage.storage import artifacts
from lineage.storage.lease import hold
from lineage.store import Store
from tests.lineage.conftest import ids, link, rows

KILLS = int(os.environ.get("EARMARK_KILLS", "12"))
SECONDS = float(os.environ.get("EARMARK_SECONDS", "3"))
HERE = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
SHOWN = ("samples", "edges", "members", "sample_sets", "exposures", "models", "transforms")


def contents(store: Store) -> dict[str, Counter[str]]:
    """Every row of the tables, however they are stored."""
    return {t: Counter(map(repr, store.read(t).to_pylist())) for t in SHOWN}


def fill(store: Store, seed: int, runs: int = 4) -> None:
    """Runs that write a little of everything."""
    rng = random.Random(seed)
    for n in range(runs):
        samples = ids(40, seed=100 * seed + n)
        with store.run("ingest", config={"n": n}) as run:
            given = [
                {"speaker_key": uuid.UUID(int=rng.randrange(5)), "source": f"s{rng.randrange(2)}"} for _ in samples
            ]
            run.append(
                "samples", [{**row, **g} for row, g in zip(rows(samples, attributes={"n": str(n)}), given, strict=True)]
            )
            run.append("transforms", [{"transform_id": "t", "name": "mix", "parameters": "{}", "code_version": "1"}])
            for child, parent in zip(samples[10:], samples, strict=False):
                link(run, child, parent, rng.choice(samples[:10]))
            run.vault.append("transcripts", [{"sample_id": s, "transcript": f"{s}"} for s in samples])
            run.vault.append("clips", [{"sample_id": s, "flac": s.bytes} for s in samples[:5]])
            sets.create_set(run, samples[:20], name=f"set {n}")
            run.append("models", [{"model_id": f"{seed}{n}".ljust(64, "0"), "name": "m"}])
            run.append(
                "exposures",
                [
                    {"step": i, "position": 0, "sample_id": s, "weight": rng.choice([0.0, 1.0])}
                    for i, s in enumerate(samples)
                ],
            )


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_and_nothing_added(store: Store, seed: int) -> None:
    rng = random.Random(seed)
    for part in range(4):
        fill(store, 10 * seed + part, runs=rng.randint(1, 4))
        before, words = contents(store), store.vault.transcripts()
        done = compact(store, grace=rng.choice([0.0, 1000.0]), everything=rng.random() < 0.3)
        expected = {
            **before,
            "transforms": Counter(dict.fromkeys(before["transforms"], 1)),
        }  # the same row of every run
        assert {**contents(store), "transforms": expected["transforms"]} == expected
        assert store.vault.transcripts() == words
        assert done.run is not None
        report = verify(store.root, deep=True)
        assert report.ok, report.findings


def test_few_segments_remain_and_a_second_compaction_finds_nothing_to_do(store: Store) -> None:
    fill(store, 1)
    done = compact(store)
    assert {t: len(store.segments(t)) for t in ("samples", "edges", "members", "exposures", "models")} == dict.fromkeys(
        ("samples", "edges", "members", "exposures", "models"), 1
    )
    assert done.tables["samples"].before == 4
    assert (done.tables["vault/clips"].before, done.tables["vault/clips"].after) == (4, 1)
    assert compact(store).run is None
    assert [r.kind for r in store.runs()].count("compact") == 1


def test_rows_are_rewritten_seldom(store: Store) -> None:
    for n in range(24):
        with store.run("ingest") as run:
            run.append("samples", rows(ids(20, seed=n)))
        compact(store, grace=0.0)
    assert len(store.segments("samples")) <= 4
    written = sum(m.run.result["tables"]["samples"]["rows"] for m in store.manifests() if m.run.kind == "compact")
    assert written <= 6 * 24 * 20


def test_edges_are_kept_twice_and_seen_once(store: Store) -> None:
    fill(store, 2)
    count = store.read("edges").num_rows
    compact(store)
    by_child, by_parent = (
        pa.concat_tables(pq.ParquetFile(store.root / s.path).read() for s in store.listed(f"tables/{name}"))
        for name in ("edges", "edges_by_parent")
    )
    assert by_child.num_rows == by_parent.num_rows == store.read("edges").num_rows
    assert store.connect().sql("SELECT count(*) FROM edges").fetchall() == [(count,)]
    for table, column in ((by_child, "child_id"), (by_parent, "parent_id")):
        order = [i.bytes for i in table[column].to_pylist()]
        assert order == sorted(order)


def test_the_same_sample_of_two_writers_is_shown_once_and_the_newest_description_holds(store: Store) -> None:
    one, two, three = ids(3)
    for n in range(3):
        with store.run("ingest", config={"n": n}) as run:
            run.append("samples", rows([one, two], source="a"))
            run.append("samples", rows([three], source=f"from {n}"))
            link(run, one, two)
    compact(store)
    assert store.read("samples", ["count(*) AS n"])["n"].to_pylist() == [3]
    assert store.read("samples", ["source"], "sample_id = ?", [three])["source"].to_pylist() == ["from 2"]
    assert store.read("edges", ["run_id"])["run_id"].to_pylist() == [store.runs()[0].id]
    again = [pq.ParquetFile(store.root / s.path).read() for s in store.listed("tables/samples_again")]
    assert sum(t.num_rows for t in again) == 6
    assert verify(store.root, deep=True).ok
    with store.run("ingest") as run:  # one more, when the others are merged already
        run.append("samples", rows([one], source="b"))
    compact(store)
    assert store.read("samples", ["source"], "sample_id = ?", [one])["source"].to_pylist() == ["b"]
    assert store.read("samples", ["count(*) AS n"])["n"].to_pylist() == [3]
    assert verify(store.root, deep=True).ok


def test_a_compaction_that_lies_is_found_by_the_digests_of_the_rows(store: Store) -> None:
    """Whoever holds the signing key can log any file. What was logged before holds the rows nevertheless."""
    fill(store, 3)
    compact(store)
    manifest = store.root / "manifests" / f"{store.runs()[-1].id}.json"
    logged = json.loads(manifest.read_bytes())
    for table in ("samples", "edges_by_parent"):
        segment = next(s for s in logged["segments"] if s["table"] == table)
        path = store.root / segment["path"]
        original = path.read_bytes()
        listed = pq.ParquetFile(path).read()
        changed = listed.set_column(
            listed.column_names.index("duration_s"),
            listed.schema.field("duration_s"),
            pa.array([2.0] * listed.num_rows),
        )
        pq.write_table(changed, path, row_group_size=merge.ROW_GROUP)
        _forge(store, manifest, segment, path)
        assert verify(store.root).ok
        findings = verify(store.root, deep=True).findings
        assert findings
        assert all(f.kind == "changed" and f"tables/{table}" in f.detail for f in findings), findings
        path.write_bytes(original)
        _forge(store, manifest, segment, path)
        assert verify(store.root, deep=True).ok
    segment = next(s for s in logged["segments"] if s["table"] == "samples")
    segment["rows"] -= 1
    manifest.write_text(json.dumps(logged))
    _relog(store, manifest)
    assert any("compaction" in f.detail for f in verify(store.root).findings)


def _forge(store: Store, manifest: Path, segment: dict[str, Any], path: Path) -> None:
    logged = json.loads(manifest.read_bytes())
    for s in logged["segments"]:
        if s["path"] == segment["path"]:
            s.update(digest=artifacts.artifact_digest(path), bytes=path.stat().st_size)
    manifest.write_text(json.dumps(logged))
    _relog(store, manifest)


def _relog(store: Store, manifest: Path) -> None:
    fresh = Store.open(store.root)
    entry = fresh.log.entries()[-1]
    forged = Entry(entry.position, entry.run, artifacts.artifact_digest(manifest))
    (store.root / "log" / f"{entry.position:08d}.json").write_bytes(forged.to_bytes())
    Store.open(store.root).log.sign()


def test_replaced_files_stay_for_the_grace_period_and_readers_go_on(store: Store) -> None:
    fill(store, 4)
    reader = Store.open(store.root)
    old = [store.root / s.path for s in reader.segments("samples")]
    connection = reader.connect()
    count = connection.sql("SELECT count(*) FROM samples").fetchall()
    compact(store, grace=1000.0)
    assert all(p.exists() for p in old)
    assert connection.sql("SELECT count(*) FROM samples").fetchall() == count  # an old view of old files
    swept = compact(store, grace=0.0).swept
    assert swept.replaced >= len(old)
    assert not any(p.exists() for p in old)
    assert reader.sql("SELECT count(*) AS n FROM samples")["n"].to_pylist() == [count[0][0]]
    assert len(reader.vault.transcripts()) == 160
    assert verify(store.root, deep=True).ok


def test_a_file_that_vanishes_in_the_middle_of_a_question_does_not_disturb_it(store: Store) -> None:
    fill(store, 5)
    reader = Store.open(store.root)
    looks = []

    def read() -> list[int]:
        looks.append(reader.segments("samples")[0].path)
        if len(looks) == 1:  # somebody compacts just now
            compact(store, grace=0.0)
            sweep(store, 0.0)
        return [pq.ParquetFile(reader.root / looks[-1]).metadata.num_rows]

    assert reader.steadily(read) == [160]
    assert len(looks) == 2


def test_two_runs_never_take_away_the_same_file(store: Store) -> None:
    fill(store, 6, runs=1)
    path = store.segments("samples")[0].path
    with pytest.raises(Conflict, match="taken away"), store.run("compact") as slow:
        slow.append("samples", rows(ids(3, seed=9)))
        slow.removed.append(path)
        with store.run("compact") as fast:
            fast.removed.append(path)
    assert [r.id for r in store.runs() if r.kind == "compact"] == [fast.id]
    assert store.read("samples").num_rows == 0
    report = verify(store.root)
    assert (report.ok, report.leftovers) == (True, [f"openlineage/{slow.id}.ndjson"] if report.leftovers else [])


def test_only_one_compaction_at_a_time(store: Store) -> None:
    fill(store, 7)
    with hold(store.root, "compact"), pytest.raises(Conflict, match="wait"):
        compact(store)
    assert compact(store).run is not None


SLOW_WRITER = """
import sys, time
from lineage import runs
from lineage.store import Store
from tests.lineage.conftest import ids, rows
runs.FLUSH_ROWS = 10
store = Store.open(sys.argv[1])
with store.run("test") as run:
    run.append("samples", rows(ids(20, seed=77)))
    run.vault.append("transcripts", [{"sample_id": i, "transcript": "x"} for i in ids(20, seed=77)])
    run.put(b"weights")
    print(run.id, flush=True)
    sys.stdin.readline()
"""


def test_leftovers_of_the_dead_are_cleared_away_and_nothing_of_the_living(store: Store) -> None:
    fill(store, 8, runs=1)
    command = [sys.executable, "-c", SLOW_WRITER, str(store.root)]
    dead, slow = (subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=HERE) for _ in range(2))
    assert dead.stdout is not None
    assert slow.stdout is not None
    gone, staying = dead.stdout.readline().strip(), slow.stdout.readline().strip()
    dead.kill()
    dead.wait()
    time.sleep(1.1)  # younger than a second is never a leftover
    assert compact(store, grace=0.0).swept.leftovers >= 2
    assert not list(store.root.glob(f"*/*/{gone}"))
    assert len(list(store.root.glob(f"*/*/{staying}/*.parquet"))) == 2
    slow.communicate("\n")
    assert slow.returncode == 0
    assert store.artifact(artifacts.keep(store.root, b"weights")).read_bytes() == b"weights"
    assert store.read("samples", where="run_id = ?", parameters=[staying]).num_rows == 20
    report = verify(store.root, deep=True)
    assert report.ok, report.findings


# One process that has everything loaded and forks the others: they start at once, and can be killed at any instant.
STAGE = """
import os, random, signal, sys, time
from lineage.compaction import compact as compaction, merge
from lineage.errors import Conflict
from lineage.store import Store
from tests.lineage.conftest import ids, link, rows

root, seed, task = sys.argv[1], int(sys.argv[2]), sys.argv[3]

def write(store, number):
    samples = ids(50, seed=number)
    with store.run("test", config={"number": number}) as run:
        run.append("samples", rows(samples))
        for child, parent in zip(samples[1:], samples):
            link(run, child, parent)
        run.vault.append("transcripts", [{"sample_id": s, "transcript": "x"} for s in samples])

def compact(store):
    try:
        compaction.compact(store, grace=random.choice([0.0, 0.0, 60.0]), lease=0.3, everything=random.random() < 0.3)
    except Conflict:
        time.sleep(0.02)

def check(store):
    counts = store.sql("SELECT run_id, count(*) AS n FROM samples GROUP BY run_id").to_pylist()
    assert {c["n"] for c in counts} <= {50}, counts
    edges = store.sql("SELECT run_id, count(*) AS n FROM edges GROUP BY run_id").to_pylist()
    assert {c["n"] for c in edges} <= {49}, edges
    return len(counts)

def forked(work):
    pid = os.fork()
    if pid == 0:
        random.seed(os.getpid() * seed)
        status = 1
        try:
            work(Store.open(root))
            status = 0
        finally:
            sys.stdout.flush()
            os._exit(status)
    return pid
"""

KILLER = """
rng = random.Random(seed)
for kill in range(int(sys.argv[4])):
    def work(store):
        number = 1000 * (kill + 1)
        while True:
            write(store, number)
            print("wrote", number, flush=True)
            compact(store)
            number += 1
    pid = forked(work)
    time.sleep(0.05 + rng.random() * 0.6)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    print("killed", kill, flush=True)
    sys.stdin.readline()
"""

EVERYBODY = """
def writer(first):
    def work(store):
        number, end = first, time.time() + float(sys.argv[4])
        while time.time() < end:
            write(store, number)
            print("wrote", number, flush=True)
            number += 1
    return work

def reader(store):
    seen, end = 0, time.time() + float(sys.argv[4])
    while time.time() < end:
        now = check(store)
        assert now >= seen, (now, seen)
        seen = now
        store.vault.transcripts()

def compactor(store):
    end = time.time() + float(sys.argv[4])
    while time.time() < end:
        compact(store)

people = [forked(writer(1000 * (n + 1))) for n in range(8)] + [forked(reader), forked(reader), forked(compactor)]
print("ended", [os.waitpid(p, 0)[1] for p in people], flush=True)
"""


def test_a_compaction_killed_at_any_instant_leaves_the_store_intact(store: Store) -> None:
    """`EARMARK_KILLS=200` kills as often as you like; the delays are drawn from a printed seed."""
    seed = random.SystemRandom().randrange(1, 1_000_000)
    print("seed", seed)  # noqa: T201
    command = [sys.executable, "-c", STAGE + KILLER, str(store.root), str(seed), "kill", str(KILLS)]
    acknowledged: set[int] = set()
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=HERE) as stage:
        assert stage.stdin is not None
        assert stage.stdout is not None
        for line in stage.stdout:
            word, number = line.split()
            if word == "wrote":
                acknowledged.add(int(number))
                continue
            counts = store.sql("SELECT run_id, count(*) AS n FROM samples GROUP BY run_id").to_pylist()
            assert {c["n"] for c in counts} <= {50}
            assert acknowledged <= {
                r.config["number"] for r in store.runs() if r.kind == "test" and r.status == "completed"
            }
            assert len(store.vault.transcripts()) == 50 * len(counts)
            # a kill between an entry and its signature leaves the newest entry to be signed by whoever writes next
            assert [f for f in verify(store.root).findings if f.kind != "inserted"] == []
            stage.stdin.write("\n")
            stage.stdin.flush()
    assert stage.returncode == 0
    time.sleep(1.1)
    compact(store, grace=0.0, everything=True, lease=0.3)
    sweep(store, 0.0)
    report = verify(store.root, deep=True)
    assert report.ok, report.findings
    assert {p.split("/")[0] for p in report.leftovers} <= {"openlineage"}  # that somebody tried is the truth


def test_writers_readers_and_compaction_at_the_same_time(store: Store) -> None:
    """`EARMARK_SECONDS` says for how long."""
    command = [sys.executable, "-c", STAGE + EVERYBODY, str(store.root), "1", "everybody", str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, env=HERE, check=False, timeout=120)
    written = {int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("wrote")}
    assert done.stdout.splitlines()[-1] == f"ended {[0] * 11}", done.stderr
    assert written == {r.config["number"] for r in store.runs() if r.kind == "test"}
    assert store.read("samples").num_rows == 50 * len(written)
    report = verify(store.root, deep=True)
    assert report.ok, report.findings
    compact(store, grace=0.0)
    assert store.read("samples").num_rows == 50 * len(written)
    assert verify(store.root, deep=True).ok


def test_verification_goes_on_while_others_write_and_compact(store: Store) -> None:
    command = [sys.executable, "-c", STAGE + EVERYBODY, str(store.root), "1", "everybody", "2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, text=True, env=HERE) as stage:
        while stage.poll() is None:
            report = verify(store.root)
            assert report.ok, report.findings
    assert verify(store.root).ok


def test_a_store_with_no_vault_key_in_reach_still_proves_its_public_rows(store: Store) -> None:
    fill(store, 9)
    compact(store)
    (store.root / "vault" / "key").unlink()
    assert verify(store.root, deep=True).ok


def test_sets_are_proved_alike_before_and_after(store: Store) -> None:
    samples = ids(70_000)
    with store.run("ingest") as run:
        made = sets.create_set(run, id_array(samples), name="large")
        sets.create_set(run, samples[:50], name="small")
    stranger = uuid.UUID(int=5)
    before = [sets.prove(store, made.digest, s) for s in (samples[0], stranger)]
    compact(store, grace=0.0)
    sweep(store, 0.0)
    assert [sets.prove(store, made.digest, s) for s in (samples[0], stranger)] == before
    assert [p.member for p in before] == [True, False]
    assert all(p.holds() for p in before)
    assert sets.members(store, made.digest).to_pylist() == sorted(samples, key=lambda i: i.bytes)
