"""What the sections of the page are put together from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from influence.report import formats
from influence.report.markup import Content, Markup, join, tag

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


def table(
    caption: Content,
    heads: Sequence[Content],
    rows: Iterable[Sequence[Content]],
    numbers: Sequence[int] = (),
    plots: Sequence[int] = (),
) -> Markup:
    """A table whose first column names its rows; `numbers` are the columns set to the right, `plots` those of drawings."""
    kinds = {**dict.fromkeys(numbers, "number"), **dict.fromkeys(plots, "plot")}
    head = [tag("th", h, scope="col", class_=kinds.get(i)) for i, h in enumerate(heads)]
    body = [
        tag("tr", [tag("td", c, class_=kinds.get(i)) if i else tag("th", c, scope="row") for i, c in enumerate(row)])
        for row in rows
    ]
    inside = [titled(caption), tag("thead", tag("tr", head)), tag("tbody", body)]
    return tag("table", inside, class_="forest" if plots else None)


def titled(caption: Content) -> Markup:
    """A caption that stays in view where its table is wider than the screen."""
    return tag("caption", tag("div", caption))


def passed(said: str, good: bool | None) -> Markup:
    """What became of a test, in a word with its mark; None: it is open."""
    mark = tag("span", "?" if good is None else "✓" if good else "✗", class_="mark", aria_hidden="true")
    return tag("span", [mark, said], class_="verdict" if good is None else f"verdict {'good' if good else 'bad'}")


def plural(number: int, noun: str, nouns: str | None = None) -> str:
    """A counted noun."""
    return formats.count(number, noun, nouns)
