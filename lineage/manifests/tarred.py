"""Tarred NeMo: `tarred_audio_manifest.json` and the audio in `audio_0.tar`, `audio_1.tar` …

    {"audio_filepath": "a.wav", "shard_id": 0, "text": "turn it on", "duration": 1.5}

The archives are never unpacked: their headers are read once, and each file's bytes from its place. `-sub1` in a name, which
NeMo adds where several rows are parts of one file, is taken off if there is no such file.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.manifests import Format, Row, RowRefused, register
from lineage.manifests.jsonlines import parse
from lineage.manifests.lines import numbered_lines

MANIFEST = "tarred_audio_manifest.json"
MAX_FILE = 1 << 30  # bytes of one audio file
_PART = re.compile(r"(.+)-sub\d+(\.\w+)")
_SHARD = re.compile(r"(\d+)\.tar")


class _Place(NamedTuple):
    """Where a file's bytes lie."""

    tar: Path
    offset: int
    size: int


def _locate(path: Path) -> Path | None:
    manifest = path / MANIFEST if path.is_dir() else path
    return manifest if manifest.name == MANIFEST and manifest.is_file() else None


def _tars(path: Path) -> list[Path]:
    return sorted(path.parent.glob("*.tar"))


def _digest(path: Path, digest: Callable[[Path], str]) -> str:
    stamps = [(t.name, t.stat().st_size, str(t.stat().st_mtime_ns)) for t in _tars(path)]
    return digest_of([digest(path), stamps])


def _read(path: Path) -> Iterator[Row]:
    places = _index(path)
    for number, text in numbered_lines(path):
        values = text if isinstance(text, RowRefused) else parse(text)
        if isinstance(values, RowRefused):
            yield Row(number, values)
            continue
        shard = values.pop("shard_id", None)
        name = values.get("audio_filepath")
        place = _find(places, name, shard) if isinstance(name, str) else None
        if place is None:
            problem = f"'{name!s:.80}' is in none of the archives"
            yield Row(number, RowRefused("no-audio", problem, "copy the archives again, or drop the line"))
            continue
        yield Row(number, values, partial(_bytes, place, str(name)))


def _index(path: Path) -> dict[str, dict[str, _Place]]:
    """Places by file name and then by the number of the archive."""
    tars = _tars(path)
    if not tars:
        raise EarmarkError(f"{path}: there are no archives beside it — put audio_0.tar … there")
    found: dict[str, dict[str, _Place]] = {}
    for tar in tars:
        shard = _SHARD.search(tar.name)
        try:
            with tarfile.open(tar, "r:") as archive:
                for member in archive:
                    if member.isreg():
                        place = _Place(tar, member.offset_data, member.size)
                        found.setdefault(member.name.removeprefix("./"), {})[shard[1] if shard else ""] = place
        except (tarfile.TarError, OSError) as error:
            if tar in {place.tar for shards in found.values() for place in shards.values()}:
                continue  # it was cut short: rows whose files are missing are refused one by one
            problem = f"{tar}: cannot be read as an archive ({error})"
            raise EarmarkError(f"{problem} — copy it again, uncompressed") from error
    return found


def _find(places: dict[str, dict[str, _Place]], name: str, shard: object) -> _Place | None:
    part = _PART.fullmatch(name)
    for candidate in (name, f"{part[1]}{part[2]}" if part else name):
        shards = places.get(candidate, {})
        place = shards.get(str(shard)) if shard is not None else next(iter(shards.values()), None)
        if place is not None:
            return place
    return None


def _bytes(place: _Place, name: str) -> bytes:
    if place.size > MAX_FILE:
        raise RowRefused("no-audio", f"{name:.80} has {place.size:,} bytes", "cut it into utterances")
    try:
        with place.tar.open("rb") as stream:
            stream.seek(place.offset)
            data = stream.read(place.size)
    except OSError as error:
        raise RowRefused("no-audio", f"{place.tar.name} cannot be read ({error.strerror})", "copy it again") from error
    if len(data) < place.size:
        raise RowRefused("no-audio", f"{place.tar.name} ends within {name:.80}", "copy it again")
    return data


register(Format("nemo-tar", _locate, _read, _digest, rank=-1))
