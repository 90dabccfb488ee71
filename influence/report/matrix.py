"""Every train slice × evaluation slice in tables narrow enough for paper: a change, its interval, the mark of its verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence

from influence.report import words
from influence.report.forest import figures, name
from influence.report.markup import Markup, tag
from influence.report.parts import titled
from influence.statistics.effects import Effect

ACROSS = 6  # evaluation slices in one table


def matrix(effects: Sequence[Effect], caption: str) -> Markup:
    """Tables of effects of one metric: a row for what was done, a column for where the errors were counted."""
    done = list(dict.fromkeys(words.done(e) for e in effects))
    tested = list(dict.fromkeys(e.eval_slice for e in effects))
    cells = {(words.done(e), e.eval_slice): e for e in effects}
    wide = math.ceil(len(tested) / math.ceil(len(tested) / ACROSS)) if tested else 1
    blocks = [tested[i : i + wide] for i in range(0, len(tested), wide)]
    bare = all(map(words.removed, effects))
    tables = []
    for number, block in enumerate(blocks, 1):
        part = f" (part {number} of {len(blocks)})" if len(blocks) > 1 else ""
        head = [tag("th", "Without" if bare else "What was done", scope="col")]
        head += [tag("th", ["on ", name(t)], scope="col", class_="number") for t in block]
        body = []
        for phrase in done:
            row = [cells.get((phrase, t)) for t in block]
            first = next((e for e in effects if words.done(e) == phrase), None)
            label = first.train_slice if bare and first else phrase
            body.append(tag("tr", [tag("th", name(label), scope="row"), *map(_cell, row)]))
        inside = [titled(caption + part), tag("thead", tag("tr", head)), tag("tbody", body)]
        tables.append(tag("table", inside, class_="matrix"))
    return Markup("".join(tables))


def _cell(e: Effect | None) -> Markup:
    if e is None:
        return tag("td", [tag("span", "not measured", class_="ends")], class_="number")
    marked = tag("span", words.mark(e.verdict), class_="mark", aria_hidden="true")
    said = tag("span", f"{e.verdict}: ", class_="unseen")
    own = " own" if e.train_slice == e.eval_slice else ""
    kind = words.CLASSES[words.kind(e.verdict)]
    return tag("td", [said, marked, *figures(e.metric, e.estimate, e.low, e.high)], class_=f"number {kind}{own}")
