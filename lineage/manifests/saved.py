"""A Hugging Face data set as `save_to_disk` leaves it: a `Dataset`, or a `DatasetDict` of which each split is a part.

Its Arrow files are read as they are, memory-mapped, without `datasets`. Splits become the attribute `split`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from lineage.errors import EarmarkError
from lineage.manifests import Format, Line, Row, digest_of_files, register
from lineage.manifests.carried import DAMAGE, Layout, sound_in

STATE, SPLITS = "state.json", "dataset_dict.json"


def _locate(path: Path) -> Path | None:
    return path if path.is_dir() and ((path / STATE).is_file() or (path / SPLITS).is_file()) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise EarmarkError(f"{path}: cannot be read ({error!s:.80}) — save the data set again") from error
    return value if isinstance(value, dict) else {}


def _files(folder: Path) -> list[tuple[Path, str | None]]:
    """The Arrow files in order, each with the split that it belongs to."""
    if (folder / SPLITS).is_file():
        splits = [str(s) for s in _json(folder / SPLITS).get("splits", ())]
        return [(f, split) for split in splits for f, _ in _files(folder / Path(split).name)]
    names = [str(f.get("filename")) for f in _json(folder / STATE).get("_data_files", ()) if isinstance(f, dict)]
    return [(folder / Path(name).name, None) for name in names]


def _digest(folder: Path, digest: Callable[[Path], str]) -> str:
    return digest_of_files(folder, [f for f, _ in _files(folder) if f.is_file()], digest)


def _read(folder: Path) -> Iterator[Row]:
    for path, split in _files(folder):
        shown = path.relative_to(folder).as_posix()
        try:
            with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
                layout = Layout(path, stream.schema)
                number = 0
                for batch in stream:
                    batch.validate(full=True)  # offsets in a damaged file could lead outside of it
                    rows = batch.select(layout.plain).to_pylist() or [{}] * batch.num_rows
                    sound = batch.column(layout.audio)
                    for index, row in enumerate(rows):
                        number += 1
                        name = f"row {number}"
                        values = layout.values(row, name) | ({"split": split} if split else {})
                        yield Row(Line(number, shown), values, partial(sound_in, sound, index, name))
        except DAMAGE as error:
            said = str(error).split("\n", 1)[0]
            raise EarmarkError(f"{path}: cannot be read as Arrow ({said:.120}) — save the data set again") from error


register(Format("datasets", _locate, _read, _digest))
