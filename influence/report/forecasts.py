"""What to collect next: expected gains of more hours of each slice, where forecasts are on record."""

from __future__ import annotations

from influence.causes.foreseen import Expectation, Forecasts
from influence.report import formats, words
from influence.report.forest import name
from influence.report.markup import Content, Markup, join, tag
from influence.report.parts import paragraph, passed, plural, section, table
from influence.report.record import AuditRecord
from influence.report.strip import Axis, Bar, axis_of, strip, ticks

HOUR = 3600.0
METRIC = "wer"


def forecasts(record: AuditRecord) -> Markup:
    """The section; empty where no forecast is on record."""
    found = record.beside.forecasts
    if not found:
        return Markup("")
    told = paragraph(
        "Models were trained on parts of each slice, and the learning curve through their errors was followed beyond the "
        "hours that there are. It holds for hours like those there are, for this recipe, and as long as the curve goes on as "
        "it began; the further out, the wider the interval. The check forecasts the hours that there are from fewer."
    )
    return section("What to collect next", told, *(part for f in found for part in _forecast(f)))


def lines(record: AuditRecord) -> list[str]:
    """The forecasts, for the terminal."""
    return [sentence(r) for f in record.beside.forecasts for r in f.rows]


def sentence(r: Expectation) -> str:
    """One expectation."""
    more = formats.hours(HOUR * r.hours_more)
    said = f"{r.rank}. {more} more of {r.train_slice}, WER on {r.target}: {formats.percent(r.wer_now)}"
    if r.low is None or r.high is None:
        return f"{said} now; {words.NONE} for then."
    then = f"{formats.percent(r.wer_then)} ({_span(r.wer_then_low, r.wer_then_high)})"
    return f"{said} becomes {then}; {_per_hour(r)} points fewer an hour{f'; {r.caution}' if r.caution else ''}."


def _forecast(f: Forecasts) -> list[Markup]:
    axis = axis_of(map(_bar, f.rows))
    level = formats.percent(f.rows[0].level if f.rows else None, 0)
    seeds = plural(f.rows[0].seeds, "seed") if f.rows else ""
    heads: list[Content] = ["More of", "Hours", ticks(axis, "expected gains in points of WER per hour")]
    heads += ["Points per hour", "WER now", "WER then", "Check"]
    caption = (
        f"Expected fall of WER on {f.target} per further hour, {level} intervals, {seeds}. To the right: fewer errors; the "
        "best comes first."
    )
    shown = table(caption, heads, [_row(r, axis) for r in f.rows], [1, 3, 4, 5], [2])
    cautions: dict[str, list[str]] = {}
    for r in f.rows:
        for caution in filter(None, r.caution.split("; ")):
            cautions.setdefault(caution, []).append(r.train_slice)
    items = [tag("li", [join(map(name, dict.fromkeys(who)), ", "), f": {c}."]) for c, who in cautions.items()]
    return [shown, tag("ul", items)] if items else [shown]


def _row(r: Expectation, axis: Axis) -> list[Content]:
    known = r.low is not None
    hours = [
        f"{formats.hours(HOUR * r.hours_now)}",
        tag("span", f"+ {formats.hours(HOUR * r.hours_more)}", class_="ends"),
    ]
    gain: Content = [
        tag("b", _per_hour(r)), tag("span", _gains(r), class_="ends")
    ] if known else [tag("span", words.NONE, class_="ends")]  # fmt: skip
    then: Content = [
        formats.percent(r.wer_then), tag("span", _span(r.wer_then_low, r.wer_then_high), class_="ends")
    ] if known else formats.UNKNOWN  # fmt: skip
    return [
        name(r.train_slice),
        hours,
        strip(sentence(r), axis, _bar(r)),
        gain,
        formats.percent(r.wer_now),
        then,
        _check(r),
    ]


def _check(r: Expectation) -> Content:
    if r.covered is None:
        return "none: too few doses"
    ends = f"{formats.percent(r.held_measured)} in {_span(r.held_low, r.held_high)}"
    return [passed("holds" if r.covered else "fails", r.covered), tag("span", ends, class_="ends")]


def _per_hour(r: Expectation) -> str:
    return formats.significant(100 * r.per_hour)


def _gains(r: Expectation) -> str:
    if r.per_hour_low is None or r.per_hour_high is None:
        return words.NONE
    decimals = formats.decimals_for(100 * max(abs(r.per_hour_low), abs(r.per_hour_high)))
    return f"{formats.signed(100 * r.per_hour_low, decimals)} to {formats.signed(100 * r.per_hour_high, decimals)}"


def _span(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return words.NONE
    return f"{formats.number(100 * low, 1)} to {formats.percent(high)}"


def _bar(r: Expectation) -> Bar | None:
    return Bar.of(r.per_hour, r.per_hour_low, r.per_hour_high, 100)
