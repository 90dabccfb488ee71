from __future__ import annotations

from pathlib import Path

import pytest

from lineage.errors import EarmarkError
from lineage.ingestion.ingest import BatchRefused
from tests.lineage.manifests.conftest import Taken, record


def folder(tmp_path: Path, **files: str) -> Path:
    record(tmp_path / "data", "a.wav", "b.wav")
    for name, content in files.items():
        (tmp_path / "data" / name.replace("_", ".")).write_text(content)
    return tmp_path / "data"


def test_a_recording_an_utterance(tmp_path: Path, take: Taken) -> None:
    path = folder(
        tmp_path, wav_scp="u1 a.wav\nu2  b.wav \n", text="u2 turn it off\nu1 turn it on\n", utt2spk="u1 anna\nu2 ben\n",
        spk2gender="anna f\n", utt2lang="u1 en\n",
    )  # fmt: skip
    for place in (path, path / "wav.scp"):
        report, rows = take(place)
        assert (report.set.name, report.refused) == ("data", {})
        assert [(r["text"], r["speaker"], r.get("gender"), r.get("language")) for r in rows] == [
            ("turn it off", "ben", None, None), ("turn it on", "anna", "f", "en"),
        ]  # fmt: skip


def test_segments_are_parts_of_recordings(tmp_path: Path, take: Taken) -> None:
    path = folder(
        tmp_path, wav_scp="r1 a.wav\n", text="u1 one\nu2 two\n",
        segments="u1 r1 0.00 0.05\nu2 r1 0.10 0.20\nu3 r9 0 1\nu4 r1 x 1\nu5 r1\n",
    )  # fmt: skip
    report, rows = take(path)
    assert [(r["text"], round(r["duration_s"], 3)) for r in rows if r["text"]] == [("one", 0.05), ("two", 0.1)]
    assert report.refused == {"no-audio": 1, "value": 1, "line": 1}
    assert [c.split(": ")[0] for c in report.complaints] == [f"{path}/segments:{n}" for n in (3, 4, 5)]


def test_commands_are_never_run(tmp_path: Path, take: Taken) -> None:
    touched = tmp_path / "touched"
    path = folder(tmp_path, wav_scp=f"u1 touch {touched} |\nu2 b.wav\n", text="u1 one\nu2 two\n")
    report, rows = take(path)
    assert [r["text"] for r in rows] == ["two"]
    assert report.complaints == (
        f"{path}/wav.scp:1: wav.scp gives a command, which is not run — write the audio to files and give their paths",
    )
    assert not touched.exists()


def test_words_have_to_be_there(tmp_path: Path, take: Taken) -> None:
    with pytest.raises(EarmarkError, match="no file 'text'"):
        take(folder(tmp_path, wav_scp="u1 a.wav\n"))
    with pytest.raises(BatchRefused, match="text"):
        take(folder(tmp_path, wav_scp="u1 a.wav\n", text="u2 two\n"))
