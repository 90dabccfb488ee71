"""What a plan would take: how many retrainings, how many of them are on record, and how long the others may be.

Nothing is written. Retrainings on samples that are yet to be made (relabelled ones) count as missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from influence.interventions.base import UNKNOWN
from influence.plan import Plan
from lineage.store import Store
from training.changes import changes
from training.fit import prepare
from training.forecast import Cost, forecast


@dataclass(frozen=True)
class Outlook:
    """`retrainings` in all, of which `on_record`; `cost` of one, None where no comparable run is on record."""

    retrainings: int
    on_record: int
    cost: Cost | None

    @property
    def missing(self) -> int:
        """Retrainings that are not on record."""
        return self.retrainings - self.on_record

    def seconds(self, workers: int = 1) -> float | None:
        """Seconds to train what is missing with so many workers; evaluation comes on top."""
        return None if self.cost is None else self.missing * self.cost.wall_s / workers


def outlook(store: Store, plan: Plan) -> Outlook:
    """What a plan (see `plan.sketch`) would take.

    Raises:
        EarmarkError: the recipe does not fit the sets, the base or this machine.
    """
    recipe = plan.request.recipe
    there = total = 0
    for r in plan.retrainings():
        total += 1
        if r.substitutes == UNKNOWN or not _made(store, r.changes.get("train")):
            continue
        own = recipe.variant(**{**r.changes, "seed": r.seed, "checkpoints": r.checkpoints})
        job = prepare(store, own, changes(own, store, r.weights, r.substitutes, r.augment))
        there += store.find_run(job.key) is not None
    return Outlook(total, there, forecast(store, recipe).cost)


def _made(store: Store, digest: str | None) -> bool:
    """Whether the set that is trained on instead is on record."""
    return digest is None or store.read("sample_sets", ["set_digest"], "set_digest = ?", [digest]).num_rows > 0
