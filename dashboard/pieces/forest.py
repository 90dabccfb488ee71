"""A forest plot of rates: a dot and a whisker for each slice on one axis, in a table that reads out the numbers.

Slices of one attribute stand together, highest rate first; a dashed line marks the rate of the whole set. A row is a button.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.measures import Rate
from influence.report import formats
from influence.report.markup import Markup, tag


@dataclass(frozen=True)
class Line:
    """One slice: what picking it reports, the group and the name that it goes under, and what stands behind it."""

    pick: str
    group: str
    name: str
    rate: Rate
    speakers: int
    samples: int
    words: int


def forest(lines: Sequence[Line], *, whole: Rate | None, chosen: str | None, heading: str, caption: str) -> Markup:
    """The plot. `whole` is where the dashed line stands; `heading` names the rate and its unit."""
    metric = lines[0].rate.metric if lines else "wer"
    scale = 1.0 if metric == "loss" else 100.0
    reach = max((scale * (r.ends.high if r.ends else r.value) for r in (line.rate for line in lines)), default=1.0)
    _, end, step = formats.axis(0.0, reach)
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(line.group, []).append(line)
    body: list[Markup] = []
    for group, members in groups.items():
        if group and len(groups) > 1:
            body.append(
                tag("tr", tag("th", group, colspan=6, scope="rowgroup", class_="em-group"), class_="em-grouprow")
            )
        for line in sorted(members, key=lambda m: (-m.rate.value, m.name)):
            body.append(_row(line, chosen, scale, end, whole))
    head = tag(
        "tr",
        [
            tag("th", "Slice", scope="col"),
            tag(
                "th",
                _ticks(end, step, f"{formats.GAP}%" if metric == "wer" else ""),
                scope="col",
                class_="em-wide",
                aria_label=f"{heading}, from 0 to {end:g}",
            ),
            tag("th", heading, scope="col", class_="em-number"),
            tag("th", "Speakers", scope="col", class_="em-number"),
            tag("th", "Utterances", scope="col", class_="em-number em-minor"),
            tag("th", "Words", scope="col", class_="em-number"),
        ],
    )
    inside = [tag("caption", caption, class_="em-hidden"), tag("thead", head), tag("tbody", body)]
    return tag(
        "div",
        tag("table", inside, class_="em-table em-forest"),
        class_="em-scroll",
        role="region",
        aria_label=caption,
        tabindex=0,
    )


def _ticks(end: float, step: float, unit: str) -> Markup:
    places = [i * step for i in range(round(end / step) + 1)]
    marks = [
        tag("span", f"{p:g}" + (unit if i == len(places) - 1 else ""), style=f"left:{100 * p / end:.2f}%")
        for i, p in enumerate(places)
    ]
    return tag("span", marks, class_="em-axis", aria_hidden="true")


def _row(line: Line, chosen: str | None, scale: float, end: float, whole: Rate | None) -> Markup:
    picked = line.pick == chosen
    label = (
        f"{line.group + ' ' if line.group else ''}{line.name}: {line.rate.short()}, {formats.count(line.speakers, 'speaker')}, "
        f"{formats.count(line.words, 'word')}; show its utterances"
    )
    button = tag(
        "button", line.name, type="button", class_="em-pick", data_pick=line.pick, aria_label=label,
        aria_pressed="true" if picked else "false",
    )  # fmt: skip
    cells = [
        tag("th", button, scope="row"),
        tag("td", _whisker(line.rate, scale, end, whole), class_="em-wide"),
        tag(
            "td",
            [tag("b", line.rate.number), tag("span", f" {line.rate.interval}", class_="em-ends")],
            class_="em-number",
        ),
        tag("td", formats.number(line.speakers), class_="em-number"),
        tag("td", formats.number(line.samples), class_="em-number em-minor"),
        tag("td", formats.number(line.words), class_="em-number"),
    ]
    return tag("tr", cells, class_="em-chosen" if picked else None)


def _whisker(rate: Rate, scale: float, end: float, whole: Rate | None) -> Markup:
    def place(value: float) -> float:
        return max(0.0, min(100.0, 100 * scale * value / end))

    parts = []
    if whole is not None:
        parts.append(tag("i", class_="em-whole", style=f"left:{place(whole.value):.2f}%"))
    if rate.ends is not None:
        low, high = place(rate.ends.low), place(rate.ends.high)
        parts.append(tag("i", class_="em-whisker", style=f"left:{low:.2f}%;width:{max(high - low, 0.2):.2f}%"))
    parts.append(
        tag(
            "i", class_="em-dot" if rate.ends is not None else "em-dot em-alone", style=f"left:{place(rate.value):.2f}%"
        )
    )
    return tag("span", parts, class_="em-plot", aria_hidden="true")
