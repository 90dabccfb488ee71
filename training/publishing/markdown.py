"""How a card writes things: text that Markdown cannot take for markup, tables, rates, intervals and durations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any


def heading(title: str, body: str) -> str:
    """A part of a card."""
    return f"## {title}\n\n{body}"


def cell(value: Any) -> str:
    """Text that Markdown shows as it is, in one line."""
    plain = "".join(c if c.isprintable() else " " for c in str(value))
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#!&" else c for c in plain)


def code(text: str) -> str:
    """Text for between back quotes."""
    return "".join(c if c.isprintable() and c != "`" else " " for c in text)


def table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; what is quoted as code in a cell stays as it is."""
    lines = [names, ["---"] * len(names)]
    shown = [
        [c if isinstance(c, str) and c.startswith("`") else cell("" if c is None else c) for c in row] for row in rows
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (*lines, *shown))


def percent(rate: float) -> str:
    """A rate in per cent."""
    return f"{100 * rate:.1f} %"


def points(rate: float | None) -> str:
    """A change of a rate in points, with its sign."""
    return "" if rate is None else f"{100 * rate:+.1f}"


def interval(low: float | None, high: float | None, show: Any = percent) -> str:
    """The ends of an interval; says so where there is none."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return "too few speakers"
    return f"{show(low)} to {show(high)}"


def hours(seconds: float | None) -> str:
    """A duration in hours."""
    return "" if seconds is None else f"{seconds / 3600:.3g}"
