"""What a plan would take: how many retrainings, how many of them are on record, and how long the others may be.

Nothing is written. Retrainings on samples that are yet to be made (relabelled ones) count as missing. How long one is, is
foretold from like ones on record (`training.forecast`), and from evaluations of such models on the same set.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from influence.bank import recorded
from influence.interventions.base import UNKNOWN
from influence.plans.plan import Plan
from lineage.storage.manifest import RunInfo
from lineage.store import Store
from training.forecast import Cost, forecast


@dataclass(frozen=True)
class Outlook:
    """`retrainings` in all, of which `on_record`; `cost` to train one, None where no comparable run is on record.

    `evaluation_s` and `evaluation_cpu_s` are what evaluating one takes, 0 where that is not known.
    """

    retrainings: int
    on_record: int
    cost: Cost | None
    evaluation_s: float
    evaluation_cpu_s: float

    @property
    def missing(self) -> int:
        """Retrainings that are not on record."""
        return self.retrainings - self.on_record

    def seconds(self, workers: int = 1) -> float | None:
        """Seconds to train and evaluate what is missing with so many workers."""
        return None if self.cost is None else self.missing * (self.cost.wall_s + self.evaluation_s) / workers

    @property
    def cpu_s(self) -> float | None:
        """Seconds of processors for what is missing."""
        return None if self.cost is None else self.missing * (self.cost.cpu_s + self.evaluation_cpu_s)


def outlook(store: Store, plan: Plan) -> Outlook:
    """What a plan (see `plan.sketch`) would take.

    Raises:
        EarmarkError: the recipe does not fit the sets, the base or this machine.
    """
    recipe, asked = plan.request.recipe, list(plan.retrainings())
    made = [r for r in asked if r.substitutes != UNKNOWN and _made(store, r.changes.get("train"))]
    there = sum(run is not None for run in recorded(store, recipe, made))
    foretold = forecast(store, recipe)
    heard = _evaluations(store, foretold.job.base.digest, plan.request.evaluation.digest)
    wall_s, cpu_s = (median(getattr(r, name) for r in heard) if heard else 0.0 for name in ("wall_s", "cpu_s"))
    return Outlook(len(asked), there, foretold.cost, wall_s, cpu_s)


def _made(store: Store, digest: str | None) -> bool:
    """Whether the set that is trained on instead is on record."""
    return digest is None or store.read("sample_sets", ["set_digest"], "set_digest = ?", [digest]).num_rows > 0


def _evaluations(store: Store, base: str, tested_on: str) -> list[RunInfo]:
    """Evaluations on a set of models that were trained from a base."""
    runs = [r for r in store.runs() if r.status == "completed"]
    trained = {r.id for r in runs if r.kind == "train" and r.config.get("depends", {}).get("base") == base}
    return [r for r in runs if r.kind == "evaluate" and tested_on in r.inputs and trained & set(r.parents)]
