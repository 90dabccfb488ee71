from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lineage.errors import EarmarkError
from tests.lineage.manifests.conftest import Taken
from tests.lineage.sounds import file_bytes, sound

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def clip(seed: int) -> bytes:
    return file_bytes(sound(0.2, seed=seed))


def table(rows: list[dict[str, Any]], features: dict[str, Any] | None = None, **types: pa.DataType) -> pa.Table:
    schema = pa.schema(types.items())
    if features:
        schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    return pa.Table.from_pylist(rows, schema=schema)


def test_a_struct_of_bytes_as_datasets_writes_it(tmp_path: Path, take: Taken) -> None:
    rows = [
        {
            "audio": {"bytes": clip(i), "path": f"/home/x/{i}.wav"},
            "sentence": f"w{i}",
            "sex": i % 2,
            "votes": [1],
            "age": i,
        }
        for i in range(5)
    ]
    features = {"sex": {"_type": "ClassLabel", "names": ["f", "m"]}}
    types = {
        "audio": STRUCT,
        "sentence": pa.string(),
        "sex": pa.int64(),
        "votes": pa.list_(pa.int64()),
        "age": pa.int8(),
    }
    pq.write_table(table(rows, features, **types), tmp_path / "train.parquet", row_group_size=2)
    report, found = take(tmp_path / "train.parquet")
    assert (report.set.name, report.refused) == ("train", {})
    assert [(r["text"], r["sex"], r["age"]) for r in found] == [(f"w{i}", "fm"[i % 2], str(i)) for i in range(5)]
    assert "votes" not in found[0]


@pytest.mark.parametrize("name", ["audio", "bytes", "flac"])
def test_plain_bytes(tmp_path: Path, take: Taken, name: str) -> None:
    pq.write_table(
        table([{name: clip(0), "text": "hi"}], **{name: pa.binary(), "text": pa.string()}), tmp_path / "m.parquet"
    )
    _, rows = take(tmp_path / "m.parquet")
    assert [r["text"] for r in rows] == ["hi"]


def test_a_folder_of_files_is_one_set(tmp_path: Path, take: Taken) -> None:
    root = tmp_path / "corpus"
    (root / "data").mkdir(parents=True)
    for i in range(2):
        rows = [{"audio": {"bytes": clip(i) if i else b"broken", "path": None}, "text": f"w{i}"}]
        pq.write_table(table(rows, audio=STRUCT, text=pa.string()), root / "data" / f"train-{i}.parquet")
    report, rows = take(root)
    assert (report.set.name, [r["text"] for r in rows]) == ("corpus", ["w1"])
    assert report.complaints[0].startswith(f"{root}/train-0.parquet:1: row 1 is not audio")


def test_rows_without_sound_or_words_cost_themselves(tmp_path: Path, take: Taken) -> None:
    rows = [
        {"audio": {"bytes": None, "path": "a.wav"}, "text": "one"},
        {"audio": None, "text": "two"},
        {"audio": {"bytes": clip(0), "path": None}, "text": None},
        {"audio": {"bytes": clip(1), "path": None}, "text": "four"},
    ]
    pq.write_table(table(rows, audio=STRUCT, text=pa.string()), tmp_path / "m.parquet")
    report, found = take(tmp_path / "m.parquet")
    assert [r["text"] for r in found] == ["four"]
    assert report.refused == {"no-audio": 2, "text": 1}


def test_what_carries_no_audio_is_refused_whole(tmp_path: Path, take: Taken) -> None:
    pq.write_table(table([{"text": "hi"}], text=pa.string()), tmp_path / "m.parquet")
    with pytest.raises(EarmarkError, match="no column carries audio"):
        take(tmp_path / "m.parquet")
    two = table(
        [{"audio": clip(0), "flac": clip(1), "text": "a"}], audio=pa.binary(), flac=pa.binary(), text=pa.string()
    )
    pq.write_table(two, tmp_path / "m.parquet")
    with pytest.raises(EarmarkError, match="all carry audio"):
        take(tmp_path / "m.parquet")
    content = (tmp_path / "m.parquet").read_bytes()
    for broken in (b"PAR1", content[:-30], b""):
        (tmp_path / "m.parquet").write_bytes(broken)
        with pytest.raises(EarmarkError, match="cannot be read as Parquet"):
            take(tmp_path / "m.parquet")
