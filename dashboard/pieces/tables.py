"""Tables: real ones, with a caption for those who cannot see them, rows that may be picked, and a pager."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from influence.report.markup import Content, Markup, tag, text

if TYPE_CHECKING:
    from dashboard.queries import Page


@dataclass(frozen=True)
class Column:
    """A column's heading; numbers stand to the right. `help` is shown when the heading is pointed at."""

    heading: str
    number: bool = False
    help: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Row:
    """A row's cells. `pick` makes its first cell a button that reports it; `chosen` marks the row."""

    cells: Sequence[Content]
    pick: str | None = None
    chosen: bool = False
    label: str | None = None


def table(columns: Sequence[Column], rows: Sequence[Row], *, caption: str, visible_caption: bool = False) -> Markup:
    """A table that scrolls sideways where it has to; `caption` says what it holds."""
    head = [tag("th", c.heading, scope="col", class_=_class(c), title=c.help or None) for c in columns]
    body = [_row(columns, row) for row in rows]
    inside = [
        tag("caption", caption, class_=None if visible_caption else "em-hidden"),
        tag("thead", tag("tr", head)),
        tag("tbody", body),
    ]
    return tag(
        "div",
        tag("table", inside, class_="em-table"),
        class_="em-scroll",
        tabindex=0,
        role="region",
        aria_label=caption,
    )


def pager(page: Page[Any], pick: str = "page") -> Markup:
    """Where one is in a longer list, with buttons to the neighbouring pages; nothing if there is but one page."""
    if page.pages < 2:
        return Markup("")
    first, last = page.number * page.size + 1, min(page.total, (page.number + 1) * page.size)
    where = tag("span", f"{first:,}–{last:,} of {page.total:,}")
    previous = _step("‹ Previous", pick, page.number, page.number > 0)
    following = _step("Next ›", pick, page.number + 2, page.number + 1 < page.pages)
    return tag("nav", [previous, where, following], class_="em-pager", aria_label="Pages of the list")


def chips(attributes: Sequence[tuple[str, str]]) -> Markup:
    """Attributes of a sample as small labels."""
    return tag(
        "span",
        [tag("span", [tag("i", f"{name} "), value], class_="em-chip") for name, value in attributes],
        class_="em-chips",
    )


def digest(value: str | None, digits: int = 12) -> Markup:
    """The beginning of a digest, the whole of it when pointed at."""
    return tag("code", (value or "–")[:digits], title=value or None)


def _step(label: str, pick: str, number: int, enabled: bool) -> Markup:
    return tag("button", label, type="button", data_pick=f"{pick}:{number}", disabled=not enabled, class_="em-link")


def _class(column: Column) -> str | None:
    return " ".join(n for n, on in (("em-number", column.number), ("em-wide", column.wide)) if on) or None


def _row(columns: Sequence[Column], row: Row) -> Markup:
    cells = []
    for index, (column, content) in enumerate(zip(columns, row.cells, strict=True)):
        inside = text(content)
        if index == 0 and row.pick is not None:
            inside = tag(
                "button", inside, type="button", class_="em-pick", data_pick=row.pick, aria_label=row.label,
                aria_pressed="true" if row.chosen else "false",
            )  # fmt: skip
        name = "th" if index == 0 else "td"
        cells.append(tag(name, inside, scope="row" if index == 0 else None, class_=_class(column)))
    return tag("tr", cells, class_="em-chosen" if row.chosen else None)
