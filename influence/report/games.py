"""Interactions: what slices are worth together, where games between them are on record."""

from __future__ import annotations

from collections.abc import Sequence

from influence.games.worth import Interaction, InteractionReport
from influence.report import formats, words
from influence.report.forest import figures, name
from influence.report.markup import Content, Markup, join
from influence.report.parts import paragraph, plural, section, table
from influence.report.record import AuditRecord
from influence.report.strip import Bar, axis_of, strip, ticks

METRIC = "wer"  # of the others the rows are in the table `interactions` and in the JSON
METHODS = {
    "exact": "every combination of the slices was trained",
    "permutations": "combinations were sampled by permutations",
    "regression": "combinations were sampled and the values fitted by regression",
    "deletion": "all the data was trained, and all but one or a few of the slices",
}
MEASURES = {
    "total": "all of them",
    "shapley": "Shapley value",
    "interaction": "interaction",
    "deletion": "left out of all data",
}
PAIRED = "interaction beside all others"  # positive: leaving out both costs less than the sum of leaving out each


def games(record: AuditRecord) -> Markup:
    """The section; empty where no game is on record."""
    parts = [part for game in record.beside.games for part in _game(game)]
    if not parts:
        return Markup("")
    told = paragraph(
        "Models were trained on combinations of slices. A value says by how much the slice lowers WER. An interaction says "
        "what two slices do together beyond the sum of what each does: below zero either makes up for the lack of the other, "
        "above zero each needs the other."
    )
    return section("Interactions between slices", told, *parts)


def lines(record: AuditRecord) -> list[str]:
    """The interactions, for the terminal."""
    rows = [r for game in record.beside.games for r in _rows(game) if r.size > 1 or r.measure == "total"]
    return [f"{reading(r)}: {_what(r)} of {r.slices}, WER on {r.eval_slice}: {_told(r)}" for r in rows]


def reading(row: Interaction) -> str:
    """What the corrected figure says."""
    if row.low is None or row.p_adjusted is None or row.p_adjusted > 1 - row.level:
        return "not told apart from nothing"
    if row.size < 2 or row.measure == "total":
        return "lowers WER" if row.estimate > 0 else "raises WER"
    if row.size == 2:
        return "each needs the other" if row.estimate > 0 else "either makes up for the other"
    return "they need one another" if row.estimate > 0 else "they make up for one another"


def _rows(game: InteractionReport) -> list[Interaction]:
    return [r for r in game.rows if r.metric == METRIC]


def _game(game: InteractionReport) -> list[Markup]:
    rows = _rows(game)
    if not rows:
        return []
    several = len({r.eval_slice for r in rows}) > 1
    axis = axis_of(_bar(r) for r in rows)
    heads: list[Content] = ["Slices", *(["Errors on"] if several else []), "What"]
    heads += [ticks(axis, "values and interactions in points of WER"), "Points of WER", "p, corrected", "Reading"]
    first = len(heads) - 4
    seeds = plural(rows[0].seeds, "seed")
    pairs = f" ({plural(rows[0].pairs, 'pair')})" if rows[0].pairs else ""
    level = formats.percent(rows[0].level, 0)
    caption = (
        f"{words.capital(METHODS.get(game.method, game.method))}{pairs}: {plural(rows[0].coalitions, 'combination')} × "
        f"{seeds}, {plural(game.retrainings, 'retraining')}. {level} intervals."
    )
    shown = table(caption, heads, [_row(r, several, axis) for r in rows], [first + 1, first + 2], [first])
    cautions = list(dict.fromkeys(c for r in rows for c in r.caution.split("; ") if c))
    failed = [f"{plural(len(game.failures), 'retraining')} of it failed"] if game.failures else []
    return [shown, *(paragraph(f"{words.capital(c)}.") for c in [*cautions, *failed])]


def _row(r: Interaction, several: bool, axis: tuple[float, float, float]) -> Sequence[Content]:
    said = f"{_what(r)} of {r.slices}, WER on {r.eval_slice}: {_told(r)}"
    cells: list[Content] = [
        join(map(name, r.slices.split(" × ")), " × "),
        *([name(r.eval_slice)] if several else []),
        _what(r),
    ]
    cells += [strip(said, axis, _bar(r)), figures(METRIC, r.estimate, r.low, r.high), words.p_value(r.p_adjusted)]
    return [*cells, reading(r)]


def _what(r: Interaction) -> str:
    if r.measure == "deletion" and r.size > 1:
        return PAIRED
    return MEASURES.get(r.measure, r.measure)


def _told(r: Interaction) -> str:
    return words.told(METRIC, r.estimate, r.low, r.high, r.level)


def _bar(r: Interaction) -> Bar | None:
    return Bar.of(r.estimate, r.low, r.high, 100)
