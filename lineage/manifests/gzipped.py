"""JSON lines, compressed: what `jsonl` reads, in a file that ends in `.jsonl.gz` (`.json.gz`, `.ndjson.gz`).

Lines are unpacked one at a time, so that a small file that unpacks to a huge one costs time and no memory.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from lineage.errors import EarmarkError
from lineage.manifests import Format, Row, RowRefused, register
from lineage.manifests.jsonlines import SUFFIXES, parse
from lineage.manifests.lines import numbered


def unpacked_lines(path: Path) -> Iterator[tuple[int, str | RowRefused]]:
    """Numbered lines of a gzipped file.

    Raises:
        EarmarkError: it is not gzipped, or cut short.
    """
    try:
        with gzip.open(path, "rb") as stream:
            yield from numbered(cast(IO[bytes], stream))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise EarmarkError(f"{path}: the file is cut short or not gzipped ({error}) — copy it again") from error


def _locate(path: Path) -> Path | None:
    return path if path.is_file() and path.name.lower().endswith(tuple(f"{s}.gz" for s in SUFFIXES)) else None


def _read(path: Path) -> Iterator[Row]:
    for number, line in unpacked_lines(path):
        yield Row(number, line if isinstance(line, RowRefused) else parse(line))


register(Format("jsonl.gz", _locate, _read))
