"""What a game between slices found, as it is on record: the figures of `coalitions`, which plays it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from lineage.selection.slices import WHOLE
from lineage.storage.manifest import RunInfo
from lineage.store import Store


@dataclass(frozen=True)
class Interaction:
    """One row of `interactions`; figures are None where they cannot be known."""

    game: str
    measure: str
    slices: str
    sets: list[str]
    size: int
    method: str
    eval_slice: str
    eval_set: str
    metric: str
    estimate: float
    low: float | None
    high: float | None
    level: float
    error: float | None
    sampling_error: float | None
    seeds: int
    coalitions: int
    pairs: int | None
    replicates: int
    p: float | None
    p_adjusted: float | None
    caution: str


@dataclass(frozen=True)
class InteractionReport:
    """What a game found; `coalitions` were trained over `seeds` each, `trained` retrainings of them now."""

    game: str
    run_id: str
    method: str
    rows: tuple[Interaction, ...]
    retrainings: int
    trained: int
    wall_s: float
    failures: Mapping[str, str]
    reused: bool

    def row(self, measure: str, slices: str, eval_slice: str = WHOLE.name, metric: str = "wer") -> Interaction:
        """One figure; raises KeyError if it was not asked for."""
        for r in self.rows:
            if (r.measure, r.slices, r.eval_slice, r.metric) == (measure, slices, eval_slice, metric):
                return r
        raise KeyError((measure, slices, eval_slice, metric))


def read_back(store: Store, done: RunInfo) -> InteractionReport:
    """What a run of this kind found."""
    table = store.read("interactions", [f.name for f in fields(Interaction)], "run_id = ?", [done.id])
    rows = tuple(Interaction(**row) for row in table.to_pylist())
    result = done.result
    return InteractionReport(
        done.config["game"], done.id, done.config["method"], rows, result["retrainings"], 0, result["wall_s"],
        result["failures"], True,
    )  # fmt: skip
