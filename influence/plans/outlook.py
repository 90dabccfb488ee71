"""What a plan would take: how many retrainings, how many of them are on record, and how long the others may be.

Nothing is written. Retrainings on samples that are yet to be made (relabelled ones) count as missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from influence.bank import recorded
from influence.interventions.base import UNKNOWN
from influence.plans.plan import Plan
from lineage.store import Store
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
    recipe, asked = plan.request.recipe, list(plan.retrainings())
    made = [r for r in asked if r.substitutes != UNKNOWN and _made(store, r.changes.get("train"))]
    there = sum(run is not None for run in recorded(store, recipe, made))
    return Outlook(len(asked), there, forecast(store, recipe).cost)


def _made(store: Store, digest: str | None) -> bool:
    """Whether the set that is trained on instead is on record."""
    return digest is None or store.read("sample_sets", ["set_digest"], "set_digest = ?", [digest]).num_rows > 0
