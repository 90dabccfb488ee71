"""A forest plot: for each thing that was done a dot, its whisker and its control on one axis, in a table that reads them out.

Every row has a drawing of its own, so a plot of sixty slices breaks over printed pages with the axis on each. A filled dot is
the change with its interval, a hollow diamond below it what the same does to random samples, the band around zero what counts
as none. Where there is no interval nothing is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

from influence.plans.hypotheses import SCALE
from influence.report import words
from influence.statistics.effects import Effect
from lineage import formats
from lineage.markup import Markup, join, tag
from lineage.selection.slices import WHOLE

HEIGHT = 30  # of a row, in CSS pixels
ABOVE, BELOW = 11, 22  # where the change and its control stand in it


def forest(effects: Sequence[Effect], caption: str) -> Markup:
    """The plot of effects of one metric, the largest rise first; empty if there are none."""
    if not effects:
        return Markup("")
    metric = effects[0].metric
    ordered = sorted(effects, key=lambda e: (not words.known(e), -e.estimate, words.done(e), e.eval_slice))
    low, high, step = _axis(ordered)
    controlled = any(e.control is not None for e in ordered)
    several = any(e.eval_slice not in (e.train_slice, WHOLE.name) for e in ordered)
    unit = words.unit(metric)
    head = [
        tag("th", _doing(ordered), scope="col"),
        *([tag("th", "Errors on", scope="col")] if several else []),
        tag("th", _ticks(low, high, step, metric), scope="col", class_="plot"),
        tag("th", f"Change, {unit}" if unit else "Change", scope="col", class_="number"),
        *([tag("th", "At random", scope="col", class_="number")] if controlled else []),
        *([tag("th", "Beyond random", scope="col", class_="number")] if controlled else []),
        tag("th", "p, corrected", scope="col", class_="number"),
        tag("th", "Verdict", scope="col"),
    ]
    body = [_row(e, low, high, controlled, several, all(map(words.removed, ordered))) for e in ordered]
    return tag("table", [tag("caption", caption), tag("thead", tag("tr", head)), tag("tbody", body)], class_="forest")


def verdict(said: str) -> Markup:
    """A verdict with its mark."""
    name = words.CLASSES[words.kind(said)]
    return tag(
        "span", [tag("span", words.mark(said), class_="mark", aria_hidden="true"), said], class_=f"verdict {name}"
    )


def name(text: str) -> Markup:
    """A name out of the data, which cannot turn the direction of the text around it."""
    return tag("bdi", text)


def figures(metric: str, value: float | None, low: float | None, high: float | None) -> list[str | Markup]:
    """A change above its interval."""
    if value is None:
        return [formats.UNKNOWN]
    if low is None or high is None:
        return [tag("span", words.NONE, class_="ends")]
    return [tag("b", words.number(metric, value)), tag("span", words.interval(metric, low, high), class_="ends")]


def _doing(effects: Sequence[Effect]) -> str:
    return "Without" if all(map(words.removed, effects)) else "What was done"


def _axis(effects: Sequence[Effect]) -> tuple[float, float, float]:
    scale = _scale(effects[0].metric)
    ends = [e for x in effects if words.known(x) for e in (x.low, x.high, x.control_low, x.control_high)]
    there = [scale * e for e in ends if e is not None]
    margin = max((scale * e.margin for e in effects if e.margin is not None), default=0.0)
    reach = max(map(abs, there), default=0.0)
    band = [-margin, margin] if margin <= 1.5 * reach else []  # a wide band would leave the whiskers no room
    return formats.axis(min([*there, *band], default=0.0), max([*there, *band], default=0.0))


def _scale(metric: str) -> float:
    return SCALE.get(metric, 1.0)


def _row(e: Effect, low: float, high: float, controlled: bool, several: bool, bare: bool) -> Markup:
    label = e.train_slice if bare else words.done(e)
    random = figures(e.metric, e.control, e.control_low, e.control_high)
    beyond = figures(e.metric, e.difference, e.difference_low, e.difference_high)
    return tag(
        "tr",
        [
            tag("th", name(label), scope="row"),
            *([tag("td", name(e.eval_slice))] if several else []),
            tag("td", _drawing(e, low, high), class_="plot"),
            tag("td", figures(e.metric, e.estimate, e.low, e.high), class_="number"),
            *([tag("td", random, class_="number"), tag("td", beyond, class_="number")] if controlled else []),
            tag("td", words.p_value(e.p_adjusted), class_="number"),
            tag("td", verdict(e.verdict)),
        ],
    )


def _drawing(e: Effect, low: float, high: float) -> Markup:
    scale = _scale(e.metric)

    def x(value: float) -> str:
        return f"{min(100.0, max(0.0, 100 * (scale * value - low) / (high - low))):.2f}%"

    parts: list[Markup] = [tag("title", words.sentence(e))]
    if e.margin is not None and words.known(e):
        left, right = (min(100.0, max(0.0, 100 * (s * scale * e.margin - low) / (high - low))) for s in (-1, 1))
        parts.append(tag("rect", x=f"{left:.2f}%", width=f"{right - left:.2f}%", y=0, height=HEIGHT, class_="band"))
    parts.append(tag("line", x1=x(0), x2=x(0), y1=0, y2=HEIGHT, class_="zero"))
    if e.low is not None and e.high is not None:
        if e.control is not None and e.control_low is not None and e.control_high is not None:
            parts.append(tag("line", x1=x(e.control_low), x2=x(e.control_high), y1=BELOW, y2=BELOW, class_="random"))
            diamond = tag("path", d="M-4 0L0 -4L4 0L0 4Z", class_="random")
            parts.append(tag("svg", diamond, x=x(e.control), y=BELOW, overflow="visible"))
        parts.append(tag("line", x1=x(e.low), x2=x(e.high), y1=ABOVE, y2=ABOVE, class_="whisker"))
        parts += [tag("line", x1=x(v), x2=x(v), y1=ABOVE - 4, y2=ABOVE + 4, class_="whisker") for v in (e.low, e.high)]
        parts.append(tag("circle", cx=x(e.estimate), cy=ABOVE, r=4.5, class_="dot"))
    return tag("svg", parts, width="100%", height=HEIGHT, role="img")


def _ticks(low: float, high: float, step: float, metric: str) -> Markup:
    first, last = round(low / step), round(high / step)
    decimals = formats.decimals_for(step, 1)
    marks = []
    for i in range(first, last + 1):
        at = 100 * (i - first) / (last - first)
        anchor = "start" if at < 1 else "end" if at > 99 else "middle"
        said = formats.signed(i * step, decimals) if i else "0"
        minor = "minor" if i % 2 else None  # left out where space is short
        marks.append(tag("text", said, x=f"{at:.2f}%", y=12, text_anchor=anchor, class_=minor))
    title = tag("title", f"Axis of changes of {words.metric_name(metric)}, {low:g} to {high:g} {words.unit(metric)}")
    return tag("svg", [title, join(marks)], width="100%", height=16, role="img")
