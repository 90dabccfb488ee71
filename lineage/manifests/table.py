"""A table with a header line: a folder with a CSV in it, or the CSV (or tab-separated) file itself.

    file_name,transcription,speaker
    clips/a.wav,turn on the light,anna

Each line is one row: a quoted cell may hold commas and doubled quotes but no line break, so that a quote left open costs
its own line and not the rest of the file.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from lineage.errors import EarmarkError, shown
from lineage.manifests import Format, Row, RowRefused, register
from lineage.manifests.columns import AUDIO, TEXT, canonical, near_miss, resembles
from lineage.manifests.lines import check_text, numbered_lines

SUFFIXES = (".csv", ".tsv")
PREFERRED = ("metadata.csv", "manifest.csv")
DELIMITERS = "\t,;"


def _locate(path: Path) -> Path | None:
    if path.is_dir():
        return _in_folder(path)
    return path if path.suffix.lower() in SUFFIXES else None


def _in_folder(folder: Path) -> Path:
    tables = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    chosen = [p for p in tables if p.name in PREFERRED] or tables
    if not chosen:
        others = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in (".jsonl", ".ndjson", ".json"))
        mend = f"give {folder / others[0]}" if others else "add a metadata.csv with the columns file_name and text"
        raise EarmarkError(f"{folder}: there is no CSV in this folder — {mend}")
    if len(chosen) > 1:
        names = ", ".join(p.name for p in chosen[:5])
        raise EarmarkError(f"{folder}: there are several tables in this folder ({names}) — give the path of one")
    return chosen[0]


def _read(path: Path) -> Iterator[Row]:
    check_text(path)
    lines = numbered_lines(path)
    number, first = next(lines, (1, ""))
    try:
        if isinstance(first, RowRefused):
            raise first
        delimiter = max(DELIMITERS, key=first.count)
        cells = _cells(first, delimiter)
    except RowRefused as refused:
        raise EarmarkError(f"{path}:{number}: {refused}") from refused
    header = _header(path, number, cells)
    for number, line in lines:
        if isinstance(line, RowRefused):
            yield Row(number, line)
            continue
        try:
            cells = _cells(line, delimiter)
        except RowRefused as refused:
            yield Row(number, refused)
            continue
        if len(cells) != len(header):
            problem = f"line has {len(cells)} cells where the header has {len(header)} columns"
            yield Row(number, RowRefused("line", problem, f"put cells that hold '{delimiter}' in quotes"))
            continue
        yield Row(number, {name: cell for name, cell in zip(header, cells, strict=True) if cell.strip()})


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except (csv.Error, StopIteration) as error:
        if "unexpected end" in str(error):
            raise RowRefused(
                "line", "a quote is not closed on its line", 'close it; write quotes inside as ""'
            ) from error
        raise RowRefused("line", f"line is not CSV ({error})", "write it anew") from error


def _header(path: Path, number: int, cells: list[str]) -> list[str]:
    """The column names, once it is sure that they are column names."""
    names = [canonical(cell) for cell in cells]
    if AUDIO not in names:
        close = near_miss(names, AUDIO)
        hint = f"did you mean 'audio_path' by '{shown(close)}'?" if close else "name the column of files 'audio_path'"
        there = shown(", ".join(cells[:8]))
        raise EarmarkError(f"{path}:{number}: no column of the header names the audio ({there}) — {hint}")
    if TEXT not in names and "kind" not in names:
        close = near_miss(names, TEXT)
        hint = f"did you mean 'text' by '{shown(close)}'?" if close else "name it 'text'; for noise add a column 'kind'"
        raise EarmarkError(f"{path}:{number}: no column of the header holds the words — {hint}")
    for name, cell in zip(names, cells, strict=True):
        meant = resembles(name)
        if meant is not None and meant not in names:
            raise EarmarkError(f"{path}:{number}: unknown column '{shown(cell)}' — did you mean '{meant}'?")
        if not name:
            raise EarmarkError(f"{path}:{number}: a column of the header has no name — name every column")
        if names.count(name) > 1:
            raise EarmarkError(
                f"{path}:{number}: several columns mean '{shown(name)}', one is '{shown(cell)}' — keep one"
            )
    return cells


register(Format("csv", _locate, _read, rank=9))
