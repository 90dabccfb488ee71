"""LibriSpeech folders: `SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt` beside the FLAC files that it tells the words of.

    1089-134686-0000 HE HOPED THERE WOULD BE STEW FOR DINNER

Below the folder of one subset, of several, or of the whole corpus. `SPEAKERS.TXT`, in the folder or the one above, gives
each reader's gender.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from lineage.manifests import Format, Line, Row, RowRefused, digest_of_files, register
from lineage.manifests.lines import numbered_lines

SUFFIX = ".trans.txt"
LOOKED_AT = 64  # folders in which transcripts are sought before a tree counts as something else
_SUBSET = re.compile(r"(train|dev|test)-[\w-]+")


def _locate(path: Path) -> Path | None:
    if not path.is_dir():
        return None
    for looked, (_, _, files) in enumerate(os.walk(path)):
        if any(name.endswith(SUFFIX) for name in files):
            return path
        if looked == LOOKED_AT:
            break
    return None


def _digest(folder: Path, digest: Callable[[Path], str]) -> str:
    return digest_of_files(folder, folder.rglob(f"*{SUFFIX}"), digest)


def _read(folder: Path) -> Iterator[Row]:
    genders = _genders(folder)
    for transcript in sorted(folder.rglob(f"*{SUFFIX}")):
        place = transcript.parent.relative_to(folder)
        subset = next((p for p in (*place.parts, folder.resolve().name) if _SUBSET.fullmatch(p)), None)
        for number, text in numbered_lines(transcript):
            line = Line(number, (place / transcript.name).as_posix())
            if isinstance(text, RowRefused):
                yield Row(line, text)
                continue
            utterance, _, words = text.strip().partition(" ")
            speaker, _, rest = utterance.partition("-")
            yield Row(
                line,
                {
                    "audio_path": (place / f"{utterance}.flac").as_posix(),
                    "text": words,
                    "speaker": speaker,
                    "chapter": rest.rpartition("-")[0],
                    "gender": genders.get(speaker),
                    "subset": subset,
                },
            )


def _genders(folder: Path) -> dict[str, str]:
    """Gender by reader, from lines `14 | F | train-clean-360 | 25.03 | …` of SPEAKERS.TXT."""
    for place in (folder, folder.resolve().parent):
        if (place / "SPEAKERS.TXT").is_file():
            lines = [text for _, text in numbered_lines(place / "SPEAKERS.TXT") if isinstance(text, str)]
            fields = [[f.strip() for f in text.split("|")] for text in lines if not text.startswith(";")]
            return {f[0]: f[1] for f in fields if len(f) > 1}
    return {}


register(Format("librispeech", _locate, _read, _digest, rank=1))
