"""What a plan may spend, and when it has spent it: retrainings, or hours of work.

Counted is what the plan causes: retrainings that it finds on record are free; those done for it count, their evaluations with
them, by the time on record (the clock's, of one worker: two workers spend two hours in one). How long those to come take is
judged by those already done for the plan, and before the first by like ones on record (`outlook`).

A fixed plan is one round, a sequential plan has one for each look. A plan whose first round does not fit is refused before any
training. A later round that does not fit is not begun, and what is open then stays *not identifiable* and says why: only
whole rounds count. That biases no verdict, for α is spent look by look, and holds wherever one stops (`statistics.sequential`).

Law: whether a round is begun is decided by what is on record of the rounds before it, so an audit that goes on after a kill
decides as it had. What a killed retraining had cost is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from influence.bank import recorded
from influence.plans.outlook import outlook
from influence.plans.plan import Plan
from lineage.errors import EarmarkError
from lineage.store import Store

HOUR = 3600.0


class Purse:
    """What a plan on record may spend, and what it has spent."""

    def __init__(self, store: Store, plan: Plan) -> None:
        self._store = store
        self._plan = plan
        self._most = plan.request.budget

    def lacks(self, before: Sequence[int], wanted: Sequence[int]) -> str:
        """Why the retrainings at the places `wanted` cannot be afforded, after those `before` them; empty where they can.

        Raises:
            EarmarkError: there is a budget in hours, and nothing on record tells how long a retraining takes.
        """
        most = self._most
        if most.retrainings is None and most.hours is None:
            return ""
        listed = self._plan.retrainings()
        runs = recorded(self._store, self._plan.request.recipe, [listed[i] for i in (*before, *wanted)])
        own = self._own()
        spent = [own[run] for run in runs[: len(before)] if run in own]
        new = sum(run is None or run in own for run in runs[len(before) :])
        if not new:
            return ""
        if most.retrainings is not None and len(spent) + new > most.retrainings:
            return f"{new} retrainings more, its budget has {most.retrainings - len(spent)}"
        if most.hours is None or (own and not spent):  # begun: it was found to fit
            return ""
        needed, left = new * (mean(spent) if spent else self._foretold(new)) / HOUR, most.hours - sum(spent) / HOUR
        if needed <= left:
            return ""
        return f"about {needed:.2g} hours of work more, its budget has {max(0.0, left):.2g}"

    def _own(self) -> dict[str, float]:
        """Seconds by retraining that was done for this plan."""
        runs = [r for r in self._store.runs() if r.status == "completed"]
        own = {r.id: r.wall_s for r in runs if r.kind == "train" and self._plan.run_id in r.parents}
        for r in runs:
            if r.kind == "evaluate" and self._plan.request.evaluation.digest in r.inputs:
                for of in own.keys() & set(r.parents):
                    own[of] += r.wall_s
        return own

    def _foretold(self, new: int) -> float:
        """Seconds of each of `new` retrainings, by what is on record of others."""
        expected = outlook(self._store, self._plan)
        if expected.cost is None:
            raise EarmarkError(
                "no comparable training is on record, so nobody knows how many hours the plan takes — train its recipe once "
                "(earmark train RECIPE; the plan uses that training), or count retrainings instead: "
                f"budget: {{retrainings: {new}}} is what it needs first"
            )
        return expected.cost.wall_s + expected.evaluation_s
