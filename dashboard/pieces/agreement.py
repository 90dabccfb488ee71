"""Predicted against measured, one dot for each cell of the matrix: what the fidelity is the summary of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from dashboard import palette


@dataclass(frozen=True)
class Dot:
    """One cell: prediction, measured change with both ends of its interval, and what to call it."""

    cell: str
    verdict: str
    predicted: float
    measured: float
    low: float
    high: float


def agreement(dots: Sequence[Dot], *, predicted: str, measured: str) -> alt.LayerChart | alt.FacetChart:
    """A scatter plot with the measured intervals; `predicted` and `measured` are the axes' titles."""
    values: list[dict[str, Any]] = [d.__dict__ for d in dots]
    across = alt.X("predicted:Q", title=predicted, axis=alt.Axis(format="~g"))
    base = alt.Chart(alt.InlineData(values=values)).encode(x=across)
    zero = alt.InlineData(values=[{"zero": 0}])
    rules = [
        alt.Chart(zero).mark_rule(color=palette.LINE).encode(x="zero:Q"),
        alt.Chart(zero).mark_rule(color=palette.LINE).encode(y="zero:Q"),
    ]
    whiskers = base.mark_rule(color="#9aa5b1", opacity=0.7).encode(y=alt.Y("low:Q", title=measured), y2="high:Q")
    points = base.mark_point(filled=True, size=60, opacity=0.9).encode(
        y=alt.Y("measured:Q", title=measured),
        color=alt.Color(
            "verdict:N",
            title=None,
            legend=alt.Legend(orient="bottom", columns=2, labelLimit=300),
            scale=alt.Scale(
                domain=["helps", "hurts", "no effect larger than the margin", "not identifiable"],
                range=[palette.POSITIVE, palette.NEGATIVE, "#5b6673", "#a0abb8"],
            ),
        ),
        shape=alt.Shape(
            "verdict:N",
            title=None,
            legend=alt.Legend(orient="bottom", columns=2, labelLimit=300),
            scale=alt.Scale(
                domain=["helps", "hurts", "no effect larger than the margin", "not identifiable"],
                range=["triangle-up", "triangle-down", "square", "circle"],
            ),
        ),
        tooltip=[
            alt.Tooltip("cell:N", title="cell"),
            alt.Tooltip("verdict:N", title="verdict"),
            alt.Tooltip("predicted:Q", title="predicted", format="+.3g"),
            alt.Tooltip("measured:Q", title="measured", format="+.3g"),
            alt.Tooltip("low:Q", title="from", format="+.3g"),
            alt.Tooltip("high:Q", title="to", format="+.3g"),
        ],
    )
    return alt.layer(*rules, whiskers, points).properties(height=320)
