"""Planned against consumed: what a training run was to take of its set, and what it truly took.

Planned is not consumed. Samplers drop the last batch, loaders skip what they cannot read, runs stop early, a script trains on
something else than it names. The plan is the set among the run's inputs and the number of passes over it; what was consumed
are its exposures. Every sample for which the two disagree is named:

    never consumed     in the set, and the run took it not once
    not planned        the run took it, and it is not in the set
    weight zero        taken without counting in the loss, at least once; `intended` where the run's own plan left it out
    other times        taken, but not as many times as there were passes

A sample that took another's place, because the run was told so (`lineage.derivation.substitutes`), counts as the one whose
place it took.

Law: a run without any difference took each sample of its set once in each pass, with its full weight, and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lineage.aliases import resolve_model
from lineage.errors import EarmarkError, UnknownName
from lineage.ids import Halves, id_array, sort_unique
from lineage.selection.sets import SampleSet, resolve_set
from lineage.sql import CONSUMPTION
from lineage.storage.manifest import RunInfo

if TYPE_CHECKING:
    from lineage.store import Store

NEVER, UNPLANNED, WEIGHTLESS, TIMES = DIFFERENCES = ("never consumed", "not planned", "weight zero", "other times")
NOBODY: Halves = np.empty((0, 2), dtype=np.uint64)
_ENDLESS = (1 << 63) - 1

_DIFFERENCES = f"""
    WITH compared AS MATERIALIZED ({CONSUMPTION.format(planned="SELECT id FROM wanted", run="run_id = $run")})
    SELECT sample_id, '{NEVER}' AS difference, exposures, false AS intended FROM compared WHERE exposures = 0
    UNION ALL SELECT sample_id, '{UNPLANNED}', exposures, false FROM compared WHERE NOT planned
    UNION ALL SELECT sample_id, '{WEIGHTLESS}', exposures, sample_id IN (SELECT id FROM excluded)
    FROM compared WHERE weightless > 0
    UNION ALL SELECT sample_id, '{TIMES}', exposures, false
    FROM compared WHERE planned AND exposures > 0 AND exposures NOT BETWEEN $low AND $high
    ORDER BY difference, sample_id"""


@dataclass(frozen=True, eq=False)
class Consumption:
    """A run's plan beside what it consumed.

    `epochs` are the planned passes, None where the run counted steps and not passes. `exposures` are all that it took.
    `differences` has a row for every disagreement: sample_id, difference (one of `DIFFERENCES`), exposures, intended; sorted
    by difference and id.
    """

    run: RunInfo
    planned: SampleSet
    epochs: float | None
    exposures: int
    differences: pa.Table

    @property
    def as_planned(self) -> bool:
        """Whether the run took exactly what it was to take; what it was to leave out does not count."""
        return all(self.differences["intended"].to_pylist())

    def rows(self, difference: str) -> pa.Table:
        """The rows with that difference."""
        return self.differences.filter(pc.equal(self.differences["difference"], difference))

    def ids(self, difference: str) -> pa.Array:
        """The samples with that difference, sorted."""
        return self.rows(difference)["sample_id"].combine_chunks()

    def to_json(self) -> dict[str, Any]:
        """As JSON, every difference with the ids of its samples."""
        return {
            "run": self.run.id,
            "planned": {"name": self.planned.name, "set": self.planned.digest, "size": self.planned.size},
            "epochs": self.epochs,
            "exposures": self.exposures,
            "as_planned": self.as_planned,
            "differences": {d: [str(i) for i in self.ids(d).to_pylist()] for d in DIFFERENCES},
            "intended": sum(self.differences["intended"].to_pylist()),
        }


def consumption(store: Store, ref: str, *, planned: str | None = None, epochs: float | None = None) -> Consumption:
    """Hold what a run consumed against its plan.

    Args:
        store: where both are on record.
        ref: a training run (the beginning of its id) or its model (name, id, or the beginning of one).
        planned: the set that was planned, instead of the one that the run names.
        epochs: the passes that were planned, instead of what the run noted. A part of a pass takes some samples once more.

    Raises:
        EarmarkError: there is none of that name, it failed, consumed nothing, or names no set.
    """
    run = run_of(store, ref)
    if run.status != "completed":
        raise EarmarkError(f"run {run.id} is {run.status}, and such runs leave no exposures — name one that completed")
    chosen = resolve_set(store, planned) if planned is not None else _planned(store, run)
    passes = epochs if epochs is not None else _passes(run)
    low, high = (0, _ENDLESS) if passes is None else (math.floor(passes), math.ceil(passes))
    tables = {"wanted": _table(store.lookup.members(chosen.digest)), "excluded": _table(_left_out(store, run))}
    total = store.read("exposures", ["count(*) AS n"], "run_id = ?", [run.id])["n"][0].as_py()
    if not total:
        raise EarmarkError(f"run {run.id} ({run.kind}) recorded no exposures — name a training run")
    found = store.sql(_DIFFERENCES, {"run": run.id, "low": low, "high": high}, tables=tables)
    return Consumption(run, chosen, passes, total, found)


def run_of(store: Store, ref: str) -> RunInfo:
    """The run meant by the beginning of its id, or by its model (name, id, or the beginning of one).

    Raises:
        UnknownName, AmbiguousName: no such run or model, or several.
    """
    try:
        return store.resolve_run(ref)
    except UnknownName:
        model = resolve_model(store, ref).digest
    return store.resolve_run(
        store.read("models", ["max(run_id) AS run_id"], "model_id = ?", [model])["run_id"][0].as_py()
    )


def _planned(store: Store, run: RunInfo) -> SampleSet:
    """The set that a run says it was to consume: its configuration's, else the first set among its inputs."""
    said = run.config.get("set")
    named = [said] if said else [d for d in run.inputs if store.subjects.find(d).kind == "set"]
    if not named:
        raise EarmarkError(
            f"run {run.id} names no sample set among its inputs — name the planned one with --planned SET"
        )
    return resolve_set(store, named[0])


def _passes(run: RunInfo) -> float | None:
    """How often a run was to go over its set: what its recorder noted, else what its recipe says."""
    noted = run.result.get("planned")
    planned = (
        noted if isinstance(noted, dict) else run.config.get("recipe", {})
    )  # runs of recipes note their steps there
    epochs = planned.get("epochs")
    return None if epochs is None else float(epochs)


def _left_out(store: Store, run: RunInfo) -> Halves:
    """What a run was to take with weight zero, sorted."""
    weights = run.config.get("weights", {})
    gone = [store.lookup.members(digest) for digest, weight in weights.items() if weight == 0]
    return sort_unique(np.concatenate([NOBODY, *gone]))


def _table(ids: Halves) -> pa.Table:
    return pa.table({"id": id_array(ids)})
