"""Slices that nobody thought of: where the audited model errs more than elsewhere, and whether it does so on other voices."""

from __future__ import annotations

import math

from influence.discovery.found import Found
from influence.report import formats, words
from influence.report.beside import Search
from influence.report.forest import figures, name
from influence.report.markup import Content, Markup, tag
from influence.report.parts import paragraph, passed, section, table
from influence.report.record import AuditRecord
from influence.report.strip import Axis, Bar, axis_of, strip, ticks

METRIC = "wer"
BY = {"attributes": "crossings of attributes", "embeddings": "clusters of what the model hears alike"}


def discovered(record: AuditRecord) -> Markup:
    """The section; empty where no search is on record."""
    searches = record.beside.searches
    if not searches:
        return Markup("")
    told = paragraph(
        "The errors of the model trained on all data were searched for slices that are worse served than the rest. What was "
        "found was frozen, and then tested on speakers who had no part in finding it: a slice is confirmed if its gap there is "
        "above zero after Holm's correction over all that were found."
    )
    return section("Slices that were discovered", told, *map(_search, searches))


def lines(record: AuditRecord) -> list[str]:
    """What was found, for the terminal."""
    return [sentence(f, s.level) for s in record.beside.searches for f in s.found]


def sentence(f: Found, level: float) -> str:
    """One slice that was found."""
    said = "confirmed" if f.gap.confirmed else "not confirmed"
    gap = words.told(METRIC, f.gap.value, f.gap.low, f.gap.high, level)
    why = "" if f.gap.confirmed else f"; {f.gap.reason}"
    return f"discovered, {said}: {f.candidate.name}: gap on other voices {gap}{why}"


def _search(s: Search) -> Markup:
    if not s.found:
        return paragraph(f"Among {BY.get(s.by, s.by)} of ", name(s.searched), ", no slice stood out.")
    axis = axis_of(map(_bar, s.found))
    caption = [
        f"Found among {BY.get(s.by, s.by)} in ", name(s.searched), ", tested on ", name(s.tested),
        f": WER of the slice minus that of the rest, {formats.percent(s.level, 0)} intervals.",
    ]  # fmt: skip
    heads: list[Content] = ["Slice", "WER where found", ticks(axis, "gaps in points of WER")]
    heads += ["Gap on the others", "Speakers", "p, corrected", "So"]
    return table(caption, heads, [_row(f, axis, s) for f in s.found], [1, 3, 4, 5], [2])


def _row(f: Found, axis: Axis, s: Search) -> list[Content]:
    c, gap = f.candidate, f.gap
    described = [d for d in c.described if d not in c.name]
    label: Content = [name(c.name), *([tag("span", name(", ".join(described)), class_="ends")] if described else [])]
    found = [formats.percent(c.wer), tag("span", f"{formats.number(c.words)} words", class_="ends")]
    known = math.isfinite(gap.low)
    ends = (gap.low, gap.high) if known else (None, None)
    on_others = figures(METRIC, gap.value if math.isfinite(gap.value) else None, *ends)
    so = [passed("confirmed", True)] if gap.confirmed else [
        passed("not confirmed", None), tag("span", gap.reason, class_="why")
    ]  # fmt: skip
    p = words.p_value(gap.p_adjusted if known else None)
    drawing = strip(sentence(f, s.level), axis, _bar(f))
    return [label, found, drawing, on_others, formats.number(gap.speakers), p, so]


def _bar(f: Found) -> Bar | None:
    return Bar.of(f.gap.value, f.gap.low, f.gap.high, 100)
