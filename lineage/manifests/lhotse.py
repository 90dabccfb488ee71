"""lhotse manifests: `cuts.jsonl.gz`, or `recordings.jsonl.gz` and `supervisions.jsonl.gz`, in a folder or by themselves.

Each supervision is a row, a part of its recording where it does not span it. A cut without supervision is noise. Only what
lies in files is read: recordings made of commands, URLs or several sources, or with transforms still to be applied, are
refused, and so are single channels of recordings of several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lineage.errors import EarmarkError
from lineage.manifests import Format, Row, RowRefused, digest_of_files, register
from lineage.manifests.gzipped import unpacked_lines
from lineage.manifests.jsonlines import parse
from lineage.manifests.lines import numbered_lines

ENDINGS = (".jsonl.gz", ".jsonl")
CUT_KINDS = ("MonoCut", "MultiCut")


def _locate(path: Path) -> Path | None:
    if path.is_dir():
        cuts = _file(path, "cuts")
        return cuts or (_file(path, "supervisions") if _file(path, "recordings") else None)
    if not path.is_file() or not path.name.endswith(ENDINGS):
        return None
    try:
        first = next((v for _, v in _objects(path)), None)
    except EarmarkError:
        return None
    if not isinstance(first, dict):
        return None
    is_supervision = {"recording_id", "start", "duration", "channel"} <= first.keys()
    return path if first.get("type") in CUT_KINDS or is_supervision else None


def _file(folder: Path, name: str) -> Path | None:
    return next((p for ending in ENDINGS if (p := folder / f"{name}{ending}").is_file()), None)


def _recordings_of(path: Path) -> Path | None:
    """The recordings beside a file of supervisions: `train_recordings.jsonl.gz` beside `train_supervisions.jsonl.gz`."""
    place = path.with_name(path.name.replace("supervisions", "recordings"))
    return place if place != path and place.is_file() else _file(path.parent, "recordings")


def _digest(path: Path, digest: Callable[[Path], str]) -> str:
    recordings = _recordings_of(path)
    return digest_of_files(path.parent, {path, recordings} - {None}, digest)  # type: ignore[arg-type]


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any] | RowRefused]]:
    lines = unpacked_lines(path) if path.name.endswith(".gz") else numbered_lines(path)
    for number, text in lines:
        yield number, text if isinstance(text, RowRefused) else parse(text)


def _read(path: Path) -> Iterator[Row]:
    recordings: dict[str, Any] | None = None
    for number, value in _objects(path):
        if isinstance(value, RowRefused):
            yield Row(number, value)
        elif value.get("type") in CUT_KINDS:
            for supervision in value.get("supervisions") or [None]:
                yield Row(number, _from_cut(value, supervision))
        elif "recording_id" in value:
            recordings = _known(path) if recordings is None else recordings
            recording = recordings.get(str(value["recording_id"]))
            yield Row(number, _row(recording, value, value.get("start"), value.get("duration"), {}))
        else:
            problem = f"{value.get('type') or 'the line'!s:.40} is no cut and no supervision"
            yield Row(number, RowRefused("line", problem, "export MonoCuts, MultiCuts or supervisions"))


def _known(path: Path) -> dict[str, Any]:
    recordings = _recordings_of(path)
    if recordings is None:
        raise EarmarkError(f"{path}: there are no recordings beside the supervisions — put recordings.jsonl.gz there")
    return {str(v.get("id")): v for _, v in _objects(recordings) if isinstance(v, dict)}


def _from_cut(cut: Mapping[str, Any], supervision: Any) -> dict[str, object] | RowRefused:
    try:
        start, duration = float(cut["start"]), float(cut["duration"])
        if supervision is not None:
            start, duration = start + float(supervision["start"]), float(supervision["duration"])
    except (KeyError, TypeError, ValueError):
        return RowRefused("value", "cut has no start and duration in seconds", "export it again")
    told = supervision if isinstance(supervision, dict) else {"channel": cut.get("channel")}
    return _row(cut.get("recording"), told, start, duration, _custom(cut), noise=supervision is None)


def _row(
    recording: Any,
    told: Mapping[str, Any],
    start: object,
    duration: object,
    own: Mapping[str, Any],
    noise: bool = False,
) -> dict[str, object] | RowRefused:
    """What a supervision says of a recording; `own` is what the cut says besides."""
    sources = recording.get("sources") if isinstance(recording, dict) else None
    if not isinstance(sources, list) or len(sources) != 1 or not isinstance(sources[0], dict):
        return RowRefused("no-audio", "there is no recording of one source", "save the cuts' audio to files first")
    source = sources[0]
    if source.get("type") != "file" or recording.get("transforms"):
        problem = f"the recording is of type '{source.get('type')!s:.20}' or has transforms to be applied"
        return RowRefused("no-audio", problem, "save the cuts' audio to files first")
    channels, meant = source.get("channels"), told.get("channel")
    if meant != channels and [meant] != channels:
        return RowRefused("value", f"channel {meant!s:.20} of {channels!s:.20} is meant", "save it to a file first")
    values = {
        **own,
        **_custom(told),
        "audio_path": source.get("source"),
        "sample_rate": recording.get("sampling_rate"),
        **{name: told.get(name) for name in ("text", "speaker", "language", "gender")},
        "kind": "noise" if noise else None,
    }
    if not (start == 0 and duration == recording.get("duration")):
        values |= {"offset": start, "duration": duration}
    return {name: value for name, value in values.items() if value is not None}


def _custom(value: Mapping[str, Any]) -> dict[str, Any]:
    custom = value.get("custom")
    return custom if isinstance(custom, dict) else {}


register(Format("lhotse", _locate, _read, _digest, rank=-1))
