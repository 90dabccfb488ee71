"""The matrix: training slices down, evaluation slices across, what was measured on the left and what was predicted beside it.

A measured cell holds the change, its interval and a sign for the verdict; a predicted cell the sum of influences, under a
heading that carries their fidelity. A cell that may not be shown (an effect without interval) says so with a dash. Colour
follows the sign, blue where the slice helps and orange where it hurts, and only repeats what the numbers say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dashboard import palette
from influence.report.markup import Markup, tag

Key = tuple[str, str]  # training slice, evaluation slice


@dataclass(frozen=True)
class Cell:
    """One cell: its number, what stands under it, the value that colours it, and all of it in words."""

    number: str
    under: str
    value: float
    label: str
    sure: bool = True


@dataclass(frozen=True)
class Panel:
    """One half of the matrix: heading, what stands under the heading, cells, and the value at the ends of its colours."""

    heading: str
    note: str
    unit: str
    cells: Mapping[Key, Cell]
    largest: float
    wide: bool


@dataclass(frozen=True)
class Heading:
    """A slice as a row's or column's heading: what it is called on record, its attribute and its value."""

    slice: str
    attribute: str
    value: str


def matrix(
    rows: Sequence[Heading], columns: Sequence[Heading], panels: Sequence[Panel], *, chosen: Key | None, caption: str
) -> Markup:
    """The whole table; picking a cell reports `training slice|evaluation slice`."""
    head = [
        tag("tr", [_corner(), *(_panel_head(p, len(columns)) for p in panels)]),
        tag("tr", [cell for p in panels for cell in _attribute_heads(columns)]),
        tag("tr", [cell for p in panels for cell in _value_heads(columns)]),
    ]
    body = [
        tag("tr", [_row_head(rows, i), *(c for p in panels for c in _cells(p, row, columns, chosen))])
        for i, row in enumerate(rows)
    ]
    inside = [tag("caption", caption, class_="em-hidden"), tag("thead", head), tag("tbody", body)]
    return tag(
        "div",
        tag("table", inside, class_="em-matrix"),
        class_="em-scroll",
        role="region",
        aria_label=caption,
        tabindex=0,
    )


def scale(panel: Panel, ends: tuple[str, str]) -> Markup:
    """The colours of a panel, with what its ends stand for."""
    bar = tag("span", class_="em-scale", style=f"background:{palette.gradient()}", aria_hidden="true")
    return tag(
        "span", [tag("span", f"−{ends[0]}"), bar, tag("span", f"+{ends[1]} {panel.unit}")], class_="em-scaleline"
    )


def _corner() -> Markup:
    return tag(
        "td",
        [tag("span", "left out of training ↓", class_="em-down"), tag("span", "errors on →", class_="em-across")],
        rowspan=3,
        class_="em-corner",
    )


def _panel_head(panel: Panel, width: int) -> Markup:
    inside = [tag("b", panel.heading), tag("span", panel.note, class_="em-panelnote")]
    return tag("th", inside, colspan=width, scope="colgroup", class_="em-panel em-first")


def _attribute_heads(columns: Sequence[Heading]) -> list[Markup]:
    heads: list[Markup] = []
    start = 0
    for i in range(1, len(columns) + 1):
        if i == len(columns) or columns[i].attribute != columns[start].attribute:
            first = " em-first" if start == 0 else ""
            heads.append(
                tag("th", columns[start].attribute, colspan=i - start, scope="colgroup", class_=f"em-attribute{first}")
            )
            start = i
    return heads


def _value_heads(columns: Sequence[Heading]) -> list[Markup]:
    return [
        tag("th", c.value, scope="col", class_="em-value em-first" if i == 0 else "em-value")
        for i, c in enumerate(columns)
    ]


def _row_head(rows: Sequence[Heading], index: int) -> Markup:
    row = rows[index]
    new = index == 0 or rows[index - 1].attribute != row.attribute
    attribute = tag("span", f"{row.attribute} ", class_="em-rowattribute") if row.attribute and new else ""
    hidden = tag("span", f"{row.attribute} ", class_="em-hidden") if row.attribute and not new else ""
    return tag("th", [attribute, hidden, row.value], scope="row", class_="em-newgroup" if new and index else None)


def _cells(panel: Panel, row: Heading, columns: Sequence[Heading], chosen: Key | None) -> list[Markup]:
    out = []
    for i, column in enumerate(columns):
        key = (row.slice, column.slice)
        cell = panel.cells.get(key)
        first = "em-first" if i == 0 else None
        if cell is None:
            out.append(tag("td", tag("span", "–", title="not on record", class_="em-none"), class_=first))
            continue
        colours = palette.shade(cell.value, panel.largest)
        inside = [tag("b", cell.number)]
        if cell.under:
            inside.append(tag("span", cell.under))
        classes = ["em-cell", "em-broad" if panel.wide else "em-narrow"]
        classes += ["em-unsure"] if not cell.sure else []
        button = tag(
            "button", inside, type="button", class_=" ".join(classes), data_pick=f"{key[0]}|{key[1]}", aria_label=cell.label,
            title=cell.label, aria_pressed="true" if key == chosen else "false",
            style=f"background:{colours.fill};color:{colours.ink}",
        )  # fmt: skip
        out.append(tag("td", button, class_=first))
    return out
