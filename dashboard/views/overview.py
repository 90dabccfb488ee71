"""Overview: what is on record, what it cost, and whether it is whole."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from dashboard import links
from dashboard.clickable import clickable, show
from dashboard.pieces.bars import Bar, bars
from dashboard.pieces.figures import Figure, figures
from dashboard.pieces.notes import nothing, reading, status
from dashboard.pieces.tables import Column, Row, digest, pager, table
from dashboard.queries import integrity, overview
from dashboard.record import ask, opened, state
from dashboard.views import View
from influence.report import formats
from influence.report.markup import Markup, join, tag
from lineage.chain import SCHEME
from lineage.proof.verifier import Report

SIZE = 10  # rows on a page of a list
STATUS = {"completed": "✓ completed", "failed": "✗ failed", "aborted": "◦ aborted"}


def overview_page() -> None:
    """The page."""
    show(tag("h1", "What is on record"))
    totals = ask(overview.totals)
    if not totals.runs:
        show(
            nothing(
                "Nothing is on record yet.",
                "Recordings go on the record from a manifest: JSON lines, or a folder with a CSV.",
                "earmark ingest MANIFEST",
            )
        )
        return
    _totals(totals)
    _integrity()
    left, right = st.columns([5, 4], gap="large")
    with left:
        _composition()
    with right:
        _sources()
    _runs()
    _models(totals)
    _sets()


def _totals(t: overview.Totals) -> None:
    recorded = t.samples - t.derived
    row = [
        Figure(
            "Utterances",
            formats.number(t.samples),
            f"{formats.number(recorded)} recorded, {formats.number(t.derived)} derived",
        ),
        Figure("Speech", formats.hours(t.seconds), f"{formats.hours(t.recorded_seconds)} of it recorded"),
        Figure("Speakers", formats.number(t.speakers)),
        Figure("Noise recordings", formats.number(t.noises)),
        Figure("Sources", formats.number(t.sources), ", ".join(t.licences[:3]) or "no licence given"),
        Figure("Sets", formats.number(t.sets)),
        Figure("Models", formats.number(t.models)),
        Figure("Runs", formats.number(t.runs)),
    ]
    show(figures(row))


def _integrity() -> None:
    show(tag("h2", "Integrity"))
    look = ask(integrity.look)
    where = f"{formats.count(look.files, 'file')} of {formats.count(look.runs, 'run')}, {formats.size(look.bytes)}"
    left, right = st.columns([5, 1], vertical_alignment="center")
    kept = st.session_state.get("full-check")
    with right:
        pressed = st.button(
            "Check every byte",
            help="Hashes every file, and follows the signed log from the first run to the last.",
            width="stretch",
        )
    with left:
        if look.ok:
            show(status(True, f"A look at {where}: all are there with the size they were written with."))
        else:
            show(status(False, f"A look at {where}: {formats.count(len(look.problems), 'problem')}."))
            show(tag("ul", [tag("li", tag("code", p)) for p in look.problems[:20]], class_="em-findings"))
        if pressed:
            with st.spinner("Hashing every file …"):
                kept = (state(), datetime.now(UTC), integrity.full_check(opened().store))
            st.session_state["full-check"] = kept
        if kept:
            _full(*kept)


def _full(at_state: str, at: datetime, report: Report) -> None:
    later = "" if at_state == state() else " Runs were published since."
    where = f"{formats.count(report.files, 'file')}, {formats.size(report.bytes)}, {formats.moment(at)}"
    if report.ok:
        show(status(True, f"Every byte is as it was written, and the log's signature holds ({where}).{later}"))
        return
    show(status(False, f"{formats.count(len(report.findings), 'finding')} ({where}).{later}"))
    columns = [Column("File"), Column("What happened"), Column("Detail"), Column("Run")]
    rows = [Row([tag("code", f.file), f.kind, f.detail, digest(f.run, 13)]) for f in report.findings[:50]]
    show(table(columns, rows, caption="What the check found"))


def _composition() -> None:
    show(tag("h2", "What the speech is made of"))
    attributes = ask(overview.attributes)
    if not attributes:
        show(reading("No attribute with a handful of values was recorded with the utterances."))
        return
    by = links.choose("Counted by", {a: a for a in attributes}, name="by")
    shares = ask(overview.composition, by)
    rows = [
        Bar(
            s.value or "not given",
            s.seconds,
            formats.hours(s.seconds),
            (formats.number(s.samples), formats.number(s.speakers)),
        )
        for s in shares
    ]
    show(bars(rows, columns=(by, "Speech", "Utterances", "Speakers"), caption=f"Speech by {by}"))
    show(reading(f"Each bar is how much speech has that {by}, recorded and derived together; all bars start at zero."))


def _sources() -> None:
    show(tag("h2", "Sources and licences"))
    columns = [
        Column("Source"),
        Column("Licence"),
        Column("Speech", number=True),
        Column("Utterances", number=True),
        Column("Speakers", number=True),
    ]
    rows = [
        Row(
            [
                tag("span", s.source or "not given", title=s.purpose or None),
                s.licence or "not given",
                formats.hours(s.seconds),
                formats.number(s.samples),
                formats.number(s.speakers),
            ]
        )
        for s in ask(overview.sources)
    ]
    show(table(columns, rows, caption="Sources and licences"))


def _runs() -> None:
    show(tag("h2", "Runs"))
    kinds = ask(overview.run_kinds)
    options = {"all": "all"} | {k.kind: k.kind for k in kinds}
    left, right = st.columns([2, 5], gap="large")
    with left:
        columns = [
            Column("Kind"),
            Column("Runs", number=True),
            Column("Unfinished", number=True),
            Column("CPU time", number=True),
        ]
        rows = [
            Row(
                [
                    k.kind,
                    formats.number(k.completed + k.unfinished),
                    formats.number(k.unfinished),
                    formats.elapsed(k.cpu_s),
                ]
            )
            for k in kinds
        ]
        show(table(columns, rows, caption="Runs by kind and what they cost"))
    with right:
        kind = links.switch("Kind of run", options, name="kind")
        page = ask(overview.runs, None if kind == "all" else kind, links.page_number("runs"), SIZE)
        columns = [
            Column("Run"),
            Column("Kind"),
            Column("Job"),
            Column("Status"),
            Column("Started"),
            Column("Time", number=True, help="Wall-clock time"),
            Column("CPU", number=True, help="CPU time of the process"),
            Column("Memory", number=True, help="Peak resident memory"),
        ]
        rows = [
            Row(
                [
                    tag("code", r.run_id[:13], title=r.run_id),
                    r.kind,
                    r.job,
                    tag("span", STATUS.get(r.status, r.status), class_=f"em-{r.status}"),
                    formats.moment(r.started),
                    formats.elapsed(r.wall_s),
                    formats.elapsed(r.cpu_s),
                    formats.size(r.peak_bytes),
                ]
            )
            for r in page.rows
        ]
        clickable(join([table(columns, rows, caption="Runs, newest first"), pager(page, "runs")]), _turn, key="runs")


def _models(totals: overview.Totals) -> None:
    show(tag("h2", "Models"))
    if not totals.models:
        show(nothing("No model yet.", "A recipe says what to train on what, and how.", "earmark train RECIPE"))
        return
    page = ask(overview.models, links.page_number("models"), SIZE)
    columns = [
        Column("Model"),
        Column("Name"),
        Column("Family"),
        Column("Made from"),
        Column("Trained on"),
        Column("Parameters", number=True),
        Column("Trained", number=True, help="Parameters that training changed"),
        Column("Seed", number=True),
        Column("Run"),
    ]
    rows = [
        Row(
            [
                digest(m.model_id),
                m.name,
                m.family,
                digest(m.base, len(SCHEME) + 12) if m.base.startswith(SCHEME) else m.base,
                m.trained_on or formats.UNKNOWN,
                formats.number(m.parameters),
                formats.number(m.trainable),
                formats.UNKNOWN if m.seed is None else str(m.seed),
                tag("code", m.run_id[:13], title=m.run_id),
            ]
        )
        for m in page.rows
    ]
    clickable(join([table(columns, rows, caption="Models, newest first"), pager(page, "models")]), _turn, key="models")


def _sets() -> None:
    show(tag("h2", "Sample sets"))
    counts = ask(overview.set_kinds)
    if not counts:
        show(nothing("No set yet.", "Every ingestion makes one.", "earmark ingest MANIFEST"))
        return
    plain = [k for k in counts if k != "control"]
    options = {"data": "data, splits and slices"} | {k: f"{k} ({n})" for k, n in counts.items()}
    kind = links.switch("Kind of set", options, name="sets-of")
    page = ask(overview.sets, tuple(plain) if kind == "data" else (kind,), links.page_number("sets"), SIZE)
    columns = [
        Column("Set"),
        Column("Name"),
        Column("Kind"),
        Column("Cut by", help="The SQL predicate that cut it out of its population"),
        Column("Utterances", number=True),
        Column("Speech", number=True),
        Column("Words", number=True),
    ]
    rows = [
        Row(
            [
                digest(s.digest),
                s.name,
                s.kind,
                tag("code", s.predicate) if s.predicate else formats.UNKNOWN,
                formats.number(s.size),
                formats.hours(s.seconds),
                formats.number(s.words),
            ]
        )
        for s in page.rows
    ]
    body: list[Markup] = [table(columns, rows, caption="Sample sets, newest first"), pager(page, "sets")]
    clickable(join(body), _turn, key="sets")


def _turn(picked: str) -> None:
    name, _, number = picked.partition(":")
    links.go(**{name: number})


VIEW = View("Overview", "overview", 10, overview_page)
