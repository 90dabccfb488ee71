"""A folder of audio files, each with its words beside it: `a.wav` and `a.txt` (or `a.lab`), at any depth.

What lies below a folder called `noise` is noise and needs no words. A folder that has a table or a `metadata.jsonl` is read
by that instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from lineage.manifests import Format, Line, Row, RowRefused, digest_of_files, register

AUDIO = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aiff", ".aif", ".sph")
WORDS = (".txt", ".lab")
TABLES = (".csv", ".tsv", ".jsonl", ".json", ".ndjson")
NOISE = "noise"
MAX_BYTES = 1 << 16  # of a file of words
LOOKED_AT = 64  # folders in which audio is sought before a tree counts as something else


def _locate(path: Path) -> Path | None:
    if not path.is_dir() or any(p.suffix.lower() in TABLES for p in path.iterdir()):
        return None
    for looked, (_, _, files) in enumerate(os.walk(path)):
        if any(name.lower().endswith(AUDIO) for name in files):
            return path
        if looked == LOOKED_AT:
            break
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO and p.is_file())


def _words(audio: Path) -> Path | None:
    return next((p for ending in WORDS if (p := audio.with_suffix(ending)).is_file()), None)


def _digest(folder: Path, digest: Callable[[Path], str]) -> str:
    return digest_of_files(folder, filter(None, map(_words, _files(folder))), digest)


def _read(folder: Path) -> Iterator[Row]:
    for audio in _files(folder):
        place = audio.relative_to(folder)
        line = Line(1, place.as_posix())
        if NOISE in (part.lower() for part in place.parts[:-1]):
            yield Row(line, {"audio_path": place.as_posix(), "kind": "noise"})
            continue
        words = _words(audio)
        if words is None:
            mend = f"put them into {place.stem}.txt beside it, or noise below a folder called '{NOISE}'"
            yield Row(line, RowRefused("text", "there are no words for it", mend))
            continue
        try:
            text = words.read_bytes()[: MAX_BYTES + 1].decode("utf-8-sig")
        except UnicodeDecodeError as error:
            yield Row(
                line, RowRefused("text", f"{words.name} is not UTF-8 (byte {error.start + 1})", "save it as UTF-8")
            )
            continue
        yield Row(line, {"audio_path": place.as_posix(), "text": " ".join(text.split("\n"))})


register(Format("audiofolder", _locate, _read, _digest, rank=8))
