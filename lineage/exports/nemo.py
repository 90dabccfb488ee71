"""NeMo manifest: `manifest.jsonl`, one JSON object a line, and the sound beside it.

    {"audio_filepath": "audio/0b5e….flac", "duration": 1.25, "text": "turn it off", "speaker": "anna", "lang": "en", …}

Paths start from the manifest's folder. Attributes of the sample are members of their own. The file is named by the
sample's id.
"""

from __future__ import annotations

import json
from typing import Any

from lineage.exports import Format, register
from lineage.exports.parcel import Parcel
from lineage.exports.utterances import Utterance, utterances, write_sound

MANIFEST = "manifest.jsonl"


def _write(parcel: Parcel) -> None:
    with (parcel.folder / MANIFEST).open("w", encoding="utf-8") as stream:
        for utterance in utterances(parcel):
            write_sound(parcel, utterance)
            stream.write(json.dumps(_row(utterance), ensure_ascii=False) + "\n")
    parcel.reading += [
        f"{MANIFEST} is a NeMo manifest: give its path as manifest_filepath.",
        "Without NeMo, each line is a JSON object; the audio is read with soundfile.",
    ]


def _row(utterance: Utterance) -> dict[str, Any]:
    row: dict[str, Any] = {
        **{("lang" if k == "language" else k): v for k, v in utterance.attributes.items()},
        "audio_filepath": utterance.file,
        "duration": utterance.duration_s,
        "text": utterance.text or "",
        "speaker": utterance.speaker,
        "source": utterance.source,
        "licence": utterance.licence,
        "kind": "noise" if utterance.kind == "noise" else None,
    }
    return {name: value for name, value in row.items() if value is not None}


register(Format("nemo", "NeMo manifest with FLAC files", ("set",), True, _write))
