"""How results are printed: a table for people, JSON or CSV for programs; progress as a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import csv
import json
import math
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

SHORT = 12  # digits of a digest that people need to see


class Report(Protocol):
    """Told how far a job is."""

    def __call__(self, done: int, total: int, label: str) -> None:
        """`done` of `total` steps of the part called `label`."""


def console() -> Console:
    """Standard output; not wrapped to eighty columns where it is not a terminal.

    What is printed is taken as it is: "[laughter]" in a transcript or "demo[seed 1]" is a name and no markup to be obeyed.
    """
    width = None if Console().is_terminal else 200
    return Console(width=width, soft_wrap=False, markup=False, emoji=False)


def short(digest: str | None) -> str:
    """The beginning of a digest or id, enough to type."""
    return (digest or "")[:SHORT]


def plain(value: Any) -> Any:
    """A value of the record as JSON."""
    if isinstance(value, (uuid.UUID, datetime)):
        return str(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(v, tuple) and len(v) == 2 for v in value):
            return {str(k): plain(v) for k, v in value}  # an Arrow map
        return [plain(v) for v in value]
    return value


def _cell(value: Any) -> str:
    value = plain(value)
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def print_rows(rows: pa.Table | Sequence[dict[str, Any]], *, as_json: bool = False, as_csv: bool = False) -> None:
    """Print rows as a table, or as a JSON array, or as CSV with a header."""
    if isinstance(rows, pa.Table):
        names, records = rows.column_names, rows.to_pylist()
    else:
        names, records = (list(rows[0]) if rows else []), list(rows)
    if as_json:
        print_json([plain(r) for r in records])
    elif as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(names)
        writer.writerows([_cell(r[n]) for n in names] for r in records)
    else:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in names:
            numeric = records and all(isinstance(r[name], (int, float)) or r[name] is None for r in records)
            table.add_column(name, justify="right" if numeric else "left", overflow="fold")
        for r in records:
            table.add_row(*(_cell(r[n]) for n in names))
        console().print(table)
        if not records:
            console().print("(no rows)", style="dim")


def print_json(value: Any) -> None:
    """Print what is JSON already."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def percent(rate: float | None) -> float | None:
    """A rate in per cent, for a cell of a table; None where there is none."""
    return None if rate is None or math.isnan(rate) else round(100 * rate, 2)


def span(low: float | None, high: float | None, how: str = "+.1f") -> str:
    """The ends of an interval of rates, in points; empty where they are not known."""
    return "" if low is None or high is None or math.isnan(low) else f"{100 * low:{how}} to {100 * high:{how}}"


def strong(text: str, rest: str) -> Text:
    """A line that begins in bold."""
    return Text.assemble((text, "bold"), rest)


def say(text: str | Text) -> None:
    """One line for a person."""
    console().print(text, highlight=False)


def say_failures(failures: Mapping[str, str]) -> None:
    """A line for each retraining that could not be done."""
    for name, error in failures.items():
        say(f"failed: {name}: {error.strip().splitlines()[-1]}")


@contextmanager
def progress(title: str) -> Iterator[Report]:
    """Report long work: a bar with the time left on a terminal, a line every few seconds in a log."""
    errors = Console(stderr=True)
    if errors.is_terminal:
        columns = (
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=errors, transient=True) as bar:
            task = bar.add_task(title, total=None)

            def show(done: int, total: int, label: str) -> None:
                bar.update(task, completed=done, total=total, description=f"{title}: {label}" if label else title)

            yield show
        return
    last = time.monotonic()
    told = False

    def line(done: int, total: int, label: str) -> None:
        nonlocal last, told
        now = time.monotonic()
        if now - last >= 5.0 or (done == total and told):
            last, told = now, True
            sys.stderr.write(f"{title}: {done}/{total} {label}\n")
            sys.stderr.flush()

    yield line
