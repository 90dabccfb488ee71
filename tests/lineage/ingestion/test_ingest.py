from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lineage.errors import EarmarkError
from lineage.ingestion import ingest as ingestion
from lineage.ingestion.ingest import BatchRefused, IngestReport, ingest
from lineage.selection.sets import members, sample_sets
from lineage.sound.audio import Limits, Waveform
from lineage.store import Store
from tests.lineage.sounds import file_bytes, sound, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three good recordings."""
    for i in range(3):
        write(tmp_path / "data" / "clips" / f"{i}.wav", sound(0.2, seed=i))
    return tmp_path / "data"


def row(i: int = 0, **columns: Any) -> dict[str, Any]:
    return {"audio_path": f"clips/{i}.wav", "text": f"word {i}", "speaker": "anna", **columns}


def manifest(folder: Path, *rows: dict[str, Any] | str, name: str = "list.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows))
    return path


def only_complaint(store: Store, path: Path, **how: Any) -> tuple[str, str]:
    """Reason and line of the one row that is refused, while the good row before it and the one after it are kept."""
    report = ingest(store, path, **how)
    assert report.accepted == 2
    ((reason, count),) = report.refused.items()
    (line,) = report.complaints
    assert count == 1
    assert line.startswith(f"{path}:2: ")
    assert " — " in line
    assert "\n" not in line
    return reason, line


def test_the_record_of_a_manifest(store: Store, folder: Path) -> None:
    path = manifest(
        folder, row(0, accent="scot", email="a@b.c"), row(1, accent="us", language="en"), row(2, source="s")
    )
    report = ingest(store, path, licence="CC0-1.0")
    assert (report.accepted, report.new, report.refused, report.complaints) == (3, 3, {}, ())
    assert (report.set.name, report.set.size, report.set.words) == ("list", 3, 6)
    samples = store.sql("SELECT * FROM samples ORDER BY accent").to_pylist()
    assert [s["accent"] for s in samples] == ["scot", "us", None]
    assert {s["licence"] for s in samples} == {"CC0-1.0"}
    assert {s["speaker_key"] for s in samples} == {store.vault.speaker_key("anna")}
    assert all(s["root_ids"] == [s["sample_id"]] for s in samples)
    assert store.read("sources", ["source", "licence"]).to_pylist() == [{"source": "s", "licence": "CC0-1.0"}]
    ids = [s["sample_id"] for s in samples]
    assert sorted(store.vault.transcripts(ids).values()) == ["word 0", "word 1", "word 2"]
    assert list(store.vault.speakers().values()) == ["anna"]
    assert [(p["name"], p["value"]) for p in store.vault.rows("particulars").to_pylist()] == [("email", "a@b.c")]
    assert report.notes == (
        f"{path}: unknown columns, recorded as attributes: accent",
        f"{path}: unknown columns, personal by their names, kept in the vault: email",
    )
    for i, (_, wave) in enumerate(store.vault.waveforms(ids[:2])):
        assert np.array_equal(wave.pcm, sound(0.2, seed=i).pcm)


def test_nothing_personal_is_public(store: Store, folder: Path) -> None:
    rows = [row(0, speaker="Ottilie", text="secret words", email="a@b.c"), row(1, text="")]
    ingest(store, manifest(folder, *rows, name="ottilies.jsonl"), name="plain")
    for path in [p for p in store.root.rglob("*") if p.is_file() and "vault" not in p.parts]:
        data = path.read_bytes()
        for word in (b"Ottilie", b"ottilie", b"secret", b"a@b.c", b"clips"):
            assert word not in data, path


def test_noise_needs_neither_words_nor_a_speaker(store: Store, folder: Path) -> None:
    assert ingest(store, manifest(folder, {"audio_path": "clips/0.wav", "kind": "noise"})).accepted == 1
    (sample,) = store.read("samples").to_pylist()
    assert (sample["kind"], sample["words"], sample["speaker_key"]) == ("noise", None, None)


def test_the_same_sound_in_another_container_is_the_same_sample(store: Store, folder: Path) -> None:
    (folder / "clips" / "0.flac").write_bytes(file_bytes(sound(0.2, seed=0), "FLAC"))
    first = ingest(store, manifest(folder, row(0)))
    second = ingest(store, manifest(folder, row(0, audio_path="clips/0.flac"), name="flac.jsonl"))
    assert second.set.digest == first.set.digest
    assert second.new == 0
    assert store.read("samples").num_rows == 1


def test_again_is_nothing_new(store: Store, folder: Path) -> None:
    path = manifest(folder, row(0), row(1))
    first = ingest(store, path)
    again = ingest(store, path)
    assert again.reused
    assert (again.set, again.run_id, again.accepted, again.notes) == (first.set, first.run_id, 2, first.notes)
    os.utime(folder / "clips" / "0.wav", ns=(1, 1))
    touched = ingest(store, path)
    assert not touched.reused
    assert (touched.new, touched.set.digest) == (0, first.set.digest)
    assert store.read("samples").num_rows == 2
    assert store.vault.rows("recordings").num_rows == 2
    assert store.vault.rows("transcripts").num_rows == 2


def test_complaints_are_heard_again(store: Store, folder: Path) -> None:
    path = manifest(folder, row(0), row(7), row(1))
    assert ingest(store, path).complaints == ingest(store, path).complaints != ()
    assert store.read("samples").num_rows == 2


def test_a_recording_that_moved_is_found_at_its_new_place(store: Store, folder: Path) -> None:
    ingest(store, manifest(folder, row(0)))
    folder.rename(folder.with_name("moved"))
    report = ingest(store, folder.with_name("moved") / "list.jsonl")
    assert report.new == 0
    ((_, wave),) = store.vault.waveforms(members(store, report.set.digest))
    assert wave.frames == 3_200


def test_corrected_facts_are_recorded_beside_the_old(store: Store, folder: Path) -> None:
    ingest(store, manifest(folder, row(0, accent="us")))
    report = ingest(store, manifest(folder, row(0, accent="scot")))
    assert report.new == 0
    assert store.sql("SELECT accent FROM samples ORDER BY run_id").to_pylist()[-1] == {"accent": "scot"}


def test_a_copy_needs_the_files_no_longer(store: Store, folder: Path) -> None:
    write(folder / "clips" / "1.wav", Waveform(sound(seed=5).pcm * np.float32(1 / 3), 16_000), subtype="FLOAT")
    report = ingest(store, manifest(folder, row(0), row(1)), copy=True)
    for path in folder.rglob("*.wav"):
        path.unlink()
    waves = [wave for _, wave in store.vault.waveforms(members(store, report.set.digest))]
    assert [w.frames for w in waves] == [3_200, 3_200]
    assert set(store.vault.paths().values()) == {None}


def spoil(folder: Path, what: str) -> None:
    path = folder / "clips" / "1.wav"
    data = path.read_bytes()
    pcm = sound(seed=1).pcm.copy()
    pcm[3] = np.nan
    contents = {
        "truncated": data[:-100],
        "empty": b"",
        "not-audio": b"no sound at all\n" * 20,
        "zero-length": file_bytes(Waveform(np.zeros((0, 1), dtype=np.float32), 16_000)),
        "silent": file_bytes(Waveform(np.zeros((900, 1), dtype=np.float32), 16_000)),
        "not-finite": file_bytes(Waveform(pcm, 16_000), subtype="FLOAT"),
        "rate": data[:24] + (1_000).to_bytes(4, "little") + data[28:],
        "too-long": file_bytes(sound(2.0)),
    }
    path.write_bytes(contents[what])


@pytest.mark.parametrize(
    "what", ["truncated", "empty", "not-audio", "zero-length", "silent", "not-finite", "rate", "too-long"]
)
def test_bad_audio_costs_one_row(store: Store, folder: Path, what: str) -> None:
    spoil(folder, what)
    reason, line = only_complaint(store, manifest(folder, row(0), row(1), row(2)), limits=Limits(max_seconds=1))
    assert reason == what
    assert "clips/1.wav" in line


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(7), "missing"),
        (row(1, audio_path="clips"), "not-audio"),
        (row(1, text=""), "text"),
        (row(1, text=["a"]), "text"),
        (row(1, text="caf\ufffd"), "text"),
        (row(1, text="\ud83d"), "text"),
        ({**row(1), "langauge": "en"}, "column"),
        (row(1, sample_rate=8_000), "mismatch"),
        (row(1, duration=9), "mismatch"),
        (row(0), "duplicate"),
        ('{"audio_path": "clips/1.wav", "te', "line"),
        ("[]", "line"),
        (row(1, audio_path="../outside.wav"), "outside"),
        (row(1, audio_path="clips/../../outside.wav"), "outside"),
        (row(1, audio_path="/etc/passwd"), "outside"),
        (row(1, audio_path="link.wav"), "outside"),
        (row(1, audio_path="door/outside.wav"), "outside"),
        (row(1, audio_path="loop/x.wav"), "missing"),
        (row(1, audio_path="pipe"), "not-audio"),
        (row(1, audio_path="~/x.wav"), "missing"),
        (row(1, audio_path="x" * 300 + "/y.wav"), "missing"),
        (row(1, offset=0.1, duration=5), "value"),
        (row(1, offset=3), "value"),
    ],
)
def test_a_bad_row_costs_itself(store: Store, folder: Path, bad: dict[str, Any] | str, reason: str) -> None:
    write(folder.parent / "outside.wav", sound(seed=9))
    (folder / "link.wav").symlink_to(folder.parent / "outside.wav")
    (folder / "door").symlink_to(folder.parent)
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(folder / "pipe")
    assert only_complaint(store, manifest(folder, row(0), bad, row(2)))[0] == reason


def test_paths_may_lead_where_they_are_allowed_to(store: Store, folder: Path) -> None:
    outside = write(folder.parent / "more" / "x.wav", sound(seed=9))
    (folder / "link.wav").symlink_to(outside)
    path = manifest(folder, row(0), row(1, audio_path=str(outside)), row(2, audio_path="link.wav"))
    assert ingest(store, path).refused == {"outside": 2}
    assert ingest(store, path, roots=[outside.parent]).accepted == 3
    assert ingest(store, path, allow_outside=True).accepted == 3
    assert ingest(store, manifest(folder, row(1, audio_path=str(folder / "clips" / "1.wav")), name="b.jsonl")).accepted


def test_strict_takes_all_or_nothing(store: Store, folder: Path) -> None:
    path = manifest(folder, row(0), row(7), row(1, text=""), row(2))
    with pytest.raises(BatchRefused, match=r"nothing was ingested, 2 rows refused \(1 missing, 1 text\)") as refused:
        ingest(store, path, strict=True)
    assert len(refused.value.complaints) == 2
    assert store.read("samples").num_rows == 0
    assert sample_sets(store) == []
    assert [r.status for r in store.runs()] == ["failed"]
    assert ingest(store, path).accepted == 2
    assert ingest(store, manifest(folder, row(0)), strict=True).accepted == 1


def test_a_batch_without_a_good_row_is_refused(store: Store, folder: Path) -> None:
    with pytest.raises(BatchRefused, match="1 rows refused"):
        ingest(store, manifest(folder, row(7)))
    with pytest.raises(EarmarkError, match="lists no recordings"):
        ingest(store, manifest(folder, "", ""))
    with pytest.raises(EarmarkError, match="no such manifest"):
        ingest(store, folder / "nowhere.jsonl")


def test_a_stop_in_the_middle_leaves_nothing(store: Store, folder: Path) -> None:
    def stop(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(store, manifest(folder, row(0), row(1)), progress=stop)
    assert store.read("samples").num_rows == 0
    assert [r.status for r in store.runs()] == ["aborted"]
    assert ingest(store, folder / "list.jsonl").new == 2


def test_parts_of_a_file_are_children_of_the_whole(store: Store, folder: Path) -> None:
    talk = write(folder / "clips" / "talk.wav", sound(1.0, seed=4))
    parts = [row(0, audio_path="clips/talk.wav", text=f"part {i}", offset=i / 4, duration=0.25) for i in range(3)]
    last = row(0, audio_path="clips/talk.wav", text="the rest", offset=0.75)
    report = ingest(store, manifest(folder, *parts, row(1), last))
    assert (report.accepted, report.set.size, report.new) == (5, 5, 6)
    edges = store.sql("SELECT * FROM edges ORDER BY parent_start_s").to_pylist()
    assert [e["parent_start_s"] for e in edges] == [0, 0.25, 0.5, 0.75]
    assert {e["duration_s"] for e in edges} == {0.25}
    (whole,) = {e["parent_id"] for e in edges}
    assert whole not in members(store, report.set.digest).to_pylist()
    assert store.vault.paths([whole]) == {whole: str(talk.resolve())}
    assert store.vault.transcripts([whole]) == {}
    waves = [w.pcm for _, w in store.vault.waveforms([e["child_id"] for e in edges])]
    assert np.array_equal(np.concatenate(waves), sound(1.0, seed=4).pcm)
    roots = store.read("samples", ["root_ids"], "sample_id = ?", [edges[0]["child_id"]]).to_pylist()
    assert roots == [{"root_ids": [whole]}]
    assert store.read("transforms", ["name"]).to_pylist() == [{"name": "segment"}]


def test_a_folder_with_a_table(store: Store, folder: Path) -> None:
    (folder / "metadata.csv").write_text("file_name,transcription,speaker_id,accent\nclips/0.wav,hello,anna,us\n")
    report = ingest(store, folder)
    assert (report.accepted, report.set.name) == (1, "data")


def test_the_result_is_the_same_for_any_number_of_threads(tmp_path: Path, folder: Path) -> None:
    path = manifest(folder, row(2), row(7), row(0), row(1, text=""), row(1))
    reports = [ingest(Store.init(tmp_path / f"s{n}"), path, workers=n) for n in (1, 2, 5)]
    assert len({(r.set.digest, r.complaints) for r in reports}) == 1


def test_many_complaints_are_all_counted(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestion, "MAX_COMPLAINTS", 3)
    report = ingest(store, manifest(folder, *[row(7)] * 9, row(0)))
    assert (report.refused, len(report.complaints)) == ({"missing": 9}, 3)


def test_a_manifest_with_too_many_columns(store: Store, folder: Path) -> None:
    rows = [row(0, text=f"w{i}", **{f"c{i}_{j}": j for j in range(50)}) for i in range(6)]
    assert ingest(store, manifest(folder, *rows)).refused == {"column": 1}


# -- any manifest at all -------------------------------------------------------------------------------------------------

PATHS = (
    "clips/0.wav",
    "clips/1.wav",
    "../outside.wav",
    "/etc/passwd",
    "clips",
    "",
    ".",
    "..",
    "cut.wav",
    "a\x00b",
    "/dev/zero",
)
ANY = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.lists(st.integers(), max_size=2)
)
COLUMNS = st.sampled_from(
    ["audio_path", "audio_filepath", "text", "offset", "duration", "sample_rate", "kind", "speaker"]
)
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "audio_path": st.sampled_from(PATHS) | ANY,
        "text": st.sampled_from(["zero", "one", "caf\ufffd", "\ud800", ""]) | ANY,
        "offset": st.floats(-1, 1) | ANY,
        "duration": st.floats(-1, 1) | ANY,
        "kind": st.sampled_from(["speech", "noise"]) | ANY,
    },
)
LINES = (
    st.builds(
        lambda a, b: json.dumps({**a, **b}).encode(),
        ROWS,
        st.dictionaries(COLUMNS | st.text(max_size=5), ANY, max_size=2),
    )
    | st.builds(lambda r, n: json.dumps(r).encode()[:n], ROWS, st.integers(0, 60))
    | st.binary(max_size=30)
)


def fingerprint(folder: Path, but: Path) -> dict[str, str]:
    files = [p for p in folder.rglob("*") if p.is_file() and not p.is_relative_to(but)]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def hostile(folder: Path, name: str, content: bytes) -> IngestReport | EarmarkError:
    """Ingest whatever it is into a fresh store; afterwards nothing outside it may have changed."""
    path = folder / "data" / name
    path.write_bytes(content)
    with TemporaryDirectory(dir=folder) as place:
        store = Store.init(Path(place) / "store")
        before = fingerprint(folder, store.root)
        try:
            outcome: IngestReport | EarmarkError = ingest(store, path)
        except EarmarkError as error:
            outcome = error
        assert fingerprint(folder, store.root) == before
        rows = sum(segment.rows for segment in Store.open(store.root).segments("samples"))
        assert rows == (0 if isinstance(outcome, EarmarkError) else outcome.new)
    path.unlink()
    return outcome


def check(path: Path, outcome: IngestReport | EarmarkError) -> None:
    if isinstance(outcome, BatchRefused):
        lines: tuple[str, ...] = (*outcome.complaints, str(outcome))
    else:
        lines = (str(outcome),) if isinstance(outcome, EarmarkError) else outcome.complaints
    assert all(line.startswith(str(path)) and len(line.splitlines()) == 1 for line in lines)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good recordings in `data`, a damaged one, and one outside."""
    folder = tmp_path_factory.mktemp("fuzz")
    for i in range(2):
        write(folder / "data" / "clips" / f"{i}.wav", sound(0.05, seed=i))
    write(folder / "outside.wav", sound(0.05, seed=9))
    (folder / "data" / "cut.wav").write_bytes(file_bytes(sound(0.05))[:-9])
    return folder


@given(lines=st.lists(LINES, max_size=6), name=st.sampled_from(["f.jsonl", "f.csv"]), header=st.booleans())
@example(lines=[b"\x01\x0b"], name="f.csv", header=False)
@settings(
    max_examples=int(os.environ.get("EARMARK_FUZZ", "25")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_no_manifest_breaks_anything(recordings: Path, lines: list[bytes], name: str, header: bool) -> None:
    content = (b"audio_path,text\n" if header else b"") + b"\n".join(lines)
    check(recordings / "data" / name, hostile(recordings, name, content))
