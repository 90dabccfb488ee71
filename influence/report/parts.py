"""What the sections of the page are put together from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lineage import formats
from lineage.markup import Content, Markup, join, tag

Fact = tuple[str, Content]


def section(title: str, *parts: Markup) -> Markup:
    """A part of the page under a heading; wide tables scroll on small screens."""
    shown = [tag("div", p, class_="scroll") if p.startswith("<table") else p for p in parts if p]
    return tag("section", join([tag("h2", title), *shown], "\n"))


def paragraph(*content: str | Markup) -> Markup:
    """A paragraph."""
    return tag("p", content)


def facts(rows: Iterable[Fact]) -> Markup:
    """Names with what they stand for; those without anything are left out."""
    return tag("dl", [join([tag("dt", n), tag("dd", c)]) for n, c in rows if c], class_="facts")


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[Content]], numbers: Sequence[int] = ()) -> Markup:
    """A table whose first column names its rows; `numbers` are the columns set to the right."""
    head = [tag("th", h, scope="col", class_="number" if i in numbers else None) for i, h in enumerate(heads)]
    body = [
        tag("tr", [
            tag("th", c, scope="row") if i == 0 else tag("td", c, class_="number" if i in numbers else None)
            for i, c in enumerate(row)
        ])
        for row in rows
    ]  # fmt: skip
    return tag("table", [tag("caption", caption), tag("thead", tag("tr", head)), tag("tbody", body)])


def plural(number: int, noun: str, nouns: str | None = None) -> str:
    """A counted noun."""
    return formats.count(number, noun, nouns)
