"""Whatever bytes a manifest is made of, it is rows, refused rows, or one line: never a traceback, never a file elsewhere.

`EARMARK_FUZZ=3000` mutates each format as often.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lineage.errors import EarmarkError
from lineage.manifests import RowRefused, open_manifest
from lineage.manifests.entries import entry
from tests.lineage.sounds import file_bytes, sound

TIMES = int(os.environ.get("EARMARK_FUZZ", "40"))
SOUND = file_bytes(sound(0.05))
TABLE = pa.table(
    {
        "audio": pa.array([{"bytes": SOUND, "path": f"{i}.wav"} for i in range(4)]),
        "text": ["turn", "it", "on", None],
        "age": [1, 2, None, 4],
    }
)
CUT = {
    "type": "MonoCut", "id": "c", "start": 0.0, "duration": 0.05, "channel": 0,
    "recording": {"id": "r", "sampling_rate": 16_000, "duration": 0.05,
                  "sources": [{"type": "file", "channels": [0], "source": "a.wav"}]},
    "supervisions": [{"id": "s", "recording_id": "r", "start": 0.0, "duration": 0.05, "channel": 0, "text": "hi"}],
}  # fmt: skip


def _kaldi(root: Path) -> Path:
    (root / "wav.scp").write_text("r1 a.wav\nr2 b.wav\n")
    (root / "text").write_text("u1 one\nu2 two\n")
    (root / "segments").write_text("u1 r1 0 1\nu2 r2 1 2\n")
    (root / "utt2spk").write_text("u1 anna\nu2 ben\n")
    return root


def _librispeech(root: Path) -> Path:
    (root / "1" / "2").mkdir(parents=True)
    (root / "1" / "2" / "1-2.trans.txt").write_text("1-2-0000 HI\n1-2-0001 HO\n")
    return root


def _commonvoice(root: Path) -> Path:
    path = root / "dev.tsv"
    path.write_text("client_id\tpath\tsentence\tage\tlocale\nab\tx.mp3\thi\t\ten\ncd\ty.mp3\tho\tten\ten\n")
    return path


def _lhotse(root: Path) -> Path:
    (root / "cuts.jsonl").write_text("\n".join([json.dumps(CUT)] * 3))
    return root


def _gzipped(root: Path) -> Path:
    (root / "m.jsonl.gz").write_bytes(gzip.compress(b'{"audio_path": "a.wav", "text": "hi"}\n' * 20))
    return root / "m.jsonl.gz"


def _tarred(root: Path) -> Path:
    with tarfile.open(root / "audio_0.tar", "w") as archive:
        for name in ("a.wav", "b.wav"):
            member = tarfile.TarInfo(name)
            member.size = len(SOUND)
            archive.addfile(member, io.BytesIO(SOUND))
    rows = [{"audio_filepath": name, "text": name, "shard_id": 0} for name in ("a.wav", "b.wav")]
    (root / "tarred_audio_manifest.json").write_text("\n".join(json.dumps(r) for r in rows))
    return root


def _parquet(root: Path) -> Path:
    pq.write_table(TABLE, root / "m.parquet", row_group_size=2)
    return root / "m.parquet"


def _saved(root: Path) -> Path:
    with pa.ipc.new_stream(str(root / "data-00000-of-00001.arrow"), TABLE.schema) as writer:
        writer.write_table(TABLE)
    (root / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    return root


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Changed, cut, lengthened or shortened somewhere."""
    data = bytearray(content)
    place = rng.randrange(len(data))
    match rng.randrange(4):
        case 0:
            for _ in range(rng.randrange(1, 6)):
                data[rng.randrange(len(data))] = rng.randrange(256)
        case 1:
            del data[place:]
        case 2:
            data[place:place] = rng.randbytes(rng.randrange(1, 20))
        case _:
            del data[place : place + rng.randrange(1, 40)]
    return bytes(data)


def complaint(path: Path) -> str:
    """What is said of a manifest when all of it is read; nothing if nothing is."""
    try:
        for row in open_manifest(path).rows():
            if not isinstance(row.values, RowRefused):
                entry(row.values)
                if row.sound is not None:
                    row.sound()
    except EarmarkError as error:
        return str(error)
    return ""


MAKERS = [_commonvoice, _gzipped, _kaldi, _lhotse, _librispeech, _parquet, _saved, _tarred]


@pytest.mark.parametrize("make", MAKERS)
def test_mutations_are_rows_or_refusals(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    files = sorted(p for p in tmp_path.rglob("*") if p.is_file())
    assert any(not isinstance(row.values, RowRefused) for row in open_manifest(path).rows())
    rng = random.Random(5)
    for _ in range(TIMES):
        file = rng.choice(files)
        content = file.read_bytes()
        file.write_bytes(mutated(content, rng))
        assert "\n" not in complaint(path)
        file.write_bytes(content)
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == files


def test_names_in_archives_and_tables_lead_nowhere(tmp_path: Path) -> None:
    """What a manifest carries has a name, but no place on this machine."""
    from lineage.ingestion.ingest import ingest
    from lineage.store import Store

    root = tmp_path / "corpus"
    root.mkdir()
    evil = "../../../../evil.wav"
    with tarfile.open(root / "audio_0.tar", "w") as archive:
        for name in (evil, "/etc/evil.wav"):
            member = tarfile.TarInfo(name)
            member.size = len(SOUND)
            archive.addfile(member, io.BytesIO(SOUND))
    row = {"audio_filepath": evil, "text": "evil", "shard_id": 0}
    (root / "tarred_audio_manifest.json").write_text(json.dumps(row))
    before = set(tmp_path.parent.rglob("*.wav"))
    store = Store.init(tmp_path / "store")
    assert ingest(store, root).accepted == 1
    assert set(tmp_path.parent.rglob("*.wav")) == before
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../../outside.arrow"}]}))
    assert f"{saved}/outside.arrow" in complaint(saved)
