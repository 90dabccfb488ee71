from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from lineage.errors import EarmarkError
from lineage.manifests import RowRefused, open_manifest
from tests.lineage.manifests.conftest import Taken, record


def test_it_is_read_as_json_lines_are(tmp_path: Path, take: Taken) -> None:
    record(tmp_path, "a.wav", "b.wav")
    lines = [json.dumps({"audio_filepath": f"{n}.wav", "text": n, "accent": "scot"}) for n in "ab"]
    with gzip.open(tmp_path / "train.jsonl.gz", "wt") as stream:
        stream.write("\n".join([lines[0], "half a li", lines[1]]))
    report, rows = take(tmp_path / "train.jsonl.gz")
    assert (report.set.name, report.refused) == ("train", {"line": 1})
    assert report.complaints[0].startswith(f"{tmp_path / 'train.jsonl.gz'}:2: ")
    assert [(r["text"], r["accent"]) for r in rows] == [("a", "scot"), ("b", "scot")]


@pytest.mark.parametrize(
    "content",
    [b"no gzip at all", gzip.compress(b'{"a": 1}\n' * 9_000, mtime=0)[:-200], b"\x1f\x8b\x08"],
    ids=["no gzip", "cut", "head alone"],
)
def test_what_is_cut_short_is_refused_whole(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.jsonl.gz").write_bytes(content)
    with pytest.raises(EarmarkError, match=r"m\.jsonl\.gz: the file is cut short") as caught:
        list(open_manifest(tmp_path / "m.jsonl.gz").rows())
    assert not isinstance(caught.value, RowRefused)


def test_a_small_file_that_unpacks_to_a_huge_line_costs_that_line(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "m.jsonl.gz", "wb") as stream:
        for _ in range(64):
            stream.write(b" " * (1 << 20))
        stream.write(b'\n{"a": 1}\n')
    rows = list(open_manifest(tmp_path / "m.jsonl.gz").rows())
    assert [r.line for r in rows] == [1, 2]
    assert isinstance(rows[0].values, RowRefused)
