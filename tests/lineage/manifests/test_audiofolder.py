from __future__ import annotations

from pathlib import Path

from lineage.manifests import open_manifest
from tests.lineage.manifests.conftest import Taken, record


def test_words_lie_beside_the_sound(tmp_path: Path, take: Taken) -> None:
    root = tmp_path / "corpus"
    record(root, "a.wav", "deep/b.flac", "c.wav", "noise/d.wav", "e.wav")
    (root / "a.txt").write_text("turn it on\n")
    (root / "deep" / "b.lab").write_text("\ufeffturn it\noff")
    (root / "e.txt").write_bytes(b"caf\xe9")
    report, rows = take(root)
    assert [(r["text"], r["kind"]) for r in rows] == [
        (None, "noise"),
        ("turn it off", "speech"),
        ("turn it on", "speech"),
    ]
    assert report.refused == {"text": 2}
    assert report.complaints[0].startswith(f"{root}/c.wav:1: there are no words for it — put them into c.txt")


def test_a_table_in_the_folder_is_read_instead(tmp_path: Path) -> None:
    record(tmp_path, "a.wav")
    (tmp_path / "a.txt").write_text("hi")
    assert open_manifest(tmp_path).format.name == "audiofolder"
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.wav", "text": "hi"}')
    assert open_manifest(tmp_path).format.name == "jsonl"
    (tmp_path / "metadata.jsonl").unlink()
    (tmp_path / "metadata.csv").write_text("file_name,text\na.wav,hi\n")
    assert open_manifest(tmp_path).format.name == "csv"


def test_changed_words_are_read_again(tmp_path: Path, take: Taken) -> None:
    from lineage.ingestion.ingest import ingest
    from lineage.store import Store

    record(tmp_path / "corpus", "a.wav")
    (tmp_path / "corpus" / "a.txt").write_text("one")
    take(tmp_path / "corpus")
    store = Store.open(tmp_path / "store0")
    assert ingest(store, tmp_path / "corpus").reused
    (tmp_path / "corpus" / "a.txt").write_text("two")
    assert ingest(store, tmp_path / "corpus").new == 1
