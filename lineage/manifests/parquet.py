"""Parquet with the sound in it: a file, or a folder of them, as data sets on the Hugging Face Hub are.

One column carries the bytes of an audio file (see `carried`), the others are those of any manifest. The sound is read a row
group at a time, when its turn comes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from lineage.errors import EarmarkError
from lineage.manifests import Format, Line, Row, digest_of_files, register
from lineage.manifests.carried import DAMAGE, Layout, sound_in

SUFFIX = ".parquet"


def _locate(path: Path) -> Path | None:
    if path.is_dir():
        return path if _files(path) else None
    return path if path.suffix.lower() == SUFFIX else None


def _files(path: Path) -> list[Path]:
    """The file itself, or those in the folder or its folder `data`."""
    if path.is_file():
        return [path]
    return sorted(p for folder in (path, path / "data") for p in folder.glob(f"*{SUFFIX}") if p.is_file())


def _digest(path: Path, digest: Callable[[Path], str]) -> str:
    return digest(path) if path.is_file() else digest_of_files(path, _files(path), digest)


def _read(path: Path) -> Iterator[Row]:
    for file in _files(path):
        yield from _rows(file, file.name if path.is_dir() else "")


def _rows(path: Path, shown: str) -> Iterator[Row]:
    try:
        table = pq.ParquetFile(path)
        layout = Layout(path, table.schema_arrow)
        sounds = _Sounds(path, layout.audio)
        number = 0
        for group in range(table.num_row_groups):
            rows = table.read_row_group(group, columns=layout.plain).to_pylist()
            rows = rows or [{}] * table.metadata.row_group(group).num_rows
            for index, row in enumerate(rows):
                number += 1
                name = f"row {number}"
                line = Line(number, shown) if shown else number
                yield Row(line, layout.values(row, name), partial(sounds.get, group, index, name))
    except DAMAGE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> EarmarkError:
    said = str(error).split("\n", 1)[0]
    return EarmarkError(f"{path}: cannot be read as Parquet ({said:.120}) — copy it again")


class _Sounds:
    """The column of sound, one row group in memory at a time; rows are asked for nearly in order, by several threads."""

    def __init__(self, path: Path, column: str) -> None:
        self._path = path
        self._column = column
        self._lock = threading.Lock()
        self._held: dict[int, Any] = {}

    def get(self, group: int, index: int, name: str) -> bytes:
        """The sound of row `index` of a row group."""
        with self._lock:
            if group not in self._held:
                try:
                    table = pq.ParquetFile(self._path).read_row_group(group, columns=[self._column])
                except DAMAGE as error:
                    raise _damaged(self._path, error) from error
                self._held = {g: c for g, c in self._held.items() if g == group - 1} | {group: table[self._column]}
            column = self._held[group]
        return sound_in(column, index, name)


register(Format("parquet", _locate, _read, _digest, rank=1))
