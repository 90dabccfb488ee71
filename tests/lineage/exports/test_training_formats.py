"""Formats made for training: read by their own tools, equal to the record to the last bit, and back again unchanged."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from lineage.exports import huggingface
from lineage.exports.share import export
from lineage.ingestion.ingest import ingest
from lineage.selection.sets import resolve_set
from lineage.sound.audio import Waveform, read_audio
from lineage.store import Store

KNOWN = {"kind", "source", "licence", "text"}


def rows(store: Store) -> dict[str, dict[str, Any]]:
    """The public facts of the set 'words' by sample id, with the words."""
    found = store.sql("SELECT sample_id, kind, source, licence, accent, age, noise, language FROM samples WHERE sample_id IN "
                      "(SELECT sample_id FROM members WHERE set_digest = ?)", [resolve_set(store, "words").digest])  # fmt: skip
    words = store.vault.transcripts()
    return {
        str(r.pop("sample_id")): {**r, "text": words.get(i)}
        for i, r in ((r["sample_id"], r) for r in found.to_pylist())
    }


def same(sound: bytes | Path, wave: Waveform) -> bool:
    read = read_audio(sound)
    return read.rate == wave.rate and np.array_equal(read.pcm, wave.pcm)


@pytest.mark.parametrize("format", ["datasets", "lhotse", "nemo"])
def test_out_and_in_again_is_the_same_set(corpus: Store, tmp_path: Path, format: str) -> None:
    words = resolve_set(corpus, "words")
    export(corpus, "words", format, tmp_path / "out")
    other = Store.init(tmp_path / "other")
    report = ingest(other, tmp_path / "out", name="words")
    assert report.refused == {}, report.complaints
    assert report.set.digest == words.digest
    assert (report.set.duration_s, report.set.words) == (pytest.approx(words.duration_s), words.words)
    assert rows(other) == rows(corpus)
    assert set(other.vault.speakers().values()) == set(corpus.vault.speakers().values())
    again = ingest(corpus, tmp_path / "out", name="words again")
    assert (again.set.digest, again.new) == (words.digest, 0)


def test_nemo(corpus: Store, waves: dict[str, Waveform], tmp_path: Path) -> None:
    export(corpus, "words", "nemo", tmp_path / "out")
    known = rows(corpus)
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert len(lines) == 5
    for line in lines:
        place = tmp_path / "out" / line["audio_filepath"]
        assert same(place, waves[place.stem])
        assert line["duration"] == pytest.approx(waves[place.stem].duration_s)
        assert line["text"] == (known[place.stem]["text"] or "")
        assert line.get("lang") == known[place.stem]["language"]
    assert {p.suffix for p in (tmp_path / "out" / "audio").iterdir()} == {".flac", ".wav"}  # floats do not fit FLAC


def test_datasets(corpus: Store, waves: dict[str, Waveform], tmp_path: Path) -> None:
    import datasets

    export(corpus, "words", "datasets", tmp_path / "out")
    loaded = datasets.load_from_disk(str(tmp_path / "out"))
    assert isinstance(loaded.features["audio"], datasets.Audio)
    assert len(loaded) == 5
    for row in loaded:
        pcm, rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="float32", always_2d=True)
        assert (rate, row["sampling_rate"]) == (waves[row["sample_id"]].rate,) * 2
        assert np.array_equal(pcm, waves[row["sample_id"]].pcm)
        known = rows(corpus)[row["sample_id"]]
        assert {name: row[name] for name in (*KNOWN, "accent", "noise")} == {
            n: known[n] for n in (*KNOWN, "accent", "noise")
        }
    assert set(loaded.filter(lambda r: r["kind"] == "speech")["speaker"]) == {"Ottilie", "Walburga"}


def test_datasets_in_several_files(corpus: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(huggingface, "SHARD_BYTES", 1)
    monkeypatch.setattr(huggingface, "BATCH_BYTES", 1)
    export(corpus, "words", "datasets", tmp_path / "out")
    assert len(list((tmp_path / "out").glob("data-*-of-00005.arrow"))) == 5
    assert len(datasets.load_from_disk(str(tmp_path / "out"))) == 5
    other = Store.init(tmp_path / "other")
    assert ingest(other, tmp_path / "out").set.digest == resolve_set(corpus, "words").digest


def test_datasets_saves_what_we_read(corpus: Store, tmp_path: Path) -> None:
    """Written by `datasets` itself, with splits, it is read as well."""
    import datasets

    export(corpus, "words", "datasets", tmp_path / "out")
    loaded = datasets.load_from_disk(str(tmp_path / "out"))
    split = datasets.DatasetDict({"train": loaded.select(range(3)), "test": loaded.select(range(3, 5))})
    datasets.disable_progress_bars()
    split.save_to_disk(str(tmp_path / "split"))
    other = Store.init(tmp_path / "other")
    report = ingest(other, tmp_path / "split")
    assert report.set.digest == resolve_set(corpus, "words").digest
    counts = other.sql("SELECT split, count(*) AS n FROM samples GROUP BY split ORDER BY split").to_pylist()
    assert counts == [{"split": "test", "n": 2}, {"split": "train", "n": 3}]


def test_lhotse_reads_its_manifests(corpus: Store, waves: dict[str, Waveform], tmp_path: Path) -> None:
    lhotse = pytest.importorskip("lhotse")
    out = tmp_path / "out"
    export(corpus, "words", "lhotse", out)
    recordings = lhotse.RecordingSet.from_file(out / "recordings.jsonl.gz").with_path_prefix(out)
    supervisions = lhotse.SupervisionSet.from_file(out / "supervisions.jsonl.gz")
    cuts = lhotse.CutSet.from_file(out / "cuts.jsonl.gz").with_recording_path_prefix(out)
    lhotse.qa.validate_recordings_and_supervisions(recordings.to_eager(), supervisions.to_eager())
    lhotse.validate(cuts.to_eager())
    known = rows(corpus)
    assert {r.id for r in recordings} == set(known)
    assert {s.id: s.text for s in supervisions} == {i: r["text"] for i, r in known.items() if r["kind"] == "speech"}
    for cut in cuts:
        assert np.array_equal(cut.load_audio().T, waves[cut.id].pcm)
        assert cut.custom.get("accent") == known[cut.id]["accent"]
        assert [s.custom["licence"] for s in cut.supervisions] == [known[cut.id]["licence"]] * len(cut.supervisions)


def test_supervisions_are_read_with_their_recordings(corpus: Store, tmp_path: Path) -> None:
    export(corpus, "words", "lhotse", tmp_path / "out")
    other = Store.init(tmp_path / "other")
    report = ingest(other, tmp_path / "out" / "supervisions.jsonl.gz", name="speech")
    assert (report.accepted, report.refused) == (4, {})


def test_gzip_is_the_same_whenever_it_is_written(corpus: Store, tmp_path: Path) -> None:
    export(corpus, "words", "lhotse", tmp_path / "out")
    assert (tmp_path / "out" / "cuts.jsonl.gz").read_bytes()[4:8] == bytes(4)  # no time in the header
    with gzip.open(tmp_path / "out" / "cuts.jsonl.gz", "rt") as stream:
        assert [json.loads(line)["type"] for line in stream].count("MultiCut") == 1


def test_the_parquet_of_a_data_set_is_read_too(corpus: Store, tmp_path: Path) -> None:
    export(corpus, "words", "datasets", tmp_path / "out")
    (arrow,) = (tmp_path / "out").glob("*.arrow")
    with pa.memory_map(str(arrow)) as source:
        table = pa.ipc.open_stream(source).read_all()
    (tmp_path / "pq").mkdir()
    pa.parquet.write_table(table, tmp_path / "pq" / "train-00000-of-00001.parquet", row_group_size=2)
    other = Store.init(tmp_path / "other")
    report = ingest(other, tmp_path / "pq")
    assert report.refused == {}, report.complaints
    assert report.set.digest == resolve_set(corpus, "words").digest
