"""Influence: which slices of the training data did what to which slices of the errors, down to the recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from dashboard import links, vault_access
from dashboard.cards import card, lineage_window
from dashboard.clickable import clickable, show
from dashboard.measures import METRICS, UNITS, Change, Fidelity, Prediction
from dashboard.pieces.agreement import Dot
from dashboard.pieces.agreement import agreement as scatter
from dashboard.pieces.matrix import Cell, Heading, Key, Panel, matrix, scale
from dashboard.pieces.notes import nothing, reading
from dashboard.pieces.tables import pager
from dashboard.queries.effects import HELPS, HURTS, NO_EFFECT, OPEN, Audit, Effect, audits, effects
from dashboard.queries.evaluations import WHOLE, parts
from dashboard.queries.fidelity import Agreement, agreement
from dashboard.queries.influences import Attribution, attributions, largest, ranked
from dashboard.queries.samples import facts, members_of
from dashboard.record import ask
from dashboard.views import View
from influence.report import formats
from influence.report.markup import Markup, tag

SIZE = 4  # samples on a page of either list
SIGNS = {HELPS: "▲", HURTS: "▼", NO_EFFECT: "≈", OPEN: "?"}
SAYS = {"helpful": ("Most helpful first", "raise"), "harmful": ("Most harmful first", "lower")}
SHOWN = {"estimate": "the removal's effect", "difference": "beyond a random removal"}


@dataclass(frozen=True)
class Chosen:
    """What the page is about: an audit's cells for one metric, and an attribution with what it predicts for them."""

    audit: Audit
    metric: str
    shown: str
    cells: dict[Key, Effect]
    attribution: Attribution | None
    agreement: Agreement | None

    @property
    def fidelity(self) -> Fidelity | None:
        """Without it no influence is shown."""
        return self.agreement.spearman if self.agreement else None

    def measured(self, effect: Effect) -> Change | None:
        """The change that the page shows for a cell."""
        return effect.estimate if self.shown == "estimate" else effect.difference

    def predicted(self, effect: Effect) -> Prediction | None:
        """What the attribution predicts for a cell, if it may be shown."""
        if self.agreement is None or self.attribution is None or self.fidelity is None:
            return None
        value = self.agreement.predicted.get((effect.train_set, effect.eval_set))
        return None if value is None else Prediction(value, self.attribution.unit, self.fidelity)


def influence_page() -> None:
    """The page."""
    show(tag("h1", "Which training data made it so"))
    known = ask(audits)
    if not known:
        show(
            nothing(
                "No audit is on record yet.",
                "An audit retrains without each slice of the training data, beside random removals of the same size, and "
                "measures what that does to each slice of the errors.",
                'earmark audit RECIPE --slice "ATTRIBUTE=*"',
            )
        )
        return
    chosen = _choices(known)
    rows, columns = _headings([e[0] for e in chosen.cells]), _headings([e[1] for e in chosen.cells])
    key = _cell(rows, columns, chosen)
    _matrix(rows, columns, chosen, key)
    if key in chosen.cells:
        _detail(chosen.cells[key], chosen)
    _faithful(chosen)
    lineage_window()


def _choices(known: Sequence[Audit]) -> Chosen:
    one, two, three, four = st.columns([4, 2, 3, 4])
    with one:
        names = {
            a.audit[:12]: f"{a.job or 'audit'} · {a.train_slices} × {a.eval_slices} slices · {a.audit[:8]}"
            for a in known
        }
        asked = links.choose("Audit", names, name="audit")
    audit = next(a for a in known if a.audit.startswith(asked))
    with two:
        metric = links.choose("Errors counted as", {m: METRICS.get(m, m) for m in audit.metrics}, name="metric")
    with three:
        shown = links.choose(
            "Measured",
            SHOWN,
            name="measured",
            help="What leaving the slice out did by itself, or how far that goes beyond leaving out as many random samples.",
        )
    cells = {(e.train_slice, e.eval_slice): e for e in ask(effects, audit.run_id, audit.audit, metric)}
    targets = {e.eval_set for e in cells.values()}
    fitting = {f"{a.method}-{a.model_id[:12]}": a for a in ask(attributions) if targets & a.targets}
    attribution = None
    with four:
        if fitting:
            attribution = _attribution(fitting, audit, metric)
        else:
            st.selectbox("Predicted by", ["nothing on record"], disabled=True)
    agreed = ask(agreement, audit, metric, attribution) if attribution else None
    return Chosen(audit, metric, shown, cells, attribution, agreed)


def _attribution(fitting: dict[str, Attribution], audit: Audit, metric: str) -> Attribution:
    """A choice of attributions, the most faithful first, each with its fidelity."""
    faith = {k: ask(agreement, audit, metric, a).spearman for k, a in fitting.items()}
    order = sorted(fitting, key=lambda k: -(found.value if (found := faith[k]) else -2))
    labels = {}
    for k in order:
        found, a = faith[k], fitting[k]
        said = f"fidelity {formats.number(found.value, 2)}" if found else "fidelity unknown"
        labels[k] = f"{a.method} · {said} · {a.model or 'model'} {a.model_id[:8]}"
    return fitting[links.choose("Predicted by", labels, name="method")]


def _headings(names: Sequence[str]) -> list[Heading]:
    found = [Heading(n, *(("", "all") if n == WHOLE else parts(n))) for n in dict.fromkeys(names)]
    return sorted(found, key=lambda h: (h.slice != WHOLE, h.attribute, h.value))


def _cell(rows: Sequence[Heading], columns: Sequence[Heading], chosen: Chosen) -> Key:
    """The cell in the address; without one, the largest clear effect of a slice."""
    train, _, evaluated = (links.at("cell") or "").partition("|")
    if (train, evaluated) in chosen.cells:
        return train, evaluated
    shown = {k: e.estimate for k, e in chosen.cells.items() if e.estimate is not None}
    if shown:
        return max(shown, key=lambda k: (chosen.cells[k].kind in (HELPS, HURTS), abs(shown[k].value), k))
    return rows[0].slice, columns[0].slice


def _matrix(rows: Sequence[Heading], columns: Sequence[Heading], chosen: Chosen, key: Key) -> None:
    panels, scales = [], []
    measured = {k: chosen.measured(e) for k, e in chosen.cells.items()}
    end = formats.round_up(max((abs(c.value) for c in measured.values() if c), default=0.0))
    unit = UNITS.get(chosen.metric, chosen.metric)
    name = "Δ WER" if chosen.metric == "wer" else f"Δ {METRICS.get(chosen.metric, chosen.metric)}"
    heading = "Measured by retraining without the slice"
    level = next((c.ends.percent for c in measured.values() if c), "95 %")
    note = f"{name} in {unit}, with its {level} interval" + (
        "" if chosen.shown == "estimate" else "; beyond a random removal"
    )
    panel = Panel(heading, note, unit, {k: _measured_cell(chosen, k, c) for k, c in measured.items() if c}, end, True)
    panels.append(panel)
    scales.append(scale(panel, (_end(end, chosen.metric),) * 2))
    predicted = {k: chosen.predicted(e) for k, e in chosen.cells.items()}
    values = [p.value for p in predicted.values() if p]
    if chosen.attribution and chosen.fidelity and values:
        top = formats.round_up(max(map(abs, values)))
        decimals = formats.decimals_for(max(map(abs, values)), 2)
        note = f"{chosen.attribution.unit} · fidelity {chosen.fidelity.short()}"
        cells = {k: _predicted_cell(k, p, decimals) for k, p in predicted.items() if p}
        panel = Panel(f"Predicted by {chosen.attribution.method}", note, chosen.attribution.unit, cells, top, False)
        panels.append(panel)
        scales.append(scale(panel, (f"{top:g}",) * 2))
    caption = "Effect of leaving out each training slice on each evaluation slice, measured and predicted"
    clickable(matrix(rows, columns, panels, chosen=key, caption=caption), _pick_cell, key="matrix")
    show(tag("div", scales, class_="em-scales"))
    show(
        reading(
            [
                "Read a row: what happens to each slice of the errors when that training slice is left out. Plus and blue: "
                "errors rise without it, so it helps; minus and orange: errors fall, so it hurts. Verdicts: ▲ helps, ▼ hurts, "
                "≈ no effect larger than the margin, ? not identifiable. Press a cell for the samples behind it."
            ]
        )
    )
    if chosen.attribution is None:
        show(
            nothing(
                "No attribution for these slices yet.",
                "It splits a slice's effect among its samples.",
                'earmark attribute MODEL --target "ATTRIBUTE=*"',
            )
        )
    elif chosen.fidelity is None:
        show(
            reading(
                "Influences are on record, but too few measured cells to say how faithful they are, and without that they are "
                "not shown. An audit with more slices would tell."
            )
        )


def _end(end: float, metric: str) -> str:
    return f"{end:g}" if metric == "loss" else f"{100 * end:g}"


def _measured_cell(chosen: Chosen, key: Key, change: Change) -> Cell:
    effect = chosen.cells[key]
    label = f"Left out {key[0]}, errors on {key[1]}: {change.sentence()}; verdict on {key[0]}: {effect.verdict}"
    return Cell(
        f"{SIGNS[effect.kind]} {change.number}", change.interval, change.value, label, effect.kind in (HELPS, HURTS)
    )


def _predicted_cell(key: Key, prediction: Prediction, decimals: int) -> Cell:
    label = f"Left out {key[0]}, errors on {key[1]}: predicted {prediction.sentence()}"
    return Cell(formats.signed(prediction.value, decimals), "", prediction.value, label, False)


def _pick_cell(picked: str) -> None:
    links.go(cell=picked, helpful=None, harmful=None, samples=None, sample=None)


def _detail(effect: Effect, chosen: Chosen) -> None:
    show(tag("h2", ["Without ", tag("em", effect.train_slice), ", errors on ", tag("em", effect.eval_slice)]))
    lines: list[str | Markup] = []
    if effect.estimate is None:
        lines.append("Measured, but without an interval, so it is not shown. ")
    else:
        rise = "raises" if effect.estimate.value > 0 else "lowers" if effect.estimate.value < 0 else "does not move"
        lines += [
            f"Leaving the slice out {rise} the {METRICS[chosen.metric]} by ",
            tag("b", effect.estimate.sentence()),
        ]
        if effect.control is not None:
            lines.append(f"; leaving out as many random samples, by {effect.control.sentence()}")
        lines.append(f"; {formats.count(effect.seeds, 'paired seed')}. ")
    lines += [
        "Verdict on the slice: ",
        tag("b", f"{SIGNS[effect.kind]} {effect.verdict}", class_="em-verdict"),
        f" — {effect.reason}.",
    ]
    show(tag("p", lines, class_="em-lead"))
    attribution, fidelity = chosen.attribution, chosen.fidelity
    prediction = chosen.predicted(effect)
    if attribution is None or fidelity is None or prediction is None:
        _unranked(effect)
        return
    show(
        tag(
            "p",
            [
                "Its samples’ influences add up to ",
                tag("b", prediction.sentence()),
                f". Such a fidelity is {fidelity.word()}.",
            ],
            class_="em-lead",
        )
    )
    _rankings(effect, attribution, fidelity)


def _rankings(effect: Effect, attribution: Attribution, fidelity: Fidelity) -> None:
    """The slice's samples, the most helpful on the left and the most harmful on the right."""
    cell = (attribution, effect.eval_set, effect.train_set)
    end = ask(largest, *cell)
    pages = {name: ask(ranked, *cell, name == "helpful", links.page_number(name), SIZE) for name in SAYS}
    ids = tuple(i.sample_id for page in pages.values() for i in page.rows)
    known, said, sounds = ask(facts, ids), vault_access.transcripts(ids), vault_access.sounds(ids)
    for column, (name, (say, does)) in zip(st.columns(2, gap="large"), SAYS.items(), strict=True):
        page = pages[name]
        with column:
            show(tag("h3", f"{say} ({formats.count(page.total, 'sample')})"))
            show(
                reading(
                    f"Removing one of these would {does} the loss on {effect.eval_slice}; fidelity {fidelity.short()}."
                )
            )
            if not page.total:
                show(reading(f"No sample of this slice is {name}."))
            for influence in page.rows:
                sample = influence.sample_id
                prediction = Prediction(influence.value, attribution.unit, fidelity)
                head = _bar(prediction, end)
                card(sample, known.get(sample), said.get(sample), sounds[sample], key=name, head=head)
            clickable(pager(page, name), _turn, key=f"{name}-pages")


def _bar(prediction: Prediction, end: float) -> Markup:
    """One sample's influence as a number, with its fidelity when pointed at, and as a bar."""
    width = 100 * abs(prediction.value) / end if end else 0.0
    bar = tag("span", tag("i", style=f"width:{width:.1f}%"), class_="em-influence", aria_hidden="true")
    number = tag("b", formats.significant(prediction.value), title=prediction.sentence())
    kind = "em-helps" if prediction.value > 0 else "em-harms"
    return tag("div", [number, bar, tag("span", prediction.unit)], class_=f"em-sampleline {kind}")


def _unranked(effect: Effect) -> None:
    """The slice's samples where no influence may be shown."""
    page = ask(members_of, effect.train_set, links.page_number("samples"), 2 * SIZE)
    if not page.total:
        return
    show(tag("h3", f"What was left out ({formats.count(page.total, 'sample')}, in no order)"))
    ids = page.rows
    known, said, sounds = ask(facts, ids), vault_access.transcripts(ids), vault_access.sounds(ids)
    columns = st.columns(2, gap="large")
    for index, sample in enumerate(ids):
        with columns[index % 2]:
            card(sample, known.get(sample), said.get(sample), sounds[sample], key="samples")
    clickable(pager(page, "samples"), _turn, key="samples-pages")


def _turn(picked: str) -> None:
    name, _, number = picked.partition(":")
    links.go(**{name: number})


def _faithful(chosen: Chosen) -> None:
    if chosen.agreement is None or chosen.fidelity is None or chosen.attribution is None:
        return
    show(tag("h2", "How faithful are the predictions?"))
    factor = 1 if chosen.metric == "loss" else 100
    dots = []
    for key, effect in chosen.cells.items():
        measured, predicted = effect.estimate, chosen.predicted(effect)
        if measured is not None and predicted is not None:
            verdict = effect.kind + (" the margin" if effect.kind == NO_EFFECT else "")
            ends = (factor * measured.ends.low, factor * measured.ends.high)
            dots.append(Dot(f"{key[0]} → {key[1]}", verdict, predicted.value, factor * measured.value, *ends))
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.altair_chart(
            scatter(
                dots,
                predicted=f"predicted: {chosen.attribution.unit}",
                measured=f"measured: {UNITS.get(chosen.metric, chosen.metric)}",
            ),
            width="stretch",
            alt=f"Predicted against measured effects of {len(dots)} cells; {chosen.fidelity.sentence()}",
        )
    with right:
        show(tag("p", [tag("b", chosen.fidelity.sentence())], class_="em-lead"))
        if chosen.agreement.pearson:
            show(tag("p", chosen.agreement.pearson.sentence(), class_="em-lead"))
        show(tag("p", f"Such a fidelity is {chosen.fidelity.word()}.", class_="em-lead"))
        if chosen.agreement.ceiling is not None:
            show(
                reading(
                    f"Measurements are uncertain too: even perfect predictions would reach only about "
                    f"{formats.number(chosen.agreement.ceiling, 2)} here."
                )
            )
        show(
            reading(
                "Each dot is a cell of the matrix: what gradients predicted across, what retraining measured up, with its "
                "interval. Were predictions perfect in order, dots would only ever rise to the right."
            )
        )


VIEW = View("Influence", "influence", 30, influence_page)
