"""What more hours of a slice would bring, as it is on record: the figures of `forecast`, which makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from lineage.storage.manifest import RunInfo
from lineage.store import Store


@dataclass(frozen=True)
class Expectation:
    """One row of `forecasts`: the target's WER now and with more hours of a slice; a positive reduction means fewer errors.

    Figures are None where they cannot be known; `held_…` is the check: the largest dose forecast from the others.
    """

    train_slice: str
    train_set: str
    target: str
    rank: int
    hours_now: float
    hours_more: float
    wer_now: float
    wer_then: float
    wer_then_low: float | None
    wer_then_high: float | None
    reduction: float
    low: float | None
    high: float | None
    level: float
    per_hour: float
    per_hour_low: float | None
    per_hour_high: float | None
    seeds: int
    held_forecast: float | None
    held_measured: float | None
    held_low: float | None
    held_high: float | None
    caution: str

    @property
    def covered(self) -> bool | None:
        """Whether the check held; None where there is none."""
        if self.held_measured is None or self.held_low is None or self.held_high is None:
            return None
        return self.held_low <= self.held_measured <= self.held_high


@dataclass(frozen=True)
class Forecasts:
    """Expectations, the best first; `measured` are (hours, WER) of each slice's doses, what the curves were drawn through."""

    run_id: str
    target: str
    rows: tuple[Expectation, ...]
    measured: Mapping[str, tuple[tuple[float, float], ...]]
    trained: int
    reused: bool

    @property
    def coverage(self) -> float | None:
        """Share of the slices whose largest dose lay within its forecast; None where none was checked."""
        checked = {r.train_slice: r.covered for r in self.rows if r.covered is not None}
        return sum(bool(c) for c in checked.values()) / len(checked) if checked else None


def of_run(run_id: str, result: Mapping[str, Any], rows: Sequence[Expectation], *, reused: bool) -> Forecasts:
    """The forecasts of a run with that result."""
    measured = {name: tuple((h, w) for h, w in points) for name, points in result["measured"].items()}
    return Forecasts(run_id, result["target"], tuple(rows), measured, 0 if reused else result["trained"], reused)


def read_back(store: Store, done: RunInfo) -> Forecasts:
    """What a run of this kind found."""
    names = [f.name for f in fields(Expectation)]
    rows = store.read("forecasts", names, "run_id = ? ORDER BY rank", [done.id]).to_pylist()
    return of_run(done.id, done.result, [Expectation(**r) for r in rows], reused=True)
