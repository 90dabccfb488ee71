"""A row of figures: a label, a number and a remark for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from influence.report.markup import Markup, tag


@dataclass(frozen=True)
class Figure:
    """One number with its label, and what else to know about it."""

    label: str
    value: str
    remark: str = ""


def figures(row: Sequence[Figure]) -> Markup:
    """The figures side by side; as many to a line as fit."""
    cells = [
        tag(
            "div",
            [tag("dt", f.label), tag("dd", f.value), tag("dd", f.remark, class_="em-remark") if f.remark else ""],
        )
        for f in row
    ]
    return tag("dl", cells, class_="em-figures")
