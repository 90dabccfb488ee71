"""Gaps between slices of the errors, as they are on record: the figures of `gap`, which measures them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from influence.causes.overlap import Cell, Overlap
from influence.causes.rates import Mixed, Standardised
from influence.causes.refutation import Refutation
from lineage.finite import finite
from lineage.storage.manifest import RunInfo
from lineage.store import Store
from training.statistics.bootstrap import Interval


@dataclass(frozen=True)
class Gaps:
    """Gaps in WER (0.02 are 2 points), positive where the slice is worse served.

    `raw` is over everything, `raw_kept` over what has counterparts; None for `adjusted` where nothing was to adjust for and no
    causal graph says that nothing has to be.
    """

    slice: str
    raw: Interval
    raw_kept: Interval
    adjusted: Standardised | None
    mixed: Mixed | None
    adjusted_for: tuple[str, ...]
    left_aside: tuple[str, ...]
    overlap: Overlap
    cautions: tuple[str, ...]


@dataclass(frozen=True)
class GapReport:
    """The gaps, and what became of them when they were attacked; `run_id` has it on record.

    `models` are those whose errors were averaged, alike but for their seeds, and `each` is the raw gap (WER) of each of them.
    """

    run_id: str
    gaps: Gaps
    refutations: tuple[Refutation, ...]
    models: tuple[str, ...]
    each: tuple[float, ...]

    @property
    def stands(self) -> bool:
        """Whether there is an adjusted gap with an interval, and no attack brought it down."""
        adjusted = self.gaps.adjusted
        told = adjusted is not None and math.isfinite(adjusted.gap.low)
        return told and all(r.stands for r in self.refutations)


@dataclass(frozen=True)
class Judged:
    """What became of a claim: its gaps with the attacks on them, or why there are none."""

    slice: str
    report: GapReport | None
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON; the gaps are in their own run."""
        return {"slice": self.slice, "run": self.report.run_id if self.report else None, "error": self.error}

    @classmethod
    def from_json(cls, store: Store, value: dict[str, Any]) -> Judged:
        """The inverse."""
        run = value["run"]
        return cls(value["slice"], None if run is None else read_back(store.resolve_run(run)), value["error"])


def plain(report: GapReport) -> dict[str, Any]:
    """A report as JSON, which has no NaN; the inverse of `read_back`."""
    value = {
        **asdict(report.gaps), "refutations": [asdict(r) for r in report.refutations], "models": list(report.models),
        "each": list(report.each),
    }  # fmt: skip
    cleaned: dict[str, Any] = finite(value)
    return cleaned


def read_back(run: RunInfo) -> GapReport:
    """What a run of this kind found."""
    told = run.result
    adjusted, beside, support = told["adjusted"], told["mixed"], told["overlap"]
    cells = tuple(Cell(**c) for c in support["unsupported"])
    gaps = Gaps(
        slice=told["slice"],
        raw=_interval(told["raw"]),
        raw_kept=_interval(told["raw_kept"]),
        adjusted=None if adjusted is None else Standardised(**{**adjusted, "gap": _interval(adjusted["gap"])}),
        mixed=None if beside is None else Mixed(**beside),
        adjusted_for=tuple(told["adjusted_for"]),
        left_aside=tuple(told["left_aside"]),
        overlap=Overlap(**{**support, "unsupported": cells}),
        cautions=tuple(told["cautions"]),
    )
    models, each = (
        told.get("models", run.inputs[:1]),
        told.get("each", [told["raw"]["value"]]),
    )  # once it was always one
    return GapReport(
        run.id, gaps, tuple(Refutation(**_numbers(r)) for r in told["refutations"]), tuple(models), tuple(each)
    )


def _interval(told: Mapping[str, Any]) -> Interval:
    return Interval(**_numbers(told))


def _numbers(told: Mapping[str, Any]) -> dict[str, Any]:
    """With NaN for what JSON has no number for."""
    return {name: math.nan if value is None else value for name, value in told.items()}
