"""How faithful an attribution is: its predictions beside an audit's measurements, cell by cell
(`influence.attribution.fidelity`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dashboard.measures import Fidelity, ends
from dashboard.queries.effects import Audit, effects
from dashboard.queries.influences import Attribution, sums
from influence.attribution.fidelity import Correlation, fidelity
from lineage.store import Store

LEVEL = 0.95


@dataclass(frozen=True)
class Agreement:
    """Predicted sums by (training set, evaluation set), and how well they agree with what was measured.

    A correlation is None where there are too few cells for an interval, `ceiling` where it cannot be estimated.
    """

    predicted: Mapping[tuple[str, str], float]
    spearman: Fidelity | None
    pearson: Fidelity | None
    ceiling: float | None


def agreement(store: Store, audit: Audit, metric: str, attribution: Attribution) -> Agreement:
    """The attribution's predictions for the audit's cells, and their fidelity to one metric of it."""
    cells = effects(store, audit.run_id, audit.audit, metric)
    predicted = sums(store, attribution, tuple(sorted({e.train_set for e in cells})))
    if not any((e.train_set, e.eval_set) in predicted for e in cells):
        return Agreement({}, None, None, None)
    found = fidelity(
        store, method=attribution.method, model=attribution.model_id, audit=audit.audit, metric=metric, level=LEVEL
    )
    return Agreement(
        predicted,
        _measured("Spearman", found.spearman, len(found.cells)),
        _measured("Pearson", found.pearson, len(found.cells)),
        found.ceiling if math.isfinite(found.ceiling) else None,
    )


def _measured(name: str, correlation: Correlation, cells: int) -> Fidelity | None:
    interval = ends(correlation.low, correlation.high, LEVEL)
    if interval is None or not math.isfinite(correlation.value):
        return None
    return Fidelity(name, correlation.value, interval, cells, "cells of the matrix")
