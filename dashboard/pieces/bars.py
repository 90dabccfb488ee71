"""Amounts by value, as a table with bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.pieces.tables import Column, Row, table
from influence.report.markup import Markup, tag


@dataclass(frozen=True)
class Bar:
    """One line: its name, its amount as a number and as text, and further columns as text."""

    name: str
    amount: float
    shown: str
    more: Sequence[str] = ()


def bars(rows: Sequence[Bar], *, columns: Sequence[str], caption: str) -> Markup:
    """One bar for each row, all on a scale from zero. `columns`: headings of name, amount and the further columns."""
    largest = max((r.amount for r in rows), default=0.0) or 1.0
    name, amount, *more = columns
    head = [Column(name), Column("", wide=True), Column(amount, number=True), *(Column(m, number=True) for m in more)]
    lines = []
    for r in rows:
        bar = tag("span", class_="em-bar", style=f"width:{100 * r.amount / largest:.1f}%", aria_hidden="true")
        lines.append(Row([r.name, bar, r.shown, *r.more]))
    return table(head, lines, caption=caption)
