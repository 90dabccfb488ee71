"""A row's drawing: a dot with its whisker on an axis that other rows share, below it a hollow diamond, its comparison.

Every row has a drawing of its own, so a plot of sixty rows breaks over printed pages. Where there is no interval nothing is
drawn. Values are in the units that the figures beside are printed in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from influence.report import formats
from influence.report.markup import Markup, join, tag

HEIGHT = 30  # of a row, in CSS pixels
ABOVE, BELOW = 11, 22  # where the dot and the diamond stand in it

Axis = tuple[float, float, float]  # both ends, and the step of the ticks


@dataclass(frozen=True)
class Bar:
    """A figure with both ends of its interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float | None, low: float | None, high: float | None, scale: float = 1.0) -> Bar | None:
        """The figure in units of 1 / `scale`; None where any part of it is not known."""
        if value is None or low is None or high is None or not all(map(math.isfinite, (value, low, high))):
            return None
        return cls(scale * value, scale * low, scale * high)


def axis_of(bars: Iterable[Bar | None], margin: float = 0.0) -> Axis:
    """An axis for all of them; a `margin` that would leave the whiskers no room is not on it."""
    there = [end for bar in bars if bar is not None for end in (bar.low, bar.high)]
    band = [-margin, margin] if margin <= 1.5 * max(map(abs, there), default=0.0) else []
    return formats.axis(min([*there, *band], default=0.0), max([*there, *band], default=0.0))


def strip(said: str, axis: Axis, dot: Bar | None, diamond: Bar | None = None, band: float | None = None) -> Markup:
    """The drawing; `said` reads it out, `band` is half the width of what counts as none."""
    low, high, _ = axis

    def share(value: float) -> float:
        return min(100.0, max(0.0, 100 * (value - low) / (high - low)))

    def x(value: float) -> str:
        return f"{share(value):.2f}%"

    parts: list[Markup] = [tag("title", said)]
    if band is not None and dot is not None:
        width = share(band) - share(-band)
        parts.append(tag("rect", x=x(-band), width=f"{width:.2f}%", y=0, height=HEIGHT, class_="band"))
    parts.append(tag("line", x1=x(0), x2=x(0), y1=0, y2=HEIGHT, class_="zero"))
    if dot is not None:
        if diamond is not None:
            parts.append(tag("line", x1=x(diamond.low), x2=x(diamond.high), y1=BELOW, y2=BELOW, class_="random"))
            shape = tag("path", d="M-4 0L0 -4L4 0L0 4Z", class_="random")
            parts.append(tag("svg", shape, x=x(diamond.value), y=BELOW, overflow="visible"))
        parts.append(tag("line", x1=x(dot.low), x2=x(dot.high), y1=ABOVE, y2=ABOVE, class_="whisker"))
        parts += [
            tag("line", x1=x(v), x2=x(v), y1=ABOVE - 4, y2=ABOVE + 4, class_="whisker") for v in (dot.low, dot.high)
        ]
        parts.append(tag("circle", cx=x(dot.value), cy=ABOVE, r=4.5, class_="dot"))
    return tag("svg", parts, width="100%", height=HEIGHT, role="img")


def ticks(axis: Axis, said: str) -> Markup:
    """The axis with its numbers, for the head of the column; `said` reads it out."""
    low, high, step = axis
    first, last = round(low / step), round(high / step)
    decimals = formats.decimals_for(step, 1)
    marks = []
    for i in range(first, last + 1):
        at = 100 * (i - first) / (last - first)
        anchor = "start" if at < 1 else "end" if at > 99 else "middle"
        shown = formats.signed(i * step, decimals) if i else "0"
        minor = "minor" if i % 2 else None  # left out where space is short
        marks.append(tag("text", shown, x=f"{at:.2f}%", y=12, text_anchor=anchor, class_=minor))
    title = tag("title", f"Axis of {said}, {low:g} to {high:g}")
    return tag("svg", [title, join(marks)], width="100%", height=16, role="img")
