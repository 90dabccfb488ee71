"""Through `datasets` as from the Hub, from folders that are laid out as the Hub's data sets are."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lineage.errors import EarmarkError
from tests.lineage.manifests.conftest import Taken
from tests.lineage.sounds import file_bytes, sound


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    features = {"audio": {"_type": "Audio", "sampling_rate": 16_000}, "text": {"dtype": "string", "_type": "Value"}}
    audio = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema({"audio": audio, "text": pa.string()}.items())
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    root = tmp_path / "repository"
    (root / "data").mkdir(parents=True)
    for seed, split in enumerate(("train", "test")):
        rows = [{"audio": {"bytes": file_bytes(sound(0.2, seed=seed)), "path": "x.wav"}, "text": f"in {split}"}]
        place = root / "data" / f"{split}-00000-of-00001.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), place)
    return root


def test_all_splits_are_streamed(repository: Path, take: Taken) -> None:
    report, rows = take(f"hf://{repository}")
    assert (report.set.name, report.refused) == ("repository", {})
    assert [(r["text"], r["split"]) for r in rows] == [("in test", "test"), ("in train", "train")]


def test_one_split(repository: Path, take: Taken) -> None:
    _, rows = take(Path(f"hf://{repository}?split=train"))  # as the command line hands it over
    assert [(r["text"], r["split"]) for r in rows] == [("in train", "train")]


@pytest.mark.parametrize(
    ("address", "said"),
    [("hf://{}?splitt=train", "'splitt' is not understood"), ("hf://{}?split=dev", "cannot be loaded"),
     ("hf://", "it is no address"), ("hf://nobody/nothing", "cannot be loaded")],
)  # fmt: skip
def test_what_cannot_be_loaded_is_told_in_one_line(repository: Path, take: Taken, address: str, said: str) -> None:
    with pytest.raises(EarmarkError, match=said) as caught:
        take(address.format(repository))
    assert "\n" not in str(caught.value)
