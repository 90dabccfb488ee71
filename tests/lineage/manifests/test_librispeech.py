from __future__ import annotations

from pathlib import Path

import pytest

from tests.lineage.manifests.conftest import Taken, record


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    root = tmp_path / "LibriSpeech"
    for reader, chapter in (("14", "208"), ("16", "122")):
        place = root / "dev-clean" / reader / chapter
        ids = [f"{reader}-{chapter}-000{n}" for n in range(2)]
        record(place, *(f"{i}.flac" for i in ids), container="FLAC")
        words = "\n".join(f"{i} {reader} SAYS {n}" for n, i in enumerate(ids))
        (place / f"{reader}-{chapter}.trans.txt").write_text(words + "\n")
    (root / "SPEAKERS.TXT").write_text(";ID |SEX| SUBSET | MINUTES | NAME\n14 | F | dev-clean | 25.03 | Kristin\n")
    return root


@pytest.mark.parametrize("below", ["", "dev-clean", "dev-clean/14"])
def test_readers_chapters_and_subsets(corpus: Path, take: Taken, below: str) -> None:
    report, rows = take(corpus / below)
    assert report.refused == {}
    assert [(r["text"], r["speaker"], r["chapter"]) for r in rows[:2]] == [
        ("14 SAYS 0", "14", "208"), ("14 SAYS 1", "14", "208"),
    ]  # fmt: skip
    assert report.set.name == (corpus / below).name
    if below != "dev-clean/14":
        assert len(rows) == 4
        assert {r["subset"] for r in rows} == {"dev-clean"}
        assert [r.get("gender") for r in rows] == ["F", "F", None, None]


def test_complaints_name_the_file_of_words(corpus: Path, take: Taken) -> None:
    (corpus / "dev-clean" / "14" / "208" / "14-208-0001.flac").unlink()
    report, rows = take(corpus)
    assert len(rows) == 3
    (line,) = report.complaints
    assert line.startswith(f"{corpus}/dev-clean/14/208/14-208.trans.txt:2: ")
    assert "14-208-0001.flac" in line


def test_the_readers_name_is_not_taken(corpus: Path, take: Taken) -> None:
    _, rows = take(corpus)
    assert "Kristin" not in str(rows)
