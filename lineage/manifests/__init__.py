"""Manifests: the files in which people list their recordings.

A manifest is read as numbered rows; what is wrong with one row is said of that row and never costs another. Only what
concerns the whole (no such file, binary, no column of audio) is raised at once. Reading a manifest touches no audio.

One file a format: it makes a `Format` and hands it to `register`; nothing else has to be edited. What a row's columns
mean is the same for all formats and stands in `lineage.manifests.columns` and `lineage.manifests.entries`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lineage.errors import EarmarkError


class RowRefused(EarmarkError):
    """One row that cannot go on the record.

    `reason` is one of: line (not readable as a row), column, value, text, no-audio, outside, mismatch, duplicate.
    `problem` says what is wrong and `mend` what to do about it.
    """

    def __init__(self, reason: str, problem: str, mend: str) -> None:
        super().__init__(f"{problem} — {mend}")
        self.reason = reason
        self.problem = problem
        self.mend = mend


@dataclass(frozen=True)
class Row:
    """One row as it stands in the manifest: the line it is on (from 1) and its values by column."""

    line: int
    values: Mapping[str, object] | RowRefused


@dataclass(frozen=True)
class Format:
    """One way of writing manifests.

    `locate` gives the file of rows that is meant by a path, or None if the path is not of this format; `read` yields its
    rows in order and raises `EarmarkError` only for what is wrong with all of it.
    """

    name: str
    locate: Callable[[Path], Path | None]
    read: Callable[[Path], Iterator[Row]]


@dataclass(frozen=True)
class Manifest:
    """A manifest that was found: its file, its format, and the folder that its relative paths start from."""

    path: Path
    format: Format

    @property
    def root(self) -> Path:
        """The folder in which the audio has to lie."""
        return self.path.parent

    def rows(self) -> Iterator[Row]:
        """The rows in order; may be called again."""
        return self.format.read(self.path)


_FORMATS: dict[str, Format] = {}


def register(format: Format) -> Format:
    """Make a format known; formats are asked in the order of their names."""
    _FORMATS[format.name] = format
    return format


def formats() -> list[Format]:
    """All known formats: every module of this package registers its own when imported."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return [_FORMATS[name] for name in sorted(_FORMATS)]


def open_manifest(path: str | Path) -> Manifest:
    """The manifest at `path`: a file, or a folder that has one.

    Raises:
        EarmarkError: there is nothing, or nothing that any format knows.
    """
    path = Path(path)
    known = formats()
    try:
        if not path.exists():
            raise EarmarkError(f"{path}: there is no such manifest — check the path")
        for format in known:
            located = format.locate(path)
            if located is not None:
                return Manifest(located, format)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise EarmarkError(f"{path!s:.200}: cannot be read ({said}) — check the path and your rights") from error
    names = ", ".join(f.name for f in known)
    raise EarmarkError(f"{path}: not a manifest in a known format ({names}) — name it *.jsonl or *.csv")
