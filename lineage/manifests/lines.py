"""Numbered lines of a text file that nobody has checked yet.

Lines are cut at the byte 0x0A before decoding, so that one mis-encoded line cannot spoil its neighbours, and are of
bounded length, so that a file without line breaks cannot fill the memory. A UTF-8 byte-order mark is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lineage.errors import EarmarkError
from lineage.manifests import RowRefused

MAX_LINE = 1 << 20  # bytes
_HEAD = 4096
_BOM = b"\xef\xbb\xbf"
_OTHER = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"), (b"\x1f\x8b", "compressed"), (b"PK\x03\x04", "compressed"))


def check_text(path: Path) -> bytes:
    """The beginning of a file that may be UTF-8 text, without its byte-order mark.

    Raises:
        EarmarkError: it is not a regular file, cannot be read, or is no such text.
    """
    if not path.is_file():
        raise EarmarkError(f"{path}: not a regular file — give the path of a manifest")
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as error:
        raise EarmarkError(f"{path}: cannot be read ({error.strerror}) — check your rights to it") from error
    for mark, what in _OTHER:
        if head.startswith(mark):
            mend = "decompress it first" if what == "compressed" else "save it as UTF-8"
            raise EarmarkError(f"{path}:1: the manifest is {what}, not UTF-8 text — {mend}")
    if b"\x00" in head:
        raise EarmarkError(f"{path}:1: the manifest is a binary file — give JSON lines or CSV in UTF-8")
    return head.removeprefix(_BOM)


def numbered_lines(path: Path) -> Iterator[tuple[int, str | RowRefused]]:
    """Lines that are not blank, without their ends, numbered from 1; a refusal in place of one that cannot be read."""
    with path.open("rb") as stream:
        yield from numbered(stream)


def numbered(stream: IO[bytes]) -> Iterator[tuple[int, str | RowRefused]]:
    """The same of an open file."""
    number = 0
    while line := stream.readline(MAX_LINE + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(_BOM)
        if len(line) > MAX_LINE:
            while line and not line.endswith(b"\n"):
                line = stream.readline(MAX_LINE)
            yield number, RowRefused("line", f"line is longer than {MAX_LINE:,} bytes", "one recording a line")
            continue
        try:
            text = line.decode("utf-8").strip("\r\n")
        except UnicodeDecodeError as error:
            yield number, RowRefused("line", f"line is not UTF-8 (byte {error.start + 1})", "save it as UTF-8")
            continue
        if text.strip():
            yield number, text
