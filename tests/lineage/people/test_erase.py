"""Erasing somebody: nothing of them is left, and the record of everybody else holds."""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lineage.compaction.compact import compact
from lineage.derivation.derive import Job, apply, transform_set
from lineage.errors import EarmarkError, UnknownName
from lineage.graph import resolve_sample
from lineage.ids import id_array
from lineage.ingestion.ingest import ingest
from lineage.people import reach as scopes
from lineage.people.erase import Conflict, erase, finish
from lineage.people.obligations import owing
from lineage.people.reach import reach
from lineage.people.rights import consent
from lineage.proof.verifier import verify
from lineage.selection.sets import create_set, members, prove, resolve_set
from lineage.sound.audio import Waveform, encode, quantise
from lineage.store import Store
from tests.lineage.sounds import sound, write

NAMES = [f"Person{n} Familyname{n}" for n in range(10)]
NAME = NAMES[3]
WORDS = "the heron stood in clearwater{n} number {i}"


def said(n: int, i: int) -> str:
    return WORDS.format(n=n, i=i)


def corpus(folder: Path, clips: int = 3) -> Path:
    lines = []
    for n, name in enumerate(NAMES):
        for i in range(clips):
            write(folder / f"{n}-{i}.wav", sound(seed=100 * n + i))
            row = {"audio": f"{n}-{i}.wav", "text": said(n, i), "speaker": name, "source": f"phone{n % 2}"}
            lines.append(json.dumps({**row, "licence": "CC-BY-4.0", "email": f"{name}@example.org"}))
    (folder / "all.jsonl").write_text("\n".join(lines))
    return folder / "all.jsonl"


@pytest.fixture
def peopled(original: Path, tmp_path: Path) -> Store:
    """Ten speakers, mixes across them, an evaluation, features, gradients, a model and its export."""
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    return Store.open(tmp_path / "store")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with that store, and with its corpus."""
    folder = tmp_path_factory.mktemp("peopled")
    store = Store.init(folder / "store")
    ingest(store, corpus(folder / "corpus"), copy=True)
    transform_set(store, "all", "speed", to="fast", parameters={"factor": 1.1})
    with store.run("transform", job="pairs") as run:
        by_name = ids_by_name(store)
        pairs = [Job((by_name[NAMES[n]][0], by_name[NAMES[(n + 1) % 10]][0])) for n in range(10)]
        made = apply(run, "concat", pairs)
        create_set(run, made.ids, name="pairs", samples=made.samples)
    everyone = members(store, resolve_set(store, "all").digest).to_pylist()
    with store.run("train", inputs=[resolve_set(store, "all").digest]) as run:
        run.append(
            "exposures", [{"step": 0, "position": p, "sample_id": s, "weight": 1.0} for p, s in enumerate(everyone)]
        )
        run.append("models", [{"model_id": "a" * 64, "name": "listener", "artifact": run.put(b"weights")}])
        run.outputs.append("a" * 64)
    speakers = {i: store.vault.speaker_key(n) for n, own in ids_by_name(store).items() for i in own}
    with store.run("evaluate") as run:
        heard = store.vault.transcripts(everyone)
        run.vault.append(
            "hypotheses",
            [{"sample_id": i, "hypothesis": f"heard {heard[i]}", "speaker_key": speakers[i]} for i in everyone],
        )
    features(store, everyone)
    with store.run("gradients", inputs=["a" * 64]) as run:
        run.outputs.append(run.put(b"gradients of everybody"))
    with store.run(
        "export", config={"model": "a" * 64, "set": None, "samples": False, "format": "x", "to": "y"}
    ) as run:
        run.outputs.append("e" * 64)
    return folder


def ids_by_name(store: Store) -> dict[str, list[uuid.UUID]]:
    found = {}
    for name in NAMES:
        rows = store.read(
            "samples",
            ["sample_id"],
            "speaker_key = ? AND root_ids = [sample_id] ORDER BY 1",
            [store.vault.speaker_key(name)],
        )
        found[name] = sorted(set(rows["sample_id"].to_pylist()))
    return found


def features(store: Store, ids: list[uuid.UUID]) -> str:
    folder = store.root.parent / f"shard-{uuid.uuid4()}"
    folder.mkdir()
    pq.write_table(pa.table({"sample_id": id_array(ids)}), folder / "index.parquet")
    (folder / "features.f32").write_bytes(b"features of " + ids[0].bytes)
    with store.run("features") as run:
        run.outputs.append(run.put(folder))
    return run.outputs[0]


def contents(root: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def holding(root: Path, needles: list[bytes]) -> set[str]:
    """Files that hold one of the needles, in their bytes or in what the bytes say."""
    found = set()
    for path, data in contents(root).items():
        told = data
        if path.suffix == ".parquet":
            told += repr(pq.ParquetFile(path).read().to_pylist()).encode()
            table = pq.ParquetFile(path).read()
            if "flac" in table.column_names:
                told += b"".join(table["flac"].to_pylist())
        found |= {path.relative_to(root).as_posix() for n in needles if n in told}
    return found


def needles(n: int = 3, clips: int = 3) -> list[bytes]:
    waves = [quantise(Waveform(sound(seed=100 * n + i).pcm, 16_000)) for i in range(clips)]
    pcm = [w.pcm.tobytes()[:512] for w in waves] + [(w.pcm * 2**15).astype("<i2").tobytes()[:512] for w in waves]
    flac = [encode(w) for w in waves]
    return [NAMES[n].encode(), f"clearwater{n}".encode(), *pcm, *flac]


def test_nothing_of_one_speaker_of_ten_is_left(peopled: Store) -> None:
    before = holding(peopled.root, needles())
    assert {p.split("/")[1] for p in before} >= {"speakers", "transcripts", "clips", "hypotheses", "particulars"}
    others = {name: ids for name, ids in ids_by_name(peopled).items() if name != NAME}
    sets = {s: resolve_set(peopled, s) for s in ("all", "fast", "pairs")}
    stays = others[NAMES[0]][0]
    proof = prove(peopled, sets["all"].digest, stays)
    done = erase(peopled, scopes.speaker(peopled, NAME), reason="asked for it")
    assert done.run_id is not None
    assert holding(peopled.root, needles()) == set()
    assert verify(peopled.root).ok
    assert verify(peopled.root, deep=True).ok
    assert not verify(peopled.root).leftovers
    # everybody else is as before
    for name, ids in others.items():
        assert set(peopled.vault.transcripts(ids)) == set(ids)
        assert len(list(peopled.vault.waveforms(ids))) == 3
        assert peopled.vault.speakers([peopled.vault.speaker_key(name)]) == {peopled.vault.speaker_key(name): name}
    assert proof.holds()
    assert prove(peopled, sets["all"].digest, stays).set_digest == sets["all"].digest
    assert len(members(peopled, sets["all"].digest)) == 30
    evaluation = next(r for r in peopled.runs() if r.kind == "evaluate")
    assert len(peopled.vault.hypotheses(evaluation.id)) == 27  # still those of that run


def test_what_is_listed_first_is_what_goes(peopled: Store) -> None:
    found = reach(peopled, scopes.speaker(peopled, NAME))
    assert len(found.samples) == 3 + 3 + 2  # own, faster, and two pairs
    assert found.derived == 5
    assert {s.name for s in found.sets} == {"all", "fast", "pairs"}
    assert [m["name"] for m in found.models] == ["listener"]
    assert [e["digest"] for e in found.exports] == ["e" * 64]
    assert len(found.caches) == 2
    assert found.outside == ()
    assert found.vault["hypotheses"] == 3
    assert found.vault["speakers"] == 1
    again = reach(peopled, scopes.speaker(peopled, str(peopled.vault.speaker_key(NAME))[:13]))
    assert again.ids.equals(found.ids)
    done = erase(peopled, found.scope)
    assert done.reach.vault == found.vault


def test_the_tombstone_and_what_is_owed_stand_on_record(peopled: Store) -> None:
    old = {s: resolve_set(peopled, s).digest for s in ("all", "fast", "pairs")}
    done = erase(peopled, scopes.speaker(peopled, NAME), reason="asked for it")
    assert {(o["digest"][:1], o["event"]) for o in owing(peopled)} == {("a", "owes_retrain"), ("e", "owes_withdrawal")}
    rows = peopled.read("erasures").to_pylist()
    assert len(rows) == 8 + 1
    assert {r["scope"] for r in rows} == {"speaker"}
    assert done.successors == {old[n]: resolve_set(peopled, n).digest for n in old}
    assert resolve_set(peopled, "all").size == 27
    assert resolve_set(peopled, "pairs").size == 8
    manifest = json.loads((peopled.root / f"manifests/{done.run_id}.json").read_text())
    assert any(p.startswith("artifacts/") for p in manifest["removed"])
    with peopled.run("train", inputs=[resolve_set(peopled, "all").digest]) as run:
        run.append("models", [{"model_id": "b" * 64, "name": "listener"}])
    assert [o["event"] for o in owing(peopled)] == ["owes_withdrawal"]


def test_erasing_again_finds_nothing(peopled: Store) -> None:
    subject = scopes.speaker(peopled, NAME)
    erase(peopled, subject)
    runs = len(peopled.runs())
    assert erase(peopled, scopes.speaker(peopled, NAME)).run_id is None
    assert len(peopled.runs()) == runs


def test_a_sample_goes_with_all_that_was_made_of_it_and_the_speaker_stays(peopled: Store) -> None:
    one = ids_by_name(peopled)[NAME][0]
    done = erase(peopled, scopes.sample(peopled, str(one)))
    assert len(done.reach.samples) == 1 + 1 + 2
    assert done.reach.speakers == ()
    assert len(peopled.vault.speakers([peopled.vault.speaker_key(NAME)])) == 1
    assert resolve_set(peopled, "all").size == 29


def test_a_source_goes_whole(peopled: Store) -> None:
    done = erase(peopled, scopes.source(peopled, "phone1"))
    assert len(done.reach.speakers) == 5
    for n in (1, 3, 5, 7, 9):
        assert holding(peopled.root, needles(n)) == set()
    assert resolve_set(peopled, "all").size == 15
    with pytest.raises(UnknownName):
        resolve_set(peopled, "nothing of the kind")
    assert verify(peopled.root, deep=True).ok


def test_after_a_compaction_it_goes_as_well(peopled: Store) -> None:
    compact(peopled)  # leaves the old segments to readers for a while
    assert holding(peopled.root, needles())
    erase(peopled, scopes.speaker(peopled, NAME))
    assert holding(peopled.root, needles()) == set()
    assert verify(peopled.root, deep=True).ok
    compact(peopled, everything=True)
    assert verify(peopled.root, deep=True).ok
    erase(peopled, scopes.speaker(peopled, NAMES[5]))
    assert verify(peopled.root, deep=True).ok
    assert len(peopled.vault.transcripts(ids_by_name(peopled)[NAMES[4]])) == 3


def test_leftovers_of_killed_writers_go_too(peopled: Store) -> None:
    dead = str(uuid.uuid4())
    places = [
        peopled.root / "vault" / "transcripts" / dead / "x.parquet",
        peopled.root / "vault" / "clips" / dead / ".y.parquet.tmp",
        peopled.root / "artifacts" / "ab" / ".abcdef.tmp",
        peopled.root / "artifacts" / "ab" / ("ab" * 32),
    ]
    for path in places:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(needles()[0])
        for old in (path, path.parent):
            os.utime(old, (time.time() - 60,) * 2)
    erase(peopled, scopes.speaker(peopled, NAME))
    assert not any(p.exists() for p in places)


def test_a_crash_before_the_files_are_deleted_is_made_good(peopled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(root: Path, paths: list[str]) -> None:
        if paths:
            raise SystemExit("killed")

    monkeypatch.setattr("lineage.people.erase._delete", crash)
    with pytest.raises(SystemExit):
        erase(peopled, scopes.speaker(peopled, NAME))
    monkeypatch.undo()
    again = Store.open(peopled.root)
    report = verify(again.root)
    assert report.ok
    assert report.unerased  # and the check says that something is still there
    assert holding(again.root, needles())
    assert finish(again)
    assert holding(again.root, needles()) == set()
    assert not verify(again.root).unerased


def test_a_run_that_was_at_work_meanwhile_cannot_bring_anything_back(peopled: Store) -> None:
    mine, others = (ids_by_name(peopled)[n] for n in (NAME, NAMES[0]))
    worker = Store.open(peopled.root)
    with worker.run("evaluate") as harmless, pytest.raises(Conflict), worker.run("evaluate") as run:
        run.vault.append("hypotheses", [{"sample_id": mine[0], "hypothesis": f"heard {said(3, 0)}"}])
        harmless.vault.append("hypotheses", [{"sample_id": others[0], "hypothesis": "heard"}])
        done = erase(peopled, scopes.speaker(peopled, NAME))
        assert len(done.working) == 2
    assert holding(peopled.root, needles()) == set()
    assert verify(peopled.root).ok


def test_a_child_recorded_meanwhile_makes_the_erasure_look_again(
    peopled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, worker = scopes.speaker(peopled, NAME), Store.open(peopled.root)
    looked = []

    def slowly(store: Store, subject: scopes.Scope) -> scopes.Reach:
        found = reach(store, subject)
        if not looked:
            transform_set(worker, "all", "speed", to="slow", parameters={"factor": 0.9})
        looked.append(found)
        return found

    monkeypatch.setattr("lineage.people.erase.reach", slowly)
    erase(peopled, subject)
    assert len(looked[1].samples) == len(looked[0].samples) + 3
    assert holding(peopled.root, needles()) == set()


def test_a_model_published_after_the_erasure_of_its_data_owes_a_retrain(peopled: Store) -> None:
    mine = ids_by_name(peopled)[NAME]
    worker = Store.open(peopled.root)
    with worker.run("train") as run:
        run.append("exposures", [{"step": 0, "position": 0, "sample_id": mine[0], "weight": 1.0}])
        run.append("models", [{"model_id": "c" * 64, "name": "late"}])
        erase(peopled, scopes.speaker(peopled, NAME))
    assert "c" * 64 not in {o["digest"] for o in owing(peopled)}
    finish(peopled)
    assert "c" * 64 in {o["digest"] for o in owing(peopled)}


def test_an_interview_goes_and_the_answers_of_the_other_stay(store: Store, tmp_path: Path) -> None:
    write(tmp_path / "talk.wav", sound(seconds=2.0, seed=1))
    parts = [("Ann", 0.0, "good evening"), ("Ben", 1.0, "hello there")]
    lines = [
        json.dumps({"audio": "talk.wav", "offset": o, "duration": 1.0, "text": t, "speaker": s}) for s, o, t in parts
    ]
    (tmp_path / "talk.jsonl").write_text("\n".join(lines))
    ingest(store, tmp_path / "talk.jsonl")
    ben = store.read("samples", ["sample_id"], "speaker_key = ?", [store.vault.speaker_key("Ben")])[
        "sample_id"
    ].to_pylist()
    found = reach(store, scopes.speaker(store, "Ann"))
    assert len(found.samples) == 2
    assert found.outside == (str(tmp_path / "talk.wav"),)
    erase(store, found.scope)
    assert len(list(store.vault.waveforms(ben))) == 1
    assert holding(store.root, [b"good evening", b"talk.wav", b"Ann"]) == set()
    assert (tmp_path / "talk.wav").exists()


def test_the_same_sound_under_another_name_goes_too(store: Store, tmp_path: Path) -> None:
    write(tmp_path / "a.wav", sound(seed=1))
    for name, text in (("Ann", "one"), ("somebody", "two")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"audio": "a.wav", "text": text, "speaker": name}))
        ingest(store, tmp_path / f"{name}.jsonl", copy=True)
    assert len(reach(store, scopes.speaker(store, "Ann")).samples) == 2


def test_ingesting_again_does_not_bring_anybody_back_unless_they_consent(peopled: Store, tmp_path: Path) -> None:
    manifest = tmp_path / "corpus" / "all.jsonl"
    erase(peopled, scopes.speaker(peopled, NAME))
    report = ingest(peopled, manifest, copy=True)
    assert report.accepted == 27
    assert report.refused == {"erased": 3}
    assert holding(peopled.root, needles()) == set()
    consent(peopled, "given", speaker=NAME, purposes=["asr-training"])
    report = ingest(peopled, manifest, copy=True)
    assert report.accepted == 30
    assert len(list(peopled.vault.waveforms(ids_by_name(peopled)[NAME]))) == 3
    assert {"speakers", "particulars"} <= {p.split("/")[1] for p in holding(peopled.root, needles())}
    assert erase(peopled, scopes.speaker(peopled, NAME)).run_id is not None
    assert holding(peopled.root, needles()) == set()


def test_names_that_people_wrote_into_the_public_record_are_pointed_out(peopled: Store) -> None:
    with peopled.run("set") as run:
        create_set(run, ids_by_name(peopled)[NAME], name=f"tests of {NAME}")
    assert reach(peopled, scopes.speaker(peopled, NAME)).traces == ("sample_sets.name",)
    with pytest.raises(EarmarkError, match="names the speaker"):
        erase(peopled, scopes.speaker(peopled, NAME), reason=f"{NAME} asked")


def test_nobody_of_that_name(peopled: Store) -> None:
    with pytest.raises(UnknownName):
        scopes.speaker(peopled, "Nobody")
    with pytest.raises(UnknownName):
        scopes.source(peopled, "nowhere")
    assert resolve_sample(peopled, str(ids_by_name(peopled)[NAME][0]))


def test_a_speaker_who_came_back_keeps_the_name_while_anything_is_left(peopled: Store, tmp_path: Path) -> None:
    erase(peopled, scopes.speaker(peopled, NAME))
    consent(peopled, "given", speaker=NAME)
    ingest(peopled, tmp_path / "corpus" / "all.jsonl", copy=True)
    mine = ids_by_name(peopled)[NAME]
    done = erase(peopled, scopes.sample(peopled, str(mine[0])))
    assert done.reach.speakers == ()
    assert set(peopled.vault.transcripts(mine)) == set(mine[1:])
    erase(peopled, scopes.sample(peopled, str(mine[1])))
    assert erase(peopled, scopes.sample(peopled, str(mine[2]))).reach.speakers == (peopled.vault.speaker_key(NAME),)
    assert holding(peopled.root, needles()) == set()


@pytest.mark.parametrize(
    "path", ["../outside", "vault/../../outside", "/etc/hosts", "earmark.json", "log/00000000.json"]
)
def test_a_forged_manifest_cannot_make_an_erasure_delete_other_files(store: Store, path: str) -> None:
    outside = store.root.parent / "outside"
    outside.write_text("mine")
    with store.run("erase") as run:
        run.removed.append(path)
    with pytest.raises(EarmarkError, match="damaged"):
        finish(Store.open(store.root))
    assert outside.exists()
    assert (store.root / "earmark.json").exists()
