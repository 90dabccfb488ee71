"""Tables that carry the sound: what a row of such a table says, shared by the formats that are made of them.

The sound is in a column of `datasets.Audio` (a struct of `bytes` and `path`) or of plain bytes under a name that means
audio. Columns of lists and structs say nothing that the record could keep, and are passed over; so is the `sample_id` of
our own exports, which follows from sound and words. Labels of `datasets.ClassLabel` are read by their names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from lineage.errors import EarmarkError, shown
from lineage.manifests import RowRefused
from lineage.manifests.columns import AUDIO, canonical

DAMAGE = (pa.ArrowException, ValueError, OSError)  # what reading a damaged table ends in
BYTES = frozenset((AUDIO, "bytes", "audio_bytes", "flac", "mp3"))
PASSED_OVER = frozenset(("sample_id",))


class Layout:
    """Which columns of a table hold what.

    Raises:
        EarmarkError: there is no column of sound.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.audio = _audio(path, schema)
        self.plain = [
            f.name
            for f in schema
            if f.name != self.audio and not pa.types.is_nested(f.type) and not pa.types.is_binary(f.type)
            if canonical(f.name) not in PASSED_OVER
        ]
        self._labels = _labels(schema)

    def values(self, row: Mapping[str, Any], name: str) -> dict[str, object]:
        """The values of a row of the plain columns; `name` is what messages call its sound."""
        told = {column: self._labels[column][v] if column in self._labels and v is not None else v
                for column, v in row.items() if column in self.plain}  # fmt: skip
        kept = {
            column: v if isinstance(v, (str, int, float, bool)) else str(v)
            for column, v in told.items()
            if v is not None
        }
        return {**kept, AUDIO: name}


def _audio(path: Path, schema: pa.Schema) -> str:
    structs = [f for f in schema if pa.types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0]
    plain = [f for f in schema if pa.types.is_binary(f.type) or pa.types.is_large_binary(f.type)]
    found = structs or [f for f in plain if canonical(f.name) in BYTES]
    if not found:
        there = shown(", ".join(schema.names[:8]))
        raise EarmarkError(f"{path}: no column carries audio ({there}) — put the bytes of a file into a column 'audio'")
    if len(found) > 1:
        raise EarmarkError(f"{path}: columns {shown(', '.join(f.name for f in found[:4]))} all carry audio — keep one")
    return str(found[0].name)


def _labels(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of labels by column, from what `datasets` wrote into the schema."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            n: list(f["names"]) for n, f in features.items() if isinstance(f, dict) and f.get("_type") == "ClassLabel"
        }
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def sound_in(column: Any, index: int, name: str) -> bytes:
    """The bytes in a cell of an Arrow column of sound; messages call them by the path in it, else by `name`.

    Raises:
        RowRefused: there are none.
    """
    try:
        value = column[index].as_py()
    except ValueError as error:  # a path that is not text
        raise RowRefused("no-audio", f"{name} is damaged ({error!s:.60})", "copy the table again") from error
    return sound_of(value, name_of(value, name))


def sound_of(value: Any, name: str) -> bytes:
    """The bytes in the value of a column of sound.

    Raises:
        RowRefused: there are none.
    """
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        raise RowRefused("no-audio", f"{name:.80} carries no sound", "store the bytes of the file in the table")
    return data


def name_of(value: Any, fallback: str) -> str:
    """What to call the sound in a cell: its path's last part."""
    path = value.get("path") if isinstance(value, dict) else None
    return path.replace("\\", "/").rsplit("/", 1)[-1] if isinstance(path, str) and path.strip() else fallback
