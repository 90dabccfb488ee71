"""One HTML file of one audit, to be read, printed and filed: the answers first, then the evidence, then how it was come by.

It stands by itself: no script, no font, no picture from anywhere. Everything that comes out of the record goes through
`influence.report.markup`. Laws: the same record gives the same bytes; the file is well-formed as XML, too.
"""

from __future__ import annotations

from importlib import resources
from itertools import groupby

from influence.plans.checks import PLANTED
from influence.plans.hypotheses import OPEN, REFUTED, SUPPORTED
from influence.report import conduct, formats, reading, words
from influence.report.causes import causes
from influence.report.discovered import discovered
from influence.report.forecasts import forecasts
from influence.report.forest import forest, name, verdict
from influence.report.games import games
from influence.report.markup import Markup, join, tag
from influence.report.matrix import matrix
from influence.report.parts import paragraph, plural, section
from influence.report.record import AuditRecord
from influence.report.schedules import schedules
from influence.statistics.effects import Effect
from influence.statistics.verdicts import HELPS, HURTS, NO_EFFECT, NOT_IDENTIFIABLE
from lineage.selection.slices import WHOLE

FEW = 8  # slices of one verdict whose figures are given with it; those of more stand in the table alone
_ORDER = (HELPS, HURTS, NO_EFFECT, NOT_IDENTIFIABLE)


def page(record: AuditRecord) -> str:
    """The file's text."""
    style = Markup(resources.files("influence.report").joinpath("style.css").read_text())
    title = f"Ablation audit: {record.name}"
    parts = [
        tag("header", [tag("h1", title), _summary(record)]),
        _answers(record),
        *_evidence(record),
        schedules(record),
        games(record),
        causes(record),
        forecasts(record),
        discovered(record),
        conduct.controls(record),
        conduct.asked(record),
        conduct.looks(record),
        conduct.failures(record),
        conduct.costs(record),
        conduct.environment(record),
        reading.reproduce(record),
        reading.how_to_read(record),
        reading.limits(record),
    ]
    head = tag(
        "head",
        [
            Markup('<meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>'),
            Markup('<meta name="referrer" content="no-referrer"/>'),
            tag("title", title),
            tag("style", style),
        ],
    )
    body = tag("body", tag("main", join(parts, "\n")))
    return f"<!DOCTYPE html>\n{tag('html', join([head, body], chr(10)), lang='en')}\n"


def _summary(record: AuditRecord) -> Markup:
    found = [words.kind(a.verdict) for a in record.answers]
    if found:
        told = ", ".join(f"{found.count(k)} {k}" for k in (SUPPORTED, REFUTED, OPEN) if k in found)
        lead = f"Of {plural(len(found), 'declared hypothesis', 'declared hypotheses')}: {told}."
    else:
        lead = "No hypothesis was declared; a verdict on every slice is given below."
    on = f" of {record.train.name}" if record.train else ""
    looked = f", looking at errors on {record.evaluation.name}" if record.evaluation else ""
    done = (
        f"{plural(record.costs.retrainings, 'retraining')}{on}{looked}; finished {formats.moment(record.entry.ended)}."
    )
    return join(
        [tag("p", lead, class_="lead"), tag("p", [f"{done} Audit ", tag("code", record.audit)], class_="quiet")]
    )


def _answers(record: AuditRecord) -> Markup:
    parts: list[Markup] = []
    if record.answers:
        items = [
            _item(
                a.verdict, a.sentence, f"{a.reason}; p {words.p_value(a.p_adjusted)}, corrected for all of the family."
            )
            for a in record.answers
        ]
        parts.append(tag("ul", items, class_="answers"))
    own = _own(record, record.metrics[0]) if record.metrics else []
    if own:
        parts.append(tag("h3", f"Slice by slice, {words.metric_name(record.metrics[0])}"))
        parts.append(_verdicts(own))
    if record.failed:
        parts.append(paragraph(f"The plan says to fail on: {', '.join(record.failed)}. The exit status was 1."))
    if record.failures:
        parts.append(paragraph(f"{plural(len(record.failures), 'retraining')} failed; what that leaves open is below."))
    if beside := _beside(record):
        parts.append(
            paragraph(f"Also on record of the same recipe, model and sets, and told below: {', '.join(beside)}.")
        )
    return section("Answers", *parts or [paragraph("Nothing was measured.")])


def _beside(record: AuditRecord) -> list[str]:
    """What else there is to read about, counted."""
    there = record.beside
    found = [f for s in there.searches for f in s.found]
    return [
        *([f"interactions in {plural(len(there.games), 'game')} between slices"] if there.games else []),
        *([f"causes of {plural(len(there.gaps), 'gap')}"] if there.gaps else []),
        *(["what to collect next"] if there.forecasts else []),
        *(
            [f"{plural(len(found), 'discovered slice')}, {sum(f.gap.confirmed for f in found)} confirmed"]
            if found
            else []
        ),
    ]


def _verdicts(effects: list[Effect]) -> Markup:
    """What each verdict was said of; where nothing could be said, why."""
    items = []
    for found, several in groupby(
        sorted(effects, key=lambda e: _ORDER.index(words.kind(e.verdict))), lambda e: e.verdict
    ):
        same = list(several)
        if words.kind(found) == NOT_IDENTIFIABLE:
            by_reason: dict[str, list[Effect]] = {}
            for e in same:
                by_reason.setdefault(e.reason, []).append(e)
            items += [_item(found, ", ".join(map(_subject, those)), f"{why}.") for why, those in by_reason.items()]
        else:
            told = [f"{_subject(e)} {words.change(e)}" if len(same) <= FEW else _subject(e) for e in same]
            items.append(_item(found, "; ".join(told)))
    return tag("ul", items, class_="answers")


def _subject(e: Effect) -> str:
    return e.train_slice if words.removed(e) else words.done(e)


def _item(said: str, of: str, why: str = "") -> Markup:
    reason = [tag("div", name(words.capital(why)), class_="quiet")] if why else []
    return tag("li", [verdict(said), ": ", name(of), *reason])


def _own(record: AuditRecord, metric: str) -> list[Effect]:
    """What each thing that was done did to its own slice, or to everything where that has no counterpart."""
    cells = {(words.done(e), e.eval_slice): e for e in record.effects if e.metric == metric}
    found = []
    told = [e for e in record.effects if e.intervention != PLANTED and not words.schedule(e)]
    for e in {words.done(e): e for e in reversed(told)}.values():
        cell = cells.get((words.done(e), e.train_slice)) or cells.get((words.done(e), WHOLE.name))
        found += [cell] if cell else []
    return sorted(found, key=lambda e: (not words.known(e), -e.estimate, words.done(e)))


def _evidence(record: AuditRecord) -> list[Markup]:
    out = []
    for metric in record.metrics:
        effects = [e for e in record.effects if e.metric == metric and not words.schedule(e)]
        said = words.metric_name(metric)
        level = formats.percent(record.level, 0)
        sign = "Positive: worse without the slice, so its data helps" if all(map(words.removed, effects)) else (
            "Positive: worse under the intervention"
        )  # fmt: skip
        own = [e for e in effects if e.train_slice == e.eval_slice]
        whole = [e for e in effects if e.eval_slice == WHOLE.name and e.train_slice != WHOLE.name]
        hollow = "; hollow: the same done to random samples" if any(e.control is not None for e in effects) else ""
        legend = f"{sign}. {level} intervals; band: what counts as none{hollow}."
        out.append(
            section(
                f"Effects on {said}",
                forest(own, f"{words.capital(said)} of each slice on itself. {legend}"),
                forest(whole, f"{words.capital(said)} of each slice on everything. {legend}"),
                matrix(
                    effects,
                    f"{words.capital(said)}, all slices on all slices: change above its {level} interval. {_LEGEND} {sign}.",
                ),
            )
        )
    return out


_LEGEND = "▲ helps, ▼ hurts, = no effect larger than the margin, ? not identifiable."
