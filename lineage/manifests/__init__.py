"""Manifests: the files in which people list their recordings.

A manifest is read as numbered rows; what is wrong with one row is said of that row and never costs another. Only what
concerns the whole (no such file, binary, no column of audio) is raised at once. Reading a manifest touches no audio.

One file a format: it makes a `Format` and hands it to `register`; nothing else has to be edited. What a row's columns
mean is the same for all formats and stands in `lineage.manifests.columns` and `lineage.manifests.entries`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lineage.errors import EarmarkError
from lineage.identity import digest_of


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


class Line(int):
    """A line number that also tells in which of several files of a manifest the line is."""

    file: str

    def __new__(cls, number: int, file: str) -> Line:
        """Line `number` of `file`, which is relative to the manifest."""
        line = super().__new__(cls, number)
        line.file = file
        return line


@dataclass(frozen=True)
class Row:
    """One row as it stands in the manifest: the line it is on (from 1) and its values by column.

    `sound` is given where the manifest itself carries the audio: it returns the bytes of an audio file, which the row's
    column of audio only names. It may be called from several threads and raises `EarmarkError`.
    """

    line: int
    values: Mapping[str, object] | RowRefused
    sound: Callable[[], bytes] | None = None


@dataclass(frozen=True)
class Format:
    """One way of writing manifests.

    `locate` gives the file or folder of rows that is meant by a path, or None if the path is not of this format; `read`
    yields its rows in order and raises `EarmarkError` only for what is wrong with all of it. `digest` is over everything
    that `read` reads, sound excepted, made of the digests of files that the function it is given returns. Formats of
    lower `rank` are asked first: the more particular ones. `remote` formats are told by addresses, and their rows cost a
    transfer, so they are read once only.
    """

    name: str
    locate: Callable[[Path], Path | None]
    read: Callable[[Path], Iterator[Row]]
    digest: Callable[[Path, Callable[[Path], str]], str] = lambda path, digest: digest(path)
    rank: int = 0
    remote: bool = False


@dataclass(frozen=True)
class Manifest:
    """A manifest that was found: its file or folder, its format, and the folder that its relative paths start from."""

    path: Path
    format: Format

    @property
    def root(self) -> Path:
        """The folder in which the audio has to lie."""
        return self.path if self.path.is_dir() else self.path.parent

    def rows(self) -> Iterator[Row]:
        """The rows in order; may be called again."""
        return self.format.read(self.path)

    def digest(self, digest: Callable[[Path], str]) -> str:
        """Digest of the rows as they stand there, by a function that gives the digest of a file."""
        return self.format.digest(self.path, digest)


_FORMATS: dict[str, Format] = {}


def register(format: Format) -> Format:
    """Make a format known."""
    _FORMATS[format.name] = format
    return format


def formats() -> list[Format]:
    """All known formats in the order in which they are asked: every module registers its own when imported."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return sorted(_FORMATS.values(), key=lambda f: (f.rank, f.name))


def digest_of_files(root: Path, files: Iterable[Path], digest: Callable[[Path], str]) -> str:
    """One digest over several files below `root`: their names and their own digests."""
    return digest_of([[f.relative_to(root).as_posix(), digest(f)] for f in sorted(files)])


def open_manifest(path: str | Path) -> Manifest:
    """The manifest at `path`: a file, or a folder that has one.

    Raises:
        EarmarkError: there is nothing, or nothing that any format knows.
    """
    path = Path(path)
    known = formats()
    try:
        remote = next((f for f in known if f.remote and f.locate(path)), None)
        if remote is not None:
            return Manifest(path, remote)
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
