"""A forest plot: for each thing that was done a dot, its whisker and its control on one axis, in a table that reads them out.

A filled dot is the change with its interval, a hollow diamond below it what the same does to random samples, the band around
zero what counts as none (see `strip`). Below the audit's own p-value of WER stands that of MAPSSWE, where it is on record.
"""

from __future__ import annotations

from collections.abc import Sequence

from influence.plans.hypotheses import SCALE
from influence.report import formats, words
from influence.report.markup import Markup, tag
from influence.report.parts import titled
from influence.report.strip import Axis, Bar, axis_of, strip, ticks
from influence.statistics.effects import Effect
from lineage.selection.slices import WHOLE


def forest(effects: Sequence[Effect], caption: str) -> Markup:
    """The plot of effects of one metric, the largest rise first; empty if there are none."""
    if not effects:
        return Markup("")
    metric = effects[0].metric
    ordered = sorted(effects, key=lambda e: (not words.known(e), -e.estimate, words.done(e), e.eval_slice))
    axis = _axis(ordered)
    controlled = any(e.control is not None for e in ordered)
    paired = any(e.mapsswe_p is not None for e in ordered)
    several = any(e.eval_slice not in (e.train_slice, WHOLE.name) for e in ordered)
    unit = words.unit(metric)
    head = [
        tag("th", _doing(ordered), scope="col"),
        *([tag("th", "Errors on", scope="col")] if several else []),
        tag(
            "th",
            ticks(axis, f"changes of {words.metric_name(metric)} in {unit or 'its unit'}"),
            scope="col",
            class_="plot",
        ),
        tag("th", f"Change, {unit}" if unit else "Change", scope="col", class_="number"),
        *([tag("th", "At random", scope="col", class_="number")] if controlled else []),
        *([tag("th", "Beyond random", scope="col", class_="number")] if controlled else []),
        tag(
            "th",
            ["p, corrected", *([tag("span", "MAPSSWE", class_="ends")] if paired else [])],
            scope="col",
            class_="number",
        ),
        tag("th", "Verdict", scope="col"),
    ]
    bare = all(map(words.removed, ordered))
    body = [_row(e, axis, controlled, several, paired, bare) for e in ordered]
    return tag("table", [titled(caption), tag("thead", tag("tr", head)), tag("tbody", body)], class_="forest")


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


def _axis(effects: Sequence[Effect]) -> Axis:
    margin = max((_scale(e.metric) * e.margin for e in effects if e.margin is not None), default=0.0)
    return axis_of((bar for e in effects for bar in (_change(e), _random(e)) if words.known(e)), margin)


def _change(e: Effect) -> Bar | None:
    return Bar.of(e.estimate, e.low, e.high, _scale(e.metric))


def _random(e: Effect) -> Bar | None:
    return Bar.of(e.control, e.control_low, e.control_high, _scale(e.metric))


def _scale(metric: str) -> float:
    return SCALE.get(metric, 1.0)


def _row(e: Effect, axis: Axis, controlled: bool, several: bool, paired: bool, bare: bool) -> Markup:
    label = e.train_slice if bare else words.done(e)
    random = figures(e.metric, e.control, e.control_low, e.control_high)
    beyond = figures(e.metric, e.difference, e.difference_low, e.difference_high)
    beside = [tag("span", words.p_value(e.mapsswe_p), class_="ends")] if paired else []
    band = None if e.margin is None else _scale(e.metric) * e.margin
    return tag(
        "tr",
        [
            tag("th", name(label), scope="row"),
            *([tag("td", name(e.eval_slice))] if several else []),
            tag("td", strip(words.sentence(e), axis, _change(e), _random(e), band), class_="plot"),
            tag("td", figures(e.metric, e.estimate, e.low, e.high), class_="number"),
            *([tag("td", random, class_="number"), tag("td", beyond, class_="number")] if controlled else []),
            tag("td", [words.p_value(e.p_adjusted), *beside], class_="number"),
            tag("td", verdict(e.verdict)),
        ],
    )
