from __future__ import annotations

from pathlib import Path

from lineage.manifests import open_manifest
from tests.lineage.manifests.conftest import Taken, record

HEADER = (
    "client_id\tpath\tsentence_id\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tvariant\tlocale\tsegment\n"
)


def test_clips_speakers_and_locales(tmp_path: Path, take: Taken) -> None:
    record(tmp_path / "clips", "c1.mp3", "c2.mp3", container="MP3", subtype="MPEG_LAYER_III")
    (tmp_path / "dev.tsv").write_text(
        HEADER
        + 'ab12\tc1.mp3\ts1\tHe said "no\t2\t0\ttwenties\tmale\tScots\t\ten\t\n'
        + "cd34\tc2\ts2\tYes.\t2\t1\t\t\t\t\ten\t\n"
        + "cd34\tc3.mp3\ts2\n"
    )
    report, rows = take(tmp_path / "dev.tsv")
    assert (report.set.name, report.refused) == ("dev", {"line": 1})
    assert [(r["text"], r["speaker"], r["language"]) for r in rows] == [
        ('He said "no', "ab12", "en"), ("Yes.", "cd34", "en"),
    ]  # fmt: skip
    assert (rows[0]["age"], rows[0]["gender"], rows[0]["accents"], rows[1]["down_votes"]) == (
        "twenties",
        "male",
        "Scots",
        "1",
    )
    assert "sentence_id" not in rows[0]


def test_other_tables_are_still_tables(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text("path\tsentence\na.wav\thi\n")
    assert open_manifest(tmp_path / "m.tsv").format.name == "csv"
