from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lineage.errors import EarmarkError
from tests.lineage.manifests.conftest import Taken
from tests.lineage.sounds import file_bytes, sound


def pack(path: Path, **files: bytes) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("__", "-") + ".wav")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "tarred"
    root.mkdir()
    pack(root / "audio_0.tar", a=file_bytes(sound(0.2, seed=0)), b=file_bytes(sound(0.2, seed=1)))
    pack(root / "audio_1.tar", a=file_bytes(sound(0.2, seed=2)))
    return root


def manifest(folder: Path, *rows: dict[str, Any]) -> None:
    (folder / "tarred_audio_manifest.json").write_text("\n".join(json.dumps(r) for r in rows))


def test_files_are_found_in_their_archives(folder: Path, take: Taken) -> None:
    manifest(
        folder,
        {"audio_filepath": "b.wav", "shard_id": 0, "text": "b of 0", "duration": 0.2, "speaker": "anna"},
        {"audio_filepath": "a.wav", "shard_id": 1, "text": "a of 1", "duration": 0.2},
        {"audio_filepath": "a.wav", "shard_id": 0, "text": "a of 0", "duration": 0.2},
        {"audio_filepath": "a-sub1.wav", "shard_id": 0, "text": "part", "offset": 0.1, "duration": 0.05},
        {"audio_filepath": "c.wav", "shard_id": 0, "text": "nowhere"},
    )
    report, rows = take(folder)
    assert (report.set.name, report.refused) == ("tarred", {"no-audio": 1})
    spoken = [(r["text"], round(r["duration_s"], 3), r["speaker"]) for r in rows if r["text"]]
    assert spoken == [("a of 0", 0.2, None), ("a of 1", 0.2, None), ("b of 0", 0.2, "anna"), ("part", 0.05, None)]
    assert "shard_id" not in rows[0]


def test_the_sound_is_kept_in_the_store(folder: Path, take: Taken, tmp_path: Path) -> None:
    from lineage.store import Store

    manifest(folder, {"audio_filepath": "a.wav", "text": "a", "shard_id": 1})
    _, rows = take(folder)
    for tar in folder.glob("*.tar"):
        tar.unlink()
    store = Store.open(tmp_path / "store0")
    ((_, wave),) = store.vault.waveforms([rows[0]["sample_id"]])
    assert (wave.pcm == sound(0.2, seed=2).pcm).all()


def test_archives_that_cannot_be_read_are_refused_whole(folder: Path, take: Taken) -> None:
    manifest(folder, {"audio_filepath": "a.wav", "text": "a"})
    (folder / "audio_1.tar").write_bytes(b"no archive")
    with pytest.raises(EarmarkError, match=r"audio_1\.tar: cannot be read as an archive"):
        take(folder)
    for tar in folder.glob("*.tar"):
        tar.unlink()
    with pytest.raises(EarmarkError, match="no archives beside it"):
        take(folder)


def test_an_archive_that_was_cut_costs_what_is_missing(folder: Path, take: Taken) -> None:
    whole = (folder / "audio_0.tar").read_bytes()
    manifest(folder, {"audio_filepath": "a.wav", "text": "a", "shard_id": 0}, {"audio_filepath": "b.wav", "text": "b"})
    (folder / "audio_0.tar").write_bytes(whole[: 512 + 7_168 + 512 + 1_000])
    report, rows = take(folder)
    assert [r["text"] for r in rows] == ["a"]
    assert sum(report.refused.values()) == 1


def test_changed_archives_are_read_again(folder: Path, take: Taken, tmp_path: Path) -> None:
    from lineage.ingestion.ingest import ingest
    from lineage.store import Store

    manifest(folder, {"audio_filepath": "a.wav", "text": "a", "shard_id": 0})
    take(folder)
    store = Store.open(tmp_path / "store0")
    assert ingest(store, folder).reused
    pack(folder / "audio_0.tar", a=file_bytes(sound(0.3, seed=7)))
    assert not ingest(store, folder).reused
