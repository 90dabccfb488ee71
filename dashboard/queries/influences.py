"""Attributions on record: which training samples push which evaluation slice's loss, and by how much.

Values come without their fidelity from here, because it is a fact about the whole attribution; a page joins them in a
`dashboard.measures.Prediction` before anything is shown.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from dashboard.queries import Page, within
from lineage.store import Store


@dataclass(frozen=True)
class Attribution:
    """One attribution: a method applied to a model. `targets` are the digests of its evaluation slices."""

    run_id: str
    model_id: str
    model: str
    method: str
    unit: str
    reduction: str
    at: datetime
    targets: frozenset[str]


@dataclass(frozen=True)
class Influence:
    """One training sample's influence on one target; positive means that it helps."""

    sample_id: uuid.UUID
    value: float


def attributions(store: Store) -> tuple[Attribution, ...]:
    """The newest attribution of each method for each model, newest first."""
    rows = store.sql(
        """
        SELECT i.run_id, i.model_id, coalesce(m.name, '') AS model, i.method, any_value(i.unit) AS unit,
               any_value(i.reduction) AS reduction, any_value(r.started) AS at, list(DISTINCT i.target_set) AS targets
        FROM (SELECT DISTINCT run_id, model_id, method, unit, reduction, target_set FROM influences) i
        JOIN runs r ON r.run_id = i.run_id
        LEFT JOIN (SELECT model_id, max_by(name, run_id) AS name FROM models GROUP BY model_id) m ON m.model_id = i.model_id
        GROUP BY i.run_id, i.model_id, m.name, i.method
        QUALIFY row_number() OVER (PARTITION BY i.model_id, i.method ORDER BY i.run_id DESC) = 1
        ORDER BY i.run_id DESC, i.method
        """
    ).to_pylist()
    return tuple(Attribution(**{**row, "targets": frozenset(row["targets"])}) for row in rows)


def sums(store: Store, attribution: Attribution, train_sets: tuple[str, ...]) -> dict[tuple[str, str], float]:
    """Sum of influences over each training slice on each target, by (training set, target set)."""
    rows = store.sql(
        """
        SELECT m.set_digest AS train_set, i.target_set, sum(i.value) AS value
        FROM influences i
        JOIN (SELECT DISTINCT set_digest, sample_id FROM members WHERE list_contains($sets, set_digest)) m
          ON m.sample_id = i.sample_id
        WHERE i.run_id = $run AND i.model_id = $model AND i.method = $method
        GROUP BY m.set_digest, i.target_set
        """,
        {**_key(attribution), "sets": list(train_sets)},
    ).to_pylist()
    return {(r["train_set"], r["target_set"]): r["value"] for r in rows}


def ranked(
    store: Store, attribution: Attribution, target_set: str, train_set: str, helpful: bool, number: int, size: int
) -> Page[Influence]:
    """A slice's samples by influence on a target: those that help most first, or those that harm most first.

    Only samples with a value of that sign are in the list.
    """
    body = f"""
        FROM influences i
        WHERE run_id = $run AND model_id = $model AND method = $method AND target_set = $target
          AND value {">" if helpful else "<"} 0
          AND sample_id IN (SELECT sample_id FROM members WHERE set_digest = $slice)
    """
    key = {**_key(attribution), "target": target_set, "slice": train_set}
    total = store.sql(f"SELECT count(*) AS n {body}", key).to_pylist()[0]["n"]
    number = within(number, total, size)
    rows = store.sql(
        f"SELECT sample_id, value {body} ORDER BY value {'DESC' if helpful else 'ASC'}, sample_id LIMIT $size OFFSET $skip",
        {**key, "size": size, "skip": number * size},
    ).to_pylist()
    return Page(tuple(Influence(**row) for row in rows), total, number, size)


def largest(store: Store, attribution: Attribution, target_set: str, train_set: str) -> float:
    """The largest influence by absolute value in a cell: the end of its bars' scale."""
    rows = store.sql(
        """
        SELECT coalesce(max(abs(value)), 0) AS value FROM influences
        WHERE run_id = $run AND model_id = $model AND method = $method AND target_set = $target
          AND sample_id IN (SELECT sample_id FROM members WHERE set_digest = $slice)
        """,
        {**_key(attribution), "target": target_set, "slice": train_set},
    ).to_pylist()
    return float(rows[0]["value"])


def _key(attribution: Attribution) -> dict[str, str]:
    return {"run": attribution.run_id, "model": attribution.model_id, "method": attribution.method}
