"""lhotse manifests: recordings, supervisions and cuts as gzipped JSON lines, and the sound beside them.

    recordings.jsonl.gz    {"id", "sources": [{"type": "file", "channels", "source"}], "sampling_rate", "num_samples", …}
    supervisions.jsonl.gz  {"id", "recording_id", "start", "duration", "channel", "text", "speaker", "language", "custom"}
    cuts.jsonl.gz          MonoCut, or MultiCut where a recording has several channels, each with both of the above

All three carry the sample's id. Noise has no supervision. Paths start from the folder, so lhotse wants to be told of it:
`RecordingSet.from_file(…).with_path_prefix(folder)`.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lineage.exports import Format, register
from lineage.exports.parcel import Parcel
from lineage.exports.utterances import Utterance, utterances, write_sound

RECORDINGS, SUPERVISIONS, CUTS = "recordings.jsonl.gz", "supervisions.jsonl.gz", "cuts.jsonl.gz"


def _write(parcel: Parcel) -> None:
    with (
        _lines(parcel.folder / RECORDINGS) as recordings,
        _lines(parcel.folder / SUPERVISIONS) as supervisions,
        _lines(parcel.folder / CUTS) as cuts,
    ):
        for utterance in utterances(parcel):
            write_sound(parcel, utterance)
            recording, supervision = _recording(utterance), _supervision(utterance)
            _put(recordings, recording)
            if supervision is not None:
                _put(supervisions, supervision)
            _put(cuts, _cut(utterance, recording, supervision))
    parcel.reading += [
        f"lhotse: CutSet.from_file('{CUTS}').with_recording_path_prefix('.') in this folder;",
        f"{RECORDINGS} and {SUPERVISIONS} hold the same by themselves.",
    ]


@contextmanager
def _lines(path: Path) -> Iterator[io.TextIOWrapper]:
    """A gzipped text file whose bytes depend on its lines alone."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8") as text,
    ):
        yield text


def _put(stream: io.TextIOWrapper, value: dict[str, Any]) -> None:
    stream.write(json.dumps(value, ensure_ascii=False) + "\n")


def _recording(utterance: Utterance) -> dict[str, Any]:
    channels = list(range(utterance.channels))
    return {
        "id": str(utterance.id),
        "sources": [{"type": "file", "channels": channels, "source": utterance.file}],
        "sampling_rate": utterance.rate,
        "num_samples": utterance.frames,
        "duration": utterance.duration_s,
        "channel_ids": channels,
    }


def _supervision(utterance: Utterance) -> dict[str, Any] | None:
    if utterance.kind == "noise":
        return None
    value = {
        "id": str(utterance.id),
        "recording_id": str(utterance.id),
        "start": 0.0,
        "duration": utterance.duration_s,
        "channel": _channel(utterance),
        "text": utterance.text,
        "language": utterance.attributes.get("language"),
        "speaker": utterance.speaker,
        "custom": _custom(utterance),
    }
    return {name: v for name, v in value.items() if v is not None}


def _cut(utterance: Utterance, recording: dict[str, Any], supervision: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "id": str(utterance.id),
        "start": 0.0,
        "duration": utterance.duration_s,
        "channel": _channel(utterance),
        "supervisions": [] if supervision is None else [supervision],
        "recording": recording,
        "custom": _custom(utterance),
        "type": "MonoCut" if utterance.channels == 1 else "MultiCut",
    }


def _channel(utterance: Utterance) -> int | list[int]:
    return 0 if utterance.channels == 1 else list(range(utterance.channels))


def _custom(utterance: Utterance) -> dict[str, str]:
    own = {k: v for k, v in utterance.attributes.items() if k != "language"}
    terms = {"source": utterance.source, "licence": utterance.licence}
    return {**own, **{k: v for k, v in terms.items() if v is not None}}


register(Format("lhotse", "lhotse manifests with FLAC files", ("set",), True, _write))
