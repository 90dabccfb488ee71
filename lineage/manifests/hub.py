"""Data sets of the Hugging Face Hub, streamed: `hf://owner/name?config=en&split=train&revision=main`.

Through `datasets.load_dataset(…, streaming=True)`, so that any layout it knows can be read, from the Hub or from a folder
(`hf:///data/corpus`), without a copy of the whole on this machine. Without `split` all splits are read and become the
attribute `split`. The sound is taken as bytes, never decoded by `datasets`; it is kept in the store.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from lineage.errors import EarmarkError
from lineage.identity import digest_of
from lineage.machine.environment import package_versions
from lineage.manifests import Format, Line, Row, digest_of_files, register
from lineage.manifests.carried import Layout, name_of, sound_of

_ADDRESS = re.compile(r"hf:/*(?P<name>[^?]+)(\?(?P<query>.*))?")  # in a Path, slashes that follow each other are one


@dataclass(frozen=True)
class _Address:
    """What an address names; `name` is a folder or the Hub's owner/name."""

    name: str
    config: str | None
    split: str | None
    revision: str | None

    @classmethod
    def of(cls, path: Path) -> _Address:
        """Understand an address.

        Raises:
            EarmarkError: it is none, or asks for something unknown.
        """
        found = _ADDRESS.fullmatch(str(path))
        asked = dict(parse_qsl((found and found["query"]) or ""))
        unknown = asked.keys() - {"config", "split", "revision"}
        if found is None or unknown:
            what = f"'{min(unknown)}' is not understood" if unknown else "it is no address"
            raise EarmarkError(f"{path}: {what} — write hf://owner/name?config=en&split=train&revision=main")
        folder = next((f for f in (f"/{found['name']}", found["name"]) if Path(f).is_dir()), None)
        return cls(folder or found["name"], asked.get("config"), asked.get("split"), asked.get("revision"))


def _locate(path: Path) -> Path | None:
    return path if str(path).startswith("hf:") else None


def _digest(path: Path, digest: Callable[[Path], str]) -> str:
    """Of a folder, over its files; of a data set on the Hub, over the commit that is meant now."""
    address = _Address.of(path)
    folder = Path(address.name)
    if folder.is_dir():
        return digest_of([str(path), digest_of_files(folder, (p for p in folder.rglob("*") if p.is_file()), digest)])
    _need()
    import huggingface_hub

    try:
        commit = huggingface_hub.HfApi().dataset_info(address.name, revision=address.revision).sha
    except Exception as error:
        raise _unreachable(path, error) from error
    return digest_of([str(path), commit])


def _read(path: Path) -> Iterator[Row]:
    address = _Address.of(path)
    for split, stream in _splits(path, address).items():
        try:
            yield from _rows(path, stream, split)
        except (OSError, ValueError) as error:
            raise _unreachable(path, error) from error


def _rows(path: Path, stream: Any, split: str) -> Iterator[Row]:
    import datasets

    if stream.features is None:
        raise EarmarkError(f"{path}: the data set does not say what its columns are — convert it to Parquet")
    layout = Layout(path, stream.features.arrow_schema)
    if isinstance(stream.features[layout.audio], datasets.Audio):
        stream = stream.cast_column(layout.audio, datasets.Audio(decode=False))
    for number, row in enumerate(stream, start=1):
        value = row[layout.audio]
        name = name_of(value, f"row {number}")
        values = layout.values(row, f"row {number}") | {"split": split}
        yield Row(Line(number, split), values, partial(_sound, value, name))


def _splits(path: Path, address: _Address) -> dict[str, Any]:
    _need()
    import datasets

    try:
        loaded = datasets.load_dataset(
            os.fspath(address.name), address.config, split=address.split, revision=address.revision, streaming=True
        )
    except Exception as error:
        raise _unreachable(path, error) from error
    return {address.split: loaded} if address.split else dict(loaded)


def _sound(value: Any, name: str) -> bytes:
    """The bytes of the sound; of data sets made of archives `datasets` gives their place instead."""
    if isinstance(value, dict) and value.get("bytes") is None and value.get("path"):
        from datasets.utils.file_utils import xopen

        with xopen(value["path"], "rb") as stream:
            return bytes(stream.read())
    return sound_of(value, name)


def _need() -> None:
    if not package_versions("datasets"):
        raise EarmarkError("the Hub is read with datasets, which is not installed — pip install 'earmark[training]'")


def _unreachable(path: Path, error: Exception) -> EarmarkError:
    said = str(error).split("\n", 1)[0]
    return EarmarkError(
        f"{path}: cannot be loaded ({type(error).__name__}: {said:.200}) — check its name and your access"
    )


register(Format("hub", _locate, _read, _digest, rank=-2, remote=True))
