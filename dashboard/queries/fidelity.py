"""How faithful an attribution is: its predictions beside an audit's measurements, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dashboard.measures import Fidelity, ends
from dashboard.queries.effects import effects
from dashboard.queries.influences import Attribution, sums
from lineage.store import Store

REPLICATES = 2000
LEVEL = 0.95
LEAST = 6  # cells


@dataclass(frozen=True)
class Agreement:
    """Predicted sums by (training set, evaluation set), and how well they agree with what was measured."""

    predicted: Mapping[tuple[str, str], float]
    spearman: Fidelity | None
    pearson: Fidelity | None


def agreement(store: Store, run_id: str, audit: str, metric: str, attribution: Attribution) -> Agreement:
    """The attribution's predictions for the audit's cells."""
    cells = [e for e in effects(store, run_id, audit, metric) if e.estimate is not None]
    predicted = sums(store, attribution, tuple(sorted({e.train_set for e in cells})))
    pairs = [
        (e.train_set, e.eval_set, predicted.get((e.train_set, e.eval_set)), e.estimate.value)
        for e in cells
        if e.estimate
    ]
    pairs = [p for p in pairs if p[2] is not None]
    if len(pairs) < LEAST:
        return Agreement(predicted, None, None)
    x, y = np.array([p[2] for p in pairs], dtype=float), np.array([p[3] for p in pairs], dtype=float)
    rng = np.random.default_rng(0)
    out = []
    for name, f in (("Spearman", _rank), ("Pearson", lambda v: v)):
        value = float(np.corrcoef(f(x), f(y))[0, 1])
        reps = []
        for _ in range(300):
            i = rng.integers(0, len(x), len(x))
            reps.append(np.corrcoef(f(x[i]), f(y[i]))[0, 1])
        low, high = np.nanquantile(reps, [0.025, 0.975])
        e = ends(float(low), float(high), LEVEL)
        out.append(Fidelity(name, value, e, len(pairs), "cells of this matrix") if e else None)
    return Agreement(predicted, out[0], out[1])


def _rank(v):  # type: ignore
    return np.argsort(np.argsort(v)).astype(float)
