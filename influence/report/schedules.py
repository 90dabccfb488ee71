"""Fixed epochs and fixed steps: what the number of steps does where the size of the data really changes.

Leaving a slice out keeps its places in the order, so nothing but its data moves. Whoever really drops the data has to choose:
as many passes (epochs fixed: fewer steps) or as many steps (steps fixed: more passes over the rest). Plans that ask for both
(`variants`) have them and their difference on record as effects of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

from influence.report import words
from influence.report.forest import figures, name, verdict
from influence.report.markup import Content, Markup
from influence.report.parts import paragraph, section, table
from influence.report.record import AuditRecord
from influence.statistics.effects import Effect

EPOCHS, STEPS, DIFFERENCE = "epochs", "steps", "steps-epochs"


def schedules(record: AuditRecord) -> Markup:
    """The section; empty where no plan asked for it."""
    tables = [_table(several, metric) for metric in record.metrics if (several := _rows(record, metric))]
    if not tables:
        return Markup("")
    told = paragraph(
        "Above, data that is left out keeps its places: as many steps, the same order, weight zero. Here the size of the "
        "training set changes in earnest, once with as many passes over it (epochs fixed) and once with as many steps (steps "
        "fixed). Where the two differ, part of the effect is that of training for longer or shorter."
    )
    return section("Fixed epochs and fixed steps", told, *tables)


def lines(record: AuditRecord) -> list[str]:
    """The differences, for the terminal."""
    metric = next(iter(record.metrics), "")
    found = [row[DIFFERENCE] for row in _rows(record, metric) if DIFFERENCE in row]
    return [f"{e.verdict}: {words.sentence(e)}" for e in found]


def _rows(record: AuditRecord, metric: str) -> list[dict[str, Effect]]:
    """For each slice that was changed × evaluation slice: the effect in its places ('') and by what was fixed."""
    found: dict[tuple[str, str, str], dict[str, Effect]] = {}
    for e in record.effects:
        kind = (e.intervention or "remove").partition(":")[0]
        if e.metric == metric:
            found.setdefault((kind, e.train_slice, e.eval_slice), {})[words.schedule(e)] = e
    return [row for row in found.values() if any(row.keys() - {""})]


def _table(rows: Sequence[dict[str, Effect]], metric: str) -> Markup:
    unit = words.unit(metric)
    said = f"{words.capital(words.metric_name(metric))}{f', {unit}' if unit else ''}: change above its interval. "
    said += "Difference: with steps fixed minus with epochs fixed."
    heads = [
        "What was done",
        "Errors on",
        "In its places",
        "Epochs fixed",
        "Steps fixed",
        "Difference",
        "Verdict on it",
    ]
    return table(said, heads, [_row(row) for row in rows], [2, 3, 4, 5])


def _row(row: dict[str, Effect]) -> list[Content]:
    any_ = next(iter(row.values()))
    done = words.done(row[""]) if "" in row else words.done(any_).partition(", ")[0]
    cells: list[Content] = [
        figures(e.metric, e.estimate, e.low, e.high) if e else "" for e in map(row.get, ("", EPOCHS, STEPS))
    ]
    last = row.get(DIFFERENCE)
    told: list[Content] = ["", ""]
    if last is not None:
        told = [figures(last.metric, last.estimate, last.low, last.high), verdict(last.verdict)]
    return [name(done), name(any_.eval_slice), *cells, *told]
