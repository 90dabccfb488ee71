from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lineage.manifests.conftest import Taken, record
from tests.lineage.sounds import sound, write

RECORDING = {"id": "r", "sampling_rate": 16_000, "num_samples": 3_200, "duration": 0.2, "channel_ids": [0]}


def recording(source: str = "a.wav", channels: tuple[int, ...] = (0,), **more: Any) -> dict[str, Any]:
    return {**RECORDING, "sources": [{"type": "file", "channels": list(channels), "source": source}], **more}


def supervision(**more: Any) -> dict[str, Any]:
    return {"id": "s", "recording_id": "r", "start": 0.0, "duration": 0.2, "channel": 0, "text": "hi", **more}


def cut(*supervisions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": "c", "type": "MonoCut", "start": 0.0, "duration": 0.2, "channel": 0, "recording": recording(),
        "supervisions": list(supervisions), **more,
    }  # fmt: skip


def save(path: Path, *values: dict[str, Any]) -> Path:
    path.write_text("\n".join(json.dumps(v) for v in values))
    return path


def test_cuts_and_parts_of_cuts(tmp_path: Path, take: Taken) -> None:
    record(tmp_path, "a.wav", "n.wav")
    path = save(
        tmp_path / "cuts.jsonl",
        cut(supervision(text="all of it", speaker="anna", language="en", custom={"accent": "scot", "age": 41})),
        cut(supervision(text="one", start=0.05, duration=0.05), supervision(text="two", start=0.1, duration=0.1)),
        cut(recording=recording("n.wav"), custom={"noise": "hum"}),
    )
    report, rows = take(path)
    assert report.refused == {}
    spoken = [r for r in rows if r["text"]]
    assert [(r["text"], round(r["duration_s"], 3)) for r in spoken] == [("all of it", 0.2), ("one", 0.05), ("two", 0.1)]
    assert (spoken[0]["speaker"], spoken[0]["accent"], spoken[0]["age"], spoken[0]["language"]) == (
        "anna",
        "scot",
        "41",
        "en",
    )
    assert [r["noise"] for r in rows if r["kind"] == "noise"] == ["hum"]


def test_supervisions_find_their_recordings_by_name(tmp_path: Path, take: Taken) -> None:
    record(tmp_path, "a.wav")
    save(tmp_path / "dev_recordings.jsonl", recording())
    path = save(tmp_path / "dev_supervisions.jsonl", supervision(), supervision(recording_id="other"))
    report, rows = take(path)
    assert [r["text"] for r in rows] == ["hi"]
    assert report.refused == {"no-audio": 1}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (cut(supervision(), recording=recording(sources=[])), "no-audio"),
        (cut(supervision(), recording=None), "no-audio"),
        (cut(supervision(), recording=recording(sources=[{"type": "command", "channels": [0]}])), "no-audio"),
        (cut(supervision(), recording=recording(transforms=[{"name": "Speed"}])), "no-audio"),
        (cut(supervision(), recording=recording(channels=(0, 1))), "value"),
        (cut(supervision(), start="now"), "value"),
        (cut(supervision(text=None)), "text"),
        ({"type": "PaddingCut", "id": "p"}, "line"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_costs_its_line(tmp_path: Path, take: Taken, value: dict[str, Any], reason: str) -> None:
    record(tmp_path, "a.wav")
    path = save(tmp_path / "cuts.jsonl", cut(supervision(text="before")), value)
    report, rows = take(path)
    assert [r["text"] for r in rows] == ["before"]
    assert report.refused == {reason: 1}
    assert report.complaints[0].startswith(f"{path}:2: ")


def test_all_channels_of_several_are_taken(tmp_path: Path, take: Taken) -> None:
    write(tmp_path / "a.wav", sound(0.2, channels=2))
    stereo = recording(channels=(0, 1), channel_ids=[0, 1])
    _, rows = take(save(tmp_path / "cuts.jsonl", cut(supervision(channel=[0, 1]), type="MultiCut", recording=stereo)))
    assert [r["channels"] for r in rows] == [2]
