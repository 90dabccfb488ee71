"""Audits on record: what leaving each training slice out did to each evaluation slice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dashboard.measures import Change, change, ends
from lineage.store import Store

HELPS, HURTS, NO_EFFECT, OPEN = "helps", "hurts", "no effect larger than", "not identifiable"


@dataclass(frozen=True)
class Audit:
    """One audit, as the newest run that wrote its effects tells. `metrics` in the order wer, loss, others."""

    audit: str
    run_id: str
    job: str
    at: datetime
    metrics: tuple[str, ...]
    train_slices: int
    eval_slices: int


@dataclass(frozen=True)
class Effect:
    """One measured cell. `estimate`, `control` and `difference` are None where they have no interval."""

    train_slice: str
    train_set: str
    eval_slice: str
    eval_set: str
    estimate: Change | None
    control: Change | None
    difference: Change | None
    seeds: int | None
    p_adjusted: float | None
    minimum_detectable: float | None
    margin: float | None
    verdict: str
    reason: str

    @property
    def kind(self) -> str:
        """The verdict without its number: one of HELPS, HURTS, NO_EFFECT, OPEN."""
        return next((k for k in (HELPS, HURTS, NO_EFFECT) if self.verdict.startswith(k)), OPEN)


def audits(store: Store) -> tuple[Audit, ...]:
    """All audits, newest first."""
    rows = store.sql(
        """
        SELECT e.audit, e.run_id, coalesce(r.job, '') AS job, r.started AS at,
               list_sort(list(DISTINCT e.metric), 'DESC') AS metrics,
               count(DISTINCT e.train_slice) FILTER (coalesce(e.intervention, 'remove') = 'remove') AS train_slices,
               count(DISTINCT e.eval_slice) AS eval_slices
        FROM effects e JOIN runs r ON r.run_id = e.run_id
        GROUP BY e.audit, e.run_id, r.job, r.started
        QUALIFY row_number() OVER (PARTITION BY e.audit ORDER BY e.run_id DESC) = 1
        ORDER BY e.run_id DESC
        """
    ).to_pylist()
    return tuple(Audit(**{**row, "metrics": tuple(row["metrics"])}) for row in rows)


def effects(store: Store, run_id: str, audit: str, metric: str) -> tuple[Effect, ...]:
    """All cells of an audit for one metric, of leaving slices out."""
    rows = store.sql(
        "SELECT * FROM effects WHERE run_id = $run AND audit = $audit AND metric = $metric "
        "AND coalesce(intervention, 'remove') = 'remove' ORDER BY train_slice, eval_slice",
        {"run": run_id, "audit": audit, "metric": metric},
    ).to_pylist()
    found = []
    for r in rows:
        level = r["level"]
        found.append(
            Effect(
                r["train_slice"],
                r["train_set"],
                r["eval_slice"],
                r["eval_set"],
                change(metric, r["estimate"], ends(r["low"], r["high"], level)),
                change(metric, r["control"], ends(r["control_low"], r["control_high"], level)),
                change(metric, r["difference"], ends(r["difference_low"], r["difference_high"], level)),
                r["seeds"],
                r["p_adjusted"],
                r["minimum_detectable"],
                r["margin"],
                r["verdict"],
                r["reason"] or "",
            )
        )
    return tuple(found)
