"""Slices: on which utterances the model errs, with how much certainty, down to the words."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

import streamlit as st

from dashboard import links, vault_access
from dashboard.cards import lineage_button, lineage_window, player
from dashboard.clickable import clickable, show
from dashboard.measures import Rate
from dashboard.pieces.forest import Line, forest
from dashboard.pieces.notes import nothing, reading
from dashboard.pieces.tables import Column, Row, chips, pager, table
from dashboard.pieces.words import aligned, legend
from dashboard.queries.evaluations import (
    WHOLE,
    Evaluation,
    Filters,
    SliceRate,
    evaluations,
    filterable,
    filtered_rates,
    measures,
    slice_rates,
)
from dashboard.queries.utterances import ORDERS, Utterance, tally, utterance, utterances
from dashboard.record import ask
from dashboard.texts import normalised
from dashboard.views import View
from influence.report import formats
from influence.report.markup import Markup, join, tag
from training.evaluation import wer

SIZE = 10
METRICS = {
    "wer": "word error rate",
    "loss": "loss",
    "substitutions": "substitutions",
    "deletions": "deletions",
    "insertions": "insertions",
}
HEADINGS = {
    "wer": "WER",
    "loss": "Loss, nats per word",
    "substitutions": "Substituted",
    "deletions": "Missed",
    "insertions": "Made up",
}


def slices_page() -> None:
    """The page."""
    show(tag("h1", "Where the model errs"))
    known = ask(evaluations)
    if not known:
        show(
            nothing(
                "No evaluation is on record yet.",
                "An evaluation decodes every utterance of a set and adds the errors up by slice.",
                "earmark evaluate MODEL SET",
            )
        )
        return
    evaluation, metric, by, filters = _choices(known)
    rows = ask(filtered_rates, evaluation, metric, filters) if filters else ask(slice_rates, evaluation, metric)
    if not rows:
        show(
            nothing("No utterance has all of that.", "Take a condition out of “Only utterances with”.", "earmark sets")
        )
        return
    chosen = _forest(rows, evaluation, metric, by, filters)
    _behind(chosen, evaluation, filters)
    lineage_window()


def _choices(known: Sequence[Evaluation]) -> tuple[Evaluation, str, str, Filters]:
    models = {e.model_id[:12]: _model(e) for e in known}
    one, two, three, four = st.columns([5, 3, 2, 4])
    with one:
        model = links.choose(
            "Model", models, name="model", help="Models trained on all their data first, then by date."
        )
    of_model = [e for e in known if e.model_id.startswith(model)]
    with two:
        sets = {e.set_digest[:12]: e.set_name or e.set_digest[:12] for e in of_model}
        chosen = links.choose("Evaluated on", sets, name="set")
    evaluation = next(e for e in of_model if e.set_digest.startswith(chosen))
    with three:
        metric = links.choose("Measure", {m: METRICS[m] for m in ask(measures, evaluation)}, name="measure")
    attributes = ask(filterable, evaluation)
    pairs = {f"{name}={value}": f"{name} = {value}" for name, values in attributes.items() for value in values}
    with four:
        only = links.several(
            "Only utterances with",
            pairs,
            name="only",
            help="Values of one attribute add up; values of different attributes have to meet in one utterance.",
        )
    by = "every attribute"
    groups = {r.attribute for r in ask(slice_rates, evaluation, metric) if r.attribute}
    if len(groups) > 1:
        by = links.switch(
            "Break down by", {"every attribute": "every attribute"} | {g: g for g in sorted(groups)}, name="by"
        )
    wanted: dict[str, list[str]] = {}
    for pair in only:
        name, _, value = pair.partition("=")
        wanted.setdefault(name, []).append(value)
    return evaluation, metric, by, tuple((name, tuple(values)) for name, values in wanted.items())


def _model(e: Evaluation) -> str:
    seed = "" if e.seed is None else f" · seed {e.seed}"
    without = f" · without {', '.join(e.left_out)}" if e.left_out else ""
    return f"{e.model or 'model'}{seed}{without} · {e.model_id[:8]}"


def _forest(rows: Sequence[SliceRate], evaluation: Evaluation, metric: str, by: str, filters: Filters) -> str:
    whole = next((r for r in rows if r.slice == WHOLE), None)
    shown = [r for r in rows if r.slice == WHOLE or by == "every attribute" or r.attribute == by]
    names = {r.slice for r in rows}
    asked = links.at("slice")
    chosen = asked if asked in names else WHOLE if WHOLE in names else rows[0].slice
    lines = [
        Line(
            r.slice,
            r.attribute,
            "all utterances" if r.slice == WHOLE else r.value,
            _shown(r, metric),
            r.speakers,
            r.samples,
            r.words,
        )
        for r in sorted(shown, key=lambda r: (r.slice != WHOLE, r.attribute))
    ]
    caption = f"{METRICS[metric].capitalize()} by slice, {_model(evaluation)}, on {evaluation.set_name}"
    plot = forest(lines, whole=whole.rate if whole else None, chosen=chosen, heading=HEADINGS[metric], caption=caption)
    clickable(plot, lambda slice: links.go(slice=slice, page=None, utterance=None), key="forest")
    level = next((r.rate.ends.percent for r in rows if r.rate.ends), "95 %")
    unit = "Σ nats / Σ words" if metric == "loss" else "Σ errors / Σ reference words"
    how = (
        f"Each dot is one slice ({unit}), its whisker the {level} interval over speakers; where whiskers overlap much, the "
        "difference may be chance. The dashed line is the whole set. Press a slice to see its utterances."
    )
    now = (
        " Computed now from the predictions on record, within the conditions above."
        if filters
        else f" As recorded by run {evaluation.run_id[:13]}; words counted after the normaliser {evaluation.normaliser}."
    )
    show(reading([how, now]))
    return chosen


def _shown(r: SliceRate, metric: str) -> Rate:
    return Rate("loss" if metric == "loss" else "wer", r.rate.value, r.rate.ends)


def _behind(slice: str, evaluation: Evaluation, filters: Filters) -> None:
    name = "all utterances" if slice == WHOLE else slice
    conditions = ", ".join(f"{n} = {' or '.join(v)}" for n, v in filters)
    show(tag("h2", ["Behind it: ", name, f", only {conditions}" if conditions else ""]))
    counts = ask(tally, evaluation, slice, filters)
    if counts is None:
        show(
            reading("Which utterances belong to this slice is not on record with the evaluation, only its figures are.")
        )
        return
    show(
        tag(
            "p",
            [
                f"Of {formats.count(counts.words, 'word')} by {formats.count(counts.speakers, 'speaker')}, ",
                tag("b", formats.number(counts.substitutions)),
                " were substituted, ",
                tag("b", formats.number(counts.deletions)),
                " missed and ",
                tag("b", formats.number(counts.insertions)),
                f" made up; {formats.number(counts.perfect)} of {formats.count(counts.samples, 'utterance')} have no error.",
            ],
            class_="em-lead",
        )
    )
    left, right = st.columns([3, 2], gap="large")
    with left:
        order = links.choose("Order", {k: v[0] for k, v in ORDERS.items()}, name="order")
        page = ask(utterances, evaluation, slice, filters, order, links.page_number("page"), SIZE)
        selected = _selected(page.rows)
        _list(page.rows, evaluation, selected, pager(page))
    with right:
        found = ask(utterance, evaluation, selected) if selected else None
        if found is not None:
            _utterance(found, evaluation)


def _selected(rows: Sequence[Utterance]) -> uuid.UUID | None:
    asked = links.at("utterance")
    if asked:
        try:
            return uuid.UUID(asked)
        except ValueError:
            links.go(utterance=None)
    return rows[0].sample_id if rows else None


def _list(rows: Sequence[Utterance], evaluation: Evaluation, selected: uuid.UUID | None, turn: Markup) -> None:
    ids = [u.sample_id for u in rows]
    said, heard = vault_access.transcripts(ids), vault_access.hypotheses(evaluation.predictions, ids)
    columns = [
        Column("Said"),
        Column("Heard"),
        Column("S", number=True, help="Words substituted"),
        Column("D", number=True, help="Words missed (deletions)"),
        Column("I", number=True, help="Words made up (insertions)"),
        Column("Words", number=True, help="Words said"),
        Column("Confidence", number=True, help="Geometric mean probability of the decoded tokens"),
    ]
    lines = []
    for u in rows:
        text = said.get(u.sample_id, "(no transcript in the vault)")
        lines.append(
            Row(
                [
                    text,
                    heard.get(u.sample_id) or "(nothing)",
                    _count(u.substitutions),
                    _count(u.deletions),
                    _count(u.insertions),
                    formats.number(u.words),
                    formats.percent(u.confidence, 0),
                ],
                pick=str(u.sample_id),
                chosen=u.sample_id == selected,
                label=f"{text}: {formats.count(u.errors, 'error')}; show it",
            )
        )
    clickable(join([table(columns, lines, caption="Utterances of the slice"), turn]), _pick, key="utterances")


def _count(value: int) -> str | Markup:
    return tag("b", formats.number(value)) if value else "·"


def _pick(picked: str) -> None:
    if picked.startswith("page:"):
        links.go(page=picked.removeprefix("page:"), utterance=None)
    else:
        links.go(utterance=picked)


def _utterance(u: Utterance, evaluation: Evaluation) -> None:
    said = vault_access.transcripts([u.sample_id]).get(u.sample_id)
    heard = vault_access.hypotheses(evaluation.predictions, [u.sample_id]).get(u.sample_id, "")
    sound = vault_access.sounds([u.sample_id])[u.sample_id]
    speaker = vault_access.speakers([u.speaker_key]) if u.speaker_key else {}
    show(tag("h3", ["Utterance ", tag("code", str(u.sample_id)[:8], title=str(u.sample_id))]))
    left, right = st.columns([3, 1], vertical_alignment="center")
    with left:
        player(sound, said)
    with right:
        lineage_button(u.sample_id, "utterance")
    if said is None:
        show(reading("Its transcript is no longer in the vault, so its words cannot be shown."))
    else:
        _words(u, evaluation, said, heard)
    facts = [
        formats.hours(u.duration_s),
        f"speaker {speaker.get(u.speaker_key, 'unknown') if u.speaker_key else 'unknown'}",
        f"confidence {formats.percent(u.confidence, 0)}",
    ]
    if u.loss is not None and u.words:
        facts.append(f"loss {formats.number(u.loss / u.words, 2)} nats per word")
    show(reading(" · ".join(facts)))
    show(chips(sorted(u.attributes.items())))


def _words(u: Utterance, evaluation: Evaluation, said: str, heard: str) -> None:
    text, note = normalised(evaluation.normaliser, said, heard)
    pairs = wer.align(*text)
    show(aligned(pairs))
    if u.errors:
        show(legend())
    counted: Mapping[str, int] = {"substitution": u.substitutions, "deletion": u.deletions, "insertion": u.insertions}
    if any(sum(p.operation == name for p in pairs) != n for name, n in counted.items()):
        note = note or "The counts on record differ from this alignment."
    if note:
        show(reading(note))


VIEW = View("Slices", "slices", 20, slices_page)
