"""Causes: raw gaps between slices of the errors beside adjusted ones, the causal graph, and the attempts to refute them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from influence.causes.compared import Judged
from influence.causes.graph import CausalGraph
from influence.causes.refutation import COMMON_CAUSE, PLACEBO, SUBSET, Refutation
from influence.report import formats, words
from influence.report.beside import Compared
from influence.report.drawing import svg
from influence.report.forest import figures, name
from influence.report.markup import Content, Markup, join, tag
from influence.report.parts import paragraph, passed, section, table
from influence.report.record import AuditRecord
from influence.report.strip import Axis, Bar, axis_of, strip, ticks
from training.evaluation.slices import attribute_of
from training.statistics.bootstrap import Interval

METRIC = "wer"
ATTACKS = {
    PLACEBO: "Placebo in its place: has to come to nothing",
    COMMON_CAUSE: "One more random cause: has to change nothing",
    SUBSET: "Part of the utterances: has to change nothing",
}
STANDS, FALLS = "stands", "falls"


_TITLES = {
    (True, True): "By the plan's causal graph",
    (False, True): "By another causal graph",
    (False, False): "Without a causal graph",
}


def causes(record: AuditRecord) -> Markup:
    """The section; empty where no gap is on record."""
    gaps = record.beside.gaps
    if not gaps:
        return Markup("")
    parts = [
        paragraph(
            "The gap is the WER of a slice minus that of all others, for a model as it is. The raw gap may come from what "
            "the slice has in common besides its name, such as worse microphones; the adjusted gap is what remains of it "
            "when those conditions are equal on both sides."
        )
    ]
    drawn = list(dict.fromkeys((g.planned, g.graph) for g in gaps))
    for planned, graph in sorted(drawn, key=lambda d: (not d[0], d[1] is None)):
        parts += _group([g for g in gaps if (g.planned, g.graph) == (planned, graph)], graph, planned)
    return section("Causes of the gaps", *parts)


def lines(record: AuditRecord) -> list[str]:
    """The gaps, for the terminal."""
    return [line(g) for g in record.beside.gaps]


def line(g: Compared | Judged) -> str:
    """One gap in a sentence."""
    if g.report is None:
        return f"gap of {g.slice}: not told: {g.error}"
    found = g.report.gaps
    said = f"gap of {g.slice}{_mean_of([g], ', ')}: raw {_told(found.raw)}"
    if found.adjusted is not None:
        said += f"; {_adjusted_for(found.adjusted_for)} {_told(found.adjusted.gap)}"
    attacks = ", ".join(f"{r.attack} {STANDS if r.stands else FALLS.upper()}" for r in g.report.refutations)
    return said + (f"; {attacks}" if attacks else "")


def _group(gaps: Sequence[Compared], graph: CausalGraph | None, planned: bool) -> list[Markup]:
    parts = [tag("h3", _TITLES[(planned, graph is not None)])]
    if graph is not None:
        parts.append(_drawing(gaps, graph, planned))
    told = [g for g in gaps if g.report is not None]
    if told:
        parts.append(_table(told))
        if any(g.report.refutations for g in told if g.report):
            parts.append(_attacks(told))
    parts += [paragraph("The gap of ", name(g.slice), f" is not told: {g.error}.") for g in gaps if g.report is None]
    cautions: dict[str, list[str]] = {}
    for g in told:
        for caution in g.report.gaps.cautions if g.report else ():
            cautions.setdefault(caution, []).append(g.slice)
    items = [tag("li", [_whom(who, told), tag("bdi", words.capital(c)), "."]) for c, who in cautions.items()]
    return [*parts, tag("ul", items)] if items else parts


def _whom(who: Sequence[str], told: Sequence[Compared]) -> Markup:
    return Markup("") if len(who) == len(told) else join([join(map(name, who), ", "), ": "])


def _drawing(gaps: Sequence[Compared], graph: CausalGraph, planned: bool) -> Markup:
    treatments = {attribute_of(g.slice) or "" for g in gaps}
    adjusted = {n for g in gaps if g.report for n in g.report.gaps.adjusted_for}
    said = "What is believed to act on what, registered with the plan before anything was trained." if planned else (
        "What was believed to act on what when these gaps were asked for; it is no part of the plan."
    )  # fmt: skip
    legend = f"{said} Filled: the errors and what is asked about; thick: what is made equal; dashed: not on record."
    drawing = tag("div", svg(graph, treatments, adjusted), class_="scroll")
    return tag("figure", [drawing, tag("figcaption", legend)])


def _table(gaps: Sequence[Compared]) -> Markup:
    axis = axis_of(bar for g in gaps for bar in _bars(g))
    level = next((g.report.gaps.raw.level for g in gaps if g.report), None)
    caption = (
        f"Points of WER, slice minus all others, {formats.percent(level, 0)} intervals. Positive: the slice is worse served. "
        f"Dot: adjusted; hollow: raw{_mean_of(gaps, '; ')}."
    )
    heads = ["Slice", ticks(axis, "gaps in points of WER"), "Raw gap", "Adjusted gap", "Made equal"]
    return table(caption, heads, [_row(g, axis) for g in gaps], [2, 3], [1])


def _mean_of(gaps: Sequence[Compared | Judged], before: str) -> str:
    """Of how many models the gaps are, where any is of several."""
    counts = sorted({len(g.report.models) for g in gaps if g.report})
    return (
        f"{before}mean of {' or '.join(map(str, counts))} models, alike but for their seeds" if counts[-1] > 1 else ""
    )


def _bars(g: Compared) -> tuple[Bar | None, Bar | None]:
    """The adjusted gap, or else the raw one; and the raw one beside the adjusted."""
    found = g.report.gaps if g.report else None
    if found is None:
        return None, None
    raw = _bar(found.raw)
    return (raw, None) if found.adjusted is None else (_bar(found.adjusted.gap), raw)


def _row(g: Compared, axis: Axis) -> list[Content]:
    found = g.report.gaps if g.report else None
    if found is None:
        return [name(g.slice), "", "", "", ""]
    adjusted = [formats.UNKNOWN] if found.adjusted is None else _figures(found.adjusted.gap)
    equal = join(map(name, found.adjusted_for), ", ") if found.adjusted_for else "nothing"
    return [name(g.slice), strip(line(g), axis, *_bars(g)), _figures(found.raw), adjusted, equal]


def _attacks(gaps: Sequence[Compared]) -> Markup:
    heads = ["Slice", *ATTACKS.values()]
    caption = (
        "Attempts to refute the adjusted gap (DoWhy): the gap under each, in points of WER. A gap that stands is not thereby "
        "true; one that falls is wrong."
    )
    rows = []
    for g in gaps:
        said = {r.attack: r for r in g.report.refutations} if g.report else {}
        rows.append([name(g.slice), *(_attack(said[a]) if a in said else formats.UNKNOWN for a in ATTACKS)])
    return table(caption, heads, rows)


def _attack(r: Refutation) -> Content:
    verdict = passed(STANDS if r.stands else FALLS, r.stands)
    return [verdict, tag("span", f"{words.number(METRIC, r.attacked)}, p {words.p_value(r.p)}", class_="ends")]


def _adjusted_for(names: Sequence[str]) -> str:
    return f"adjusted for {', '.join(names) or 'nothing, which the graph asks for'}"


def _told(i: Interval) -> str:
    return words.told(METRIC, i.value, i.low, i.high, i.level)


def _figures(i: Interval) -> list[str | Markup]:
    known = math.isfinite(i.low)
    return figures(METRIC, i.value, i.low if known else None, i.high if known else None)


def _bar(i: Interval) -> Bar | None:
    return Bar.of(i.value, i.low, i.high, 100)
